package tracker

import (
	"container/list"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Hash is an infohash.
type Hash = [20]byte

// The rules of spec §6 (4) and (7). Seconds where nothing else is said.
const (
	intervalFew  = 120
	intervalMany = 1800
	fewPeers     = 3 // fewer other peers than that: ask again soon
	minInterval  = 60
	forgetAfter  = 45 * 60
	wantDefault  = 50
	wantMax      = 200
)

// Config is what a tracker needs to know. Zero fields take the default named there.
type Config struct {
	// Present says whether this node has all of a torrent, and whether it has it at
	// all: it is then listed with PeerAddr. nil: it has none.
	Present  func(Hash) (seed, present bool)
	PeerAddr netip.AddrPort // where this node's engine takes peers; an unspecified address means: where the tracker was asked

	// Wanted is told of a client that announced to this tracker that it lacks something
	// of a torrent which is here. It must not block. nil: nobody is.
	Wanted func(Hash, netip.AddrPort)

	Proxies []netip.Prefix // reverse proxies whose X-Forwarded-For counts

	Swarms  int // default 100,000
	Peers   int // of a swarm; default 1,000
	PerAddr int // announces a second from an address; default 50, negative: no limit

	Now func() time.Time
}

// Counts are what a tracker counted since it began, by what was asked.
type Counts struct {
	HTTPAnnounces, UDPAnnounces, Scrapes, Refused, Unknown  atomic.Int64
	SyncSent, SyncReceived, SyncRefused                     atomic.Int64 // records; records; packets and records
	Swarms, SwarmsForgotten, PeersForgotten, SyncOverBudget atomic.Int64
}

// Tracker is safe for concurrent use.
type Tracker struct {
	cfg    Config
	Counts Counts

	mu     sync.Mutex
	swarms map[Hash]*list.Element // of *swarm
	order  list.List              // swarms, least recently used first
	rate   map[netip.Addr]int     // announces in the present second
	second int64
	key    [32]byte
	out    func(record) // livesync, or nil
}

type swarm struct {
	hash  Hash
	peers []peer
	done  int // completed
}

// peer is one that announced; its address as 16 octets and port.
type peer struct {
	at   [18]byte
	seen int64
	seed bool
}

func pack(a netip.AddrPort) (b [18]byte) {
	ip := a.Addr().As16()
	copy(b[:], ip[:])
	binary.BigEndian.PutUint16(b[16:], a.Port())
	return b
}

func (p *peer) addr() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(p.at[:16])).Unmap(), binary.BigEndian.Uint16(p.at[16:]))
}

// New returns a tracker.
func New(cfg Config) *Tracker {
	if cfg.Swarms == 0 {
		cfg.Swarms = 100000
	}
	if cfg.Peers == 0 {
		cfg.Peers = 1000
	}
	if cfg.PerAddr == 0 {
		cfg.PerAddr = 50
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	t := &Tracker{cfg: cfg, swarms: map[Hash]*list.Element{}, rate: map[netip.Addr]int{}}
	for i := range t.key {
		t.key[i] = byte(rand.Uint32())
	}
	return t
}

// event of an announce: BEP 3, with the numbers of BEP 15.
type event uint32

const (
	eventNone event = iota
	eventCompleted
	eventStarted
	eventStopped
)

// announcement is one announce, of either protocol.
type announcement struct {
	hash  Hash
	from  netip.AddrPort // source address of the request, port as announced
	local netip.Addr     // where it was asked
	left  bool           // something is missing
	event event
	want  int // -1: default
}

// answer is what an announce gets.
type answer struct {
	interval         int
	seeds, leechers  int
	peers4           []byte // 6 octets each
	peers6           []byte // 18 octets each
	unknown, refused bool
}

// tooMany counts an announce of addr and says whether it is one too many.
func (t *Tracker) tooMany(addr netip.Addr, now int64) bool {
	if t.cfg.PerAddr < 0 {
		return false
	}
	if now != t.second {
		t.second = now
		clear(t.rate)
	}
	t.rate[addr]++
	return t.rate[addr] > t.cfg.PerAddr
}

// announce takes an announcement and answers it. Seeds are listed to everybody,
// also to who has nothing left: aria2 says so while it has only a magnet (spec §6 (3)).
func (t *Tracker) announce(a announcement) answer {
	res, wanted := t.admit(a)
	if wanted && t.cfg.Wanted != nil {
		t.cfg.Wanted(a.hash, a.from)
	}
	return res
}

// admit does what announce does, and says whether this node has what was asked for.
func (t *Tracker) admit(a announcement) (res answer, wants bool) {
	now := t.cfg.Now().Unix()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tooMany(a.from.Addr(), now) {
		t.Counts.Refused.Add(1)
		return answer{refused: true}, false
	}
	me := peer{at: pack(a.from), seen: now, seed: !a.left}
	s := t.swarm(a.hash, a.event != eventStopped)
	if s != nil {
		t.update(s, me, a.event, now)
		s.pick(&res, me.at, wanted(a.want))
	}
	here := t.addSelf(&res, a)
	res.interval = intervalMany
	if res.seeds+res.leechers-1 < fewPeers {
		res.interval = intervalFew
	}
	if t.out != nil {
		t.out(record{hash: a.hash, peer: a.from, seed: !a.left, completed: a.event == eventCompleted, stopped: a.event == eventStopped})
	}
	return res, here && a.left && a.event != eventStopped
}

func wanted(n int) int {
	if n < 0 {
		return wantDefault
	}
	return min(n, wantMax)
}

// swarm finds a swarm, making it if need be; the one unused for longest goes.
func (t *Tracker) swarm(h Hash, create bool) *swarm {
	if e, ok := t.swarms[h]; ok {
		t.order.MoveToBack(e)
		return e.Value.(*swarm)
	}
	if !create {
		return nil
	}
	if t.order.Len() >= t.cfg.Swarms {
		old := t.order.Remove(t.order.Front()).(*swarm)
		delete(t.swarms, old.hash)
		t.Counts.SwarmsForgotten.Add(1)
	}
	s := &swarm{hash: h}
	t.swarms[h] = t.order.PushBack(s)
	t.Counts.Swarms.Store(int64(t.order.Len()))
	return s
}

// update enters a peer into its swarm, and drops who was not heard of for long.
func (t *Tracker) update(s *swarm, me peer, ev event, now int64) {
	kept, oldest := s.peers[:0], 0
	for _, p := range s.peers {
		if p.at == me.at || now-p.seen > forgetAfter {
			continue
		}
		if kept = append(kept, p); p.seen < kept[oldest].seen {
			oldest = len(kept) - 1
		}
	}
	s.peers = kept
	if ev == eventCompleted {
		s.done++
	}
	if ev == eventStopped {
		return
	}
	if len(s.peers) >= t.cfg.Peers {
		s.peers[oldest] = s.peers[len(s.peers)-1]
		s.peers = s.peers[:len(s.peers)-1]
		t.Counts.PeersForgotten.Add(1)
	}
	s.peers = append(s.peers, me)
}

// pick lists up to want peers but the asking one, from a random place on.
func (s *swarm) pick(res *answer, me [18]byte, want int) {
	n := len(s.peers)
	at := 0
	if n > want {
		at = rand.IntN(n)
	}
	for i := range s.peers {
		p := &s.peers[(at+i)%n]
		if p.seed {
			res.seeds++
		} else {
			res.leechers++
		}
		if p.at != me && len(res.peers4)/6+len(res.peers6)/18 < want {
			res.add(p.at)
		}
	}
}

var mapped = [12]byte{10: 0xff, 11: 0xff}

func (res *answer) add(at [18]byte) {
	if [12]byte(at[:12]) == mapped {
		res.peers4 = append(res.peers4, at[12:]...)
	} else {
		res.peers6 = append(res.peers6, at[:]...)
	}
}

// addSelf lists this node for what it has (spec §6 (5)), and says whether that is all.
func (t *Tracker) addSelf(res *answer, a announcement) (seed bool) {
	if t.cfg.Present == nil {
		return false
	}
	seed, present := t.cfg.Present(a.hash)
	if !present {
		res.unknown = true
		t.Counts.Unknown.Add(1)
		return false
	}
	if seed {
		res.seeds++
	} else {
		res.leechers++
	}
	if self, ok := t.self(a.local, a.from.Addr()); ok && self != a.from {
		res.add(pack(self))
	}
	return seed
}

// self is where the asking one reaches this node's engine.
func (t *Tracker) self(local, from netip.Addr) (netip.AddrPort, bool) {
	p := t.cfg.PeerAddr
	if p.Port() == 0 {
		return p, false
	}
	if ip := p.Addr(); ip.IsValid() && !ip.IsUnspecified() {
		return p, !ip.IsLoopback() || from.IsLoopback()
	}
	return netip.AddrPortFrom(local.Unmap(), p.Port()), local.IsValid() && !local.IsUnspecified()
}

// scrape returns the numbers of a swarm (BEP 48).
func (t *Tracker) scrape(h Hash) (seeds, done, leechers int) {
	now := t.cfg.Now().Unix()
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.swarms[h]; ok {
		s := e.Value.(*swarm)
		done = s.done
		for i := range s.peers {
			switch p := &s.peers[i]; {
			case now-p.seen > forgetAfter:
			case p.seed:
				seeds++
			default:
				leechers++
			}
		}
	}
	if t.cfg.Present != nil {
		if seed, present := t.cfg.Present(h); seed {
			seeds++
		} else if present {
			leechers++
		}
	}
	return seeds, done, leechers
}

// Known returns the peers of a swarm, for this node's own engine.
func (t *Tracker) Known(h Hash) (out []netip.AddrPort) {
	now := t.cfg.Now().Unix()
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.swarms[h]
	if !ok {
		return nil
	}
	s := e.Value.(*swarm)
	for i := range s.peers {
		if now-s.peers[i].seen <= forgetAfter && len(out) < wantMax {
			out = append(out, s.peers[i].addr())
		}
	}
	return out
}

// Seeds returns how many complete peers of a torrent announced here.
func (t *Tracker) Seeds(h Hash) int {
	seeds, _, _ := t.scrape(h)
	return seeds
}
