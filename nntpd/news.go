package nntpd

import (
	"errors"
	"strings"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/nntp"
	"github.com/litfass/litfass/internal/wildmat"
	"github.com/litfass/litfass/spool"
)

// since reads date and time in words i and i+1, and a GMT behind them: RFC 3977
// §7.3.2. Without it, time is that of the server's clock. If it is none, it has
// answered.
func (x *session) since(i int) (time.Time, bool) {
	t, ok := parseTime(x.args[i], x.args[i+1], arg(x.args, i+2), x.srv.cfg.Now())
	if !ok {
		x.bad(nntp.CodeSyntax, "not a date and time: [yy]yymmdd hhmmss [GMT]")
	}
	return t, ok
}

func parseTime(day, clock, zone string, now time.Time) (time.Time, bool) {
	loc := now.Location()
	switch {
	case strings.EqualFold(zone, "GMT"), strings.EqualFold(zone, "UTC"):
		loc = time.UTC
	case zone != "":
		return time.Time{}, false
	}
	now = now.In(loc)
	if len(day) == 6 {
		// Two digits: this century, but the last one if that lay ahead.
		century := now.Year() / 100
		if n, ok := parseNumber(day[:2]); !ok {
			return time.Time{}, false
		} else if int(n) > now.Year()%100 {
			century--
		}
		day = itoa(century) + day
	}
	if len(day) != 8 || len(clock) != 6 {
		return time.Time{}, false
	}
	if strings.HasSuffix(clock, "60") { // a leap second
		clock = clock[:4] + "59"
	}
	t, err := time.ParseInLocation("20060102150405", day+clock, loc)
	return t, err == nil
}

// doNewGroups: RFC 3977 §7.3.
func (x *session) doNewGroups() error {
	t, ok := x.since(0)
	if !ok {
		return nil
	}
	x.args = x.args[:0] // no wildmat
	a, err := x.rights()
	if err == nil {
		err = x.mayAtAll(agent.Read)
	}
	if err != nil && (a == nil || x.mustLogin(err)) {
		return x.refuse(err, denied())
	}
	w, _ := x.wild(0)
	x.c.Status(nntp.CodeNewGroups, "new newsgroups")
	for g, err := range x.groups(a, w) {
		if err != nil {
			return x.broken(err)
		}
		if !g.Created.Before(t) {
			x.activeLine(&g)
		}
	}
	x.c.End()
	return nil
}

// doNewNews: RFC 3977 §7.4. It begins in the arrival log where that time is, and
// ends with what was there when it was asked for.
func (x *session) doNewNews() error {
	w, ok := x.wild(0)
	if !ok {
		return nil
	}
	t, ok := x.since(1)
	if !ok {
		return nil
	}
	a, err := x.rights()
	if err == nil {
		err = x.mayAtAll(agent.Read)
	}
	if err != nil && (a == nil || x.mustLogin(err)) {
		return x.refuse(err, denied())
	}
	x.c.Status(nntp.CodeNewNews, "new articles by message-id")
	if err := x.newIn(a, w, t); err != nil {
		return x.broken(err)
	}
	x.c.End()
	return nil
}

// newIn lists what arrived since t in the groups of w: from the groups' own
// overviews if few groups are asked for, else from the arrival log, which holds
// the articles of all groups.
func (x *session) newIn(a *agent.Access, w wildmat.Wildmat, t time.Time) error {
	sp, ctx := x.srv.cfg.Spool, x.srv.ctx
	last := sp.Last()
	from, err := sp.SeqAt(ctx, t)
	if err != nil || from >= last {
		return err
	}
	var in []spool.GroupInfo
	held := uint64(0)
	for g, err := range x.groups(a, w) {
		if err != nil {
			return err
		}
		if g.Count > 0 {
			in = append(in, g)
			held += g.Count
		}
		if len(in) > fewGroups || held > uint64(last-from)/2 && len(in) > 1 {
			return x.newFromLog(a, w, t, from, last)
		}
	}
	for i, g := range in {
		if err := x.newInGroup(g, in[:i], t); err != nil {
			return err
		}
	}
	return nil
}

// fewGroups is how many groups are looked through one by one.
const fewGroups = 50

// newInGroup lists g, but for what stands in one of the groups listed before.
func (x *session) newInGroup(g spool.GroupInfo, before []spool.GroupInfo, t time.Time) error {
	lo, err := x.firstSince(g, t)
	if err != nil {
		return err
	}
next:
	for l, err := range x.srv.cfg.Spool.List(x.srv.ctx, g.Name, lo, g.High) {
		if err != nil {
			return err
		}
		if l.Arrived.Before(t) {
			continue
		}
		if l.Crossposted && len(before) > 0 {
			e, err := x.srv.cfg.Spool.ByNumber(x.srv.ctx, spool.Place{Group: g.Name, Number: l.Number})
			if errors.Is(err, spool.ErrNotFound) {
				continue // gone meanwhile
			} else if err != nil {
				return err
			}
			for _, b := range before {
				if numberIn(e, b.Name) > 0 {
					continue next
				}
			}
		}
		x.c.Strs(string(l.ID), "\r\n")
	}
	return nil
}

// firstSince finds by halving a number of g below which nothing arrived since t.
// Numbers follow arrival but for a few places in one second: slack.
func (x *session) firstSince(g spool.GroupInfo, t time.Time) (uint64, error) {
	const slack = 128
	lo, hi := g.Low, g.High+1 // what we look for is in lo..hi
	for lo < hi {
		mid := lo + (hi-lo)/2
		at, err := x.arrivalFrom(g.Name, mid, hi)
		if err != nil {
			return 0, err
		}
		if at.IsZero() || !at.Before(t) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return max(g.Low, lo-min(lo, slack)), nil
}

// arrivalFrom returns when the first article from number lo on arrived, or zero.
func (x *session) arrivalFrom(g article.Group, lo, hi uint64) (time.Time, error) {
	for step := uint64(1); lo <= hi; lo, step = lo+step, step*8 {
		for l, err := range x.srv.cfg.Spool.List(x.srv.ctx, g, lo, min(hi, lo+step-1)) {
			return l.Arrived, err
		}
	}
	return time.Time{}, nil
}

// newFromLog goes through the log from behind from up to last.
func (x *session) newFromLog(a *agent.Access, w wildmat.Wildmat, t time.Time, from, last spool.Seq) error {
	for e, err := range x.srv.cfg.Spool.Since(x.srv.ctx, from) {
		if err != nil {
			return err
		}
		if e.Seq > last {
			break
		}
		if e.Arrived.Before(t) {
			continue
		}
		for _, p := range e.Places {
			if w.Match(string(p.Group)) && x.readable(a, p.Group) {
				x.c.Strs(string(e.ID), "\r\n")
				break
			}
		}
	}
	return nil
}
