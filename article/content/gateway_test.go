package content

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/litfass/litfass/article"
)

func TestGatewayHTML(t *testing.T) {
	page := "<html><style>x</style><p>Gr\xfc\xdfe</p>\n\n\n<div>zwei<br>drei</div><script>alert(1)</script><img src=http://evil.example/x.png>"
	if got := TextOfHTML(page, "iso-8859-1"); got != "Grüße\n\nzwei\ndrei" {
		t.Errorf("text: %q", got)
	}
	_, safe := ReadHTML(page)
	for _, bad := range []string{"script", "alert", "evil", "style"} {
		if strings.Contains(safe, bad) {
			t.Errorf("%q is left in %q", bad, safe)
		}
	}
}

func TestLinkedEnclosure(t *testing.T) {
	text := "From: a@b\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\nhi\n--x\nContent-Type: message/external-body; access-type=URL;\n URL=\"http://o.example/\n  a.mp3\"; size=1234\n\nContent-Type: audio/mpeg\nContent-Disposition: attachment; filename*=UTF-8''a.mp3\n\n--x--\n"
	wire, err := article.Normalize([]byte(text), article.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := article.Parse(wire, article.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	files := Of(a).Files()
	if len(files) != 1 || files[0].Link != "http://o.example/a.mp3" || files[0].Type != "audio/mpeg" || files[0].Size() != 1234 || files[0].Name != "a.mp3" {
		t.Errorf("%+v", files)
	}
}

// TestReadHTML: text and harmless HTML of one pass.
func TestReadHTML(t *testing.T) {
	for page, want := range map[string][2]string{
		"<p>a &amp;lt; b</p><h2>Titel</h2>x":                      {"a &lt; b\n\nTitel\nx", "<p>a &amp;lt; b</p><p><strong>Titel</strong></p>x"},
		`<a href="http://x.example/?a=1&b=2" onclick=x>y</a>`:     {"y", `<a href="http://x.example/?a=1&amp;b=2" rel="nofollow noreferrer">y</a>`},
		`<a href="javascript:alert(1)">y</a>`:                     {"y", "y"},
		`<a href="/near">y</a><td colspan=2 rowspan=x>z`:          {"y z", `y<td colspan="2">z</td>`},
		"<svg width=1 /><p dir=rtl>x</b></p></div><ul><li>y":      {"x\n\ny", `<p dir="rtl">x</p><ul><li>y</li></ul>`},
		"<p>\x1b[31mred</p><img src=http://x/ alt='<i>'>&#27;[0m": {"[31mred\n[0m", "<p>[31mred</p>&lt;i&gt;[0m"},
	} {
		if text, safe := ReadHTML(page); text != want[0] || safe != want[1] {
			t.Errorf("%s:\n%q\n%q", page, text, safe)
		}
	}
}

// FuzzReadHTML: what comes out passes the policy unchanged, comes out of a second
// reading as it went in, and its tags are closed; the text is what TextOfHTML makes.
func FuzzReadHTML(f *testing.F) {
	for _, seed := range []string{
		"<p>a<b>c</p>d", `<a href="http://x/"'>y</a>`, "<script>x</script", "<table><tr><td colspan=3>x", "<!-- x -->y<![CDATA[z]]>",
		"<img src=x alt=\"<script>\">", "<p dir=ltr onclick=x>", "&lt;script&gt;", "<h1>x<h2>y", "<a href='mailto:x@y?a=\"b'>", "\xc2\x80<p\x00>", "<style><p>",
		"<textarea></p>", "<a href=http://a%zz>x", "<li><pre>\r\nx\r\n</pre>",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, page string) {
		text, safe := ReadHTML(page)
		if again := policy().Sanitize(safe); again != safe {
			t.Errorf("%q becomes %q, the policy makes %q of it", page, safe, again)
		}
		if _, again := ReadHTML(safe); len(page) < maxHTML/8 && again != safe {
			t.Errorf("%q becomes %q, then %q", page, safe, again)
		}
		if only := TextOfHTML(page, ""); utf8.ValidString(page) && len(page) <= maxHTML && only != text {
			t.Errorf("%q: text %q, alone %q", page, text, only)
		}
	})
}
