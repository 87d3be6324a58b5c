package content

import (
	"bytes"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/microcosm-cc/bluemonday"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

const (
	maxHTML  = 256 << 10 // octets of HTML that are shown
	maxOpen  = 64        // elements open at once
	maxImage = 50
)

// policy is the allow list: structure and emphasis, no style, no script, no form,
// nothing that loads. It is built once and never changed.
var policy = sync.OnceValue(func() *bluemonday.Policy {
	p := bluemonday.NewPolicy()
	p.AllowElements("p", "div", "br", "hr", "b", "strong", "i", "em", "u", "s", "del", "ins", "sub", "sup", "code", "kbd", "samp", "pre",
		"blockquote", "ul", "ol", "li", "dl", "dt", "dd", "table", "thead", "tbody", "tfoot", "tr", "td", "th", "caption")
	p.AllowAttrs("colspan", "rowspan").Matching(bluemonday.Integer).OnElements("td", "th")
	p.AllowAttrs("dir").Matching(bluemonday.Direction).Globally()
	p.AllowAttrs("href").OnElements("a")
	p.AllowAttrs("type").Matching(pictureType).OnElements("a")
	p.AllowAttrs("src", "alt", "loading").OnElements("img")
	p.RequireParseableURLs(true)
	p.AllowRelativeURLs(true) // tidy lets none pass but the addresses it made
	p.AllowURLSchemes("http", "https", "mailto", "news", "nntp", "magnet")
	p.RequireNoFollowOnLinks(true)
	p.RequireNoReferrerOnLinks(true)
	return p
})

func (c *Content) safeHTML(p *Part, cid func(*Part) string) string {
	s := p.UTF8()
	if len(s) > maxHTML {
		s, c.Cut = strings.ToValidUTF8(s[:maxHTML], ""), true
	}
	w := &safeWriter{c: c, cid: cid}
	readHTML(s, w, nil)
	return w.String()
}

// readHTML tells safe and text, either of which may be nil, what a page holds, in one
// pass over it.
func readHTML(page string, safe *safeWriter, text *textWriter) {
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		switch kind := z.Next(); kind {
		case html.ErrorToken:
			return
		case html.TextToken:
			t := cleanBytes(z.Text())
			if safe != nil {
				safe.text(t)
			}
			if text != nil {
				text.text(t)
			}
		case html.StartTagToken, html.SelfClosingTagToken, html.EndTagToken:
			name, attrs := z.TagName()
			a := atom.Lookup(name)
			if kind == html.SelfClosingTagToken && (a == atom.Svg || a == atom.Math) {
				continue // the only ones that "/>" closes
			}
			if text != nil {
				text.tag(a, kind)
			}
			if safe == nil {
				continue
			}
			if kind == html.EndTagToken {
				safe.end(a)
			} else {
				safe.start(a, z, attrs)
			}
			if text != nil {
				text.notes(&safe.said)
			}
		}
	}
}

// safeWriter writes HTML again so that every element that is opened is closed and
// none else, so that an article cannot close what is around it; pictures come from
// the article's own parts or not at all; links are absolute; headings become strong
// paragraphs, since the page has its own. Of what it writes, only text, escaped, and
// tags with attributes hold anything from outside; the latter go through the policy.
type safeWriter struct {
	c            *Content
	cid          func(*Part) string
	out          strings.Builder
	open         []atom.Atom
	images, skip int

	gate    bool            // for a gateway: addresses are resolved and noted, pictures become links
	base    *url.URL        // what relative addresses count from, or nil
	links   []string        // those noted
	inLink  int             // the number of the link that is open, or 0
	said    strings.Builder // what the text has to say of links and pictures since it was asked
	waiting string          // pictures inside a link: they follow it
}

// String closes what is open and returns it all.
func (w *safeWriter) String() string {
	for i := len(w.open) - 1; i >= 0; i-- {
		w.out.WriteString(closing(w.open[i]))
	}
	w.open = nil
	w.out.WriteString(w.waiting)
	w.waiting = ""
	return strings.TrimSpace(w.out.String())
}

// text writes t escaped.
func (w *safeWriter) text(t []byte) {
	if w.skip > 0 {
		return
	}
	from := 0
	for i, c := range t {
		var esc string
		switch c {
		case '&':
			esc = "&amp;"
		case '<':
			esc = "&lt;"
		case '>':
			esc = "&gt;"
		case '"':
			esc = "&#34;"
		case '\'':
			esc = "&#39;"
		default:
			continue
		}
		w.out.Write(t[from:i])
		w.out.WriteString(esc)
		from = i + 1
	}
	w.out.Write(t[from:])
}

func (w *safeWriter) start(a atom.Atom, z *html.Tokenizer, attrs bool) {
	switch {
	case dropped(a):
		w.skip++
	case w.skip > 0:
	case a == atom.Br:
		w.out.WriteString("<br>")
	case a == atom.Hr:
		w.out.WriteString("<hr>")
	case a == atom.Img:
		if w.images++; w.images > maxImage {
			return
		}
		if w.gate {
			w.picture(attributes(z, attrs))
		} else {
			w.out.WriteString(w.c.image(attributes(z, attrs), w.cid))
		}
	case !kept(a) || len(w.open) >= maxOpen:
	default:
		w.imply(a)
		list := attributes(z, attrs)
		if a == atom.A && w.gate {
			w.follow(list)
		}
		if o := opening(a, list); o != "" {
			w.out.WriteString(o)
			w.open = append(w.open, a)
		}
	}
}

// imply ends what the start of a ends unsaid, as browsers do: an item the one before
// it, a block the paragraph it would stand in.
func (w *safeWriter) imply(a atom.Atom) {
	for i := len(w.open) - 1; i >= 0; i-- {
		switch o := w.open[i]; {
		case ends(a, o):
			w.end(o)
			return
		case !paragraph(o) && !inline(o) && (a != atom.Tr || !cell(o)):
			return
		}
	}
}

func ends(a, open atom.Atom) bool {
	switch open {
	case atom.Li:
		return a == atom.Li
	case atom.Dt, atom.Dd:
		return a == atom.Dt || a == atom.Dd
	case atom.Td, atom.Th:
		return cell(a)
	case atom.Tr:
		return a == atom.Tr
	}
	return paragraph(open) && !inline(a) && !cell(a) && a != atom.Tr && a != atom.Li && a != atom.Dt && a != atom.Dd
}

// paragraph holds no blocks; headings are written as such.
func paragraph(a atom.Atom) bool { return a == atom.P || heading1to6(a) }

func cell(a atom.Atom) bool { return a == atom.Td || a == atom.Th }

func inline(a atom.Atom) bool {
	switch a {
	case atom.B, atom.Strong, atom.I, atom.Em, atom.U, atom.S, atom.Strike, atom.Del, atom.Ins, atom.Sub, atom.Sup, atom.Code, atom.Kbd, atom.Samp, atom.Tt, atom.A:
		return true
	}
	return false
}

func (w *safeWriter) end(a atom.Atom) {
	if dropped(a) {
		w.skip = max(0, w.skip-1)
		return
	}
	for i := len(w.open) - 1; i >= 0 && w.skip == 0; i-- {
		if w.open[i] == a {
			for j := len(w.open) - 1; j >= i; j-- {
				w.out.WriteString(closing(w.open[j]))
			}
			w.open = w.open[:i]
			if w.gate && !slices.Contains(w.open, atom.A) {
				w.endLink()
			}
			return
		}
	}
}

func attributes(z *html.Tokenizer, more bool) (out []html.Attribute) {
	for more {
		var key, val []byte
		key, val, more = z.TagAttr()
		out = append(out, html.Attribute{Key: string(key), Val: string(val)})
	}
	return out
}

// dropped elements go with what is in them.
func dropped(a atom.Atom) bool {
	switch a {
	case atom.Script, atom.Style, atom.Title, atom.Textarea, atom.Select, atom.Iframe, atom.Object, atom.Template, atom.Noscript, atom.Svg, atom.Math, atom.Xmp, atom.Noembed, atom.Noframes, atom.Plaintext:
		return true
	}
	return false
}

func kept(a atom.Atom) bool {
	switch a {
	case atom.P, atom.Div, atom.Center, atom.B, atom.Strong, atom.I, atom.Em, atom.U, atom.S, atom.Strike, atom.Del, atom.Ins, atom.Sub, atom.Sup, atom.Code,
		atom.Kbd, atom.Samp, atom.Tt, atom.Pre, atom.Blockquote, atom.Ul, atom.Ol, atom.Li, atom.Dl, atom.Dt, atom.Dd, atom.Table, atom.Thead, atom.Tbody,
		atom.Tfoot, atom.Tr, atom.Td, atom.Th, atom.Caption, atom.A, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6:
		return true
	}
	return false
}

func renamed(a atom.Atom) string {
	switch a {
	case atom.Center:
		return "div"
	case atom.Strike:
		return "s"
	case atom.Tt:
		return "code"
	}
	return a.String()
}

func heading1to6(a atom.Atom) bool {
	return a == atom.H1 || a == atom.H2 || a == atom.H3 || a == atom.H4 || a == atom.H5 || a == atom.H6
}

// opening is the tag of an element, "" for a link that leads nowhere.
func opening(a atom.Atom, attrs []html.Attribute) string {
	if heading1to6(a) {
		return "<p><strong>"
	}
	list := ""
	for _, at := range attrs {
		switch at.Key {
		case "dir":
			list += ` dir="` + html.EscapeString(at.Val) + `"`
		case "colspan", "rowspan":
			if len(at.Val) <= 2 {
				list += " " + at.Key + `="` + html.EscapeString(at.Val) + `"`
			}
		case "type":
			if a == atom.A && pictureType.MatchString(at.Val) {
				list += ` type="` + at.Val + `"`
			}
		case "href":
			u, err := url.Parse(strings.TrimSpace(at.Val))
			if a == atom.A && err == nil && u.Scheme != "" {
				list += ` href="` + html.EscapeString(u.String()) + `"`
			}
		}
	}
	if list == "" {
		if a == atom.A {
			return ""
		}
		return "<" + renamed(a) + ">"
	}
	tag := policy().Sanitize("<" + renamed(a) + list + ">")
	if a == atom.A && !strings.Contains(tag, " href=") {
		return ""
	}
	return tag
}

func closing(a atom.Atom) string {
	if heading1to6(a) {
		return "</strong></p>"
	}
	return "</" + renamed(a) + ">"
}

// image shows a picture of the article itself ("cid:", RFC 2392); of any other, its
// alternative text is left.
func (c *Content) image(attrs []html.Attribute, cid func(*Part) string) string {
	alt, src := "", ""
	for _, a := range attrs {
		switch a.Key {
		case "alt":
			alt = a.Val
		case "src":
			src = a.Val
		}
	}
	if id, ok := strings.CutPrefix(src, "cid:"); ok && cid != nil {
		if u, err := url.PathUnescape(id); err == nil {
			id = u
		}
		for _, p := range c.Parts {
			if p.ID != "" && p.ID == id {
				if addr := cid(p); addr != "" {
					return policy().Sanitize(`<img src="` + html.EscapeString(addr) + `" alt="` + html.EscapeString(alt) + `" loading="lazy">`)
				}
			}
		}
	}
	return html.EscapeString(clean(alt))
}

// notes adds what stands for links and pictures.
func (w *textWriter) notes(said *strings.Builder) {
	if said.Len() > 0 {
		if w.skip == 0 {
			w.out.WriteString(said.String())
		}
		said.Reset()
	}
}

// textWriter gathers the text of HTML, with line ends where blocks end.
type textWriter struct {
	out  strings.Builder
	skip int
}

func (w *textWriter) text(t []byte) {
	switch {
	case w.skip > 0:
	case len(bytes.TrimSpace(t)) == 0:
		w.out.WriteByte(' ')
	default:
		w.out.Write(t)
	}
}

func (w *textWriter) tag(a atom.Atom, kind html.TokenType) {
	switch {
	case dropped(a) && kind == html.EndTagToken:
		w.skip = max(0, w.skip-1)
	case dropped(a):
		w.skip++
	case a == atom.Br || a == atom.P || a == atom.Div || a == atom.Tr || a == atom.Li || a == atom.Blockquote || heading1to6(a):
		w.out.WriteByte('\n')
	case a == atom.Td || a == atom.Th:
		w.out.WriteByte(' ')
	}
}

// htmlText is the text of HTML, with line ends where blocks end.
func htmlText(s string) string {
	w := &textWriter{}
	readHTML(s, nil, w)
	return strings.TrimSpace(w.out.String())
}

// PlainText returns the text of any part that is text, HTML without its marks.
func (p *Part) PlainText() string {
	if p.Type == "text/html" {
		return htmlText(p.UTF8())
	}
	return p.UTF8()
}
