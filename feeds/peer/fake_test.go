package peer

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/nntp"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/spooltest"
)

// neighbour is a peer for tests: it keeps what it takes, and misbehaves on demand.
type neighbour struct {
	t    testing.TB
	addr string

	mu       sync.Mutex
	cond     *sync.Cond
	have     map[string][]byte
	twice    int            // articles it took although it had them
	commands map[string]int // by verb
	open     map[net.Conn]bool
	ln       net.Listener
	wg       sync.WaitGroup

	noStream bool
	answer   func(verb, id string) string // "": as it should be; "HANG", "DROP"
}

func newNeighbour(t testing.TB) *neighbour {
	n := &neighbour{t: t, have: map[string][]byte{}, commands: map[string]int{}, open: map[net.Conn]bool{}}
	n.cond = sync.NewCond(&n.mu)
	n.up()
	t.Cleanup(n.down)
	return n
}

// up listens, on the same address as before.
func (n *neighbour) up() {
	n.t.Helper()
	addr := n.addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		n.t.Fatal(err)
	}
	n.ln, n.addr = ln, ln.Addr().String()
	n.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			n.mu.Lock()
			n.open[c] = true
			n.mu.Unlock()
			n.wg.Go(func() {
				n.serve(nntp.NewConn(c, nntp.Options{}))
				c.Close()
				n.mu.Lock()
				delete(n.open, c)
				n.mu.Unlock()
			})
		}
	})
}

// down ends it and all connections.
func (n *neighbour) down() {
	n.ln.Close()
	n.mu.Lock()
	for c := range n.open {
		c.Close()
	}
	n.cond.Broadcast()
	n.mu.Unlock()
	n.wg.Wait()
}

func (n *neighbour) serve(c *nntp.Conn) {
	c.Status(200, "neighbour")
	for {
		if c.Buffered() == 0 && c.Flush() != nil {
			return
		}
		line, err := c.Line(nntp.MaxCommand)
		if err != nil {
			return
		}
		verb, id, _ := strings.Cut(string(line), " ")
		say := n.note(verb, id)
		switch {
		case say == "DROP":
			return
		case say == "HANG":
			buf := make([]byte, 1)
			for { // reads nothing, until the other side or the test closes
				if _, err := c.NetConn().Read(buf[:0]); err != nil {
					return
				}
				n.mu.Lock()
				gone := !n.open[c.NetConn()]
				if !gone {
					n.cond.Wait()
				}
				n.mu.Unlock()
				if gone {
					return
				}
			}
		case verb == "TAKETHIS":
			wire, err := c.Block(1 << 20)
			if err != nil {
				return
			}
			if say == "" {
				say = n.keep(id, wire, 239, 439)
			}
		case verb == "IHAVE" && say == "":
			c.Status(335, "go on")
			c.Flush()
			wire, err := c.Block(1 << 20)
			if err != nil {
				return
			}
			say = n.keep(id, wire, 235, 437)
		case verb == "QUIT":
			c.Status(205, "bye")
			c.Flush()
			return
		}
		c.Str(say + "\r\n")
	}
}

// note counts a command and says how to answer.
func (n *neighbour) note(verb, id string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.commands[verb]++
	n.cond.Broadcast()
	if n.answer != nil {
		if say := n.answer(verb, id); say != "" {
			return say
		}
	}
	_, known := n.have[id]
	switch {
	case verb == "MODE" && n.noStream:
		return "500 what"
	case verb == "MODE":
		return "203 stream"
	case verb == "CHECK" && known:
		return "438 " + id
	case verb == "CHECK":
		return "238 " + id
	case verb == "IHAVE" && known:
		return "435 have it"
	}
	return ""
}

func (n *neighbour) keep(id string, wire []byte, yes, no int) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.have[id]; known {
		n.twice++
		return fmt.Sprintf("%d %s", no, id)
	}
	n.have[id] = wire
	n.cond.Broadcast()
	return fmt.Sprintf("%d %s", yes, id)
}

// wait waits until ok holds; ok is called with the lock.
func (n *neighbour) wait(what string, ok func() bool) {
	n.t.Helper()
	late := false
	t := time.AfterFunc(10*time.Second, func() {
		n.mu.Lock()
		late = true
		n.cond.Broadcast()
		n.mu.Unlock()
	})
	defer t.Stop()
	n.mu.Lock()
	defer n.mu.Unlock()
	for !ok() && !late {
		n.cond.Wait()
	}
	if late {
		n.t.Fatalf("waited in vain for %s; it has %d articles, commands %v", what, len(n.have), n.commands)
	}
}

func (n *neighbour) waitFor(articles int) {
	n.t.Helper()
	n.wait(fmt.Sprint(articles, " articles"), func() bool { return len(n.have) >= articles })
}

// memory is a State.
type memory struct {
	mu    sync.Mutex
	m     map[string][]byte
	saves int
}

func (m *memory) Load(name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.m[name], nil
}

func (m *memory) Save(name string, b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.m == nil {
		m.m = map[string][]byte{}
	}
	m.saves++
	m.m[name] = b
	return nil
}

// node is a spool with a few groups.
type node struct {
	t testing.TB
	*spooltest.Mem
}

func newNode(t testing.TB) node {
	n := node{t, spooltest.NewMem()}
	for _, g := range []article.Group{"a.b", "local.x", "c.d"} {
		if err := n.PutGroups(context.Background(), spool.GroupInfo{Name: g, Status: spool.PostOpen}); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// wire makes an article.
func wire(i int, path, group string) []byte {
	return fmt.Appendf(nil, "Path: %s\r\nMessage-ID: <%d@x>\r\nNewsgroups: %s\r\nFrom: a@b\r\nSubject: %d\r\n"+
		"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\n..dot\r\n%s\r\n.\r\n", path, i, group, i, strings.Repeat("x", i%700))
}

// add stores article i.
func (n node) add(i int, path string, groups ...article.Group) {
	n.t.Helper()
	a, err := article.Parse(wire(i, path, string(groups[0])), article.Limits{})
	if err != nil {
		n.t.Fatal(err)
	}
	_, err = n.Add(context.Background(), a, spool.Arrival{Groups: groups, Via: spool.Via{How: spool.Relayed, Peer: "p"}, At: time.Now()})
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n node) addMany(from, to int) {
	n.t.Helper()
	for i := from; i < to; i++ {
		n.add(i, "here!not-for-mail", "a.b")
	}
}

// feeds starts the feeds of a node, with short times, and stops them at the end.
func (n node) feeds(st State, peers ...Peer) *Feeds {
	n.t.Helper()
	f := New(Config{
		Spool: n, State: st, RetryMin: 10 * time.Millisecond, RetryMax: 50 * time.Millisecond,
		DeferMin: 5 * time.Millisecond, DeferMax: 20 * time.Millisecond, SaveEvery: 20 * time.Millisecond,
		Farewell: 200 * time.Millisecond,
	})
	if err := f.Set(peers); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(f.Stop)
	return f
}

func group(s string) article.Group { return article.Group(s) }
