package article

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"strings"
)

// SyntaxError says what is wrong with an article, in words fit for its sender.
type SyntaxError struct {
	Field string // the field it is about, or ""
	Why   string
}

func (e *SyntaxError) Error() string {
	if e.Field == "" {
		return e.Why
	}
	return e.Field + ": " + e.Why
}

func bad(field, format string, args ...any) error {
	return &SyntaxError{Field: field, Why: fmt.Sprintf(format, args...)}
}

// ErrTooLarge is wrapped by the errors of Parse and Normalize that mean a limit
// on octets, lines or fields was passed.
var ErrTooLarge = errors.New("too large")

type tooLarge struct{ SyntaxError }

func (*tooLarge) Unwrap() error { return ErrTooLarge }

func large(field, format string, args ...any) error {
	return &tooLarge{SyntaxError{Field: field, Why: fmt.Sprintf(format, args...)}}
}

func (l Limits) orDefault() Limits {
	set := func(p *int, n int) {
		if *p == 0 {
			*p = n
		}
	}
	set(&l.Article, 1<<20)
	set(&l.Header, 64<<10)
	set(&l.Field, 16<<10)
	set(&l.Line, 32<<10)
	set(&l.Groups, 64)
	return l
}

const end = ".\r\n"

// Parse reads the wire form of one article, its final ".\r\n" included, and
// keeps the slice. It checks line ends, limits and the syntax of the header
// (RFC 5536 §2.2), and that no field of RFC 5536 §3 occurs twice; which fields
// must be there is asked by Check. Its errors are *SyntaxError, wrapping
// ErrTooLarge where a limit was passed.
func Parse(wire []byte, lim Limits) (*Article, error) {
	lim = lim.orDefault()
	if len(wire) > lim.Article {
		return nil, large("", "article of %d octets, the limit is %d", len(wire), lim.Article)
	}
	if len(wire) == 0 || string(wire) == end {
		return nil, bad("", "there is nothing in it")
	}
	if !bytes.HasSuffix(wire, []byte("\r\n"+end)) {
		return nil, bad("", "article does not end with a line that is a single dot")
	}
	a := &Article{wire: wire}
	if err := a.parseHeader(lim); err != nil {
		return nil, err
	}
	if err := a.scanBody(lim); err != nil {
		return nil, err
	}
	return a, nil
}

// MaxName bounds what BeginsField takes for a name, with its colon.
const MaxName = 77

// BeginsField says whether text begins with "Name:", as an article does and a batch, a
// mailbox or a page does not.
func BeginsField(text []byte) bool {
	for i, c := range text[:min(len(text), MaxName)] {
		if c == ':' {
			return i > 0
		}
		if c < 33 || c > 126 {
			return false
		}
	}
	return false
}

// parseHeader walks the header once, line by line, and fills over, has, body.
func (a *Article) parseHeader(lim Limits) error {
	var seen uint64
	rest, at, stuffed := a.wire, 0, 0
	for {
		n := fieldEnd(rest)
		if n < 0 {
			return bad("", "header does not end with an empty line")
		}
		if n == 0 {
			break
		}
		if n > lim.Field {
			return large(fieldName(rest), "field of %d octets, the limit is %d", n, lim.Field)
		}
		if at += n; at > lim.Header {
			return large("", "header of over %d octets", lim.Header)
		}
		field, crlf := bytes.CutSuffix(rest[:n], []byte("\r\n"))
		rest = rest[n:]
		if !crlf || len(field) == 0 {
			return bad("", "a header line ends with CR or LF alone")
		}
		if field[0] == '.' {
			if len(field) == 1 && len(rest) == 0 {
				return bad("", "no empty line between header and body")
			}
			if len(field) < 2 || field[1] != '.' {
				return bad("", "a line of the header is a dot, or begins with one that is not doubled")
			}
			field, stuffed = field[1:], stuffed+1
		}
		if err := a.field(field, &seen); err != nil {
			return err
		}
	}
	if at == 0 {
		return bad("", "there is no header")
	}
	a.body = at + 2
	a.over.Bytes = len(a.wire) - len(end) - stuffed
	return nil
}

// fieldEnd returns the length of the first field of b with its folds and final
// CRLF, 0 at the empty line, -1 if there is no end.
func fieldEnd(b []byte) int {
	if bytes.HasPrefix(b, []byte("\r\n")) {
		return 0
	}
	for n := 0; ; {
		i := bytes.IndexByte(b[n:], '\n')
		if i < 0 {
			return -1
		}
		if n += i + 1; n == len(b) || b[n] != ' ' && b[n] != '\t' {
			return n
		}
	}
}

func fieldName(b []byte) string {
	if i := bytes.IndexByte(b, ':'); i >= 0 && i <= 80 {
		return string(b[:i])
	}
	return ""
}

// field checks one field, undotted and without its final CRLF, and notes what
// the overview and Has want of it.
func (a *Article) field(f []byte, seen *uint64) error {
	colon := bytes.IndexByte(f, ':')
	if colon <= 0 {
		return bad("", "a header line is not of the form \"Name: content\"")
	}
	for _, c := range f[:colon] {
		if c < 33 || c > 126 {
			return bad("", "a header field's name holds the octet %#02x", c)
		}
	}
	if err := checkFolds(f[colon+1:]); err != nil {
		return bad(string(f[:colon]), "%v", err)
	}
	k, known := fieldIndex(f[:colon])
	if !known {
		return nil
	}
	if *seen&(1<<k) != 0 && k != fSignature {
		return bad(fieldNames[k], "occurs twice")
	}
	*seen |= 1 << k
	a.note(k, f[colon+1:])
	return nil
}

// checkFolds refuses NUL, bare CR and LF. Folds of blanks only, which RFC 5536
// §2.2 forbids, are carried: old articles have them. Strict refuses them.
func checkFolds(v []byte) error {
	if bytes.IndexByte(v, '\n') < 0 && bytes.IndexByte(v, '\r') < 0 && bytes.IndexByte(v, 0) < 0 {
		return nil // nearly all
	}
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == 0:
			return errors.New("holds NUL")
		case c == '\n':
			return errors.New("holds LF without CR")
		case c == '\r':
			if i+1 == len(v) || v[i+1] != '\n' {
				return errors.New("holds CR without LF")
			}
			i++
		}
	}
	return nil
}

// scanBody checks line ends and dots, and counts lines.
func (a *Article) scanBody(lim Limits) error {
	b := a.wire[a.body : len(a.wire)-len(end)]
	if bytes.IndexByte(b, 0) >= 0 {
		return bad("", "body holds NUL")
	}
	crs := bytes.Count(b, []byte("\r"))
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		if i < 1 || b[i-1] != '\r' {
			return bad("", "body holds CR or LF alone")
		}
		if i >= lim.Line {
			return large("", "body line of %d octets, the limit is %d", i+1, lim.Line)
		}
		if b[0] == '.' {
			if b[1] != '.' {
				return bad("", "a body line begins with a dot that is not doubled")
			}
			a.over.Bytes--
		}
		a.over.Lines++
		b = b[i+1:]
	}
	if crs != a.over.Lines { // each line has the one at its end
		return bad("", "body holds CR or LF alone")
	}
	return nil
}

// Wire returns the article as it goes over the wire, final ".\r\n" included. It
// must not be changed.
func (a *Article) Wire() []byte { return a.wire }

// Head returns the header in wire form, each line with CRLF, without the empty line.
func (a *Article) Head() []byte { return a.wire[:a.body-2] }

// HeadLen is len(Head()).
func (a *Article) HeadLen() int { return a.body - 2 }

// WireBody returns the body in wire form, dot-stuffed, without the final dot.
func (a *Article) WireBody() []byte { return a.wire[a.body : len(a.wire)-len(end)] }

// Body returns the body's octets, dots undone; a copy only if there were any.
func (a *Article) Body() []byte { return Unstuff(a.WireBody()) }

// Octets returns the article as text: header, empty line, body, with CRLF line
// ends, dots undone; a copy only if there were any.
func (a *Article) Octets() []byte { return Unstuff(a.wire[:len(a.wire)-len(end)]) }

// Overview returns what lists show of the article.
func (a *Article) Overview() Overview { return a.over }

// ID returns the Message-ID as received, "" if there is none.
func (a *Article) ID() ID { return a.over.ID }

// Has says whether all of these fields are present.
func (a *Article) Has(h Has) bool { return a.over.Has&h == h }

// Fields yields name and content of each header field in order. The content is
// raw, from behind the colon to before the final CRLF, folds included.
func (a *Article) Fields() iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for rest := a.Head(); len(rest) > 0; {
			n := fieldEnd(rest)
			if n <= 0 {
				n = len(rest)
			}
			f := bytes.TrimSuffix(rest[:n], []byte("\r\n"))
			f = bytes.TrimPrefix(f, []byte("."))
			colon := bytes.IndexByte(f, ':')
			if !yield(string(f[:colon]), f[colon+1:]) {
				return
			}
			rest = rest[n:]
		}
	}
}

// Get returns the first field of that name (case does not matter), unfolded and
// trimmed, or "".
func (a *Article) Get(name string) string {
	v, _ := a.Lookup(name)
	return v
}

// Lookup is Get that also says whether the field is there.
func (a *Article) Lookup(name string) (string, bool) {
	for rest := a.Head(); len(rest) > 0; {
		n := fieldEnd(rest)
		if n <= 0 {
			n = len(rest)
		}
		f := bytes.TrimPrefix(rest[:n], []byte("."))
		if len(f) > len(name) && f[len(name)] == ':' && strings.EqualFold(string(f[:len(name)]), name) {
			return Unfold(bytes.TrimSuffix(f[len(name)+1:], []byte("\r\n"))), true
		}
		rest = rest[n:]
	}
	return "", false
}

// Unfold joins the lines of a field's content and trims both ends: RFC 5322 §2.2.3.
func Unfold(v []byte) string {
	if bytes.IndexByte(v, '\n') < 0 {
		return string(bytes.Trim(v, " \t"))
	}
	out := make([]byte, 0, len(v))
	for _, c := range v {
		if c != '\r' && c != '\n' {
			out = append(out, c)
		}
	}
	return string(bytes.Trim(out, " \t"))
}
