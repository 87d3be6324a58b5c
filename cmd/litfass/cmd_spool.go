package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/litfass/litfass/spool/local"
)

func spoolCommands() []command {
	return []command{
		{name: "check", short: "read every article and compare it with its sum and the index", run: cmdSpoolCheck},
		{name: "reindex", short: "make the index anew from the articles, with the same numbers (no node may run)", run: cmdSpoolReindex},
		{name: "expire", short: "drop now what is old, and make room", run: cmdSpoolExpire},
	}
}

func cmdSpoolCheck(c *call) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	r, err := c.spoolCheck()
	if err != nil {
		return fmt.Errorf("spool check: %w", err)
	}
	if c.json {
		if err := c.printJSON(r); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(c.out, "%d segments, %d sound articles (%d of them removed ones), %s, %d places in the index: %d problems\n",
			r.Segments, r.Records, r.Dead, human(r.Bytes), r.Rows, len(r.Problems))
		for _, p := range r.Problems {
			fmt.Fprintf(c.out, "  %s\n", p)
		}
	}
	if len(r.Problems) > 0 {
		fmt.Fprintln(c.err, "litfass: stop the node and run \"litfass spool reindex\": it keeps every sound article; peers bring the others again")
		return errSilent
	}
	return nil
}

// checkStep is a line of the answer to spool/check: how far it is, or the end.
type checkStep struct {
	Octets   int64         `json:"octets,omitempty"`
	Of       int64         `json:"of,omitempty"`
	Articles int           `json:"articles,omitempty"`
	Report   *local.Report `json:"report,omitempty"`
	Error    string        `json:"error,omitempty"`
}

// spoolCheck has the node, or the data itself, checked and shows how far it is.
func (c *call) spoolCheck() (r local.Report, err error) {
	n, err := c.node()
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	body, err := n.stream(c.ctx, "spool/check", "", http.NoBody)
	if err != nil {
		return r, err
	}
	defer body.Close()
	bar := newProgress(c.err, "articles", 1)
	defer bar.end()
	for d := json.NewDecoder(body); ; {
		var s checkStep
		switch err := d.Decode(&s); {
		case err != nil:
			return r, fmt.Errorf("the node's answer ends early: %w", err)
		case s.Error != "":
			return r, errors.New(s.Error)
		case s.Report != nil:
			return *s.Report, nil
		}
		bar.at(s.Octets, s.Of, s.Articles)
	}
}

// checkEvery is how often a check says how far it is.
const checkEvery = 200 * time.Millisecond

func (c *control) spoolCheck(w http.ResponseWriter, r *http.Request) {
	out, flush := json.NewEncoder(w), http.NewResponseController(w)
	said := time.Now()
	report, err := c.core.local.Check(r.Context(), func(octets, of int64, articles int) {
		if time.Since(said) >= checkEvery {
			said = time.Now()
			_ = errors.Join(out.Encode(checkStep{Octets: octets, Of: of, Articles: articles}), flush.Flush()) // who asked may be gone: the context ends it
		}
	})
	last := checkStep{Report: &report}
	if err != nil {
		last = checkStep{Error: err.Error()}
	}
	_ = out.Encode(last)
}

func cmdSpoolExpire(c *call) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	var e local.Expired
	if err := c.ask("spool/expire", struct{}{}, &e); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(e)
	}
	fmt.Fprintf(c.out, "%d articles gone; %d segments dropped, %d written anew without what was removed: %s freed\n",
		e.Articles, e.Segments, e.Compacted, human(e.Bytes))
	return nil
}

// cmdSpoolReindex needs the data itself: nobody may stand on the index meanwhile.
func cmdSpoolReindex(c *call) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	cfg, err := loadConfig(c.config, c.data)
	if err != nil {
		return err
	}
	dir, err := holdData(c.ctx, cfg.Data, time.Second)
	if errors.Is(err, errHeld) {
		return fmt.Errorf("spool reindex: %w. The index is not made anew under a running node: stop it, say this again, start it; \"litfass spool check\" works meanwhile", err)
	} else if err != nil {
		return err
	}
	defer dir.release()
	log := c.logger(cfg)
	now, err := clock(c.getenv, log)
	if err != nil {
		return err
	}
	k := &core{cfg: cfg, dir: dir, log: log, now: now}
	begin := time.Now()
	conf := k.spoolConfig()
	bar := newProgress(c.err, "articles", 1)
	conf.Progress = bar.at
	st, err := local.Reindex(conf)
	bar.end()
	if err != nil {
		return err
	}
	took := time.Since(begin).Seconds()
	if c.json {
		return c.printJSON(map[string]any{"seconds": took, "articles": st.Articles, "groups": st.Groups, "octets": st.Disk})
	}
	fmt.Fprintf(c.out, "index made anew in %.1f s: %d articles in %d groups, %s\n", took, st.Articles, st.Groups, human(st.Disk))
	return nil
}

func (c *control) spoolActs() {
	c.mux.HandleFunc("POST /v1/spool/check", c.spoolCheck)
	act(c, "spool/expire", func(ctx context.Context, _ struct{}) (local.Expired, error) { return c.core.local.Expire(ctx) })
	c.mux.HandleFunc("POST /v1/backup", c.backup)
}

// backup takes what cannot be had again from neighbours or made anew: state.db,
// keys, groups and marks (the meta log), the node's name.
func cmdBackup(c *call) (err error) {
	if err := c.parse(1, 1); err != nil {
		return err
	}
	n, err := c.node()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	body, err := n.stream(c.ctx, "backup", "", http.NoBody)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer body.Close()
	tmp := c.args[0] + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	size, err := io.Copy(f, body)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = checkBackup(tmp)
	}
	if err == nil {
		err = os.Rename(tmp, c.args[0])
	}
	if err != nil {
		os.Remove(tmp)
		return fmt.Errorf("backup: %w", err)
	}
	fmt.Fprintf(c.out, "%s: %s; keep it where others cannot read it, it holds keys. The articles are not in it: neighbours or \"litfass export\" keep them\n", c.args[0], human(size))
	return nil
}

const backupEnd = "complete" // the last name in a backup: it was not cut off

func (c *control) backup(w http.ResponseWriter, r *http.Request) {
	tmp, err := os.MkdirTemp(c.core.dir.path, "backup-")
	if err != nil {
		reply(w, nil, err)
		return
	}
	defer os.RemoveAll(tmp)
	err = errors.Join(c.core.local.NoteMarks(r.Context()), c.core.state.Backup(filepath.Join(tmp, "state.db")), c.core.keys.Ledger.Backup(filepath.Join(tmp, "pki.db")))
	if err != nil {
		reply(w, nil, err)
		return
	}
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	err = errors.Join(addFile(t, filepath.Join(tmp, "state.db"), "state.db"), addFile(t, filepath.Join(tmp, "pki.db"), "pki.db"))
	for _, name := range c.core.precious() {
		if err == nil {
			err = addFile(t, c.core.dir.join(name), name)
		}
	}
	if err == nil {
		err = t.WriteHeader(&tar.Header{Name: backupEnd, Mode: 0o600, Typeflag: tar.TypeReg})
	}
	if err = errors.Join(err, t.Close(), z.Close()); err != nil {
		c.core.log.Error("backup", "error", err)
	}
}

// precious lists the files, by their names in the data folder, that a backup
// takes as they are.
func (k *core) precious() []string {
	var out []string
	for _, pattern := range []string{"host", "keys/*", "keys/*/*", "spool/meta*"} {
		found, _ := filepath.Glob(k.dir.join(filepath.FromSlash(pattern)))
		for _, f := range found {
			if rel, err := filepath.Rel(k.dir.path, f); err == nil {
				out = append(out, rel)
			}
		}
	}
	return out
}

func addFile(t *tar.Writer, path, name string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil
	} else if err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	h := &tar.Header{Name: filepath.ToSlash(name), Mode: int64(info.Mode().Perm()), Size: int64(len(text)), ModTime: info.ModTime(), Typeflag: tar.TypeReg}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err = t.Write(text)
	return err
}

// eachBackup calls fn with each file; it fails if the archive was cut off.
func eachBackup(path string, fn func(h *tar.Header, r io.Reader) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("%s is no backup: %w", path, err)
	}
	t := tar.NewReader(z)
	whole := false
	for {
		h, err := t.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			return fmt.Errorf("%s is cut off or damaged: %w", path, err)
		}
		if h.Name == backupEnd {
			whole = true
			continue
		}
		if err := fn(h, t); err != nil {
			return err
		}
	}
	if !whole {
		return fmt.Errorf("%s is cut off: make the backup again", path)
	}
	return nil
}

func checkBackup(path string) error {
	return eachBackup(path, func(_ *tar.Header, r io.Reader) error { _, err := io.Copy(io.Discard, r); return err })
}

// cmdRestore puts a backup into a folder that holds no node yet.
func cmdRestore(c *call) error {
	if err := c.parse(1, 1); err != nil {
		return err
	}
	cfg, err := loadConfig(c.config, c.data)
	if err != nil {
		return err
	}
	if err := checkBackup(c.args[0]); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	dir, err := holdData(c.ctx, cfg.Data, time.Second)
	if err != nil {
		return err
	}
	defer dir.release()
	if _, err := os.Stat(dir.join("state.db")); err == nil {
		return fmt.Errorf("restore: %s holds a node already; name an empty folder with --data, or move that one away", dir.path)
	}
	err = eachBackup(c.args[0], func(h *tar.Header, r io.Reader) error {
		name := filepath.FromSlash(h.Name)
		if !filepath.IsLocal(name) || strings.HasPrefix(h.Name, "lock") {
			return fmt.Errorf("it names the file %q", h.Name)
		}
		if err := os.MkdirAll(filepath.Dir(dir.join(name)), 0o700); err != nil {
			return err
		}
		text, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		return writeSynced(dir.join(name), text, fs.FileMode(h.Mode).Perm())
	})
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	fmt.Fprintf(c.out, "restored into %s; start it with \"litfass serve\". Articles come back from neighbours, or with \"litfass import\"\n", dir.path)
	return nil
}
