package webforum

import (
	"errors"
	"fmt"
	"html/template"
	"slices"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/spool"
)

// post is one article on a page.
type post struct {
	ID, Anchor, Href, Raw        string
	Author, Address, Letter      string
	Color                        int
	Date, ISO, Full              string
	Subject                      string // only if it differs from the thread's
	Body                         template.HTML
	Files                        []file
	Trust                        trustMark
	Number                       int // place in the thread
	Depth                        int
	New, Gone, Ghost             bool
	ParentHref, ParentName       string
	ReplyHref, EditHref, DelHref string
	Size                         string
	Kids, Muted                  bool
	MutedName                    string // as it was when the visitor muted the signer
	Identity                     string // of a person's good signature
	History                      string // address of earlier versions, or ""
	seq                          spool.Seq
}

type trustMark struct{ Class, Icon, Word, Why, Href string }

// post opens one article for a page. One that is gone leaves a line that says so.
func (v *visitor) post(id article.ID, seq spool.Seq) (post, error) {
	p := post{ID: id.Bare(), Anchor: anchor(id), Href: messagePath(id), seq: seq}
	if seq == 0 {
		p.Ghost = true
		return p, nil
	}
	e, err := v.Spool.ByID(v.ctx, id)
	if errors.Is(err, spool.ErrNotFound) || err == nil && !v.readable(e) {
		p.Gone = true
		return p, nil
	} else if err != nil {
		return p, err
	}
	if kept, ok := v.Forum.bodies.get(bodyKey{e.Seq, v.tx.lang}); ok {
		v.fillWith(&p, e, kept)
		return p, nil
	}
	a, err := v.Spool.Open(v.ctx, e.Seq)
	if errors.Is(err, spool.ErrNotFound) {
		p.Gone = true
		return p, nil
	} else if err != nil {
		return p, err
	}
	v.fill(&p, e, a)
	return p, nil
}

func (v *visitor) fill(p *post, e spool.Entry, a *article.Article) {
	kept, ok := v.Forum.bodies.get(bodyKey{e.Seq, v.tx.lang})
	if !ok {
		c := content.Of(a)
		kept = &bodyKept{key: bodyKey{e.Seq, v.tx.lang}, body: v.body(c, e.ID), files: v.files(c, e.ID), lock: a.Get("Cancel-Lock"), asks: a.Get("Followup-To")}
		v.Forum.bodies.put(kept)
	}
	v.fillWith(p, e, kept)
}

// fillWith fills in what a page says of an article, and its body.
func (v *visitor) fillWith(p *post, e spool.Entry, kept *bodyKept) {
	p.Author, p.Address = content.Author(e.From)
	p.Letter, p.Color = letterOf(p.Author), colorOf(p.Author+p.Address)
	at := sent(e)
	p.Date, p.ISO, p.Full = v.date(at), at.Format(time.RFC3339), v.moment(at)
	p.Subject = subject(e.Subject)
	p.Body, p.Files = kept.body, kept.files
	v.fleeting = v.fleeting || slices.ContainsFunc(p.Files, func(f file) bool { return f.Detached && !f.Here })
	p.Trust = v.trust(e)
	p.Raw, p.ReplyHref = p.Href+"/raw", p.Href+"/reply"
	p.Size = v.tx.size(int64(e.Bytes))
	p.MutedName, p.Muted = v.muted(e)
	if e.Proof.State == article.ProofHolds && e.Proof.Purpose != "gate" {
		p.Identity = e.Proof.Identity
	}
	if e.Has&article.HasSupersedes != 0 {
		p.History = p.Href + "/history"
	}
	if v.owns(e, kept.lock) {
		p.EditHref, p.DelHref = p.Href+"/edit", p.Href+"/delete"
	}
}

// sent is the time an article is shown with.
func sent(e spool.Entry) time.Time {
	if d, err := article.ParseDate(e.Date); err == nil {
		return d
	}
	return e.Arrived
}

// anchor is the id of a post within its page.
func anchor(id article.ID) string {
	h := id.Hash()
	return fmt.Sprintf("p%x", h[:6])
}

// trust says in words what a signature is worth; the sign before it is for the eye.
func (v *visitor) trust(e spool.Entry) trustMark {
	if v.Trust == nil {
		return trustMark{}
	}
	t := v.Trust(v.ctx, e)
	name := t.Name
	if name == "" && len(t.Identity) >= 8 {
		name = t.Identity[:8] + "…"
	}
	m := trustMark{Class: t.Result}
	if t.Identity != "" {
		m.Href = "/u/" + t.Identity + "/"
	}
	switch t.Result {
	case "verified":
		m.Icon, m.Word = "✓", v.tx.T("trust.verified", name)
	case "gate":
		m.Icon, m.Word = "⇢", v.tx.T("trust.gate", name)
	case "unknown-key":
		m.Icon, m.Word = "?", v.tx.T("trust.unknown", name)
	case "disputed":
		m.Icon, m.Word = "≠", v.tx.T("trust.disputed", name)
	case "no-right":
		m.Icon, m.Word = "∅", v.tx.T("trust.noright", name)
	case "invalid":
		m.Icon, m.Word = "✗", v.tx.T("trust.invalid")
	default:
		m.Class, m.Icon, m.Word = "none", "–", v.tx.T("trust.none")
	}
	m.Why = v.tx.T("trust.why." + m.Class)
	return m
}
