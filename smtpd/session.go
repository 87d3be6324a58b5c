package smtpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/spill"
	"github.com/litfass/litfass/spool"
)

// maxGroups is how many groups one mail may be posted to.
const maxGroups = 10

// session is one connection, and go-smtp's view of it.
type session struct {
	srv     *Server
	conn    *smtp.Conn
	addr    netip.Addr
	account string
	from    string
	rcpts   []recipient
	closed  bool
}

type recipient struct {
	addr string
	Target
}

func reply(code int, a, b, c int, format string, args ...any) *smtp.SMTPError {
	return &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{a, b, c}, Message: fmt.Sprintf(format, args...)}
}

func (s *session) Reset() { s.from, s.rcpts = "", nil }

func (s *session) Logout() error {
	if !s.closed {
		s.closed = true
		<-s.srv.slots
	}
	return nil
}

func (s *session) tls() bool { _, ok := s.conn.TLSConnectionState(); return ok }

// AuthMechanisms offers AUTH where a password may be sent: under TLS, or from a
// trusted address.
func (s *session) AuthMechanisms() []string {
	if s.srv.cfg.Accounts == nil || !s.tls() && !contains(s.srv.live.Load().trusted, s.addr) {
		return nil
	}
	return []string{sasl.Plain, sasl.Login}
}

func (s *session) Auth(mech string) (sasl.Server, error) {
	if s.AuthMechanisms() == nil {
		return nil, reply(538, 5, 7, 11, "a password is taken under TLS only: say STARTTLS first")
	}
	login := func(_, user, password string) error { return s.login(user, password) }
	switch mech {
	case sasl.Plain:
		return sasl.NewPlainServer(func(identity, user, password string) error {
			if identity != "" && identity != user {
				return reply(535, 5, 7, 8, "nobody may act for another here")
			}
			return login("", user, password)
		}), nil
	case sasl.Login:
		return newLoginServer(func(user, password string) error { return login("", user, password) }), nil
	}
	return nil, smtp.ErrAuthUnknownMechanism
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

func (s *session) Mail(from string, opts *smtp.MailOptions) error {
	if s.srv.cfg.Submission && s.account == "" {
		return reply(530, 5, 7, 0, "log in first (AUTH)")
	}
	if opts != nil && opts.Size > s.srv.cfg.MaxMessage {
		return reply(552, 5, 3, 4, "the limit is %d octets", s.srv.cfg.MaxMessage)
	}
	if from != "" {
		if _, _, ok := splitAddress(from); !ok {
			return reply(553, 5, 1, 7, "that is no address")
		}
	}
	s.from = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	local, domain, ok := splitAddress(to)
	if strings.EqualFold(to, "postmaster") { // RFC 5321 §4.5.1
		local, domain, ok = to, strings.ToLower(s.srv.cfg.Domain), true
	}
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
	s.rcpts = append(s.rcpts, recipient{to, t})
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
	here, err2 := netip.ParseAddrPort(s.conn.Conn().LocalAddr().String())
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
	return agent.Origin{Door: "smtp", Account: s.account, Addr: s.addr, TLS: s.tls(), Trusted: trusted}
}

// read takes a message in whole.
func (s *session) read(r io.Reader) (*message, error) {
	m, err := readMessage(r, s.srv.cfg.TempDir, s.srv.cfg.MaxMessage)
	if stray := strayCR(s.conn.Conn()); stray && err == nil {
		m.body.Close()
		return nil, errLineEnd
	}
	return m, err
}

// Data takes the message, for SMTP: one answer for all recipients.
func (s *session) Data(r io.Reader) error {
	ctx, cancel := s.context()
	defer cancel()
	m, err := s.read(r)
	if err != nil {
		return s.unread(err)
	}
	defer m.body.Close()
	return s.count(s.deliver(ctx, m, s.rcpts, true)[0])
}

// LMTPData answers for each recipient: RFC 2033 §4.2. Groups share one article.
func (s *session) LMTPData(r io.Reader, status smtp.StatusCollector) error {
	ctx, cancel := s.context()
	defer cancel()
	m, err := s.read(r)
	if err != nil {
		return s.unread(err)
	}
	defer m.body.Close()
	for i, err := range s.deliver(ctx, m, s.rcpts, false) {
		status.SetStatus(s.rcpts[i].addr, s.count(err))
	}
	return nil
}

func (s *session) count(err error) error {
	var e *smtp.SMTPError
	switch {
	case err == nil:
		s.srv.accepted.Add(1)
	case errors.As(err, &e) && e.Code >= 500:
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
	case errors.Is(err, errLineEnd):
		s.srv.refused.Add(1)
		return reply(550, 5, 6, 0, "lines must end with CRLF, and NUL is not allowed (RFC 5321, 2.3.8)")
	case errors.As(err, &syntax), errors.Is(err, article.ErrTooLarge):
		s.srv.refused.Add(1)
		return reply(550, 5, 6, 0, "%s", oneLine(err.Error()))
	case errors.Is(err, spill.ErrTooLarge), errors.Is(err, smtp.ErrDataTooLarge):
		s.srv.refused.Add(1)
		return reply(552, 5, 3, 4, "the limit is %d octets", s.srv.cfg.MaxMessage)
	}
	s.srv.deferred.Add(1)
	return err
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// later logs an inner failure and answers "try again".
func (s *session) later(doing string, err error) error {
	s.srv.cfg.Log.Error("smtp: "+doing, "from", s.addr, "err", err)
	return reply(451, 4, 3, 0, "this node has a trouble of its own, try again later")
}

// refusal translates the agent's reasons: RFC 3463.
func (s *session) refusal(r *agent.Refusal) *smtp.SMTPError {
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
