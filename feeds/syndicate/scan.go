package syndicate

import (
	"bytes"
	"fmt"
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
	entries []span
	skipped int      // entries over a bound
	end     int      // where the document ends or was cut
	tail    []string // open in the last entry, if it was cut off
	bodies  []body   // long texts in entries, in order
	open    []string // open around it
}

// scan walks over a document once, without building anything, and refuses what
// would cost too much. It follows tags, comments, CDATA, instructions and
// DOCTYPE; it resolves no entity.
func scan(b []byte, lim Bounds) (outline, error) {
	var o outline
	var stack []string
	o.end = len(b)
	elements, entryAt, entryDepth := 0, -1, 0
	var watch bodyWatch
	for i := 0; i < len(b); {
		lt := bytes.IndexByte(b[i:], '<')
		if lt < 0 {
			break
		}
		i += lt
		if n := skipMarkup(b[i:]); n > 0 {
			watch.clean = watch.clean && b[i+2] == '['
			i += n
			continue
		}
		n, name, kind := readTag(b[i:])
		if n < 0 || n == 0 && bytes.IndexByte(b[i:], '>') < 0 { // cut off in a tag
			o.end = i
			break
		}
		if n == 0 { // "<" that is no markup
			watch.clean = false
			i++
			continue
		}
		if n > lim.Tag {
			return o, fmt.Errorf("a tag of %d octets, the limit is %d", n, lim.Tag)
		}
		switch kind {
		case tagOpen, tagEmpty:
			if elements++; elements > lim.Elements {
				if len(o.entries) == 0 {
					return o, fmt.Errorf("over %d elements before the end of the first entry", lim.Elements)
				}
				return o.cut(entryAt, entryDepth, i, stack), nil
			}
			if o.root == "" {
				o.root = local(name)
			}
			if entryAt < 0 && isEntry(name) && len(stack) > 0 {
				entryAt, entryDepth = i, len(stack)
			}
			if kind == tagEmpty {
				watch.clean = false
			} else {
				if stack = append(stack, name); len(stack) > lim.Depth {
					return o, fmt.Errorf("elements nested deeper than %d", lim.Depth)
				}
				if entryAt >= 0 {
					watch.open(name, len(stack)-entryDepth-1, b[i:i+n], i+n)
				}
			}
		case tagClose:
			if body, ok := watch.close(name, i); ok {
				o.bodies = append(o.bodies, body)
			}
			stack = pop(stack, name)
		}
		i += n
		if entryAt >= 0 && len(stack) <= entryDepth {
			o.add(span{entryAt, i}, lim)
			entryAt = -1
		}
	}
	if entryAt >= 0 && len(stack) > entryDepth {
		o.end = min(o.end, len(b))
		o.entries = append(o.entries, span{entryAt, o.end})
		o.tail = stack[entryDepth:]
		stack = stack[:entryDepth]
	}
	o.open = stack
	return o, nil
}

// cut ends the document before the entry begun at entryAt, or at i.
func (o outline) cut(entryAt, entryDepth, i int, stack []string) outline {
	o.end, o.open = i, stack
	if entryAt >= 0 {
		o.end, o.open = entryAt, stack[:entryDepth]
	}
	o.skipped++
	return o
}

func (o *outline) add(s span, lim Bounds) {
	if s.to-s.from > lim.Entry {
		o.skipped++
		s.to = -s.to // cut out, not shown
	}
	o.entries = append(o.entries, s)
}

func isEntry(name string) bool { n := local(name); return n == "item" || n == "entry" }

func local(name string) string {
	return strings.ToLower(name[strings.LastIndexByte(name, ':')+1:])
}

// pop closes the innermost element of that name; a stray end tag closes nothing.
func pop(stack []string, name string) []string {
	for i := len(stack) - 1; i >= 0; i-- {
		if strings.EqualFold(stack[i], name) {
			return stack[:i]
		}
	}
	return stack
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
func readTag(b []byte) (n int, name string, kind int) {
	i := 1
	if i < len(b) && b[i] == '/' {
		kind, i = tagClose, 2
	}
	start := i
	for i < len(b) && nameByte(b[i]) && i-start < 256 {
		i++
	}
	if i == start {
		return 0, "", 0
	}
	name = string(b[start:i])
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

// pieces yields the document with a few entries at a time, each piece whole: what
// stands around the entries is repeated, open tags are closed. So a parser that
// builds trees never holds a large one. Long texts are left in texts, if it is not
// nil, and stand-ins in the pieces.
func (o *outline) pieces(b []byte, entries, per int, texts *bodies, yield func([]byte) error) error {
	var frame [2]bytes.Buffer // before the first entry; after it
	at, k := 0, 0
	var keep []span
	for _, s := range o.entries {
		to := s.to
		if to < 0 {
			to = -to
		} else if len(keep) < entries {
			keep = append(keep, s)
		}
		frame[k].Write(b[at:s.from])
		at, k = to, 1
	}
	frame[k].Write(b[at:max(at, o.end)])
	closeTags(&frame[k], o.open)
	for first := true; first || len(keep) > 0; first = false {
		n := min(per, len(keep))
		var doc bytes.Buffer
		doc.Write(frame[0].Bytes())
		for _, s := range keep[:n] {
			o.write(&doc, b, s, texts)
			if s.to == o.end {
				closeTags(&doc, o.tail)
			}
		}
		keep = keep[n:]
		doc.Write(frame[1].Bytes())
		if err := yield(doc.Bytes()); err != nil {
			return err
		}
	}
	return nil
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

func closeTags(w *bytes.Buffer, open []string) {
	for i := len(open) - 1; i >= 0; i-- {
		fmt.Fprintf(w, "</%s>", open[i])
	}
}
