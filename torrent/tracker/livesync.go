package tracker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Layout says how a record of livesync holds an address: the packet does not tell.
type Layout uint8

// The layouts: of an opentracker built for IPv4, 28 octets a record, and of one
// built for IPv6, 40.
const (
	V4 Layout = 4
	V6 Layout = 16
)

func (l Layout) record() int { return 20 + int(l) + 4 }

// SyncGroup is opentracker's compiled-in multicast group and port.
var SyncGroup = netip.AddrPortFrom(netip.AddrFrom4([4]byte{224, 0, 23, 5}), 9696)

const (
	flagSeed      = 0x80
	flagCompleted = 0x40
	flagStopped   = 0x20

	syncDelay  = 2 * time.Second // from the first record that waits to sending
	syncBudget = 2000            // records a second that are taken
)

// record is one announce as trackers tell each other.
type record struct {
	hash                     Hash
	peer                     netip.AddrPort
	seed, completed, stopped bool
}

// Why a packet of livesync is refused.
var (
	errSyncLength = errors.New("length")
	errSyncEmpty  = errors.New("empty")
	errSyncType   = errors.New("type")
)

// appendSync writes one packet: instance id, type 0, records.
func appendSync(b []byte, id [4]byte, l Layout, records []record) []byte {
	b = append(append(b, id[:]...), 0, 0, 0, 0)
	for _, r := range records {
		b = append(b, r.hash[:]...)
		if ip := r.peer.Addr().As16(); l == V6 {
			b = append(b, ip[:]...)
		} else {
			b = append(b, ip[12:]...)
		}
		flags := byte(0)
		for _, f := range [...]struct {
			on  bool
			bit byte
		}{{r.seed, flagSeed}, {r.completed, flagCompleted}, {r.stopped, flagStopped}} {
			if f.on {
				flags |= f.bit
			}
		}
		b = append(binary.BigEndian.AppendUint16(b, r.peer.Port()), flags, 0)
	}
	return b
}

// parseSync reads one packet. Each record's last octet is ignored.
func parseSync(b []byte, l Layout) (id [4]byte, out []record, err error) {
	switch n := l.record(); {
	case len(b) < 8 || (len(b)-8)%n != 0:
		return id, nil, errSyncLength
	case len(b) == 8:
		return id, nil, errSyncEmpty
	case binary.BigEndian.Uint32(b[4:]) != 0:
		return id, nil, errSyncType
	}
	copy(id[:], b)
	for b = b[8:]; len(b) > 0; b = b[l.record():] {
		ip, _ := netip.AddrFromSlice(b[20 : 20+int(l)])
		rest := b[20+int(l):]
		out = append(out, record{
			hash: Hash(b[:20]), peer: netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(rest)),
			seed: rest[2]&flagSeed != 0, completed: rest[2]&flagCompleted != 0, stopped: rest[2]&flagStopped != 0,
		})
	}
	return id, out, nil
}

// SyncConfig is for livesync. There is no authentication in its format, so who may
// speak and of whom is configured.
type SyncConfig struct {
	Layout    Layout           // default V4
	Interface string           // for multicast; "": none
	TTL       int              // of multicast; default 1
	To        []netip.AddrPort // the same records by unicast, where multicast does not cross
	From      []netip.Prefix   // who is believed
	Mesh      []netip.Prefix   // peers outside are refused
}

// Sync keeps a tracker in step with others.
type Sync struct {
	t    *Tracker
	cfg  SyncConfig
	id   [4]byte
	conn *net.UDPConn
	to   []netip.AddrPort

	mu      sync.Mutex
	waiting []record
	wake    chan struct{}
	second  int64
	budget  int
}

// NewSync sends t's announces through conn, which is bound to receive, and takes
// those of others once Run runs. id names this instance.
func NewSync(t *Tracker, conn *net.UDPConn, id [4]byte, cfg SyncConfig) *Sync {
	if cfg.Layout == 0 {
		cfg.Layout = V4
	}
	s := &Sync{t: t, cfg: cfg, id: id, conn: conn, to: slices.Clone(cfg.To), wake: make(chan struct{}, 1)}
	if cfg.Interface != "" {
		s.to = append(s.to, SyncGroup)
	}
	t.mu.Lock()
	t.out = s.queue
	t.mu.Unlock()
	return s
}

// perPacket keeps a packet below 1,500 octets: 52 records, or 36.
func (s *Sync) perPacket() int {
	if s.cfg.Layout == V6 {
		return 36
	}
	return 52
}

// queue takes a record to be sent. It is called with the tracker locked.
func (s *Sync) queue(r record) {
	if s.cfg.Layout == V4 && !r.peer.Addr().Is4() {
		return
	}
	s.mu.Lock()
	s.waiting = append(s.waiting, r)
	full := len(s.waiting) == 1 || len(s.waiting) == s.perPacket()
	if len(s.waiting) > 100*s.perPacket() { // nobody sends: the oldest go
		s.waiting = s.waiting[s.perPacket():]
	}
	s.mu.Unlock()
	if full {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// Run sends and receives until ctx ends; it closes the connection.
func (s *Sync) Run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- s.receive(ctx) }()
	s.send(ctx)
	s.conn.Close()
	return <-done
}

func (s *Sync) send(ctx context.Context) {
	var due <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-due:
			s.flush()
			due = nil
		case <-s.wake:
			s.mu.Lock()
			full := len(s.waiting) >= s.perPacket()
			s.mu.Unlock()
			if full {
				s.flush()
				due = nil
			} else if due == nil {
				due = time.After(syncDelay)
			}
		}
	}
}

func (s *Sync) flush() {
	s.mu.Lock()
	batch := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	for part := range slices.Chunk(batch, s.perPacket()) {
		b := appendSync(nil, s.id, s.cfg.Layout, part)
		for _, to := range s.to {
			if _, err := s.conn.WriteToUDPAddrPort(b, to); err == nil {
				s.t.Counts.SyncSent.Add(int64(len(part)))
			}
		}
	}
}

func (s *Sync) receive(ctx context.Context) error {
	buf := make([]byte, 2048)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("livesync: %w", err)
		}
		s.take(buf[:n], from.Addr().Unmap().WithZone(""))
	}
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

// take enters a packet's records into the swarms. They are never sent again, and
// never make anybody fetch anything (spec §6.1).
func (s *Sync) take(b []byte, from netip.Addr) {
	counts := &s.t.Counts
	if !contains(s.cfg.From, from) {
		counts.SyncRefused.Add(1)
		return
	}
	id, records, err := parseSync(b, s.cfg.Layout)
	if err != nil {
		counts.SyncRefused.Add(1)
		return
	}
	if id == s.id {
		return
	}
	now := s.t.cfg.Now().Unix()
	for _, r := range records {
		if r.peer.Port() == 0 || !contains(s.cfg.Mesh, r.peer.Addr()) {
			counts.SyncRefused.Add(1)
			continue
		}
		if !s.afford(now) {
			counts.SyncOverBudget.Add(1)
			continue
		}
		counts.SyncReceived.Add(1)
		s.t.enter(r, now)
	}
}

func (s *Sync) afford(now int64) bool {
	if now != s.second {
		s.second, s.budget = now, syncBudget
	}
	s.budget--
	return s.budget >= 0
}

// enter puts what another tracker told into the swarms.
func (t *Tracker) enter(r record, now int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ev := eventNone
	if r.stopped {
		ev = eventStopped
	}
	if s := t.swarm(r.hash, !r.stopped); s != nil {
		t.update(s, peer{at: pack(r.peer), seen: now, seed: r.seed}, ev, now)
	}
}

// ListenSync opens the socket for livesync: on the multicast group if an interface
// is named, else on addr.
func ListenSync(cfg SyncConfig, addr string) (*net.UDPConn, error) {
	if cfg.Interface == "" {
		a, err := net.ResolveUDPAddr("udp", addr)
		if err != nil {
			return nil, fmt.Errorf("tracker.livesync: %w", err)
		}
		return net.ListenUDP("udp", a)
	}
	ifi, err := net.InterfaceByName(cfg.Interface)
	if err != nil {
		return nil, fmt.Errorf("tracker.livesync: %w", err)
	}
	c, err := net.ListenMulticastUDP("udp4", ifi, net.UDPAddrFromAddrPort(SyncGroup))
	if err != nil {
		return nil, fmt.Errorf("tracker.livesync: %w", err)
	}
	if err := multicastOut(c, ifi, max(cfg.TTL, 1)); err != nil {
		return nil, errors.Join(fmt.Errorf("tracker.livesync: %w", err), c.Close())
	}
	return c, nil
}
