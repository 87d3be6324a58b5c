package web

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/torrent"
)

func newStore(t *testing.T, url string) *torrent.Store {
	t.Helper()
	dir := t.TempDir()
	db, err := state.Open(filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s, err := torrent.Open(db, torrent.Config{Dir: filepath.Join(dir, "torrents"), URL: url, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newEngine(t *testing.T, s *torrent.Store, cfg torrent.EngineConfig) *torrent.Engine {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	e, err := torrent.NewEngine(s, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func add(t *testing.T, s *torrent.Store, name string, b []byte) (*torrent.Info, torrent.Sum) {
	t.Helper()
	in, sum, err := s.Add(context.Background(), bytes.NewReader(b), int64(len(b)), name, torrent.Owner{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return in, sum
}

func get(t *testing.T, h http.Handler, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest("GET", "http://n"+target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func newHandler(t *testing.T, cfg Config) *Handler {
	t.Helper()
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func anybody(*http.Request) bool { return true }

// appTorrent is the vector's torrent of three files, brought here by BitTorrent's
// own way in: metadata and content from a web seed.
func appTorrent(t *testing.T, s *torrent.Store) {
	t.Helper()
	raw, err := os.ReadFile("../../docs/spec/torrent.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		App struct {
			Info  string `json:"info_base64"`
			Files []struct{ Path, Content string }
		} `json:"app_torrent"`
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	dict, _ := base64.StdEncoding.DecodeString(v.App.Info)
	in, err := torrent.ParseInfo(dict, torrent.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".torrent") {
			w.Write(torrent.Metainfo{Info: in}.Encode())
			return
		}
		for _, f := range v.App.Files {
			if r.URL.Path == "/t/"+in.Hash.String()+"/"+in.Name+"/"+f.Path {
				http.ServeContent(w, r, "", time.Time{}, strings.NewReader(f.Content))
				return
			}
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(srv.Close)
	e := newEngine(t, s, torrent.EngineConfig{Patience: 50 * time.Millisecond})
	m := torrent.Magnet{Hash: in.Hash, Length: -1, WebSeeds: []string{srv.URL + "/t/" + in.Hash.String() + "/"}}
	if err := s.Note(m); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := e.Fetch(ctx, in.Hash, torrent.Cache); err != nil {
		t.Fatal(err)
	}
}

func TestVectorPaths(t *testing.T) {
	t.Parallel()
	s := newStore(t, "http://127.0.0.1:1")
	appTorrent(t, s)
	h := newHandler(t, Config{Store: s, URL: "http://127.0.0.1:1"})
	raw, err := os.ReadFile("../../docs/spec/torrent.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Path []struct {
			File, URL, Redirect string
			Status              int
			Listing             bool
		} `json:"path_in_torrent"`
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	for _, c := range v.Path {
		if strings.HasPrefix(c.URL, "/a/") {
			continue // app torrents: later
		}
		res := get(t, h, c.URL)
		switch {
		case c.Redirect != "":
			if res.StatusCode != 301 || res.Header.Get("Location") != c.Redirect {
				t.Errorf("%s: %d %s", c.URL, res.StatusCode, res.Header.Get("Location"))
			}
		case c.Status != 0:
			if res.StatusCode != c.Status {
				t.Errorf("%s: %d, want %d", c.URL, res.StatusCode, c.Status)
			}
		case c.Listing:
			if b := body(t, res); res.StatusCode != 200 || !strings.Contains(b, "metadata.json") || !strings.Contains(b, `/static/"`) {
				t.Errorf("%s: %d %s", c.URL, res.StatusCode, b)
			}
		default:
			if res.StatusCode != 200 || body(t, res) != "//a\n" {
				t.Errorf("%s: %d", c.URL, res.StatusCode)
			}
		}
		if res.Header.Get("X-Content-Type-Options") != "nosniff" || !sandboxed(res.Header.Get("Content-Security-Policy")) {
			t.Errorf("%s: headers %v", c.URL, res.Header)
		}
	}
	for _, bad := range []string{"/x/static/../a", "/static/a%2ejs%00", "/static%2Fa.js", "/static//a.js", "/%5c", "/nope"} {
		if res := get(t, h, "/t/1084a6d869746aaa52e24e243b48bdd32eedd37a"+bad); res.StatusCode != 404 {
			t.Errorf("%s: %d", bad, res.StatusCode)
		}
	}
	res := get(t, h, "/t/1084a6d869746aaa52e24e243b48bdd32eedd37a/index.html")
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/octet-stream" || !strings.HasPrefix(res.Header.Get("Content-Disposition"), "attachment") {
		t.Errorf("a page is served as %v", res.Header)
	}
	var list view
	if err := json.Unmarshal([]byte(body(t, get(t, h, "/t/1084a6d869746aaa52e24e243b48bdd32eedd37a/", "Accept", "application/json"))), &list); err != nil || len(list.Files) != 2 || list.State != "here" {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestRangeAndFormats(t *testing.T) {
	t.Parallel()
	s := newStore(t, "http://n")
	data := bytes.Repeat([]byte("0123456789"), 50000)
	in, sum := add(t, s, "Grüße.mp4", data)
	h := newHandler(t, Config{Store: s, URL: "http://n"})
	base := "/t/" + in.Hash.String()
	res := get(t, h, base+"/Gr%C3%BC%C3%9Fe.mp4", "Range", "bytes=100003-100007")
	if got := body(t, res); res.StatusCode != 206 || got != "34567" || res.Header.Get("Content-Range") != "bytes 100003-100007/500000" ||
		res.Header.Get("ETag") != `"`+in.Hash.String()+`-0"` || res.Header.Get("Accept-Ranges") != "bytes" || res.Header.Get("Content-Type") != "video/mp4" {
		t.Errorf("%d %q %v", res.StatusCode, got, res.Header)
	}
	if res := get(t, h, base+"/Gr%C3%BC%C3%9Fe.mp4", "If-None-Match", `"`+in.Hash.String()+`-0"`); res.StatusCode != 304 {
		t.Errorf("If-None-Match: %d", res.StatusCode)
	}
	m, err := torrent.ParseMetainfo([]byte(body(t, get(t, h, base+".torrent"))), torrent.Limits{})
	if err != nil || m.Info.Hash != in.Hash || m.Trackers[0] != "http://n/announce" || m.WebSeeds[0] != "http://n"+base+"/Gr%C3%BC%C3%9Fe.mp4" {
		t.Errorf("%+v, %v", m, err)
	}
	if meta := body(t, get(t, h, base+".meta4")); !strings.Contains(meta, sum.String()) || !strings.Contains(meta, "<size>500000</size>") || !strings.Contains(meta, base+".torrent") {
		t.Errorf("meta4 %s", meta)
	}
	if p := body(t, get(t, h, base+"/")); !strings.Contains(p, "<video src=") || !strings.Contains(p, "verified") || strings.Contains(p, "<script") || !strings.Contains(p, `href="magnet:?xt`) {
		t.Errorf("page %s", p)
	}
	if res := get(t, h, "/t/"+strings.ToUpper(in.Hash.String())+".torrent"); res.StatusCode != 301 || res.Header.Get("Location") != base+".torrent" {
		t.Errorf("upper case: %d %s", res.StatusCode, res.Header.Get("Location"))
	}
	if err := s.Deny(in.Hash.String(), ""); err != nil {
		t.Fatal(err)
	}
	if res := get(t, h, base+"/"); res.StatusCode != 451 {
		t.Errorf("denied: %d", res.StatusCode)
	}
}

func TestStreamsWhileArriving(t *testing.T) {
	t.Parallel()
	seed := newStore(t, "")
	data := make([]byte, 8<<20)
	for i := range data {
		data[i] = byte(i * i >> 8)
	}
	in, sum := add(t, seed, "a.mp4", data)
	from := newEngine(t, seed, torrent.EngineConfig{Up: 8 << 20})
	to := newStore(t, "http://n")
	if err := to.Refer(torrent.Reference{ID: "<1@x>", Sum: sum}, torrent.NewAttachment(in, sum, ""), "a.b"); err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, to, torrent.EngineConfig{
		Peers: func(torrent.Infohash) []netip.AddrPort {
			return []netip.AddrPort{netip.MustParseAddrPort(from.Addr().String())}
		},
	})
	url := "/t/" + in.Hash.String() + "/a.mp4"
	stranger := newHandler(t, Config{Store: to, Engine: e, URL: "http://n"})
	if res := get(t, stranger, url); res.StatusCode != 404 || !strings.Contains(body(t, res), "magnet:?xt=urn:btih:"+in.Hash.String()) {
		t.Errorf("a stranger: %d", res.StatusCode)
	}
	h := newHandler(t, Config{Store: to, Engine: e, URL: "http://n", MayFetch: anybody})
	if res := get(t, h, url, "User-Agent", "litfass web seed"); res.StatusCode != 404 || e.ActiveCount() != 0 {
		t.Errorf("another node's engine made this one fetch: %d", res.StatusCode)
	}
	if p := body(t, get(t, h, "/t/"+in.Hash.String()+"/")); !strings.Contains(p, "Opening it fetches it") || e.ActiveCount() != 0 {
		t.Errorf("page %s", p)
	}
	res := get(t, h, url, "Range", "bytes=5000000-5999999")
	if got := body(t, res); res.StatusCode != 206 || got != string(data[5000000:6000000]) || res.Header.Get("Cache-Control") != "no-cache" {
		t.Errorf("%d, %d octets, %v", res.StatusCode, len(got), res.Header)
	}
	if got := body(t, get(t, h, url)); got != string(data) {
		t.Error("the whole file differs")
	}
}

func TestNobodyHasIt(t *testing.T) {
	t.Parallel()
	to := newStore(t, "http://n")
	hash, _ := hex.DecodeString("0102030405060708090a0b0c0d0e0f1011121314")
	if err := to.Note(torrent.Magnet{Hash: torrent.Infohash(hash), Name: "x", Length: 5}); err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, to, torrent.EngineConfig{Metadata: 50 * time.Millisecond})
	h := newHandler(t, Config{Store: to, Engine: e, URL: "http://n", MayFetch: anybody})
	res := get(t, h, "/t/0102030405060708090a0b0c0d0e0f1011121314/x")
	if res.StatusCode != 504 || res.Header.Get("Retry-After") == "" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	if res := get(t, h, "/t/0102030405060708090a0b0c0d0e0f1011121315/x"); res.StatusCode != 404 {
		t.Errorf("never heard of: %d", res.StatusCode)
	}
}

func TestMagnetPage(t *testing.T) {
	t.Parallel()
	s := newStore(t, "http://n")
	e := newEngine(t, s, torrent.EngineConfig{})
	uri := "magnet:?xt=urn:btih:0102030405060708090a0b0c0d0e0f1011121314&dn=%3Cb%3E%26"
	h := newHandler(t, Config{Store: s, Engine: e, URL: "http://n", MayFetch: anybody})
	target := "/magnet?uri=" + strings.NewReplacer("%", "%25", "&", "%26", "?", "%3F").Replace(uri)
	if p := body(t, get(t, h, target)); !strings.Contains(p, "<h1>_b_&amp;</h1>") || !strings.Contains(p, "<form") || len(s.List()) != 0 {
		t.Errorf("page %s", p)
	}
	post := func(origin string) *http.Response {
		r := httptest.NewRequest("POST", "http://n"+target, nil)
		r.Header.Set("Origin", origin)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result()
	}
	if res := post("http://evil"); res.StatusCode != 403 || len(s.List()) != 0 {
		t.Errorf("from elsewhere: %d", res.StatusCode)
	}
	if res := post("http://n"); res.StatusCode != 303 || len(s.List()) != 1 {
		t.Errorf("from here: %d", res.StatusCode)
	}
}

// TestArticleJustCame: who asks before the follower has read the article waits a moment.
func TestArticleJustCame(t *testing.T) {
	t.Parallel()
	s := newStore(t, "http://n")
	hash, _ := hex.DecodeString("0102030405060708090a0b0c0d0e0f1011121314")
	h := newHandler(t, Config{Store: s, URL: "http://n", Settle: 20 * time.Second})
	told := make(chan error, 1)
	go func() { told <- s.Note(torrent.Magnet{Hash: torrent.Infohash(hash), Name: "x", Length: 5}) }()
	if res := get(t, h, "/t/0102030405060708090a0b0c0d0e0f1011121314/"); res.StatusCode != 200 {
		t.Errorf("%d", res.StatusCode)
	}
	if err := <-told; err != nil {
		t.Error(err)
	}
	h = newHandler(t, Config{Store: s, URL: "http://n", Settle: time.Millisecond})
	if res := get(t, h, "/t/0102030405060708090a0b0c0d0e0f1011121315/"); res.StatusCode != 404 {
		t.Errorf("never heard of: %d", res.StatusCode)
	}
}

// sandboxed says that a policy lets nothing run and nothing be loaded from elsewhere.
func sandboxed(policy string) bool {
	return strings.HasPrefix(policy, "sandbox") && strings.Contains(policy, "default-src 'none'") && !strings.Contains(policy, "script")
}

func TestSize(t *testing.T) {
	t.Parallel()
	en := newHandler(t, Config{}).language("")
	for n, want := range map[int64]string{0: "0 bytes", 1023: "1023 bytes", 1024: "1.0 KiB", 3000000: "2.9 MiB", 1023 << 10: "1.0 MiB", 1<<63 - 1: "8.0 EiB"} {
		if got := en.Octets(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}

// TestTwoSpellings: a torrent that says its names in an old charset and in UTF-8 is
// served under both, for engines build the URL of a web seed from either.
func TestTwoSpellings(t *testing.T) {
	t.Parallel()
	data := strings.Repeat("Gruesse! ", 2000)
	text := func(s string) string { return fmt.Sprintf("%d:%s", len(s), s) }
	var pieces bytes.Buffer
	for i := 0; i < len(data); i += 16384 {
		h := sha1.Sum([]byte(data[i:min(i+16384, len(data))]))
		pieces.Write(h[:])
	}
	path := "4:pathl" + text("f\xfcr") + text("gr\xfc\xdfe.txt") + "e10:path.utf-8l" + text("für") + text("grüße.txt") + "e"
	raw := fmt.Sprintf("d5:filesld6:lengthi%de%see", len(data), path) + "4:name" + text("D\xfcne") + "10:name.utf-8" + text("Düne") +
		"12:piece lengthi16384e6:pieces" + text(pieces.String()) + "e"
	in, err := torrent.ParseInfo([]byte(raw), torrent.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	root := "/t/" + in.Hash.String() + "/"
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, root) {
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(data))
			return
		}
		w.Write(torrent.Metainfo{Info: in}.Encode())
	}))
	t.Cleanup(origin.Close)
	fetch := func(from string) *Handler {
		s := newStore(t, "http://127.0.0.1:1")
		e := newEngine(t, s, torrent.EngineConfig{Patience: 50 * time.Millisecond})
		if err := s.Note(torrent.Magnet{Hash: in.Hash, Length: -1, WebSeeds: []string{from + root}}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := e.Fetch(ctx, in.Hash, torrent.Cache); err != nil {
			t.Fatal(err)
		}
		return newHandler(t, Config{Store: s, Engine: e, URL: "http://n"})
	}
	first := fetch(origin.URL)
	node := httptest.NewServer(first)
	t.Cleanup(node.Close)
	second := fetch(node.URL) // by the engine's own choice of a spelling
	for path, want := range map[string]int{
		"f%FCr/gr%FC%DFe.txt": 200, "f%C3%BCr/gr%C3%BC%C3%9Fe.txt": 200,
		"D%C3%BCne/f%C3%BCr/gr%C3%BC%C3%9Fe.txt": 200, "D%FCne/f%FCr/gr%FC%DFe.txt": 200,
		"f%C3%BCr/gr%FC%DFe.txt": 404, "D%C3%BCne": 200, "D%C3%BCne/": 404, "Dune/f%FCr/gr%FC%DFe.txt": 404,
	} {
		if res := get(t, second, root+path); res.StatusCode != want || want == 200 && body(t, res) != data {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
}

// TestPrivate: what is given out of a private torrent names its own trackers only.
func TestPrivate(t *testing.T) {
	t.Parallel()
	const own = "http://tracker.example/announce"
	raw := "d6:lengthi5e4:name1:a12:piece lengthi16384e6:pieces20:" + strings.Repeat("x", 20) + "7:privatei1ee"
	in, err := torrent.ParseInfo([]byte(raw), torrent.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(t, "http://n")
	if _, err := s.NoteFile(torrent.Metainfo{Info: in, Trackers: []string{own}}.Encode()); err != nil {
		t.Fatal(err)
	}
	h := newHandler(t, Config{Store: s, Engine: newEngine(t, s, torrent.EngineConfig{}), URL: "http://n", MayFetch: anybody, Trackers: []string{"http://mesh/announce"}})
	m, err := torrent.ParseMetainfo([]byte(body(t, get(t, h, "/t/"+in.Hash.String()+".torrent"))), torrent.Limits{})
	if err != nil || !slices.Equal(m.Trackers, []string{own}) {
		t.Errorf("the file names %v, %v", m, err)
	}
	stranger := newHandler(t, Config{Store: s, URL: "http://n"})
	for _, p := range []string{body(t, get(t, h, "/t/"+in.Hash.String()+"/")), body(t, get(t, stranger, "/t/"+in.Hash.String()+"/a"))} {
		if !strings.Contains(p, "tracker.example") || strings.Contains(p, "retracker") || strings.Contains(p, "n%2Fannounce") {
			t.Errorf("names other trackers: %s", p)
		}
	}
}
