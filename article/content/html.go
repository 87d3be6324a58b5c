package content

import (
	"net/url"
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
	return strings.TrimSpace(policy().Sanitize(c.tidy(s, cid)))
}

// tidy writes HTML again so that every element that is opened is closed and none
// else, so that an article cannot close what is around it; pictures come from the
// article's own parts or not at all; links are absolute; headings become strong
// paragraphs, since the page has its own.
func (c *Content) tidy(s string, cid func(*Part) string) string {
	z := html.NewTokenizer(strings.NewReader(s))
	var out strings.Builder
	var open []atom.Atom
	images, skip := 0, 0
	for {
		switch z.Next() {
		case html.ErrorToken:
			for i := len(open) - 1; i >= 0; i-- {
				out.WriteString(closing(open[i]))
			}
			return out.String()
		case html.TextToken:
			if skip == 0 {
				out.WriteString(html.EscapeString(clean(string(z.Text()))))
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			t := z.Token()
			switch {
			case dropped(t.DataAtom):
				skip++
			case skip > 0:
			case t.DataAtom == atom.Br || t.DataAtom == atom.Hr:
				out.WriteString("<" + t.Data + ">")
			case t.DataAtom == atom.Img:
				if images++; images <= maxImage {
					out.WriteString(c.image(t, cid))
				}
			case !kept(t.DataAtom) || len(open) >= maxOpen:
			default:
				if o := opening(t); o != "" {
					out.WriteString(o)
					open = append(open, t.DataAtom)
				}
			}
		case html.EndTagToken:
			t := z.Token()
			if dropped(t.DataAtom) {
				skip = max(0, skip-1)
				continue
			}
			for i := len(open) - 1; i >= 0 && skip == 0; i-- {
				if open[i] == t.DataAtom {
					for j := len(open) - 1; j >= i; j-- {
						out.WriteString(closing(open[j]))
					}
					open = open[:i]
					break
				}
			}
		}
	}
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

func opening(t html.Token) string {
	if heading1to6(t.DataAtom) {
		return "<p><strong>"
	}
	attrs := ""
	for _, a := range t.Attr {
		switch a.Key {
		case "dir":
			attrs += ` dir="` + html.EscapeString(a.Val) + `"`
		case "colspan", "rowspan":
			if len(a.Val) <= 2 {
				attrs += " " + a.Key + `="` + html.EscapeString(a.Val) + `"`
			}
		case "href":
			u, err := url.Parse(strings.TrimSpace(a.Val))
			if t.DataAtom == atom.A && err == nil && u.Scheme != "" {
				attrs += ` href="` + html.EscapeString(u.String()) + `"`
			}
		}
	}
	if t.DataAtom == atom.A && !strings.Contains(attrs, " href=") {
		return ""
	}
	return "<" + renamed(t.DataAtom) + attrs + ">"
}

func closing(a atom.Atom) string {
	if heading1to6(a) {
		return "</strong></p>"
	}
	return "</" + renamed(a) + ">"
}

// image shows a picture of the article itself ("cid:", RFC 2392); of any other, its
// alternative text is left.
func (c *Content) image(t html.Token, cid func(*Part) string) string {
	alt, src := "", ""
	for _, a := range t.Attr {
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
					return `<img src="` + html.EscapeString(addr) + `" alt="` + html.EscapeString(alt) + `" loading="lazy">`
				}
			}
		}
	}
	return html.EscapeString(alt)
}

// htmlText is the text of HTML, with line ends where blocks end.
func htmlText(s string) string {
	z := html.NewTokenizer(strings.NewReader(s))
	var out strings.Builder
	skip := 0
	for {
		kind := z.Next()
		switch kind {
		case html.ErrorToken:
			return strings.TrimSpace(out.String())
		case html.TextToken:
			if skip == 0 {
				t := string(z.Text())
				if strings.TrimSpace(t) == "" {
					t = " "
				}
				out.WriteString(html.UnescapeString(t))
			}
		case html.StartTagToken, html.EndTagToken, html.SelfClosingTagToken:
			name, _ := z.TagName()
			a := atom.Lookup(name)
			switch {
			case dropped(a) && kind == html.StartTagToken:
				skip++
			case dropped(a):
				skip = max(0, skip-1)
			case a == atom.Br || a == atom.P || a == atom.Div || a == atom.Tr || a == atom.Li || a == atom.Blockquote || heading1to6(a):
				out.WriteByte('\n')
			case a == atom.Td || a == atom.Th:
				out.WriteByte(' ')
			}
		}
	}
}

// PlainText returns the text of any part that is text, HTML without its marks.
func (p *Part) PlainText() string {
	if p.Type == "text/html" {
		return htmlText(p.UTF8())
	}
	return p.UTF8()
}
