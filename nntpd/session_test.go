package nntpd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/nntp"
	"github.com/litfass/litfass/internal/wildmat"
	"github.com/litfass/litfass/spool"
)

// talk sends all and returns what came until the server closed.
func talk(t *testing.T, n *node, in string) string {
	t.Helper()
	c := n.dial(t)
	go func() { _, _ = io.WriteString(c, in) }()
	out, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("%v after %q", err, out)
	}
	return string(out)
}

func feed(id string) string {
	return "TAKETHIS " + id + "\r\n" + strings.ReplaceAll(text(id, "mesh.test", "fed", "x\n"), "\n", "\r\n") + ".\r\n"
}

// TestBytes: :bytes is what ARTICLE sends, without dots and end (RFC 3977 §8.1.1).
func TestBytes(t *testing.T) {
	n := start(t, nodeConfig{})
	c := nntp.NewConn(n.dial(t), nntp.Options{})
	ask := func(words ...string) {
		c.Command(words...)
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Answer(); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := c.Answer(); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"<1@mesh.example>", "<both@mesh.example>"} {
		ask("ARTICLE", id)
		wire, err := c.Block(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		ask("HDR", ":bytes", id)
		var got string
		if err := c.Lines(func(l []byte) error { got = string(l); return nil }); err != nil {
			t.Fatal(err)
		}
		if want := "0 " + strconv.Itoa(len(article.Unstuff(wire[:len(wire)-3]))); got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
	ask("QUIT")
}

// slowAgent stores articles in any order, and fails where it is told to.
type slowAgent struct {
	Agent
	at   atomic.Int32
	most atomic.Int32
	fail func(id article.ID) error
	gate chan struct{} // closed: go on
}

func (a *slowAgent) Relay(ctx context.Context, wire []byte, o agent.Origin) (spool.Entry, error) {
	n := a.at.Add(1)
	defer a.at.Add(-1)
	for m := a.most.Load(); n > m && !a.most.CompareAndSwap(m, n); m = a.most.Load() {
	}
	select {
	case <-a.gate:
	case <-ctx.Done():
		return spool.Entry{}, ctx.Err()
	}
	if a.fail != nil {
		if err := a.fail(o.Offered); err != nil {
			o.Conn.Done(o.Turn)
			return spool.Entry{}, err
		}
	}
	return a.Agent.Relay(ctx, wire, o)
}

// TestWindow: articles are stored beside each other, never more than the window,
// and answered in order.
func TestWindow(t *testing.T) {
	s := &slowAgent{gate: make(chan struct{})}
	n := start(t, nodeConfig{peer: true,
		wrap: func(a Agent) Agent { s.Agent = a; return s },
		edit: func(c *Config) { c.Window = 8 }})
	var in, want strings.Builder
	for i := range 50 {
		id := fmt.Sprintf("<w%d@mesh.example>", i)
		in.WriteString(feed(id))
		want.WriteString("239 " + id + "\r\n")
	}
	c := n.dial(t)
	if _, err := io.WriteString(c, in.String()+"QUIT\r\n"); err != nil {
		t.Fatal(err)
	}
	wait(t, func() bool { return s.at.Load() == 8 })
	close(s.gate)
	out, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	_, got, _ := bytes.Cut(out, []byte("\r\n"))
	if !strings.HasPrefix(string(got), want.String()+"205") {
		t.Errorf("answers %q", got)
	}
	if m := s.most.Load(); m != 8 {
		t.Errorf("%d at one time, want 8", m)
	}
	if n.octets.used != 0 {
		t.Errorf("%d octets never given back", n.octets.used)
	}
}

func wait(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
	}
}

// TestTemporary: what cannot be stored now is never refused for good. TAKETHIS
// has only 400 and closing for that (RFC 4644 §2.5.1), IHAVE has 436.
func TestTemporary(t *testing.T) {
	for name, err := range map[string]error{
		"full":    &agent.Refusal{Reason: agent.Busy, Code: "full", Text: "no room, try later", Err: spool.ErrFull},
		"unknown": errors.New("disk caught fire"),
	} {
		t.Run(name, func(t *testing.T) {
			s := &slowAgent{gate: make(chan struct{}), fail: func(id article.ID) error {
				if id == "<t2@mesh.example>" {
					return err
				}
				return nil
			}}
			close(s.gate)
			n := start(t, nodeConfig{peer: true, wrap: func(a Agent) Agent { s.Agent = a; return s }})
			out := talk(t, n, feed("<t1@mesh.example>")+feed("<t2@mesh.example>")+feed("<t3@mesh.example>"))
			got := strings.Split(out, "\r\n")
			if len(got) != 4 || got[1] != "239 <t1@mesh.example>" || !strings.HasPrefix(got[2], "400 ") {
				t.Errorf("answers %q", got)
			}
			if strings.Contains(out, "fire") {
				t.Error("the client is told about the inside")
			}
			out = talk(t, n, "IHAVE <t2@mesh.example>\r\n"+strings.TrimPrefix(feed("<t2@mesh.example>"), "TAKETHIS <t2@mesh.example>\r\n")+"QUIT\r\n")
			if !strings.Contains(out, "\r\n436 ") {
				t.Errorf("answers to IHAVE %q", out)
			}
		})
	}
}

// countConn counts writes.
type countConn struct {
	net.Conn
	writes *atomic.Int32
}

func (c countConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9} }
func (c countConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// TestFewWrites: the answers of a burst leave together.
func TestFewWrites(t *testing.T) {
	n := start(t, nodeConfig{})
	mine, its := net.Pipe()
	var writes atomic.Int32
	var wg sync.WaitGroup
	wg.Go(func() { n.ServeConn(countConn{its, &writes}) })
	r := bufio.NewReader(mine)
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	wg.Go(func() {
		_, _ = io.WriteString(mine, "GROUP mesh.test\r\nOVER 1-\r\nARTICLE 1\r\nARTICLE 2\r\nDATE\r\nQUIT\r\n")
	})
	if _, err := io.ReadAll(r); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if w := writes.Load(); w != 2 { // the greeting and the rest
		t.Errorf("%d writes", w)
	}
}

func TestLimits(t *testing.T) {
	n := start(t, nodeConfig{edit: func(c *Config) { c.MaxConns = 3 }})
	var all []*bufio.Reader
	for range 3 {
		all = append(all, bufio.NewReader(n.dial(t)))
	}
	for _, r := range all {
		if l, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(l, "200 ") {
			t.Fatalf("%q, %v", l, err)
		}
	}
	if out := talk(t, n, ""); !strings.HasPrefix(out, "400 ") {
		t.Errorf("the fourth: %q", out)
	}

	n = start(t, nodeConfig{untrusted: true, edit: func(c *Config) { c.MaxPerAddr = 1 }})
	if l, err := bufio.NewReader(n.dial(t)).ReadString('\n'); err != nil || !strings.HasPrefix(l, "20") {
		t.Fatalf("%q, %v", l, err)
	}
	if out := talk(t, n, ""); !strings.HasPrefix(out, "400 ") {
		t.Errorf("the second of an address: %q", out)
	}
}

func TestIdle(t *testing.T) {
	n := start(t, nodeConfig{edit: func(c *Config) { c.IdleTimeout = 20 * time.Millisecond }})
	if out := talk(t, n, ""); !strings.Contains(out, "\r\n400 ") {
		t.Errorf("after silence: %q", out)
	}
	n = start(t, nodeConfig{edit: func(c *Config) { c.ReadTimeout = 20 * time.Millisecond }})
	if out := talk(t, n, "DA"); strings.Contains(out, "111") {
		t.Errorf("after half a command: %q", out)
	}
}

// TestBadLogins: three wrong passwords cost the connection.
func TestBadLogins(t *testing.T) {
	n := start(t, nodeConfig{anonymous: "none", accounts: true})
	c := n.dial(t)
	r := bufio.NewReader(c)
	var out strings.Builder
	for l, err := r.ReadString('\n'); err == nil; l, err = r.ReadString('\n') {
		out.WriteString(l)
		next := "AUTHINFO USER nobody\r\n"
		if strings.HasPrefix(l, "381") {
			next = "AUTHINFO PASS x\r\n"
		}
		if _, err := io.WriteString(c, next); err != nil {
			break
		}
	}
	if strings.Count(out.String(), "481 ") != 3 {
		t.Errorf("answers %q", out.String())
	}
	if b := n.Counts.BadLogins.Load(); b != 3 {
		t.Errorf("%d counted", b)
	}
}

// TestLargePost: what does not fit into memory goes through a file.
func TestLargePost(t *testing.T) {
	n := start(t, nodeConfig{})
	body := strings.Repeat("..a line with a dot before it, to be undone and done again\r\n", 1000)
	out := talk(t, n, "POST\r\nFrom: a@mesh.example\r\nNewsgroups: mesh.test\r\nSubject: long\r\nMessage-ID: <long@mesh.example>\r\n\r\n"+
		body+".\r\nBODY <long@mesh.example>\r\nQUIT\r\n")
	if !strings.Contains(out, "\r\n240 ") || !strings.Contains(out, body+".\r\n") {
		t.Errorf("answers %.300q", out)
	}
	if len(n.spilled) != 0 {
		t.Error("a token is left")
	}
}

// TestPerAddr forgets addresses that are gone.
func TestPerAddr(t *testing.T) {
	n := start(t, nodeConfig{})
	talk(t, n, "QUIT\r\n")
	wait(t, func() bool { return n.Open() == 0 })
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.perAddr) != 0 {
		t.Errorf("%v", n.perAddr)
	}
	if a := addrOf(countConn{}); a != netip.MustParseAddr("127.0.0.1") {
		t.Error(a)
	}
}

// TestXrefLen: the two ways to count agree.
func TestXrefLen(t *testing.T) {
	x := &session{srv: &Server{cfg: Config{Host: "news.example"}}}
	for _, n := range []uint64{1, 9, 10, 99, 100, 12345678901} {
		in := []spool.Place{{Group: "a.b", Number: n}, {Group: "c", Number: 7}}
		if got, want := x.xrefLen(in), len(x.xrefText(in)); got != want {
			t.Errorf("%d: %d, want %d", n, got, want)
		}
	}
}

func TestParseTime(t *testing.T) {
	for _, tc := range []struct{ day, clock, zone, want string }{
		{"20260101", "000000", "GMT", "2026-01-01T00:00:00Z"},
		{"260101", "235959", "", "2026-01-01T23:59:59Z"},
		{"270101", "000000", "GMT", "1927-01-01T00:00:00Z"}, // RFC 3977 §7.3.2
		{"700101", "000000", "GMT", "1970-01-01T00:00:00Z"},
		{"20261231", "235960", "GMT", "2026-12-31T23:59:59Z"},
		{"20260230", "000000", "GMT", ""},
		{"2026010", "000000", "GMT", ""},
		{"20260101", "0000", "GMT", ""},
		{"xx0101", "000000", "GMT", ""},
	} {
		got, ok := parseTime(tc.day, tc.clock, tc.zone, noon)
		if s := got.Format(time.RFC3339); ok != (tc.want != "") || ok && s != tc.want {
			t.Errorf("%v: %s, %v", tc, s, ok)
		}
	}
}

// TestNewNewsWays: looking through the groups and through the log finds the same.
func TestNewNewsWays(t *testing.T) {
	n := start(t, nodeConfig{})
	for i := range 300 {
		in := []article.Group{"mesh.test", "mesh.new", "mesh.empty"}[i%3:]
		put(t, n.spool, noon.Add(time.Duration(i/3)*time.Second), text(fmt.Sprintf("<n%d@mesh.example>", i), "mesh.test", "x", "x\n"), in...)
	}
	a, err := n.agent.Access(t.Context(), agent.Origin{Door: "nntp", Trusted: true})
	if err != nil {
		t.Fatal(err)
	}
	list := func(find func(x *session) error) string {
		var out bytes.Buffer
		mine, its := net.Pipe()
		defer mine.Close()
		x := &session{srv: n.Server, c: nntp.NewConn(its, nntp.Options{}), o: agent.Origin{Door: "nntp", Trusted: true}}
		done := make(chan struct{})
		go func() { _, _ = io.Copy(&out, mine); close(done) }()
		if err := find(x); err != nil {
			t.Error(err)
		}
		if err := x.c.Flush(); err != nil {
			t.Error(err)
		}
		its.Close()
		<-done
		l := strings.Fields(out.String())
		slices.Sort(l)
		return strings.Join(l, " ")
	}
	for _, since := range []time.Duration{-24 * time.Hour, 0, 50 * time.Second, 97 * time.Second, 99 * time.Second, time.Hour} {
		for _, w := range []string{"mesh.new", "mesh.*", "mesh.test,mesh.empty", "private.*", "none"} {
			at := noon.Add(since)
			from, err := n.spool.SeqAt(t.Context(), at)
			if err != nil {
				t.Fatal(err)
			}
			want := list(func(x *session) error {
				return x.newFromLog(a, wildmat.Must(w), at, from, n.spool.Last())
			})
			if got := list(func(x *session) error { return x.newIn(a, wildmat.Must(w), at) }); got != want {
				t.Errorf("%s since %v: %d octets, want %d", w, since, len(got), len(want))
			}
		}
	}
}

// talkStep sends commands one by one and reads an answer, with its block, to each.
func talkStep(t *testing.T, n *node, commands ...string) {
	t.Helper()
	c := n.dial(t)
	r := bufio.NewReader(c)
	line := func() string {
		l, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	line()
	for _, cmd := range commands {
		if _, err := io.WriteString(c, cmd+"\r\n"); err != nil {
			t.Fatal(err)
		}
		switch l := line(); l[:3] {
		case "220", "221", "222":
			for l != ".\r\n" {
				l = line()
			}
		case "430", "423", "480", "481", "482", "500", "501":
			t.Fatalf("%s: %s", cmd, l)
		}
	}
}
