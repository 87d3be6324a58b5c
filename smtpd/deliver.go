package smtpd

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/smtpd/letters"
	"github.com/litfass/litfass/spool"
)

// deliver does what each recipient stands for, and says for each what became of it;
// nil means that it is on the disk. Groups share one article. With all, one answer
// stands for all of them (SMTP): what fails ends it, and what was done before that is
// harmless to repeat. Without, each has its own (LMTP): RFC 2033 §4.2.
func (s *session) deliver(ctx context.Context, m *message, rcpts []Target, all bool) []error {
	errs := make([]error, len(rcpts))
	fail := func(err error) []error {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	signed, err := s.srv.conv.signedArticle(m)
	if err != nil {
		return fail(reply(550, 5, 6, 0, "%s", err))
	}
	var auto error
	if signed == nil { // a program's article is signed, too
		auto = m.automatic()
	} else if signed != m {
		defer signed.body.Close()
	}
	if s.from == "" && auto == nil {
		auto = fmt.Errorf("%w: it has no sender", errAutomatic)
	}
	looped := signed == nil && s.srv.ourOwn(m)
	var groups []article.Group
	var posted []int // which recipients they are
	for i, r := range rcpts {
		if r.Kind != ToGroup {
			errs[i] = s.carryOut(ctx, m, r, auto)
		} else if looped {
			errs[i] = s.comesBack(ctx, m)
		} else if errs[i] = s.mayPost(ctx, r.Group, auto, all || signed != nil); errs[i] == nil {
			groups, posted = append(groups, r.Group), append(posted, i)
		}
		if all && errs[i] != nil {
			return fail(errs[i])
		}
	}
	if len(groups) == 0 {
		return errs
	}
	if signed != nil {
		err = s.postSigned(ctx, m, signed, groups)
	} else {
		err = s.post(ctx, m, groups)
	}
	if all && err != nil {
		return fail(err)
	}
	for _, i := range posted {
		errs[i] = err
	}
	return errs
}

// ourOwn says whether a list of this node sent the mail out: RFC 2919 §2.
func (s *Server) ourOwn(m *message) bool {
	id := strings.ToLower(m.get("List-Id"))
	id = strings.TrimSuffix(strings.TrimSpace(id[strings.LastIndexByte(id, '<')+1:]), ">")
	return strings.HasSuffix(id, "."+strings.ToLower(s.cfg.Domain))
}

// comesBack answers to a mail of our own lists: what is here is taken and dropped; what
// came back under another id would be posted and mailed again, and again.
func (s *session) comesBack(ctx context.Context, m *message) error {
	id, err := article.ParseID(m.get("Message-ID"))
	if err == nil {
		if _, err = s.srv.cfg.Spool.ByID(ctx, id); err == nil {
			return nil
		}
		if !errors.Is(err, spool.ErrNotFound) {
			return s.later("look up a mail that came back", err)
		}
	}
	return reply(550, 5, 4, 6, "not posted: a list of this node sent this mail; to pass it on to another group, attach it or crosspost")
}

// mayPost says whether a mail may go to a group, as far as that does not depend on who
// vouches for its sender or signed it. Where one answer stands for all, or a signer is
// asked about, posting says the same.
func (s *session) mayPost(ctx context.Context, g article.Group, auto error, posting bool) error {
	if auto != nil {
		return reply(550, 5, 7, 1, "not posted: %s", oneLine(auto.Error()))
	}
	if posting {
		return nil
	}
	err := s.srv.cfg.Agent.May(ctx, s.origin(s.canConfirm()), agent.Post, g)
	var r *agent.Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &r):
		return s.refusal(r)
	}
	return s.later("look up who may post", err)
}

// carryOut does what a recipient that is no group asks for. Automatic mail orders
// nothing.
func (s *session) carryOut(ctx context.Context, m *message, r Target, auto error) error {
	switch {
	case r.Kind == ToPostmaster:
		return s.srv.postmaster(m)
	case r.Kind == ToToken && r.Verb == "bounce":
		if !m.undelivered() {
			return nil
		}
		return s.token(ctx, r)
	case r.Kind == ToToken && auto != nil && r.Verb != "leave": // nobody has read what it answers
		return reply(550, 5, 7, 1, "not carried out: %s", oneLine(auto.Error()))
	case r.Kind == ToToken:
		return s.token(ctx, r)
	case auto != nil:
		return nil
	}
	return s.order(ctx, m, r)
}

// post injects m, or keeps it until its sender has confirmed it.
func (s *session) post(ctx context.Context, m *message, groups []article.Group) error {
	if s.account != "" || s.trusted() {
		return s.inject(ctx, m, groups, s.origin(s.trusted()))
	}
	return s.postAs(ctx, m, groups, senderOf(m))
}

// postAs injects a mail of somebody without account whose address is from, or keeps
// it until he has confirmed it.
func (s *session) postAs(ctx context.Context, m *message, groups []article.Group, from string) error {
	if s.srv.live.Load().anonymous != "confirm" && s.srv.live.Load().anonymous != "post" {
		return reply(550, 5, 7, 1, "this node takes mail from its members only: log in (AUTH), or write on the web page")
	}
	if from == "" {
		return reply(550, 5, 6, 0, "there is no address in From")
	}
	if s.srv.held == nil {
		return reply(550, 5, 7, 1, "posts of unknown senders must be confirmed by mail, and this node sends none: log in (AUTH)")
	}
	known, err := s.knows(ctx, from)
	if err != nil {
		return s.later("look up a sender", err)
	}
	proof := s.vouch(ctx, m, from, known)
	switch {
	case proof.forged: // he would be asked about what somebody else sent
		return errForged(from)
	case known && proof.temporary:
		return reply(451, 4, 4, 3, "the sender's domain cannot be asked just now (DNS), try again later")
	case known && proof.aligned:
		return s.inject(ctx, m, groups, s.origin(true))
	}
	return s.hold(ctx, m, groups, from)
}

func errForged(from string) error {
	return reply(550, 5, 7, 1, "the domain of %s wants mail refused that neither its DKIM nor its SPF vouches for (DMARC)", from)
}

// vouch is authenticate. Who is not known is asked in any case: he waits 5 s at most for
// a DNS that does not answer, and the next of his domain not at all.
func (s *session) vouch(ctx context.Context, m *message, from string, known bool) proof {
	_, domain, _ := splitAddress(from)
	if !known {
		if s.srv.silent.is(domain, s.srv.cfg.Now()) {
			return proof{temporary: true}
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
	}
	p := s.srv.authenticate(ctx, m, s.addr, s.peer.Hello(), s.from, from)
	if !known && p.temporary {
		s.srv.silent.note(domain, s.srv.cfg.Now())
	}
	return p
}

// knows says whether an address belongs to an account or has confirmed before.
func (s *session) knows(ctx context.Context, from string) (bool, error) {
	if s.srv.cfg.Accounts != nil {
		if _, err := s.srv.cfg.Accounts.ByEmail(ctx, from); err == nil {
			return true, nil
		}
	}
	return s.srv.held.confirmed(from)
}

// senderOf is the address in From, in lower case, or "".
func senderOf(m *message) string {
	list, err := mail.ParseAddressList(m.get("From"))
	if err != nil || len(list) == 0 {
		return ""
	}
	local, domain, ok := splitAddress(list[0].Address)
	if !ok {
		return ""
	}
	return strings.ToLower(local) + "@" + domain
}

func (s *session) hold(ctx context.Context, m *message, groups []article.Group, from string) error {
	token, err := s.srv.held.keep(m, groups, from, s.from)
	switch {
	case errors.Is(err, errHoldFull):
		return reply(452, 4, 3, 1, "%s", err)
	case errors.Is(err, article.ErrTooLarge):
		return reply(552, 5, 3, 4, "a mail that has to be confirmed may have 1 MiB: log in (AUTH) to send more")
	case err != nil:
		return s.later("keep a mail until it is confirmed", err)
	}
	s.srv.heldCount.Add(1)
	if token == "" { // the same mail again
		return nil
	}
	if err := s.srv.askToConfirm(ctx, token, from, groups, m); err != nil {
		return s.later("ask a sender to confirm", err)
	}
	return nil
}

func (s *Server) askToConfirm(ctx context.Context, token, from string, groups []article.Group, m *message) error {
	f := letters.Facts{Group: joinGroups(groups), Subject: oneLine(content.Header(m.get("Subject"))), Days: int(heldFor / (24 * time.Hour))}
	if f.Subject == "" {
		f.Subject = "(no subject)"
	}
	return s.cfg.Mailer.Write(ctx, from, m.language(), "confirm-post", f, "confirm+"+token)
}

func joinGroups(groups []article.Group) string {
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = string(g)
	}
	return strings.Join(names, ", ")
}

// inject makes the article. A duplicate that is filed where it should be is the
// sender's second try after a lost answer: taken.
func (s *session) inject(ctx context.Context, m *message, groups []article.Group, o agent.Origin) error {
	err := s.srv.injectAs(ctx, m, groups, o, s.peer.Hello())
	var r *agent.Refusal
	var e *article.SyntaxError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &r):
		if r.Reason == agent.Busy {
			s.srv.cfg.Log.Warn("smtp: post deferred", "from", s.addr, "code", r.Code, "err", r.Err)
		} else {
			s.srv.cfg.Log.Info("smtp: post refused", "from", s.addr, "code", r.Code)
		}
		return s.refusal(r)
	case errors.Is(err, errTooDeep):
		return reply(550, 5, 6, 0, "%s", err)
	case errors.As(err, &e):
		return reply(550, 5, 6, 0, "%s", oneLine(e.Error()))
	}
	return s.later("post a mail", err)
}

func (s *Server) injectAs(ctx context.Context, m *message, groups []article.Group, o agent.Origin, helo string) error {
	signed, err := s.conv.signedArticle(m)
	if err != nil {
		return err
	}
	if signed != nil {
		if signed != m {
			defer signed.body.Close()
		}
		return s.injectSigned(ctx, signed, o)
	}
	received := fmt.Sprintf("from %s (%s)\r\n by %s; %s", cleanHelo(helo), o.Addr, s.cfg.Host, article.FormatDate(s.cfg.Now()))
	for try := 0; ; try++ {
		d, done, err := s.conv.draft(m, groups, received)
		if err != nil {
			done()
			return err
		}
		id := article.ID(d.Get("Message-ID"))
		if try > 0 {
			d.Set("Original-Message-ID", string(id))
			d.Del("Message-ID")
		}
		_, err = s.cfg.Agent.Inject(ctx, d, o)
		done()
		var r *agent.Refusal
		if !errors.As(err, &r) || r.Reason != agent.Duplicate || try > 0 {
			return err
		}
		if s.filed(ctx, id, groups) {
			return nil
		}
	}
}

// filed says whether id stands in all of groups, or was here and is gone.
func (s *Server) filed(ctx context.Context, id article.ID, groups []article.Group) bool {
	e, err := s.cfg.Spool.ByID(ctx, id)
	if err != nil {
		return errors.Is(err, spool.ErrNotFound)
	}
	for _, g := range groups {
		here := false
		for _, p := range e.Places {
			here = here || p.Group == g
		}
		if !here {
			return false
		}
	}
	return true
}

func cleanHelo(h string) string {
	out := strings.Map(func(r rune) rune {
		if r > 32 && r < 127 && !strings.ContainsRune("()<>\\\";", r) {
			return r
		}
		return -1
	}, h)
	if out == "" {
		return "unknown"
	}
	return out[:min(len(out), 100)]
}

// order carries out what a mail to a group's other addresses asks for, for who stands
// in From, as mail programs show it; the envelope may be rewritten on the way.
func (s *session) order(ctx context.Context, m *message, r Target) error {
	who := senderOf(m)
	if who == "" {
		who = s.from
	}
	proof := s.proven(ctx, m, who)
	if proof.forged {
		return errForged(who)
	}
	var err error
	switch cfg := &s.srv.cfg; {
	case r.Kind == ToSubscribe && cfg.Orders != nil:
		err = cfg.Orders.Subscribe(ctx, r.Group, who, r.Mode, m.language())
	case r.Kind == ToUnsubscribe && cfg.Orders != nil:
		err = cfg.Orders.Unsubscribe(ctx, r.Group, who, m.language(), proof.aligned)
	case r.Kind == ToHelp && cfg.Mailer != nil:
		var g spool.GroupInfo
		if g, err = cfg.Spool.Group(ctx, r.Group); err == nil {
			f := letters.Facts{Group: string(r.Group), About: oneLine(content.ToUTF8("utf-8", []byte(g.Description))), Posting: g.Status != spool.PostNone}
			err = cfg.Mailer.Write(ctx, who, m.language(), "help", f, "postmaster")
		}
	}
	if err != nil {
		return s.later("carry out an order by mail", err)
	}
	return nil
}

// proven says whether a mail is from the address that it names: a host that is trusted,
// the owner of an account, or DKIM or SPF say so.
func (s *session) proven(ctx context.Context, m *message, who string) proof {
	switch {
	case s.trusted():
		return proof{aligned: true}
	case s.account != "":
		a, err := s.srv.cfg.Accounts.ByEmail(ctx, who)
		return proof{aligned: err == nil && a.Name == s.account}
	}
	return s.vouch(ctx, m, who, false)
}

// token answers to a one-time address.
func (s *session) token(ctx context.Context, r Target) error {
	if r.Verb == "confirm" && s.srv.held != nil {
		h, found, err := s.srv.held.take(r.Token)
		if err != nil {
			return s.later("look up what is confirmed", err)
		}
		if found {
			return s.release(ctx, h)
		}
	}
	if s.srv.cfg.Orders == nil {
		return errUsed()
	}
	err := s.srv.cfg.Orders.Token(ctx, r.Verb, r.Token)
	var ref *agent.Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ref):
		return s.refusal(ref)
	}
	return s.later("carry out an order by mail", err)
}

// release posts what was confirmed, then forgets it.
func (s *session) release(ctx context.Context, h heldMail) error {
	m, err := readMessage(strings.NewReader(string(h.Raw)), s.srv.cfg.TempDir, maxHeld)
	if err != nil {
		return s.later("read a mail that was kept", err)
	}
	defer m.body.Close()
	if err := s.inject(ctx, m, h.Groups, agent.Origin{Door: "smtp", Addr: s.addr, Trusted: true}); err != nil {
		return err
	}
	if err := s.srv.held.done(h); err != nil {
		return s.later("note a confirmed address", err)
	}
	return nil
}

// postmaster appends a mail to postmaster.mbox beside the node's data: RFC 5321
// §4.5.1 wants it taken always. The file is read by the operator; over 16 MiB it
// takes no more.
func (s *Server) postmaster(m *message) error {
	if s.cfg.PostmasterFile == "" {
		return nil
	}
	f, err := os.OpenFile(filepath.Clean(s.cfg.PostmasterFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("keep a mail to postmaster: %w", err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.Size()+m.body.Size() > 16<<20 {
		return reply(452, 4, 2, 2, "the postmaster's mailbox is full")
	}
	if _, err := fmt.Fprintf(f, "From postmaster %s\n", s.cfg.Now().UTC().Format(time.ANSIC)); err != nil {
		return err
	}
	if err := copyMbox(f, m.octets()); err != nil {
		return err
	}
	return f.Sync()
}
