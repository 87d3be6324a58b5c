package torrent

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"mime"
	"strings"

	"github.com/litfass/litfass/article"
)

// Bounds of the walk over a draft's MIME structure. Past them the rest is one
// opaque part, which is then not detached.
const (
	walkDepth  = 12       // nested multiparts
	walkParts  = 500      // parts in all
	walkHeader = 64 << 10 // octets of a part's header
	walkBuffer = 64 << 10 // what the walk holds of the body at a time
)

// mimeHeader is a part's header as it stands, folds included.
type mimeHeader [][2]string

func (h mimeHeader) get(name string) string {
	for _, f := range h {
		if strings.EqualFold(f[0], name) {
			return strings.TrimSpace(unfoldQuoted(f[1]))
		}
	}
	return ""
}

// parseMIMEHeader reads header lines up to an empty one, leniently.
func parseMIMEHeader(b []byte) (h mimeHeader) {
	for line := range bytes.Lines(b) {
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" {
			break
		}
		if text[0] == ' ' || text[0] == '\t' {
			if len(h) > 0 {
				h[len(h)-1][1] += "\r\n" + text
			}
			continue
		}
		if name, v, ok := strings.Cut(text, ":"); ok {
			h = append(h, [2]string{strings.TrimSpace(name), strings.TrimSpace(v)})
		}
	}
	return h
}

// node is a part: a multipart, or a leaf. Offsets count the body's octets.
type node struct {
	header   mimeHeader
	typ      string // lower case, "text/plain" by default
	params   map[string]string
	head     int64 // where its header begins
	body     int64 // where its body begins
	end      int64 // behind its body; the line end before a boundary is not of it
	parent   *node
	kids     []*node
	boundary string
	sealed   bool       // inside multipart/signed or multipart/encrypted: not to be touched
	inside   []embedded // uuencode and yEnc files in a text leaf
}

// embedded is a file within a text: its lines from begin to end.
type embedded struct {
	start, end int64
	yenc       bool
	name       string
	size       int64 // decoded, about
}

func newNode(h mimeHeader, parent *node) *node {
	n := &node{header: h, parent: parent, typ: "text/plain"}
	if parent != nil {
		n.sealed = parent.sealed || parent.typ == "multipart/signed" || parent.typ == "multipart/encrypted"
		if parent.typ == "multipart/digest" {
			n.typ = "message/rfc822"
		}
	}
	if v := h.get("Content-Type"); v != "" {
		typ, params, err := mime.ParseMediaType(v)
		if err != nil && typ == "" {
			typ, _, _ = strings.Cut(v, ";")
			typ = strings.ToLower(strings.TrimSpace(typ))
		}
		n.typ, n.params = typ, params
	}
	return n
}

func (n *node) multipart() bool { return n.boundary != "" }

// walker reads a body once, line by line, and notes where its parts lie. It
// holds walkBuffer octets and the parts' headers, however long the body is.
type walker struct {
	r     *bufio.Reader
	at    int64 // offset behind what was read
	open  []*node
	leaf  *node // whose body is being read, or nil between parts
	parts int
	uu    uuScan
	tail  int64 // length of the last line end read
	long  bool  // in the middle of a line
}

var errWalk = errors.New("MIME structure over our limits")

// walk reads the structure of a body whose root header is h.
func walk(body io.Reader, h mimeHeader) (*node, error) {
	w := &walker{r: bufio.NewReaderSize(body, walkBuffer)}
	root := newNode(h, nil)
	w.enter(root)
	for {
		line, err := w.line()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := w.take(line); err != nil {
			return nil, err
		}
	}
	w.closeLeaf(w.at)
	for _, n := range w.open {
		n.end = w.at
	}
	return root, nil
}

// line returns the next line with its end, or a piece of a long one. Only the
// first piece of a long line is looked at as a line; see take.
func (w *walker) line() ([]byte, error) {
	b, err := w.r.ReadSlice('\n')
	w.at += int64(len(b))
	if len(b) > 0 && (err == nil || err == io.EOF || err == bufio.ErrBufferFull) {
		return b, nil
	}
	return nil, err
}

// enter begins the body of n at the present offset.
func (w *walker) enter(n *node) {
	n.body = w.at
	n.boundary = ""
	if strings.HasPrefix(n.typ, "multipart/") && n.params["boundary"] != "" && len(w.open) < walkDepth {
		n.boundary = n.params["boundary"]
		w.open, w.leaf = append(w.open, n), nil
		return
	}
	w.leaf, w.uu = n, uuScan{}
}

func (w *walker) take(line []byte) error {
	start := w.at - int64(len(line))
	continued := w.long
	w.long = line[len(line)-1] != '\n'
	if !continued && len(line) > 2 && line[0] == '-' && line[1] == '-' && len(w.open) > 0 {
		if k, last := w.match(line); k >= 0 {
			return w.delimiter(k, last, start)
		}
	}
	if w.leaf != nil && w.leaf.typ == "text/plain" && !continued {
		w.uu.line(w.leaf, line, start, w.at)
	}
	w.tail = lineEnd(line)
	return nil
}

func lineEnd(line []byte) int64 {
	switch {
	case bytes.HasSuffix(line, []byte("\r\n")):
		return 2
	case bytes.HasSuffix(line, []byte("\n")):
		return 1
	}
	return 0
}

// match finds the open multipart whose boundary the line is: RFC 2046 §5.1.1.
func (w *walker) match(line []byte) (k int, last bool) {
	text := bytes.TrimRight(line[2:], " \t\r\n")
	for k = len(w.open) - 1; k >= 0; k-- {
		rest, ok := bytes.CutPrefix(text, []byte(w.open[k].boundary))
		if ok && (len(rest) == 0 || string(rest) == "--") {
			return k, len(rest) > 0
		}
	}
	return -1, false
}

// delimiter ends what is open above multipart k, and begins its next part.
func (w *walker) delimiter(k int, last bool, start int64) error {
	w.closeLeaf(start - w.tail)
	for _, n := range w.open[k+1:] {
		n.end = start - w.tail
	}
	w.open = w.open[:k+1]
	parent := w.open[k]
	if last {
		parent.end = w.at
		w.open = w.open[:k]
		w.tail = 0
		return nil
	}
	if w.parts++; w.parts > walkParts {
		return errWalk
	}
	head := w.at
	h, err := w.readHeader()
	if err != nil {
		return err
	}
	n := newNode(h, parent)
	n.head = head
	parent.kids = append(parent.kids, n)
	w.enter(n)
	w.tail = 0
	return nil
}

// readHeader reads up to the empty line. A boundary in its place ends it too.
func (w *walker) readHeader() (mimeHeader, error) {
	var b []byte
	for {
		if peek, _ := w.r.Peek(2); string(peek) == "--" {
			break
		}
		line, err := w.line()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if len(b)+len(line) > walkHeader {
			return nil, errWalk
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			break
		}
		b = append(b, line...)
	}
	return parseMIMEHeader(b), nil
}

func (w *walker) closeLeaf(end int64) {
	if w.leaf != nil {
		w.leaf.end = max(end, w.leaf.body)
		w.leaf = nil
	}
}

// leaves calls fn for every leaf in order.
func (n *node) leaves(fn func(*node)) {
	if !n.multipart() {
		fn(n)
	}
	for _, k := range n.kids {
		k.leaves(fn)
	}
}

// uuScan finds whole uuencoded and yEnc files in the lines of a text.
type uuScan struct {
	state byte // 0 outside, 'u' in uuencode, 'z' behind its empty line, 'y' in yEnc
	now   embedded
	lines int
}

func (s *uuScan) line(n *node, line []byte, start, end int64) {
	if len(n.inside) >= walkParts {
		return
	}
	text := strings.TrimRight(string(line[:min(len(line), 1000)]), "\r\n")
	switch s.state {
	case 'u', 'z':
		s.uuLine(n, text, end)
	case 'y':
		if strings.HasPrefix(text, "=yend ") {
			s.now.end = end
			n.inside = append(n.inside, s.now)
			s.state = 0
		}
	default:
		s.begin(text, start)
	}
}

func (s *uuScan) begin(text string, start int64) {
	if f := strings.SplitN(text, " ", 3); len(f) == 3 && f[0] == "begin" && len(f[1]) >= 3 && len(f[1]) <= 4 &&
		strings.Trim(f[1], "01234567") == "" {
		s.state, s.lines, s.now = 'u', 0, embedded{start: start, name: f[2]}
		return
	}
	rest, ok := strings.CutPrefix(text, "=ybegin ")
	if !ok || strings.Contains(" "+rest, " part=") {
		return // a part of a file posted in many articles is no file
	}
	fields, name, ok := strings.Cut(rest, "name=")
	if !ok {
		return
	}
	s.state, s.now = 'y', embedded{start: start, yenc: true, name: strings.TrimSpace(name), size: yField(fields, "size=")}
}

func yField(s, key string) (n int64) {
	for f := range strings.FieldsSeq(s) {
		if v, ok := strings.CutPrefix(f, key); ok {
			for _, c := range v {
				if c < '0' || c > '9' || n > 1<<50 {
					return 0
				}
				n = n*10 + int64(c-'0')
			}
		}
	}
	return n
}

// uuLine takes one line of a uuencoded file: a length, then its octets as four
// characters for three. A line that does not fit means that it is no file.
func (s *uuScan) uuLine(n *node, text string, end int64) {
	if text == "end" && s.lines > 0 {
		s.now.end = end
		n.inside = append(n.inside, s.now)
		s.state = 0
		return
	}
	if text == "" || s.state == 'z' {
		s.state = 'z'
		if text != "" {
			s.state = 0
		}
		return
	}
	octets := int64(text[0]-' ') & 63
	need := (octets + 2) / 3 * 4
	if text[0] < ' ' || text[0] > '`' || int64(len(text)-1) < need-2 || int64(len(text)-1) > need+2 {
		s.state = 0
		return
	}
	if octets == 0 {
		s.state = 'z'
	}
	s.now.size += octets
	s.lines++
}

// section reads the octets from start to end of a body that can only seek.
func section(b article.Body, start, end int64) (io.Reader, error) {
	if _, err := b.Seek(start, io.SeekStart); err != nil {
		return nil, err
	}
	return io.LimitReader(b, end-start), nil
}
