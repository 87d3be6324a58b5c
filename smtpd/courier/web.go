package courier

import (
	"errors"
	"net/http"
	"slices"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article/content"
)

// Member says whose account asks for a page, and its mail address; "" if nobody is
// logged in.
type Member func(r *http.Request) (account, address string)

// Register adds the pages that mails lead to: /mail/leave ends a subscription,
// /mail/decide lets a submission in or drops it; and, if member is not nil, /mail, where
// an account says what it wants to hear of. GET shows buttons, since link checkers
// follow links; POST acts (RFC 8058).
func (c *Courier) Register(mux *http.ServeMux, member Member) {
	if member != nil {
		mux.HandleFunc("GET /mail", func(w http.ResponseWriter, r *http.Request) { c.mailPage(w, r, member, false) })
		mux.HandleFunc("POST /mail", func(w http.ResponseWriter, r *http.Request) { c.setMail(w, r, member) })
	}
	mux.HandleFunc("GET /mail/leave", func(w http.ResponseWriter, r *http.Request) {
		s, err := c.byToken(r.URL.Query().Get("t"))
		c.leavePage(w, r, "leave", s, err)
	})
	mux.HandleFunc("POST /mail/leave", func(w http.ResponseWriter, r *http.Request) {
		s, err := c.Leave(r.Context(), r.URL.Query().Get("t"))
		c.leavePage(w, r, "left", s, err)
	})
	mux.HandleFunc("GET /mail/decide", c.decidePage)
	mux.HandleFunc("POST /mail/decide", c.decidePost)
}

func (c *Courier) leavePage(w http.ResponseWriter, r *http.Request, name string, s Subscription, err error) {
	switch {
	case errors.Is(err, ErrUnknown):
		c.page(w, r, http.StatusNotFound, "gone", nil)
	case err != nil:
		c.trouble(w, "unsubscribe", err)
	default:
		c.page(w, r, http.StatusOK, name, s)
	}
}

func (c *Courier) trouble(w http.ResponseWriter, doing string, err error) {
	c.cfg.Log.Error("courier: "+doing, "err", err)
	http.Error(w, "This node has a trouble of its own, try again later.", http.StatusServiceUnavailable)
}

// decidePage shows a submission to whoever has its link, as its mail did.
func (c *Courier) decidePage(w http.ResponseWriter, r *http.Request) {
	h, err := c.submission(r.Context(), r.URL.Query().Get("t"))
	if err != nil {
		c.undecidable(w, r, err)
		return
	}
	_, a, err := c.cfg.Waiting.Held(r.Context(), h.Key)
	if err != nil {
		c.undecidable(w, r, err)
		return
	}
	c.page(w, r, http.StatusOK, "decide", struct{ Group, From, Subject, Text string }{
		joined(h.Needs), content.Header(h.From), content.Header(h.Subject), textOf(a, 0, maxExcerpt, "[...]\n")})
}

// decidePost carries out what a moderator pressed.
func (c *Courier) decidePost(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	verb := r.PostFormValue("do")
	if verb != "approve" && verb != "reject" {
		http.Error(w, "Press one of the two buttons.", http.StatusBadRequest)
		return
	}
	if err := c.decide(r.Context(), verb, r.URL.Query().Get("t")); err != nil {
		c.undecidable(w, r, err)
		return
	}
	c.page(w, r, http.StatusOK, "decided", struct{ Verb string }{verb})
}

func (c *Courier) undecidable(w http.ResponseWriter, r *http.Request, err error) {
	var ref *agent.Refusal
	switch {
	case errors.Is(err, ErrUnknown):
		c.page(w, r, http.StatusNotFound, "undecidable", struct{ Why string }{})
	case errors.As(err, &ref) && ref.Reason != agent.Busy:
		c.page(w, r, http.StatusForbidden, "undecidable", struct{ Why string }{ref.Text})
	default:
		c.trouble(w, "decide about a submission", err)
	}
}

// mailPage shows what an account gets by mail.
func (c *Courier) mailPage(w http.ResponseWriter, r *http.Request, member Member, saved bool) {
	account, address := member(r)
	if account == "" {
		http.Redirect(w, r, "/login?next=/mail", http.StatusSeeOther)
		return
	}
	n, err := c.NoticesOf(account)
	if err != nil {
		c.trouble(w, "look up what an account hears of", err)
		return
	}
	type kind struct {
		Name string
		On   bool
	}
	data := struct {
		Account, Address, Asked, State string
		Saved, Sends                   bool
		Kinds                          []kind
	}{account, address, n.Address, n.State, saved, c.cfg.Smarthost != "", nil}
	for _, k := range NoticeKinds() {
		data.Kinds = append(data.Kinds, kind{k, slices.Contains(n.Kinds, k)})
	}
	c.page(w, r, http.StatusOK, "mail", data)
}

// setMail takes the form of mailPage. A form on another site's page sets nothing.
func (c *Courier) setMail(w http.ResponseWriter, r *http.Request, member Member) {
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		http.Error(w, "This form was sent from another site.", http.StatusForbidden)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	account, address := member(r)
	if account == "" || address == "" || c.cfg.Smarthost == "" || r.ParseForm() != nil {
		c.mailPage(w, r, member, false)
		return
	}
	if err := c.SetNotices(r.Context(), account, address, r.PostForm["kind"], false); err != nil {
		if !errors.Is(err, ErrKind) {
			c.trouble(w, "set what an account hears of", err)
			return
		}
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mailPage(w, r, member, true)
}
