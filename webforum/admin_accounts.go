package webforum

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"
)

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

type accountsData struct {
	adminFrame
	Members []Member
	New     Member
	Words   string // of the account that was just made
	Behind  string // the account whose password was just set, if its identity stayed behind
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
