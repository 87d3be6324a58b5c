package torrent

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

// TestRing: a peer that announced itself and cannot dial is called, and gets a
// handshake for what it wants; of one address, one at a time.
func TestRing(t *testing.T) {
	t.Parallel()
	s := newStore(t, nil)
	in, _ := add(t, s, "a.bin", content(1000), Owner{})
	e := newEngine(t, s, func(c *EngineConfig) { c.RingAfter = time.Millisecond })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	e.Ring(Infohash{1}, netip.MustParseAddrPort(other.Addr().String())) // not here: nobody is called
	at := netip.MustParseAddrPort(l.Addr().String())
	e.Ring(in.Hash, at)
	_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Second))
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	hs := make([]byte, 48)
	if _, err := io.ReadFull(c, hs); err != nil || Infohash(hs[28:]) != in.Hash {
		t.Errorf("handshake %x, %v", hs, err)
	}
	e.Close()
	call := call{h: in.Hash, to: netip.MustParseAddrPort(other.Addr().String())}
	if e.mayDial(call.to, time.Now()) || !e.mayDial(call.to, time.Now().Add(callEvery)) {
		t.Error("an address is called again too soon, or never")
	}
}
