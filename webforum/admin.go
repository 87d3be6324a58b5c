package webforum

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
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

// trimmed is a field without the blanks around it.
func trimmed(q url.Values, name string) string { return strings.TrimSpace(q.Get(name)) }

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
