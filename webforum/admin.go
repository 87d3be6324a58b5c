package webforum

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

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
	// SetAccount changes what an account moderates and may post a day.
	SetAccount(ctx context.Context, name string, a AccountChange) error
	// PutGroup makes a group (add) or changes it.
	PutGroup(ctx context.Context, add bool, g GroupChange) error
	// BanAccount bars an account, or lifts that; by is whom the log names.
	BanAccount(ctx context.Context, name string, lift bool, reason, by string) error
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

// PeerState is how it stands with a neighbour.
type PeerState struct {
	Name, Address, Sentence string
	Connected               bool
	Lag                     uint64
	Accepted, Refused       uint64
	LastError, ErrorAt      string
}

// FeedState is how a polled feed is doing.
type FeedState struct {
	URL, Group, Title, State, LastError string
	Articles                            int
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
	Name, Email, Identity string
	Admin, Peer           bool
	Seen                  time.Time
	BanReason             string // "": not barred
	AccountChange
}

// AccountChange is what administrators may change of an account: a wildmat of the
// groups it moderates ("": none), and its articles a day (0: as for all).
type AccountChange struct {
	Moderate    string
	DayArticles int
}

// GroupChange is a group's settings as the form has them.
type GroupChange struct {
	Name, Description, Moderator string
	Post                         string // open, signed, none
}

type adminData struct {
	Tab                          string
	Tabs                         []viewLink
	Error                        string
	O                            Overview
	Facts                        [][2]string
	Charts                       []chart
	Members                      []Member
	Groups                       []adminGroup
	One                          *adminGroup
	Torrents, TorrentsOf, Uptime string
	Form                         GroupChange
	Adding                       bool
	New                          Member
	Words                        string // of the account that was just made
}

type adminGroup struct {
	GroupChange
	Href, Edit, Count string
	Moderated         bool
}

// adminOnly lets administrators through.
func (v *visitor) adminOnly() error {
	if v.Admin == nil || v.account == nil || !v.account.Admin {
		return errPage(http.StatusForbidden, "admin.only")
	}
	v.w.Header().Set("Cache-Control", "no-store")
	return nil
}

func (v *visitor) adminPage(tab string, d *adminData) *page {
	d.Tab = tab
	for _, t := range [...][2]string{{"status", "/admin"}, {"groups", "/admin/groups"}, {"accounts", "/admin/accounts"}} {
		d.Tabs = append(d.Tabs, viewLink{v.tx.T("admin." + t[0]), t[1], t[0] == tab})
	}
	p := &page{visitor: v, Name: "admin", Title: v.tx.T("admin." + tab), Data: d, NoIndex: true, Crumbs: []crumb{{v.tx.T("groups"), "/"}}}
	if d.Error != "" {
		p.Status = http.StatusUnprocessableEntity
	}
	return p
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
	d := &adminData{O: o}
	disk := v.tx.size(o.Used)
	if o.Quota > 0 {
		disk = v.tx.T("admin.of", disk, v.tx.size(o.Quota))
	}
	if o.Free >= 0 {
		disk += ", " + v.tx.T("admin.free", v.tx.size(o.Free))
	}
	d.Facts = [][2]string{
		{v.tx.T("admin.version"), o.Version}, {v.tx.T("admin.uptime"), o.Uptime.Round(time.Second).String()},
		{v.tx.T("admin.arrived"), v.tx.number(o.Arrived)}, {v.tx.T("admin.disk"), disk}, {v.tx.T("admin.memory"), v.tx.size(o.Memory)},
	}
	if !o.TorrentsAbsent {
		t := fmt.Sprintf("%s, %s", v.tx.number(uint64(o.Torrents)), v.tx.size(o.TorrentOctets))
		if o.TorrentQuota > 0 {
			t = v.tx.T("admin.of", t, v.tx.size(o.TorrentQuota))
		}
		d.Facts = append(d.Facts, [2]string{v.tx.T("admin.torrents"), t})
	}
	d.Charts = v.charts(o.Samples)
	return v.adminPage("status", d), nil
}

// adminAccounts lists the accounts, bars them and lifts that.
func (f *Forum) adminAccounts(v *visitor) (*page, error) {
	if err := v.adminOnly(); err != nil {
		return nil, err
	}
	d := &adminData{}
	if v.r.Method == http.MethodPost {
		q := v.form()
		reason := strings.TrimSpace(q.Get("reason"))
		err := error(nil)
		switch {
		case q.Get("act") == "add":
			if d.New, d.Words, err = v.addAccount(q); err == nil {
				break
			}
		case q.Get("act") == "set":
			var n int
			if n, err = strconv.Atoi(strings.TrimSpace("0" + q.Get("articles"))); err == nil {
				err = f.Admin.SetAccount(v.ctx, q.Get("name"), AccountChange{Moderate: strings.TrimSpace(q.Get("moderate")), DayArticles: n})
			}
		case q.Get("act") == "ban" && reason == "":
			err = errors.New(v.tx.T("reason.missing"))
		case q.Get("act") == "ban" && q.Get("name") == v.account.Name:
			err = errors.New(v.tx.T("admin.self"))
		case q.Get("act") == "ban":
			err = f.Admin.BanAccount(v.ctx, q.Get("name"), false, reason, v.account.Name)
		default:
			err = f.Admin.BanAccount(v.ctx, q.Get("name"), true, reason, v.account.Name)
		}
		if err == nil && d.Words == "" {
			v.redirect("/admin/accounts")
			return nil, nil
		} else if err != nil {
			d.Error = err.Error()
		}
	}
	var err error
	if d.Members, err = f.Admin.Members(v.ctx); err != nil {
		return nil, err
	}
	return v.adminPage("accounts", d), nil
}

// addAccount makes the account that a form describes.
func (v *visitor) addAccount(q url.Values) (m Member, words string, err error) {
	m = Member{Name: strings.TrimSpace(q.Get("name")), Email: strings.TrimSpace(q.Get("email")), Admin: q.Get("admin") != ""}
	if len(q.Get("password")) < 8 {
		return m, "", errors.New(v.tx.T("start.password.short"))
	}
	words, err = v.Admin.AddAccount(v.ctx, m.Name, m.Email, q.Get("password"), m.Admin)
	if err == nil {
		v.Log.Info("forum: account made", "account", m.Name, "admin", m.Admin, "by", v.account.Name)
	}
	return m, words, err
}

// PeerWords says how it stands with a neighbour.
func (p *page) PeerWords(s PeerState) string {
	lag := p.tx.T("peer.level")
	if s.Lag > 0 {
		lag = p.tx.T("peer.behind", p.tx.number(s.Lag))
	}
	switch {
	case s.Address == "":
		return p.tx.T("peer.calls")
	case s.Connected:
		return p.tx.T("peer.connected") + ", " + lag
	}
	return p.tx.T("peer.away") + ", " + lag
}

// adminGroups lists the groups; ?name= is the form of one.
func (f *Forum) adminGroups(v *visitor) (*page, error) {
	if err := v.adminOnly(); err != nil {
		return nil, err
	}
	d := &adminData{Adding: true, Form: GroupChange{Post: "open"}}
	if v.r.Method == http.MethodPost {
		q := v.form()
		d.Form = GroupChange{Name: strings.TrimSpace(q.Get("name")), Description: q.Get("description"), Moderator: strings.TrimSpace(q.Get("moderator")), Post: q.Get("post")}
		d.Adding = q.Get("act") == "add"
		err := f.Admin.PutGroup(v.ctx, d.Adding, d.Form)
		if err == nil {
			f.groups.forget()
			v.redirect("/admin/groups")
			return nil, nil
		}
		d.Error = err.Error()
	}
	for g, err := range f.Spool.Groups(v.ctx) {
		if err != nil {
			return nil, err
		}
		row := adminGroup{GroupChange: changeOf(g), Href: groupPath(g.Name), Edit: "/admin/groups?name=" + string(g.Name) + "#form", Count: v.tx.number(g.Count), Moderated: g.Status == spool.Moderated}
		if v.r.Method != http.MethodPost && v.r.URL.Query().Get("name") == string(g.Name) {
			d.Form, d.Adding = row.GroupChange, false
		}
		d.Groups = append(d.Groups, row)
	}
	return v.adminPage("groups", d), nil
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
}

// chart is a curve as the server draws it.
type chart struct {
	Title, Most, From, To string
	SVG                   template.HTML
}

const (
	chartWidth  = 600
	chartHeight = 120
)

// charts draws what was measured: articles an hour, octets on disk, peers' lag.
func (v *visitor) charts(s []Sample) []chart {
	if len(s) < 3 {
		return nil
	}
	var intake, disk, lag []float64
	for i, x := range s {
		disk, lag = append(disk, float64(x.Used)), append(lag, float64(x.Lag))
		if i == 0 {
			continue
		}
		hours := max(x.At.Sub(s[i-1].At).Hours(), 1.0/60)
		intake = append(intake, float64(x.Arrived-min(s[i-1].Arrived, x.Arrived))/hours)
	}
	at := make([]time.Time, len(s))
	for i := range s {
		at[i] = s[i].At
	}
	number := func(f float64) string { return v.tx.number(uint64(f + 0.5)) }
	size := func(f float64) string { return v.tx.size(int64(f)) }
	return []chart{
		v.chart("intake", at[1:], intake, number),
		v.chart("disk", at, disk, size),
		v.chart("lag", at, lag, number),
	}
}

// chart draws one curve over time, from 0 to its highest value. What it shows is
// in its title too, for those who do not see it.
func (v *visitor) chart(key string, at []time.Time, y []float64, show func(float64) string) chart {
	most := 0.0
	for _, f := range y {
		most = max(most, f)
	}
	first, last := at[0], at[len(at)-1]
	span := max(last.Sub(first).Seconds(), 1)
	var line strings.Builder
	for i, f := range y {
		h := 0.0
		if most > 0 {
			h = f / most
		}
		fmt.Fprintf(&line, "%.1f,%.1f ", at[i].Sub(first).Seconds()/span*chartWidth, (1-h)*(chartHeight-4)+2)
	}
	c := chart{Title: v.tx.T("chart." + key), Most: show(most), From: v.moment(first), To: v.moment(last)}
	label := template.HTMLEscapeString(v.tx.T("chart.says", c.Title, c.Most, show(y[len(y)-1])))
	c.SVG = template.HTML(fmt.Sprintf(`<svg class="chart" viewBox="0 0 %d %d" role="img" aria-label="%s" preserveAspectRatio="none"><polygon points="0,%d %s%d,%d"/><polyline points="%s"/></svg>`,
		chartWidth, chartHeight, label, chartHeight, line.String(), chartWidth, chartHeight, strings.TrimSpace(line.String())))
	return c
}
