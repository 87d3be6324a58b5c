package smtpd

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/internal/spill"
)

// maxSigned bounds a signed article that comes by mail, in octets, decoded: larger
// ones would not be taken as articles.
const maxSigned = 4 << 20

// carried are the fields that a signed article keeps when it comes by mail: the
// signed ones (pki.md §2.2), the signatures, and a few that do no harm. What mail
// servers and lists have put in is left behind.
var carried = map[string]bool{"archive": true, "content-disposition": true, "content-language": true, "content-transfer-encoding": true,
	"content-type": true, "control": true, "date": true, "distribution": true, "expires": true, "followup-to": true, "from": true,
	"keywords": true, "message-id": true, "mime-version": true, "newsgroups": true, "references": true, "reply-to": true, "subject": true,
	"summary": true, "supersedes": true, "article-signature": true, "in-reply-to": true, "organization": true, "user-agent": true}

// signedArticle returns the signed article that a mail is, or that it wraps, or
// nil: pki.md §2.6 (5). Its octets stay as they are. A wrapped one must have the
// mail's own Message-ID, so that a person may pass a signed article on as an
// attachment and say something about it. The caller closes its body; of a mail
// that is an article itself it is the mail's.
func (c *converter) signedArticle(m *message) (*message, error) {
	if m.get("Article-Signature") != "" {
		return m, nil
	}
	id := m.get("Message-ID")
	if kind, _ := content.MediaType(m.get("Content-Type"), ""); kind != "multipart/mixed" || id == "" || m.body.Size() > 2*maxSigned {
		return nil, nil
	}
	f := &unwrapper{out: spill.New(c.dir, 256<<10, maxSigned)}
	if _, err := m.body.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	err := walkMail(m.body, m.header, false, f)
	if err == nil && f.found {
		var in *message
		if in, err = unwrapped(f.out, c.dir); err == nil && in != nil {
			if in.get("Article-Signature") != "" && in.get("Message-ID") == id {
				f.out.Close()
				return in, nil
			}
			in.body.Close()
		}
	}
	f.out.Close()
	if errors.Is(err, errTooDeep) {
		return nil, err
	}
	return nil, nil // an ordinary mail, whatever is attached to it
}

// unwrapped reads an attached mail; nil if it is none.
func unwrapped(b *spill.Buffer, dir string) (*message, error) {
	if _, err := b.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return readMessage(b, dir, maxSigned)
}

// unwrapper is a walk that decodes the first message/rfc822 of a mail.
type unwrapper struct {
	out     *spill.Buffer
	found   bool
	open    bool
	decoder *decodePipe
}

func (u *unwrapper) raw([]byte) error { return nil }

func (u *unwrapper) begin(p *part) error {
	if u.found || p.index < 0 || p.kind != "message/rfc822" {
		return nil
	}
	u.found, u.open = true, true
	if p.coding == "base64" || p.coding == "quoted-printable" {
		u.decoder = newDecodePipe(p.coding, u.out)
	}
	return nil
}

func (u *unwrapper) data(_ *part, piece []byte, _ bool) error {
	if !u.open {
		return nil
	}
	if u.decoder != nil {
		_, err := u.decoder.Write(piece)
		return err
	}
	_, err := u.out.Write(piece)
	return err
}

func (u *unwrapper) end(*part) error {
	if !u.open {
		return nil
	}
	u.open = false
	if u.decoder != nil {
		return u.decoder.Close()
	}
	return nil
}

// signedDraft is a signed article as a draft: what is signed as it came, and
// nothing that only mail knows. Approved goes along with a moderator's signature.
func signedDraft(m *message) *article.Draft {
	d := &article.Draft{Body: m.body}
	approved := false
	for _, f := range m.header {
		if strings.EqualFold(f[0], "Article-Signature") {
			approved = approved || strings.Contains(strings.Join(strings.Fields(f[1]), ""), ";u=approve;")
		}
	}
	for _, f := range m.header {
		name := strings.ToLower(f[0])
		if carried[name] || name == "approved" && approved {
			d.Header = append(d.Header, f)
		}
	}
	return d
}

// postSigned posts a signed article that came by mail. Its signer, if he is known
// here and may post, is asked for no confirmation whoever has sent the mail on;
// everybody else is treated as with any mail. A copy of what is here is dropped.
func (s *session) postSigned(ctx context.Context, outer, m *message, groups []article.Group) error {
	d := signedDraft(m)
	if err := addressed(d, groups); err != nil {
		return err
	}
	if s.account != "" || s.trusted() {
		return s.inject(ctx, outer, groups, s.origin(s.trusted()))
	}
	result, err := s.srv.cfg.Agent.Appraise(ctx, d)
	var r *agent.Refusal
	switch {
	case errors.As(err, &r):
		return s.refusal(r)
	case err != nil:
		return s.later("look at a signature", err)
	case result == agent.Verified && (s.srv.live.Load().anonymous == "confirm" || s.srv.live.Load().anonymous == "post"):
		return s.inject(ctx, outer, groups, s.origin(true))
	}
	return s.postAs(ctx, outer, groups, senderOf(m))
}

// addressed refuses a signed article that was mailed to groups it was not signed for.
func addressed(d *article.Draft, groups []article.Group) error {
	names, _ := article.LenientGroups(d.Get("Newsgroups"), 0)
	for _, n := range names {
		for _, g := range groups {
			if n == g {
				return nil
			}
		}
	}
	return reply(550, 5, 7, 1, "the article is signed for %s, not for %s: mail it to one of its own groups", oneLine(or(d.Get("Newsgroups"), "no group")), joinGroups(groups))
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// injectSigned hands a signed article to the agent. That it is here already is
// no fault of the sender's: lists send the same article more than once.
func (s *Server) injectSigned(ctx context.Context, m *message, o agent.Origin) error {
	_, err := s.cfg.Agent.Inject(ctx, signedDraft(m), o)
	var r *agent.Refusal
	if errors.As(err, &r) && r.Reason == agent.Duplicate {
		return nil
	}
	return err
}
