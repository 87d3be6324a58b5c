package content

import (
	"strings"
	"unicode/utf8"
)

// Kind tells blocks apart.
type Kind uint8

// The kinds of blocks.
const (
	Text      Kind = iota // running text, at Depth 0 the author's own
	Signature             // what follows "-- "
	Patch                 // a unified or context diff
	HTML                  // made safe
	Heading               // of an enclosed message
	Notice                // something was left out
)

// Block is a stretch of an article's text of one kind.
type Block struct {
	Kind  Kind
	Depth int    // levels of quotation
	Text  string // lines end with LF; without the marks of quotation
	HTML  string // of Kind HTML
	Flow  bool   // lines are paragraphs (format=flowed): may be broken anywhere
}

// Blocks returns the text of an article in order. cid gives the address of a part
// for pictures that stand within HTML, or ""; nil: none are shown.
func (c *Content) Blocks(cid func(*Part) string) []Block {
	var out []Block
	for _, p := range c.Parts {
		switch {
		case p.Heading != "":
			out = append(out, Block{Kind: Heading, Text: p.Heading})
		case !p.Text || p.Hidden:
		case p.Type == "text/html":
			if h := c.safeHTML(p, cid); h != "" {
				out = append(out, Block{Kind: HTML, HTML: h})
			}
		default:
			text := c.dropBlocks(p.UTF8())
			out = append(out, blocks(text, strings.EqualFold(p.params["format"], "flowed"), strings.EqualFold(p.params["delsp"], "yes"))...)
		}
	}
	if c.Cut {
		out = append(out, Block{Kind: Notice})
	}
	return out
}

// Files returns the attachments: what is not read with the text.
func (c *Content) Files() []*Part {
	var out []*Part
	for _, p := range c.Parts {
		if !p.Text && !(p.Hidden && p.Name == "") && p.Heading == "" && (p.Detached != nil || p.Link != "" || p.inText || len(p.raw) > 0) {
			out = append(out, p)
		}
	}
	return out
}

// UTF8 returns a text part as text: valid UTF-8, LF, no controls, at most MaxText octets.
func (p *Part) UTF8() string {
	s := clean(ToUTF8(p.charset, p.Bytes()))
	if len(s) > MaxText {
		n := MaxText
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	return s
}

// Plain returns all text of the article without marks, for indexing.
func (c *Content) Plain() string {
	var out strings.Builder
	for _, p := range c.Parts {
		switch {
		case p.Heading != "":
			out.WriteString(p.Heading + "\n")
		case !p.Text || p.Hidden:
		case p.Type == "text/html":
			out.WriteString(htmlText(p.UTF8()))
			out.WriteByte('\n')
		default:
			out.WriteString(c.dropBlocks(p.UTF8()))
			out.WriteByte('\n')
		}
		if out.Len() > MaxText {
			break
		}
	}
	for _, p := range c.Files() {
		if p.Name != "" {
			out.WriteString(p.Name + "\n")
		}
	}
	return out.String()
}

// Own returns the author's own words: no quotes, no signature, no attribution
// lines; for excerpts. At most max octets, cut at a blank.
func (c *Content) Own(max int) string {
	var out strings.Builder
	for _, b := range c.Blocks(nil) {
		switch {
		case out.Len() > max:
		case b.Kind == HTML:
			out.WriteString(htmlText(b.HTML) + " ")
		case b.Kind == Text && b.Depth == 0:
			out.WriteString(b.Text + " ")
		}
	}
	s := strings.Join(strings.Fields(out.String()), " ")
	if len(s) <= max {
		return s
	}
	n := max
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	if i := strings.LastIndexByte(s[:n], ' '); i > n/2 {
		n = i
	}
	return s[:n] + "…"
}

type line struct {
	depth int
	text  string
	para  bool // a joined paragraph of flowed text
}

func blocks(text string, flowed, delsp bool) []Block {
	text = strings.Trim(text, "\n")
	if strings.TrimSpace(text) == "" {
		return nil
	}
	raw := strings.Split(text, "\n")
	sig := signatureAt(raw)
	var lines []line
	if flowed {
		lines = flow(raw[:sig], delsp)
	} else {
		lines = make([]line, 0, sig)
		for _, l := range raw[:sig] {
			d, rest := quoteDepth(l)
			lines = append(lines, line{depth: d, text: rest})
		}
	}
	out := group(lines, flowed)
	if sig < len(raw) {
		if s := strings.Trim(strings.Join(raw[sig+1:], "\n"), "\n"); s != "" {
			out = append(out, Block{Kind: Signature, Text: s})
		}
	}
	return out
}

// signatureAt returns the index of the line before a signature: "-- " (RFC 3676
// §4.3), or "--" as many write it if few lines follow; len(lines) if there is none.
func signatureAt(lines []string) int {
	for i := len(lines) - 1; i > 0 && len(lines)-i <= 40; i-- {
		if lines[i] == "-- " || lines[i] == "--" && len(lines)-i <= 12 {
			return i
		}
	}
	return len(lines)
}

// quoteDepth counts marks of quotation at the start of a line: ">", with blanks
// between, "|>", and initials as in "AB> ".
func quoteDepth(s string) (int, string) {
	d, i := 0, 0
	for i < len(s) && d < 50 {
		j := i
		if j < len(s) && s[j] == ' ' && j+1 < len(s) && (d > 0 || i == 0) {
			j++
		}
		switch {
		case s[j] == '>':
			d, i = d+1, j+1
			continue
		case s[j] == '|' && j+1 < len(s) && s[j+1] == '>':
			d, i = d+1, j+2
			continue
		}
		if n := initials(s[j:]); n > 0 {
			d, i = d+1, j+n
			continue
		}
		break
	}
	if d > 0 && i < len(s) && s[i] == ' ' {
		i++
	}
	return d, s[i:]
}

func initials(s string) int {
	for i := 0; i < len(s) && i < 4; i++ {
		switch c := s[i]; {
		case c >= 'A' && c <= 'Z' || i > 0 && c >= 'a' && c <= 'z':
		case c == '>' && i > 1:
			return i + 1
		default:
			return 0
		}
	}
	return 0
}

// flow joins the lines of paragraphs: RFC 3676 §4.
func flow(raw []string, delsp bool) []line {
	var out []line
	var par []string // the lines of the last one, while it goes on
	end := func() {
		if len(par) > 1 {
			last := &out[len(out)-1]
			last.text, last.para = strings.Join(par, ""), true
		}
		par = par[:0]
	}
	open := false
	for _, s := range raw {
		d := 0
		for d < len(s) && s[d] == '>' && d < 50 {
			d++
		}
		s = strings.TrimPrefix(s[d:], " ")
		soft := strings.HasSuffix(s, " ") && s != "-- "
		if soft && delsp {
			s = s[:len(s)-1]
		}
		if n := len(out); !open || out[n-1].depth != d {
			end()
			out = append(out, line{depth: d, text: s})
		}
		par = append(par, s)
		open = soft
	}
	end()
	return out
}

// group makes blocks of neighbouring lines of one depth and finds patches.
func group(lines []line, flowed bool) []Block {
	var out []Block
	for i := 0; i < len(lines); {
		if n := patchLen(lines[i:]); n > 0 {
			out = append(out, Block{Kind: Patch, Depth: lines[i].depth, Text: join(lines[i : i+n])})
			i += n
			continue
		}
		j := i + 1
		for j < len(lines) && lines[j].depth == lines[i].depth && patchLen(lines[j:]) == 0 {
			j++
		}
		if s := strings.Trim(join(lines[i:j]), "\n"); strings.TrimSpace(s) != "" {
			out = append(out, Block{Kind: Text, Depth: lines[i].depth, Text: s, Flow: flowed})
		}
		i = j
	}
	return out
}

func join(lines []line) string {
	n := 0
	for _, l := range lines {
		n += len(l.text) + 1
	}
	var b strings.Builder
	b.Grow(n)
	for i, l := range lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(strings.TrimRight(l.text, " \t"))
	}
	return b.String()
}

// patchLen returns how many lines from the first on are a unified diff.
func patchLen(lines []line) int {
	first := lines[0].text
	if len(first) < 4 || first[0] != 'd' && first[0] != '-' && first[0] != 'I' && first[0] != '@' {
		return 0
	}
	n := 0
	for n < len(lines) && n < 8 && lines[n].depth == lines[0].depth && !strings.HasPrefix(lines[n].text, "@@ -") {
		if n == 0 && !strings.HasPrefix(first, "diff ") && !strings.HasPrefix(first, "--- ") && !strings.HasPrefix(first, "Index: ") {
			return 0
		}
		n++
	}
	if n == len(lines) || n == 8 || !strings.HasPrefix(lines[n].text, "@@ -") || n < 2 {
		return 0
	}
	for ; n < len(lines) && lines[n].depth == lines[0].depth; n++ {
		t := lines[n].text
		if t == "" {
			if n+1 < len(lines) && lines[n+1].text != "" && strings.IndexByte(" +-@", lines[n+1].text[0]) >= 0 {
				continue
			}
			break
		}
		if strings.IndexByte(" +-@\\", t[0]) < 0 && !strings.HasPrefix(t, "diff ") && !strings.HasPrefix(t, "index ") && !strings.HasPrefix(t, "Index: ") && !strings.HasPrefix(t, "====") {
			break
		}
	}
	return n
}
