package syndicate

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestParseForms(t *testing.T) {
	rss := `<rss version="2.0"><channel><title>T &amp; Co</title><ttl>90</ttl><item><guid>1</guid><title>one</title><link>http://x.example/1</link>` +
		`<description>&lt;b&gt;hi&lt;/b&gt;</description><enclosure url="http://x.example/a.mp3" length="12" type="audio/mpeg"/></item></channel></rss>`
	cases := []struct{ name, doc, kind, ctype, title string }{
		{"rss", rss, "text/xml", "rss", "T & Co"},
		{"rss cut off", rss[:len(rss)-20], "", "rss", "T & Co"},
		{"rss cut in a tag", rss[:len(rss)-3], "", "rss", "T & Co"},
		{"atom", `<feed xmlns="http://www.w3.org/2005/Atom"><title>A</title><entry><id>u:1</id><title>one</title></entry></feed>`, "", "atom", "A"},
		{"rdf", `<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/"><channel><title>R</title></channel><item><title>one</title><link>http://x.example/</link></item></rdf:RDF>`, "", "rss", "R"},
		{"json", `{"version":"https://jsonfeed.org/version/1.1","title":"J","items":[{"id":"1","title":"one","content_text":"x"}]}`, "", "json", "J"},
		{"latin-1 by label", "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?><rss><channel><title>Gr\xfc\xdfe</title><item><title>one</title></item></channel></rss>", "", "rss", "Grüße"},
		{"utf-8 that says latin-1", "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?><rss><channel><title>Grüße</title><item><title>one</title></item></channel></rss>", "", "rss", "Grüße"},
		{"koi8-r by HTTP", "<rss><channel><title>\xf0\xd2\xc9\xd7\xc5\xd4</title><item><title>one</title></item></channel></rss>", "text/xml; charset=koi8-r", "rss", "Привет"},
		{"utf-16", utf16le(`<?xml version="1.0" encoding="utf-16"?><rss><channel><title>Grüße</title><item><title>one</title></item></channel></rss>`), "", "rss", "Grüße"},
	}
	for _, c := range cases {
		f, err := Parse([]byte(c.doc), c.kind, Bounds{})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if f.Kind != c.ctype || f.Title != c.title || len(f.Entries) != 1 || f.Entries[0].Title != "one" || f.Entries[0].ID == "" {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
	f, _ := Parse([]byte(rss), "", Bounds{})
	if e := f.Entries[0]; f.TTL != 90*time.Minute || e.HTML != "<b>hi</b>" || len(e.Enclosures) != 1 || e.Enclosures[0].Length != 12 {
		t.Errorf("rss in full: %+v", f)
	}
}

// TestDates: forms that RSS allows or that are met, and some that say nothing.
func TestDates(t *testing.T) {
	for text, want := range map[string]string{
		"Fri, 27 Nov 2026 10:00:00 EST": "2026-11-27T15:00:00Z", "27 Nov 2026 10:00 +0530": "2026-11-27T04:30:00Z", "27 Nov 26 10:00 GMT": "2026-11-27T10:00:00Z",
		"2026-11-27T10:00:00+09:00": "2026-11-27T01:00:00Z", "2026-11-27 10:00:00": "2026-11-27T10:00:00Z", "Fri, 27 November 2026 10:00:00 GMT": "2026-11-27T10:00:00Z",
		"Freitag, 27 Nov 2026 10:00:00 +0100": "2026-11-27T09:00:00Z", "Fri, 27 Nov 2026 25:00:00 GMT": "", "Mon, 01 Jan 0001 00:00:00 GMT": "", "soon": "",
	} {
		f, err := Parse([]byte("<rss><channel><title>T</title><item><title>x</title><pubDate>"+text+"</pubDate></item></channel></rss>"), "", Bounds{})
		if err != nil {
			t.Fatal(err)
		}
		got, e := "", f.Entries[0]
		if !e.Published.IsZero() {
			got = e.Published.Format(time.RFC3339)
		}
		if got != want || e.BadDate != (want == "") {
			t.Errorf("%q: %q, bad %v, want %q", text, got, e.BadDate, want)
		}
	}
}

func utf16le(s string) string {
	out := []byte{0xff, 0xfe}
	for _, r := range s {
		out = append(out, byte(r), byte(r>>8))
	}
	return string(out)
}

func TestParseRefuses(t *testing.T) {
	item := "<item><title>x</title></item>"
	cases := []struct{ name, doc, want string }{
		{"page", "<!DOCTYPE html><html><body>hi</body></html>", "web page"},
		{"nothing", "", "no element"},
		{"deep", "<rss><channel>" + strings.Repeat("<a>", 100), "nested deeper"},
		{"large", strings.Repeat(" ", 6<<20), "the limit"},
		{"json deep", `{"a":` + strings.Repeat("[", 1000), "nested"},
		{"tag", `<rss a="` + strings.Repeat("x", 70<<10) + `"><channel>` + item, "tag of"},
		{"many elements, no entry", "<rss>" + strings.Repeat("<a/>", 200_000), "elements"},
	}
	for _, c := range cases {
		_, err := Parse([]byte(c.doc), "", Bounds{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := Parse([]byte("<html/>"), "", Bounds{}); !errors.Is(err, ErrNoFeed) {
		t.Errorf("a page: %v is not ErrNoFeed", err)
	}
}

func TestBoundsKeepTheFirstEntries(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("<rss><channel><title>t</title>")
	for i := range 700 {
		body := "x"
		if i == 3 {
			body = strings.Repeat("y", 300<<10)
		}
		fmt.Fprintf(&b, "<item><guid>%d</guid><description>%s</description></item>", i, body)
	}
	b.WriteString("</channel></rss>")
	f, err := Parse(b.Bytes(), "", Bounds{})
	if err != nil || len(f.Entries) != 500 || f.Skipped != 200 {
		t.Fatalf("%v: %d entries, %d skipped", err, len(f.Entries), f.Skipped)
	}
	if f.Entries[3].ID != "4" || f.Title != "t" {
		t.Errorf("entry 3 is %q", f.Entries[3].ID)
	}
}

// FuzzParse states: within bounds, ids never empty, what is written can be read.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`<rss><channel><title>a</title><item><title>b</title></item></channel></rss>`), "")
	f.Add([]byte(`<feed xmlns="http://www.w3.org/2005/Atom"><entry><id>1</id></entry></feed>`), "text/xml; charset=utf-16")
	f.Add([]byte(`{"version":"https://jsonfeed.org/version/1","items":[{"id":1}]}`), "")
	f.Add([]byte("<rss><channel><item><![CDATA[ <item> ]]><title>&x;</ti"), "")
	lim := Bounds{Entries: 7, Elements: 500}
	f.Fuzz(func(t *testing.T, doc []byte, ctype string) {
		feed, err := Parse(doc, ctype, lim)
		if err != nil {
			return
		}
		if len(feed.Entries) > 7*1 && feed.Kind != "json" && len(feed.Entries) > 7+entriesAtOnce {
			t.Fatalf("%d entries", len(feed.Entries))
		}
		out := Out{ID: "urn:x", Title: feed.Title, Self: "http://a.example/f", Page: "http://a.example/", Updated: time.Unix(0, 0)}
		for _, e := range feed.Entries {
			if e.ID == "" {
				t.Fatal("an entry without id")
			}
			out.Items = append(out.Items, OutItem{ID: "urn:" + hash32(20, e.ID), Title: e.Title, HTML: e.HTML, Page: "http://a.example/"})
		}
		var w bytes.Buffer
		if err := out.WriteAtom(&w); err != nil {
			t.Fatal(err)
		}
		again, err := Parse(w.Bytes(), "", Bounds{Bytes: 64 << 20, Entry: 32 << 20})
		if err != nil || len(again.Entries) != len(out.Items) {
			t.Fatalf("what we wrote: %v, %d of %d entries", err, len(again.Entries), len(out.Items))
		}
	})
}
