package torrent

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode"

	"github.com/litfass/litfass/test/altered"
)

// vectors is docs/spec/torrent.json, as far as this package obeys it.
type vectors struct {
	FileName []struct{ In, Out string } `json:"file_name"`
	Piece    []struct {
		Length      int64
		PieceLength int64 `json:"piece_length"`
		Pieces      int64
	} `json:"piece_length"`
	Single []struct {
		Info     string `json:"info_base64"`
		Octets   int    `json:"info_bytes"`
		Infohash string
		Base32   string `json:"infohash_base32"`
		Length   int64
		Magnet   string
		Name     string
		Sha256   string
	} `json:"single_file"`
	App struct {
		Info     string `json:"info_base64"`
		Infohash string
		Name     string
		Files    []struct{ Path, Content string }
	} `json:"app_torrent"`
	Detached struct {
		Article     string `json:"article_base64"`
		Text        string `json:"text_decoded"`
		Octets      int
		Attachments []struct {
			Name, Type, Infohash, Sha256, Magnet string
			Length                               int64
			ContentID                            string `json:"content_id"`
		}
	} `json:"detached_article"`
}

func readVectors(t testing.TB) (v vectors) {
	t.Helper()
	b, err := os.ReadFile("../docs/spec/torrent.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// content is the vectors' rule: octet i is (7*i + 13*floor(i/256) + 3) mod 251.
func content(n int64) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte((7*i + 13*(i/256) + 3) % 251)
	}
	return b
}

func TestVectorFileName(t *testing.T) {
	for _, c := range readVectors(t).FileName {
		if got := CleanName(c.In); got != c.Out {
			t.Errorf("CleanName(%q) = %q, want %q", c.In, got, c.Out)
		}
	}
}

func TestVectorPieceLength(t *testing.T) {
	for _, c := range readVectors(t).Piece {
		p := PieceLength(c.Length)
		if n := (c.Length + p - 1) / p; p != c.PieceLength || n != c.Pieces {
			t.Errorf("length %d: %d pieces of %d, want %d of %d", c.Length, n, p, c.Pieces, c.PieceLength)
		}
	}
}

func TestVectorSingleFile(t *testing.T) {
	for _, c := range readVectors(t).Single {
		in, sum, err := BuildInfo(bytes.NewReader(content(c.Length)), c.Length, c.Name)
		if err != nil {
			t.Fatal(err)
		}
		if in.Hash.String() != c.Infohash || sum.String() != c.Sha256 || len(in.Raw) != c.Octets {
			t.Errorf("%s: infohash %s, sha256 %s, %d octets", c.Name, in.Hash, sum, len(in.Raw))
		}
		if want, _ := base64.StdEncoding.DecodeString(c.Info); c.Info != "" && !bytes.Equal(in.Raw, want) {
			t.Errorf("%s: info %q, want %q", c.Name, in.Raw, want)
		}
		if m := (Magnet{Hash: in.Hash, Name: in.Name, Length: in.Length}); m.String() != c.Magnet {
			t.Errorf("magnet %s, want %s", m, c.Magnet)
		}
		for _, s := range []string{c.Infohash, c.Base32, strings.ToUpper(c.Base32)} {
			if h, err := ParseInfohash(s); err != nil || h != in.Hash {
				t.Errorf("ParseInfohash(%s) = %s, %v", s, h, err)
			}
		}
		again, err := ParseInfo(in.Raw, Limits{})
		if err != nil || again.Hash != in.Hash || again.Find(c.Name) != 0 || again.NumPieces != in.NumPieces {
			t.Errorf("read back: %+v, %v", again, err)
		}
	}
}

func TestVectorAppTorrent(t *testing.T) {
	v := readVectors(t).App
	raw, _ := base64.StdEncoding.DecodeString(v.Info)
	in, err := ParseInfo(raw, Limits{})
	if err != nil || in.Hash.String() != v.Infohash || in.Name != v.Name || in.Single {
		t.Fatalf("%+v, %v", in, err)
	}
	for i, f := range v.Files {
		if in.Find(f.Path) != i || in.Find(v.Name+"/"+f.Path) != i || in.Files[i].Length != int64(len(f.Content)) {
			t.Errorf("%s is file %d", f.Path, in.Find(f.Path))
		}
	}
	if !in.Folder("static/") || !in.Folder("") || in.Folder("stat") || in.Find("static") >= 0 {
		t.Error("folders are mistaken")
	}
}

func TestVectorPart(t *testing.T) {
	v := readVectors(t).Detached
	raw, _ := base64.StdEncoding.DecodeString(v.Article)
	w := v.Attachments[0]
	in, sum, err := BuildInfo(bytes.NewReader(content(w.Length)), w.Length, w.Name)
	if err != nil {
		t.Fatal(err)
	}
	a := NewAttachment(in, sum, "http://nas1.mesh.example")
	if a.Magnet != w.Magnet || a.ContentID != "<"+w.ContentID+">" {
		t.Errorf("magnet %s\nwant   %s\nid %s", a.Magnet, w.Magnet, a.ContentID)
	}
	if part := a.appendPart(nil); !bytes.Contains(raw, part) {
		t.Errorf("part is not the vector's:\n%s", part)
	}
	if block := a.block(1, 1, "http://nas1.mesh.example", false); !strings.HasSuffix(v.Text, block) {
		t.Errorf("block is not the vector's:\n%s", block)
	}
	part := string(a.appendPart(nil))
	head, body, _ := strings.Cut(part, "\r\n\r\n")
	got, ok := ParsePart(strings.TrimPrefix(head, "Content-Type: "), body)
	if !ok || got != a {
		t.Errorf("read back (%v) %+v\nwant %+v", ok, got, a)
	}
	for _, spoil := range [][2]string{{"size=300000", "size=300001"}, {"infohash=62", "infohash=63"}, {"&xl=300000", "&xl=30000"}, {"URL;", "ftp;"}} {
		if _, ok := ParsePart(strings.TrimPrefix(strings.Replace(head, spoil[0], spoil[1], 1), "Content-Type: "), body); ok {
			t.Errorf("taken with %s", spoil[1])
		}
	}
}

func TestHostileInfo(t *testing.T) {
	good := func(name string) string {
		return "d6:lengthi1e4:name" + string(appendText(nil, name)) + "12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae"
	}
	if _, err := ParseInfo([]byte(good("a\nb")), Limits{}); err != nil {
		t.Errorf("a newline in a name is ugly and harmless: %v", err)
	}
	many := "d5:filesl" + strings.Repeat("d6:lengthi0e4:pathl1:aee", 10001) + "e4:name1:x12:piece lengthi16384e6:pieces0:e"
	for name, raw := range map[string]string{
		"dots": good(".."), "slash": good("a/b"), "back": good(`a\b`), "nul": good("a\x00"), "empty": good(""),
		"negative": "d6:lengthi-1e4:name1:a12:piece lengthi16384e6:pieces0:e",
		"huge":     "d6:lengthi4611686018427387904e4:name1:a12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae",
		"piece":    "d6:lengthi1e4:name1:a12:piece lengthi16385e6:pieces20:aaaaaaaaaaaaaaaaaaaae",
		"few":      "d6:lengthi16385e4:name1:a12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae",
		"twice":    "d6:lengthi1e6:lengthi2e4:name1:a12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae",
		"many":     many,
		"up":       "d5:filesld6:lengthi1e4:pathl2:..1:aeee4:name1:x12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae",
		"bomb":     strings.Repeat("l", 5000), "claim": "999999999999:a", "v2": "d9:meta versioni2e4:name1:a12:piece lengthi16384ee",
	} {
		if _, err := ParseInfo([]byte(raw), Limits{}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestMetainfo(t *testing.T) {
	in, _, _ := BuildInfo(strings.NewReader("hello"), 5, "hello.txt")
	m := Metainfo{Info: in, Trackers: []string{"http://a/announce", "udp://b:6969"}, WebSeeds: []string{"http://a/t/x"}}
	raw := m.Encode()
	got, err := ParseMetainfo(raw, Limits{})
	if err != nil || got.Info.Hash != in.Hash || len(got.Trackers) != 2 || len(got.WebSeeds) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if v, canonical, err := parseBencode(raw); err != nil || !canonical || !bytes.Equal(v.encode(nil), raw) {
		t.Errorf("not canonical: %v", err)
	}
}

func FuzzBencode(f *testing.F) {
	for _, s := range []string{"d1:ai1e1:bl1:xee", "i-0e", "i007e", "le", "3:abc", "d1:b0:1:a0:e"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, canonical, err := parseBencode(b)
		if err != nil {
			return
		}
		out := v.encode(nil)
		if canonical != bytes.Equal(out, b) {
			t.Fatalf("canonical %v, %q becomes %q", canonical, b, out)
		}
		if _, again, err := parseBencode(out); err != nil || !again {
			t.Fatalf("%q is not read back: %v", out, err)
		}
	})
}

func FuzzCleanName(f *testing.F) {
	for _, s := range []string{"a.txt", "../x", "con", "\xff.\u202e", strings.Repeat("ä", 90) + ".webm", "com1.tar.gz", " . "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := CleanName(s)
		if again := CleanName(got); again != got {
			t.Fatalf("%q becomes %q, then %q", s, got, again)
		}
		if got == "" || len(got) > nameMax || strings.ContainsAny(got, "/\\\x00\r\n") || got[0] == '.' {
			t.Fatalf("%q becomes %q", s, got)
		}
		if un := uniqueName(got, map[string]bool{strings.ToLower(got): true}); un == got || len(un) > nameMax {
			t.Fatalf("%q made unique is %q", got, un)
		}
	})
}

// TestMagnet: schemes and URNs are the same in any case; what names no torrent of
// version 1 is refused.
func TestMagnet(t *testing.T) {
	const hash = "325c63d945f8a22a8496b1894e482e7e2a3e5a43"
	for _, s := range []string{"magnet:?xt=urn:btih:" + hash, "MAGNET:?XT=URN:BTIH:" + strings.ToUpper(hash)} {
		if m, err := ParseMagnet(s); err != nil || m.Hash.String() != hash {
			t.Errorf("%s: %s, %v", s, m.Hash, err)
		}
	}
	for _, s := range []string{"magnet:", "magnets:?xt=urn:btih:" + hash, "magnet:?xt=urn:btmh:1220" + hash, "magnet:?xt=" + hash,
		"magnet:?xt=urn:btih:" + strings.Repeat("0", 40), "magnet:?xt=urn:btih:" + strings.Repeat("a", 32)} { // the engine panics on zero
		if m, err := ParseMagnet(s); err == nil {
			t.Errorf("%s is taken as %s", s, m)
		}
	}
	for s, want := range map[string]string{
		"magnet:?dn=x&xt=URN:btmh:1220" + hash:                              "version 2",
		"magnet:?xt=urn:btih:" + hash + "&dn=" + strings.Repeat("x", 8<<10): "too long",
		"magnet:?xt=urn:sha1:" + hash:                                       "infohash of version 1",
	} {
		if _, err := ParseMagnet(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, not %q", s, err, want)
		}
	}
	if m, err := ParseMagnet("magnet:?xt=urn:btmh:1220" + hash + "&xt=urn:btih:" + hash); err != nil || m.Hash.String() != hash {
		t.Errorf("of both versions: %s, %v", m, err)
	}
}

// TestNoteName: a name that a second magnet link brings is taken, and kept.
func TestNoteName(t *testing.T) {
	s := newStore(t, nil)
	h := Infohash{1}
	for _, step := range [][2]string{{"", ""}, {"a/b.txt", CleanName("a/b.txt")}, {"other", CleanName("a/b.txt")}, {"", CleanName("a/b.txt")}} {
		if err := s.Note(Magnet{Hash: h, Name: step[0]}); err != nil {
			t.Fatal(err)
		}
		if r, err := s.Record(h); err != nil || r.Name != step[1] {
			t.Errorf("after %q: %q, %v", step[0], r.Name, err)
		}
	}
}

func FuzzMagnet(f *testing.F) {
	f.Add("magnet:?xt=urn:btih:325c63d945f8a22a8496b1894e482e7e2a3e5a43&dn=hello.txt&xl=1&tr=udp%3A%2F%2Fa%3A1&so=0,2-4")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMagnet(s)
		if err != nil {
			return
		}
		again, err := ParseMagnet(m.String())
		if len(m.String()) <= magnetMax && (err != nil || again.String() != m.String()) {
			t.Fatalf("%s is read back as %s, %v", m, again, err)
		}
	})
}

// sane is the law for every dictionary that was taken.
func sane(in *Info) error {
	var sum int64
	for i, fl := range in.Files {
		if fl.Offset != sum || fl.Length < 0 || strings.HasPrefix(fl.Path, "/") || strings.Contains("/"+fl.Path+"/", "/../") {
			return fmt.Errorf("file %d: %+v", i, fl)
		}
		sum += fl.Length
	}
	if sum != in.Length || int64(in.NumPieces) != (sum+in.PieceLength-1)/in.PieceLength {
		return fmt.Errorf("%d octets in %d pieces", sum, in.NumPieces)
	}
	if n := CleanName(in.Name); strings.ContainsFunc(n, unicode.IsControl) || n != CleanName(n) {
		return fmt.Errorf("name %q", n)
	}
	return nil
}

func FuzzInfo(f *testing.F) {
	for _, a := range altered.All() {
		if len(a.File) < 1000 {
			f.Add(infoOf(a.File))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := takeInfo(b, Limits{})
		if err != nil {
			return
		}
		if err := sane(in); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkHash(b *testing.B) {
	data := content(32 << 20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, _, err := BuildInfo(bytes.NewReader(data), int64(len(data)), "x"); err != nil {
			b.Fatal(err)
		}
	}
}
