package courier

import (
	"errors"
	"fmt"
	"html"
	"net/http"
	"slices"
	"strings"
)

// Member says whose account asks for a page, and its mail address; "" if nobody is
// logged in.
type Member func(r *http.Request) (account, address string)

// Register adds /mail/leave, where the unsubscribe link of each mail leads, and, if
// member is not nil, /mail, where an account says what it wants to hear of. GET of the
// first shows a button, since link checkers follow links; POST leaves (RFC 8058).
func (c *Courier) Register(mux *http.ServeMux, member Member) {
	if member != nil {
		mux.HandleFunc("GET /mail", func(w http.ResponseWriter, r *http.Request) { c.mailPage(w, r, member, "") })
		mux.HandleFunc("POST /mail", func(w http.ResponseWriter, r *http.Request) { c.setMail(w, r, member) })
	}
	mux.HandleFunc("GET /mail/leave", func(w http.ResponseWriter, r *http.Request) {
		s, err := c.byToken(r.FormValue("t"))
		if err != nil {
			c.leaveFailed(w, err)
			return
		}
		page(w, fmt.Sprintf(`<p>%s gets <b>%s</b> by mail.</p><form method="post"><button>Stop these mails</button></form>`,
			html.EscapeString(s.Address), html.EscapeString(s.label())))
	})
	mux.HandleFunc("POST /mail/leave", func(w http.ResponseWriter, r *http.Request) {
		s, err := c.Leave(r.Context(), r.URL.Query().Get("t"))
		if err != nil {
			c.leaveFailed(w, err)
			return
		}
		page(w, fmt.Sprintf("<p>No more mails of <b>%s</b> to %s.</p>", html.EscapeString(s.label()), html.EscapeString(s.Address)))
	})
}

// mailPage shows what an account gets by mail.
func (c *Courier) mailPage(w http.ResponseWriter, r *http.Request, member Member, said string) {
	account, address := member(r)
	if account == "" {
		http.Redirect(w, r, "/login?next=/mail", http.StatusSeeOther)
		return
	}
	n, err := c.NoticesOf(account)
	if err != nil {
		c.leaveFailed(w, err)
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "<h1>Mail for %s</h1>", html.EscapeString(account))
	if said != "" {
		fmt.Fprintf(&b, `<p role="status">%s</p>`, html.EscapeString(said))
	}
	switch {
	case c.cfg.Smarthost == "":
		b.WriteString("<p>This node sends no mail.</p>")
	case address == "":
		b.WriteString("<p>There is no mail address with your account. Whoever runs this node can add one.</p>")
	default:
		if n.State == "paused" || n.State == "unconfirmed" {
			fmt.Fprintf(&b, "<p>%s</p>", map[string]string{"paused": "Mails to you came back, so they are paused. Save to be asked again.",
				"unconfirmed": "A mail asks " + html.EscapeString(n.Address) + " to confirm this: please answer it."}[n.State])
		}
		fmt.Fprintf(&b, `<form method="post" action="/mail"><p>To %s:</p>`, html.EscapeString(address))
		for _, k := range NoticeKinds() {
			checked := ""
			if slices.Contains(n.Kinds, k) {
				checked = " checked"
			}
			fmt.Fprintf(&b, `<p><label><input type="checkbox" name="kind" value="%s"%s> %s</label></p>`, k, checked, kindText(k))
		}
		b.WriteString("<p><button>Save</button></p></form>")
	}
	b.WriteString(`<p><a href="/">Back</a></p>`)
	page(w, b.String())
}

func kindText(kind string) string {
	switch kind {
	case NoticeReplies:
		return "answers to what I wrote"
	case NoticeWatched:
		return "articles in threads that I watch"
	}
	return "what readers report in groups that I moderate"
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
		c.mailPage(w, r, member, "")
		return
	}
	if err := c.SetNotices(r.Context(), account, address, r.PostForm["kind"], false); err != nil {
		if !errors.Is(err, ErrKind) {
			c.leaveFailed(w, err)
			return
		}
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mailPage(w, r, member, "Saved.")
}

func (c *Courier) leaveFailed(w http.ResponseWriter, err error) {
	if errors.Is(err, ErrUnknown) {
		http.Error(w, "This subscription has ended already.", http.StatusNotFound)
		return
	}
	c.cfg.Log.Error("courier: unsubscribe", "err", err)
	http.Error(w, "This node has a trouble of its own, try again later.", http.StatusServiceUnavailable)
}

func page(w http.ResponseWriter, body string) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; form-action 'self'")
	h.Set("Referrer-Policy", "no-referrer")
	fmt.Fprintf(w, "<!DOCTYPE html><html lang=\"en\"><meta name=\"viewport\" content=\"width=device-width\"><title>Mail</title><main>%s</main>", body)
}
