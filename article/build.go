package article

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Normalize turns one article as a text, with LF or CRLF line ends and no dot
// stuffing, into wire form. A last line without end gets one. Bare CR is refused.
func Normalize(text []byte, lim Limits) ([]byte, error) {
	lim = lim.orDefault()
	if len(text) > lim.Article {
		return nil, large("", "article of %d octets, the limit is %d", len(text), lim.Article)
	}
	out := make([]byte, 0, len(text)+bytes.Count(text, []byte("\n"))+8)
	for len(text) > 0 {
		i := bytes.IndexByte(text, '\n')
		line := text
		if i >= 0 {
			line, text = bytes.TrimSuffix(text[:i], []byte("\r")), text[i+1:]
		} else {
			text = nil
		}
		if bytes.IndexByte(line, '\r') >= 0 {
			return nil, bad("", "holds CR without LF")
		}
		if len(line) > 0 && line[0] == '.' {
			out = append(out, '.')
		}
		out = append(append(out, line...), '\r', '\n')
	}
	return append(out, end...), nil
}

// Edit says what a relaying or injecting agent changes in an article it holds:
// nothing else may be (RFC 5537 §3.6).
type Edit struct {
	PrependPath string      // put before the content of Path, with the "!" it needs; "" leaves it
	Drop        []string    // names of fields to leave out, as Xref
	Add         [][2]string // fields to add at the end of the header, one line each
}

// With returns a copy of the article with e applied; all other octets stay as
// they are. An added field must be well formed: it panics on CR, LF or NUL.
func (a *Article) With(e Edit) *Article {
	out := make([]byte, 0, len(a.wire)+len(e.PrependPath)+64*len(e.Add)+8)
	for rest := a.Head(); len(rest) > 0; {
		n := fieldEnd(rest)
		if n <= 0 {
			n = len(rest)
		}
		f := rest[:n]
		rest = rest[n:]
		colon := bytes.IndexByte(f, ':')
		name := bytes.TrimPrefix(f[:colon], []byte(".")) // stuffed
		switch {
		case named(name, e.Drop):
		case e.PrependPath != "" && len(name) == 4 && bytes.EqualFold(name, []byte("Path")):
			out = append(append(out, f[:colon+1]...), ' ')
			out = append(append(out, e.PrependPath...), bytes.TrimLeft(f[colon+1:], " \t")...)
		default:
			out = append(out, f...)
		}
	}
	for _, f := range e.Add {
		if strings.ContainsAny(f[0]+f[1], "\r\n\x00") {
			panic("article: added field " + f[0] + " holds CR, LF or NUL")
		}
		out = append(append(append(append(out, f[0]...), ": "...), f[1]...), "\r\n"...)
	}
	body := len(out) + 2
	out = append(out, a.wire[a.body-2:]...)
	if len(e.Add) > 0 || len(e.Drop) > 1 || len(e.Drop) == 1 && e.Drop[0] != "Xref" {
		return reparsed(out, body)
	}
	// What a relaying agent does leaves all but the length as it was.
	over := a.over
	over.Bytes += len(out) - len(a.wire)
	if len(e.Drop) > 0 {
		over.Has &^= HasXref
	}
	return &Article{wire: out, body: body, over: over}
}

func named(name []byte, names []string) bool {
	for _, n := range names {
		if len(n) == len(name) && strings.EqualFold(n, string(name)) {
			return true
		}
	}
	return false
}

// reparsed makes an Article of octets that are known to be sound.
func reparsed(wire []byte, body int) *Article {
	a, err := Parse(wire, Limits{Article: len(wire), Header: len(wire), Field: len(wire), Line: len(wire) + 1})
	if err != nil || a.body != body {
		panic(fmt.Sprintf("article: an edit spoilt an article (%d, %d): %v", a.body, body, err))
	}
	return a
}

// Stored makes an Article of octets read back from a spool that has checked
// their sum: wire is the wire form, head the length of Head(), over what Overview
// said when it was stored. Nothing is parsed.
func Stored(wire []byte, head int, over Overview) *Article {
	return &Article{wire: wire, body: head + 2, over: over}
}

// Get returns the first field of that name, unfolded, or "".
func (d *Draft) Get(name string) string {
	for _, f := range d.Header {
		if strings.EqualFold(f[0], name) {
			return Unfold([]byte(f[1]))
		}
	}
	return ""
}

// Set replaces the first field of that name or adds it at the end.
func (d *Draft) Set(name, value string) {
	for i, f := range d.Header {
		if strings.EqualFold(f[0], name) {
			d.Header[i][1] = value
			return
		}
	}
	d.Header = append(d.Header, [2]string{name, value})
}

// Del removes all fields of that name.
func (d *Draft) Del(name string) {
	kept := d.Header[:0]
	for _, f := range d.Header {
		if !strings.EqualFold(f[0], name) {
			kept = append(kept, f)
		}
	}
	d.Header = kept
}

// Build writes the draft down and parses it. It reads the body from its start.
func (d *Draft) Build(lim Limits) (*Article, error) {
	lim = lim.orDefault()
	size, err := d.Body.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = d.Body.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, err
	}
	if size > int64(lim.Article) {
		return nil, large("", "article of over %d octets, the limit", lim.Article)
	}
	out := make([]byte, 0, 2048)
	for _, f := range d.Header {
		if err := checkContent(f[0], f[1]); err != nil {
			return nil, err
		}
		if strings.HasPrefix(f[0], ".") {
			out = append(out, '.')
		}
		out = append(append(append(append(out, f[0]...), ": "...), strings.TrimLeft(f[1], " \t")...), "\r\n"...)
	}
	out = append(out, '\r', '\n')
	body := make([]byte, size, size+2) // room for a line end
	if _, err := io.ReadFull(d.Body, body); err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	if len(out)+len(body) > lim.Article {
		return nil, large("", "article of over %d octets, the limit", lim.Article)
	}
	if len(body) > 0 && !bytes.HasSuffix(body, []byte("\r\n")) {
		body = append(body, '\r', '\n')
	}
	return Parse(append(Stuff(slices.Grow(out, len(body)+64), body), end...), lim)
}

// checkContent refuses what would become more than one field when written: a
// line end that is no fold. So nothing a client sends can add a header line.
func checkContent(name, v string) error {
	if strings.ContainsAny(name, ":\r\n") {
		return bad("", "a header field's name holds a colon or a line end")
	}
	v = strings.TrimLeft(v, " \t")
	for i := strings.IndexAny(v, "\r\n"); i >= 0; i = strings.IndexAny(v, "\r\n") {
		if v = v[i:]; !strings.HasPrefix(v, "\r\n ") && !strings.HasPrefix(v, "\r\n\t") {
			return bad(name, "holds a line end that is no fold")
		}
		v = v[3:]
	}
	return nil
}

// NewDraft splits an article that came from a client, in wire form, into a
// draft. No mandatory field is asked for, fields may be missing (RFC 5537 §3.4).
func NewDraft(a *Article) *Draft {
	d := &Draft{Body: bytes.NewReader(a.Body())}
	for name, v := range a.Fields() {
		d.Header = append(d.Header, [2]string{name, string(bytes.TrimLeft(v, " \t"))})
	}
	return d
}

// ParseHeader reads a header alone: wire form, each line with CRLF, without the
// empty line. It is for drafts whose body is too large to be held in memory.
func ParseHeader(head []byte, lim Limits) ([][2]string, error) {
	wire := append(append(append([]byte(nil), head...), "\r\n"...), end...)
	a := &Article{wire: wire}
	if err := a.parseHeader(lim.orDefault()); err != nil {
		return nil, err
	}
	var out [][2]string
	for name, v := range a.Fields() {
		out = append(out, [2]string{name, string(bytes.TrimLeft(v, " \t"))})
	}
	return out, nil
}
