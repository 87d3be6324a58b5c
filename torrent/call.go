package torrent

import (
	"net/netip"
	"time"

	bt "github.com/anacrolix/torrent"
)

// caller rings back who announced that it wants a torrent which is here. Some peers
// never get through on their own: transmission 3.00 tries uTP first, which the engine
// does not speak, and its turning to TCP is broken; others sit behind a firewall.
type caller struct {
	calls chan call // those waiting; who finds it full is not called
	last  map[netip.Addr]time.Time
}

// call is one peer that is to be rung.
type call struct {
	h   Infohash
	to  netip.AddrPort
	due time.Time
}

const (
	callsMax  = 256
	callEvery = 10 * time.Second // an address, or a /64: no longer than a dial takes, so that it holds one of them at a time
)

func newCaller() *caller {
	return &caller{calls: make(chan call, callsMax), last: map[netip.Addr]time.Time{}}
}

// Ring says that the peer at to announced that it wants h. If it has not come by
// itself after EngineConfig.RingAfter, and h is here, it is called. It never blocks.
func (e *Engine) Ring(h Infohash, to netip.AddrPort) {
	if e.listen == nil || to.Port() < 2 || !e.store.Has(h) { // nodes that take no peers announce port 1
		return
	}
	if r, err := e.store.Record(h); err != nil || r.elsewhere(e.store.cfg.URL) {
		return
	}
	select {
	case e.caller.calls <- call{h: h, to: to, due: time.Now().Add(e.cfg.RingAfter)}:
	default:
	}
}

// ring makes the calls until the engine ends, in the order in which they are due.
func (e *Engine) ring() {
	defer e.wg.Done()
	for {
		select {
		case <-e.ctx.Done():
			return
		case c := <-e.caller.calls:
			wait := time.NewTimer(time.Until(c.due))
			select {
			case <-e.ctx.Done():
				wait.Stop()
				return
			case <-wait.C:
			}
			e.dial(c)
		}
	}
}

func (e *Engine) dial(c call) {
	e.wake(c.h)
	e.mu.Lock()
	a, ok := e.active[c.h]
	e.mu.Unlock()
	if !ok {
		return
	}
	for _, pc := range a.t.PeerConns() {
		if at, err := netip.ParseAddrPort(pc.RemoteAddr.String()); err == nil && at.Addr().Unmap() == c.to.Addr().Unmap() {
			return // it came by itself
		}
	}
	if e.mayRing(c.to, time.Now()) {
		a.t.AddPeers([]bt.PeerInfo{{Addr: bt.StringAddr(c.to.String()), Source: bt.PeerSourceTracker}})
	}
}

// mayRing says whether an address may be called now, and notes that it is.
func (e *Engine) mayRing(to netip.AddrPort, now time.Time) bool {
	last := e.caller.last
	for a, t := range last {
		if now.Sub(t) >= callEvery {
			delete(last, a)
		}
	}
	key := to.Addr().Unmap()
	if key.Is6() {
		if p, err := key.Prefix(64); err == nil {
			key = p.Addr()
		}
	}
	if _, busy := last[key]; busy {
		return false
	}
	last[key] = now
	return true
}
