package nntpd

import (
	"errors"
	"iter"
	"strings"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/nntp"
	"github.com/litfass/litfass/internal/wildmat"
	"github.com/litfass/litfass/spool"
)

// target is what OVER, HDR and their kind are asked about.
type target struct {
	byID bool
	one  spool.Entry // by id
	all  iter.Seq2[spool.Entry, error]
	none int // the code if all is empty
}

// target reads a range or message-id, or takes the current article. If that
// fails it has answered. old: the codes of RFC 2980, where an empty range is 420.
func (x *session) target(arg string, old bool) (target, bool) {
	if strings.HasPrefix(arg, "<") {
		x.args = append(x.argsBuf[:0], arg)
		e, _, ok := x.resolve()
		return target{byID: true, one: e}, ok
	}
	lo, hi := x.cur, x.cur
	if arg != "" {
		var ok bool
		if lo, hi, ok = parseRange(arg); !ok {
			x.bad(nntp.CodeSyntax, "neither a range nor a message-id")
			return target{}, false
		}
	}
	if !x.selected() {
		return target{}, false
	}
	none := nntp.CodeNoNumber
	if arg == "" || old {
		none = nntp.CodeNoCurrent
	}
	if lo > hi || hi == 0 {
		x.c.Status(none, "no articles there")
		return target{}, false
	}
	return target{all: x.srv.cfg.Spool.Range(x.srv.ctx, x.group, lo, hi), none: none}, true
}

// each answers with a status line and then what line writes for each article of
// t. A range with no articles is answered with t.none, or, if that is an answer
// too, with an empty list.
func (x *session) each(t target, code int, text string, empty bool, line func(e spool.Entry, n uint64)) error {
	if t.byID {
		x.c.Status(code, text)
		x.srv.Counts.Overviews.Add(1)
		line(t.one, 0)
		x.c.End()
		return nil
	}
	lines := uint64(0)
	for e, err := range t.all {
		switch {
		case err != nil && lines == 0:
			return x.refuse(err, forNumber())
		case err != nil:
			return x.broken(err)
		case lines == 0:
			x.c.Status(code, text)
		}
		lines++
		line(e, numberIn(e, x.group))
	}
	x.srv.Counts.Overviews.Add(lines)
	switch {
	case lines > 0:
		x.c.End()
	case empty:
		x.c.Status(code, text)
		x.c.End()
	default:
		x.c.Status(t.none, "no articles there")
	}
	return nil
}

// doOver: RFC 3977 §8.3.
func (x *session) doOver() error { return x.over(arg(x.args, 0), false) }

// doXover: RFC 2980 §2.8. It knows no message-id; we put up with one.
func (x *session) doXover() error { return x.over(arg(x.args, 0), true) }

func arg(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}

func (x *session) over(which string, old bool) error {
	t, ok := x.target(which, old)
	if !ok {
		return nil
	}
	return x.each(t, nntp.CodeOver, "overview follows", false, func(e spool.Entry, n uint64) {
		x.overLine(e, n)
	})
}

// overLine writes the line of RFC 3977 §8.3.2. :bytes counts the Xref line too,
// since ARTICLE sends it.
func (x *session) overLine(e spool.Entry, n uint64) {
	c := x.c
	c.Int(n)
	c.Strs("\t", e.Subject, "\t", e.From, "\t", e.Date, "\t", string(e.ID), "\t", e.References, "\t")
	c.Int(uint64(x.bytes(e)))
	c.Str("\t")
	c.Int(uint64(e.Lines))
	c.Str("\tXref: ")
	x.xref(e.Places)
	c.Str("\r\n")
}

func (x *session) bytes(e spool.Entry) int {
	return e.Bytes + len("Xref: \r\n") + x.xrefLen(e.Places)
}

// doHdr: RFC 3977 §8.5.
func (x *session) doHdr() error {
	return x.hdr(x.args[0], arg(x.args, 1), nntp.CodeHdr, false)
}

// doXhdr: RFC 2980 §2.6. Bytes and Lines are what the overview says, by the names
// that LIST OVERVIEW.FMT gives them.
func (x *session) doXhdr() error {
	field := x.args[0]
	if upperIs(field, "BYTES") || upperIs(field, "LINES") {
		field = ":" + field
	}
	return x.hdr(field, arg(x.args, 1), nntp.CodeHead, true)
}

func (x *session) hdr(field, which string, code int, old bool) error {
	value, ok := x.field(field)
	if !ok {
		return nil
	}
	t, ok := x.target(which, old)
	if !ok {
		return nil
	}
	text := "field follows"
	var failed error
	err := x.each(t, code, text, false, func(e spool.Entry, n uint64) {
		v, err := value(e)
		if err != nil {
			if !errors.Is(err, spool.ErrNotFound) {
				failed = err
			}
			return // gone meanwhile
		}
		if old && v == "" {
			v = "(none)" // RFC 2980 §2.6
		}
		x.hdrLine(e, n, v, old)
	})
	if failed != nil {
		return x.broken(failed)
	}
	return err
}

// hdrLine writes number and value. RFC 2980 has the message-id in the number's
// place when one was asked for, RFC 3977 a zero.
func (x *session) hdrLine(e spool.Entry, n uint64, value string, old bool) {
	if old && n == 0 {
		x.c.Str(string(e.ID))
	} else {
		x.c.Int(n)
	}
	x.c.Str(" ")
	x.c.Str(value)
	x.c.Str("\r\n")
}

// field returns how to get a field's content of an article, on one line
// (RFC 3977 §8.3.2), "" if there is none. What the overview holds is not read
// from the article. If the name is none, it has answered.
func (x *session) field(name string) (func(spool.Entry) (string, error), bool) {
	plain := func(f func(e *spool.Entry) string) (func(spool.Entry) (string, error), bool) {
		return func(e spool.Entry) (string, error) { return f(&e), nil }, true
	}
	switch strings.ToLower(name) {
	case "subject":
		return plain(func(e *spool.Entry) string { return e.Subject })
	case "from":
		return plain(func(e *spool.Entry) string { return e.From })
	case "date":
		return plain(func(e *spool.Entry) string { return e.Date })
	case "message-id":
		return plain(func(e *spool.Entry) string { return string(e.ID) })
	case "references":
		return plain(func(e *spool.Entry) string { return e.References })
	case "newsgroups":
		return plain(func(e *spool.Entry) string { return e.Newsgroups })
	case ":bytes":
		return plain(func(e *spool.Entry) string { return itoa(x.bytes(*e)) })
	case ":lines":
		return plain(func(e *spool.Entry) string { return itoa(e.Lines) })
	case "xref":
		return plain(func(e *spool.Entry) string { return x.xrefText(e.Places) })
	}
	if signer := x.srv.cfg.Signer; signer != nil && strings.EqualFold(name, ":signer") {
		return func(e spool.Entry) (string, error) { return signer(x.srv.ctx, e) }, true
	}
	if strings.HasPrefix(name, ":") {
		x.c.Status(nntp.CodeNotSupported, "no such metadata item; LIST HEADERS says which there are")
		return nil, false
	}
	for i := range len(name) {
		if name[i] <= ' ' || name[i] > 126 || name[i] == ':' {
			x.bad(nntp.CodeSyntax, "not a field's name")
			return nil, false
		}
	}
	return func(e spool.Entry) (string, error) {
		a, err := x.srv.cfg.Spool.Open(x.srv.ctx, e.Seq)
		if err != nil {
			return "", err
		}
		return blanks(a.Get(name)), nil
	}, true
}

// blanks turns what must not stand in a line of an overview into blanks.
func blanks(s string) string {
	if !strings.ContainsAny(s, "\t\r\n\x00") {
		return s
	}
	b := []byte(s)
	for i, c := range b {
		if c == '\t' || c == '\r' || c == '\n' || c == 0 {
			b[i] = ' '
		}
	}
	return string(b)
}

func (x *session) xrefText(in []spool.Place) string {
	var b strings.Builder
	b.WriteString(x.srv.cfg.Host)
	for _, p := range in {
		b.WriteString(" " + string(p.Group) + ":" + itoa(int(p.Number)))
	}
	return b.String()
}

// doXpat: RFC 2980 §2.9. Several words are one pattern with blanks in it; sets in
// brackets are how Thunderbird searches without regard to case.
func (x *session) doXpat() error {
	value, ok := x.field(x.args[0])
	if !ok {
		return nil
	}
	pattern := wildmat.ParseClassic(strings.Join(x.args[2:], " "))
	t, ok := x.target(x.args[1], true)
	if !ok {
		return nil
	}
	var failed error
	err := x.each(t, nntp.CodeHead, "matches follow", true, func(e spool.Entry, n uint64) {
		v, err := value(e)
		if err != nil && !errors.Is(err, spool.ErrNotFound) {
			failed = err
		}
		if err != nil {
			return
		}
		if pattern.Match(v) {
			x.hdrLine(e, n, v, true)
		}
	})
	if failed != nil {
		return x.broken(failed)
	}
	return err
}

// readable says whether g may be read, for lists.
func (x *session) readable(a *agent.Access, g article.Group) bool {
	return a.May(x.srv.ctx, agent.Read, g) == nil
}
