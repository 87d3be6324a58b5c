package webforum

import (
	"context"
	"net/http"
	"slices"
)

// Notices are what an account gets by mail beside what it subscribed to.
type Notices interface {
	Notices(ctx context.Context, account string) (Notice, error)
	SetNotices(ctx context.Context, account string, kinds []string) error
}

// Notice is how it stands with an account's notices.
type Notice struct {
	Off     bool   // this node sends no mail
	Address string // of the account; "": it has none
	Kinds   []NoticeKind
	State   string // "", ok, bouncing, paused; unconfirmed: the address was asked
}

// NoticeKind is something an account may want to hear of.
type NoticeKind struct {
	Name string // replies, watched, reports
	On   bool
}

// mailPage shows a member what he gets by mail, and takes what he wants.
func (f *Forum) mailPage(v *visitor) (*page, error) {
	switch {
	case f.Notices == nil:
		return nil, errPage(http.StatusNotFound, "error.page")
	case v.account == nil && v.r.Method == http.MethodGet:
		v.redirect("/login?next=/mail")
		return nil, nil
	case v.account == nil:
		return nil, errPage(http.StatusUnauthorized, "refusal.login")
	}
	v.w.Header().Set("Cache-Control", "no-store")
	p := &page{visitor: v, Name: "mail", Title: v.tx.T("settings.mail"), NoIndex: true, Crumbs: []crumb{{v.tx.T("groups"), "/"}, {v.tx.T("settings"), "/settings"}}}
	n, err := f.Notices.Notices(v.ctx, v.account.Name)
	if err != nil {
		return nil, err
	}
	if v.r.Method == http.MethodPost {
		kinds := v.form()["kind"]
		for _, k := range kinds {
			if !slices.ContainsFunc(n.Kinds, func(x NoticeKind) bool { return x.Name == k }) {
				return nil, errPage(http.StatusBadRequest, "error.form")
			}
		}
		if n.Off || n.Address == "" {
			return nil, errPage(http.StatusBadRequest, "error.form")
		}
		if err := f.Notices.SetNotices(v.ctx, v.account.Name, kinds); err != nil {
			return nil, err
		}
		if n, err = f.Notices.Notices(v.ctx, v.account.Name); err != nil {
			return nil, err
		}
		p.Notice = v.tx.T("mail.saved")
	}
	p.Data = n
	return p, nil
}
