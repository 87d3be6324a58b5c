package discover

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Link is one interface and family on which is spoken.
type Link interface {
	Interface() string        // "eth0"
	Prefixes() []netip.Prefix // its addresses now, both families
	Group() netip.AddrPort    // the multicast group and its port
	Send(b []byte, to netip.AddrPort) error
	Read(b []byte) (n int, from netip.AddrPort, err error) // until Close
	Close() error
}

// Medium knows the links there are; they come and go.
type Medium interface {
	Present() []string // names for Open
	Open(name string) (Link, error)
}

// Config says what is told and whom to tell of others.
type Config struct {
	Name     string    // this node's, a label: see Label
	ID       string    // this node's key identity: neighbours with it are ourselves
	Services []Service // what is open here; none: only listens
	Medium   Medium
	Found    func(Neighbour) // called once for each that is new and whole, from Run's goroutine; or nil
	Log      *slog.Logger
}

const (
	lookEvery = 30 * time.Second // whether links came or went
	maxQuery  = time.Hour        // between two questions to a quiet link (RFC 6762 §5.2)
	maxRename = 15               // conflicts until a minute passes first (RFC 6762 §8.1)
)

// Node speaks and listens. Make one with New and call Run once.
type Node struct {
	cfg   Config
	names names
	links map[string]*link
	in    chan packet
	tasks []task
	heard *heard

	mu   sync.Mutex
	seen []Neighbour
}

// link is an open Link and what was said on it.
type link struct {
	Link
	state     linkState
	round     int                  // of probing, announcing; restarts take a new one
	said      map[string]time.Time // when a record went to the group
	waiting   []*answer
	askedNext time.Duration
}

type linkState int

const (
	probing linkState = iota
	announced
)

// task is something to do later, in Run's goroutine.
type task struct {
	at time.Time
	do func()
}

type packet struct {
	link *link
	from netip.AddrPort
	data []byte
}

// New makes a node that is silent until Run.
func New(cfg Config) *Node {
	return &Node{cfg: cfg, names: names{node: Label(cfg.Name)}, links: map[string]*link{}, in: make(chan packet, 16),
		heard: newHeard("_p2pstorage._sub._nntp._tcp.local.")}
}

// Neighbours are the nodes heard now, by name.
func (n *Node) Neighbours() []Neighbour {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.seen)
}

// Run speaks until ctx ends, then says goodbye and closes the links.
func (n *Node) Run(ctx context.Context) {
	var readers sync.WaitGroup
	inner, cancel := context.WithCancel(context.Background())
	n.look(inner, &readers)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(n.rest())
		select {
		case <-ctx.Done():
			for _, l := range n.links {
				n.goodbye(l)
				l.Close()
			}
			cancel()
			readers.Wait()
			return
		case p := <-n.in:
			if p.data == nil {
				n.drop(p.link)
			} else {
				n.receive(p)
			}
		case <-timer.C:
		}
		n.due()
	}
}

// after has fn done later.
func (n *Node) after(d time.Duration, fn func()) {
	n.tasks = append(n.tasks, task{time.Now().Add(d), fn})
}

// rest is how long there is nothing to do.
func (n *Node) rest() time.Duration {
	least := time.Minute
	for _, t := range n.tasks {
		least = min(least, time.Until(t.at))
	}
	return max(least, 0)
}

func (n *Node) due() {
	now := time.Now()
	var ready []task
	n.tasks = slices.DeleteFunc(n.tasks, func(t task) bool {
		if t.at.After(now) {
			return false
		}
		ready = append(ready, t)
		return true
	})
	for _, t := range ready {
		t.do()
	}
}

// look opens links that are new and closes those that are gone.
func (n *Node) look(ctx context.Context, readers *sync.WaitGroup) {
	present := n.cfg.Medium.Present()
	for name, l := range n.links {
		if !slices.Contains(present, name) {
			l.Close()
			delete(n.links, name)
		}
	}
	for _, name := range present {
		if n.links[name] != nil {
			continue
		}
		raw, err := n.cfg.Medium.Open(name)
		if err != nil {
			n.cfg.Log.Debug("discovery: a link cannot be used", "link", name, "error", err)
			continue
		}
		l := &link{Link: raw, said: map[string]time.Time{}}
		n.links[name] = l
		readers.Go(func() { n.read(ctx, l) })
		n.begin(l)
		n.ask(l)
	}
	n.heard.forget(time.Now())
	n.publish()
	for _, l := range n.links {
		n.complete(l)
	}
	n.after(lookEvery, func() { n.look(ctx, readers) })
}

func (n *Node) read(ctx context.Context, l *link) {
	buf := make([]byte, 9000) // RFC 6762 §17
	for {
		size, from, err := l.Read(buf)
		var data []byte
		if err == nil {
			data = append(make([]byte, 0, size), buf[:size]...)
		}
		select {
		case n.in <- packet{l, from, data}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// drop closes a link that can no longer be read; if it is there again, look opens it.
func (n *Node) drop(l *link) {
	for name, have := range n.links {
		if have == l {
			l.Close()
			delete(n.links, name)
		}
	}
}

func (n *Node) records(l *link) []record {
	var addrs []netip.Addr
	for _, p := range l.Prefixes() {
		addrs = append(addrs, p.Addr())
	}
	return ours(n.names, n.cfg.Services, addrs)
}

// begin probes for our names (RFC 6762 §8.1), then announces.
func (n *Node) begin(l *link) {
	l.state = probing
	l.round++
	round := l.round
	n.probe(l, round, 0, time.Duration(rand.Int64N(int64(250*time.Millisecond))))
}

func (n *Node) probe(l *link, round, sent int, wait time.Duration) {
	n.after(wait, func() {
		switch {
		case l.round != round || !n.open(l) || len(n.records(l)) == 0:
			return
		case sent == 3:
			l.state = announced
			n.announce(l, round, 0)
			return
		}
		for _, b := range n.probeMessages(l) {
			n.send(l, b, l.Group())
		}
		n.probe(l, round, sent+1, 250*time.Millisecond)
	})
}

// probeMessages ask for each of our unique names and say what we mean to claim.
func (n *Node) probeMessages(l *link) (out [][]byte) {
	byName := map[string]*dnsmessage.Message{}
	var order []string
	for _, r := range n.records(l) {
		if !r.unique() {
			continue
		}
		key := fold(r.Header.Name)
		if byName[key] == nil {
			byName[key] = &dnsmessage.Message{Questions: []dnsmessage.Question{{Name: r.Header.Name, Type: dnsmessage.TypeALL, Class: dnsmessage.ClassINET}}}
			order = append(order, key)
		}
		claim := r.Resource
		claim.Header.Class = dnsmessage.ClassINET // no flush in a claim (RFC 6762 §10.2)
		byName[key].Authorities = append(byName[key].Authorities, claim)
	}
	for _, key := range order {
		if b, err := byName[key].Pack(); err == nil {
			out = append(out, b)
		}
	}
	return out
}

// announce says everything at 0, 1 and 3 s.
func (n *Node) announce(l *link, round, done int) {
	if l.round != round || done == 3 || !n.open(l) {
		return
	}
	n.say(l, n.records(l), nil)
	n.after(time.Duration(1<<done)*time.Second, func() { n.announce(l, round, done+1) })
}

// say sends records to the group, and remembers when.
func (n *Node) say(l *link, list, along []record) {
	now := time.Now()
	for _, r := range list {
		l.said[sayKey(r)] = now
	}
	for _, b := range pack(dnsmessage.Header{Response: true, Authoritative: true}, nil, list, along) {
		n.send(l, b, l.Group())
	}
}

func sayKey(r record) string {
	return r.Header.Type.String() + fold(r.Header.Name) + r.Body.GoString()
}

func (n *Node) goodbye(l *link) {
	if l.state != announced {
		return
	}
	list := n.records(l)
	for i := range list {
		list[i].Header.TTL = 0
	}
	n.say(l, list, nil)
}

func (n *Node) send(l *link, b []byte, to netip.AddrPort) {
	if err := l.Send(b, to); err != nil {
		n.cfg.Log.Debug("discovery: nothing can be sent", "link", l.Interface(), "error", err)
	}
}

// ask looks for other nodes: at once, then at growing distances.
func (n *Node) ask(l *link) {
	if !n.open(l) {
		return
	}
	q := []dnsmessage.Question{{Name: dnsmessage.MustNewName(n.heard.service), Type: dnsmessage.TypePTR, Class: dnsmessage.ClassINET}}
	known := n.heard.known(l.Interface(), time.Now())
	for _, r := range n.records(l) { // so that we do not answer ourselves
		if r.answers(q[0]) {
			known = append(known, r)
		}
	}
	for _, b := range pack(dnsmessage.Header{}, q, known, nil) {
		n.send(l, b, l.Group())
	}
	l.askedNext = min(max(time.Second, 2*l.askedNext), maxQuery)
	n.after(l.askedNext, func() { n.ask(l) })
}

func (n *Node) open(l *link) bool {
	for _, have := range n.links {
		if have == l {
			return true
		}
	}
	return false
}

// complete asks for what is missing of known instances.
func (n *Node) complete(l *link) {
	if q := n.heard.missing(l.Interface(), time.Now()); len(q) > 0 && n.open(l) {
		for _, b := range pack(dnsmessage.Header{}, q, nil, nil) {
			n.send(l, b, l.Group())
		}
	}
}

// rename gives way: other names, probed for from the start.
func (n *Node) rename(by string) {
	n.names.n++
	n.cfg.Log.Warn("discovery: another host has this name: taking the next", "had", by, "now", strings.TrimSuffix(n.names.host(), "."))
	for _, l := range n.links {
		l.round++ // what is under way ends
		l.state = probing
		wait := time.Duration(0)
		if n.names.n%maxRename == 0 {
			wait = time.Minute
		}
		n.after(wait, func() { n.begin(l) })
	}
}

// publish makes what was heard visible, and tells of what is new and whole.
func (n *Node) publish() {
	var list []Neighbour
	for _, e := range n.heard.entries {
		one, whole := n.heard.neighbour(e)
		if !whole || one.ID != "" && one.ID == n.cfg.ID {
			continue
		}
		list = append(list, one)
		if !e.told {
			e.told = true
			if n.cfg.Found != nil {
				n.cfg.Found(one)
			}
		}
	}
	slices.SortFunc(list, func(a, b Neighbour) int { return strings.Compare(a.Name+" "+a.Link, b.Name+" "+b.Link) })
	n.mu.Lock()
	n.seen = list
	n.mu.Unlock()
}
