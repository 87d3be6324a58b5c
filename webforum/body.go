package webforum

import (
	"html/template"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
)

const (
	longQuote = 12 // quoted lines that stand open; longer ones fold
	maxMedia  = 40 // pictures and players in one post
)

// file is an attachment as a page shows it.
type file struct {
	Name, Type, Href, Save  string
	Size                    string
	Image, Audio, Video     bool
	Detached, Here          bool // it is a torrent; it is whole on this node
	Magnet, SHA256, Torrent string
	State                   string // in words: here, at N nodes, not found
	Verified                bool
}

// body renders the text of an article. The result holds nothing of the article but
// escaped text, addresses made here, and HTML that article/content made safe.
func (v *visitor) body(c *content.Content, id article.ID) template.HTML {
	var b strings.Builder
	depth := 0
	bs := c.Blocks(func(p *content.Part) string { return partPath(id, p) })
	n := 0
	for i := range bs {
		if bs[i].Kind == content.HTML && v.Pictures != nil && strings.HasSuffix(string(id), "@"+content.FeedHost+">") {
			bs[i].HTML = v.Pictures(bs[i].HTML)
		}
		n += len(bs[i].Text) + len(bs[i].HTML) + 64
	}
	b.Grow(n + n/8)
	for i := 0; i < len(bs); i++ {
		if bs[i].Kind == content.Text && bs[i].Depth > 0 || bs[i].Kind == content.Patch && bs[i].Depth > 0 {
			j := i
			lines := 0
			for j < len(bs) && bs[j].Depth > 0 {
				lines += strings.Count(bs[j].Text, "\n") + 1
				j++
			}
			if lines > longQuote {
				b.WriteString(`<details class="q"><summary>` + template.HTMLEscapeString(v.tx.N("quote.folded", lines)) + `</summary>`)
			}
			for ; i < j; i++ {
				for ; depth < min(bs[i].Depth, 8); depth++ {
					b.WriteString(quoteTag(bs[i].Text))
				}
				for ; depth > min(bs[i].Depth, 8); depth-- {
					b.WriteString("</blockquote>")
				}
				block(&b, bs[i], i+1 < j && bs[i+1].Depth > bs[i].Depth)
			}
			for ; depth > 0; depth-- {
				b.WriteString("</blockquote>")
			}
			if lines > longQuote {
				b.WriteString("</details>")
			}
			i--
			continue
		}
		switch bs[i].Kind {
		case content.Heading:
			b.WriteString(`<p class="enclosed">` + template.HTMLEscapeString(v.tx.T("enclosed")) + ` <b dir="auto">` + template.HTMLEscapeString(bs[i].Text) + `</b></p>`)
		case content.Notice:
			b.WriteString(`<p class="note">` + template.HTMLEscapeString(v.tx.T("cut")) + `</p>`)
		default:
			block(&b, bs[i], i+1 < len(bs) && bs[i+1].Depth > bs[i].Depth)
		}
	}
	return template.HTML(b.String())
}

// block writes a block; leads says that a deeper quotation follows, whose author
// its last paragraph may name.
func block(b *strings.Builder, x content.Block, leads bool) {
	switch x.Kind {
	case content.HTML:
		b.WriteString(`<div class="html" dir="auto">` + x.HTML + `</div>`)
	case content.Patch:
		patch(b, x.Text)
	case content.Signature:
		open, end := `<div class="sig" dir="auto">`, `</div>`
		if drawn(x.Text) {
			open, end = `<div class="sig"><pre tabindex="0">`, `</pre></div>`
		}
		b.WriteString(open)
		linked(b, x.Text)
		b.WriteString(end)
	default:
		pars := paragraphs(x.Text)
		for i, par := range pars {
			kind := "p"
			class := ` class="l"` // lines stay as they are
			switch {
			case leads && i == len(pars)-1 && names(par):
				class = ` class="wrote"`
			case drawn(par):
				kind, class = "pre", ` tabindex="0"`
			case !x.Flow && hardWrapped(par): // in flowed text a line's end is meant
				class = ""
			}
			b.WriteString("<" + kind + class + ` dir="auto">`)
			linked(b, par)
			b.WriteString("</" + kind + ">")
		}
	}
}

// quoteTag begins a quotation; its bar stands where its text begins.
func quoteTag(text string) string {
	for _, r := range text {
		switch {
		case unicode.In(r, unicode.Hebrew, unicode.Arabic, unicode.Syriac, unicode.Thaana, unicode.Nko):
			return `<blockquote dir="rtl">`
		case unicode.IsLetter(r):
			return "<blockquote>"
		}
	}
	return "<blockquote>"
}

// names says whether a paragraph is the line that names the author of what follows.
func names(par string) bool {
	return strings.HasSuffix(strings.TrimRight(par, " "), ":") && len(par) < 300 && strings.Count(par, "\n") < 3
}

// paragraphs splits at empty lines; drawings and tables keep theirs together.
func paragraphs(s string) []string {
	var out []string
	for par := range strings.SplitSeq(s, "\n\n") {
		par = strings.Trim(par, "\n")
		if strings.TrimSpace(par) == "" {
			continue
		}
		if n := len(out); n > 0 && drawn(par) && drawn(out[n-1]) {
			out[n-1] += "\n\n" + par
			continue
		}
		out = append(out, par)
	}
	return out
}

// hardWrapped says whether a paragraph was broken into lines only because lines had
// to be short: then it may be set anew for a narrow screen.
func hardWrapped(par string) bool {
	lines := strings.Split(par, "\n")
	for i, l := range lines {
		if l == "" || l[0] == ' ' || l[0] == '\t' || strings.IndexByte("-*+#|=_~:>", l[0]) >= 0 || strings.Contains(l, "   ") || numbered(l) {
			return false
		}
		if n := utf8.RuneCountInString(l); i < len(lines)-1 && (n < 50 || n > 90) {
			return false
		}
	}
	return len(lines) > 1
}

func numbered(l string) bool {
	i := 0
	for i < len(l) && i < 3 && l[i] >= '0' && l[i] <= '9' {
		i++
	}
	return i > 0 && i < len(l) && (l[i] == '.' || l[i] == ')')
}

// drawn says whether a paragraph lives from columns: a table, a drawing, program text.
func drawn(par string) bool {
	wide, lines := 0, 0
	for l := range strings.SplitSeq(par, "\n") {
		lines++
		if columns(l) {
			wide++
		}
	}
	return wide > 0 && wide*2 >= lines
}

// columns says whether a line is indented by four, has a wide gap or a tab, or three
// pieces of a ruled line. It looks at each octet once: it sees every line of a page.
func columns(l string) bool {
	indent := len(l) - len(strings.TrimLeft(l, " "))
	if indent >= 4 {
		return true
	}
	gap, marks := 0, 0
	last := byte(0)
	for i := indent; i < len(l); i++ {
		c := l[i]
		if c == ' ' {
			if gap++; gap == 3 {
				return true
			}
			last = c
			continue
		}
		gap = 0
		switch {
		case c == '\t':
			return true
		case c == '|', c == '-' && last == '+':
			marks++
		case c == last && (c == '-' || c == '_'):
			marks, c = marks+1, 0
		}
		last = c
	}
	return marks >= 3
}

// patch colours a diff by whole lines; the signs at their start stay, so colour is
// never alone.
func patch(b *strings.Builder, s string) {
	b.WriteString(`<pre class="patch" tabindex="0">`)
	for l := range strings.SplitSeq(s, "\n") {
		tag := ""
		switch {
		case strings.HasPrefix(l, "+++") || strings.HasPrefix(l, "---"):
			tag = "b"
		case strings.HasPrefix(l, "+"):
			tag = "ins"
		case strings.HasPrefix(l, "-"):
			tag = "del"
		case strings.HasPrefix(l, "@@"):
			tag = "i"
		}
		if tag == "" {
			escape(b, l)
		} else {
			b.WriteString("<" + tag + ">")
			escape(b, l)
			b.WriteString("</" + tag + ">")
		}
		b.WriteByte('\n')
	}
	b.WriteString("</pre>")
}

func escape(b *strings.Builder, s string) {
	last := 0
	for i := 0; i < len(s); i++ {
		var e string
		switch s[i] {
		case '<':
			e = "&lt;"
		case '>':
			e = "&gt;"
		case '&':
			e = "&amp;"
		case '"':
			e = "&#34;"
		case '\'':
			e = "&#39;"
		default:
			continue
		}
		b.WriteString(s[last:i])
		b.WriteString(e)
		last = i + 1
	}
	b.WriteString(s[last:])
}

// linked escapes a text and makes links of addresses in it.
func linked(b *strings.Builder, s string) {
	for {
		i, n := findURL(s)
		if n == 0 {
			escape(b, s)
			return
		}
		escape(b, s[:i])
		u := s[i : i+n]
		b.WriteString(`<a rel="nofollow noreferrer" href="`)
		switch {
		case strings.HasPrefix(u, "news:") && strings.Contains(u, "@"):
			escape(b, messagePath(article.ID("<"+u[5:]+">")))
		case strings.HasPrefix(u, "news:"):
			escape(b, groupPath(article.Group(u[5:])))
		default:
			escape(b, u)
		}
		b.WriteString(`">`)
		escape(b, u)
		b.WriteString(`</a>`)
		s = s[i+n:]
	}
}

var schemes = [...]string{"https://", "http://", "magnet:?", "mailto:", "news:", "ftp://", "gopher://"}

// findURL finds the first address in s: where it begins and how long it is.
func findURL(s string) (at, n int) {
	for from := 0; ; {
		c := strings.IndexByte(s[from:], ':')
		if c < 0 {
			return 0, 0
		}
		c += from
		for _, sc := range schemes {
			colon := strings.IndexByte(sc, ':')
			i := c - colon
			if i < from || i < 0 || !strings.HasPrefix(s[i:], sc) || i > 0 && letter(s[i-1]) {
				continue
			}
			if n := urlLen(s[i:]); n > len(sc) {
				return i, n
			}
		}
		from = c + 1
	}
}

func letter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// urlLen is the length of an address; what ends a sentence is not part of it, nor
// is a bracket that does not open in it.
func urlLen(s string) int {
	n := 0
	for n < len(s) && s[n] > ' ' && s[n] != '<' && s[n] != '>' && s[n] != '"' && s[n] != 0x7f && n < 4096 {
		n++
	}
	for n > 0 && !utf8.RuneStart(s[min(n, len(s)-1)]) && n < len(s) {
		n--
	}
	for n > 0 {
		c := s[n-1]
		if strings.IndexByte(".,;:!?'*_", c) >= 0 ||
			c == ')' && strings.Count(s[:n], "(") < strings.Count(s[:n], ")") ||
			c == ']' && strings.Count(s[:n], "[") < strings.Count(s[:n], "]") {
			n--
			continue
		}
		break
	}
	return n
}

func partPath(id article.ID, p *content.Part) string {
	if p.Detached != nil {
		return p.Detached.Path()
	}
	if p.Link != "" {
		return p.Link
	}
	return messagePath(id) + "/a/" + strconv.Itoa(p.Index)
}

// media is what may be shown on the page itself; SVG may not.
func media(typ string) (image, audio, video bool) {
	switch typ {
	case "image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp":
		return true, false, false
	case "audio/mpeg", "audio/ogg", "audio/opus", "audio/wav", "audio/x-wav", "audio/flac", "audio/aac", "audio/mp4", "audio/webm":
		return false, true, false
	case "video/mp4", "video/webm", "video/ogg":
		return false, false, true
	}
	return false, false, false
}

func (v *visitor) files(c *content.Content, id article.ID) []file {
	var out []file
	for _, p := range c.Files() {
		f := file{Name: p.Name, Type: p.Type, Href: partPath(id, p), Size: v.tx.size(p.Size())}
		if f.Name == "" {
			f.Name = v.tx.T("file.unnamed", p.Index)
		}
		if len(out) < maxMedia && p.Link == "" { // nothing is loaded from elsewhere
			f.Image, f.Audio, f.Video = media(p.Type)
		}
		if d := p.Detached; d != nil {
			f.Detached, f.Magnet, f.SHA256, f.Torrent = true, d.Magnet, d.SHA256, "/t/"+d.InfoHash+".torrent"
			if v.Files != nil {
				st := v.Files(d.InfoHash)
				switch {
				case st.Here:
					f.Here, f.State = true, v.tx.T("file.here")
				case st.Nodes > 0:
					f.State = v.tx.N("file.nodes", st.Nodes)
				case st.Nodes == 0:
					f.State = v.tx.T("file.nowhere")
				}
			}
		}
		out = append(out, f)
	}
	return out
}
