package courier

import (
	"errors"
	"html/template"
	"net/http"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article/content"
)

// Frame makes the courier's pages some of the forum's.
type Frame interface {
	Language(r *http.Request) string // that the visitor reads the forum in
	Frame(w http.ResponseWriter, r *http.Request, status int, title string, body template.HTML)
}

// Register adds the pages that mails lead to: /mail/leave ends a subscription,
// /mail/decide lets a submission in or drops it. GET shows buttons, since link checkers
// follow links; POST acts (RFC 8058). frame may be nil: the pages stand alone then.
func (c *Courier) Register(mux *http.ServeMux, frame Frame) {
	c.frame = frame
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
		c.trouble(w, r, "unsubscribe", err)
	default:
		c.page(w, r, http.StatusOK, name, s)
	}
}

func (c *Courier) trouble(w http.ResponseWriter, r *http.Request, doing string, err error) {
	c.cfg.Log.Error("courier: "+doing, "err", err)
	w.Header().Set("Retry-After", "30")
	c.page(w, r, http.StatusServiceUnavailable, "trouble", nil)
}

// decidePage shows a submission to whoever has its link, as its mail did.
func (c *Courier) decidePage(w http.ResponseWriter, r *http.Request) { c.showSubmission(w, r, false) }

// showSubmission shows a submission; press says that a button must be pressed.
func (c *Courier) showSubmission(w http.ResponseWriter, r *http.Request, press bool) {
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
	status := http.StatusOK
	if press {
		status = http.StatusBadRequest
	}
	c.page(w, r, status, "decide", struct {
		Group, From, Subject, Text string
		Press                      bool
	}{joined(h.Needs), content.Header(h.From), content.Header(h.Subject), textOf(a, 0, maxExcerpt, "[...]\n"), press})
}

// decidePost carries out what a moderator pressed.
func (c *Courier) decidePost(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	verb := r.PostFormValue("do")
	if verb != "approve" && verb != "reject" {
		c.showSubmission(w, r, true)
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
		c.trouble(w, r, "decide about a submission", err)
	}
}
