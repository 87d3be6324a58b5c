package webforum

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// visitor is one request, and who made it.
type visitor struct {
	*Forum
	w       http.ResponseWriter
	r       *http.Request
	ctx     context.Context
	now     time.Time
	addr    netip.Addr
	account *Account // nil: a guest
	session string
	prefs   prefs
	tx      *texts
	marks   *marks
	mayRead func(article.Group) bool
	queue   []agent.Held // nil: not asked yet
	reports []reported   // nil: not asked yet

	Anonymous string         // of the Forum, as they are now
	Trusted   []netip.Prefix //
	secret    string         // of a guest who got it with this request
	fleeting  bool           // the page says what changes without a sign: it is never "unchanged"
}

// prefs are what a visitor chose; they live in a cookie.
type prefs struct {
	Lang, Theme, View, Order string
	Name, Email              string // of guests who posted
}

const (
	prefsCookie   = "litfass_prefs"
	sessionCookie = "litfass_session"
	readCookie    = "litfass_read"
)

// The views of a thread.
const (
	viewLinear = "linear"
	viewNested = "nested"
	viewIndex  = "index"
)

func (f *Forum) visitor(w http.ResponseWriter, r *http.Request) (*visitor, error) {
	v := &visitor{Forum: f, w: w, r: r, ctx: r.Context(), now: f.Now(), addr: f.address(r), Anonymous: f.access().anonymous, Trusted: f.access().trusted}
	v.prefs = readPrefs(r)
	v.tx = f.language(v.prefs.Lang, r.Header.Get("Accept-Language"))
	if err := v.resume(); err != nil {
		return nil, err
	}
	v.marks = newMarks(v)
	var err error
	if v.mayRead, err = f.Agent.Readable(v.ctx, v.origin()); err != nil {
		return nil, err
	}
	return v, nil
}

// origin is the visitor as the agent knows him. To the web, `anonymous` applies to
// every guest: those that are not trusted meet a captcha before they post.
func (v *visitor) origin() agent.Origin {
	o := agent.Origin{Door: "web", Addr: v.addr, TLS: v.r.TLS != nil, Trusted: true}
	if v.account != nil {
		o.Account = v.account.Name
	} else {
		o.Secret = v.guestSecret()
	}
	return o
}

func readPrefs(r *http.Request) prefs {
	var p prefs
	c, err := r.Cookie(prefsCookie)
	if err != nil || len(c.Value) > 1000 {
		return p
	}
	q, err := url.ParseQuery(c.Value)
	if err != nil {
		return p
	}
	p.Lang, p.Theme, p.View, p.Order = q.Get("l"), q.Get("t"), q.Get("v"), q.Get("o")
	p.Name, p.Email = q.Get("n"), q.Get("e")
	p.sane()
	return p
}

func (p *prefs) sane() {
	one := func(s *string, allowed ...string) {
		if !slices.Contains(allowed, *s) {
			*s = ""
		}
	}
	one(&p.Theme, "light", "dark")
	one(&p.View, viewLinear, viewNested, viewIndex)
	one(&p.Order, "active", "newest", "unread")
	if len(p.Lang) > 8 {
		p.Lang = ""
	}
}

func (v *visitor) savePrefs() {
	q := url.Values{}
	for k, s := range map[string]string{"l": v.prefs.Lang, "t": v.prefs.Theme, "v": v.prefs.View, "o": v.prefs.Order, "n": v.prefs.Name, "e": v.prefs.Email} {
		if s != "" {
			q.Set(k, s)
		}
	}
	v.setCookie(prefsCookie, q.Encode(), 365*24*time.Hour)
}

// setCookie writes a cookie that no script and no other site sees; age 0 removes it.
func (v *visitor) setCookie(name, value string, age time.Duration) {
	c := &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: v.secure || v.r.TLS != nil, MaxAge: int(age / time.Second)}
	if age == 0 {
		c.MaxAge = -1
	}
	http.SetCookie(v.w, c)
}

// group looks up the group that the address names. One that may not be read is
// not there.
func (v *visitor) group(name string) (spool.GroupInfo, error) {
	g, err := article.ParseGroup(name)
	if err != nil {
		return spool.GroupInfo{}, errPage(http.StatusNotFound, "error.group")
	}
	info, err := v.Spool.Group(v.ctx, g)
	if errors.Is(err, spool.ErrNotFound) || err == nil && !v.mayRead(g) {
		return info, errPage(http.StatusNotFound, "error.group")
	}
	return info, err
}

// entry looks up the article that the address names.
func (v *visitor) entry(bare string) (spool.Entry, error) {
	id, err := article.ParseID("<" + bare + ">")
	if err != nil {
		return spool.Entry{}, errPage(http.StatusNotFound, "error.article")
	}
	e, err := v.Spool.ByID(v.ctx, id)
	if errors.Is(err, spool.ErrNotFound) {
		return e, errPage(http.StatusNotFound, "error.article")
	}
	if err == nil && !v.readable(e) {
		if _, hidden := v.hidden(e); hidden {
			return e, errPage(http.StatusGone, "hide.removed")
		}
		return e, errPage(http.StatusNotFound, "error.article")
	}
	return e, err
}

// readable says whether the visitor sees an article: in a group that he may read,
// and not hidden, unless he decides about such things.
func (v *visitor) readable(e spool.Entry) bool {
	if _, hidden := v.hidden(e); hidden && !v.moderates(e) {
		return false
	}
	for _, p := range e.Places {
		if v.mayRead(p.Group) {
			return true
		}
	}
	return false
}

// pathOf makes the address of an article, thread or group.
func messagePath(id article.ID) string { return "/m/" + escapeID(id.Bare()) }
func groupPath(g article.Group) string { return "/g/" + url.PathEscape(string(g)) }
func threadPath(g article.Group, root article.ID) string {
	return groupPath(g) + "/t/" + escapeID(root.Bare())
}

func escapeID(s string) string { return strings.ReplaceAll(url.PathEscape(s), "%40", "@") }
