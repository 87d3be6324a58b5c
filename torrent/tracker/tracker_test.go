package tracker

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

type vectors struct {
	HTTP []struct {
		Others   []string
		PeersHex string `json:"peers_hex"`
		Query    string
		Failure  bool
	} `json:"http_announce"`
	Sync []struct {
		Hex, Layout, Error string
		Records            []struct {
			Infohash, Peer           string
			Seed, Completed, Stopped bool
		}
	} `json:"livesync"`
}

func readVectors(t *testing.T) (v vectors) {
	t.Helper()
	b, err := os.ReadFile("../../docs/spec/torrent.json")
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

var testHash = Hash{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}

func ask(t *testing.T, tr *Tracker, h http.HandlerFunc, target, from string) string {
	t.Helper()
	r := httptest.NewRequest("GET", target, nil)
	r.RemoteAddr = from
	w := httptest.NewRecorder()
	h(w, r)
	if w.Code != 200 {
		t.Fatalf("%s: status %d", target, w.Code)
	}
	return w.Body.String()
}

func TestVectorAnnounce(t *testing.T) {
	for _, c := range readVectors(t).HTTP {
		tr := New(Config{})
		for _, o := range c.Others {
			tr.announce(announcement{hash: testHash, from: netip.MustParseAddrPort(o)})
		}
		got := ask(t, tr, tr.Announce, "/announce?"+c.Query, "10.77.0.9:5000")
		if strings.Contains(got, "failure reason") != c.Failure {
			t.Errorf("%s: %q", c.Query, got)
		}
		if want, _ := hex.DecodeString(c.PeersHex); !c.Failure && !strings.Contains(got, fmt.Sprintf("5:peers%d:%s", len(want), want)) {
			t.Errorf("%s: %q", c.Query, got)
		}
	}
}

func TestVectorLivesync(t *testing.T) {
	for _, c := range readVectors(t).Sync {
		b, _ := hex.DecodeString(c.Hex)
		l := map[string]Layout{"v4": V4, "v6": V6}[c.Layout]
		id, got, err := parseSync(b, l)
		if c.Error != "" {
			if err == nil || err.Error() != c.Error {
				t.Errorf("%s: %v, want %s", c.Hex, err, c.Error)
			}
			continue
		}
		var want []record
		for _, r := range c.Records {
			h, _ := hex.DecodeString(r.Infohash)
			want = append(want, record{Hash(h), netip.MustParseAddrPort(r.Peer), r.Seed, r.Completed, r.Stopped})
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", c.Hex, got, err)
		}
		if again := appendSync(nil, id, l, got); !bytes.Equal(again, b) {
			t.Errorf("written %x, want %s", again, c.Hex)
		}
	}
}

func FuzzLivesync(f *testing.F) {
	f.Add([]byte("\xde\xad\xbe\xef\x00\x00\x00\x00abcdefghijklmnopqrst\x0a\x4d\x00\x01\xa4\x11\x80\x00"), false)
	f.Fuzz(func(t *testing.T, b []byte, six bool) {
		l := V4
		if six {
			l = V6
		}
		id, recs, err := parseSync(b, l)
		if err != nil {
			return
		}
		_, again, err := parseSync(appendSync(nil, id, l, recs), l)
		if err != nil || !reflect.DeepEqual(recs, again) {
			t.Fatalf("%x becomes %+v, then %+v, %v", b, recs, again, err)
		}
	})
}

func TestOwnTorrentsAndScrape(t *testing.T) {
	tr := New(Config{
		Present:  func(h Hash) (bool, bool) { return h == testHash, h == testHash },
		PeerAddr: netip.MustParseAddrPort("0.0.0.0:42069"),
	})
	q := "info_hash=%01%02%03%04%05%06%07%08%09%0A%0B%0C%0D%0E%0F%10%11%12%13%14"
	r := httptest.NewRequest("GET", "/announce?"+q+"&peer_id=-XX0000-abcdefghijkl&port=6881&left=5", nil)
	r.RemoteAddr = "10.0.0.7:1"
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.TCPAddrFromAddrPort(netip.MustParseAddrPort("10.0.0.1:80"))))
	w := httptest.NewRecorder()
	tr.Announce(w, r)
	if got := w.Body.String(); !strings.Contains(got, "5:peers6:\x0a\x00\x00\x01\xa4\x55") || !strings.Contains(got, "8:intervali120e") {
		t.Errorf("announce: %q", got)
	}
	if got := ask(t, tr, tr.Scrape, "/scrape?"+q, "10.0.0.7:1"); !strings.Contains(got, "d8:completei1e10:downloadedi0e10:incompletei1ee") {
		t.Errorf("scrape: %q", got)
	}
	if got := ask(t, tr, tr.Scrape, "/scrape", "10.0.0.7:1"); !strings.Contains(got, "failure") {
		t.Errorf("full scrape: %q", got)
	}
}

func TestLimitsAndForgetting(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	tr := New(Config{Swarms: 2, Peers: 3, PerAddr: 4, Now: func() time.Time { return now }})
	from := func(n int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}), 6881)
	}
	for i := range 5 {
		tr.announce(announcement{hash: testHash, from: from(i), want: -1})
		now = now.Add(time.Second)
	}
	if got := tr.Known(testHash); len(got) != 3 || got[0] == from(0) {
		t.Errorf("peers %v", got)
	}
	for i := range 2 {
		tr.announce(announcement{hash: Hash{byte(i)}, from: from(9)})
	}
	if tr.Known(testHash) != nil {
		t.Error("the oldest swarm was kept")
	}
	refused := 0
	for range 6 {
		if tr.announce(announcement{hash: Hash{1}, from: from(8)}).refused {
			refused++
		}
	}
	if refused != 2 {
		t.Errorf("%d refused", refused)
	}
	now = now.Add(forgetAfter*time.Second + time.Second)
	if seeds, _, leechers := tr.scrape(Hash{1}); seeds+leechers != 0 {
		t.Error("forgotten peers are counted")
	}
	tr.announce(announcement{hash: Hash{1}, from: from(7), left: true})
	tr.announce(announcement{hash: Hash{1}, from: from(7), event: eventStopped})
	if got := tr.Known(Hash{1}); len(got) != 0 {
		t.Errorf("after stopped: %v", got)
	}
}

func TestProxyHeader(t *testing.T) {
	tr := New(Config{Proxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}})
	for _, c := range [][3]string{
		{"192.0.2.1:1", "10.0.0.9, 10.0.0.5", "10.0.0.5"}, {"192.0.2.2:1", "10.0.0.5", "192.0.2.2"}, {"192.0.2.1:1", "", "192.0.2.1"},
	} {
		r := httptest.NewRequest("GET", "/announce?ip=1.2.3.4", nil)
		r.RemoteAddr = c[0]
		r.Header.Set("X-Forwarded-For", c[1])
		if got, _ := tr.client(r); got.String() != c[2] {
			t.Errorf("%v: %s", c, got)
		}
	}
}

func udpPair(t testing.TB, tr *Tracker) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tr.ServeUDP(ctx, c) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	cl, err := net.DialUDP("udp", nil, c.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cl.Close() })
	return cl
}

func exchange(t testing.TB, c *net.UDPConn, req []byte) []byte {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Write(req); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2048)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

func udpConnect(t testing.TB, c *net.UDPConn) []byte {
	req := binary.BigEndian.AppendUint64(nil, protocolID)
	return exchange(t, c, append(req, 0, 0, 0, 0, 1, 2, 3, 4))[8:16]
}

func udpRequest(id []byte, left uint64, want int32) []byte {
	req := append(append([]byte{}, id...), 0, 0, 0, 1, 5, 6, 7, 8)
	req = append(append(req, testHash[:]...), "-XX0000-abcdefghijkl"...)
	req = binary.BigEndian.AppendUint64(req, 0)
	req = binary.BigEndian.AppendUint64(req, left)
	req = append(req, make([]byte, 8+4+4+4)...)
	req = binary.BigEndian.AppendUint32(req, uint32(want))
	return binary.BigEndian.AppendUint16(req, 6881)
}

func TestUDP(t *testing.T) {
	tr := New(Config{})
	tr.announce(announcement{hash: testHash, from: netip.MustParseAddrPort("10.77.0.1:42001")})
	c := udpPair(t, tr)
	id := udpConnect(t, c)
	res := exchange(t, c, udpRequest(id, 7, -1))
	if len(res) != 26 || !bytes.Equal(res[20:], []byte{10, 77, 0, 1, 0xa4, 0x11}) || binary.BigEndian.Uint32(res[16:]) != 1 {
		t.Errorf("announce: %x", res)
	}
	scrape := append(append(append([]byte{}, id...), 0, 0, 0, 2, 9, 9, 9, 9), testHash[:]...)
	if res := exchange(t, c, scrape); len(res) != 20 || binary.BigEndian.Uint32(res[8:]) != 1 || binary.BigEndian.Uint32(res[16:]) != 1 {
		t.Errorf("scrape: %x", res)
	}
	if out := tr.datagram(nil, udpRequest(make([]byte, 8), 0, -1), netip.MustParseAddrPort("10.0.0.1:5"), netip.Addr{}); out != nil {
		t.Errorf("answered without a connection id: %x", out)
	}
}

func TestLivesyncBetweenTwo(t *testing.T) {
	open := func() *net.UDPConn {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ca, cb := open(), open()
	addr := func(c *net.UDPConn) netip.AddrPort { return netip.MustParseAddrPort(c.LocalAddr().String()) }
	all := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	mesh := []netip.Prefix{netip.MustParsePrefix("10.77.0.0/16")}
	a, b := New(Config{}), New(Config{})
	sa := NewSync(a, ca, [4]byte{1}, SyncConfig{To: []netip.AddrPort{addr(cb)}, From: all, Mesh: mesh})
	sb := NewSync(b, cb, [4]byte{2}, SyncConfig{To: []netip.AddrPort{addr(ca)}, From: all, Mesh: mesh})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- sa.Run(ctx) }()
	go func() { done <- sb.Run(ctx) }()
	for i := range 60 { // a full packet goes at once
		a.announce(announcement{hash: testHash, from: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 77, byte(i), 1}), 6881)})
	}
	a.announce(announcement{hash: testHash, from: netip.MustParseAddrPort("192.0.2.1:1")})
	deadline := time.Now().Add(10 * time.Second)
	for len(b.Known(testHash)) < 52 && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	if n := len(b.Known(testHash)); n < 52 {
		t.Errorf("%d peers came over", n)
	}
	sb.take(appendSync(nil, [4]byte{9}, V4, []record{{hash: Hash{7}, peer: netip.MustParseAddrPort("10.77.0.1:1")}}), netip.MustParseAddr("192.0.2.7"))
	if b.Known(Hash{7}) != nil {
		t.Error("a stranger was believed")
	}
	cancel()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if b.Counts.SyncSent.Load() != 0 {
		t.Error("what was received was sent again")
	}
}

func BenchmarkUDPAnnounce(b *testing.B) {
	tr := New(Config{PerAddr: -1})
	from := netip.MustParseAddrPort("10.0.0.1:6881")
	var id [8]byte
	binary.BigEndian.PutUint64(id[:], tr.connectionID(from, tr.slot()))
	req := udpRequest(id[:], 1, -1)
	out := make([]byte, 0, 2048)
	for i := range 50 {
		tr.announce(announcement{hash: testHash, from: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}), 1)})
	}
	for i := 0; b.Loop(); i++ {
		binary.BigEndian.PutUint16(req[96:], uint16(i%40+1))
		out = tr.datagram(out[:0], req, from, netip.Addr{})
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "announces/s")
}

// TestWanted: who lacks something that is here is told of, once the tracker has
// answered; who has all, stops, or wants what is not here is not.
func TestWanted(t *testing.T) {
	var got []netip.AddrPort
	tr := New(Config{Present: func(h Hash) (bool, bool) { return h == testHash, h == testHash },
		Wanted: func(_ Hash, from netip.AddrPort) { got = append(got, from) }})
	from := netip.MustParseAddrPort("10.77.0.9:5000")
	for _, a := range []announcement{
		{hash: testHash, from: from, left: true},
		{hash: testHash, from: from},
		{hash: testHash, from: from, left: true, event: eventStopped},
		{hash: Hash{1}, from: from, left: true},
	} {
		tr.announce(a)
	}
	if len(got) != 1 || got[0] != from {
		t.Errorf("told of %v", got)
	}
}
