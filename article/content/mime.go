package content

import (
	"bytes"
	"encoding/base64"
	"mime"
	"strconv"
	"strings"

	"github.com/litfass/litfass/article"
)

// Bounds of a MIME tree. What lies beyond is one part that says so.
const (
	MaxParts = 1000    // leaves and nodes together
	MaxDepth = 20      // levels of multipart and message/rfc822
	MaxText  = 1 << 19 // octets of text shown of one part
	maxHead  = 32 << 10
)

// Content is the readable side of one article. It is not safe for concurrent use.
type Content struct {
	Parts []*Part // leaves, in order
	Cut   bool    // parts were left out, for the bounds

	nodes int
	rich  bool // of alternatives, HTML is shown
}

// Part is one leaf of the MIME tree, or a file found in a text.
type Part struct {
	Index    int    // its place in Content.Parts, which web addresses use
	Type     string // media type in lower case, "text/plain" if none is said
	Name     string // file name made harmless, or ""
	ID       string // Content-ID without angle brackets, or ""
	Text     bool   // it is read with the text; else it is an attachment
	Hidden   bool   // the worse of several alternatives, or a bare signature
	Heading  string // for message/rfc822: from, subject and date of what follows
	Detached *Detached
	Link     string // of a file that lies elsewhere on the web, or "": nobody here vouches for it

	charset string
	params  map[string]string
	enc     string
	raw     []byte // still in its transfer encoding
	data    []byte // of files found in a text: decoded
	inText  bool
	linked  int64 // octets of the file behind Link, as the article says
}

// Of reads the tree of an article. Text and files are decoded only when asked for.
func Of(a *article.Article) *Content {
	c := &Content{rich: strings.HasSuffix(string(a.ID()), "@"+FeedHost+">")}
	h := header{}
	for n, v := range a.Fields() {
		h.add(n, v)
	}
	c.walk(h, a.Body(), 0, "text/plain")
	c.choose()
	return c
}

// header holds the few fields of a part that matter here, unfolded, the first of each.
type header struct {
	ctype, enc, disp, id string
	from, subject, date  string
}

func (h *header) add(name string, v []byte) {
	var p *string
	switch strings.ToLower(name) {
	case "content-type":
		p = &h.ctype
	case "content-transfer-encoding":
		p = &h.enc
	case "content-disposition":
		p = &h.disp
	case "content-id":
		p = &h.id
	case "from":
		p = &h.from
	case "subject":
		p = &h.subject
	case "date":
		p = &h.date
	default:
		return
	}
	if *p == "" {
		*p = article.Unfold(v)
	}
}

// splitHeader reads the header of a part; lines end with LF or CRLF. A part that
// does not begin with a field has none.
func splitHeader(b []byte) (header, []byte) {
	var h header
	lim := b[:min(len(b), maxHead)]
	var name string
	var val []byte
	flush := func() {
		if name != "" {
			h.add(name, val)
		}
		name, val = "", nil
	}
	for at := 0; ; {
		i := bytes.IndexByte(lim[at:], '\n')
		if i < 0 {
			flush()
			return h, nil // header only
		}
		line := bytes.TrimSuffix(lim[at:at+i], []byte("\r"))
		next := at + i + 1
		switch colon := bytes.IndexByte(line, ':'); {
		case len(line) == 0:
			flush()
			return h, b[next:]
		case line[0] == ' ' || line[0] == '\t':
			val = append(append(val, '\r', '\n'), line...)
		case colon > 0 && !bytes.ContainsAny(line[:colon], " \t"):
			flush()
			name, val = string(line[:colon]), append([]byte(nil), line[colon+1:]...)
		default: // no field: a header without end; the rest is body
			flush()
			return h, b[at:]
		}
		at = next
	}
}

// MediaType is mime.ParseMediaType for what the wild sends: a type that cannot
// be read at all counts as fallback, with the parameters that could be.
func MediaType(s, fallback string) (string, map[string]string) {
	if strings.TrimSpace(s) == "" {
		return fallback, nil
	}
	t, params, err := mime.ParseMediaType(s)
	if err == nil && t != "" {
		if strings.Contains(t, "/") || fallback == "" { // a disposition has none
			return t, params
		}
		if params["name"] != "" { // a type without subtype is none: RFC 2045 §5.2; a file's name makes it a file
			return "application/octet-stream", params
		}
		return fallback, params
	}
	params = map[string]string{}
	first, rest, _ := strings.Cut(s, ";")
	for p := range strings.SplitSeq(rest, ";") {
		k, v, ok := strings.Cut(p, "=")
		k = strings.ToLower(strings.TrimSpace(k))
		if ok && params[k] == "" && len(params) < 20 {
			v, _, _ = strings.Cut(strings.TrimSpace(v), " (") // a comment: RFC 2045 §5.1
			params[k] = strings.Trim(strings.TrimSpace(v), `"`)
		}
	}
	if first = strings.ToLower(strings.TrimSpace(first)); strings.Count(first, "/") != 1 || strings.ContainsAny(first, " \t\"<>") {
		first = fallback
	}
	return first, params
}

func (c *Content) walk(h header, body []byte, depth int, fallback string) {
	if c.nodes++; c.nodes > MaxParts {
		c.Cut = true
		return
	}
	typ, params := MediaType(h.ctype, fallback)
	switch {
	case strings.HasPrefix(typ, "multipart/") && params["boundary"] != "":
		if depth >= MaxDepth {
			break
		}
		c.multipart(typ, params, body, depth)
		return
	case typ == "message/rfc822" || typ == "message/global":
		if depth >= MaxDepth || !identity(h.enc) {
			break
		}
		inner, rest := splitHeader(body)
		c.leaf(h, typ, params, body).Heading = heading(inner)
		c.walk(inner, rest, depth+1, "text/plain")
		return
	case typ == "message/external-body":
		c.external(h, params, body)
		return
	}
	if depth >= MaxDepth {
		c.Cut = true
	}
	c.leaf(h, typ, params, body)
}

func identity(enc string) bool {
	switch strings.ToLower(strings.TrimSpace(enc)) {
	case "base64", "quoted-printable", "x-uuencode":
		return false
	}
	return true
}

// multipart walks the parts between the boundary's lines: RFC 2046 §5.1.1.
func (c *Content) multipart(typ string, params map[string]string, body []byte, depth int) {
	fallback := "text/plain"
	if typ == "multipart/digest" {
		fallback = "message/rfc822"
	}
	first := len(c.Parts)
	var kids [][2]int // leaves of each child
	for part := range parts(body, params["boundary"]) {
		h, rest := splitHeader(part)
		from := len(c.Parts)
		c.walk(h, rest, depth+1, fallback)
		kids = append(kids, [2]int{from, len(c.Parts)})
		if c.Cut && c.nodes > MaxParts {
			break
		}
	}
	if len(kids) == 0 { // no boundary in it: broken; show what there is
		c.leaf(header{}, "text/plain", nil, body)
		return
	}
	switch typ {
	case "multipart/alternative":
		c.alternatives(kids)
	case "multipart/signed":
		for _, p := range c.Parts[first:] {
			switch p.Type {
			case "application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature":
				p.Hidden = true
			}
		}
	}
}

// FeedHost is the right side of the Message-IDs of feeds' entries. Their HTML was made
// harmless by a gateway of ours, and says more than the text beside it.
const FeedHost = "feed.invalid"

// alternatives keeps one child: the first that holds plain text with something in
// it (of feeds' entries: the last that is HTML), else the last that can be read as text;
// the others are hidden, but for files.
func (c *Content) alternatives(kids [][2]int) {
	pick := -1
	for i, k := range kids {
		for _, p := range c.Parts[k[0]:k[1]] {
			if c.rich && p.Text && p.Type == "text/html" && len(bytes.TrimSpace(p.raw)) > 0 {
				pick = i
			}
		}
	}
	for i, k := range kids {
		for _, p := range c.Parts[k[0]:k[1]] {
			if p.Text && p.Type == "text/plain" && len(bytes.TrimSpace(p.raw)) > 0 && pick < 0 {
				pick = i
			}
		}
	}
	for i := len(kids) - 1; i >= 0 && pick < 0; i-- {
		for _, p := range c.Parts[kids[i][0]:kids[i][1]] {
			if p.Text && pick < 0 {
				pick = i
			}
		}
	}
	for i, k := range kids {
		for _, p := range c.Parts[k[0]:k[1]] {
			if i != pick && p.Text {
				p.Hidden = true
			}
		}
	}
}

// parts yields what stands between the lines "--boundary". The CRLF before such
// a line belongs to it. A last part without end is yielded as well.
func parts(body []byte, boundary string) func(func([]byte) bool) {
	sep := []byte("--" + boundary)
	return func(yield func([]byte) bool) {
		start := -1
		for at := 0; at <= len(body); {
			i := bytes.Index(body[at:], sep)
			if i < 0 {
				break
			}
			i += at
			rest := body[i+len(sep):]
			last := bytes.HasPrefix(rest, []byte("--"))
			eol := bytes.IndexByte(rest, '\n')
			line := rest
			if eol >= 0 {
				line = rest[:eol]
			}
			if last {
				line = line[2:]
			}
			if i > 0 && body[i-1] != '\n' || len(bytes.TrimSpace(line)) > 0 {
				at = i + len(sep)
				continue
			}
			if start >= 0 && !yield(trimEOL(body[start:max(start, i)])) {
				return
			}
			start = -1
			if last {
				return
			}
			if eol < 0 {
				return
			}
			start = i + len(sep) + eol + 1
			at = start
		}
		if start >= 0 && start < len(body) {
			yield(body[start:])
		}
	}
}

func trimEOL(b []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
}

func heading(h header) string {
	var out []string
	for _, s := range []string{Header(h.from), Header(h.subject), h.date} {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return strings.Join(out, " · ")
}

func (c *Content) leaf(h header, typ string, params map[string]string, body []byte) *Part {
	disp, dp := MediaType(h.disp, "")
	name := dp["filename"]
	if name == "" {
		name = params["name"]
	}
	p := &Part{
		Index: len(c.Parts), Type: typ, ID: strings.Trim(h.id, "<> \t"), charset: params["charset"], params: params,
		enc: strings.ToLower(strings.TrimSpace(h.enc)), raw: body,
	}
	if name != "" {
		p.Name = CleanName(Header(name))
	}
	p.Text = (typ == "text/plain" || typ == "text/html" || typ == "text/enriched" || typ == "text/markdown" || typ == "text/x-patch" || typ == "text/x-diff" ||
		strings.HasPrefix(typ, "multipart/") || strings.HasPrefix(typ, "text/") && name == "") &&
		disp != "attachment"
	if typ == "message/rfc822" {
		p.Text = false
	}
	c.Parts = append(c.Parts, p)
	return p
}

// choose looks for files within texts, now that it is known which texts are shown.
func (c *Content) choose() {
	for _, p := range append([]*Part(nil), c.Parts...) {
		if !p.Text || p.Hidden || p.Type != "text/plain" && !strings.HasPrefix(p.Type, "multipart/") {
			continue
		}
		if !mayHoldFile(p.raw) {
			continue
		}
		rest, files := extractFiles(p.decoded())
		if len(files) == 0 {
			continue
		}
		p.data, p.inText = rest, true
		for _, f := range files {
			if len(c.Parts) >= MaxParts {
				c.Cut = true
				return
			}
			f.Index = len(c.Parts)
			c.Parts = append(c.Parts, f)
		}
	}
}

// Bytes returns the octets of the part, its transfer encoding undone. What cannot
// be decoded is left out. The result must not be changed.
func (p *Part) Bytes() []byte {
	if p.inText {
		return p.data
	}
	return p.decoded()
}

func (p *Part) decoded() []byte {
	switch p.enc {
	case "base64":
		return unbase64(p.raw)
	case "quoted-printable":
		return unquote(p.raw)
	case "x-uuencode", "uuencode", "x-uue":
		if _, files := extractFiles(p.raw); len(files) > 0 {
			return files[0].data
		}
	}
	return p.raw
}

// Size is len(Bytes()), without decoding where that can be helped; of a detached
// attachment, that of the file.
func (p *Part) Size() int64 {
	if p.Detached != nil {
		return p.Detached.Size
	}
	if p.Link != "" {
		return p.linked
	}
	return int64(len(p.Bytes()))
}

// unbase64 decodes what it can: RFC 2045 §6.8.
func unbase64(b []byte) []byte {
	var only Base64Only
	clean := only.Append(make([]byte, 0, len(b)), b)
	if len(clean)%4 == 1 {
		clean = clean[:len(clean)-1]
	}
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(clean)))
	n, _ := base64.RawStdEncoding.Decode(out, clean)
	return out[:n]
}

// unquote undoes quoted-printable (RFC 2045 §6.7); "=" that escapes nothing stays.
func unquote(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		line, eol := b, ""
		if i >= 0 {
			line, b, eol = b[:i], b[i+1:], "\r\n"
		} else {
			b = nil
		}
		line = bytes.TrimRight(line, " \t\r")
		if bytes.HasSuffix(line, []byte("=")) {
			line, eol = line[:len(line)-1], ""
		}
		for j := 0; j < len(line); j++ {
			if line[j] == '=' && j+2 < len(line) {
				if n, err := strconv.ParseUint(string(line[j+1:j+3]), 16, 8); err == nil {
					out = append(out, byte(n))
					j += 2
					continue
				}
			}
			out = append(out, line[j])
		}
		out = append(out, eol...)
	}
	return out
}
