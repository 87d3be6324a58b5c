package discover

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// cable is a link in memory: what one sends to the group, all get.
type cable struct {
	mu    sync.Mutex
	ends  []*end
	heard []sent // everything that was sent
}

type sent struct {
	at   time.Time
	from netip.AddrPort
	to   netip.AddrPort
	m    dnsmessage.Message
}

type end struct {
	cable *cable
	addr  netip.Prefix
	in    chan packet
	done  chan struct{}
	once  sync.Once
}

var group = netip.MustParseAddrPort("224.0.0.251:5353")

func (c *cable) plug(addr string) *end {
	e := &end{cable: c, addr: netip.MustParsePrefix(addr), in: make(chan packet, 100), done: make(chan struct{})}
	c.mu.Lock()
	c.ends = append(c.ends, e)
	c.mu.Unlock()
	return e
}

func (e *end) Present() []string         { return []string{"mem0/4"} }
func (e *end) Open(string) (Link, error) { return e, nil }
func (e *end) Interface() string         { return "mem0" }
func (e *end) Prefixes() []netip.Prefix  { return []netip.Prefix{e.addr} }
func (e *end) Group() netip.AddrPort     { return group }
func (e *end) Close() error              { e.once.Do(func() { close(e.done) }); return nil }
func (e *end) Send(b []byte, to netip.AddrPort) error {
	return e.sendAs(b, netip.AddrPortFrom(e.addr.Addr(), port), to)
}

func (e *end) sendAs(b []byte, from, to netip.AddrPort) error {
	m, ok := parse(b)
	if !ok {
		return errors.New("unreadable message")
	}
	e.cable.mu.Lock()
	defer e.cable.mu.Unlock()
	e.cable.heard = append(e.cable.heard, sent{time.Now(), from, to, m})
	for _, o := range e.cable.ends {
		if to == group || to.Addr() == o.addr.Addr() {
			select {
			case o.in <- packet{from: from, data: slices.Clone(b)}:
			default:
			}
		}
	}
	return nil
}

func (e *end) Read(b []byte) (int, netip.AddrPort, error) {
	select {
	case p := <-e.in:
		return copy(b, p.data), p.from, nil
	case <-e.done:
		return 0, netip.AddrPort{}, io.EOF
	}
}

func news(port uint16, text ...string) Service {
	return Service{Type: "_nntp._tcp", Subtype: "_p2pstorage", Label: "news", Port: port, Text: append([]string{"txtvers=1"}, text...)}
}

// start runs a node until stop is called.
func start(t *testing.T, e *end, name, id string, found func(Neighbour)) (n *Node, stop func()) {
	t.Helper()
	n = New(Config{Name: name, ID: id, Medium: e, Found: found, Log: slog.New(slog.DiscardHandler),
		Services: []Service{news(1119, "id="+id, "host="+name+".example", "peer=ask", "g=*"), {Type: "_http._tcp", Label: "forum", Port: 8080, Text: []string{"path=/"}}}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); n.Run(ctx) }()
	return n, func() { cancel(); <-done }
}

func TestTwoNodesFindEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cable{}
		var mu sync.Mutex
		var told []string
		a, stopA := start(t, c.plug("10.0.0.1/24"), "box7.mesh", "idA", nil)
		time.Sleep(5 * time.Second)
		b, stopB := start(t, c.plug("10.0.0.2/24"), "box8.mesh", "idB", func(n Neighbour) { mu.Lock(); told = append(told, n.Host); mu.Unlock() })
		time.Sleep(5 * time.Second)
		for _, x := range []struct {
			n    *Node
			want Neighbour
		}{{a, Neighbour{Name: "box8 news", Host: "box8.mesh.example", ID: "idB"}}, {b, Neighbour{Name: "box7 news", Host: "box7.mesh.example", ID: "idA"}}} {
			got := x.n.Neighbours()
			if len(got) != 1 || got[0].Name != x.want.Name || got[0].Host != x.want.Host || got[0].ID != x.want.ID || got[0].Peering != "ask" || len(got[0].Addrs) != 1 || got[0].Addrs[0].Port() != 1119 {
				t.Errorf("%s sees %+v", x.n.cfg.Name, got)
			}
		}
		time.Sleep(3 * time.Hour) // neither forgotten nor told twice
		if len(a.Neighbours()) != 1 || len(b.Neighbours()) != 1 {
			t.Error("forgotten while it is there")
		}
		mu.Lock()
		if !slices.Equal(told, []string{"box7.mesh.example"}) {
			t.Errorf("told of %q", told)
		}
		mu.Unlock()
		stopB()
		time.Sleep(time.Minute) // a goodbye, looked at within 30 s
		if l := a.Neighbours(); len(l) != 0 {
			t.Errorf("after its goodbye: %+v", l)
		}
		stopA()
	})
}

// TestTraffic: a quiet link is left alone: RFC 6762 §5.2, §8.3.
func TestTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cable{}
		_, stop := start(t, c.plug("10.0.0.1/24"), "box7", "idA", nil)
		time.Sleep(24 * time.Hour)
		stop()
		if n := len(c.heard); n > 60 {
			t.Errorf("%d packets in a day without neighbours", n)
		}
		probes, announcements := 0, 0
		for _, s := range c.heard {
			if len(s.m.Authorities) > 0 && strings.HasPrefix(s.m.Questions[0].Name.String(), "box7 news") {
				probes++
			}
			if s.m.Response && len(s.m.Answers) > 0 && s.m.Answers[0].Header.TTL > 0 {
				announcements++
			}
		}
		if probes != 3 || announcements != 3 {
			t.Errorf("%d probes, %d announcements, want 3 each", probes, announcements)
		}
	})
}

// TestSameName: of two with one name, the later takes the next, and both are found.
func TestSameName(t *testing.T) {
	for _, apart := range []time.Duration{0, 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			c := &cable{}
			a, stopA := start(t, c.plug("10.0.0.1/24"), "box", "idA", nil)
			time.Sleep(apart)
			b, stopB := start(t, c.plug("10.0.0.2/24"), "box", "idB", nil)
			time.Sleep(40 * time.Second)
			la, lb := a.Neighbours(), b.Neighbours()
			if len(la) != 1 || len(lb) != 1 || la[0].Name == lb[0].Name {
				t.Errorf("%v apart: %+v %+v", apart, la, lb)
			}
			if apart > 0 && len(la) == 1 && la[0].Name != "box news (2)" {
				t.Errorf("the later one is %q", la[0].Name)
			}
			stopA()
			stopB()
		})
	}
}

// asked sends one question and returns what the node sent within 2 s.
func asked(c *cable, e *end, from netip.AddrPort, m dnsmessage.Message) (out []sent) {
	c.mu.Lock()
	before := len(c.heard)
	c.mu.Unlock()
	b, _ := m.Pack()
	_ = e.sendAs(b, from, group)
	time.Sleep(2 * time.Second)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.heard[before+1:] {
		if s.m.Response {
			out = append(out, s)
		}
	}
	return out
}

// texts shows messages to a person.
func texts(list []sent) (out []string) {
	for _, s := range list {
		line := "to " + s.to.String()
		for _, r := range s.m.Answers {
			line += " | " + r.Header.Type.String() + " " + r.Header.Name.String()
		}
		for _, r := range s.m.Additionals {
			line += " | along " + r.Header.Type.String() + " " + r.Header.Name.String()
		}
		out = append(out, line)
	}
	return out
}

func query(name string, typ dnsmessage.Type, class dnsmessage.Class) dnsmessage.Message {
	return dnsmessage.Message{Header: dnsmessage.Header{ID: 77}, Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: typ, Class: class}}}
}

func TestAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cable{}
		_, stop := start(t, c.plug("10.0.0.1/24"), "box7", "idA", nil)
		me := c.plug("10.0.0.9/24")
		mdns, old := netip.MustParseAddrPort("10.0.0.9:5353"), netip.MustParseAddrPort("10.0.0.9:40000")
		far := netip.MustParseAddrPort("192.0.2.1:5353")
		time.Sleep(10 * time.Minute)
		ptr := query("_nntp._tcp.local.", dnsmessage.TypePTR, dnsmessage.ClassINET)

		got := asked(c, me, mdns, ptr)
		if len(got) != 1 || got[0].to != group || len(got[0].m.Answers) != 1 || len(got[0].m.Additionals) != 3 || got[0].m.ID != 0 {
			t.Fatalf("to a browser: %d messages: %v", len(got), texts(got))
		}
		if h := got[0].m.Additionals[0].Header; h.Class&flush == 0 || h.TTL != ttlHost {
			t.Errorf("SRV: %v", h)
		}
		known := ptr
		known.Answers = got[0].m.Answers
		if got := asked(c, me, mdns, known); len(got) != 0 {
			t.Errorf("said again what is known: %v", texts(got))
		}
		if got := asked(c, me, far, ptr); len(got) != 0 {
			t.Errorf("answered from another network: %v", texts(got))
		}
		got = asked(c, me, old, ptr)
		if len(got) != 1 || got[0].to != old || got[0].m.ID != 77 || len(got[0].m.Questions) != 1 || got[0].m.Answers[0].Header.TTL > 10 || got[0].m.Additionals[0].Header.Class&flush != 0 {
			t.Errorf("to a plain resolver: %v", texts(got))
		}
		alone := query("box7.local.", dnsmessage.TypeA, dnsmessage.ClassINET|flush)
		if got := asked(c, me, mdns, alone); len(got) != 1 || got[0].to != group {
			t.Errorf("a record long not said goes to all: %v", texts(got))
		}
		if got := asked(c, me, mdns, alone); len(got) != 1 || got[0].to != mdns {
			t.Errorf("a record just said goes to one: %v", texts(got))
		}
		if got := asked(c, me, mdns, query("_services._dns-sd._udp.local.", dnsmessage.TypePTR, dnsmessage.ClassINET)); len(got) != 1 || len(got[0].m.Answers) != 2 {
			t.Errorf("kinds of services: %v", texts(got))
		}
		if got := asked(c, me, mdns, query("printer.local.", dnsmessage.TypeA, dnsmessage.ClassINET)); len(got) != 0 {
			t.Errorf("answered for another: %v", texts(got))
		}
		stop()
	})
}

// TestBounds: a link that shouts costs no more than the bounds say.
func TestBounds(t *testing.T) {
	h := newHeard("_p2pstorage._sub._nntp._tcp.local.")
	now := time.Now()
	for i := range 1000 {
		name := dnsmessage.MustNewName("n" + strings.Repeat("x", i%40) + string(rune('a'+i%26)) + "._nntp._tcp.local.")
		r := func(typ dnsmessage.Type, owner dnsmessage.Name, b dnsmessage.ResourceBody) dnsmessage.Resource {
			return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: owner, Type: typ, TTL: 1 << 31}, Body: b}
		}
		host := dnsmessage.MustNewName("h.local.")
		h.message(dnsmessage.Message{Answers: []dnsmessage.Resource{
			r(dnsmessage.TypeA, host, &dnsmessage.AResource{A: [4]byte{10, 0, byte(i >> 8), byte(i)}}),
			r(dnsmessage.TypeSRV, name, &dnsmessage.SRVResource{Target: host, Port: 1}),
			r(dnsmessage.TypePTR, dnsmessage.MustNewName(h.service), &dnsmessage.PTRResource{PTR: name}),
		}}, "mem0", now)
	}
	if len(h.entries) > maxHeard || len(h.hosts) != 1 || len(h.hosts["mem0 h.local."]) > maxAddrs {
		t.Errorf("%d entries, %d hosts", len(h.entries), len(h.hosts))
	}
	if h.forget(now.Add(2 * time.Hour)); len(h.entries)+len(h.hosts) != 0 {
		t.Error("a time to live of 68 years was believed")
	}
}

// TestHints: what would mislead a person at a terminal is no neighbour.
func TestHints(t *testing.T) {
	for text, want := range map[string]bool{
		"host=box8.example":        true,
		"host=":                    false,
		"host=a\x1b[2Jb":           false,
		"host=a'; rm -rf /;'":      false,
		"host=box8\u202egpj.exe":   false,
		"HOST=box8|host=other\x00": true, // the first counts
		"host=b|g=" + strings.Repeat("x", 250) + "|h=" + strings.Repeat("x", 250): false,
	} {
		h := newHeard("_p2pstorage._sub._nntp._tcp.local.")
		e := &instance{name: dnsmessage.MustNewName("box8 news._nntp._tcp.local."), link: "mem0", hasText: true, text: strings.Split(text, "|"),
			srv: &dnsmessage.SRVResource{Target: dnsmessage.MustNewName("box8.local."), Port: 1119}}
		h.hosts["mem0 box8.local."] = []address{{addr: netip.MustParseAddr("fe80::1")}, {addr: netip.MustParseAddr("10.0.0.8")}}
		n, ok := h.neighbour(e)
		if ok != want {
			t.Errorf("%q: %v %+v", text, ok, n)
		}
		if ok && n.Addrs[0].String() != "10.0.0.8:1119" {
			t.Errorf("%q: first of %v", text, n.Addrs)
		}
	}
}

func TestLabel(t *testing.T) {
	for host, want := range map[string]string{"box7.mesh.example": "box7", "": "litfass", ".x": "litfass", "a\\b\x01c": "abc", "\xff": "litfass", strings.Repeat("ä", 60): strings.Repeat("ä", 20)} {
		if got := Label(host); got != want {
			t.Errorf("%q: %q", host, got)
		}
	}
}

// FuzzPacket states the law: whatever comes in, nothing breaks, what goes out can
// be read, and no name but ours is answered for.
func FuzzPacket(f *testing.F) {
	ask := query("_nntp._tcp.local.", dnsmessage.TypePTR, dnsmessage.ClassINET)
	q, _ := ask.Pack()
	f.Add(q)
	m := names{node: "box8"}
	for _, b := range pack(dnsmessage.Header{Response: true}, nil, ours(m, []Service{news(1)}, []netip.Addr{netip.MustParseAddr("10.0.0.2")}), nil) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &cable{}
		e := c.plug("10.0.0.1/24")
		n := New(Config{Name: "box7", Medium: e, Services: []Service{news(1119)}, Log: slog.New(slog.DiscardHandler)})
		l := &link{Link: e, said: map[string]time.Time{}, state: announced}
		n.links["mem0/4"] = l
		from := netip.MustParseAddrPort("10.0.0.2:5353")
		n.receive(packet{l, from, b})
		for i := 0; i < len(n.tasks) && i < 8; i++ {
			n.tasks[i].do()
		}
		for _, s := range c.heard {
			for _, r := range s.m.Answers {
				if !n.mineAnywhere(r) {
					t.Errorf("answered for %v", r.Header.Name)
				}
			}
		}
		if len(n.heard.entries) > maxHeard {
			t.Error("too many heard")
		}
	})
}
