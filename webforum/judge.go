package webforum

import (
	"cmp"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/webforum/ward"
)

const logPage = 50

// reasonData is a form that asks for a reason.
type reasonData struct {
	Heading, Why, Action, Send, Back string
	Error, Reason                    string
}

// hidden says whether moderators hid an article here, or barred its key.
func (v *visitor) hidden(e spool.Entry) (ward.Note, bool) {
	if v.Ward == nil {
		return ward.Note{}, false
	}
	return v.Ward.Hidden(e.ID, e.Proof.Identity)
}

// moderates says whether the visitor may decide about what stands in e's groups.
func (v *visitor) moderates(e spool.Entry) bool {
	if v.account == nil || v.Ward == nil {
		return false
	}
	if v.account.Admin {
		return true
	}
	if v.Moderation == nil {
		return false
	}
	var groups []article.Group
	for _, p := range e.Places {
		groups = append(groups, p.Group)
	}
	return v.Moderation.May(v.ctx, v.origin(), groups)
}

// unseen says whether a line about an article, made without opening it, must not
// be shown. It costs a lookup where moderators hid anything.
func (v *visitor) unseen(id article.ID) bool {
	if v.Ward == nil || v.Ward.Empty() {
		return false
	}
	e, err := v.Spool.ByID(v.ctx, id)
	return err == nil && !v.readable(e)
}

func (v *visitor) wardStamp() uint64 {
	if v.Ward == nil {
		return 0
	}
	return v.Ward.Stamp()
}

// judged looks up the article that a form of moderators names.
func (v *visitor) judged() (spool.Entry, error) {
	e, err := v.entry(v.r.PathValue("id"))
	if err == nil && v.Ward == nil {
		err = errPage(http.StatusNotFound, "error.page")
	}
	return e, err
}

// reportForm lets readers tell the moderators of an article.
func (f *Forum) reportForm(v *visitor) (*page, error) {
	e, err := v.judged()
	if err != nil {
		return nil, err
	}
	if v.account == nil && v.Anonymous != "post" {
		return nil, errPage(http.StatusUnauthorized, "refusal.login")
	}
	d := &reasonData{Heading: v.tx.T("report.title"), Why: v.tx.T("report.why"), Action: messagePath(e.ID) + "/report", Send: v.tx.T("report.send"), Back: messagePath(e.ID)}
	if v.r.Method == http.MethodPost {
		by := ""
		if v.account != nil {
			by = v.account.Name
		}
		if err = f.Ward.Report(e.ID, v.form().Get("reason"), by); err == nil {
			return &page{visitor: v, Name: "notice", Title: v.tx.T("report.done"), Data: [2]string{v.tx.T("report.thanks"), messagePath(e.ID)}, NoIndex: true}, nil
		}
	}
	return v.reason(d, err)
}

// reason shows the form; err is why it comes back.
func (v *visitor) reason(d *reasonData, err error) (*page, error) {
	p := &page{visitor: v, Name: "reason", Title: d.Heading, Data: d, NoIndex: true, Crumbs: []crumb{{v.tx.T("groups"), "/"}}}
	if errors.Is(err, ward.ErrReason) {
		d.Error, p.Status = v.tx.T("reason.missing"), http.StatusUnprocessableEntity
	} else if err != nil {
		return nil, err
	}
	return p, nil
}

// hideForm hides an article on this node, shows it again, or drops its reports.
func (f *Forum) hideForm(v *visitor) (*page, error) {
	e, err := v.judged()
	if err != nil {
		return nil, err
	}
	if !v.moderates(e) {
		return nil, errPage(http.StatusForbidden, "hide.only")
	}
	d := &reasonData{Heading: v.tx.T("hide.title"), Why: v.tx.T("hide.why"), Action: messagePath(e.ID) + "/hide", Send: v.tx.T("hide.send"), Back: messagePath(e.ID)}
	if v.r.Method != http.MethodPost {
		return v.reason(d, nil)
	}
	q := v.form()
	to := messagePath(e.ID)
	switch q.Get("act") {
	case "show":
		if err = f.Ward.Do(ward.Show, string(e.ID), q.Get("reason"), v.account.Name); errors.Is(err, ward.ErrNotFound) {
			err = nil // somebody else was quicker
		}
	case "dismiss":
		to, err = "/moderate", f.Ward.Dismiss(e.ID)
	default:
		err = f.Ward.Do(ward.Hide, string(e.ID), q.Get("reason"), v.account.Name)
	}
	if err != nil {
		return v.reason(d, err)
	}
	v.redirect(to)
	return nil, nil
}

// banForm bars a key, or lifts that. Administrators only: it holds in all groups.
func (f *Forum) banForm(v *visitor) (*page, error) {
	id := v.r.PathValue("identity")
	if len(id) != 52 || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz234567") != "" || f.Ward == nil {
		return nil, errPage(http.StatusNotFound, "error.person")
	}
	if v.account == nil || !v.account.Admin {
		return nil, errPage(http.StatusForbidden, "admin.only")
	}
	d := &reasonData{Heading: v.tx.T("ban.title"), Why: v.tx.T("ban.why"), Action: "/u/" + id + "/ban", Send: v.tx.T("ban.send"), Back: "/u/" + id + "/"}
	if v.r.Method != http.MethodPost {
		return v.reason(d, nil)
	}
	q := v.form()
	var err error
	if q.Get("act") == "lift" {
		if err = f.Ward.Do(ward.UnbanKey, id, q.Get("reason"), v.account.Name); errors.Is(err, ward.ErrNotFound) {
			err = nil
		}
	} else if id == v.account.Identity {
		return nil, errPage(http.StatusUnprocessableEntity, "admin.self")
	} else {
		err = f.Ward.Do(ward.BanKey, id, q.Get("reason"), v.account.Name)
	}
	if err != nil {
		return v.reason(d, err)
	}
	v.redirect(d.Back)
	return nil, nil
}

type logRow struct {
	Act, What, Href, Reason, By, Date, ISO string
}

// logPage shows everybody what moderators decided, and why.
func (f *Forum) logPage(v *visitor) (*page, error) {
	if f.Ward == nil {
		return nil, errPage(http.StatusNotFound, "error.page")
	}
	list, next, err := f.Ward.Log(v.r.URL.Query().Get("from"), logPage)
	if err != nil {
		return nil, err
	}
	d := struct {
		Rows []logRow
		Next string
	}{}
	for _, e := range list {
		r := logRow{Act: v.tx.T("log." + e.Act), What: e.What, Reason: e.Reason, By: e.By, Date: v.moment(e.At), ISO: e.At.Format(time.RFC3339)}
		switch e.Act {
		case ward.Hide, ward.Show:
			r.Href = messagePath(article.ID(e.What))
		case ward.BanKey, ward.UnbanKey:
			r.Href = "/u/" + e.What + "/"
			r.What = e.What[:min(8, len(e.What))] + "…"
		}
		d.Rows = append(d.Rows, r)
	}
	if next != "" {
		d.Next = "?from=" + next
	}
	return &page{visitor: v, Name: "log", Title: v.tx.T("log.title"), Data: d, NoIndex: true, Crumbs: []crumb{{v.tx.T("groups"), "/"}}}, nil
}

// reported is an article that readers reported, for those who decide.
type reported struct {
	Href, Subject, Author string
	Notes                 []note
}

// note is what somebody said of it, and when.
type note struct{ By, Reason, At string }

// reported lists what readers reported and the visitor may decide about; asked once
// a request.
func (v *visitor) reported() []reported {
	if v.Ward == nil || v.account == nil || v.reports != nil {
		return v.reports
	}
	list, err := v.Ward.Reports()
	if err != nil {
		v.Log.Warn("forum: reports", "error", err)
	}
	v.reports = []reported{}
	for _, r := range list {
		e, err := v.Spool.ByID(v.ctx, r.ID)
		if err != nil || !v.moderates(e) { // gone articles leave the list by themselves
			continue
		}
		author, _ := content.Author(e.From)
		row := reported{Href: messagePath(e.ID), Subject: subject(e.Subject), Author: author}
		for _, n := range r.Notes {
			row.Notes = append(row.Notes, note{cmp.Or(n.By, v.tx.T("guest.name")), n.Reason, v.moment(n.At)})
		}
		v.reports = append(v.reports, row)
	}
	return v.reports
}
