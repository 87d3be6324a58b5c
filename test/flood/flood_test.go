// Package flood floods articles between whole nodes in one process: agent, NNTP
// door and senders, over real sockets, with a spool in memory.
package flood

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/feeds/peer"
	"github.com/litfass/litfass/nntpd"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/spooltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// node is one news server. Its spool and state outlive up and down.
type node struct {
	t     *testing.T
	name  string
	addr  string
	spool *spooltest.Mem
	state memory
	peers book
	links []peer.Peer
	slow  time.Duration // each read of its door takes so long

	door  *nntpd.Server
	feeds *peer.Feeds
	serve sync.WaitGroup
}

// book is an agent.Peers.
type book []agent.Peer

func (b book) All() []agent.Peer { return b }

func (b book) Peer(name string) (agent.Peer, bool) {
	for _, p := range b {
		if p.Name == name {
			return p, true
		}
	}
	return agent.Peer{}, false
}

// memory is a peer.State.
type memory struct {
	mu sync.Mutex
	m  map[string][]byte
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
	m.m[name] = b
	return nil
}

// mesh makes n nodes that all feed each other; none is up yet.
func mesh(t *testing.T, n int) []*node {
	var out []*node
	for i := range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		x := &node{t: t, name: fmt.Sprintf("n%d.test.example", i), addr: l.Addr().String(), spool: spooltest.NewMem()}
		l.Close()
		if err := x.spool.PutGroups(context.Background(), spool.GroupInfo{Name: "a.b", Status: spool.PostOpen}); err != nil {
			t.Fatal(err)
		}
		out = append(out, x)
	}
	for _, x := range out {
		for _, y := range out {
			if x != y {
				x.peers = append(x.peers, agent.Peer{Name: y.name, From: loopback})
				x.links = append(x.links, peer.Peer{Name: y.name, Address: y.addr})
			}
		}
		t.Cleanup(x.down)
	}
	return out
}

// up starts the node.
func (n *node) up() {
	n.t.Helper()
	l, err := net.Listen("tcp", n.addr)
	if err != nil {
		n.t.Fatal(err)
	}
	a := &agent.Agent{Host: n.name, Spool: n.spool, Peers: n.peers}
	n.door = nntpd.New(nntpd.Config{Host: n.name, Spool: n.spool, Agent: a, Trusted: loopback})
	n.serve.Go(func() {
		if err := n.door.Serve(context.Background(), slowListener{l, n.slow}); err != nil {
			n.t.Error(err)
		}
	})
	n.feeds = peer.New(peer.Config{
		Spool: n.spool, State: &n.state, RetryMin: 10 * time.Millisecond, RetryMax: 100 * time.Millisecond,
		DeferMin: 10 * time.Millisecond, DeferMax: 100 * time.Millisecond, Farewell: 200 * time.Millisecond,
	})
	if err := n.feeds.Set(n.links); err != nil {
		n.t.Fatal(err)
	}
}

// down stops the node: connections are cut without waiting for anything.
func (n *node) down() {
	if n.door == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = n.door.Shutdown(ctx) // says that it was cut short
	n.serve.Wait()
	n.feeds.Stop()
	n.door = nil
}

type slowListener struct {
	net.Listener
	wait time.Duration
}

func (l slowListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil && l.wait > 0 {
		c = slowConn{c, l.wait}
	}
	return c, err
}

// slowConn reads little at a time, and late.
type slowConn struct {
	net.Conn
	wait time.Duration
}

func (c slowConn) Read(p []byte) (int, error) {
	time.Sleep(c.wait)
	return c.Conn.Read(p[:min(len(p), 2000)])
}

// post injects articles from to to at a node, as a relayed one from outside.
func (n *node) post(from, to int) {
	n.t.Helper()
	for i := from; i < to; i++ {
		wire := fmt.Appendf(nil, "Path: outside.example!not-for-mail\r\nMessage-ID: <%d@test.example>\r\nNewsgroups: a.b\r\n"+
			"From: a@b.example\r\nSubject: %d\r\nDate: %s\r\n\r\nbody\r\n.\r\n", i, i, article.FormatDate(time.Now()))
		a, err := article.Parse(wire, article.Limits{})
		if err != nil {
			n.t.Fatal(err)
		}
		a = a.With(article.Edit{PrependPath: n.name + "!"})
		in := spool.Arrival{Groups: []article.Group{"a.b"}, Via: spool.Via{How: spool.Injected, Peer: "test"}, At: time.Now()}
		if _, err := n.spool.Add(context.Background(), a, in); err != nil {
			n.t.Fatal(err)
		}
	}
}

// await waits until the node has that many articles; poll: several nodes.
func (n *node) await(articles int) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := n.spool.Wait(ctx, spool.Seq(articles-1)); err != nil {
		n.t.Fatalf("%s has %d of %d articles", n.name, n.spool.Last(), articles)
	}
}

// exactly checks that the node has each article once, and no more.
func (n *node) exactly(articles int) {
	n.t.Helper()
	if got := int(n.spool.Last()); got != articles {
		n.t.Errorf("%s stored %d articles, want %d", n.name, got, articles)
	}
	for i := range articles {
		e, err := n.spool.ByID(context.Background(), article.ID(fmt.Sprintf("<%d@test.example>", i)))
		if err != nil {
			n.t.Fatalf("%s: article %d: %v", n.name, i, err)
		}
		if e.Path[0] != n.name {
			n.t.Errorf("%s: article %d has Path %v", n.name, i, e.Path)
		}
	}
}

// sent sums up what the nodes' senders of now count.
func sent(nodes []*node) (accepted, refused uint64) {
	for _, n := range nodes {
		for _, s := range n.feeds.Stats() {
			accepted += s.Accepted
			refused += s.Refused
		}
	}
	return accepted, refused
}

func TestTriangle(t *testing.T) {
	nodes := mesh(t, 3)
	for _, n := range nodes {
		n.up()
	}
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { n.post(i*300, i*300+300) })
	}
	wg.Wait()
	for _, n := range nodes {
		n.await(900)
	}
	for _, n := range nodes {
		n.exactly(900)
	}
	settle(t, nodes)
	if a, _ := sent(nodes); a != 2*900 {
		t.Errorf("%d articles were taken from neighbours, want each twice: %d", a, 2*900)
	}
}

// settle waits until no node has anything left to offer.
func settle(t *testing.T, nodes []*node) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for _, n := range nodes {
		for _, s := range n.feeds.Stats() {
			for s.Lag > 0 || s.Deferred > 0 {
				if time.Now().After(deadline) {
					t.Fatalf("%s to %s: %+v", n.name, s.Name, s)
				}
				time.Sleep(2 * time.Millisecond)
				for _, again := range n.feeds.Stats() {
					if again.Name == s.Name {
						s = again
					}
				}
			}
		}
	}
}

// TestDownMeanwhile: one node is down at first, and cut off again and again in
// the middle.
func TestDownMeanwhile(t *testing.T) {
	nodes := mesh(t, 3)
	nodes[0].up()
	nodes[1].up()
	nodes[0].post(0, 2000)
	nodes[1].await(2000)
	for cut := 400; cut < 2000; cut += 400 {
		nodes[2].up()
		nodes[2].await(cut)
		nodes[2].down()
	}
	nodes[2].post(2000, 2010) // it posted alone
	nodes[1].post(2010, 2020)
	nodes[2].up()
	for _, n := range nodes {
		n.await(2020)
	}
	for _, n := range nodes {
		n.exactly(2020)
	}
}

// TestSlow: a slow node delays nobody else and gets everything in the end.
func TestSlow(t *testing.T) {
	nodes := mesh(t, 3)
	nodes[2].slow = 5 * time.Millisecond
	for _, n := range nodes {
		n.up()
	}
	nodes[0].post(0, 1000)
	nodes[1].await(1000)
	if nodes[2].spool.Last() >= 1000 {
		t.Log("the slow node was not slow")
	}
	nodes[2].await(1000)
	for _, n := range nodes {
		n.exactly(1000)
	}
}
