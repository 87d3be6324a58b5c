package nntpd

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/nntp"
	"github.com/litfass/litfass/spool"
)

// selected answers 412 unless a group is selected that may (still) be read.
func (x *session) selected() bool {
	if x.group == "" {
		x.c.Status(nntp.CodeNotInGroup, "no newsgroup selected")
		return false
	}
	if err := x.may(agent.Read, x.group); err != nil {
		_ = x.refuse(err, codes{rest: nntp.CodeNotInGroup, busy: nntp.CodeInternal})
		return false
	}
	return true
}

// lookGroup finds a group that may be read. A group that may not be read and
// that logging in would not open looks like none.
func (x *session) lookGroup(name string) (spool.GroupInfo, error) {
	if err := x.may(agent.Read, article.Group(name)); err != nil {
		return spool.GroupInfo{}, err
	}
	g, err := x.srv.cfg.Spool.Group(x.srv.ctx, article.Group(name))
	if errors.Is(err, spool.ErrNotFound) {
		err = &agent.Refusal{Reason: agent.Absent, Code: "no-group", Text: "no such newsgroup"}
	}
	return marks(g), err
}

// marks makes an empty group's marks what RFC 3977 §6.1.1.2 prefers: low is
// high plus one.
func marks(g spool.GroupInfo) spool.GroupInfo {
	if g.Count == 0 {
		g.Low = max(g.Low, g.High+1)
		g.High = g.Low - 1
	}
	return g
}

// doGroup: RFC 3977 §6.1.1.
func (x *session) doGroup() error {
	g, err := x.lookGroup(x.args[0])
	if err != nil {
		return x.refuse(err, forGroup())
	}
	x.enter(g)
	x.groupStatus(g)
	x.c.CRLF()
	return nil
}

func (x *session) enter(g spool.GroupInfo) {
	x.group, x.cur = g.Name, 0
	if g.Count > 0 {
		x.cur = g.Low
	}
}

func (x *session) groupStatus(g spool.GroupInfo) {
	c := x.c
	c.Int(nntp.CodeGroup)
	for _, n := range [...]uint64{g.Count, g.Low, g.High} {
		c.Str(" ")
		c.Int(n)
	}
	c.Str(" ")
	c.Str(string(g.Name))
}

// doListGroup: RFC 3977 §6.1.2.
func (x *session) doListGroup() error {
	name := string(x.group)
	if len(x.args) > 0 {
		name = x.args[0]
	} else if !x.selected() {
		return nil
	}
	lo, hi := uint64(1), uint64(math.MaxUint64)
	if len(x.args) > 1 {
		var ok bool
		if lo, hi, ok = parseRange(x.args[1]); !ok {
			x.bad(nntp.CodeSyntax, "not a range: "+oneLine(x.args[1]))
			return nil
		}
	}
	g, err := x.lookGroup(name)
	if err != nil {
		return x.refuse(err, forGroup())
	}
	x.enter(g)
	x.groupStatus(g)
	x.c.Str(" list follows\r\n")
	if lo > hi {
		x.c.End()
		return nil
	}
	for n, err := range x.srv.cfg.Spool.Numbers(x.srv.ctx, g.Name, lo, min(hi, g.High)) {
		if err != nil {
			return x.broken(err)
		}
		x.c.Int(n)
		x.c.Str("\r\n")
	}
	x.c.End()
	return nil
}

// broken is an error in the middle of a list: the client must not take what it
// got for all there is, so the connection ends without the final dot.
func (x *session) broken(err error) error {
	x.log().Error("nntp: answer broken off", "command", verbOf(x.line), "error", err)
	return err
}

// parseRange reads n, n- and n-m (RFC 3977 §8.3.1). Numbers too large to exist
// are cut down; n-m with n > m is a range with nothing in it.
func parseRange(s string) (lo, hi uint64, ok bool) {
	a, b, dash := strings.Cut(s, "-")
	if lo, ok = parseNumber(a); !ok {
		return 0, 0, false
	}
	switch {
	case !dash:
		return lo, lo, true
	case b == "":
		return lo, math.MaxUint64, true
	}
	hi, ok = parseNumber(b)
	return lo, hi, ok
}

// parseNumber reads an article number; one too large counts as the largest.
func parseNumber(s string) (uint64, bool) {
	if s == "" || len(s) > 100 {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		n = math.MaxUint64
	}
	return n, true
}

// doNext: RFC 3977 §6.1.4.
func (x *session) doNext() error {
	if !x.selected() {
		return nil
	}
	if x.cur == 0 {
		x.c.Status(nntp.CodeNoCurrent, "no current article")
		return nil
	}
	for e, err := range x.srv.cfg.Spool.Range(x.srv.ctx, x.group, x.cur+1, math.MaxUint64) {
		if err != nil {
			return x.refuse(err, forNumber())
		}
		return x.moveTo(e)
	}
	x.c.Status(nntp.CodeNoNext, "no next article")
	return nil
}

// doLast: RFC 3977 §6.1.3. Numbers are looked for in ever larger steps below.
func (x *session) doLast() error {
	if !x.selected() {
		return nil
	}
	if x.cur == 0 {
		x.c.Status(nntp.CodeNoCurrent, "no current article")
		return nil
	}
	for hi, step := x.cur-1, uint64(1); hi > 0; step *= 8 {
		lo := uint64(1)
		if hi > step {
			lo = hi - step + 1
		}
		found := uint64(0)
		for n, err := range x.srv.cfg.Spool.Numbers(x.srv.ctx, x.group, lo, hi) {
			if err != nil {
				return x.refuse(err, forNumber())
			}
			found = n
		}
		if found > 0 {
			if e, err := x.byNumber(found); err == nil {
				return x.moveTo(e)
			} else if !errors.Is(err, spool.ErrNotFound) {
				return x.refuse(err, forNumber())
			}
			hi = found - 1 // gone meanwhile
			continue
		}
		hi = lo - 1
	}
	x.c.Status(nntp.CodeNoPrevious, "no previous article")
	return nil
}

// moveTo makes e the current article and answers its number and id.
func (x *session) moveTo(e spool.Entry) error {
	x.cur = numberIn(e, x.group)
	x.found(nntp.CodeStat, x.cur, e.ID)
	return nil
}

func numberIn(e spool.Entry, g article.Group) uint64 {
	for _, p := range e.Places {
		if p.Group == g {
			return p.Number
		}
	}
	return 0
}

func (x *session) found(code int, n uint64, id article.ID) {
	c := x.c
	c.Int(uint64(code))
	c.Str(" ")
	c.Int(n)
	c.Str(" ")
	c.Str(string(id))
	c.CRLF()
}

// resolve finds the article that ARTICLE and its sisters name: by id, by number
// or the current one. If there is none it has answered, and ok is false. n is 0
// for an id (RFC 3977 §6.2.1.2).
func (x *session) resolve() (e spool.Entry, n uint64, ok bool) {
	ctx := x.srv.ctx
	if len(x.args) == 1 && strings.HasPrefix(x.args[0], "<") {
		id, err := article.ParseID(x.args[0])
		if err != nil {
			x.bad(nntp.CodeSyntax, "not a message-id")
			return e, 0, false
		}
		e, err = x.srv.cfg.Spool.ByID(ctx, id)
		if err == nil {
			err = x.mayRead(e.Places)
		}
		if err != nil {
			if errors.Is(err, spool.ErrNotFound) {
				if no := x.mayAtAll(agent.Read); no != nil {
					err = no // RFC 4643: logging in comes first
				}
			}
			_ = x.refuse(err, forID())
			return e, 0, false
		}
		return e, 0, true
	}
	n = x.cur
	if len(x.args) == 1 {
		if n, ok = parseNumber(x.args[0]); !ok {
			x.bad(nntp.CodeSyntax, "neither a number nor a message-id")
			return e, 0, false
		}
	}
	if !x.selected() {
		return e, 0, false
	}
	if n == 0 && len(x.args) == 0 {
		x.c.Status(nntp.CodeNoCurrent, "no current article")
		return e, 0, false
	}
	e, err := x.byNumber(n)
	if err != nil {
		c := forNumber()
		if len(x.args) == 0 {
			c.rest = nntp.CodeNoCurrent // it was there when it became current
		}
		_ = x.refuse(err, c)
		return e, 0, false
	}
	return e, n, true
}

// byNumber finds an article of the group. It asks Range, which leaves out what
// only the article's record holds: ByNumber would read that, and send again.
func (x *session) byNumber(n uint64) (spool.Entry, error) {
	for e, err := range x.srv.cfg.Spool.Range(x.srv.ctx, x.group, n, n) {
		return e, err
	}
	return spool.Entry{}, spool.ErrNotFound
}

// arrive makes what was found the current article, if a number found it.
func (x *session) arrive(n uint64) {
	if n > 0 {
		x.cur = n
	}
}

// doStat: RFC 3977 §6.2.4.
func (x *session) doStat() error {
	e, n, ok := x.resolve()
	if !ok {
		return nil
	}
	x.arrive(n)
	x.found(nntp.CodeStat, n, e.ID)
	return nil
}

func (x *session) doArticle() error { return x.send(nntp.CodeArticle) } // RFC 3977 §6.2.1
func (x *session) doHead() error    { return x.send(nntp.CodeHead) }    // RFC 3977 §6.2.2
func (x *session) doBody() error    { return x.send(nntp.CodeBody) }    // RFC 3977 §6.2.3

// send answers with the stored octets as they are, and an Xref line between
// header and body.
func (x *session) send(code int) error {
	e, n, ok := x.resolve()
	if !ok {
		return nil
	}
	a, err := x.srv.cfg.Spool.Open(x.srv.ctx, e.Seq)
	if err != nil {
		c := forNumber()
		if n == 0 {
			c = forID()
		}
		return x.refuse(err, c)
	}
	x.srv.Counts.Served.Add(1)
	x.arrive(n)
	if code != nntp.CodeHead {
		x.note(e.Places)
	}
	x.found(code, n, e.ID)
	wire, head := a.Wire(), a.HeadLen()
	if code == nntp.CodeBody {
		x.c.Ref(wire[head+2:])
		return nil
	}
	x.c.Ref(wire[:head])
	x.c.Str("Xref: ")
	x.xref(e.Places)
	x.c.CRLF()
	if code == nntp.CodeArticle {
		x.c.Ref(wire[head:])
	} else {
		x.c.End()
	}
	return nil
}

// xref writes the content of the Xref field: RFC 5536 §3.2.14.
func (x *session) xref(in []spool.Place) {
	x.c.Str(x.srv.cfg.Host)
	for _, p := range in {
		x.c.Strs(" ", string(p.Group), ":")
		x.c.Int(p.Number)
	}
}

// xrefLen is the length of that content.
func (x *session) xrefLen(in []spool.Place) int {
	n := len(x.srv.cfg.Host)
	for _, p := range in {
		n += 2 + len(p.Group)
		for v := p.Number; ; v /= 10 {
			n++
			if v < 10 {
				break
			}
		}
	}
	return n
}
