package courier

import (
	"errors"
	"fmt"
	"html"
	"net/http"
)

// Register adds /mail/leave: where the unsubscribe link of each mail leads. GET
// shows a button, since link checkers follow links; POST leaves (RFC 8058).
func (c *Courier) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /mail/leave", func(w http.ResponseWriter, r *http.Request) {
		s, err := c.byToken(r.FormValue("t"))
		if err != nil {
			c.leaveFailed(w, err)
			return
		}
		page(w, fmt.Sprintf(`<p>%s gets the articles of <b>%s</b> by mail.</p><form method="post"><button>Stop these mails</button></form>`,
			html.EscapeString(s.Address), html.EscapeString(string(s.Group))))
	})
	mux.HandleFunc("POST /mail/leave", func(w http.ResponseWriter, r *http.Request) {
		s, err := c.Leave(r.Context(), r.URL.Query().Get("t"))
		if err != nil {
			c.leaveFailed(w, err)
			return
		}
		page(w, fmt.Sprintf("<p>No more mails of <b>%s</b> to %s.</p>", html.EscapeString(string(s.Group)), html.EscapeString(s.Address)))
	})
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
