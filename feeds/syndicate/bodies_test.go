package syndicate

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// sameWithout says whether a document says the same with its long texts apart and
// without.
func sameWithout(t *testing.T, name string, doc []byte) {
	t.Helper()
	b := toUTF8(doc, "")
	whole, err := parseXML(b, Bounds{}.orDefault(), nil)
	apart, err2 := parseXML(b, Bounds{}.orDefault(), newBodies(b))
	if err != nil { // the parser library looks into texts that it now does not see
		return
	}
	if err2 != nil || !reflect.DeepEqual(whole, apart) {
		t.Errorf("%s: %v, %v:\nwhole %+v\napart %+v", name, err, err2, whole, apart)
	}
}

// TestTextsApart: real documents.
func TestTextsApart(t *testing.T) {
	files, err := filepath.Glob("testdata/real/*.*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(file, ".golden") {
			sameWithout(t, file, b)
		}
	}
}

// FuzzTextsApart: whatever stands in an element, a parser that sees all of it reads
// the same.
func FuzzTextsApart(f *testing.F) {
	pad := strings.Repeat("0123456789", 7)
	for _, s := range []string{"&lt;p&gt;x &amp;amp; y" + pad, "<![CDATA[<b>x</b>]]> &auml;" + pad, pad + "<b>x</b>", "&copy=2;&nosuch; & x" + pad, "<!-- x -->" + pad, "]]>" + pad, "&#60;&#x3c;&#0;" + pad, "<![CDATA[" + pad} {
		f.Add(s, uint8(len(s)))
	}
	frames := [...][2]string{
		{"<rss><channel><item><description>", "</description></item></channel></rss>"},
		{`<rss xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel><item><content:encoded>`, "</content:encoded></item></channel></rss>"},
		{`<feed xmlns="http://www.w3.org/2005/Atom"><entry><content type="html">`, "</content></entry></feed>"},
		{`<feed xmlns="http://www.w3.org/2005/Atom"><entry><summary>`, "</summary></entry></feed>"},
		{`<feed xmlns="http://www.w3.org/2005/Atom"><entry><content type="xhtml">`, "</content></entry></feed>"},
		{`<feed xmlns="http://www.w3.org/2005/Atom"><entry><content src='x' type='text'>`, "</content></entry></feed>"},
	}
	f.Fuzz(func(t *testing.T, text string, frame uint8) {
		fr := frames[int(frame)%len(frames)]
		sameWithout(t, text, []byte(fr[0]+text+fr[1]))
	})
}
