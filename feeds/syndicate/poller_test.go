package syndicate

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/spooltest"
)

// clock is a time that tests move.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(c.at.Load(), 0) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d / time.Second)) }

// node is a poller with a real agent over a spool in memory.
type node struct {
	*Poller
	store *spooltest.Mem
	agent *agent.Agent
}

func newNode(t testing.TB, c *clock, host string) *node {
	t.Helper()
	store := spooltest.NewMem()
	if err := store.PutGroups(context.Background(), spool.GroupInfo{Name: "mesh.news", Status: spool.PostOpen}); err != nil {
		t.Fatal(err)
	}
	db, err := state.Open(filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	ag := &agent.Agent{Host: host, Spool: store, State: db, Now: c.now, Peers: agent.PeerList{{Name: "n0"}, {Name: "n1"}, {Name: "n2"}}}
	p, err := NewPoller(Config{State: db, Agent: ag, Spool: store, Now: c.now,
		Fetcher: Fetcher{Agent: "litfass-test", Guard: Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.cfg.Fetcher.Close)
	return &node{p, store, ag}
}

func (n *node) all(t *testing.T) (out []*article.Article) {
	t.Helper()
	for e, err := range n.store.Since(context.Background(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		a, err := n.store.Open(context.Background(), e.Seq)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, a)
	}
	return out
}

// origin is a web server with one feed that a test changes.
type origin struct {
	*httptest.Server
	mu       sync.Mutex
	items    []string
	answer   func(w http.ResponseWriter, r *http.Request) bool
	requests atomic.Int64
	full     atomic.Int64
}

func newOrigin(t *testing.T) *origin {
	o := &origin{}
	o.Server = httptest.NewServer(o)
	t.Cleanup(o.Close)
	return o
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r.URL.Path == "/page" {
		fmt.Fprint(w, `<html><link rel="alternate" type="application/rss+xml" href="/feed.xml">`)
		return
	}
	o.requests.Add(1)
	if o.answer != nil && o.answer(w, r) {
		return
	}
	etag := fmt.Sprintf(`"%s"`, hash32(10, o.items...))
	w.Header().Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	o.full.Add(1)
	fmt.Fprintf(w, `<rss version="2.0"><channel><title>Origin</title>%s</channel></rss>`, strings.Join(o.items, ""))
}

func (o *origin) put(id, title, text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.items = append([]string{fmt.Sprintf("<item><guid>%s</guid><title>%s</title><link>http://o.example/%s</link><description>%s</description></item>", id, title, id, text)}, o.items...)
}

func TestFeedBecomesArticles(t *testing.T) {
	c := &clock{}
	c.at.Store(1_800_000_000)
	o, n, ctx := newOrigin(t), newNode(t, c, "a.example"), context.Background()
	o.put("1", "Erster", "&lt;p&gt;Grüße&lt;script&gt;x&lt;/script&gt;")
	s, err := n.Add(ctx, o.URL+"/page", "mesh.news", LinkEnclosures)
	if err != nil {
		t.Fatal(err)
	}
	if s.URL != o.URL+"/feed.xml" || s.Title != "Origin" || s.Entries != 1 {
		t.Errorf("%+v", s)
	}
	all := n.all(t)
	if len(all) != 1 || content.Header(all[0].Overview().Subject) != "Erster" || strings.Contains(string(all[0].Body()), "script") {
		t.Fatalf("%s", all[0].Octets())
	}
	if plain := content.Of(all[0]).Plain(); !strings.Contains(plain, "Grüße") {
		t.Errorf("text: %q", plain)
	}
	full := o.full.Load()
	if _, err := n.Poll(ctx, s.URL); err != nil || o.full.Load() != full {
		t.Errorf("the second poll does not use the validators: %v", err)
	}
	c.advance(2 * time.Hour)
	o.mu.Lock()
	o.items[0] = strings.Replace(o.items[0], "Grüße", "Viele Grüße", 1)
	o.mu.Unlock()
	o.put("2", "Zweiter", "x")
	if _, err := n.Poll(ctx, s.URL); err != nil {
		t.Fatal(err)
	}
	all = n.all(t)
	if len(all) != 3 || all[1].Get("Supersedes") != string(all[0].ID()) {
		t.Errorf("%d articles", len(all))
	}
}

func TestOriginTroubles(t *testing.T) {
	c := &clock{}
	c.at.Store(1_800_000_000)
	o, n, ctx := newOrigin(t), newNode(t, c, "a.example"), context.Background()
	o.put("1", "x", "y")
	s, err := n.Add(ctx, o.URL+"/feed.xml", "mesh.news", LinkEnclosures)
	if err != nil {
		t.Fatal(err)
	}
	now := c.now()
	set := func(f func(w http.ResponseWriter, r *http.Request) bool) { o.mu.Lock(); o.answer = f; o.mu.Unlock() }
	set(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", "7200")
		w.WriteHeader(429)
		return true
	})
	s, err = n.Poll(ctx, s.URL)
	if err == nil || s.Next.Before(now.Add(2*time.Hour)) || s.LastError == "" {
		t.Errorf("429: %v, %+v", err, s)
	}
	set(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(500); return true })
	for range 12 {
		s, _ = n.Poll(ctx, s.URL)
	}
	if d := s.Next.Sub(now); d < 24*time.Hour || d > 50*time.Hour || s.Failures != 13 {
		t.Errorf("after %d failures it waits %v", s.Failures, d)
	}
	set(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/new.xml" {
			return false
		}
		http.Redirect(w, r, "/new.xml", http.StatusMovedPermanently)
		return true
	})
	for range 3 {
		if s, err = n.Poll(ctx, s.URL); err != nil {
			t.Fatal(err)
		}
	}
	if s.At != o.URL+"/new.xml" {
		t.Errorf("moved three times, still asks %q", s.At)
	}
	set(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(410); return true })
	if s, _ = n.Poll(ctx, s.URL); !s.Gone {
		t.Error("410 does not end it")
	}
	if u, _ := n.due(); u != "" {
		t.Errorf("%s is still due", u)
	}
	set(func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, "http://169.254.169.254/", 302)
		return true
	})
	if _, err := n.Poll(ctx, s.URL); err == nil || !strings.Contains(err.Error(), "not in the public net") {
		t.Errorf("a redirect gets around the guard: %v", err)
	}
}

func TestHostileIDs(t *testing.T) {
	c := &clock{}
	c.at.Store(1_800_000_000)
	o, n, ctx := newOrigin(t), newNode(t, c, "a.example"), context.Background()
	o.put("same", "one", "1")
	o.put("same", "two", "2")
	o.mu.Lock()
	o.items[0] = strings.Replace(o.items[0], "o.example/same", "o.example/other", 1)
	o.mu.Unlock()
	s, err := n.Add(ctx, o.URL+"/feed.xml", "mesh.news", LinkEnclosures)
	if err != nil || len(n.all(t)) != 2 {
		t.Fatalf("one id for two entries: %v, %d articles", err, len(n.all(t)))
	}
	for i := range 5 {
		c.advance(3 * time.Hour)
		o.mu.Lock()
		o.items = []string{fmt.Sprintf("<item><guid>random-%d</guid><title>two</title><link>http://o.example/other</link><description>%d</description></item>", i, i)}
		o.mu.Unlock()
		if _, err := n.Poll(ctx, s.URL); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(n.all(t)); got != 2 {
		t.Errorf("ids that change each time made %d articles", got-2)
	}
}

// TestOnePollsAllShare runs three nodes that flood to one another for ten days of
// their clock: the origin is asked about as often as by one.
func TestOnePollsAllShare(t *testing.T) {
	c := &clock{}
	c.at.Store(1_800_000_000)
	o, ctx := newOrigin(t), context.Background()
	o.put("0", "entry 0", "x")
	nodes := []*node{newNode(t, c, "n0"), newNode(t, c, "n1"), newNode(t, c, "n2")}
	sent := make([]spool.Seq, len(nodes))
	flood := func() {
		for i, from := range nodes {
			for e, err := range from.store.Since(ctx, sent[i]) {
				if err != nil {
					t.Fatal(err)
				}
				sent[i] = e.Seq
				a, err := from.store.Open(ctx, e.Seq)
				if err != nil {
					t.Fatal(err)
				}
				for j, to := range nodes {
					if j == i {
						continue
					}
					if got, err := to.agent.Relay(ctx, a.Wire(), agent.Origin{Door: "nntp", Peer: fmt.Sprintf("n%d", i)}); err == nil {
						if err := to.Follow(ctx, got); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
		}
	}
	for _, n := range nodes {
		if _, err := n.Add(ctx, o.URL+"/feed.xml", "mesh.news", LinkEnclosures); err != nil {
			t.Fatal(err)
		}
		flood()
	}
	before := o.requests.Load()
	const hours = 72
	entries := 1
	for h := range hours * 4 { // a quarter of an hour each
		c.advance(15 * time.Minute)
		if h%4 == 0 {
			o.put(fmt.Sprint(entries), fmt.Sprintf("entry %d", entries), "x")
			entries++
			if len(o.items) > 50 {
				o.mu.Lock()
				o.items = o.items[:50]
				o.mu.Unlock()
			}
		}
		for _, n := range nodes {
			if u, at := n.due(); u != "" && !at.After(c.now()) {
				if _, err := n.Poll(ctx, u); err != nil {
					t.Fatal(err)
				}
				flood()
			}
		}
	}
	polls := o.requests.Load() - before
	t.Logf("%d polls in %d hours by three nodes", polls, hours)
	if polls > hours*3/2 || polls < hours/3 {
		t.Errorf("%d polls in %d hours", polls, hours)
	}
	for i, n := range nodes {
		if got := len(n.all(t)); got < entries-3 || got > entries {
			t.Errorf("node %d has %d of %d entries", i, got, entries)
		}
	}
}

// TestForgedNews: whoever sends articles that look like those of a feed puts our poll off
// for a day at most.
func TestForgedNews(t *testing.T) {
	o, n, c := start(t)
	o.put("1", "x", "y")
	s, err := n.Add(context.Background(), o.URL+"/feed.xml", "mesh.news", LinkEnclosures)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		c.advance(20 * time.Minute)
		if err := n.Follow(context.Background(), brought(c, s.URL, i+1)); err != nil {
			t.Fatal(err)
		}
		if _, at := n.due(); at.After(s.Polled.Add(25 * time.Hour)) {
			t.Fatalf("after %d articles the feed is asked %v after the last poll", i+1, at.Sub(s.Polled))
		}
	}
	if _, at := n.due(); at.Before(s.Polled.Add(20 * time.Hour)) {
		t.Errorf("what the mesh brings does not put the poll off: %v", at.Sub(s.Polled))
	}
}
