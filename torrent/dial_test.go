package torrent

import (
	"context"
	"encoding/binary"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// TestMayDial: a node of the mesh dials the mesh, not itself; one at loopback both.
func TestMayDial(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string][2]bool{ // a node of the mesh, one at loopback
		"10.1.2.3": {true, true}, "192.168.1.1": {true, true}, "fd00::1": {true, true}, "fe80::1": {true, true}, "203.0.113.5": {true, true},
		"127.0.0.1": {false, true}, "127.9.9.9": {false, true}, "::1": {false, true}, "::ffff:127.0.0.1": {false, true},
		"0.0.0.0": {false, false}, "::": {false, false}, "169.254.169.254": {false, false}, "::ffff:169.254.169.254": {false, false}, "224.0.0.1": {false, false}, "ff02::1": {false, false},
	} {
		ip := netip.MustParseAddr(addr)
		if got := [2]bool{mayDial(ip, false), mayDial(ip, true)}; got != want {
			t.Errorf("%s: %v, not %v", addr, got, want)
		}
	}
}

// TestNoInsideByAnnounce: no web seed, tracker of either kind, redirect or peer that the
// net names leads a node of the mesh to a service of its own machine.
func TestNoInsideByAnnounce(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 10)
	inside := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.String() }))
	defer inside.Close()
	u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	e := newEngine(t, newStore(t, nil), nil)
	ctx := ctxFor(t)
	for _, tracker := range []string{inside.URL + "/announce", "udp://" + u.LocalAddr().String(), strings.Replace(inside.URL, "127.0.0.1", "localhost", 1)} {
		if peers, err := e.announce(ctx, tracker, Infohash{1}, 1); err == nil || !strings.Contains(err.Error(), "no address for a web seed or tracker") {
			t.Errorf("%s: %v, %v", tracker, peers, err)
		}
	}
	if len(asked) > 0 {
		t.Error(<-asked)
	}
	ap := func(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }
	got := e.strangers([]netip.AddrPort{ap("127.0.0.1:22"), ap("10.0.0.1:22"), ap("[::1]:25"), ap("169.254.169.254:80"), ap("[fd00::1]:1")})
	if !slices.Equal(got, []netip.AddrPort{ap("10.0.0.1:22"), ap("[fd00::1]:1")}) {
		t.Error(got)
	}
}

// TestTrackerNamesPeers: a UDP tracker's answer (BEP 15) is read by a node at loopback.
func TestTrackerNamesPeers(t *testing.T) {
	t.Parallel()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	stop := context.AfterFunc(ctxFor(t), func() { c.Close() })
	defer stop()
	defer c.Close()
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			out := append([]byte{0, 0, 0, 0}, b[12:16]...)
			if binary.BigEndian.Uint32(b[8:]) == 1 && n >= 98 {
				out = append(append([]byte{0, 0, 0, 1}, b[12:16]...), 0, 0, 0, 60, 0, 0, 0, 1, 0, 0, 0, 1, 10, 0, 0, 7, 0x1a, 0xe1)
			} else {
				out = append(out, "identity"...)
			}
			_, _ = c.WriteTo(out, from)
		}
	}()
	e := newEngine(t, newStore(t, func(c *Config) { c.URL = "http://127.0.0.1:1" }), nil)
	peers, err := e.announce(ctxFor(t), "udp://"+c.LocalAddr().String(), Infohash{1}, 1)
	if err != nil || !slices.Equal(peers, []netip.AddrPort{netip.MustParseAddrPort("10.0.0.7:6881")}) {
		t.Errorf("%v, %v", peers, err)
	}
}
