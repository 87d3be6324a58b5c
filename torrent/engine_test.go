package torrent

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func newEngine(t testing.TB, s *Store, change func(*EngineConfig)) *Engine {
	t.Helper()
	cfg := EngineConfig{Listen: "127.0.0.1:0"}
	if change != nil {
		change(&cfg)
	}
	e, err := NewEngine(s, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func (e *Engine) addrPort() netip.AddrPort {
	return netip.MustParseAddrPort(e.Addr().String())
}

// peersAt is a tracker that knows these engines.
func peersAt(es ...*Engine) func(Infohash) []netip.AddrPort {
	return func(Infohash) (out []netip.AddrPort) {
		for _, e := range es {
			out = append(out, e.addrPort())
		}
		return out
	}
}

func loopback(c *Config) { c.URL = "http://127.0.0.1:1" }

func ctxFor(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// name makes s know an attachment as a follower does.
func refer(t testing.TB, s *Store, a Attachment) {
	t.Helper()
	if err := s.Refer(Reference{"<1@x>", a.Sum}, a, "a.b"); err != nil {
		t.Fatal(err)
	}
}

func checkContent(t *testing.T, s *Store, h Infohash, want []byte) {
	t.Helper()
	f, err := s.OpenFile(h, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d octets, %v: not those that were sent", len(got), err)
	}
}

func TestFetchFromPeer(t *testing.T) {
	t.Parallel()
	for _, encrypted := range []bool{false, true} {
		seed := newStore(t, nil)
		data := content(3<<20 + 17)
		in, sum := add(t, seed, "a.bin", data, Owner{})
		from := newEngine(t, seed, nil)
		to := newStore(t, nil)
		refer(t, to, NewAttachment(in, sum, ""))
		e := newEngine(t, to, func(c *EngineConfig) { c.Peers = peersAt(from); c.demandEncryption = encrypted })
		if n := from.ActiveCount(); n != 0 {
			t.Fatalf("%d torrents are active before anybody asked", n)
		}
		if err := e.Fetch(ctxFor(t), in.Hash, Cache); err != nil {
			t.Fatalf("encrypted %v: %v", encrypted, err)
		}
		if r, err := to.Record(in.Hash); err != nil || r.State != Verified {
			t.Errorf("%+v, %v", r, err)
		}
		checkContent(t, to, in.Hash, data)
		if used, _ := to.Usage(); used != int64(len(data)) || from.ActiveCount() != 1 {
			t.Errorf("%d octets in use, %d active", used, from.ActiveCount())
		}
	}
}

// TestWrongSum: right pieces, but not the file that the article promised.
func TestWrongSum(t *testing.T) {
	t.Parallel()
	seed := newStore(t, nil)
	in, _ := add(t, seed, "a.bin", content(100000), Owner{})
	from := newEngine(t, seed, nil)
	to := newStore(t, nil)
	refer(t, to, NewAttachment(in, Sum{1, 2, 3}, ""))
	e := newEngine(t, to, func(c *EngineConfig) { c.Peers = peersAt(from) })
	if err := e.Fetch(ctxFor(t), in.Hash, Cache); !errors.Is(err, ErrMismatch) {
		t.Fatalf("got %v", err)
	}
	if used, _ := to.Usage(); used != 0 || countFiles(t, to) != 0 || to.Has(in.Hash) || e.ActiveCount() != 0 {
		t.Errorf("%d octets, %d files, active %d", used, countFiles(t, to), e.ActiveCount())
	}
	if err := e.Fetch(ctxFor(t), in.Hash, Cache); !errors.Is(err, ErrMismatch) {
		t.Errorf("the second time: %v", err)
	}
}

func TestHugeAndFull(t *testing.T) {
	t.Parallel()
	seed := newStore(t, nil)
	in, sum := add(t, seed, "a.bin", content(100000), Owner{})
	from := newEngine(t, seed, nil)
	to := newStore(t, func(c *Config) { c.Quota = 99999 })
	refer(t, to, NewAttachment(in, sum, ""))
	e := newEngine(t, to, func(c *EngineConfig) { c.Peers = peersAt(from) })
	if err := e.Fetch(ctxFor(t), in.Hash, Cache); !errors.Is(err, ErrQuota) || countFiles(t, to) != 0 {
		t.Errorf("over quota: %v, %d files", err, countFiles(t, to))
	}
	a := NewAttachment(in, sum, "")
	a.Length = 5
	lied := newStore(t, nil)
	refer(t, lied, a)
	e = newEngine(t, lied, func(c *EngineConfig) { c.Peers = peersAt(from) })
	if err := e.Fetch(ctxFor(t), in.Hash, Cache); !errors.Is(err, ErrMetadata) || countFiles(t, lied) != 0 {
		t.Errorf("metadata that contradicts the article: %v", err)
	}
}

// TestDiskFull: the library used to ask for the same block for ever (its #889).
func TestDiskFull(t *testing.T) {
	t.Parallel()
	seed := newStore(t, nil)
	in, sum := add(t, seed, "a.bin", content(2<<20), Owner{})
	from := newEngine(t, seed, func(c *EngineConfig) { c.Up = 4 << 20 })
	to := newStore(t, nil)
	refer(t, to, NewAttachment(in, sum, ""))
	if err := os.WriteFile(to.partDir(in.Hash), nil, 0o600); err != nil { // no folder can be made there
		t.Fatal(err)
	}
	e := newEngine(t, to, func(c *EngineConfig) { c.Peers = peersAt(from) })
	if err := e.Fetch(ctxFor(t), in.Hash, Cache); err == nil {
		t.Error("fetched to nowhere")
	}
	if e.ActiveCount() != 0 {
		t.Error("still in the engine")
	}
}

// webSeed serves a store's files as torrent/web does, in short.
func webSeed(t *testing.T, s *Store, in *Info) *httptest.Server {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, ".torrent"):
			w.Write(Metainfo{Info: in}.Encode())
		case strings.HasPrefix(r.URL.Path, "/t/"+in.Hash.String()+"/"):
			f, err := s.OpenFile(in.Hash, 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			http.ServeContent(w, r, "", time.Time{}, f)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	return srv
}

func TestFetchFromWebSeedOnly(t *testing.T) {
	t.Parallel()
	seed := newStore(t, nil)
	data := content(3 << 20)
	in, sum := add(t, seed, "Grüße.bin", data, Owner{})
	srv := webSeed(t, seed, in)
	to := newStore(t, loopback)
	refer(t, to, NewAttachment(in, sum, srv.URL))
	e := newEngine(t, to, func(c *EngineConfig) { c.Patience = 100 * time.Millisecond; c.Stall = 200 * time.Millisecond })
	if err := e.Fetch(ctxFor(t), in.Hash, Cache); err != nil {
		t.Fatal(err)
	}
	checkContent(t, to, in.Hash, data)
}

// TestOriginRefused: metadata that is what the infohash says, and nothing that is
// taken, ends the fetch with the reason; what is not, is passed over.
func TestOriginRefused(t *testing.T) {
	t.Parallel()
	bad := []byte("d6:lengthi5e4:name8:../../up12:piece lengthi16384e6:pieces20:" + strings.Repeat("x", 20) + "e")
	h := Infohash(sha1.Sum(bad))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info := bad
		if strings.HasPrefix(r.URL.Path, "/liar/") {
			info = []byte("d4:name2:..e")
		}
		w.Write(append(append([]byte("d4:info"), info...), 'e'))
	}))
	t.Cleanup(srv.Close)
	s := newStore(t, loopback)
	at := "/t/" + h.String() + "/up"
	if err := s.Note(Magnet{Hash: h, Length: -1, WebSeeds: []string{srv.URL + "/liar" + at, srv.URL + at}}); err != nil {
		t.Fatal(err)
	}
	err := newEngine(t, s, nil).Fetch(ctxFor(t), h, Cache)
	if err == nil || !strings.Contains(err.Error(), "name") {
		t.Errorf("refused with %v", err)
	}
}

// TestStalledPeer: a peer that has everything and gives nothing, as transmission
// 3.00 after a Cancel; the web seed finishes.
func TestStalledPeer(t *testing.T) {
	t.Parallel()
	seed := newStore(t, nil)
	data := content(1 << 20)
	in, sum := add(t, seed, "a.bin", data, Owner{})
	srv := webSeed(t, seed, in)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	gone := make(chan struct{}, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go mute(c, in, gone)
		}
	}()
	to := newStore(t, loopback)
	refer(t, to, NewAttachment(in, sum, srv.URL))
	e := newEngine(t, to, func(c *EngineConfig) {
		c.Peers = func(Infohash) []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort(l.Addr().String())} }
		c.Stall, c.Patience = 300*time.Millisecond, 600*time.Millisecond
	})
	if err := e.Fetch(ctxFor(t), in.Hash, Cache); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("the silent peer was kept")
	}
	checkContent(t, to, in.Hash, data)
}

// mute says that it has all pieces and that it is willing, then nothing more.
func mute(c net.Conn, in *Info, gone chan<- struct{}) {
	defer c.Close()
	buf := make([]byte, 68)
	if _, err := io.ReadFull(c, buf); err != nil {
		return
	}
	var out []byte
	out = append(append(out, 19), "BitTorrent protocol"...)
	out = append(append(append(out, make([]byte, 8)...), in.Hash[:]...), "-XX0000-mutemutemute"...)
	bits := bytes.Repeat([]byte{0xff}, (in.NumPieces+7)/8)
	if n := in.NumPieces % 8; n != 0 {
		bits[len(bits)-1] = byte(0xff << (8 - n))
	}
	out = binary.BigEndian.AppendUint32(out, uint32(1+len(bits)))
	out = append(append(out, 5), bits...)
	out = append(out, 0, 0, 0, 1, 1) // unchoke
	_, _ = c.Write(out)
	_, _ = io.Copy(io.Discard, c)
	gone <- struct{}{}
}

func TestReadWhileArriving(t *testing.T) {
	t.Parallel()
	seed := newStore(t, nil)
	data := content(16 << 20)
	in, sum := add(t, seed, "a.bin", data, Owner{})
	from := newEngine(t, seed, func(c *EngineConfig) { c.Up = 8 << 20 })
	to := newStore(t, nil)
	refer(t, to, NewAttachment(in, sum, ""))
	e := newEngine(t, to, func(c *EngineConfig) { c.Peers = peersAt(from) })
	ctx := ctxFor(t)
	f, err := e.OpenFile(ctx, in.Hash, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	if _, err := f.Seek(9<<20, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(f, buf); err != nil || !bytes.Equal(buf, data[9<<20:10<<20]) {
		t.Fatalf("a range in the middle: %v", err)
	}
	if to.Has(in.Hash) {
		t.Error("all was fetched before the range")
	}
	if err := e.Fetch(ctx, in.Hash, Cache); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, data) {
		t.Errorf("read on after the end of the download: %v", err)
	}
}

// TestSilentPeers: a thousand that connect and say nothing. No more than the cap are
// held, they cost little, and a good one gets through as soon as one of them is gone.
func TestSilentPeers(t *testing.T) {
	t.Parallel()
	seed := newStore(t, nil)
	in, _ := add(t, seed, "a.bin", content(100000), Owner{})
	e := newEngine(t, seed, func(c *EngineConfig) { c.Conns, c.handshake = 20, 500*time.Millisecond })
	most := 0
	for i := range 1000 {
		most = max(most, len(e.listen.free))
		c, err := net.Dial("tcp", e.Addr().String())
		if errors.Is(err, syscall.EMFILE) {
			t.Logf("only %d: no more files may be open here", i)
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if most > 20 || most == 0 {
		t.Errorf("%d connections were held", most)
	}
	deadline := time.Now().Add(20 * time.Second)
	for !handshakes(t, e, in.Hash) {
		if time.Now().After(deadline) {
			t.Fatal("nobody gets through any more")
		}
	}
}

// handshakes says whether the engine answers a handshake.
func handshakes(t *testing.T, e *Engine, h Infohash) bool {
	c, err := net.Dial("tcp", e.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write(append(append(append([]byte{19}, "BitTorrent protocol\x00\x00\x00\x00\x00\x00\x00\x00"...), h[:]...), "-XX0000-goodgoodgood"...)); err != nil {
		return false
	}
	_, err = io.ReadFull(c, make([]byte, 68))
	return err == nil
}

func TestResume(t *testing.T) {
	t.Parallel()
	seed := newStore(t, nil)
	data := content(8 << 20)
	in, sum := add(t, seed, "a.bin", data, Owner{})
	from := newEngine(t, seed, func(c *EngineConfig) { c.Up = 2 << 20 })
	to := newStore(t, nil)
	refer(t, to, NewAttachment(in, sum, ""))
	first, err := NewEngine(to, EngineConfig{Peers: peersAt(from)})
	if err != nil {
		t.Fatal(err)
	}
	f, err := first.OpenFile(ctxFor(t), in.Hash, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(f, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	f.Close()
	first.Close()
	if r, err := to.Record(in.Hash); err != nil || r.State != Partial {
		t.Fatalf("%+v, %v", r, err)
	}
	again, err := Open(to.db, to.cfg)
	if err != nil {
		t.Fatal(err)
	}
	fast := newEngine(t, seed, nil)
	second := newEngine(t, again, func(c *EngineConfig) { c.Peers = peersAt(fast) })
	second.Resume()
	if err := second.Fetch(ctxFor(t), in.Hash, Cache); err != nil {
		t.Fatal(err)
	}
	checkContent(t, again, in.Hash, data)
	st := second.cl.Stats()
	if n := st.BytesReadUsefulData.Int64(); n > int64(len(data))-1<<20+256<<10 {
		t.Errorf("%d octets were fetched again", n)
	}
}

// TestPrivate (BEP 27): of a private torrent neither the mesh's trackers nor this node's
// own hear, and no peer comes from them, unless it names them.
func TestPrivate(t *testing.T) {
	t.Parallel()
	data := content(100000)
	plain, _, err := BuildInfo(bytes.NewReader(data), int64(len(data)), "a.bin")
	if err != nil {
		t.Fatal(err)
	}
	in, err := ParseInfo([]byte(strings.TrimSuffix(string(plain.Raw), "e")+"7:privatei1ee"), Limits{})
	if err != nil || !in.Private || plain.Private {
		t.Fatalf("private %v, %v", in, err)
	}
	file := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	t.Cleanup(file.Close)
	seed := newStore(t, loopback)
	if _, err := seed.NoteFile(Metainfo{Info: in, WebSeeds: []string{file.URL + "/a.bin"}}.Encode()); err != nil {
		t.Fatal(err)
	}
	from := newEngine(t, seed, func(c *EngineConfig) { c.Patience = 50 * time.Millisecond })
	if err := from.Fetch(ctxFor(t), in.Hash, Cache); err != nil {
		t.Fatal(err)
	}
	if here, _ := seed.Present(in.Hash); here {
		t.Error("the node's own tracker, which it does not name, lists it")
	}
	var named, mesh atomic.Int32
	tracker := func(asked *atomic.Int32, peers ...byte) string {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			w.Write(append(fmt.Appendf(nil, "d8:intervali60e5:peers%d:", len(peers)), append(peers, 'e')...))
		}))
		t.Cleanup(srv.Close)
		return srv.URL + "/announce"
	}
	at := from.addrPort()
	own := tracker(&named, append(at.Addr().AsSlice(), byte(at.Port()>>8), byte(at.Port()))...)
	other := tracker(&mesh)
	to := newStore(t, loopback)
	e := newEngine(t, to, func(c *EngineConfig) {
		c.Trackers = []string{other}
		c.Peers = func(Infohash) []netip.AddrPort { mesh.Add(1); return nil }
	})
	if err := to.Note(Magnet{Hash: in.Hash, Length: -1, Trackers: []string{other}}); err != nil {
		t.Fatal(err)
	}
	if _, err := to.NoteFile(Metainfo{Info: in, Trackers: []string{own}}.Encode()); err != nil {
		t.Fatal(err)
	}
	if err := to.Note(Magnet{Hash: in.Hash, Length: -1, Trackers: []string{other}}); err != nil {
		t.Fatal(err)
	}
	if err := e.Fetch(ctxFor(t), in.Hash, Cache); err != nil {
		t.Fatal(err)
	}
	checkContent(t, to, in.Hash, data)
	if named.Load() == 0 || mesh.Load() != 0 {
		t.Errorf("its own tracker was asked %d times, others %d", named.Load(), mesh.Load())
	}

	late := newStore(t, loopback) // by a magnet link it is known to be private only with the metadata
	if err := late.Note(Magnet{Hash: in.Hash, Length: -1, Trackers: []string{own}}); err != nil {
		t.Fatal(err)
	}
	if err := newEngine(t, late, func(c *EngineConfig) { c.Trackers = []string{other} }).Fetch(ctxFor(t), in.Hash, Cache); err != nil {
		t.Fatal(err)
	}
	if r, err := late.Record(in.Hash); err != nil || !r.Private {
		t.Errorf("%+v, %v", r, err)
	}
}
