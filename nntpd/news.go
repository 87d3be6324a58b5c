package nntpd

import (
	"strings"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/internal/nntp"
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
	sp := x.srv.cfg.Spool
	last := sp.Last()
	from, err := sp.SeqAt(x.srv.ctx, t)
	if err != nil {
		return x.refuse(err, denied())
	}
	x.c.Status(nntp.CodeNewNews, "new articles by message-id")
	for e, err := range sp.Since(x.srv.ctx, from) {
		if err != nil {
			return x.broken(err)
		}
		if e.Seq > last {
			break
		}
		if e.Arrived.Before(t) {
			continue
		}
		for _, p := range e.Places {
			if w.Match(string(p.Group)) && x.readable(a, p.Group) {
				x.c.Str(string(e.ID) + "\r\n")
				break
			}
		}
	}
	x.c.End()
	return nil
}
