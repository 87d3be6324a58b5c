package nntpd

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/members"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/spooltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is the time in all tests.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func testNow() time.Time { return noon }

// node is a server with a few groups and articles in memory.
type node struct {
	*Server
	spool spool.Store
	agent *agent.Agent
	addr  string
}

type nodeConfig struct {
	anonymous string // default post
	untrusted bool
	peer      bool // loopback is a peer's
	paused    bool // the exchange with it is
	accounts  bool // anna, password secret word; box, which is the peer's login
	staff     bool // mona moderates mesh.mod, olga administers
	edit      func(*Config)
	agent     func(*agent.Agent)
	wrap      func(Agent) Agent
	store     spool.Store // default: one in memory
}

func put(t testing.TB, m spool.Store, at time.Time, text string, groups ...article.Group) {
	t.Helper()
	wire, err := article.Normalize([]byte(text), article.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := article.Parse(wire, article.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Add(t.Context(), a, spool.Arrival{Groups: groups, At: at}); err != nil {
		t.Fatal(err)
	}
}

func text(id, groups, subject, body string) string {
	return fmt.Sprintf("Path: there!not-for-mail\nFrom: Anna <anna@mesh.example>\nNewsgroups: %s\nSubject: %s\n"+
		"Date: Mon, 23 Nov 2026 10:00:00 +0000\nMessage-ID: %s\nX-Word: one\n\ttwo\n\n%s", groups, subject, id, body)
}

func fill(t testing.TB, m spool.Store) {
	t.Helper()
	old := noon.Add(-30 * 24 * time.Hour)
	if err := m.PutGroups(t.Context(),
		spool.GroupInfo{Name: "mesh.empty", Status: spool.PostOpen, Created: old},
		spool.GroupInfo{Name: "mesh.mod", Status: spool.Moderated, Moderator: "m@mesh.example", Created: old, Description: "Wise words"},
		spool.GroupInfo{Name: "mesh.new", Status: spool.PostNone, Created: noon.Add(-time.Hour), Creator: "olga@mesh.example"},
		spool.GroupInfo{Name: "mesh.test", Status: spool.PostOpen, Created: old, Description: "Tests \xfc Unsinn"},
		spool.GroupInfo{Name: "private.club", Status: spool.PostOpen, Created: old},
	); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 5; i++ {
		put(t, m, noon.Add(-time.Duration(6-i)*time.Hour), text(fmt.Sprintf("<%d@mesh.example>", i), "mesh.test", fmt.Sprintf("article %d", i), ".dot\nline\n"), "mesh.test")
	}
	put(t, m, noon.Add(-time.Minute), text("<both@mesh.example>", "mesh.test,mesh.new", "both", "x\n"), "mesh.test", "mesh.new")
	put(t, m, noon.Add(-time.Minute), text("<club@mesh.example>", "private.club", "secret", "x\n"), "private.club")
	e, err := m.ByID(t.Context(), "<3@mesh.example>")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Remove(t.Context(), e.Seq, nil, noon.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
}

func start(t testing.TB, nc nodeConfig) *node {
	t.Helper()
	m := nc.store
	if m == nil {
		mem := spooltest.NewMem()
		mem.Now = testNow
		m = mem
	}
	fill(t, m)
	loop := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	if nc.anonymous == "" {
		nc.anonymous = "post"
	}
	a := &agent.Agent{Host: "news.example", Spool: m, Now: testNow}
	a.Policy.Anonymous = map[string]string{"nntp": nc.anonymous}
	box := agent.Peer{Name: "box", Path: "there", Paused: nc.paused}
	if nc.peer {
		box.From = loop
	}
	a.Peers = agent.PeerList{box}
	cfg := Config{Host: "news.example", Spool: m, Now: testNow, Version: "litfass-test", TempDir: t.TempDir(), PostMemory: 4096}
	if testing.Verbose() {
		cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	if !nc.untrusted {
		cfg.Trusted = loop
	}
	if nc.accounts {
		b := book(t, nc.staff)
		a.Members, cfg.Accounts = b, b
	}
	if nc.agent != nil {
		nc.agent(a)
	}
	cfg.Agent = a
	if nc.wrap != nil {
		cfg.Agent = nc.wrap(a)
	}
	if nc.edit != nil {
		nc.edit(&cfg)
	}
	n := &node{Server: New(cfg), spool: m, agent: a}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.addr = l.Addr().String()
	done := make(chan error, 1)
	go func() { done <- n.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := n.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		if n.Counts.Panics.Load() > 0 {
			t.Error("a session panicked")
		}
	})
	return n
}

func stateDB(t testing.TB) *state.DB {
	t.Helper()
	db, err := state.Open(filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func book(t testing.TB, staff bool) *members.Book {
	t.Helper()
	b := &members.Book{DB: stateDB(t), Now: testNow}
	all := []members.Account{{Name: "anna", Read: "mesh.*", Post: "mesh.*"}, {Name: "box", Feeds: "box"}}
	if staff {
		all = append(all, members.Account{Name: "mona", Moderate: "mesh.mod"}, members.Account{Name: "olga", Admin: true})
	}
	for _, a := range all {
		if err := b.Add(t.Context(), a, "secret word"); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func (n *node) dial(t testing.TB) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

// group says how many articles a group holds.
func (n *node) count(t testing.TB, g article.Group) uint64 {
	t.Helper()
	i, err := n.spool.Group(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	return i.Count
}
