package agent

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/members"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/spooltest"
)

var testNow = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// node is an agent with a spool in memory, groups a.open, a.mod, a.none, two
// accounts and a peer.
func node(t testing.TB) *Agent {
	t.Helper()
	path := filepath.Join(t.TempDir(), "state.db")
	accounts, err := accountsFile()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, accounts, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := state.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	a := &Agent{
		Host: "here.example", Spool: spooltest.NewMem(), State: db,
		Members: &members.Book{DB: db, Now: func() time.Time { return testNow }},
		Peers: PeerList{
			{Name: "box8", Path: "box8.example", From: []netip.Prefix{netip.MustParsePrefix("10.0.0.8/32")},
				Take: func(g article.Group) bool { return !strings.HasPrefix(string(g), "local.") }},
			{Name: "box9", Path: "box9.example", Old: true, Key: "spki:sha256:KEY9"},
		},
		Policy: Policy{Anonymous: map[string]string{"nntp": "post", "web": "read"}, Cutoff: 90 * day},
		Now:    func() time.Time { return testNow },
	}
	groups := []spool.GroupInfo{
		{Name: "a.open", Status: spool.PostOpen}, {Name: "a.two", Status: spool.PostOpen},
		{Name: "a.mod", Status: spool.Moderated, Moderator: "mod@here.example"},
		{Name: "a.field", Status: spool.Moderated, Approved: "field"},
		{Name: "a.none", Status: spool.PostNone}, {Name: "local.x", Status: spool.PostOpen},
	}
	if err := a.Spool.PutGroups(t.Context(), groups...); err != nil {
		t.Fatal(err)
	}
	return a
}

// accountsFile is a state.db with the accounts of the tests, made once: each
// write is a sync.
var accountsFile = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "litfass-test")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "state.db")
	db, err := state.Open(path)
	if err != nil {
		return nil, err
	}
	book := &members.Book{DB: db, Now: func() time.Time { return testNow }}
	for _, m := range []members.Account{{Name: "ann"}, {Name: "root", Admin: true}, {Name: "mod", Moderate: "a.mod,a.field", Email: "mod@here.example"},
		{Name: "few", Post: "a.two", Read: "a.*"}, {Name: "feeder", Feeds: "box9"}} {
		if err := book.Add(context.Background(), m, ""); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	if err := db.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

var (
	reader = Origin{Door: "nntp", Trusted: true, Addr: netip.MustParseAddr("127.0.0.1")}
	box8   = Origin{Door: "nntp", Peer: "box8", Addr: netip.MustParseAddr("10.0.0.8")}
	box9   = Origin{Door: "nntp", Peer: "box9", Cert: "spki:sha256:KEY9", Addr: netip.MustParseAddr("10.0.0.9")}
)

func as(account string) Origin {
	o := reader
	o.Account = account
	return o
}

// draft reads a text of lines with LF; body after the empty line.
func draft(t testing.TB, text string) *article.Draft {
	t.Helper()
	head, body, _ := strings.Cut(text, "\n\n")
	d := &article.Draft{Body: strings.NewReader(strings.ReplaceAll(body, "\n", "\r\n"))}
	for _, f := range strings.Split(strings.ReplaceAll(head, "\n ", "\x01"), "\n") {
		name, v, _ := strings.Cut(f, ":")
		d.Header = append(d.Header, [2]string{name, strings.ReplaceAll(strings.TrimPrefix(v, " "), "\x01", "\r\n ")})
	}
	return d
}

// wire makes an article of a peer; fields given replace or add (an empty value
// leaves the field out).
func wire(id string, fields ...string) []byte {
	h := [][2]string{
		{"Path", "box8.example!far.example!not-for-mail"}, {"From", "Far <far@far.example>"},
		{"Newsgroups", "a.open"}, {"Subject", "from afar"}, {"Message-ID", id}, {"Date", article.FormatDate(testNow.Add(-time.Hour))},
	}
	for i := 0; i < len(fields); i += 2 {
		set := false
		for k := range h {
			if h[k][0] == fields[i] {
				h[k][1], set = fields[i+1], true
			}
		}
		if !set {
			h = append(h, [2]string{fields[i], fields[i+1]})
		}
	}
	var b strings.Builder
	for _, f := range h {
		if f[1] != "" {
			b.WriteString(f[0] + ": " + f[1] + "\r\n")
		}
	}
	b.WriteString("\r\nbody\r\n..dot\r\n.\r\n")
	return []byte(b.String())
}

func code(err error) string {
	var r *Refusal
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &r):
		return r.Code
	}
	return "error: " + err.Error()
}

func open(t testing.TB, a *Agent, id article.ID) *article.Article {
	t.Helper()
	e, err := a.Spool.ByID(context.Background(), id)
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	art, err := a.Spool.Open(context.Background(), e.Seq)
	if err != nil {
		t.Fatal(err)
	}
	return art
}
