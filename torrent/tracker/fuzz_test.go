package tracker

import (
	"bytes"
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"testing"
)

// skipBencode returns what follows the value that b begins with; ok is false for what is none.
func skipBencode(b []byte) (rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, false
	}
	switch c := b[0]; {
	case c == 'i':
		num, rest, ok := bytes.Cut(b[1:], []byte("e"))
		_, err := strconv.ParseInt(string(num), 10, 64)
		return rest, ok && err == nil
	case c == 'l' || c == 'd':
		for b = b[1:]; len(b) > 0 && b[0] != 'e'; {
			if b, ok = skipBencode(b); !ok {
				return nil, false
			}
		}
		return bytes.TrimPrefix(b, []byte("e")), len(b) > 0
	}
	size, rest, ok := bytes.Cut(b, []byte(":"))
	n, err := strconv.Atoi(string(size))
	if !ok || err != nil || n < 0 || n > len(rest) {
		return nil, false
	}
	return rest[n:], true
}

// FuzzHTTP: whatever is asked, the answer is one bencoded dictionary with status 200, it
// is either a failure or complete, and lists no more than it may.
func FuzzHTTP(f *testing.F) {
	hash := url.QueryEscape(string(testHash[:]))
	for _, q := range []string{"", "info_hash=" + hash, "info_hash=" + hash + "&peer_id=-XX0000-abcdefghijkl&port=6881&left=0", "info_hash=" + hash + "&peer_id=-XX0000-abcdefghijkl&port=0",
		"info_hash=" + hash + "&peer_id=-XX0000-abcdefghijkl&port=1&numwant=99999999&event=completed&left=-1&compact=0&ip=127.0.0.1", "info_hash=%zz", "info_hash=" + hash + "&info_hash=" + hash, "a=%00&;"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, query string) {
		tr := New(Config{Present: func(h Hash) (bool, bool) { return h == testHash, h == testHash }, PeerAddr: netip.MustParseAddrPort("10.77.0.1:42069"), PerAddr: -1})
		for port := range 300 {
			tr.announce(announcement{hash: testHash, from: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(port >> 8), byte(port)}), 1)})
		}
		for _, h := range []http.HandlerFunc{tr.Announce, tr.Scrape} {
			r := httptest.NewRequest("GET", "/x", nil)
			r.URL.RawQuery, r.RemoteAddr = query, "10.9.9.9:5000"
			w := httptest.NewRecorder()
			h(w, r)
			b := w.Body.Bytes()
			if rest, ok := skipBencode(b); !ok || len(rest) > 0 || b[0] != 'd' || w.Code != 200 || len(b) > 100*80+2000 {
				t.Fatalf("%q is answered %d %q", query, w.Code, b)
			}
			if !bytes.Contains(b, []byte("14:failure reason")) && !bytes.Contains(b, []byte("8:intervali")) && !bytes.HasPrefix(b, []byte("d5:filesd")) {
				t.Fatalf("%q: neither a failure nor an answer: %q", query, b)
			}
		}
	})
}

// FuzzUDP: who has no connection id hears at most 16 octets, never more than he sent, and
// changes nothing; who has one gets an answer that echoes his transaction and lists no
// more than it may.
func FuzzUDP(f *testing.F) {
	f.Add(binary.BigEndian.AppendUint64(nil, protocolID))
	f.Add(append(binary.BigEndian.AppendUint64(nil, protocolID), 0, 0, 0, 0, 1, 2, 3, 4))
	f.Add(udpRequest(make([]byte, 8), 1, -1))
	f.Add(udpRequest(make([]byte, 8), 0, 1<<30))
	f.Add(append([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 9, 9, 9, 9}, make([]byte, 2000)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		tr := New(Config{})
		from, local := netip.MustParseAddrPort("10.9.9.9:5000"), netip.MustParseAddr("10.77.0.1")
		out := tr.datagram(nil, b, from, local)
		if len(out) > 16 || len(out) > len(b) || tr.Counts.Swarms.Load() != 0 {
			t.Fatalf("%x of a stranger is answered %x", b, out)
		}
		if len(b) < 16 || binary.BigEndian.Uint32(b[8:]) == actionConnect {
			return
		}
		known := append(binary.BigEndian.AppendUint64(nil, tr.connectionID(from, tr.slot())), b[8:]...)
		out = tr.datagram(nil, known, from, local)
		if len(out) > 20+wantMax*18 || len(out) < 8 || !bytes.Equal(out[4:8], b[12:16]) {
			t.Fatalf("%x is answered %x", b, out)
		}
	})
}
