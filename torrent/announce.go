package torrent

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	bt "github.com/anacrolix/torrent"
)

// addPeers offers addresses to the engine, in bounds.
func (j *job) addPeers(peers []netip.AddrPort) {
	var out []bt.PeerInfo
	for _, p := range peers {
		if p.Port() == 0 || len(out) >= 200 {
			continue
		}
		if a := j.e.Addr(); a != nil && a.String() == p.String() {
			continue
		}
		out = append(out, bt.PeerInfo{Addr: bt.StringAddr(p.String()), Source: bt.PeerSourceTracker})
	}
	j.t.AddPeers(out)
}

// strangers are the addresses that a tracker of the net named, without those that mean
// this machine: a service there may trust whoever can reach it.
func (e *Engine) strangers(peers []netip.AddrPort) []netip.AddrPort {
	return slices.DeleteFunc(peers, func(p netip.AddrPort) bool { return !mayDial(p.Addr(), e.atLoopback()) })
}

// AddPeer names a peer for a torrent that is being fetched.
func (e *Engine) AddPeer(h Infohash, p netip.AddrPort) {
	e.mu.Lock()
	a, ok := e.active[h]
	e.mu.Unlock()
	if ok && a.job != nil {
		a.job.addPeers([]netip.AddrPort{p})
	}
}

// announce tells a tracker that left octets of h are missing here and returns the
// peers that it knows (BEP 3, 7, 23; BEP 15 for udp).
func (e *Engine) announce(ctx context.Context, tracker string, h Infohash, left int64) ([]netip.AddrPort, error) {
	u, err := url.Parse(tracker)
	if err != nil {
		return nil, err
	}
	port := 1 // nobody can reach us; a tracker refuses 0
	if a, ok := e.Addr().(*net.TCPAddr); ok && a != nil {
		port = a.Port
	}
	if u.Scheme == "udp" {
		return e.announceUDP(ctx, u.Host, h, left, port)
	}
	id := e.cl.PeerID()
	query := "info_hash=" + escape(string(h[:])) + "&peer_id=" + escape(string(id[:])) + "&port=" + strconv.Itoa(port) +
		"&uploaded=0&downloaded=0&left=" + strconv.FormatInt(left, 10) + "&compact=1&numwant=50"
	sep := "?"
	if strings.Contains(tracker, "?") {
		sep = "&"
	}
	raw, err := e.get(ctx, tracker+sep+query, 64<<10)
	if err != nil {
		return nil, err
	}
	d, _, err := parseBencode(raw)
	if err != nil {
		return nil, err
	}
	if why := d.text("failure reason"); why != "" {
		return nil, fmt.Errorf("tracker %s: %.200q", u.Host, why)
	}
	return e.strangers(append(compact(d.text("peers"), 4), compact(d.text("peers6"), 16)...)), nil
}

// compact reads BEP 23 and BEP 7: addresses of n octets with a port each.
func compact(s string, n int) (out []netip.AddrPort) {
	for b := []byte(s); len(b) >= n+2; b = b[n+2:] {
		if ip, ok := netip.AddrFromSlice(b[:n]); ok {
			out = append(out, netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(b[n:])))
		}
	}
	return out
}

var errUDPTracker = errors.New("the UDP tracker's answer is malformed")

// announceUDP is BEP 15: connect, then announce.
func (e *Engine) announceUDP(ctx context.Context, host string, h Infohash, left int64, port int) ([]netip.AddrPort, error) {
	c, err := e.dialer().DialContext(ctx, "udp", host)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	var tx [4]byte
	_, _ = rand.Read(tx[:])
	ask := func(req []byte, action uint32, least int) ([]byte, error) {
		if _, err := c.Write(req); err != nil {
			return nil, err
		}
		buf := make([]byte, 4096)
		n, err := c.Read(buf)
		if err != nil {
			return nil, err
		}
		if n < least || binary.BigEndian.Uint32(buf) != action || [4]byte(buf[4:8]) != tx {
			return nil, errUDPTracker
		}
		return buf[:n], nil
	}
	req := binary.BigEndian.AppendUint64(nil, 0x41727101980)
	req = append(binary.BigEndian.AppendUint32(req, 0), tx[:]...)
	res, err := ask(req, 0, 16)
	if err != nil {
		return nil, err
	}
	id := e.cl.PeerID()
	req = append([]byte(nil), res[8:16]...)
	req = append(binary.BigEndian.AppendUint32(req, 1), tx[:]...)
	req = append(append(req, h[:]...), id[:]...)
	req = binary.BigEndian.AppendUint64(req, 0)
	req = binary.BigEndian.AppendUint64(req, uint64(left))
	req = append(req, make([]byte, 8+4+4+4)...) // uploaded, event, address, key
	req = binary.BigEndian.AppendUint32(req, 50)
	req = binary.BigEndian.AppendUint16(req, uint16(port))
	if res, err = ask(req, 1, 20); err != nil {
		return nil, err
	}
	size := 4
	if a, ok := c.RemoteAddr().(*net.UDPAddr); ok && a.IP.To4() == nil {
		size = 16
	}
	return e.strangers(compact(string(res[20:]), size)), nil
}
