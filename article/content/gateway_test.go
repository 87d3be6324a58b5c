package content

import (
	"net/url"
	"reflect"
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
	safe := ReadHTML(page, nil).Safe
	for _, bad := range []string{"script", "alert", "<img", "style"} {
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
		"<p>a &amp;lt; b</p><h2>Titel</h2>x":                   {"a &lt; b\n\nTitel\nx", "<p>a &amp;lt; b</p><p><strong>Titel</strong></p>x"},
		`<a href="http://x.example/?a=1&b=2" onclick=x>y</a>`:  {"y [1]", `<a href="http://x.example/?a=1&amp;b=2" rel="nofollow noreferrer">y</a>`},
		`<a href="javascript:alert(1)">y</a>`:                  {"y", "y"},
		`<a href="/near">y</a><td colspan=2 rowspan=x>z`:       {"y z", `y<td colspan="2">z</td>`},
		"<svg width=1 /><p dir=rtl>x</b></p></div><ul><li>y":   {"x\n\ny", `<p dir="rtl">x</p><ul><li>y</li></ul>`},
		"<p>a<p>b<ul><li>c<li><p>d<li>e":                       {"a\nb\nc\n\nd\ne", "<p>a</p><p>b</p><ul><li>c</li><li><p>d</p></li><li>e</li></ul>"},
		"<table><tr><td>a<td><p><b>b<tr><th>c<table><tr><td>d": {"a\nb\nc\nd", "<table><tr><td>a</td><td><p><b>b</b></p></td></tr><tr><th>c<table><tr><td>d</td></tr></table></th></tr></table>"},
		"<p>\x1b[31mred</p><img src=x/ alt='<i>'>&#27;[0m":     {"[31mred\n<i>[0m", "<p>[31mred</p>&lt;i&gt;[0m"},
	} {
		if got := ReadHTML(page, nil); got.Text != want[0] || got.Safe != want[1] {
			t.Errorf("%s:\n%q\n%q", page, got.Text, got.Safe)
		}
	}
}

// TestReadHTMLLinks: relative addresses count from the base, pictures become links, also
// those inside a link, and dots that count readers go.
func TestReadHTMLLinks(t *testing.T) {
	base, err := url.Parse("https://x.example/blog/1.html")
	if err != nil {
		t.Fatal(err)
	}
	for page, want := range map[string]Page{
		`<a href="2.html">next</a> <a href="//y.example/">y</a> <a href="2.html">again</a>`: {"next [1] y [2] again [1]",
			`<a href="https://x.example/blog/2.html" rel="nofollow noreferrer">next</a> <a href="https://y.example/" rel="nofollow noreferrer">y</a> <a href="https://x.example/blog/2.html" rel="nofollow noreferrer">again</a>`,
			[]string{"https://x.example/blog/2.html", "https://y.example/"}},
		`<img src="/p/a.png" alt="A &amp; B" onerror=x>`: {"A & B [1]", `<a href="https://x.example/p/a.png" type="image/png" rel="nofollow noreferrer">A &amp; B</a>`, []string{"https://x.example/p/a.png"}},
		`<a href=/big><img src="small"></a>z`: {"small [2] [1]z", `<a href="https://x.example/big" rel="nofollow noreferrer">small</a> <a href="https://x.example/blog/small" type="image/x-any" rel="nofollow noreferrer">small</a>z`,
			[]string{"https://x.example/big", "https://x.example/blog/small"}},
		`<img src=http://t.example/t.gif width=1 height=1>x<a href="#note">n</a><a href="">e</a><img src="data:image/png;base64,AA" alt=d>`: {"xned", "xned", nil},
		`<a href="javascript:x">j</a><a href="file:///etc/passwd">f</a><img src="file:///x" alt=g>`:                                         {"jfg", "jfg", nil},
	} {
		if got := ReadHTML(page, base); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%q\n%q\n%q", page, got.Text, got.Safe, got.Links)
		}
	}
}

// FuzzReadHTML: what comes out passes the policy unchanged, comes out of a second
// reading as it went in, and its tags are closed; the text is what TextOfHTML makes.
func FuzzReadHTML(f *testing.F) {
	for _, seed := range []string{
		"<p>a<b>c</p>d", `<a href="http://x/"'>y</a>`, "<script>x</script", "<table><tr><td colspan=3>x", "<!-- x -->y<![CDATA[z]]>",
		"<img src=x alt=\"<script>\">", "<p dir=ltr onclick=x>", "&lt;script&gt;", "<h1>x<h2>y", "<a href='mailto:x@y?a=\"b'>", "\xc2\x80<p\x00>", "<style><p>",
		"<a href=http://x><img src=http://y/z.png>", "<img src=http://y><a type=image/png href=http://x>", "<textarea></p>", "<a href=http://a%zz>x", "<li><pre>\r\nx\r\n</pre>",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, page string) {
		got := ReadHTML(page, nil)
		safe := got.Safe
		if again := policy().Sanitize(safe); again != safe {
			t.Errorf("%q becomes %q, the policy makes %q of it", page, safe, again)
		}
		if again := ReadHTML(safe, nil).Safe; len(page) < maxHTML/8 && again != safe {
			t.Errorf("%q becomes %q, then %q", page, safe, again)
		}
		if only := TextOfHTML(page, ""); len(got.Links) == 0 && !strings.Contains(page, "alt") && utf8.ValidString(page) && len(page) <= maxHTML && only != got.Text {
			t.Errorf("%q: text %q, alone %q", page, got.Text, only)
		}
		if strings.Contains(safe, "<img") || len(got.Links) > maxLinks {
			t.Errorf("%q loads: %q, %d links", page, safe, len(got.Links))
		}
	})
}

// TestFeedsShowHTML: of feeds' entries the HTML is shown, of all else the plain text.
func TestFeedsShowHTML(t *testing.T) {
	for id, want := range map[string]string{"<a.b.c@feed.invalid>": "<p>rich</p>", "<a.b.c@x.example>": ""} {
		text := "From: a@b\nMessage-ID: " + id + "\nContent-Type: multipart/alternative; boundary=x\n\n--x\n\nplain\n--x\nContent-Type: text/html\n\n<p>rich<script>x</script>\n--x--\n"
		wire, err := article.Normalize([]byte(text), article.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		a, err := article.Parse(wire, article.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		blocks := Of(a).Blocks(nil)
		if len(blocks) != 1 || blocks[0].HTML != want || want == "" && blocks[0].Text != "plain" {
			t.Errorf("%s: %+v", id, blocks)
		}
	}
}

func TestShowPictures(t *testing.T) {
	page := `<p><a href="http://x.example/">no</a> <img src="http://x.example/a.png?b=1&amp;c" alt="A &quot;q&quot; &lt;"><img src="http://y.example/b.png" alt=b>`
	got := ShowPictures(ReadHTML(page, nil).Safe, func(a string) string {
		if strings.HasPrefix(a, "http://y") {
			return ""
		}
		return "/p?" + url.QueryEscape(a)
	})
	want := `<p><a href="http://x.example/" rel="nofollow noreferrer">no</a> <a href="http://x.example/a.png?b=1&amp;c" rel="nofollow noreferrer"><img src="/p?http%3A%2F%2Fx.example%2Fa.png%3Fb%3D1%26c" alt="A &#34;q&#34; &lt;" loading="lazy"></a>` +
		`<a href="http://y.example/b.png" type="image/png" rel="nofollow noreferrer">b</a></p>`
	if got != want {
		t.Errorf("%s", got)
	}
}
