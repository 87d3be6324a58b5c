package nntpd

import (
	"bytes"
	"errors"
	"iter"
	"strconv"
	"strings"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/nntp"
	"github.com/litfass/litfass/internal/wildmat"
	"github.com/litfass/litfass/spool"
)

func itoa(n int) string { return strconv.Itoa(n) }

// listKeywords are what LIST knows here: what is not kept is not announced.
func (x *session) listKeywords() []string {
	k := []string{"ACTIVE", "ACTIVE.TIMES", "COUNTS", "HEADERS", "NEWSGROUPS", "OVERVIEW.FMT"}
	l := x.srv.lists.Load()
	for _, e := range []struct {
		kept bool
		name string
	}{
		{l.DistribPats != nil, "DISTRIB.PATS"}, {l.Distributions != nil, "DISTRIBUTIONS"}, {l.Moderators != nil, "MODERATORS"},
		{l.Motd != nil, "MOTD"}, {l.Subscriptions != nil, "SUBSCRIPTIONS"},
	} {
		if e.kept {
			k = append(k, e.name)
		}
	}
	return k
}

// doList: RFC 3977 §7.6, RFC 6048.
func (x *session) doList() error {
	what := strings.ToUpper(arg(x.args, 0))
	switch what {
	case "", "ACTIVE":
		return x.listActive()
	case "ACTIVE.TIMES":
		return x.listGroups("newsgroups: name, created, by", x.timesLine)
	case "COUNTS":
		return x.listGroups("newsgroups: name, high, low, count, status", x.countsLine)
	case "NEWSGROUPS":
		return x.listGroups("newsgroups: name, description", x.descriptionLine)
	case "SUBSCRIPTIONS":
		return x.listSubscriptions()
	}
	if len(x.args) > 1 && what != "HEADERS" {
		x.bad(nntp.CodeSyntax, "LIST "+oneLine(x.args[0])+" takes no argument")
		return nil
	}
	if err := x.mayAtAll(agent.Read); err != nil {
		return x.refuse(err, denied())
	}
	lists := x.srv.lists.Load()
	switch what {
	case "OVERVIEW.FMT":
		x.lines(nntp.CodeList, "order of fields in overviews", overviewFmt)
	case "HEADERS":
		return x.listHeaders()
	case "MOTD":
		x.listText(lists.Motd, "message of the day")
	case "DISTRIB.PATS": // RFC 3977 §7.6.5
		x.listLines(lists.DistribPats, "distribution patterns")
	case "DISTRIBUTIONS":
		x.listLines(lists.Distributions, "distributions")
	case "MODERATORS":
		x.listLines(lists.Moderators, "addresses of moderators")
	default:
		x.bad(nntp.CodeSyntax, "unknown keyword of LIST; CAPABILITIES lists what there is")
	}
	return nil
}

// overviewFmt: RFC 3977 §8.4.2. Thunderbird takes this order for granted, and slrn
// asks for each header by itself unless sizes go by the names of RFC 2980 §2.1.7,
// which §8.4.2 allows.
const overviewFmt = "Subject:\r\nFrom:\r\nDate:\r\nMessage-ID:\r\nReferences:\r\nBytes:\r\nLines:\r\nXref:full\r\n"

func (x *session) lines(code int, text, list string) {
	x.c.Status(code, text)
	x.c.Str(list)
	x.c.End()
}

// listHeaders: RFC 3977 §8.6. A lone colon says that all fields can be asked for.
func (x *session) listHeaders() error {
	if a := strings.ToUpper(arg(x.args, 1)); a != "" && a != "MSGID" && a != "RANGE" {
		x.bad(nntp.CodeSyntax, "syntax: LIST HEADERS [MSGID|RANGE]")
		return nil
	}
	items := ":\r\n:bytes\r\n:lines\r\n"
	if x.srv.cfg.Signer != nil {
		items += ":signer\r\n"
	}
	x.lines(nntp.CodeList, "what HDR knows", items)
	return nil
}

// listText sends text of LF or CRLF lines, or 503 if none is kept.
func (x *session) listText(text []byte, what string) {
	if text == nil {
		x.c.Status(nntp.CodeNotSupported, "no "+what+" is kept here")
		return
	}
	x.c.Status(nntp.CodeList, what)
	for l := range bytes.Lines(text) {
		x.textLine(string(bytes.TrimRight(l, "\r\n")))
	}
	x.c.End()
}

// listLines sends lines, or 503 if none are kept.
func (x *session) listLines(lines []string, what string) {
	if lines == nil {
		x.c.Status(nntp.CodeNotSupported, "no "+what+" are kept here")
		return
	}
	x.c.Status(nntp.CodeList, what)
	for _, l := range lines {
		x.textLine(l)
	}
	x.c.End()
}

// textLine writes a line that is not ours, dot-stuffed.
func (x *session) textLine(l string) {
	if strings.HasPrefix(l, ".") {
		x.c.Str(".")
	}
	x.c.Str(blanks2(l))
	x.c.Str("\r\n")
}

// blanks2 is blanks that leaves TAB alone.
func blanks2(s string) string {
	if !strings.ContainsAny(s, "\r\n\x00") {
		return s
	}
	return strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ").Replace(s)
}

// wild reads the wildmat in word i. If it is none, it has answered.
func (x *session) wild(i int) (wildmat.Wildmat, bool) {
	s := arg(x.args, i)
	if s == "" {
		s = "*"
	}
	w, err := wildmat.Parse(s)
	if err != nil {
		x.bad(nntp.CodeSyntax, "not a wildmat")
		return w, false
	}
	return w, true
}

// groups yields the groups that match and may be read.
func (x *session) groups(a *agent.Access, w wildmat.Wildmat) iter.Seq2[spool.GroupInfo, error] {
	sp, ctx := x.srv.cfg.Spool, x.srv.ctx
	return func(yield func(spool.GroupInfo, error) bool) {
		if name, ok := w.Exact(); ok {
			g, err := sp.Group(ctx, article.Group(name))
			if errors.Is(err, spool.ErrNotFound) || err == nil && !x.readable(a, g.Name) {
				return
			}
			yield(marks(g), err)
			return
		}
		for g, err := range sp.Groups(ctx) {
			if err != nil {
				yield(g, err)
				return
			}
			if (w.All() || w.Match(string(g.Name))) && x.readable(a, g.Name) && !yield(marks(g), nil) {
				return
			}
		}
	}
}

// listActive: RFC 3977 §7.6.3. Groups that take posts come first: a client that
// takes the first one finds one that it may try, not one of control messages.
func (x *session) listActive() error {
	pick := func(open bool) func(*spool.GroupInfo) {
		return func(g *spool.GroupInfo) {
			if (g.Status == spool.PostOpen) == open {
				x.activeLine(g)
			}
		}
	}
	return x.listGroups("newsgroups: name, high, low, status", pick(true), pick(false))
}

// listGroups answers with a line for each group, going through them once for
// each pass. A client that may read nothing and could log in is told so instead
// of an empty list.
func (x *session) listGroups(text string, passes ...func(*spool.GroupInfo)) error {
	w, ok := x.wild(1)
	if !ok {
		return nil
	}
	return x.listMatching(w, nntp.CodeList, text, passes...)
}

func (x *session) listMatching(w wildmat.Wildmat, code int, text string, passes ...func(*spool.GroupInfo)) error {
	a, err := x.rights()
	if err == nil {
		err = x.mayAtAll(agent.Read)
	}
	if err != nil && x.mustLogin(err) {
		return x.refuse(err, denied())
	}
	if a == nil {
		return x.refuse(err, denied())
	}
	x.c.Status(code, text)
	var info spool.GroupInfo // not one for each group
	for _, line := range passes {
		for g, err := range x.groups(a, w) {
			if err != nil {
				return x.broken(err)
			}
			info = g
			line(&info)
		}
	}
	x.c.End()
	return nil
}

// mustLogin says whether err is about logging in.
func (x *session) mustLogin(err error) bool {
	var r *agent.Refusal
	return errors.As(err, &r) && r.Reason == agent.Login
}

// activeLine: RFC 3977 §7.6.3.
func (x *session) activeLine(g *spool.GroupInfo) {
	c := x.c
	c.Str(string(g.Name))
	c.Str(" ")
	c.Int(g.High)
	c.Str(" ")
	c.Int(g.Low)
	c.Str(status(g))
}

func status(g *spool.GroupInfo) string {
	switch g.Status {
	case spool.PostOpen:
		return " y\r\n"
	case spool.Moderated:
		return " m\r\n"
	}
	return " n\r\n"
}

// timesLine: RFC 3977 §7.6.4.
func (x *session) timesLine(g *spool.GroupInfo) {
	if g.Created.IsZero() {
		return // not known
	}
	by := g.Creator
	if by == "" {
		by = x.srv.cfg.Host
	}
	x.c.Str(string(g.Name) + " " + strconv.FormatInt(max(0, g.Created.Unix()), 10) + " " + blanks(by) + "\r\n")
}

// countsLine: RFC 6048 §2.2.
func (x *session) countsLine(g *spool.GroupInfo) {
	c := x.c
	c.Str(string(g.Name))
	for _, n := range [...]uint64{g.High, g.Low, g.Count} {
		c.Str(" ")
		c.Int(n)
	}
	c.Str(status(g))
}

// descriptionLine: RFC 3977 §7.6.6. Descriptions are sent as the octets they
// came as.
func (x *session) descriptionLine(g *spool.GroupInfo) {
	c := x.c
	c.Str(string(g.Name))
	c.Str("\t")
	c.Str(blanks2(g.Description))
	c.Str("\r\n")
}

// doXgtitle: RFC 2980 §2.4: LIST NEWSGROUPS with a code of its own, about the
// current group if nothing else is said.
func (x *session) doXgtitle() error {
	if len(x.args) == 0 {
		if !x.selected() {
			return nil
		}
		x.args = append(x.args, string(x.group))
	}
	w, ok := x.wild(0)
	if !ok {
		return nil
	}
	return x.listMatching(w, nntp.CodeTitles, "newsgroups: name, description", x.descriptionLine)
}

// listSubscriptions: RFC 6048 §2.6. Groups that are not here or may not be read
// are left out.
func (x *session) listSubscriptions() error {
	names := x.srv.lists.Load().Subscriptions
	if names == nil {
		x.c.Status(nntp.CodeNotSupported, "no list of recommended newsgroups is kept here")
		return nil
	}
	w, ok := x.wild(1)
	if !ok {
		return nil
	}
	a, err := x.rights()
	if err != nil {
		return x.refuse(err, denied())
	}
	x.c.Status(nntp.CodeList, "recommended newsgroups")
	for _, name := range names {
		if !w.Match(name) || !x.readable(a, article.Group(name)) {
			continue
		}
		if _, err := x.srv.cfg.Spool.Group(x.srv.ctx, article.Group(name)); err == nil {
			x.c.Str(name + "\r\n")
		}
	}
	x.c.End()
	return nil
}
