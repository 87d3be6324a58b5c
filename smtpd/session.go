package smtpd

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-sasl"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/spill"
	"github.com/litfass/litfass/smtpd/dialog"
	"github.com/litfass/litfass/spool"
)

// maxGroups is how many groups one mail may be posted to.
const maxGroups = 10

// session is what one connection may do: a dialog.Session.
type session struct {
	srv     *Server
	peer    dialog.Peer
	addr    netip.Addr
	account string
	from    string
	rcpts   []Target
}

func reply(code, class, subject, detail int, format string, args ...any) error {
	return dialog.Refuse(code, class, subject, detail, format, args...)
}

// Reset ends a transaction.
func (s *session) Reset() { s.from, s.rcpts = "", nil }

// Mechanisms offers AUTH where a password may be sent: under TLS, or from a trusted
// address.
func (s *session) Mechanisms() []string {
	if s.srv.cfg.Accounts == nil || !s.peer.Secure() && !contains(s.srv.live.Load().trusted, s.addr) {
		return nil
	}
	return []string{sasl.Plain, sasl.Login}
}

// Auth begins to log somebody in.
func (s *session) Auth(mechanism string) (sasl.Server, error) {
	switch {
	case s.Mechanisms() == nil:
		return nil, reply(538, 5, 7, 11, "a password is taken under TLS only: say STARTTLS first")
	case mechanism == sasl.Login:
		return newLoginServer(s.login), nil
	}
	return sasl.NewPlainServer(func(identity, user, password string) error {
		if identity != "" && identity != user {
			return reply(535, 5, 7, 8, "nobody may act for another here")
		}
		return s.login(user, password)
	}), nil
}

func (s *session) login(user, password string) error {
	ctx, cancel := s.context()
	defer cancel()
	m, err := s.srv.cfg.Accounts.Login(ctx, user, password, s.addr)
	if err != nil {
		s.srv.cfg.Log.Info("smtp: login refused", "user", user, "from", s.addr, "err", err)
		return reply(535, 5, 7, 8, "name or password is wrong")
	}
	s.account = m.Name
	return nil
}

func (s *session) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 2*time.Minute)
}

// Mail takes the sender, who says for himself only who he is.
func (s *session) Mail(from string) error {
	if s.srv.cfg.Submission && s.account == "" {
		return reply(530, 5, 7, 0, "log in first (AUTH)")
	}
	if from != "" {
		if _, _, ok := splitAddress(from); !ok {
			return reply(553, 5, 1, 7, "that is no address")
		}
	}
	s.from = from
	return nil
}

// Rcpt takes a recipient, if it is one of ours and something can come of it.
func (s *session) Rcpt(to string) error {
	local, domain, ok := splitAddress(to)
	if !ok {
		return reply(553, 5, 1, 3, "that is no address")
	}
	if !s.ours(domain) {
		return reply(550, 5, 7, 1, "this server takes mail for %s only and relays for nobody", s.srv.cfg.Domain)
	}
	ctx, cancel := s.context()
	defer cancel()
	var failed error
	shut := map[article.Group]bool{}
	t, ok := parseTarget(local, func(g article.Group) bool {
		info, err := s.srv.cfg.Spool.Group(ctx, g)
		shut[g] = info.Status == spool.PostNone
		if err != nil && !errors.Is(err, spool.ErrNotFound) {
			failed = err
		}
		return err == nil
	})
	switch {
	case failed != nil:
		return s.later("look up a group", failed)
	case !ok:
		return reply(550, 5, 1, 1, "there is no such group here; the groups are listed on the web page of this node")
	case t.Kind == ToGroup && shut[t.Group]:
		return reply(550, 5, 7, 1, "%s takes no posts here", t.Group)
	}
	if err := s.mayAddress(ctx, t); err != nil {
		return err
	}
	s.rcpts = append(s.rcpts, t)
	return nil
}

// mayAddress refuses at RCPT what would be refused later anyhow.
func (s *session) mayAddress(ctx context.Context, t Target) error {
	switch t.Kind {
	case ToGroup:
		n := 0
		for _, r := range s.rcpts {
			if r.Kind == ToGroup {
				n++
			}
		}
		if n >= maxGroups {
			return reply(452, 4, 5, 3, "one mail goes to %d groups at most", maxGroups)
		}
		err := s.srv.cfg.Agent.May(ctx, s.origin(s.canConfirm()), agent.Post, t.Group)
		var r *agent.Refusal
		if errors.As(err, &r) && !s.fronted() {
			return s.refusal(r)
		}
	case ToSubscribe, ToUnsubscribe:
		if s.srv.cfg.Orders == nil {
			return reply(550, 5, 3, 2, "this node sends no mail")
		}
		if t.Kind == ToSubscribe {
			return s.maySubscribe(ctx, t.Group)
		}
	case ToToken:
		switch known, err := s.srv.knownToken(ctx, t); {
		case err != nil:
			return s.later("look up a one-time address", err)
		case !known:
			return errUsed()
		}
	}
	return nil
}

func errUsed() error {
	return reply(550, 5, 1, 1, "this address was used already, or it is too old")
}

// knownToken says whether a one-time address is still good.
func (s *Server) knownToken(ctx context.Context, t Target) (bool, error) {
	if t.Verb == "confirm" && s.held != nil {
		if _, found, err := s.held.take(t.Token); found || err != nil {
			return found, err
		}
	}
	if s.cfg.Orders == nil {
		return false, nil
	}
	return s.cfg.Orders.Known(ctx, t.Verb, t.Token)
}

// ours says whether mail for a domain is for here; for the address that a client came
// to, too: RFC 5321 §4.1.3, RFC 1123 §5.2.17.
func (s *session) ours(domain string) bool {
	if strings.EqualFold(domain, s.srv.cfg.Domain) || strings.EqualFold(domain, s.srv.cfg.Host) {
		return true
	}
	literal, ok := strings.CutSuffix(domain, "]")
	if !ok || !strings.HasPrefix(literal, "[") {
		return false
	}
	at, err := netip.ParseAddr(strings.TrimPrefix(literal[1:], "ipv6:"))
	here, err2 := netip.ParseAddrPort(s.peer.LocalAddr().String())
	return err == nil && err2 == nil && at.Unmap() == here.Addr().Unmap().WithZone("")
}

// maySubscribe: who may not read a group does not get it by mail either.
func (s *session) maySubscribe(ctx context.Context, g article.Group) error {
	err := s.srv.cfg.Agent.May(ctx, s.origin(s.trusted()), agent.Read, g)
	var r *agent.Refusal
	switch {
	case errors.As(err, &r):
		return s.refusal(r)
	case err != nil:
		return s.later("look up rights", err)
	}
	return nil
}

func (s *session) fronted() bool { return contains(s.srv.live.Load().front, s.addr) }

// canConfirm says whether a sender without account may be asked to confirm.
func (s *session) canConfirm() bool {
	return s.trusted() || s.srv.held != nil && (s.srv.live.Load().anonymous == "confirm" || s.srv.live.Load().anonymous == "post")
}

// trusted: the host itself is, so that the anonymous setting applies at once.
func (s *session) trusted() bool { return !s.fronted() && contains(s.srv.live.Load().trusted, s.addr) }

func (s *session) origin(trusted bool) agent.Origin {
	return agent.Origin{Door: "smtp", Account: s.account, Addr: s.addr, TLS: s.peer.Secure(), Trusted: trusted}
}

// Message takes a message and delivers it. In SMTP one answer stands for all recipients;
// in LMTP each has its own, and groups share one article: RFC 2033 §4.2.
func (s *session) Message(r io.Reader) []error {
	ctx, cancel := s.context()
	defer cancel()
	m, err := readMessage(r, s.srv.cfg.TempDir, s.srv.cfg.MaxMessage)
	if err != nil {
		return slices.Repeat([]error{s.count(s.unread(err))}, len(s.rcpts))
	}
	defer m.body.Close()
	errs := s.deliver(ctx, m, s.rcpts, !s.srv.cfg.LMTP)
	counted := errs
	if !s.srv.cfg.LMTP {
		counted = errs[:1]
	}
	for _, err := range counted {
		_ = s.count(err)
	}
	return errs
}

// count counts what became of a mail.
func (s *session) count(err error) error {
	var r *dialog.Reply
	switch {
	case err == nil:
		s.srv.accepted.Add(1)
	case errors.As(err, &r) && r.Code >= 500:
		s.srv.refused.Add(1)
	default:
		s.srv.deferred.Add(1)
	}
	return err
}

// unread says what was wrong with a message that could not be read.
func (s *session) unread(err error) error {
	var syntax *article.SyntaxError
	switch {
	case errors.As(err, &syntax), errors.Is(err, article.ErrTooLarge):
		return reply(550, 5, 6, 0, "%s", oneLine(err.Error()))
	case errors.Is(err, spill.ErrTooLarge):
		return reply(552, 5, 3, 4, "the limit is %d octets", s.srv.cfg.MaxMessage)
	}
	return err
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// later logs an inner failure and answers "try again".
func (s *session) later(doing string, err error) error {
	s.srv.cfg.Log.Error("smtp: "+doing, "from", s.addr, "err", err)
	return reply(451, 4, 3, 0, "this node has a trouble of its own, try again later")
}

// refusal translates the agent's reasons: RFC 3463.
func (s *session) refusal(r *agent.Refusal) error {
	switch r.Reason {
	case agent.Busy:
		return reply(451, 4, 3, 1, "%s", r.Text)
	case agent.Login:
		return reply(550, 5, 7, 1, "%s (this server offers AUTH under TLS)", r.Text)
	case agent.TooLarge:
		return reply(552, 5, 3, 4, "%s", r.Text)
	case agent.Malformed:
		return reply(550, 5, 6, 0, "%s", r.Text)
	case agent.Absent:
		return reply(550, 5, 1, 1, "%s", r.Text)
	}
	return reply(550, 5, 7, 1, "%s", r.Text)
}
