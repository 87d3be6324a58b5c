package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFlood(t *testing.T) {
	n, to := newNode(t), newNeighbour(t)
	n.addMany(0, 1000)
	f := n.feeds(&memory{}, Peer{Name: "p", Address: to.addr})
	to.waitFor(1000)
	n.addMany(1000, 3000)
	to.waitFor(3000)
	for i := range 3000 {
		if got := to.have[fmt.Sprintf("<%d@x>", i)]; !bytes.Equal(got, wire(i, "here!not-for-mail", "a.b")) {
			t.Fatalf("article %d came as %q", i, got)
		}
	}
	f.Stop()
	if to.twice != 0 || to.commands["TAKETHIS"] != 3000 {
		t.Errorf("commands %v, %d twice", to.commands, to.twice)
	}
	if c := to.commands["CHECK"]; c == 0 || c > 2000 {
		t.Errorf("%d CHECKs: at first each is asked for, later none, as all are wanted", c)
	}
}

func TestMatcher(t *testing.T) {
	tests := []struct {
		send, path string
		groups     string
		hops       string
		want       bool
	}{
		{"", "", "a.b", "here", true},
		{"", "", "local.x", "here", false},
		{"", "", "local.x,a.b", "here", true},
		{"", "", "a.b", "x.p.y,here", true},
		{"", "", "a.b", "here,P", false}, // case does not matter
		{"", "box.p", "a.b", "here,p", true},
		{"", "box.p", "a.b", "here,box.p", false},
		{"c.*", "", "a.b", "here", false},
		{"*,!c.d", "", "a.b,c.d", "here", true},
		{"*", "", "", "here", false}, // filed nowhere
	}
	for _, tt := range tests {
		match, err := Peer{Name: "p", Send: tt.send, Path: tt.path}.Matcher()
		if err != nil {
			t.Fatal(err)
		}
		e := spool.Entry{Path: strings.Split(tt.hops, ",")}
		for _, g := range strings.FieldsFunc(tt.groups, func(r rune) bool { return r == ',' }) {
			e.Places = append(e.Places, spool.Place{Group: group(g), Number: 1})
		}
		if got := match(&e); got != tt.want {
			t.Errorf("send %q path %q: article in %q by %q: %v", tt.send, tt.path, tt.groups, tt.hops, got)
		}
	}
}

// TestDistributions: an article with Distribution is wanted if one of its words
// matches, one without always.
func TestDistributions(t *testing.T) {
	for _, tt := range []struct {
		dist, field string
		want        bool
	}{
		{"", "", true},
		{"", "local", false},
		{"", "LOCAL", false},
		{"", "de", true},
		{"", "local, de", true},
		{"de,at", "world", false},
		{"de,at", "AT", true},
		{"de,at", "", true},
		{"*,!l*", "local,lan", false},
	} {
		wants, err := Peer{Name: "p", Dist: tt.dist}.Wants(func(context.Context, spool.Seq) (*article.Article, error) {
			text := wire(1, "here!not-for-mail", "a.b")
			if tt.field != "" {
				text = append([]byte("Distribution: "+tt.field+"\r\n"), text...)
			}
			return article.Parse(text, article.Limits{})
		})
		if err != nil {
			t.Fatal(err)
		}
		e := spool.Entry{Path: []string{"here"}, Places: []spool.Place{{Group: "a.b", Number: 1}}}
		if tt.field != "" {
			e.Has |= article.HasDistribution
		}
		if got, err := wants(t.Context(), &e); got != tt.want || err != nil {
			t.Errorf("distributions %q, Distribution %q: %v, %v", tt.dist, tt.field, got, err)
		}
	}
}

// TestNotForIt: what does not match moves the cursor all the same.
func TestNotForIt(t *testing.T) {
	n, to, st := newNode(t), newNeighbour(t), &memory{}
	f := n.feeds(st, Peer{Name: "p", Address: to.addr})
	for i := range 200 {
		n.add(3*i, "here!p!not-for-mail", "a.b")
		n.add(3*i+1, "here!not-for-mail", "local.x")
		n.add(3*i+2, "here!not-for-mail", "local.x", "c.d")
	}
	to.waitFor(200)
	f.Stop()
	for id := range to.have {
		var i int
		if fmt.Sscanf(id, "<%d@x>", &i); i%3 != 2 {
			t.Errorf("%s was sent", id)
		}
	}
	if c, _, err := loadCursor(st, "p", n); err != nil || c.Seq != 600 || len(c.Deferred) != 0 {
		t.Errorf("cursor %+v, %v", c, err)
	}
}

func TestIhave(t *testing.T) {
	n, to := newNode(t), newNeighbour(t)
	to.noStream = true
	to.have["<5@x>"] = nil
	n.addMany(0, 100)
	f := n.feeds(&memory{}, Peer{Name: "p", Address: to.addr})
	to.waitFor(100)
	f.Stop()
	if to.commands["IHAVE"] != 100 || to.commands["CHECK"] != 0 || to.twice != 0 {
		t.Errorf("commands %v, %d twice", to.commands, to.twice)
	}
}

// TestDeferred: articles that the peer defers come later, hold up nobody, and
// are not forgotten by a restart.
func TestDeferred(t *testing.T) {
	n, to, st := newNode(t), newNeighbour(t), &memory{}
	var later atomic.Bool
	later.Store(true)
	to.answer = func(verb, id string) string {
		if verb == "CHECK" && strings.HasSuffix(id, "7@x>") && later.Load() {
			return "431 " + id
		}
		return ""
	}
	n.addMany(0, 100)
	p := Peer{Name: "p", Address: to.addr}
	f := n.feeds(st, p)
	to.waitFor(90)
	to.wait("offers again", func() bool { return to.commands["CHECK"] > 150 })
	n.addMany(100, 110)
	to.waitFor(99)
	await(t, "the last one's being deferred", func() bool { return f.Stats()[0].Deferred == 11 })
	f.Stop()
	c, _, err := loadCursor(st, "p", n)
	if err != nil || c.Seq != 110 || len(c.Deferred) != 11 {
		t.Errorf("cursor %+v, %v", c, err)
	}
	later.Store(false)
	f = n.feeds(st, p)
	to.waitFor(110)
	f.Stop()
	if c, _, _ := loadCursor(st, "p", n); len(c.Deferred) != 0 || to.twice != 0 {
		t.Errorf("cursor %+v, %d twice", c, to.twice)
	}
}

// TestFullPeer: a peer that defers everything loses nothing, and holds little here.
func TestFullPeer(t *testing.T) {
	n, to, st := newNode(t), newNeighbour(t), &memory{}
	var full atomic.Bool
	full.Store(true)
	to.answer = func(verb, id string) string {
		if (verb == "CHECK" || verb == "TAKETHIS") && full.Load() {
			return "431 " + id
		}
		return ""
	}
	const many = maxDeferred + 1000
	n.addMany(0, many)
	f := n.feeds(st, Peer{Name: "p", Address: to.addr})
	to.wait("many offers", func() bool { return to.commands["CHECK"] > maxDeferred+500 })
	if s := f.Stats()[0]; s.Cursor >= many || s.Deferred > maxDeferred+200 || s.Later == 0 {
		t.Errorf("cursor %d of %d, %d deferred", s.Cursor, many, s.Deferred)
	}
	full.Store(false)
	to.waitFor(many)
}

// TestBreaks: connections that break in the middle lose nothing.
func TestBreaks(t *testing.T) {
	n, to := newNode(t), newNeighbour(t)
	count := 0
	to.answer = func(verb, id string) string {
		if verb == "TAKETHIS" || verb == "CHECK" {
			if count++; count%97 == 0 {
				return "DROP"
			}
		}
		return ""
	}
	n.addMany(0, 1000)
	f := n.feeds(&memory{}, Peer{Name: "p", Address: to.addr})
	to.waitFor(1000)
	if s := f.Stats()[0]; s.Failed == 0 || s.LastError == "" {
		t.Errorf("%+v", s)
	}
	if to.twice != 0 {
		t.Errorf("%d sent twice without asking", to.twice)
	}
}

// TestDown: nothing is lost while the peer is away, and it is fed at once when it
// shows itself, however long the wait has become.
func TestDown(t *testing.T) {
	n, to, st := newNode(t), newNeighbour(t), &memory{}
	n.addMany(0, 10)
	f := New(Config{Spool: n, State: st, RetryMin: time.Hour, RetryMax: time.Hour})
	t.Cleanup(f.Stop)
	if err := f.Set([]Peer{{Name: "p", Address: to.addr}}); err != nil {
		t.Fatal(err)
	}
	await(t, "the cursor", func() bool { return f.Stats()[0].Cursor == 10 })
	to.down()
	n.addMany(10, 500)
	await(t, "a failure", func() bool { s := f.Stats()[0]; return !s.RetryAt.IsZero() && s.Conns == 0 && s.LastError != "" })
	if s := f.Stats()[0]; s.Lag != 490 {
		t.Errorf("lag %d, want 490", s.Lag)
	}
	to.up()
	await(t, "articles", func() bool {
		f.Wake("p")
		to.mu.Lock()
		defer to.mu.Unlock()
		return len(to.have) == 500
	})
	f.Stop()
	if c, _, _ := loadCursor(st, "p", n); c.Seq != 500 {
		t.Errorf("cursor %+v", c)
	}
}

// await polls: what it waits for has no event.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestResume: a restart goes on at the cursor.
func TestResume(t *testing.T) {
	n, to, st := newNode(t), newNeighbour(t), &memory{}
	p := Peer{Name: "p", Address: to.addr}
	n.addMany(0, 100)
	f := n.feeds(st, p)
	to.waitFor(100)
	f.Stop()
	offered := to.commands["CHECK"]
	n.addMany(100, 110)
	f = n.feeds(st, p)
	to.waitFor(110)
	f.Stop()
	if got := to.commands["CHECK"] - offered; got > 12 {
		t.Errorf("%d CHECKs for 10 new articles", got)
	}
	st.m["send/p"] = []byte(`{"Spool":"another","Seq":7}`)
	if c, why, err := loadCursor(st, "p", n); err != nil || c.Seq != 0 || why == "" {
		t.Errorf("cursor of another spool: %+v, %q, %v", c, why, err)
	}
	st.m["send/p"] = fmt.Appendf(nil, `{"Spool":%q,"Seq":700}`, n.SpoolID())
	if c, why, err := loadCursor(st, "p", n); err != nil || c.Seq != 0 || why == "" {
		t.Errorf("cursor beyond the end: %+v, %q, %v", c, why, err)
	}
	if err := f.Forget("p"); err != nil || st.m["send/p"] != nil {
		t.Errorf("Forget: %v", err)
	}
}

// TestHung: a peer that reads no more is given up after a while, and does not
// keep the node from stopping.
func TestHung(t *testing.T) {
	n, to := newNode(t), newNeighbour(t)
	to.answer = func(verb, id string) string {
		if verb == "TAKETHIS" {
			return "HANG"
		}
		return ""
	}
	for i := range 200 {
		n.add(i, "here!"+strings.Repeat("x", 15000)+"!not-for-mail", "a.b")
	}
	f := New(Config{Spool: n, State: &memory{}, Answer: 100 * time.Millisecond, RetryMin: time.Hour})
	if err := f.Set([]Peer{{Name: "p", Address: to.addr}}); err != nil {
		t.Fatal(err)
	}
	await(t, "being given up", func() bool { return f.Stats()[0].Failed > 0 })
	f.Stop()

	f = New(Config{Spool: n, State: &memory{}, Farewell: 50 * time.Millisecond})
	if err := f.Set([]Peer{{Name: "p", Address: to.addr}}); err != nil {
		t.Fatal(err)
	}
	to.wait("a connection that hangs", func() bool { return to.commands["TAKETHIS"] > 2 })
	begin := time.Now()
	f.Stop()
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("stopping took %v", d)
	}
}

// TestGone: an article that left the spool is passed over.
func TestGone(t *testing.T) {
	n, to := newNode(t), newNeighbour(t)
	to.answer = func(verb, id string) string {
		if verb == "CHECK" && id == "<3@x>" {
			if err := n.Remove(context.Background(), 4, nil, time.Now().Add(time.Hour)); err != nil {
				t.Error(err)
			}
		}
		return ""
	}
	n.addMany(0, 10)
	f := n.feeds(&memory{}, Peer{Name: "p", Address: to.addr})
	to.waitFor(9)
	await(t, "the cursor", func() bool { return f.Stats()[0].Cursor == 10 })
}

// TestBadAnswers: a peer that talks nonsense is an error and no panic, and
// nothing is lost.
func TestBadAnswers(t *testing.T) {
	for _, say := range []string{"480 log in", "502 no", "400 going down", "999 what", "x", "238 <other@x>", "239 ", "431"} {
		t.Run(say, func(t *testing.T) {
			n, to := newNode(t), newNeighbour(t)
			bad := true
			to.answer = func(verb, id string) string {
				if verb == "CHECK" && bad {
					bad = false
					return say
				}
				return ""
			}
			n.addMany(0, 10)
			f := n.feeds(&memory{}, Peer{Name: "p", Address: to.addr})
			to.waitFor(10)
			if s := f.Stats()[0]; say != "431" && s.LastError == "" {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestSet(t *testing.T) {
	n, a, b := newNode(t), newNeighbour(t), newNeighbour(t)
	st := &memory{}
	f := n.feeds(st, Peer{Name: "a", Address: a.addr}, Peer{Name: "quiet"})
	n.addMany(0, 10)
	a.waitFor(10)
	if err := f.Set([]Peer{{Name: "a", Address: a.addr}, {Name: "b", Address: b.addr, Send: "c.*"}}); err != nil {
		t.Fatal(err)
	}
	n.addMany(10, 20)
	n.add(20, "here!x", "c.d")
	a.waitFor(21)
	b.waitFor(1)
	if a.commands["MODE"] > 2 {
		t.Errorf("the unchanged peer was connected to again: %v", a.commands)
	}
	if err := f.Set([]Peer{{Name: "b", Send: "[x"}}); err == nil {
		t.Error("a bad wildmat was taken")
	}
	if err := f.Set([]Peer{{Name: "b"}, {Name: "b"}}); err == nil {
		t.Error("a name twice was taken")
	}
	if err := f.Set([]Peer{{Name: "b", Address: b.addr, Send: "c.*"}}); err != nil {
		t.Fatal(err)
	}
	if s := f.Stats(); len(s) != 1 || s[0].Name != "b" {
		t.Errorf("%+v", s)
	}
	f.Wake("nobody")
	f.Stop()
	f.Stop()
}

func TestConnectionRefused(t *testing.T) {
	n := newNode(t)
	n.addMany(0, 3)
	f := New(Config{
		Spool: n, State: &memory{}, RetryMin: time.Millisecond, RetryMax: 2 * time.Millisecond,
		Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no route") },
	})
	t.Cleanup(f.Stop)
	if err := f.Set([]Peer{{Name: "p", Address: "nowhere"}}); err != nil {
		t.Fatal(err)
	}
	await(t, "failures", func() bool { s := f.Stats()[0]; return s.Failed > 5 && s.LastError == "no route" })
}

func TestDialerOf(t *testing.T) {
	c := Config{}
	c.defaults()
	for _, tt := range []struct {
		p    Peer
		want string
	}{
		{Peer{Address: "h:1"}, "h:1 0"},
		{Peer{Address: "h"}, "h:119 0"},
		{Peer{Address: "[fd00::8]"}, "[fd00::8]:119 0"},
		{Peer{Address: "nntps://h"}, "h:563 3"},
		{Peer{Address: "h:1", Key: "spki:sha256:x"}, "h:1 1"},
		{Peer{Address: "h:1", User: "u"}, "h:1 2"},
	} {
		if d := c.dialer(&tt.p); fmt.Sprint(d.Address, " ", d.TLS) != tt.want {
			t.Errorf("%+v: %s %d, want %s", tt.p, d.Address, d.TLS, tt.want)
		}
	}
}
