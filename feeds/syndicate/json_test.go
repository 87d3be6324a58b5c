package syndicate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestJSONForms: versions 1.0 and 1.1, text that is no HTML, and values of the wrong type.
func TestJSONForms(t *testing.T) {
	at := time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name, item string
		want       Entry
	}{
		{"1.1", `{"id":"a","url":"http://x.example/a","title":"T < U","content_html":"<p>x</p>","content_text":"x","date_published":"2026-11-01T11:00:00+01:00","authors":[{"name":"A"}],"tags":["k"],"attachments":[{"url":"http://x.example/a.mp3","mime_type":"audio/mpeg","size_in_bytes":9}]}`,
			Entry{ID: "a", Link: "http://x.example/a", Title: "T < U", HTML: "<p>x</p>", Author: "A", Published: at, Categories: []string{"k"}, Enclosures: []Enclosure{{"http://x.example/a.mp3", "audio/mpeg", 9}}}},
		{"1.0, a number as id, text", `{"id":7,"external_url":"http://x.example/7","content_text":"a < b\n\nc\nd","author":{"name":"B"},"date_modified":"2026-11-01T10:00:00Z"}`,
			Entry{ID: "7", Link: "http://x.example/7", HTML: "<p>a &lt; b</p>\n<p>c<br>\nd</p>", Author: "B", Published: at, Updated: at}},
		{"an author as text, dates out of range", `{"id":"c","title":"x","author":"C","date_published":"9999-12-31T00:00:00Z","date_modified":"0000-01-01T00:00:00Z"}`, Entry{ID: "c", Title: "x", Author: "C", BadDate: true}},
		{"wrong types", `{"id":true,"url":{},"title":[],"content_html":"<b>y</b>","tags":"none","authors":{"name":1},"attachments":[3,null,{"url":[]}],"date_published":3}`,
			Entry{ID: "70abc8ce2c12bd65ee21b05d4f1a2cd0", HTML: "<b>y</b>", BadDate: true}},
	} {
		doc := `{"version":"https://jsonfeed.org/version/1.1","title":"J","items":[null,3,` + c.item + `,{"id":"cut","tit`
		f, err := Parse([]byte(doc), "", Bounds{})
		if err != nil || len(f.Entries) != 1 || f.Title != "J" {
			t.Errorf("%s: %v %+v", c.name, err, f)
			continue
		}
		if c.name == "wrong types" {
			c.want.ID = f.Entries[0].ID // a hash
		}
		if !reflect.DeepEqual(f.Entries[0], c.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, f.Entries[0], c.want)
		}
	}
}

// TestHostileDocumentsCostLittle: what a document of the full 5 MiB makes the parser take
// from the heap, in all, stays within a few times its length.
func TestHostileDocumentsCostLittle(t *testing.T) {
	items := func(n int, what string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "<item><guid>%d</guid>%s</item>", i, what)
		}
		return b.String()
	}
	list := func(n int, what string) string { return "[" + strings.Repeat(what+",", n-1) + what + "]" }
	rss := func(around, items string) string { return "<rss><channel>" + around + items + "</channel></rss>" }
	jsonFeed := func(items string) string {
		return `{"version":"https://jsonfeed.org/version/1.1","items":` + items + "}"
	}
	for name, doc := range map[string]string{
		"a million empty items in JSON":     jsonFeed(list(1_700_000, "{}")),
		"a million tags in JSON":            jsonFeed(`[{"id":"1","tags":` + list(60_000, `""`) + "}]"),
		"500 items, the channel a text":     rss("<description>"+strings.Repeat("&amp;x ", 600_000)+"</description>", items(500, "")),
		"500 items, the channel extensions": rss(strings.Repeat("<a:b>x</a:b>", 90_000), items(500, "")),
		"50,000 items":                      rss("", items(50_000, "<title>x</title>")),
		"100 items, all extensions":         rss("", items(100, strings.Repeat(`<a:b c="d"/>`, 900))),
		"unclosed elements":                 rss("", items(400, strings.Repeat("<p>", 20))),
	} {
		var err error
		took := allocated(func() { _, err = Parse([]byte(doc), "", Bounds{}) })
		if took > 160<<20 {
			t.Errorf("%s, %d KiB: %d MiB (%v)", name, len(doc)>>10, took>>20, err)
		}
		t.Logf("%s, %d KiB: %d MiB (%v)", name, len(doc)>>10, took>>20, err)
	}
}

// FuzzJSONParts: the parts of a list are those that the library finds.
func FuzzJSONParts(f *testing.F) {
	for _, s := range []string{`[1,"a,]",{"b":[2,3]},[]]`, `{"a\"":1,"b":{"c":"}"},"d":null}`, `[`, `{"a"`, `[[],[[]]`, "[ 1 , 2 ]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		for part := range jsonElements(b) {
			if n += len(part) + 1; n > len(b) {
				t.Fatal("parts overlap")
			}
		}
		var list []json.RawMessage
		if json.Unmarshal(b, &list) == nil && list != nil {
			i := 0
			for part := range jsonElements(b) {
				if i >= len(list) || !bytes.Equal(part, list[i]) {
					t.Fatalf("part %d is %q", i, part)
				}
				i++
			}
			if i != len(list) {
				t.Fatalf("%d parts of %d", i, len(list))
			}
		}
		var object map[string]json.RawMessage
		if json.Unmarshal(b, &object) == nil && object != nil {
			got := map[string]json.RawMessage{}
			for k, v := range jsonMembers(b) {
				got[k] = v
			}
			if len(got) != len(object) {
				t.Fatalf("%d members of %d", len(got), len(object))
			}
			for k, v := range object {
				if !bytes.Equal(got[k], v) {
					t.Fatalf("%q is %q, not %q", k, got[k], v)
				}
			}
		}
	})
}
