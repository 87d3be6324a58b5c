package syndicate

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"html"
	"strconv"
	"strings"
)

// body is where the text of an entry's long element lies, if it is nothing but text
// and CDATA. Such texts are most of a feed, and the parser library goes over each
// half a dozen times, so it gets a short stand-in of each; what the text says is read
// here.
type body struct {
	span
	tag  int    // where its element's tag begins
	name string // of the element
}

// minBody is the least octets of a text that gets a stand-in.
const minBody = 64

// bodies are the texts that were taken out of a document.
type bodies struct {
	mark  string // begins each stand-in; the document cannot hold it
	texts []string
}

func newBodies(doc []byte) *bodies {
	sum := sha256.Sum256(doc)
	return &bodies{mark: "body-" + hex.EncodeToString(sum[:16]) + "-"}
}

// take keeps the text of a body and returns its stand-in.
func (t *bodies) take(raw []byte) string {
	t.texts = append(t.texts, charData(string(bytes.TrimSpace(raw))))
	return t.mark + strconv.Itoa(len(t.texts)-1)
}

// text returns what s stands for, or s.
func (t *bodies) text(s string) string {
	n, ok := strings.CutPrefix(s, t.mark)
	if !ok {
		return s
	}
	i, err := strconv.Atoi(n)
	if err != nil || i < 0 || i >= len(t.texts) {
		return s
	}
	return t.texts[i]
}

// bodyWatch finds bodies while a document is scanned.
type bodyWatch struct {
	body       // the name is "" if none is open
	clean bool // nothing but text and CDATA so far
}

// open is told of a tag that opened an element at depth, the children of an entry
// having depth 1; it spans from begin to at.
func (w *bodyWatch) open(name string, depth int, tag []byte, at int) {
	w.clean = false
	if depth != 1 {
		return
	}
	switch strings.ToLower(name) {
	case "description", "content:encoded":
	case "content", "summary":
		if !textType(tag) {
			return
		}
	default:
		return
	}
	*w = bodyWatch{body{span{from: at}, at - len(tag), name}, true}
}

// close is told that an element ends; its tag begins at.
func (w *bodyWatch) close(name string, at int) (body, bool) {
	found := w.clean && name == w.name && at-w.from >= minBody
	b := w.body
	b.to = at
	*w = bodyWatch{}
	return b, found
}

// textType says whether an Atom tag announces escaped text: RFC 4287 §3.1.1. Atom 0.3
// had modes (base64, xml); they are left to the library, as is any other attribute
// that might matter. The stand-in is text of no type.
func textType(tag []byte) bool {
	t := strings.ToLower(string(tag))
	if strings.Contains(t, "mode") || strings.Contains(t, "src") || strings.Contains(t, "xmlns") {
		return false
	}
	_, rest, ok := strings.Cut(t, "type")
	if !ok {
		return true
	}
	rest = strings.TrimLeft(strings.TrimSpace(rest), "= \t\r\n")
	for _, kind := range [...]string{"text", "html", "text/html", "text/plain"} {
		if strings.HasPrefix(rest, `"`+kind+`"`) || strings.HasPrefix(rest, "'"+kind+"'") {
			return true
		}
	}
	return false
}

// charData is what XML character data says: CDATA sections as they are, entities
// resolved elsewhere. HTML's named entities are resolved too, since feeds use them; an
// ampersand that begins none stays.
func charData(s string) string {
	if !strings.ContainsAny(s, "&<") {
		return s
	}
	var out strings.Builder
	out.Grow(len(s))
	for s != "" {
		i := strings.IndexAny(s, "&<")
		if i < 0 {
			out.WriteString(s)
			break
		}
		out.WriteString(s[:i])
		s = s[i:]
		if inner, ok := strings.CutPrefix(s, "<![CDATA["); ok {
			text, rest, _ := strings.Cut(inner, "]]>")
			out.WriteString(text)
			s = rest
			continue
		}
		said, n := entity(s)
		out.WriteString(said)
		s = s[n:]
	}
	return out.String()
}

// entity reads one at the start of s, and says how many octets it took; what begins
// none stands for itself.
func entity(s string) (said string, n int) {
	end := strings.IndexByte(s[:min(len(s), 64)], ';')
	if s[0] != '&' || end < 2 {
		return s[:1], 1
	}
	name := s[1:end]
	switch name {
	case "lt":
		return "<", end + 1
	case "gt":
		return ">", end + 1
	case "amp":
		return "&", end + 1
	case "quot":
		return `"`, end + 1
	case "apos":
		return "'", end + 1
	}
	if strings.ContainsAny(name, " \t\r\n") {
		return s[:1], 1
	}
	said = html.UnescapeString(s[:end+1])
	if said == html.UnescapeString(s[:end])+";" { // the ";" is none of it: "&copy=2;" in an address
		return s[:1], 1
	}
	return said, end + 1
}
