package syndicate

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

const png = "\x89PNG\x0d\x0a\x1a\x0a"

// TestPictures: what a page shows is fetched once, from where the guard allows, if it is
// a picture; addresses that this node did not give are refused.
func TestPictures(t *testing.T) {
	c := &clock{}
	n := newNode(t, c, "a.example")
	var asked atomic.Int64
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "image/png")
		switch r.URL.Path {
		case "/a.png":
			_, _ = w.Write([]byte(png + "x"))
		case "/script.png":
			_, _ = w.Write([]byte("<html><script>alert(1)</script>"))
		case "/drawing.svg":
			_, _ = w.Write([]byte(`<?xml version="1.0"?><svg onload="alert(1)"/>`))
		case "/inside.png":
			http.Redirect(w, r, "http://10.1.2.3/x.png", http.StatusFound)
		case "/endless.png":
			for range 6 << 10 {
				if _, err := w.Write([]byte(png + strings.Repeat("x", 1<<10))); err != nil {
					return
				}
			}
		}
	}))
	defer origin.Close()
	p := n.Pictures()
	mux := http.NewServeMux()
	p.Register(mux)
	for path, code := range map[string]int{"/a.png": 200, "/script.png": 502, "/drawing.svg": 502, "/inside.png": 502, "/endless.png": 502} {
		if w := get(mux, p.Address(origin.URL+path)); w.Code != code || code == 200 && (w.Body.String() != png+"x" || w.Header().Get("Content-Type") != "image/png") {
			t.Errorf("%s: %d %.50q", path, w.Code, w.Body.String())
		}
	}
	before := asked.Load()
	if w := get(mux, p.Address(origin.URL+"/a.png")); w.Code != 200 || asked.Load() != before {
		t.Errorf("again: %d, the origin asked %d times more", w.Code, asked.Load()-before)
	}
	for _, bad := range []string{"/picture/0123?from=" + origin.URL + "/a.png", strings.Replace(p.Address(origin.URL+"/a.png"), "a.png", "b.png", 1)} {
		if w := get(mux, bad); w.Code != http.StatusForbidden {
			t.Errorf("%s: %d", bad, w.Code)
		}
	}
	if p.Address("file:///etc/passwd") != "" || p.Address("javascript:x") != "" {
		t.Error("an address that leads not to the web")
	}
	for i := range 10 {
		p.keep(strings.Repeat("x", i+1), make([]byte, 1<<20))
	}
	if p.size > picturesKept || len(p.kept) != len(p.order) {
		t.Errorf("%d octets of %d pictures are kept", p.size, len(p.kept))
	}
}
