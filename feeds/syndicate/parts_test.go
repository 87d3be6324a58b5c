package syndicate

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
)

func TestGuard(t *testing.T) {
	g := Guard{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fc00::/7")},
		Deny: []netip.AddrPort{netip.MustParseAddrPort("10.1.1.1:8080"), netip.MustParseAddrPort("0.0.0.0:1119")}}
	for addr, ok := range map[string]bool{
		"93.184.216.34:80": true, "10.2.3.4:80": true, "[fd00::1]:443": true, "127.0.0.1:80": false, "192.168.1.1:80": false,
		"[::1]:80": false, "[::ffff:127.0.0.1]:80": false, "169.254.169.254:80": false, "10.1.1.1:8080": false, "10.1.1.1:80": true,
		"127.0.0.1:1119": false, "[fe80::1]:80": false, "0.0.0.0:80": false, "[::127.0.0.1]:80": false, "[::ffff:10.1.1.1]:8080": false,
		"[64:ff9b::7f00:1]:80": false, "[2002:7f00:1::]:80": false, "[2001:db8::1]:80": false, "192.0.2.1:80": false, "255.255.255.255:80": false,
		"[2606:2800:220::1]:443": true, "[::ffff:93.184.216.34]:80": true,
	} {
		if err := g.Check(netip.MustParseAddrPort(addr)); (err == nil) != ok {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

// TestOwnDoors: a door that listens on all addresses is not reached by any of this
// machine's.
func TestOwnDoors(t *testing.T) {
	all := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, listen := range []string{":8080", "0.0.0.0:8080", "[::]:8080", "box.example:8080"} {
		door, ok := Door(listen)
		if !ok {
			t.Fatal(listen)
		}
		g := Guard{Allow: all, Deny: []netip.AddrPort{door}}
		for _, a := range addrs {
			ip := netip.MustParsePrefix(a.String()).Addr()
			if g.Check(netip.AddrPortFrom(ip, 8080)) == nil || g.Check(netip.AddrPortFrom(ip, 8081)) != nil {
				t.Errorf("%s is reached by %v, or %v:8081 is not", listen, ip, ip)
			}
		}
		if err := g.Check(netip.MustParseAddrPort("93.184.216.34:8080")); err != nil {
			t.Error(err)
		}
	}
	for _, listen := range []string{"", "x", ":0", ":http"} {
		if _, ok := Door(listen); ok {
			t.Errorf("%q is a door", listen)
		}
	}
}

func TestMessageIDs(t *testing.T) {
	e := Entry{ID: "1", Title: "t"}
	id := messageID(entryKey("http://a/", "1"), e.version("some  text"), feedKey("http://a/"))
	if again := messageID(entryKey("http://a/", "1"), e.version("some text\n"), feedKey("http://a/")); id != again {
		t.Errorf("white space changes the id: %s %s", id, again)
	}
	if _, err := article.ParseID(string(id)); err != nil {
		t.Error(err)
	}
	if entry, _, feed, ok := splitID(id); !ok || entry != entryKey("http://a/", "1") || feed != feedKey("http://a/") {
		t.Errorf("splitID of %s", id)
	}
	if _, _, _, ok := splitID("<x@y>"); ok {
		t.Error("splitID takes a stranger")
	}
}

func TestDraftHoldsNoForeignField(t *testing.T) {
	p := post{
		id: messageID(entryKey("http://a/", "1"), "aaaaaaaa", feedKey("http://a/")), group: "mesh.news", feedURL: "http://a.example/f",
		feed:  &Feed{Title: "F\r\nControl: newgroup x"},
		entry: &Entry{Title: "T\r\nApproved: me", Author: "A\nB: c", Link: "http://a.example/1\r\nX: y", Categories: []string{"k\r\nl"}, Enclosures: []Enclosure{{URL: "http://a.example/" + strings.Repeat("ü", 100) + ".mp3", Type: "audio/mpeg\r\nX: y", Length: 5}}},
		page:  content.Page{Text: "Hallo\n.dot", Safe: "<p>Hallo</p>"}, date: time.Unix(1e9, 0),
		files: []attachment{{"b.bin", "application/octet-stream", strings.NewReader("abc")}},
	}
	var body bytes.Buffer
	d, err := p.draft(nil, &body)
	if err != nil {
		t.Fatal(err)
	}
	d.Body = bytes.NewReader(body.Bytes())
	d.Set("Path", "x!not-for-mail")
	a, err := d.Build(article.Limits{Line: 1000})
	if err != nil {
		t.Fatal(err)
	}
	if a.Has(article.HasControl) || a.Has(article.HasApproved) {
		t.Errorf("a feed added a field:\n%s", a.Head())
	}
	if !bytes.Contains(a.Body(), []byte("YWJj\r\n")) || !bytes.Contains(a.Body(), []byte("access-type=URL")) {
		t.Errorf("body:\n%s", a.Body())
	}
}

func TestOPML(t *testing.T) {
	in := []Subscription{{"http://a.example/f", "A & B", "News/Local", "feeds.news.local"}, {"http://c.example/f", "C", "News", "mesh.talk"}, {"http://b.example/f", "B", "", ""}}
	var w bytes.Buffer
	if err := WriteOPML(&w, "subs", in); err != nil {
		t.Fatal(err)
	}
	if strings.Count(w.String(), `text="News"`) != 1 || strings.Count(w.String(), `text="Local"`) != 1 {
		t.Errorf("folders:\n%s", w.String())
	}
	out, skipped, err := ReadOPML(&w)
	if err != nil || len(skipped) != 0 || !reflect.DeepEqual(in, out) {
		t.Fatalf("%v %v %v", out, skipped, err)
	}
	_, skipped, err = ReadOPML(strings.NewReader(`<opml><body><outline xmlUrl="file:///etc/passwd"/><outline xmlUrl="http://u:p@x/"/></body></opml>`))
	if err != nil || len(skipped) != 2 {
		t.Errorf("hostile: %v %v", skipped, err)
	}
	if _, _, err := ReadOPML(strings.NewReader("<opml><body>" + strings.Repeat(`<outline text="x">`, 1000))); err == nil {
		t.Error("nesting is not bounded")
	}
}

func TestRhythm(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	every := func(gap, age time.Duration) (es []Entry) {
		for i := range 10 {
			es = append(es, Entry{Published: now.Add(-age - time.Duration(i)*gap)})
		}
		return es
	}
	for _, c := range []struct {
		gap, age, want time.Duration
	}{{time.Minute, 0, floorInterval}, {4 * time.Hour, 0, 2 * time.Hour}, {4 * time.Hour, 40 * time.Hour, 10 * time.Hour}, {1000 * time.Hour, 0, ceilInterval}} {
		if got := rhythm(every(c.gap, c.age), now); got != c.want {
			t.Errorf("gap %v, silent for %v: %v, want %v", c.gap, c.age, got, c.want)
		}
	}
	if rhythm(nil, now) != defaultInterval {
		t.Error("no dates")
	}
}

func TestWriters(t *testing.T) {
	o := Out{ID: "urn:a", Title: "T <\x01>", Self: "http://n/f", Page: "http://n/", Next: "http://n/f?p=2", Updated: time.Unix(1e9, 0), Podcast: true, Image: "http://n/c.png",
		Items: []OutItem{{ID: "mid:1@x", Title: "one", Author: "Alice", Page: "http://n/1", Date: time.Unix(1e9, 0), HTML: "<p>]]>&amp;</p>", InReplyTo: "mid:0@x",
			Files: []OutFile{{URL: "http://n/c.png", Type: "image/png", Name: "c.png"}, {URL: "http://n/t/a.mp3", Type: "audio/mpeg", Name: "a.mp3", Length: 9, Torrent: "http://n/t/a.torrent", Magnet: "magnet:?xt=urn:btih:00"}}}}}
	for name, write := range map[string]func(io.Writer) error{"atom": o.WriteAtom, "rss": o.WriteRSS, "json": o.WriteJSON} {
		var w bytes.Buffer
		if err := write(&w); err != nil {
			t.Fatal(name, err)
		}
		if name == "rss" {
			for _, want := range []string{`<itunes:image href="http://n/c.png">`, "<itunes:type>episodic", "<itunes:episodeType>full", `<itunes:category text="News">`, `<enclosure url="http://n/t/a.mp3" length="9" type="audio/mpeg">`, "<itunes:explicit>false"} {
				if !strings.Contains(w.String(), want) {
					t.Errorf("no %s in\n%s", want, w.String())
				}
			}
		}
		if !strings.Contains(w.String(), "magnet:?xt=urn:btih:00") {
			t.Errorf("%s: no magnet beside the enclosure", name)
		}
		f, err := Parse(w.Bytes(), "", Bounds{})
		if err != nil || len(f.Entries) != 1 {
			t.Fatalf("%s: %v\n%s", name, err, w.String())
		}
		if e := f.Entries[0]; e.ID != "mid:1@x" || e.HTML != "<p>]]>&amp;</p>" || len(e.Enclosures) == 0 || e.Enclosures[len(e.Enclosures)-1].URL != "http://n/t/a.mp3" || !e.Published.Equal(time.Unix(1e9, 0)) {
			t.Errorf("%s: %+v", name, e)
		}
	}
}

func TestWrap(t *testing.T) {
	long := strings.Repeat("ä", 100)
	for text, want := range map[string]string{
		"":                            "\n",
		"a  b\n\nc":                   "a  b\n\nc\n",
		long + " x":                   long + "\nx\n",
		strings.Repeat("wörter ", 20): strings.TrimSpace(strings.Repeat("wörter ", 10)) + "\n" + strings.TrimSpace(strings.Repeat("wörter ", 10)) + "\n",
	} {
		var b strings.Builder
		if wrap(&b, text); b.String() != want {
			t.Errorf("%q becomes %q", text, b.String())
		}
	}
}

// TestNamesArePhrases: an encoded word in a phrase holds no parentheses, commas or the
// like (RFC 2047 §5 (3)); newsreaders do not decode those that do.
func TestNamesArePhrases(t *testing.T) {
	for _, name := range []string{"Jana Müller (Das Blatt)", "Müller, Jana", "Jörg", `a "ü" <b@c>`} {
		w := word(name, "")
		for part := range strings.FieldsSeq(w) {
			text := strings.TrimSuffix(strings.TrimPrefix(part, "=?utf-8?"), "?=")
			if len(part) > 75 || strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/=_?") != "" {
				t.Errorf("%s: %s", name, part)
			}
		}
		if got := content.Header(w); got != name {
			t.Errorf("%s comes back as %s", name, got)
		}
	}
}
