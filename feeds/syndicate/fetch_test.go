package syndicate

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
)

// TestBrotli: a feed in br is read; one that is cut off, is none, or swells over the
// limit is refused with the reason.
func TestBrotli(t *testing.T) {
	pack := func(s string) []byte {
		var b bytes.Buffer
		w := brotli.NewWriter(&b)
		_, _ = w.Write([]byte(s))
		_ = w.Close()
		return b.Bytes()
	}
	doc := "<rss><channel><item><title>Grüße</title></item></channel></rss>"
	bodies := map[string][]byte{"/good": pack(doc), "/cut": pack(strings.Repeat(doc, 50))[:20], "/none": []byte(doc), "/bomb": pack(strings.Repeat("x", 6<<20))}
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "br") {
			t.Error("br is not asked for")
		}
		w.Header().Set("Content-Encoding", "br")
		_, _ = w.Write(bodies[r.URL.Path])
	}))
	defer origin.Close()
	f := Fetcher{Guard: Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}
	f.Init()
	defer f.Close()
	for path, want := range map[string]string{"/good": "", "/cut": "EOF", "/none": "brotli", "/bomb": "the limit"} {
		a, err := f.Get(context.Background(), origin.URL+path, Validators{})
		switch {
		case want == "" && (err != nil || string(a.Body) != doc):
			t.Errorf("%s: %v", path, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

// TestDeflate: with and without zlib's frame, and cut off.
func TestDeflate(t *testing.T) {
	var framed, bare bytes.Buffer
	z := zlib.NewWriter(&framed)
	w, err := flate.NewWriter(&bare, flate.DefaultCompression)
	if err != nil {
		t.Fatal(err)
	}
	doc := "<rss><channel><item><title>x</title></item></channel></rss>"
	for _, to := range []io.WriteCloser{z, w} {
		if _, err := io.WriteString(to, doc); err != nil || to.Close() != nil {
			t.Fatal(err)
		}
	}
	bodies := map[string][]byte{"/framed": framed.Bytes(), "/bare": bare.Bytes(), "/cut": framed.Bytes()[:20], "/empty": nil}
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "deflate")
		_, _ = w.Write(bodies[r.URL.Path])
	}))
	defer origin.Close()
	f := Fetcher{Guard: Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}
	f.Init()
	defer f.Close()
	for path, good := range map[string]bool{"/framed": true, "/bare": true, "/cut": false, "/empty": false} {
		a, err := f.Get(context.Background(), origin.URL+path, Validators{})
		if (err == nil) != good || good && string(a.Body) != doc {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestNamesThatChange: what counts is the address that a connection goes to, whatever a
// name led to a moment ago (DNS rebinding), and however it is written.
func TestNamesThatChange(t *testing.T) {
	asked := 0
	origin := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer origin.Close()
	_, port, err := net.SplitHostPort(origin.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	f := Fetcher{Guard: Guard{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
	f.Init()
	defer f.Close()
	for _, host := range []string{"localhost", "127.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0", "[::]"} {
		_, err := f.Get(context.Background(), "http://"+host+":"+port+"/", Validators{})
		if err == nil || !strings.Contains(err.Error(), "not in the public net") {
			t.Errorf("%s: %v", host, err)
		}
	}
	for _, host := range []string{"2130706433", "0x7f000001", "127.1"} { // no resolver of Go's knows these as addresses
		if _, err := f.Get(context.Background(), "http://"+host+":"+port+"/", Validators{}); err == nil {
			t.Errorf("%s is reached", host)
		}
	}
	if asked != 0 {
		t.Errorf("the origin was asked %d times", asked)
	}
}
