package webforum

import (
	"context"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/threads"
	"github.com/litfass/litfass/webforum/ward"
)

// Spool is what the forum asks of a spool.
type Spool interface {
	spool.Reader
	Wait(ctx context.Context, after spool.Seq) error
	SpoolID() string
}

// Agent puts articles in, and says who may read.
type Agent interface {
	Inject(ctx context.Context, d *article.Draft, o agent.Origin) (agent.Result, error)
	// Readable returns what o may read; it is asked once a request.
	Readable(ctx context.Context, o agent.Origin) (func(article.Group) bool, error)
	// Postable returns nil if o may post to g, else a *agent.Refusal.
	Postable(ctx context.Context, o agent.Origin, g spool.GroupInfo) error
}

// Account is what the forum shows of a member.
type Account struct {
	Name, Email string
	Identity    string // its key identity, or ""
	Admin       bool
	Created     time.Time
}

// Accounts checks passwords and keeps what a member has read.
type Accounts interface {
	Login(ctx context.Context, name, password string, from netip.Addr) (Account, error) // errors may be shown
	Get(ctx context.Context, name string) (Account, error)
	// First makes the first account, an administrator; any later call is an error.
	First(ctx context.Context, name, email, password string) (words string, err error)
	Empty(ctx context.Context) (bool, error)
	// Read and SetRead are the ranges of numbers that an account has read in a
	// group, as newsreaders write them ("1-5,8").
	Read(ctx context.Context, account string, g article.Group) (string, error)
	SetRead(ctx context.Context, account string, g article.Group, ranges string) error
}

// Trust is what an article's signature is worth now, in words.
type Trust struct {
	Result   string // verified, unknown-key, disputed, no-right, invalid, none (pki.md §2.7); gate for a good signature of a node
	Name     string // of the person or node, as this node knows it
	Identity string // 52 characters, or ""
}

// Moderation is the waiting room as moderators see it. Who may decide what is the
// agent's to say: what an origin may not see is not there for it.
type Moderation interface {
	Queue(ctx context.Context, o agent.Origin) ([]agent.Held, error)
	Held(ctx context.Context, key string, o agent.Origin) (agent.Held, *article.Article, error)
	Approve(ctx context.Context, key string, o agent.Origin) error
	Reject(ctx context.Context, key string, o agent.Origin) error
	// May says whether o moderates all of the groups.
	May(ctx context.Context, o agent.Origin, groups []article.Group) bool
}

// Searcher finds articles.
type Searcher interface {
	Search(ctx context.Context, query string, from, n int) (ids []article.ID, total int, err error)
}

// FileState is where a detached attachment is.
type FileState struct {
	Here  bool // whole, on this node
	Nodes int  // others that are known to have it; -1: not asked
}

// Forum is the browser door. Fields are set once, before Handler is called; those
// that may be nil say so.
type Forum struct {
	Host       string // path identity of this node
	URL        string // as readers see it, without a slash at the end
	Spool      Spool
	Threads    *threads.Index
	Agent      Agent
	Accounts   Accounts                                 // nil: nobody can log in
	State      *state.DB                                // sessions and drafts; nil: none are kept
	Shelf      Shelf                                    // what members watch, mute and write; nil: nothing of it
	Past       Past                                     // versions that were replaced; nil: none are shown
	Search     Searcher                                 // nil: the page says so
	Moderation Moderation                               // nil: the queue is not shown
	Ward       *ward.Ward                               // nil: nothing is reported, hidden or barred
	Admin      Admin                                    // nil: there are no pages for administrators
	Notices    Notices                                  // nil: there is no page for them
	People     People                                   // nil: nothing is known of persons
	Trust      func(context.Context, spool.Entry) Trust // nil: no word is said
	TrustStamp func() uint64                            // another number when Trust may say something else; nil: never
	Files      func(infohash string) FileState          // nil: addresses are given all the same
	Pictures   func(safe string) string                 // shows pictures of feeds' entries through this node; nil: they are links

	Anonymous string         // none, read, post: what guests may do
	Trusted   []netip.Prefix // guests from here need no captcha, and are not slowed down
	Proxies   []netip.Prefix // whose X-Forwarded-For counts
	MaxPost   int64          // octets of a post with its files; 0: 64 MiB
	Temp      string         // folder of uploads under way; "": the system's
	Secret    []byte         // at least 16 octets: for captchas; nil: made anew at each start
	Zone      *time.Location // in which times are shown; nil: local
	Now       func() time.Time
	Log       *slog.Logger // nil: silent
	SetupCode string       // capitals and digits; lets a stranger make the first account; "": only who sits at this machine does

	texts   map[string]*texts
	static  map[string]asset
	css, js string
	groups  groupCache
	limits  limiter
	captcha captchas
	onces   onces
	live    hub
	bodies  bodies
	shelves shelves
	cross   *http.CrossOriginProtection
	secure  bool
	guests  atomic.Pointer[guests] // nil: Anonymous, Trusted, Proxies
}

// guests is what may change of how guests are met.
type guests struct {
	anonymous        string
	trusted, proxies []netip.Prefix
}

// SetGuests replaces Anonymous, Trusted and Proxies while the forum is served.
func (f *Forum) SetGuests(anonymous string, trusted, proxies []netip.Prefix) {
	f.guests.Store(&guests{anonymous, trusted, proxies})
}

func (f *Forum) access() *guests {
	if g := f.guests.Load(); g != nil {
		return g
	}
	return &guests{f.Anonymous, f.Trusted, f.Proxies}
}

// Handler returns the forum's pages, below "/". Run must run beside it.
func (f *Forum) Handler() (http.Handler, error) {
	if err := f.prepare(); err != nil {
		return nil, fmt.Errorf("prepare the forum: %w", err)
	}
	m := http.NewServeMux()
	for pattern, h := range map[string]handler{
		"GET /{$}":                       f.frontPage,
		"GET /g/{group}":                 f.groupPage,
		"GET /g/{group}/t/{root}":        f.threadPage,
		"POST /g/{group}/read":           f.markGroup,
		"GET /g/{group}/post":            f.postForm,
		"POST /g/{group}/post":           f.postForm,
		"GET /m/{id}":                    f.messagePage,
		"GET /m/{id}/raw":                f.raw,
		"GET /m/{id}/post":               f.postAlone,
		"GET /m/{id}/history":            f.historyPage,
		"POST /m/{id}/unread":            f.markUnread,
		"POST /g/{group}/t/{root}/watch": f.watchThread,
		"POST /u/{identity}/mute":        f.mutePerson,
		"GET /mine":                      f.minePage,
		"PUT /mine/drafts/{id}":          f.putDraft,
		"POST /mine/drafts/{id}":         f.dropDraft,
		"GET /m/{id}/a/{n}":              f.part,
		"GET /m/{id}/reply":              f.replyForm,
		"POST /m/{id}/reply":             f.replyForm,
		"GET /m/{id}/delete":             f.deleteForm,
		"POST /m/{id}/delete":            f.deleteForm,
		"GET /m/{id}/edit":               f.editForm,
		"POST /m/{id}/edit":              f.editForm,
		"GET /search":                    f.searchPage,
		"GET /u/{identity}/{$}":          f.personPage,
		"GET /login":                     f.loginForm,
		"POST /login":                    f.loginForm,
		"POST /logout":                   f.logout,
		"GET /settings":                  f.settings,
		"POST /settings":                 f.settings,
		"GET /start":                     f.startPage,
		"POST /start":                    f.startPage,
		"GET /moderate":                  f.queuePage,
		"POST /moderate":                 f.queuePage,
		"GET /help":                      f.helpPage,
		"GET /m/{id}/report":             f.reportForm,
		"POST /m/{id}/report":            f.reportForm,
		"GET /m/{id}/hide":               f.hideForm,
		"POST /m/{id}/hide":              f.hideForm,
		"GET /u/{identity}/vouch":        f.vouchForm,
		"POST /u/{identity}/vouch":       f.vouchForm,
		"GET /mail":                      f.mailPage,
		"POST /mail":                     f.mailPage,
		"GET /password":                  f.passwordForm,
		"POST /password":                 f.passwordForm,
		"GET /u/{identity}/ban":          f.banForm,
		"POST /u/{identity}/ban":         f.banForm,
		"GET /log":                       f.logPage,
		"GET /admin":                     f.adminStatus,
		"GET /admin/groups":              f.adminGroups,
		"POST /admin/groups":             f.adminGroups,
		"GET /admin/accounts":            f.adminAccounts,
		"POST /admin/accounts":           f.adminAccounts,
		"GET /admin/peers":               f.adminPeers,
		"POST /admin/peers":              f.adminPeers,
		"GET /admin/feeds":               f.adminFeeds,
		"POST /admin/feeds":              f.adminFeeds,
		"GET /admin/torrents":            f.adminTorrents,
		"POST /admin/torrents":           f.adminTorrents,
		"/":                              f.noPage,
	} {
		m.Handle(pattern, f.serve(h))
	}
	m.HandleFunc("GET /-/{file}", f.asset)
	m.HandleFunc("GET /events", f.events)
	m.HandleFunc("GET /robots.txt", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "User-agent: *\nDisallow: /search\nDisallow: /*/raw\nDisallow: /*/reply\nDisallow: /*/post\n")
	})
	return f.protect(m), nil
}

func (f *Forum) prepare() (err error) {
	if f.Now == nil {
		f.Now = time.Now
	}
	if f.Log == nil {
		f.Log = slog.New(slog.DiscardHandler)
	}
	if f.Zone == nil {
		f.Zone = time.Local
	}
	if f.MaxPost == 0 {
		f.MaxPost = 64 << 20
	}
	f.live.from = f.Spool.Last()
	f.live.done = make(chan struct{})
	f.groups.want = make(chan struct{}, 1)
	f.secure = strings.HasPrefix(f.URL, "https://")
	f.cross = http.NewCrossOriginProtection()
	if u, err := url.Parse(f.URL); err == nil && u.Host != "" { // a proxy may have changed Host
		if err := f.cross.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
			return err
		}
	}
	if err := f.captcha.prepare(f.Secret); err != nil {
		return err
	}
	if f.texts, err = loadTexts(); err != nil {
		return err
	}
	return f.loadAssets()
}

// protect puts the safety of every answer in front of the pages.
func (f *Forum) protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		guard(h)
		if err := f.cross.Check(r); err != nil {
			f.fail(http.StatusForbidden, "error.origin").ServeHTTP(w, r)
			return
		}
		if at := f.address(r); !contains(f.access().trusted, at) && !f.limits.allow(at, r.Method, f.Now()) {
			h.Set("Retry-After", "10")
			f.fail(http.StatusTooManyRequests, "error.often").ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// guards tell browsers what no page needs; the first is the content policy.
var guards = [...]struct {
	name  string // as net/http spells it
	value []string
}{
	{"Content-Security-Policy", []string{"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"}},
	{"X-Content-Type-Options", []string{"nosniff"}},
	{"Referrer-Policy", []string{"same-origin"}},
	{"Cross-Origin-Opener-Policy", []string{"same-origin"}},
	{"Cross-Origin-Resource-Policy", []string{"same-origin"}},
}

// guard puts them into an answer.
func guard(h http.Header) {
	for i := range guards {
		h[guards[i].name] = guards[i].value
	}
}

// Frame shows what another room has to say as a page of the forum, and Language is the
// one to say it in. The address may hold a secret: it is told to nobody.
func (f *Forum) Frame(w http.ResponseWriter, r *http.Request, status int, title string, body template.HTML) {
	h := w.Header()
	guard(h)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	f.serve(func(v *visitor) (*page, error) {
		return &page{visitor: v, Name: "framed", Title: title, Status: status, Data: body, NoIndex: true}, nil
	}).ServeHTTP(w, r)
}

// Language is that of the visitor's pages.
func (f *Forum) Language(r *http.Request) string {
	return f.language(readPrefs(r).Lang, r.Header.Get("Accept-Language")).lang
}

// fail answers with an error page.
func (f *Forum) fail(status int, key string) http.Handler {
	return f.serve(func(*visitor) (*page, error) { return nil, errPage(status, key) })
}

// address is the client's address: that of the connection, or, where that is one
// of Proxies, the last one in X-Forwarded-For that is none.
func (f *Forum) address(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	at := ap.Addr().Unmap()
	if !contains(f.access().proxies, at) {
		return at
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		a, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		if at = a.Unmap(); !contains(f.access().proxies, at) {
			break
		}
	}
	return at
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
