package webforum

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// Admin is what administrators see and do. Each of its acts is a command as well;
// errors are for people to read.
type Admin interface {
	Overview(ctx context.Context) (Overview, error)
	Members(ctx context.Context) ([]Member, error)
	// AddAccount makes an account and returns its recovery words; what the error
	// says may be shown.
	AddAccount(ctx context.Context, name, email, password string, admin bool) (words string, err error)
	SetAccount(ctx context.Context, name string, a AccountChange) error
	// SetPassword gives an account a new password; behind: its identity stays sealed
	// under the old one.
	SetPassword(ctx context.Context, name, password string) (behind bool, err error)
	RemoveAccount(ctx context.Context, name string) error
	// PutGroup makes a group (add) or changes it.
	PutGroup(ctx context.Context, add bool, g GroupChange) error
	RemoveGroup(ctx context.Context, name string) error
	// BanAccount bars an account, or lifts that; by is whom the log names.
	BanAccount(ctx context.Context, name string, lift bool, reason, by string) error
	PeerAdmin
	FeedAdmin
	TorrentAdmin
}

// Overview is how the node is doing.
type Overview struct {
	Version        string
	Uptime         time.Duration
	Arrived        uint64
	Used, Quota    int64 // octets of the articles; Quota 0: none
	Free           int64 // octets on the disk; under 0: not known
	Memory         int64
	Warnings       []string
	Peers          []PeerState
	Feeds          []FeedState
	Torrents       int
	TorrentOctets  int64
	TorrentQuota   int64    // 0: none
	Samples        []Sample // oldest first
	TorrentsAbsent bool     // this node has no torrents
}

// Sample is what was measured at one time.
type Sample struct {
	At      time.Time
	Arrived uint64 // all that ever arrived
	Used    int64  // octets
	Lag     uint64 // of the peer that is furthest behind
}

// Member is an account as administrators see it.
type Member struct {
	Name, Identity string
	Peer           bool
	Seen           time.Time
	BanReason      string // "": not barred
	Today          int64  // articles posted today
	TodayOctets    int64
	AccountChange
}

// AccountChange is what administrators may change of an account: wildmats of the
// groups it may read and post to ("": all) and moderates ("": none), and what it may
// post a day (0 and "": as for all).
type AccountChange struct {
	Email                string
	Admin                bool
	Read, Post, Moderate string
	DayArticles          int
	DaySize              string // as in the configuration: 64MiB
}

// GroupChange is a group's settings as the form has them.
type GroupChange struct {
	Name, Description, Moderator string
	Post                         string // open, signed, none
}

// adminFrame is what all pages of the administration have.
type adminFrame struct {
	Tab   string
	Tabs  []viewLink
	Error string
	Token string // of the forms
	Stay  bool   // what an act brought is on the page it was asked for on
}

func (f *adminFrame) frame() *adminFrame { return f }

type statusData struct {
	adminFrame
	O      Overview
	Facts  [][2]string
	Charts []chart
}

type groupsData struct {
	adminFrame
	Groups     []adminGroup
	Find       string
	Large      bool // there are more than a page of them
	Prev, Next string
	Form       GroupChange
	Adding     bool
}

const adminGroupsPage = 100

type accountsData struct {
	adminFrame
	Members []Member
	New     Member
	Words   string // of the account that was just made
	Behind  string // the account whose password was just set, if its identity stayed behind
}

type adminGroup struct {
	GroupChange
	Href, Edit, Count string
	Moderated         bool
}

// adminOnly lets administrators through, and what they send only with the token of
// their forms: no page of another origin knows it, whatever the browser tells.
func (v *visitor) adminOnly() error {
	if v.Admin == nil || v.account == nil || !v.account.Admin {
		return errPage(http.StatusForbidden, "admin.only")
	}
	v.w.Header().Set("Cache-Control", "no-store")
	if v.r.Method == http.MethodPost && subtle.ConstantTimeCompare([]byte(v.form().Get("token")), []byte(v.token())) != 1 {
		return errPage(http.StatusForbidden, "admin.token")
	}
	return nil
}

// token is what the forms of a session carry; it says nothing of the cookie.
func (v *visitor) token() string {
	sum := sha256.Sum256([]byte("litfass form " + v.session))
	return base64.RawURLEncoding.EncodeToString(sum[:18])
}

// adminTabs are the pages of the administration, by their address below /admin, and
// those of the moderators.
func (v *visitor) adminTabs(current string) (out []viewLink) {
	for _, t := range [...]string{"status", "groups", "accounts", "peers", "feeds", "torrents"} {
		href := "/admin/" + t
		if t == "status" {
			href = "/admin"
		}
		out = append(out, viewLink{v.tx.T("admin." + t), href, t == current})
	}
	return append(out, viewLink{v.tx.T("queue.link"), "/moderate", current == "moderate"}, viewLink{v.tx.T("log.short"), "/log", current == "log"})
}

// AdminTabs are the same for pages that others see, too.
func (p *page) AdminTabs() []viewLink { return p.adminTabs(p.Name) }

func (v *visitor) adminPage(tab string, d interface{ frame() *adminFrame }) *page {
	f := d.frame()
	f.Tab, f.Tabs, f.Token = tab, v.adminTabs(tab), v.token()
	p := &page{visitor: v, Name: "admin_" + tab, Title: v.tx.T("admin." + tab), Data: d, NoIndex: true, Crumbs: []crumb{{v.tx.T("groups"), "/"}, {v.tx.T("admin"), "/admin"}}}
	if f.Error != "" {
		p.Status = http.StatusUnprocessableEntity
	} else if v.r.URL.Query().Get("done") != "" {
		p.Notice = v.tx.T("admin.done")
	}
	return p
}

// adminAct does what a form of the administration asks for, by the name of its
// button. done: it worked, and the visitor is on his way back to the page.
func (v *visitor) adminAct(d interface{ frame() *adminFrame }, tab string, acts map[string]func(q url.Values) error) (done bool) {
	if v.r.Method != http.MethodPost {
		return false
	}
	q := v.form()
	act := acts[q.Get("act")]
	if act == nil {
		d.frame().Error = v.tx.T("error.form")
		return false
	}
	what := cmp.Or(q.Get("name"), q.Get("url"), q.Get("hash"))
	if err := act(q); err != nil {
		v.Log.Info("forum: administration refused", "page", tab, "act", q.Get("act"), "what", what, "by", v.account.Name, "error", err)
		d.frame().Error = err.Error()
		return false
	}
	v.Log.Info("forum: administration", "page", tab, "act", q.Get("act"), "what", what, "by", v.account.Name)
	if d.frame().Stay {
		return false
	}
	v.redirect("/admin/" + tab + "?done=1")
	return true
}

// adminStatus shows how the node is doing.
func (f *Forum) adminStatus(v *visitor) (*page, error) {
	if err := v.adminOnly(); err != nil {
		return nil, err
	}
	o, err := f.Admin.Overview(v.ctx)
	if err != nil {
		return nil, err
	}
	d := &statusData{O: o}
	disk := v.tx.size(o.Used)
	if o.Quota > 0 {
		disk = v.tx.T("admin.of", disk, v.tx.size(o.Quota))
	}
	if o.Free >= 0 {
		disk += ", " + v.tx.T("admin.free", v.tx.size(o.Free))
	}
	d.Facts = [][2]string{
		{v.tx.T("admin.version"), o.Version}, {v.tx.T("admin.uptime"), lasting(o.Uptime)},
		{v.tx.T("admin.arrived"), v.tx.number(o.Arrived)}, {v.tx.T("admin.disk"), disk}, {v.tx.T("admin.memory"), v.tx.size(o.Memory)},
	}
	if !o.TorrentsAbsent {
		d.Facts = append(d.Facts, [2]string{v.tx.T("admin.torrents"), v.torrentSum(o)})
	}
	d.Charts = v.charts(o.Samples)
	return v.adminPage("status", d), nil
}

// adminAccounts lists the accounts, changes and bars them.
func (f *Forum) adminAccounts(v *visitor) (*page, error) {
	if err := v.adminOnly(); err != nil {
		return nil, err
	}
	d := &accountsData{}
	if v.adminAct(d, "accounts", map[string]func(url.Values) error{
		"add": func(q url.Values) (err error) {
			d.New, d.Words, err = v.addAccount(q)
			d.Stay = err == nil
			return err
		},
		"set": v.setAccount,
		"password": func(q url.Values) error {
			behind, err := v.setPassword(q)
			if behind {
				d.Behind, d.Stay = q.Get("name"), true
			}
			return err
		},
		"remove": func(q url.Values) error {
			if q.Get("name") == v.account.Name {
				return errors.New(v.tx.T("admin.self"))
			}
			return f.Admin.RemoveAccount(v.ctx, q.Get("name"))
		},
		"ban":  func(q url.Values) error { return v.banAccount(q, false) },
		"lift": func(q url.Values) error { return v.banAccount(q, true) },
	}) {
		return nil, nil
	}
	var err error
	if d.Members, err = f.Admin.Members(v.ctx); err != nil {
		return nil, err
	}
	return v.adminPage("accounts", d), nil
}

// addAccount makes the account that a form describes.
func (v *visitor) addAccount(q url.Values) (m Member, words string, err error) {
	m = Member{Name: trimmed(q, "name"), AccountChange: AccountChange{Email: trimmed(q, "email"), Admin: q.Get("admin") != ""}}
	if len(q.Get("password")) < 8 {
		return m, "", errors.New(v.tx.T("start.password.short"))
	}
	words, err = v.Admin.AddAccount(v.ctx, m.Name, m.Email, q.Get("password"), m.Admin)
	return m, words, err
}

func (v *visitor) setPassword(q url.Values) (behind bool, err error) {
	if len(q.Get("password")) < 8 {
		return false, errors.New(v.tx.T("start.password.short"))
	}
	return v.Admin.SetPassword(v.ctx, q.Get("name"), q.Get("password"))
}

func (v *visitor) setAccount(q url.Values) error {
	a := AccountChange{Email: trimmed(q, "email"), Admin: q.Get("admin") != "", Read: trimmed(q, "read"), Post: trimmed(q, "post"), Moderate: trimmed(q, "moderate"), DaySize: trimmed(q, "size")}
	var err error
	if a.DayArticles, err = v.whole(q, "articles"); err != nil {
		return err
	}
	if q.Get("name") == v.account.Name && !a.Admin {
		return errors.New(v.tx.T("admin.self"))
	}
	return v.Admin.SetAccount(v.ctx, q.Get("name"), a)
}

func (v *visitor) banAccount(q url.Values, lift bool) error {
	reason := trimmed(q, "reason")
	switch {
	case !lift && reason == "":
		return errors.New(v.tx.T("reason.missing"))
	case !lift && q.Get("name") == v.account.Name:
		return errors.New(v.tx.T("admin.self"))
	}
	return v.Admin.BanAccount(v.ctx, q.Get("name"), lift, reason, v.account.Name)
}

// AccountUse says what an account may do, and did today.
func (p *page) AccountUse(m Member) string {
	var out []string
	add := func(pattern, text string) {
		if pattern != "" {
			out = append(out, text)
		}
	}
	add(m.Read, p.tx.T("account.reads", m.Read))
	add(m.Post, p.tx.T("account.posts", m.Post))
	add(m.Moderate, p.tx.T("account.moderates", m.Moderate))
	today := p.of(p.Number(m.Today), p.Number(int64(m.DayArticles)), m.DayArticles > 0) + " " + p.tx.N("articles", int(max(m.Today, int64(m.DayArticles))))
	octets := p.of(p.tx.size(m.TodayOctets), m.DaySize, m.DaySize != "")
	if m.Today > 0 || m.DayArticles > 0 || m.DaySize != "" {
		out = append(out, p.tx.T("peer.today", today, octets))
	}
	return strings.Join(out, " · ")
}

// trimmed is a field without the blanks around it.
func trimmed(q url.Values, name string) string { return strings.TrimSpace(q.Get(name)) }

// whole is a field that holds a whole number, or nothing: 0.
func (v *visitor) whole(q url.Values, name string) (int, error) {
	s := trimmed(q, name)
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, errors.New(v.tx.T("admin.number", s))
	}
	return n, nil
}

// adminGroups lists the groups; ?name= is the form of one.
func (f *Forum) adminGroups(v *visitor) (*page, error) {
	if err := v.adminOnly(); err != nil {
		return nil, err
	}
	d := &groupsData{Adding: true, Form: GroupChange{Post: "open"}}
	put := func(q url.Values) error {
		d.Form = GroupChange{Name: trimmed(q, "name"), Description: q.Get("description"), Moderator: trimmed(q, "moderator"), Post: q.Get("post")}
		d.Adding = q.Get("act") == "add"
		err := f.Admin.PutGroup(v.ctx, d.Adding, d.Form)
		if err == nil {
			f.groups.forget()
		}
		return err
	}
	remove := func(q url.Values) error {
		err := f.Admin.RemoveGroup(v.ctx, trimmed(q, "name"))
		if err == nil {
			f.groups.forget()
		}
		return err
	}
	if v.adminAct(d, "groups", map[string]func(url.Values) error{"add": put, "set": put, "remove": remove}) {
		return nil, nil
	}
	if name := v.r.URL.Query().Get("name"); name != "" && v.r.Method != http.MethodPost {
		if g, err := f.Spool.Group(v.ctx, article.Group(name)); err == nil {
			d.Form, d.Adding = changeOf(g), false
		} else if !errors.Is(err, spool.ErrNotFound) {
			return nil, err
		}
	}
	if err := v.listGroups(d); err != nil {
		return nil, err
	}
	return v.adminPage("groups", d), nil
}

// listGroups fills in a page of the groups whose names hold what is looked for.
func (v *visitor) listGroups(d *groupsData) error {
	d.Find = strings.ToLower(clip(v.r.URL.Query().Get("find"), 100))
	var found []article.Group // of very many, all that is known of them would keep the collector busy
	for g, err := range v.Spool.Groups(v.ctx) {
		if err != nil {
			return err
		}
		if strings.Contains(strings.ToLower(string(g.Name)), d.Find) {
			found = append(found, g.Name)
		}
	}
	lo, hi, prev, next := v.slice(len(found), adminGroupsPage)
	d.Prev, d.Next, d.Large = prev, next, d.Find != "" || len(found) > adminGroupsPage
	for _, name := range found[lo:hi] {
		g, err := v.Spool.Group(v.ctx, name)
		if errors.Is(err, spool.ErrNotFound) { // it went this moment
			continue
		} else if err != nil {
			return err
		}
		d.Groups = append(d.Groups, adminGroup{GroupChange: changeOf(g), Href: groupPath(g.Name), Edit: "/admin/groups?" + url.Values{"name": {string(g.Name)}}.Encode() + "#form",
			Count: v.tx.number(g.Count), Moderated: g.Status == spool.Moderated})
	}
	return nil
}

func changeOf(g spool.GroupInfo) GroupChange {
	c := GroupChange{Name: string(g.Name), Description: g.Description, Moderator: g.Moderator, Post: "open"}
	switch {
	case g.Status == spool.PostNone:
		c.Post = "none"
	case g.Require == "known":
		c.Post = "signed"
	}
	return c
}

func (c *groupCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = nil
	c.gen++
}

// lasting writes how long something lasts with units that all languages share.
func lasting(d time.Duration) string {
	days, hours, minutes := int(d.Hours())/24, int(d.Hours())%24, int(d.Minutes())%60
	switch {
	case days > 0:
		return strconv.Itoa(days) + " d " + strconv.Itoa(hours) + " h"
	case hours > 0:
		return strconv.Itoa(hours) + " h " + strconv.Itoa(minutes) + " min"
	}
	return strconv.Itoa(minutes) + " min"
}
