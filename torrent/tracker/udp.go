package tracker

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

func sortedUnique(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return slices.Compact(s)
}

// BEP 15.
const (
	protocolID     = 0x41727101980
	actionConnect  = 0
	actionAnnounce = 1
	actionScrape   = 2
	actionError    = 3
	udpScrapeMax   = 74
)

// ServeUDP answers BEP 15 on c until ctx ends; it closes c.
func (t *Tracker) ServeUDP(ctx context.Context, c *net.UDPConn) error {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	local := netip.MustParseAddrPort(c.LocalAddr().String()).Addr().Unmap()
	in, out := make([]byte, 2048), make([]byte, 0, 4096)
	for {
		n, from, err := c.ReadFromUDPAddrPort(in)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("UDP tracker: %w", err)
		}
		plain := netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port())
		if out = t.datagram(out[:0], in[:n], plain, local); len(out) > 0 {
			_, _ = c.WriteToUDPAddrPort(out, from) // datagrams get lost anyway
		}
	}
}

// datagram answers one request; nothing for what is malformed or from who did not
// connect before: an answer is then no larger than what it answers.
func (t *Tracker) datagram(out, in []byte, from netip.AddrPort, local netip.Addr) []byte {
	if len(in) < 16 {
		return nil
	}
	id, action, tx := binary.BigEndian.Uint64(in), binary.BigEndian.Uint32(in[8:]), in[12:16]
	if action == actionConnect {
		if id != protocolID {
			return nil
		}
		out = append(binary.BigEndian.AppendUint32(out, actionConnect), tx...)
		return binary.BigEndian.AppendUint64(out, t.connectionID(from, t.slot()))
	}
	if slot := t.slot(); id != t.connectionID(from, slot) && id != t.connectionID(from, slot-1) {
		t.Counts.Refused.Add(1)
		return nil
	}
	switch {
	case action == actionAnnounce && len(in) >= 98:
		return t.udpAnnounce(out, in, from, local)
	case action == actionScrape:
		return t.udpScrape(out, in)
	}
	out = append(binary.BigEndian.AppendUint32(out, actionError), tx...)
	return append(out, "malformed request"...)
}

// slot is the present piece of 2 minutes.
func (t *Tracker) slot() int64 { return t.cfg.Now().Unix() / 120 }

// connectionID is a keyed hash of address and slot: nothing is kept per client.
func (t *Tracker) connectionID(from netip.AddrPort, slot int64) uint64 {
	var b [32 + 18 + 8]byte
	copy(b[:], t.key[:])
	at := pack(from)
	copy(b[32:], at[:])
	binary.BigEndian.PutUint64(b[50:], uint64(slot))
	sum := sha256.Sum256(b[:])
	return binary.BigEndian.Uint64(sum[:])
}

func (t *Tracker) udpAnnounce(out, in []byte, from netip.AddrPort, local netip.Addr) []byte {
	t.Counts.UDPAnnounces.Add(1)
	a := announcement{
		hash: Hash(in[16:36]), left: binary.BigEndian.Uint64(in[64:]) > 0,
		event: event(binary.BigEndian.Uint32(in[80:])), want: int(int32(binary.BigEndian.Uint32(in[92:]))),
		from:  netip.AddrPortFrom(from.Addr(), binary.BigEndian.Uint16(in[96:])),
		local: local,
	}
	tx := in[12:16]
	if a.from.Port() == 0 {
		out = append(binary.BigEndian.AppendUint32(out, actionError), tx...)
		return append(out, "port must be 1 to 65535"...)
	}
	if local.IsUnspecified() && t.cfg.PeerAddr.Addr().IsUnspecified() {
		a.local = route(from)
	}
	res := t.announce(a)
	if res.refused {
		return nil
	}
	out = append(binary.BigEndian.AppendUint32(out, actionAnnounce), tx...)
	out = binary.BigEndian.AppendUint32(out, uint32(res.interval))
	out = binary.BigEndian.AppendUint32(out, uint32(res.leechers))
	out = binary.BigEndian.AppendUint32(out, uint32(res.seeds))
	if from.Addr().Is4() {
		return append(out, res.peers4...)
	}
	return append(out, res.peers6...)
}

// route returns the address this machine has towards to: nothing is sent.
func route(to netip.AddrPort) netip.Addr {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	return netip.MustParseAddrPort(c.LocalAddr().String()).Addr().Unmap()
}

func (t *Tracker) udpScrape(out, in []byte) []byte {
	t.Counts.Scrapes.Add(1)
	out = append(binary.BigEndian.AppendUint32(out, actionScrape), in[12:16]...)
	for h, n := in[16:], 0; len(h) >= 20 && n < udpScrapeMax; h, n = h[20:], n+1 {
		seeds, done, leechers := t.scrape(Hash(h[:20]))
		out = binary.BigEndian.AppendUint32(out, uint32(seeds))
		out = binary.BigEndian.AppendUint32(out, uint32(done))
		out = binary.BigEndian.AppendUint32(out, uint32(leechers))
	}
	return out
}
