package syndicate

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Bounds limit what one document may cost. The zero value means the defaults.
type Bounds struct {
	Bytes    int // octets of the document, decompressed; default 5 MiB
	Entries  int // entries looked at, the first ones; default 500
	Entry    int // octets of one entry, a longer one is left out; default 256 KiB
	Depth    int // nested elements; default 64
	Elements int // elements in all; default 100,000
	Tag      int // octets of one tag with its attributes; default 64 KiB
}

func (b Bounds) orDefault() Bounds {
	set := func(p *int, n int) {
		if *p == 0 {
			*p = n
		}
	}
	set(&b.Bytes, 5<<20)
	set(&b.Entries, 500)
	set(&b.Entry, 256<<10)
	set(&b.Depth, 64)
	set(&b.Elements, 100_000)
	set(&b.Tag, 64<<10)
	return b
}

type span struct{ from, to int }

// outline is what a scan knows of an XML document: where its entries lie, and
// the tags that were open at its end, so that a truncated one can be closed.
type outline struct {
	root    string
	entries []place
	kept    int      // of them
	skipped int      // entries over a bound
	end     int      // where the document ends or was cut
	around  []opened // what is open around the first entry
	bodies  []body   // long texts in entries, in order
	tail    []opened // open in the last entry, if it was cut off
	open    []opened // open around it
}

// place is where an entry lies, or several that are left out.
type place struct {
	span
	out bool
}

// opened is an element that is open: its name, and where its tag lies.
type opened struct {
	name string
	tag  span
}

// scanner walks over a document once, without building anything.
type scanner struct {
	outline
	b        []byte
	lim      Bounds
	stack    []opened
	names    map[string]string
	elements int
	entryAt  int // where the entry at hand begins, or -1
	depth    int // of what is open around it
	watch    bodyWatch
}

// scan outlines a document, and refuses what would cost too much. It follows tags,
// comments, CDATA, instructions and DOCTYPE; it resolves no entity.
func scan(b []byte, lim Bounds) (outline, error) {
	s := &scanner{b: b, lim: lim, entryAt: -1, names: map[string]string{}}
	s.end = len(b)
	for i := 0; i < len(b); {
		lt := bytes.IndexByte(b[i:], '<')
		if lt < 0 {
			break
		}
		i += lt
		if n := skipMarkup(b[i:]); n > 0 {
			s.watch.clean = s.watch.clean && b[i+2] == '['
			i += n
			continue
		}
		n, name, kind := readTag(b[i:])
		if n < 0 || n == 0 && bytes.IndexByte(b[i:], '>') < 0 { // cut off in a tag
			s.end = i
			break
		}
		if n == 0 { // "<" that is no markup
			s.watch.clean = false
			i++
			continue
		}
		if n > lim.Tag {
			return s.outline, fmt.Errorf("a tag of %d octets, the limit is %d", n, lim.Tag)
		}
		if kind == tagClose {
			s.closes(s.intern(name), i)
		} else if full, err := s.opens(s.intern(name), kind, span{i, i + n}); full || err != nil {
			return s.outline, err
		}
		i += n
		if s.entryAt >= 0 && len(s.stack) <= s.depth {
			s.add(span{s.entryAt, i})
			s.entryAt = -1
		}
	}
	if s.entryAt >= 0 && len(s.stack) > s.depth {
		s.add(span{s.entryAt, s.end})
		s.tail, s.stack = s.stack[s.depth:], s.stack[:s.depth]
	}
	s.open = s.stack
	return s.outline, nil
}

// intern makes one string of all tags of one name.
func (s *scanner) intern(name []byte) string {
	if n, ok := s.names[string(name)]; ok {
		return n
	}
	n := string(name)
	if len(s.names) < 256 {
		s.names[n] = n
	}
	return n
}

// opens notes a start tag, or an empty element; full says that the document has so many
// elements that it is cut here.
func (s *scanner) opens(name string, kind int, tag span) (full bool, err error) {
	if s.elements++; s.elements > s.lim.Elements {
		if s.kept == 0 {
			return false, fmt.Errorf("over %d elements before the end of the first entry", s.lim.Elements)
		}
		s.cut(tag.from)
		return true, nil
	}
	if s.root == "" {
		s.root = local(name)
	}
	if s.entryAt < 0 && isEntry(name) && len(s.stack) > 0 {
		if s.entryAt, s.depth = tag.from, len(s.stack); s.around == nil {
			s.around = slices.Clone(s.stack)
		}
	}
	if kind == tagEmpty {
		s.watch.clean = false
		return false, nil
	}
	if s.stack = append(s.stack, opened{name, tag}); len(s.stack) > s.lim.Depth {
		return false, fmt.Errorf("elements nested deeper than %d", s.lim.Depth)
	}
	if s.entryAt >= 0 {
		s.watch.open(name, len(s.stack)-s.depth-1, s.b[tag.from:tag.to], tag.to)
	}
	return false, nil
}

// closes notes an end tag that begins at i: it closes the innermost element of that
// name; a stray one closes nothing.
func (s *scanner) closes(name string, i int) {
	if body, ok := s.watch.close(name, i); ok && s.kept < s.lim.Entries {
		s.bodies = append(s.bodies, body)
	}
	for k := len(s.stack) - 1; k >= 0; k-- {
		if strings.EqualFold(s.stack[k].name, name) {
			s.stack = s.stack[:k]
			return
		}
	}
}

// cut ends the document before the entry at hand, or at i.
func (s *scanner) cut(i int) {
	s.end, s.open = i, s.stack
	if s.entryAt >= 0 {
		s.end, s.open = s.entryAt, s.stack[:s.depth]
	}
	s.skipped++
}

// add notes an entry, as one to be left out if it is too long or one too many.
func (s *scanner) add(at span) {
	if at.to-at.from <= s.lim.Entry && s.kept < s.lim.Entries {
		s.entries = append(s.entries, place{at, false})
		s.kept++
		return
	}
	s.skipped++
	if n := len(s.entries); n > 0 && s.entries[n-1].out && len(bytes.TrimSpace(s.b[s.entries[n-1].to:at.from])) == 0 {
		s.entries[n-1].to = at.to
		return
	}
	s.entries = append(s.entries, place{at, true})
}

func isEntry(name string) bool { n := local(name); return n == "item" || n == "entry" }

func local(name string) string {
	return strings.ToLower(name[strings.LastIndexByte(name, ':')+1:])
}

// skipMarkup returns the length of a comment, CDATA section, instruction or
// DOCTYPE at the start of b, 0 if there is none.
func skipMarkup(b []byte) int {
	until := func(end string) int {
		if j := bytes.Index(b, []byte(end)); j >= 0 {
			return j + len(end)
		}
		return len(b)
	}
	switch {
	case bytes.HasPrefix(b, []byte("<!--")):
		return until("-->")
	case bytes.HasPrefix(b, []byte("<![CDATA[")):
		return until("]]>")
	case bytes.HasPrefix(b, []byte("<?")):
		return until("?>")
	case bytes.HasPrefix(b, []byte("<!")):
		return doctype(b)
	}
	return 0
}

// doctype measures a DOCTYPE with its internal subset.
func doctype(b []byte) int {
	depth, quote := 0, byte(0)
	for i, c := range b {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '[':
			depth++
		case c == ']':
			depth--
		case c == '>' && depth <= 0:
			return i + 1
		}
	}
	return len(b)
}

const (
	tagOpen = iota
	tagEmpty
	tagClose
)

// readTag reads one tag at the start of b: its length (0: none, -1: cut
// off), name and kind.
func readTag(b []byte) (n int, name []byte, kind int) {
	i := 1
	if i < len(b) && b[i] == '/' {
		kind, i = tagClose, 2
	}
	start := i
	for i < len(b) && nameByte(b[i]) && i-start < 256 {
		i++
	}
	if i == start {
		return 0, nil, 0
	}
	name = b[start:i]
	quote := byte(0)
	for ; i < len(b); i++ {
		switch c := b[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case (c == '"' || c == '\'') && b[i-1] == '=':
			quote = c
		case c == '>':
			if kind == tagOpen && b[i-1] == '/' {
				kind = tagEmpty
			}
			return i + 1, name, kind
		}
	}
	return -1, name, kind
}

func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == ':' || c == '_' || c == '-' || c == '.' || c >= 128
}

// pieces yields the document with a few entries at a time, so that a parser that builds
// trees never holds a large one. The first piece has all that stands around the entries;
// of the others, only the tags that are open there, since what they say of names and
// addresses counts for entries, too. Long texts are left in texts, if it is not nil, and
// stand-ins in the pieces.
func (o *outline) pieces(b []byte, per int, texts *bodies, yield func([]byte) error) error {
	before, after, keep := o.frame(b)
	for first := true; first || len(keep) > 0; first = false {
		n := min(per, len(keep))
		var doc bytes.Buffer
		doc.Write(before)
		for _, s := range keep[:n] {
			o.write(&doc, b, s, texts)
			if s.to == o.end {
				closeTags(&doc, o.tail)
			}
		}
		keep = keep[n:]
		doc.Write(after)
		if err := yield(doc.Bytes()); err != nil {
			return err
		}
		if first && len(keep) > 0 {
			before, after = o.bareFrame(b)
		}
	}
	return nil
}

// frame is what stands before the first entry and after it, and the entries that are
// not left out.
func (o *outline) frame(b []byte) (before, after []byte, keep []span) {
	var w [2]bytes.Buffer
	at, k := 0, 0
	for _, s := range o.entries {
		if !s.out {
			keep = append(keep, s.span)
		}
		w[k].Write(b[at:s.from])
		at, k = s.to, 1
	}
	w[k].Write(b[at:max(at, o.end)])
	closeTags(&w[k], o.open)
	return w[0].Bytes(), w[1].Bytes(), keep
}

// bareFrame opens and closes what is open around the first entry.
func (o *outline) bareFrame(b []byte) (before, after []byte) {
	var head, foot bytes.Buffer
	for _, e := range o.around {
		head.Write(b[e.tag.from:e.tag.to])
	}
	closeTags(&foot, o.around)
	return head.Bytes(), foot.Bytes()
}

// write writes one entry.
func (o *outline) write(w *bytes.Buffer, b []byte, s span, texts *bodies) {
	at := s.from
	for len(o.bodies) > 0 && texts != nil {
		body := o.bodies[0]
		if body.from >= s.to {
			break
		}
		o.bodies = o.bodies[1:]
		if body.from < s.from { // of an entry that was left out
			continue
		}
		w.Write(b[at:body.tag])
		if attrs := b[body.tag+1+len(body.name) : body.from]; bytes.Contains(attrs, []byte("xmlns")) {
			w.Write(b[body.tag:body.from]) // of RSS: which element it is depends on it
		} else {
			w.WriteString("<" + body.name + ">")
		}
		w.WriteString(texts.take(b[body.from:body.to]))
		at = body.to
	}
	w.Write(b[at:s.to])
}

func closeTags(w *bytes.Buffer, open []opened) {
	for _, e := range slices.Backward(open) {
		fmt.Fprintf(w, "</%s>", e.name)
	}
}
