package webforum

import (
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/net/html"
)

func TestExcerpt(t *testing.T) {
	long := strings.Repeat("nothing of interest here ", 20)
	for _, c := range []struct{ text, question, want string }{
		{"The antennas stand on the roof.", "antenna", "The <mark>antennas</mark> stand on the roof."},
		{"The antenna stands.", "antennas standing", "The <mark>antenna</mark> stands."},
		{"A cat in a category.", "cat", "A <mark>cat</mark> in a category."},
		{"Auf der STRASSE stehen Bäume.", "\"straße\" bäume", "Auf der <mark>STRASSE</mark> stehen <mark>Bäume</mark>."},
		{"Ann writes of Bob and a mast.", "from:\"ann bob\" group:a.mast -mast of", "Ann writes <mark>of</mark> Bob and a mast."},
		{"gif and png", "subject:gif", "<mark>gif</mark> and png"},
		{"<b>bold</b> & more", "bold \"", "&lt;b&gt;<mark>bold</mark>&lt;/b&gt; &amp; more"},
		{"我们的世界", "世", "我们的<mark>世</mark>界"},
		{"nothing", "", "nothing"},
	} {
		if got := string(excerpt(c.text, c.question)); got != c.want {
			t.Errorf("%q in %q: %s", c.question, c.text, got)
		}
	}
	got := string(excerpt(long+"then the mast fell "+long, "mast"))
	if !strings.HasPrefix(got, "… ") || !strings.HasSuffix(got, " …") || !strings.Contains(got, "the <mark>mast</mark> fell") || len(got) > 300 {
		t.Errorf("a long text: %s", got)
	}
}

// Whatever is asked for, an excerpt is a piece of the text with some words marked.
func FuzzExcerpt(f *testing.F) {
	f.Add("The antenna <b>stands", "anten -x from:y \"the")
	f.Add(strings.Repeat("\u4e16\u754c ab ", 60), "\u754c")
	f.Fuzz(func(t *testing.T, text, question string) {
		if !utf8.ValidString(text) {
			return
		}
		z := html.NewTokenizer(strings.NewReader(string(excerpt(text, question))))
		var plain strings.Builder
		for k := z.Next(); k != html.ErrorToken; k = z.Next() {
			tok := z.Token()
			if k == html.TextToken {
				plain.WriteString(tok.Data)
			} else if tok.Data != "mark" || len(tok.Attr) > 0 {
				t.Fatalf("%s in an excerpt of %q", tok, text)
			}
		}
		got := strings.TrimSuffix(strings.TrimPrefix(plain.String(), "… "), " …")
		if strings.ContainsAny(text, "\r\x00…") { // HTML reads these as others
			return
		}
		if !strings.Contains(text, got) {
			t.Fatalf("%q is not in %q", got, text)
		}
	})
}
