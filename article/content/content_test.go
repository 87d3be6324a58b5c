package content

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/net/html"

	"github.com/litfass/litfass/article"
)

func read(t testing.TB, text string) *article.Article {
	t.Helper()
	wire, err := article.Normalize([]byte(text), article.Limits{Article: 16 << 20, Line: 16 << 20, Header: 1 << 20, Field: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	a, err := article.Parse(wire, article.Limits{Article: 32 << 20, Line: 16 << 20, Header: 1 << 20, Field: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func show(bs []Block) string {
	var out strings.Builder
	for _, b := range bs {
		fmt.Fprintf(&out, "%d/%d:%s%s|", b.Kind, b.Depth, b.Text, b.HTML)
	}
	return out.String()
}

func TestBlocks(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"plain", "A: b\n\nHello\n\nworld\n-- \nAnn\n", "0/0:Hello\n\nworld|1/0:Ann|"},
		{"quotes", "A: b\n\nBob wrote:\n> one\n> > two\n>>> three\nmine\n", "0/0:Bob wrote:|0/1:one|0/2:two|0/3:three|0/0:mine|"},
		{"initials", "A: b\n\nBO> one\nx > y\n|> two\n", "0/1:one|0/0:x > y|0/1:two|"},
		{"flowed", "Content-Type: text/plain; format=flowed\n\na long \nline\n> q one \n> two\n stuffed\n-- \nsig\n", "0/0:a long line|0/1:q one two|0/0:stuffed|1/0:sig|"},
		{"delsp", "Content-Type: text/plain; format=flowed; delsp=yes\n\nver- \ny\n", "0/0:ver-y|"},
		{"patch", "A: b\n\nSee:\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n-a\n+b\n c\n\nok\n", "0/0:See:|2/0:--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n-a\n+b\n c|0/0:ok|"},
		{"latin1", "Content-Type: text/plain; charset=iso-8859-1\n\nGr\xfc\xdfe\n", "0/0:Grüße|"},
		{"lies: utf-8 as latin1", "Content-Type: text/plain; charset=iso-8859-1\n\nGrüße\n", "0/0:Grüße|"},
		{"lies: latin1 as utf-8", "Content-Type: text/plain; charset=utf-8\n\nGr\xfc\xdfe\n", "0/0:Grüße|"},
		{"no label", "A: b\n\nGr\xfc\xdfe\n", "0/0:Grüße|"},
		{"unknown charset", "Content-Type: text/plain; charset=klingon\n\nGr\xfc\xdfe\n", "0/0:Grüße|"},
		{"koi8-r", "Content-Type: text/plain; charset=koi8-r\n\n\xf0\xd2\xc9\n", "0/0:При|"},
		{"iso-2022-jp", "Content-Type: text/plain; charset=iso-2022-jp\n\n\x1b$B$3$s\x1b(B\n", "0/0:こん|"},
		{"qp", "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nGr=C3=BC=\n=C3=9Fe =ZZ\n", "0/0:Grüße =ZZ|"},
		{"base64", "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\nR3LDvMOf\nZQ==\n", "0/0:Grüße|"},
		{"base64 with a footer below", "Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\nQUI=\nA list's footer\n", "0/0:AB|"},
		{"base64 with signs in it", "Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\nQ=U-I\n=", "0/0:AB|"},
		{"controls", "A: b\n\na\x1b[31mb\x07c\n", "0/0:a[31mbc|"},
		{"html", "Content-Type: text/html\n\n<h1>Hi</h1><p onclick=x>a<script>alert(1)</script><img src=http://x/y.png alt=pic></div></article>b\n", "3/0:<p><strong>Hi</strong></p><p>apicb\n</p>|"},
		{"alternative", "Content-Type: multipart/alternative; boundary=x\n\n--x\n\nplain\n--x\nContent-Type: text/html\n\n<b>html</b>\n--x--\n", "0/0:plain|"},
		{"empty alternative", "Content-Type: multipart/alternative; boundary=x\n\n--x\n\n \n--x\nContent-Type: text/html\n\n<b>html</b>\n--x--\n", "3/0:<b>html</b>|"},
		{"no boundary found", "Content-Type: multipart/mixed; boundary=x\n\nfoo\n", "0/0:foo|"},
		{"unclosed", "Content-Type: multipart/mixed; boundary=x\n\n--x\n\nfoo\n--x\n\nbar", "0/0:foo|0/0:bar|"},
		{"boundary inside a line", "Content-Type: multipart/mixed; boundary=x\n\n--x\n\nfoo --x\n--xy\n--x--\n", "0/0:foo --x\n--xy|"},
		{"digest", "Content-Type: multipart/digest; boundary=x\n\n--x\n\nFrom: a@b\nSubject: s\n\nfoo\n--x--\n", "4/0:a@b · s|0/0:foo|"},
		{"bad type", "Content-Type: foo bar\n\nfoo\n", "0/0:foo|"},
	} {
		if got := show(Of(read(t, c.in)).Blocks(nil)); got != c.want {
			t.Errorf("%s:\n got %q\nwant %q", c.name, got, c.want)
		}
	}
}

// TestLabels: charsets by the names that programs give them.
func TestLabels(t *testing.T) {
	for _, c := range []struct {
		want   string
		octets string
		labels []string
	}{
		{"한국어", "\xc7\xd1\xb1\xb9\xbe\xee", []string{"euc-kr", "EUC_KR", "cp949", "ms949", "uhc", "ks_c_5601-1987", "ks-c-5601", "windows-949", "Korean"}},
		{"한국 A", "\x1b$)C\x0eGQ19\x0f A", []string{"iso-2022-kr", "ISO2022-KR", "csISO2022KR"}},
		{"中文", "\xd6\xd0\xce\xc4", []string{"gb2312", "gb_2312-80", "euc-cn", "euc_cn", "cp936", "MS936", "gbk", "x-gbk", "GB18030-2000"}},
		{"許功蓋", "\xb3\\\xa5\\\xbb\\", []string{"big5", "cp950", "big5-hkscs", "Big5_HKSCS", "cn-big5", "x-x-big5"}},
		{"日本", "\x93\xfa\x96{", []string{"shift_jis", "sjis", "cp932", "windows-31j", "ms_kanji", "x-sjis"}},
		{"日本", "\xc6\xfc\xcb\xdc", []string{"euc-jp", "euc_jp", "ujis", "x-euc-jp"}},
		{"日本", "\x1b$BF|K\\\x1b(B", []string{"iso-2022-jp", "ISO-2022-JP-2", "iso2022jp", "cp50220"}},
		{"При", "\xcf\xf0\xe8", []string{"windows-1251", "cp1251", "win-1251", "windows_1251", "CP-1251", "ansi-1251", "1251"}},
		{"При", "\xf0\xd2\xc9", []string{"koi8-r", "koi8_r", "KOI8R", "koi8"}},
		{"При", "\x8f\xe0\xa8", []string{"ibm866", "cp866", "866"}},
		{"Ž", "\xae", []string{"iso-8859-2", "iso8859-2", "ISO_8859-2:1987", "iso-8859-2-1987", "iso_8859_2", "8859-2", "latin2"}},
		{"ü", "\x81", []string{"cp850", "ibm-850", "cp437"}},
		{"ü", "+APw-", []string{"utf-7", "UTF7", "unicode-1-1-utf-7", "x-unicode-2-0-utf-7"}},
		{"ü", "\xc3\xbc", []string{"utf-8", "utf8", "utf_8", "cp65001", "utf8mb4", "klingon"}},
	} {
		for _, l := range c.labels {
			if got := ToUTF8(l, []byte(c.octets)); got != c.want {
				t.Errorf("%s: %q, want %q", l, got, c.want)
			}
		}
	}
}

func TestHeader(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                                       "plain",
		"=?utf-8?q?Gr=C3=BC=C3=9Fe?= x":               "Grüße x",
		"=?utf-8?q?Gr=C3?= =?utf-8?q?=BC?=":           "Grü",
		"=?utf-8?B?R3LDvA==?= =?utf-8?B?w59l?=":       "Grüße",
		"=?iso-8859-1?Q?a_b?= c =?iso-8859-1?Q?=FC?=": "a b c ü",
		"=?utf-8*de?q?=C3=BC?=":                       "ü",
		"raw \xfc":                                    "raw ü",
		"=?bad":                                       "=?bad",
		"=?x?y?z?=":                                   "=?x?y?z?=",
		"=?utf-8?q?a=0D=0AEvil:_x?=":                  "a  Evil: x",
		"a\u202eb":                                    "ab",
	} {
		if got := Header(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string][2]string{
		"Ann Lee <a@b>":                 {"Ann Lee", "a@b"},
		`"Lee, \"A\"" <a@b>`:            {`Lee, "A"`, "a@b"},
		"a@b (Ann (x) Lee)":             {"Ann (x) Lee", "a@b"},
		"a@b":                           {"a", "a@b"},
		"=?utf-8?q?J=C3=BCrgen?= <j@b>": {"Jürgen", "j@b"},
		"":                              {"?", ""},
		"<>":                            {"?", ""},
	} {
		if n, a := Author(in); n != want[0] || a != want[1] {
			t.Errorf("%q: %q %q", in, n, a)
		}
	}
}

func TestFileNames(t *testing.T) {
	b, err := os.ReadFile("testdata/file_name.json")
	if err != nil {
		t.Fatal(err)
	}
	var vs []struct{ In, Out string }
	if err := json.Unmarshal(b, &vs); err != nil {
		t.Fatal(err)
	}
	for _, v := range vs {
		if got := CleanName(v.In); got != v.Out {
			t.Errorf("%q: %q, want %q", v.In, got, v.Out)
		}
	}
}

func TestDetached(t *testing.T) {
	b, err := os.ReadFile("testdata/detached.eml")
	if err != nil {
		t.Fatal(err)
	}
	c := Of(read(t, string(b)))
	f := c.Files()
	if len(f) != 1 || f[0].Detached == nil {
		t.Fatalf("%+v", f)
	}
	d := f[0].Detached
	if f[0].Name != "Grüße.bin" || f[0].Size() != 300000 || f[0].Type != "application/octet-stream" ||
		d.Path() != "/t/6239f5eea02c6e6018c1f5456e3e1a873384a316/Gr%C3%BC%C3%9Fe.bin" || len(d.SHA256) != 64 ||
		!strings.HasPrefix(d.Magnet, "magnet:?xt=urn:btih:6239f5eea02c6e6018c1f5456e3e1a873384a316&dn=") {
		t.Errorf("%+v %+v", f[0], d)
	}
	if got := show(c.Blocks(nil)); got != "0/0:Hier die Aufnahme.|" {
		t.Errorf("the block for people is still there: %q", got)
	}
	for _, change := range [][2]string{{"size=300000; infohash", "size=300001; infohash"}, {"infohash=6239", "infohash=7239"}} {
		c := Of(read(t, strings.Replace(string(b), change[0], change[1], 1)))
		for _, p := range c.Parts {
			if p.Detached != nil {
				t.Errorf("%q is taken for a detached attachment", change[1])
			}
		}
		if !strings.Contains(show(c.Blocks(nil)), "Magnet: <magnet:") {
			t.Error("the block is gone without a part")
		}
	}
}

func TestFilesInText(t *testing.T) {
	c := Of(read(t, "A: b\n\nsee\nbegin 644 ../cat.txt\n#0V%T\n`\nend\nafter\n"))
	f := c.Files()
	if len(f) != 1 || f[0].Name != "cat.txt" || string(f[0].Bytes()) != "Cat" || f[0].Type != "text/plain" || show(c.Blocks(nil)) != "0/0:see\nafter|" {
		t.Errorf("%+v %q", f, show(c.Blocks(nil)))
	}
	c = Of(read(t, "A: b\n\n=ybegin line=128 size=3 name=a.bin\nm\x8b\x9e\n=yend size=3\n"))
	if f = c.Files(); len(f) != 1 || string(f[0].Bytes()) != "Cat"[:0]+"\x43at" {
		t.Errorf("%+v", f)
	}
	for _, in := range []string{"A: b\n\nbegin 644 x\n#0V%T\n", "A: b\n\nbegin the work\nend\n", "A: b\n\n=ybegin line=1 name=x\nabc\n"} {
		if c := Of(read(t, in)); len(c.Files()) != 0 {
			t.Errorf("%q has a file", in)
		}
	}
}

func TestPictureInHTML(t *testing.T) {
	c := Of(read(t, "Content-Type: multipart/related; boundary=x\n\n--x\nContent-Type: text/html\n\n<img src='cid:p@q' alt='a cat'><img src='cid:other'><img src='/m/x'>\n--x\nContent-Type: image/png\nContent-ID: <p@q>\n\nxx\n--x--\n"))
	got := c.Blocks(func(p *Part) string { return fmt.Sprintf("/m/1/a/%d", p.Index) })
	if want := `<img src="/m/1/a/1" alt="a cat" loading="lazy">`; len(got) != 1 || got[0].HTML != want {
		t.Errorf("%+v", got)
	}
}

func TestBoundsAreQuick(t *testing.T) {
	nest := strings.Builder{}
	nest.WriteString("Content-Type: multipart/mixed; boundary=b0\n\n")
	for i := range 1000 {
		fmt.Fprintf(&nest, "--b%d\nContent-Type: multipart/mixed; boundary=b%d\n\n", i, i+1)
	}
	many := "Content-Type: multipart/mixed; boundary=x\n\n" + strings.Repeat("--x\n\na\n", 100000)
	deep := "Content-Type: text/html\n\n" + strings.Repeat("<b><div>", 60000)
	tags := "Content-Type: text/html\n\n" + strings.Repeat("<p>", 40) + strings.Repeat("</i></u>", 40000)
	quote := "A: b\n\n" + strings.Repeat(strings.Repeat(">", 5000)+"\n", 100)
	word := "A: b\n\n" + strings.Repeat("=?utf-8?q?", 50000)
	for name, in := range map[string]string{"nested": nest.String(), "many": many, "deep html": deep, "tags": tags, "quotes": quote, "words": word} {
		c := Of(read(t, in)) // work in the square of this would pass the tests' deadline
		c.Blocks(nil)
		c.Plain()
		Header(in[:min(len(in), 60000)])
		if len(c.Parts) > MaxParts {
			t.Errorf("%s: %d parts", name, len(c.Parts))
		}
	}
}

// Any HTML comes out balanced, without anything that runs or loads, and again as itself.
func checkSafe(t *testing.T, s string) {
	t.Helper()
	z := html.NewTokenizer(strings.NewReader(s))
	var open []string
	for {
		switch z.Next() {
		case html.ErrorToken:
			if len(open) > 0 {
				t.Fatalf("left open: %q in %q", open, s)
			}
			return
		case html.StartTagToken, html.SelfClosingTagToken:
			tok := z.Token()
			switch tok.Data {
			case "script", "style", "iframe", "object", "embed", "form", "input", "svg", "math", "base", "meta", "link", "video", "audio", "button", "template", "noscript", "frame", "textarea":
				t.Fatalf("element %s in %q", tok.Data, s)
			case "br", "hr", "img":
			default:
				open = append(open, tok.Data)
			}
			for _, a := range tok.Attr {
				v := strings.ToLower(strings.TrimSpace(a.Val))
				if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "src" && !strings.HasPrefix(v, "/m/") || a.Key == "href" && (strings.HasPrefix(v, "javascript") || strings.HasPrefix(v, "data") || strings.HasPrefix(v, "/")) {
					t.Fatalf("attribute %s=%q in %q", a.Key, a.Val, s)
				}
			}
		case html.EndTagToken:
			tok := z.Token()
			if len(open) == 0 || open[len(open)-1] != tok.Data {
				t.Fatalf("closes %s, open are %q, in %q", tok.Data, open, s)
			}
			open = open[:len(open)-1]
		}
	}
}

func FuzzHTML(f *testing.F) {
	f.Add("<p>a<b>c</p></b></div><a href='javascript:x'>y</a><a href=http://x/>z</a>")
	f.Add("<scr<script>ipt>alert(1)</script><svg><style><img src=x onerror=y></style></svg>")
	f.Fuzz(func(t *testing.T, s string) {
		a := &Part{Type: "text/html", Text: true, raw: []byte(s)}
		c := &Content{Parts: []*Part{a}}
		checkSafe(t, c.safeHTML(a, func(*Part) string { return "/m/x" }))
	})
}

// Whatever an article is, it is shown: within bounds, as valid UTF-8, and no part
// is larger than the article.
func FuzzContent(f *testing.F) {
	f.Add("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nfoo\r\n--x\r\nContent-Type: text/html\r\n\r\n<b>\r\n--x--\r\n")
	f.Add("Subject: =?utf-8?q?=?=\r\n\r\nbegin 644 x\r\n#0V%T\r\nend\r\n=ybegin line=1 name=x\r\nabc\r\n=yend\r\n> > q\r\n-- \r\nsig\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		wire, err := article.Normalize([]byte(s), article.Limits{})
		if err != nil {
			return
		}
		a, err := article.Parse(wire, article.Limits{})
		if err != nil {
			return
		}
		checkArticle(t, a)
	})
}

func checkArticle(t testing.TB, a *article.Article) {
	c := Of(a)
	if len(c.Parts) > MaxParts {
		t.Fatal("too many parts")
	}
	for i, p := range c.Parts {
		if p.Index != i || len(p.Bytes()) > len(a.Wire())+3 {
			t.Fatalf("part %d: index %d, %d octets of %d", i, p.Index, len(p.Bytes()), len(a.Wire()))
		}
		if p.Name != "" && (p.Name != CleanName(p.Name) || strings.ContainsAny(p.Name, "/\\\r\n\x00")) {
			t.Fatalf("name %q", p.Name)
		}
	}
	for _, b := range c.Blocks(nil) {
		if !utf8.ValidString(b.Text+b.HTML) || strings.ContainsAny(b.Text, "\r\x00\x1b") {
			t.Fatalf("block %q", b.Text)
		}
	}
	if s := c.Plain() + c.Own(300) + Header(a.Get("Subject")); !utf8.ValidString(s) {
		t.Fatal("invalid UTF-8")
	}
	Author(a.Get("From"))
}

// The laws hold for a folder of real or hostile articles named by the environment.
func TestFolder(t *testing.T) {
	dir := os.Getenv("LITFASS_ARTICLES")
	if dir == "" {
		t.Skip("LITFASS_ARTICLES names no folder of articles")
	}
	n, slow := 0, time.Duration(0)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		lim := article.Limits{Article: 64 << 20, Line: 32 << 20, Header: 8 << 20, Field: 8 << 20}
		wire, err := article.Normalize(b, lim)
		if err != nil {
			return nil
		}
		a, err := article.Parse(wire, lim)
		if err != nil {
			return nil
		}
		n++
		start := time.Now()
		checkArticle(t, a)
		if d := time.Since(start); d > 200*time.Millisecond {
			t.Logf("%s: %v, %d octets", path, d, len(b))
			slow = max(slow, d)
		}
		return nil
	})
	t.Logf("%d articles, slowest over 200 ms: %v, %v", n, slow, err)
}

// TestBombs: four times as much of anything takes about four times as much memory, and
// so time, not sixteen times.
func TestBombs(t *testing.T) {
	flowed := "Content-Type: text/plain; format=flowed\n\n"
	html := "Content-Type: text/html\n\n"
	for name, b := range map[string][2]string{
		"yEnc without end": {"\n", "=ybegin line=128 size=1 name=x\n"}, "yEnc, one line each": {"\n", "=ybegin line=128 size=1 name=x\nx\n"},
		"uuencode without end": {"\n", "begin 644 x\n"}, "uuencode, empty": {"\n", "begin 644 x\n\n`\n"},
		"flowed": {flowed, "> > > word \n"}, "flowed, one paragraph": {flowed, "word \n"}, "flowed, two depths": {flowed, "> word \nword \n"},
		"patches": {"\n", "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"}, "half patches": {"\n", "--- a/x\n+++ b/x\n"},
		"quotes": {"\n", "> a\n>> b\n>>> c\n"}, "signatures": {"\n", "-- \n"}, "addresses": {"\n", "http://x.example/aaaa http://(((( a@b.c.d\n"},
		"elements": {html, "<blockquote><p><b>\n"}, "ends": {html, "</blockquote></p></b>\n"}, "comments": {html, "<!--\n"}, "brackets": {html, "<<<<<<<<\n"}, "lists": {html, "<ol><li>\n"},
		"parts": {"Content-Type: multipart/mixed; boundary=b\n\n", "--b\n\nx\n"}, "inner parts": {"Content-Type: multipart/mixed; boundary=b\n\n", "--b\nContent-Type: multipart/mixed; boundary=b\n\n"},
		"messages": {"Content-Type: message/rfc822\n\n", "Content-Type: message/rfc822\n\n"}, "utf-7": {"Content-Type: text/plain; charset=utf-7\n\n", "+AGE-+\n"},
	} {
		took := func(octets int) uint64 {
			text := "From: a@b.example\nSubject: s\n" + b[0] + strings.Repeat(b[1], octets/len(b[1]))
			a := read(t, text)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			c := Of(a)
			c.Blocks(nil)
			c.Files()
			c.Plain()
			runtime.ReadMemStats(&after)
			return after.TotalAlloc - before.TotalAlloc
		}
		took(32 << 10)
		if one, four := took(64<<10), took(256<<10); four > 8*one+1<<20 {
			t.Errorf("%s: %d octets, and %d for four times as much", name, one, four)
		}
	}
}
