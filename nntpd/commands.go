package nntpd

import (
	"strings"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/nntp"
	"github.com/litfass/litfass/spool"
)

// command is one verb.
type command struct {
	min, max int // words behind the verb
	syntax   string
	do       func(*session) error // an error ends the connection
	streams  bool                 // may be answered while articles are being stored
	article  bool                 // an article follows whatever we say
	long     bool                 // may be longer than 512 octets
}

// find looks a verb up; case does not matter (RFC 3977 §3.1).
func find(verb string) (command, bool) {
	var up [16]byte
	if len(verb) > len(up) {
		return command{}, false
	}
	for i := range len(verb) {
		c := verb[i]
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		up[i] = c
	}
	c := lookup(string(up[:len(verb)]))
	return c, c.do != nil
}

// lookup is a switch and not a map: nothing at package level has to be made.
func lookup(verb string) command {
	switch verb {
	case "ARTICLE":
		return command{max: 1, syntax: "ARTICLE [number|<message-id>]", do: (*session).doArticle}
	case "HEAD":
		return command{max: 1, syntax: "HEAD [number|<message-id>]", do: (*session).doHead}
	case "BODY":
		return command{max: 1, syntax: "BODY [number|<message-id>]", do: (*session).doBody}
	case "STAT":
		return command{max: 1, syntax: "STAT [number|<message-id>]", do: (*session).doStat}
	case "GROUP":
		return command{min: 1, max: 1, syntax: "GROUP group", do: (*session).doGroup}
	case "LISTGROUP":
		return command{max: 2, syntax: "LISTGROUP [group [range]]", do: (*session).doListGroup}
	case "NEXT":
		return command{syntax: "NEXT", do: (*session).doNext}
	case "LAST":
		return command{syntax: "LAST", do: (*session).doLast}
	case "OVER":
		return command{max: 1, syntax: "OVER [range|<message-id>]", do: (*session).doOver}
	case "XOVER":
		return command{max: 1, syntax: "XOVER [range]", do: (*session).doXover}
	case "HDR":
		return command{min: 1, max: 2, syntax: "HDR field [range|<message-id>]", do: (*session).doHdr}
	case "XHDR":
		return command{min: 1, max: 2, syntax: "XHDR field [range|<message-id>]", do: (*session).doXhdr}
	case "XGTITLE":
		return command{max: 1, syntax: "XGTITLE [wildmat]", do: (*session).doXgtitle}
	case "XPAT":
		return command{min: 3, max: 100, syntax: "XPAT field range|<message-id> pattern [pattern...]", do: (*session).doXpat}
	case "LIST":
		return command{max: 2, syntax: "LIST [keyword [wildmat|argument]]", do: (*session).doList}
	case "NEWGROUPS":
		return command{min: 2, max: 3, syntax: "NEWGROUPS [yy]yymmdd hhmmss [GMT]", do: (*session).doNewGroups}
	case "NEWNEWS":
		return command{min: 3, max: 4, syntax: "NEWNEWS wildmat [yy]yymmdd hhmmss [GMT]", do: (*session).doNewNews}
	case "CHECK":
		return command{min: 1, max: 1, syntax: "CHECK <message-id>", do: (*session).doCheck, streams: true}
	case "TAKETHIS":
		return command{min: 1, max: 1, syntax: "TAKETHIS <message-id>", do: (*session).doTakethis, streams: true, article: true}
	case "IHAVE":
		return command{min: 1, max: 1, syntax: "IHAVE <message-id>", do: (*session).doIhave}
	case "POST":
		return command{syntax: "POST", do: (*session).doPost}
	case "MODE":
		return command{min: 1, max: 1, syntax: "MODE READER|STREAM", do: (*session).doMode}
	case "AUTHINFO":
		return command{min: 2, max: 100, syntax: "AUTHINFO USER name, then AUTHINFO PASS password; or AUTHINFO SASL mechanism [response]", do: (*session).doAuthinfo, long: true}
	case "STARTTLS":
		return command{syntax: "STARTTLS", do: (*session).doStartTLS}
	case "COMPRESS":
		return command{min: 1, max: 1, syntax: "COMPRESS DEFLATE", do: (*session).doCompress}
	case "CAPABILITIES":
		return command{max: 1, syntax: "CAPABILITIES [keyword]", do: (*session).doCapabilities}
	case "DATE":
		return command{syntax: "DATE", do: (*session).doDate}
	case "HELP":
		return command{syntax: "HELP", do: (*session).doHelp}
	case "QUIT":
		return command{syntax: "QUIT", do: (*session).doQuit}
	case "XJOIN":
		return command{min: 3, max: 3, syntax: "XJOIN secret path-identity host:port|-", do: (*session).doXjoin}
	}
	return command{}
}

// verbs are the commands in the order of HELP.
func verbs() []string {
	return []string{
		"ARTICLE", "AUTHINFO", "BODY", "CAPABILITIES", "CHECK", "COMPRESS", "DATE", "GROUP", "HDR", "HEAD", "HELP", "IHAVE",
		"LAST", "LIST", "LISTGROUP", "MODE", "NEWGROUPS", "NEWNEWS", "NEXT", "OVER", "POST", "QUIT", "STARTTLS", "STAT",
		"TAKETHIS", "XGTITLE", "XHDR", "XJOIN", "XOVER", "XPAT",
	}
}

// rights looks up what the client may do, once for each command.
func (x *session) rights() (*agent.Access, error) {
	if x.access == nil {
		a, err := x.srv.cfg.Agent.Access(x.srv.ctx, x.o)
		if err != nil {
			return nil, err
		}
		x.access = a
	}
	return x.access, nil
}

// may asks whether the client may do act in g.
func (x *session) may(act agent.Act, g article.Group) error {
	a, err := x.rights()
	if err != nil {
		return err
	}
	return a.May(x.srv.ctx, act, g)
}

// mayAtAll asks whether the client may do act anywhere: what comes before a
// group is known.
func (x *session) mayAtAll(act agent.Act) error { return x.may(act, "") }

// mayRead is may(Read) in one of these places.
func (x *session) mayRead(in []spool.Place) error {
	var err error = gone()
	for _, p := range in {
		if err = x.may(agent.Read, p.Group); err == nil {
			return nil
		}
	}
	return err
}

// mayPostAnywhere says whether CAPABILITIES lists POST.
func (x *session) mayPostAnywhere() bool { return x.mayAtAll(agent.Post) == nil }

// mayFeed asks whether the client is a peer; what was allowed is not asked
// again for a second, or each CHECK would look up an account.
func (x *session) mayFeed() error {
	now := x.srv.cfg.Now()
	if d := now.Sub(x.feedAt); d >= 0 && d < feedFor {
		return nil
	}
	err := x.may(agent.Feed, "")
	if err == nil {
		x.feedAt = now
		if x.o.Conn == nil {
			x.o.Conn = new(agent.Conn)
		}
	}
	return err
}

// doQuit: RFC 3977 §5.4.
func (x *session) doQuit() error {
	x.c.Status(nntp.CodeQuit, "good-bye")
	x.quit = true
	return nil
}

// doDate: RFC 3977 §7.1.
func (x *session) doDate() error {
	x.c.Status(nntp.CodeDate, x.srv.cfg.Now().UTC().Format("20060102150405"))
	return nil
}

// doHelp: RFC 3977 §7.2.
func (x *session) doHelp() error {
	x.c.Status(nntp.CodeHelp, "what you can say here")
	for _, v := range verbs() {
		if v == "STARTTLS" && x.srv.cfg.TLS == nil || v == "XJOIN" && !x.mayJoin() {
			continue
		}
		x.c.Command("  " + lookup(v).syntax)
	}
	x.c.Str("LIST knows: " + strings.Join(x.listKeywords(), " ") + "\r\n")
	switch {
	case x.o.Account != "":
		x.c.Str("You are logged in as " + x.o.Account + ".\r\n")
	case x.mayLogin():
		x.c.Str("You are not logged in.\r\n")
	}
	x.c.End()
	return nil
}

// doMode: MODE READER changes nothing (RFC 3977 §5.3), MODE STREAM neither
// (RFC 4644 §2.3): every connection can do both.
func (x *session) doMode() error {
	switch strings.ToUpper(x.args[0]) {
	case "READER":
		x.c.Status(x.posting())
	case "STREAM":
		if err := x.mayFeed(); err != nil {
			return x.refuse(err, denied())
		}
		x.c.Status(nntp.CodeStreaming, "streaming permitted")
	default:
		x.bad(nntp.CodeSyntax, "syntax: MODE READER|STREAM")
	}
	return nil
}

// doCapabilities: RFC 3977 §5.2. The list is true for this connection as it is.
func (x *session) doCapabilities() error {
	if len(x.args) == 1 && !keyword(x.args[0]) {
		x.bad(nntp.CodeSyntax, "that is no keyword")
		return nil
	}
	x.c.Status(nntp.CodeCapabilities, "what can be done here now")
	x.c.Str("VERSION 2\r\nIMPLEMENTATION " + x.srv.cfg.Version + "\r\n")
	x.c.Str("READER\r\n")
	if x.mayPostAnywhere() {
		x.c.Str("POST\r\n")
	}
	if x.mayFeed() == nil {
		x.c.Str("IHAVE\r\nSTREAMING\r\n")
	}
	x.c.Str("LIST " + strings.Join(x.listKeywords(), " ") + "\r\n")
	x.c.Str("HDR\r\nNEWNEWS\r\nOVER MSGID\r\n")
	if x.listsTLS() {
		x.c.Str("STARTTLS\r\n")
	}
	if x.mayCompress() {
		x.c.Str("COMPRESS DEFLATE\r\n")
	}
	if x.mayLogin() {
		if x.clearPassword() {
			x.c.Str("AUTHINFO USER SASL\r\n")
		} else {
			x.c.Str("AUTHINFO SASL\r\n") // RFC 4643 §2.1: USER not on a clear connection
		}
		x.c.Str("SASL " + strings.Join(x.mechanisms(), " ") + "\r\n")
	}
	x.c.End()
	return nil
}

// keyword checks RFC 3977 §9.2's keyword: a letter, then letters, digits, dots, dashes.
func keyword(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (i == 0 || (s[i] < '0' || s[i] > '9') && s[i] != '.' && s[i] != '-') {
			return false
		}
	}
	return len(s) >= 3
}
