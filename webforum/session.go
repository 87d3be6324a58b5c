package webforum

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/litfass/litfass/internal/state"
)

// session is a login. Its key in the database is the hash of the cookie, so that
// who reads the database cannot take it over.
type session struct {
	Account string
	Until   time.Time
}

const sessionAge = 60 * 24 * time.Hour

func (f *Forum) sessions() state.Table[session] {
	return state.Table[session]{DB: f.State, Bucket: "webforum.sessions"}
}

func sessionKey(cookie string) string {
	sum := sha256.Sum256([]byte("litfass session " + cookie))
	return hex.EncodeToString(sum[:])
}

// resume finds the account of a session; one that ended, or whose account is gone
// or barred, makes a guest.
func (v *visitor) resume() error {
	c, err := v.r.Cookie(sessionCookie)
	if err != nil || v.State == nil || v.Accounts == nil || len(c.Value) != 43 {
		return nil
	}
	s, err := v.sessions().Get(sessionKey(c.Value))
	if errors.Is(err, state.ErrNotFound) || err == nil && v.now.After(s.Until) {
		return nil
	} else if err != nil {
		return err
	}
	a, err := v.Accounts.Get(v.ctx, s.Account)
	if err != nil || a.Created.After(s.Until.Add(-sessionAge)) { // removed, and made anew for somebody else
		return nil
	}
	v.account, v.session = &a, c.Value
	return nil
}

// Member returns the account that a request's session belongs to, or "": other
// rooms ask it what their visitors may do.
func (f *Forum) Member(r *http.Request) string {
	v := &visitor{Forum: f, r: r, ctx: r.Context(), now: f.Now()}
	if err := v.resume(); err != nil || v.account == nil {
		return ""
	}
	return v.account.Name
}

func (v *visitor) begin(account string) error {
	if v.State == nil {
		return errPage(http.StatusNotFound, "login.none")
	}
	var raw [32]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return err
	}
	cookie := base64.RawURLEncoding.EncodeToString(raw[:])
	if err := v.sessions().Put(sessionKey(cookie), session{account, v.now.Add(sessionAge)}); err != nil {
		return err
	}
	v.setCookie(sessionCookie, cookie, sessionAge)
	return nil
}

type loginData struct {
	Name, Next, Error string
}

func (v *visitor) form() url.Values {
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, 64<<10)
	if err := v.r.ParseForm(); err != nil {
		return url.Values{}
	}
	return v.r.PostForm
}

// local is where to go after a form: an address of this node, or the front page.
func local(next string) string {
	if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n") {
		return "/"
	}
	return next
}

func (f *Forum) loginForm(v *visitor) (*page, error) {
	if v.Accounts == nil || v.State == nil {
		return nil, errPage(http.StatusNotFound, "login.none")
	}
	d := loginData{Next: local(v.r.URL.Query().Get("next"))}
	p := &page{visitor: v, Name: "login", Title: v.tx.T("login.title"), NoIndex: true}
	if v.r.Method == http.MethodPost {
		q := v.form()
		d.Name, d.Next = q.Get("name"), local(q.Get("next"))
		a, err := v.Accounts.Login(v.ctx, d.Name, q.Get("password"), v.addr)
		if err == nil {
			if err := v.begin(a.Name); err != nil {
				return nil, err
			}
			v.redirect(d.Next)
			return nil, nil
		}
		d.Error, p.Status = v.tx.T("login.wrong"), http.StatusUnauthorized
		f.Log.Info("forum: login refused", "account", d.Name, "from", v.addr, "error", err)
	}
	p.Data = d
	return p, nil
}

func (f *Forum) logout(v *visitor) (*page, error) {
	if v.session != "" {
		if err := v.sessions().Delete(sessionKey(v.session)); err != nil {
			return nil, err
		}
	}
	v.setCookie(sessionCookie, "", 0)
	v.redirect("/")
	return nil, nil
}

func (f *Forum) settings(v *visitor) (*page, error) {
	if v.r.Method == http.MethodPost {
		q := v.form()
		v.prefs.Lang, v.prefs.Theme, v.prefs.View, v.prefs.Order = q.Get("lang"), q.Get("theme"), q.Get("view"), q.Get("order")
		v.prefs.sane()
		v.savePrefs()
		v.redirect(local(q.Get("next")))
		return nil, nil
	}
	return &page{visitor: v, Name: "settings", Title: v.tx.T("settings.title"), NoIndex: true, Data: local(v.r.URL.Query().Get("next"))}, nil
}

type startData struct {
	Name, Email, Error, Words string
	Code                      bool
}

// startPage makes the first account: from this machine, or with the code that the
// first start printed.
func (f *Forum) startPage(v *visitor) (*page, error) {
	if v.Accounts == nil {
		return nil, errPage(http.StatusNotFound, "error.page")
	}
	if empty, err := v.Accounts.Empty(v.ctx); err != nil {
		return nil, err
	} else if !empty {
		return nil, errPage(http.StatusNotFound, "start.done")
	}
	d := startData{Code: !v.sitsHere()}
	p := &page{visitor: v, Name: "start", Title: v.tx.T("start.title"), NoIndex: true}
	if v.r.Method == http.MethodPost {
		q := v.form()
		d.Name, d.Email = q.Get("name"), q.Get("email")
		switch {
		case d.Code && !f.setupCode(q.Get("code")):
			d.Error, p.Status = v.tx.T("start.code.wrong"), http.StatusForbidden
		case len(q.Get("password")) < 8:
			d.Error, p.Status = v.tx.T("start.password.short"), http.StatusUnprocessableEntity
		default:
			words, err := v.Accounts.First(v.ctx, d.Name, d.Email, q.Get("password"))
			if err != nil {
				d.Error, p.Status = err.Error(), http.StatusUnprocessableEntity
				break
			}
			if err := v.begin(d.Name); err != nil {
				return nil, err
			}
			d.Words = words
			v.w.Header().Set("Cache-Control", "no-store")
		}
	}
	p.Data = d
	return p, nil
}

// sitsHere says whether the visitor is at this machine itself. A proxy beside the
// node makes all the world look so: whoever came through one does not, nor who
// used a name of which this node does not know that it is its own.
func (v *visitor) sitsHere() bool {
	at, err := netip.ParseAddrPort(v.r.RemoteAddr)
	if err != nil || !at.Addr().Unmap().IsLoopback() || contains(v.access().proxies, at.Addr().Unmap()) {
		return false
	}
	for _, h := range [...]string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "Via"} {
		if v.r.Header.Get(h) != "" {
			return false
		}
	}
	host := v.r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && a.IsLoopback()
}

// setupCode compares what a stranger gives with the code; case and spaces are free.
func (f *Forum) setupCode(given string) bool {
	given = strings.ToUpper(strings.Join(strings.Fields(given), ""))
	return f.SetupCode != "" && subtle.ConstantTimeCompare([]byte(given), []byte(f.SetupCode)) == 1
}

func (f *Forum) helpPage(v *visitor) (*page, error) {
	return &page{visitor: v, Name: "help", Title: v.tx.T("help.title")}, nil
}

func (f *Forum) noPage(v *visitor) (*page, error) {
	return nil, errPage(http.StatusNotFound, "error.page")
}
