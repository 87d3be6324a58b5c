package smtpd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
)

// Bounds of the MIME tree of a mail: what is beyond is refused, before any
// library looks at it.
const (
	maxDepth      = 20
	maxParts      = 1000
	maxPartHeader = 64 << 10
)

var errTooDeep = fmt.Errorf("MIME parts nested deeper than %d, or more than %d of them", maxDepth, maxParts)

// part is one node of the tree as the walk meets it.
type part struct {
	header [][2]string
	kind   string // media type in lower case
	params map[string]string
	coding string // Content-Transfer-Encoding in lower case
	index  int    // number among the leaves, from 0; -1 for what holds others
	depth  int
	inner  bool // it is of a mail inside the mail
}

func newPart(header [][2]string, depth int, fallback string) *part {
	d := article.Draft{Header: header}
	kind, params := content.MediaType(d.Get("Content-Type"), fallback)
	return &part{header: header, kind: kind, params: params, depth: depth, index: -1, coding: strings.ToLower(strings.TrimSpace(d.Get("Content-Transfer-Encoding")))}
}

// message says whether a part holds a mail that can be looked into; one in base64 or
// quoted-printable, which RFC 2046 §5.2.1 forbids, is a leaf.
func (p *part) message() bool {
	return (p.kind == "message/rfc822" || p.kind == "message/global") && p.coding != "base64" && p.coding != "quoted-printable"
}

func (p *part) attached() bool {
	d := article.Draft{Header: p.header}
	disp, _, _ := strings.Cut(d.Get("Content-Disposition"), ";")
	return strings.EqualFold(strings.TrimSpace(disp), "attachment")
}

// visitor is told of the parts of a mail in order. Octets that belong to no leaf
// (delimiters, preambles) come as raw; a line of a leaf may come in several pieces.
type visitor interface {
	raw(line []byte) error
	begin(p *part) error                        // a leaf, multipart or message; its header has been read
	data(p *part, piece []byte, eol bool) error // of a leaf
	end(p *part) error                          // of a leaf
}

// walk reads a message body whose header is given, line by line, in memory of one
// line at most.
type walk struct {
	r      *bufio.Reader
	v      visitor
	deep   bool
	open   []level // outermost first
	leaf   *part
	parts  int
	leaves int
	fresh  bool   // at the beginning of a line
	line   []byte // what was read last, and with what error
	err    error
	again  bool // it is to be read once more
}

// level is a multipart whose end has not come.
type level struct {
	boundary string
	fallback string // the kind of parts that do not say theirs
	inner    bool
}

// walkMail walks over a mail; mails inside it are leaves unless it goes deep.
func walkMail(r io.Reader, header [][2]string, deep bool, v visitor) error {
	w := &walk{deep: deep, r: bufio.NewReaderSize(r, 64<<10), v: v, fresh: true}
	if err := w.enter(newPart(header, 0, "text/plain")); err != nil {
		return err
	}
	for {
		piece, err := w.read()
		if len(piece) == 0 && err == io.EOF {
			return w.leave()
		}
		if err != nil && err != bufio.ErrBufferFull && err != io.EOF {
			return err
		}
		if w.fresh && bytes.HasPrefix(piece, []byte("--")) {
			if i, last, ok := w.delimiter(piece); ok {
				if err := w.next(i, last, piece); err != nil {
					return err
				}
				continue
			}
		}
		w.fresh = err == nil
		if w.leaf == nil {
			err = w.v.raw(piece)
		} else {
			err = w.v.data(w.leaf, piece, w.fresh)
		}
		if err != nil {
			return err
		}
	}
}

// read returns the next line, or what the buffer holds of it.
func (w *walk) read() (piece []byte, err error) {
	if w.again {
		w.again = false
		return w.line, w.err
	}
	w.line, w.err = w.r.ReadSlice('\n')
	return w.line, w.err
}

// delimiter finds which open boundary a line is, innermost first: RFC 2046 §5.1.1.
func (w *walk) delimiter(line []byte) (i int, last, ok bool) {
	text := strings.TrimRight(string(line[2:min(len(line), 512)]), " \t\r\n")
	for i := len(w.open) - 1; i >= 0; i-- {
		if text == w.open[i].boundary {
			return i, false, true
		}
		if text == w.open[i].boundary+"--" {
			return i, true, true
		}
	}
	return 0, false, false
}

// next ends what is open inside boundary i, and begins the next part of it.
func (w *walk) next(i int, last bool, line []byte) error {
	if err := w.leave(); err != nil {
		return err
	}
	if err := w.v.raw(line); err != nil {
		return err
	}
	if last {
		w.open = w.open[:i]
		return nil
	}
	w.open = w.open[:i+1]
	header, err := w.header()
	if err != nil {
		return err
	}
	p := newPart(header, i+1, w.open[i].fallback)
	p.inner = w.open[i].inner
	return w.enter(p)
}

func (w *walk) leave() error {
	if w.leaf == nil {
		return nil
	}
	p := w.leaf
	w.leaf = nil
	return w.v.end(p)
}

func (w *walk) enter(p *part) error {
	if w.parts++; w.parts > maxParts || p.depth > maxDepth {
		return errTooDeep
	}
	if b := p.params["boundary"]; strings.HasPrefix(p.kind, "multipart/") && b != "" && len(b) <= 200 {
		l := level{b, "text/plain", p.inner}
		if p.kind == "multipart/digest" { // RFC 2046 §5.1.5
			l.fallback = "message/rfc822"
		}
		w.open = append(w.open, l)
		return w.v.begin(p)
	}
	if !w.deep || !p.message() {
		p.index = w.leaves
		w.leaves++
		w.leaf = p
		return w.v.begin(p)
	}
	if err := w.v.begin(p); err != nil {
		return err
	}
	header, err := w.header()
	if err != nil {
		return err
	}
	mail := newPart(header, p.depth+1, "text/plain")
	mail.inner = true
	return w.enter(mail)
}

// header reads the header of a part up to and with its empty line. A header that
// is none ends before the first line that is no field.
func (w *walk) header() ([][2]string, error) {
	var out [][2]string
	size := 0
	for {
		line, err := w.read()
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return nil, err
		}
		text := strings.TrimRight(string(line), "\r\n")
		name, value, colon := strings.Cut(text, ":")
		folded := text != "" && (text[0] == ' ' || text[0] == '\t') && len(out) > 0
		switch {
		case text == "":
			return out, nil
		case !folded && (!colon || name == "" || strings.ContainsAny(name, " \t")):
			w.again = true
			return out, nil
		}
		if size += len(line); size > maxPartHeader || err == bufio.ErrBufferFull {
			return nil, errors.New("the header of a part is too large")
		}
		if folded {
			out[len(out)-1][1] += "\r\n" + text
		} else {
			out = append(out, [2]string{name, strings.TrimLeft(value, " \t")})
		}
		if err == io.EOF {
			return out, nil
		}
	}
}
