package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/wildmat"
	"github.com/litfass/litfass/spool"
)

// loadJSON is what came of loading lists of groups.
type loadJSON struct {
	Lines     int      `json:"lines"`
	Made      int      `json:"made"`
	Described int      `json:"described"` // descriptions that are new
	Skipped   int      `json:"skipped"`
	Why       []string `json:"why,omitempty"` // of the first ones skipped
}

const groupLoadHelp = `Reads lists of newsgroups as other servers keep them: active ("name high low flag") and newsgroups
("name<TAB>description"), told apart by their lines. Groups that are not here are made, with the list's
flag; groups that are here keep theirs and get the description. Descriptions keep their octets. Numbers
of articles are not taken over. "-" is standard input.`

func cmdGroupLoad(c *call) (err error) {
	only := c.fs.String("only", "*", "`WILDMAT` of the groups to take")
	if err := c.parse(1, -1); err != nil {
		return err
	}
	if _, err := wildmat.Parse(*only); err != nil {
		return usagef("group load: --only: %v", err)
	}
	var files []io.Reader
	for _, name := range c.args {
		f, err := c.open(name)
		if err != nil {
			return fmt.Errorf("group load: %w", err)
		}
		defer f.Close()
		files = append(files, f, strings.NewReader("\n")) // the last line may have no end
	}
	n, err := c.node()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	body, err := n.stream(c.ctx, "group/load", "only="+url.QueryEscape(*only), io.MultiReader(files...))
	if err != nil {
		return err
	}
	defer body.Close()
	var done loadJSON
	if err := json.NewDecoder(body).Decode(&done); err != nil {
		return fmt.Errorf("read the node's answer: %w", err)
	}
	if c.json {
		return c.printJSON(done)
	}
	fmt.Fprintf(c.out, "%d groups made, %d descriptions set, of %d lines\n", done.Made, done.Described, done.Lines)
	if done.Skipped > 0 {
		fmt.Fprintf(c.out, "%d lines left out, among them:\n", done.Skipped)
		for _, w := range done.Why {
			fmt.Fprintf(c.out, "  %s\n", w)
		}
	}
	return nil
}

// loadBatch is how many groups are made with one sync.
const loadBatch = 2000

// groupLoader makes groups of the lines of lists.
type groupLoader struct {
	core  *core
	only  wildmat.Wildmat
	batch []spool.GroupInfo
	at    map[article.Group]int // where a group stands in batch
	done  loadJSON
}

func (c *control) groupLoad(w http.ResponseWriter, r *http.Request) {
	only, err := wildmat.Parse(r.URL.Query().Get("only"))
	if err != nil {
		reply(w, nil, err)
		return
	}
	l := &groupLoader{core: c.core, only: only, at: map[article.Group]int{}}
	err = l.read(r.Context(), r.Body)
	reply(w, &l.done, err)
}

func (l *groupLoader) read(ctx context.Context, text io.Reader) error {
	in := bufio.NewScanner(text)
	in.Buffer(make([]byte, 0, 64<<10), 64<<10)
	for in.Scan() {
		line := bytes.TrimRight(in.Bytes(), "\r")
		if len(bytes.TrimSpace(line)) == 0 || line[0] == '#' {
			continue
		}
		l.done.Lines++
		if err := l.line(ctx, string(line)); err != nil {
			return err
		}
		if len(l.batch) >= loadBatch {
			if err := l.flush(ctx); err != nil {
				return err
			}
		}
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("read the list behind line %d: %w", l.done.Lines, err)
	}
	return l.flush(ctx)
}

func (l *groupLoader) skip(name, why string) {
	l.done.Skipped++
	if len(l.done.Why) < 20 {
		l.done.Why = append(l.done.Why, fmt.Sprintf("%.100q: %s", name, why))
	}
}

func (l *groupLoader) line(ctx context.Context, line string) error {
	text, status, description := parseGroupLine(line)
	name, err := groupName(text)
	switch {
	case err != nil:
		l.skip(text, err.Error())
		return nil
	case ours(text):
		l.skip(text, "the name is kept for the server's own groups (RFC 5536 §3.1.4)")
		return nil
	case !l.only.Match(text):
		return nil
	}
	i, ok := l.at[name]
	if !ok {
		info, err := l.core.spool.Group(ctx, name)
		switch {
		case errors.Is(err, spool.ErrNotFound):
			info = spool.GroupInfo{Name: name, Status: status, Created: l.core.now(), Creator: "list"}
			l.done.Made++
		case err != nil:
			return fmt.Errorf("look up group %s: %w", name, err)
		case description == "" || info.Description == description:
			return nil
		}
		i = len(l.batch)
		l.at[name], l.batch = i, append(l.batch, info)
	}
	if description != "" && l.batch[i].Description != description {
		l.batch[i].Description = description
		l.done.Described++
	}
	return nil
}

func (l *groupLoader) flush(ctx context.Context) error {
	if len(l.batch) == 0 {
		return nil
	}
	if err := l.core.putGroups(ctx, l.batch...); err != nil {
		return fmt.Errorf("make groups: %w", err)
	}
	clear(l.at)
	l.batch = l.batch[:0]
	return nil
}

// parseGroupLine reads a line of an active or a newsgroups file.
func parseGroupLine(line string) (name string, status spool.Status, description string) {
	status = spool.PostOpen
	f := strings.Fields(line)
	if len(f) == 4 && number(f[1]) && number(f[2]) { // name high low flag
		switch f[3][0] {
		case 'y':
		case 'm':
			status = spool.Moderated
		default: // n; j, x and =other are INN's
			status = spool.PostNone
		}
		return f[0], status, ""
	}
	name, description, _ = strings.Cut(line, "\t")
	name, description = strings.TrimSpace(name), strings.Trim(description, " \t")
	if strings.HasSuffix(description, "(Moderated)") { // RFC 3977 §7.6.6, and every list since B News
		status = spool.Moderated
	}
	return name, status, description
}

func number(s string) bool {
	_, err := strconv.ParseUint(s, 10, 64)
	return err == nil
}

// ours says whether a name is kept for what servers do with it themselves. Lists
// hold others that RFC 5536 §3.1.4 reserves, with parts "all" or "ctl": these
// are in use.
func ours(name string) bool {
	head, _, _ := strings.Cut(name, ".")
	return head == "control" || head == "to" || head == "example" || name == "junk" || name == "poster"
}
