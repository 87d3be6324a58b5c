package torrent

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	bt "github.com/anacrolix/torrent"
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
	if e.mayRing(call.to, time.Now()) || !e.mayRing(call.to, time.Now().Add(callEvery)) {
		t.Error("an address is called again too soon, or never")
	}
}

// TestCrossed: a peer dials at the very moment when it is called. Whichever of the two
// connections it keeps, as aria2 keeps the first and bars the address of the other,
// gives it what it asks for.
func TestCrossed(t *testing.T) {
	t.Parallel()
	s := newStore(t, nil)
	data := content(1000)
	in, _ := add(t, s, "a.bin", data, Owner{})
	e := newEngine(t, s, func(c *EngineConfig) { c.RingAfter = time.Millisecond })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	e.Ring(in.Hash, netip.MustParseAddrPort(l.Addr().String()))
	_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(20 * time.Second))
	called, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer called.Close()
	dialled, err := net.Dial("tcp", e.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer dialled.Close()
	for _, c := range []net.Conn{called, dialled} { // one peer id on both
		greet(t, c, in.Hash)
	}
	for _, c := range []net.Conn{called, dialled} {
		if got := askBlock(t, c, len(data)); !bytes.Equal(got, data) {
			t.Errorf("the connection of %v gave %d octets of another block", c.LocalAddr(), len(got))
		}
	}
}

// TestSettle: of two connections between two nodes one goes after a while, the other
// goes on giving.
func TestSettle(t *testing.T) {
	t.Parallel()
	seed := newStore(t, nil)
	in, sum := add(t, seed, "a.bin", content(4<<20), Owner{})
	from := newEngine(t, seed, func(c *EngineConfig) { c.Up = 64 << 10 }) // so that it lasts
	to := newStore(t, nil)
	refer(t, to, NewAttachment(in, sum, ""))
	e := newEngine(t, to, func(c *EngineConfig) { c.Peers, c.crossed = peersAt(from), 100*time.Millisecond })
	j, err := e.start(in.Hash, Cache)
	if err != nil {
		t.Fatal(err)
	}
	conns := func(n int) func() bool { return func() bool { return len(j.t.PeerConns()) == n } }
	eventually(t, "connected", conns(1))
	eventually(t, "awake at the other", func() bool { return from.touch(in.Hash) })
	from.mu.Lock()
	theirs := from.active[in.Hash].t
	from.mu.Unlock()
	theirs.AddPeers([]bt.PeerInfo{{Addr: bt.StringAddr(e.Addr().String()), Source: bt.PeerSourceTracker}})
	eventually(t, "two connections", conns(2))
	eventually(t, "one connection", conns(1))
	have := j.t.BytesCompleted()
	eventually(t, "octets by it", func() bool { return j.t.BytesCompleted() > have })
}

// eventually waits for what the engine does by itself.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// greet shakes hands, as a peer that has nothing.
func greet(t *testing.T, c net.Conn, h Infohash) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	hs := append(append([]byte("\x13BitTorrent protocol\x00\x00\x00\x00\x00\x00\x00\x00"), h[:]...), "-XX0000-crosscrosscr"...)
	if _, err := c.Write(hs); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, hs); err != nil || Infohash(hs[28:48]) != h {
		t.Fatalf("handshake %x, %v", hs, err)
	}
}

// askBlock asks for n octets of piece 0 and returns them.
func askBlock(t *testing.T, c net.Conn, n int) []byte {
	t.Helper()
	const interested, request, piece, unchoke = 2, 6, 7, 1
	ask := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 13, request, 0, 0, 0, 0, 0, 0, 0, 0}, uint32(n))
	if _, err := c.Write([]byte{0, 0, 0, 1, interested}); err != nil {
		t.Fatal(err)
	}
	for {
		var size [4]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			t.Fatalf("no block came: %v", err)
		}
		m := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(c, m); err != nil {
			t.Fatal(err)
		}
		switch {
		case len(m) == 1 && m[0] == unchoke:
			if _, err := c.Write(ask); err != nil {
				t.Fatal(err)
			}
		case len(m) > 9 && m[0] == piece:
			return m[9:]
		}
	}
}
