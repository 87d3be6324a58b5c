//go:build !notorrent

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/torrent"
	"github.com/litfass/litfass/torrent/web"
)

// torrentRows are this room's commands.
func torrentRows() []command {
	return []command{{name: "torrent", short: "attachments and other torrents", sub: []command{
		{name: "add", args: "FILE [--group G] [--subject S]", short: "put a file into the store, and post it to a group", run: cmdTorrentAdd,
			long: "Prints the magnet link. Without --group no article names the file: it is pinned."},
		{name: "list", short: "torrents that are here or known", run: cmdTorrentList},
		{name: "get", args: "MAGNET|FILE.torrent [-o FILE]", short: "fetch a torrent into the store; its file into FILE", run: cmdTorrentGet},
		{name: "rm", args: "MAGNET|INFOHASH [--deny REASON]", short: "remove a torrent; --deny: never take it again", run: cmdTorrentRm,
			long: "No group's policy brings it back, also if an article that names it comes later; who opens it here still fetches it. " +
				"With --deny nobody does, and a SHA-256 may be named too; the reason stands in the public log."},
		{name: "pin", args: "MAGNET|INFOHASH", short: "keep a torrent even if no article names it", run: func(c *call) error { return cmdTorrentPin(c, true) }},
		{name: "unpin", args: "MAGNET|INFOHASH", short: "keep it only as long as an article names it", run: func(c *call) error { return cmdTorrentPin(c, false) }},
		{name: "allow", args: "MAGNET|INFOHASH [--reason R]", short: "take it off the deny list", run: cmdTorrentAllow},
	}}}
}

// torrentJSON is a torrent as commands show it.
type torrentJSON struct {
	Infohash string `json:"infohash"`
	Name     string `json:"name"`
	Size     int64  `json:"size"`
	Have     int64  `json:"have"`
	State    string `json:"state"`
	Class    string `json:"class"`
	Pinned   bool   `json:"pinned"`
	Articles int    `json:"articles"`
	Peers    int    `json:"peers"`
	SHA256   string `json:"sha256,omitempty"`
	Magnet   string `json:"magnet,omitempty"`
	URL      string `json:"url,omitempty"`
	ID       string `json:"id,omitempty"`    // of the article that was posted
	Error    string `json:"error,omitempty"` // of a fetch under way
	Done     bool   `json:"done,omitempty"`
}

func cmdTorrentAdd(c *call) (err error) {
	group := c.fs.String("group", "", "post it to `GROUP`")
	subject := c.fs.String("subject", "", "subject of the article; default: the file's name")
	if err := c.parse(1, 1); err != nil {
		return err
	}
	f, err := os.Open(c.args[0])
	if err != nil {
		return fmt.Errorf("read the file: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read the file: %w", err)
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is no file; put a folder's files into one archive first", c.args[0])
	}
	n, err := c.node()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	q := url.Values{"name": {filepath.Base(c.args[0])}, "size": {strconv.FormatInt(st.Size(), 10)}, "group": {*group}, "subject": {*subject}}
	bar := newProgress(c.err, "MiB", st.Size())
	body, err := n.stream(c.ctx, "torrent/add", q.Encode(), &counting{f, bar})
	bar.end()
	if err != nil {
		return fmt.Errorf("add %s: %w", c.args[0], err)
	}
	defer body.Close()
	var done torrentJSON
	if err := json.NewDecoder(body).Decode(&done); err != nil {
		return fmt.Errorf("read the node's answer: %w", err)
	}
	if c.json {
		return c.printJSON(done)
	}
	fmt.Fprintf(c.out, "%s\n%s\n", done.Magnet, done.URL)
	if done.ID != "" {
		fmt.Fprintf(c.out, "posted as %s\n", done.ID)
	}
	return nil
}

// counting tells a bar how much of a file was read.
type counting struct {
	r   io.Reader
	bar *progress
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.bar.count.Store(c.bar.done.Add(int64(n)) >> 20)
	return n, err
}

// WriteTo sends large blocks: net/http's own of 32 KiB cost a third of the time.
func (c *counting) WriteTo(w io.Writer) (int64, error) {
	return io.CopyBuffer(w, struct{ io.Reader }{c}, make([]byte, 256<<10))
}

func cmdTorrentList(c *call) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	list := []torrentJSON{}
	if err := c.ask("torrent/list", struct{}{}, &list); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(list)
	}
	var rows [][]string
	for _, t := range list {
		kept := t.Class
		if t.Pinned {
			kept = "pinned"
		}
		rows = append(rows, []string{t.Infohash, or(t.Name, "(not known yet)"), fmt.Sprint(t.Size), t.State, kept, fmt.Sprint(t.Articles)})
	}
	c.printTable([]string{"INFOHASH", "NAME", "BYTES", "STATE", "KEPT AS", "ARTICLES"}, rows)
	return nil
}

func cmdTorrentGet(c *call) (err error) {
	out := c.fs.String("o", "", "write the torrent's file to `FILE` (\"-\": standard output)")
	if err := c.parse(1, 1); err != nil {
		return err
	}
	uri, metainfo, err := wished(c.args[0])
	if err != nil {
		return err
	}
	n, err := c.node()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	body, err := n.stream(c.ctx, "torrent/get", url.Values{"uri": {uri}}.Encode(), bytes.NewReader(metainfo))
	if err != nil {
		return fmt.Errorf("get: %w", err)
	}
	last, err := c.watch(body)
	body.Close()
	if err != nil {
		return err
	}
	if *out != "" {
		return c.writeOut(n, last, *out)
	}
	if c.json {
		return c.printJSON(last)
	}
	fmt.Fprintf(c.out, "%s %s: %d bytes, %s\n", last.Infohash, last.Name, last.Size, last.State)
	return nil
}

// wished reads what "torrent get" is given: a magnet link, or a .torrent file.
func wished(arg string) (uri string, metainfo []byte, err error) {
	f, err := os.Open(arg)
	if err != nil {
		if strings.HasSuffix(arg, ".torrent") {
			return "", nil, fmt.Errorf("read the file: %w", err)
		}
		return arg, nil, nil
	}
	defer f.Close()
	metainfo, err = io.ReadAll(io.LimitReader(f, torrent.Limits{}.MetainfoMax()+1))
	if err != nil {
		return "", nil, fmt.Errorf("read the file: %w", err)
	}
	return "", metainfo, nil
}

// watch shows how a fetch goes on until it ends.
func (c *call) watch(r io.Reader) (last torrentJSON, err error) {
	lines := json.NewDecoder(r)
	var bar *progress
	defer func() {
		if bar != nil {
			bar.end()
		}
	}()
	for {
		var t torrentJSON
		if err := lines.Decode(&t); err != nil {
			return last, fmt.Errorf("get: the node broke off: %w", err)
		}
		if t.Error != "" {
			return last, fmt.Errorf("get: %s", t.Error)
		}
		if t.Done {
			return t, nil
		}
		if bar == nil && t.Size > 0 {
			bar = newProgress(c.err, "MiB", t.Size)
		}
		if bar != nil {
			bar.done.Store(t.Have)
			bar.count.Store(t.Have >> 20)
		}
	}
}

func (c *call) writeOut(n *node, t torrentJSON, name string) (err error) {
	body, err := n.stream(c.ctx, "torrent/read", url.Values{"hash": {t.Infohash}}.Encode(), strings.NewReader(""))
	if err != nil {
		return fmt.Errorf("get: %w", err)
	}
	defer body.Close()
	if name == "-" {
		_, err := io.Copy(c.out, body)
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("get: %w", err)
	}
	_, err = io.Copy(f, body)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func (c *control) torrentActs() {
	c.mux.HandleFunc("POST /v1/torrent/add", func(w http.ResponseWriter, r *http.Request) {
		done, err := c.torrentAdd(r)
		reply(w, done, err)
	})
	c.mux.HandleFunc("POST /v1/torrent/get", c.torrentGet)
	c.mux.HandleFunc("POST /v1/torrent/read", c.torrentRead)
	act(c, "torrent/list", func(context.Context, struct{}) ([]torrentJSON, error) { return c.torrentList(), nil })
	act(c, "torrent/rm", c.torrentRm)
	act(c, "torrent/pin", c.torrentPin)
	act(c, "torrent/allow", c.torrentAllow)
}

func (c *control) torrentList() []torrentJSON {
	out := []torrentJSON{}
	for _, r := range c.core.torrents.store.List() {
		out = append(out, c.showTorrent(r))
	}
	return out
}

func (c *control) showTorrent(r torrent.Record) torrentJSON {
	t := torrentJSON{Infohash: r.Hash.String(), Name: r.Name, Size: r.Length, State: r.State.String(), Class: r.Class.String(), Pinned: r.Pinned, Articles: r.Refs}
	if r.Complete() {
		t.Have = r.Length
	}
	if e := c.core.torrents.engine; e != nil {
		if st, err := e.Status(r.Hash); err == nil {
			t.Have, t.Peers = st.Have, st.Peers
		}
	}
	return t
}

func (c *control) torrentAdd(r *http.Request) (torrentJSON, error) {
	q := r.URL.Query()
	n, err := strconv.ParseInt(q.Get("size"), 10, 64)
	if err != nil || n < 0 {
		return torrentJSON{}, errors.New("the size is no number")
	}
	group := q.Get("group")
	if group != "" {
		if _, err := c.core.spool.Group(r.Context(), article.Group(group)); err != nil {
			return torrentJSON{}, noGroup(group, err)
		}
	}
	s := c.core.torrents.store
	in, sum, err := s.Add(r.Context(), r.Body, n, q.Get("name"), torrent.Owner{Group: group, Pinned: group == ""}, nil)
	if err != nil {
		return torrentJSON{}, err
	}
	a := torrent.NewAttachment(in, sum, s.Config().URL)
	done := torrentJSON{Infohash: in.Hash.String(), Name: in.Name, Size: in.Length, Have: in.Length, State: torrent.Verified.String(), Class: torrent.Own.String(),
		SHA256: sum.String(), Magnet: a.Magnet, URL: a.URL(s.Config().URL), Pinned: group == ""}
	if group != "" {
		done.ID, err = c.announce(r.Context(), a, group, or(q.Get("subject"), in.Name))
	}
	return done, err
}

// announce posts an article that carries the attachment.
func (c *control) announce(ctx context.Context, a torrent.Attachment, group, subject string) (string, error) {
	a.Type = web.Type(a.Name)
	typ, body := c.core.torrents.store.Announcement(a, "", "=_"+a.Sum.String()[:24])
	d := &article.Draft{Header: [][2]string{
		{"From", c.core.host + " <postmaster@" + c.core.host + ">"}, {"Newsgroups", group}, {"Subject", mime.QEncoding.Encode("utf-8", subject)},
		{"MIME-Version", "1.0"}, {"Content-Type", typ},
	}, Body: strings.NewReader(string(body))}
	res, err := c.core.agent.Inject(ctx, d, agent.Origin{Door: "control"})
	if err != nil {
		return "", plain(err)
	}
	return string(res.ID), nil
}

// note makes the torrent known that a request names by a magnet link, or else
// brings as a .torrent file.
func (c *control) note(r *http.Request) (torrent.Infohash, error) {
	store := c.core.torrents.store
	if uri := r.URL.Query().Get("uri"); uri != "" {
		m, err := torrent.ParseMagnet(uri)
		if err != nil {
			return m.Hash, err
		}
		return m.Hash, store.Note(m)
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, torrent.Limits{}.MetainfoMax()+1))
	if err != nil {
		return torrent.Infohash{}, err
	}
	return store.NoteFile(b)
}

// torrentGet fetches and tells every half second how far it is: a JSON value a line.
func (c *control) torrentGet(w http.ResponseWriter, r *http.Request) {
	h, err := c.note(r)
	var e *torrent.Engine
	if err == nil {
		e, err = c.core.torrentEngine("")
	}
	if err != nil {
		reply(w, nil, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	out, flush := json.NewEncoder(w), http.NewResponseController(w)
	ended := make(chan error, 1)
	go func() { ended <- e.Fetch(r.Context(), h, torrent.Cache) }()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			t := torrentJSON{Done: true}
			if rec, rerr := c.core.torrents.store.Record(h); rerr == nil {
				t = c.showTorrent(rec)
				t.Done = true
			}
			if err != nil {
				t.Error = err.Error()
			}
			_ = out.Encode(t) // who asked is gone: the fetch goes on
			return
		case <-tick.C:
			if rec, err := c.core.torrents.store.Record(h); err == nil {
				_ = out.Encode(c.showTorrent(rec))
				_ = flush.Flush()
			}
		}
	}
}

// torrentRead streams the one file of a torrent that is here.
func (c *control) torrentRead(w http.ResponseWriter, r *http.Request) {
	h, err := torrent.ParseInfohash(r.URL.Query().Get("hash"))
	var in *torrent.Info
	if err == nil {
		in, err = c.core.torrents.store.Info(h)
	}
	if err == nil && !in.Single {
		err = fmt.Errorf("it has %d files; get them from %s/t/%s/", len(in.Files), c.core.cfg.HTTP.URL, h)
	}
	var f *os.File
	if err == nil {
		f, err = c.core.torrents.store.OpenFile(h, 0)
	}
	if err != nil {
		reply(w, nil, err)
		return
	}
	defer f.Close()
	_, _ = io.Copy(w, f) // who asked is gone: nobody to tell
}
