package webforum

import (
	"errors"
	"html/template"
	"net/http"
	"strings"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article/content"
)

const queueMost = 20 // submissions on one page

type submission struct {
	Key, Author, Address, Subject string
	Groups, Since                 string
	Body                          template.HTML
	Files                         []string
}

type queueData struct {
	List     []submission
	Reported []reported
	More     int
}

// Waiting is how much waits for the visitor's decision: submissions, and articles
// that were reported.
func (v *visitor) Waiting() int {
	if v.account == nil {
		return 0
	}
	return len(v.submitted()) + len(v.reported())
}

// submitted are the submissions that the visitor may decide about; asked once a request.
func (v *visitor) submitted() []agent.Held {
	if v.queue == nil && v.Moderation != nil {
		list, err := v.Moderation.Queue(v.ctx, v.origin())
		if err != nil {
			v.Log.Warn("forum: waiting room", "error", err)
		}
		v.queue = append([]agent.Held{}, list...)
	}
	return v.queue
}

// queuePage shows moderators what waits for them, and takes their decisions.
func (f *Forum) queuePage(v *visitor) (*page, error) {
	if v.account == nil || f.Moderation == nil && f.Ward == nil {
		return nil, errPage(http.StatusUnauthorized, "queue.login")
	}
	if v.r.Method == http.MethodPost && f.Moderation != nil {
		q := v.form()
		var err error
		switch q.Get("act") {
		case "approve":
			err = f.Moderation.Approve(v.ctx, q.Get("key"), v.origin())
		case "reject":
			err = f.Moderation.Reject(v.ctx, q.Get("key"), v.origin())
		default:
			err = errPage(http.StatusBadRequest, "error.form")
		}
		var ref *agent.Refusal
		if errors.As(err, &ref) && ref.Reason == agent.Absent { // somebody else decided
			return nil, errPage(http.StatusNotFound, "queue.gone")
		} else if err != nil {
			return nil, err
		}
		f.Log.Info("forum: submission decided", "act", q.Get("act"), "key", q.Get("key"), "by", v.account.Name)
		v.redirect("/moderate")
		return nil, nil
	}
	list := v.submitted()
	d := &queueData{Reported: v.reported(), More: max(0, len(list)-queueMost)}
	for _, h := range list[:min(len(list), queueMost)] {
		h, a, err := f.Moderation.Held(v.ctx, h.Key, v.origin())
		if err != nil {
			continue // decided meanwhile
		}
		c := content.Of(a)
		s := submission{Key: h.Key, Subject: strings.TrimSpace(content.Header(h.Subject)), Since: v.moment(h.First), Body: v.body(c, h.ID)}
		s.Author, s.Address = content.Author(h.From)
		for _, g := range h.Groups {
			s.Groups += string(g) + " "
		}
		for _, p := range c.Files() {
			s.Files = append(s.Files, p.Name+", "+p.Type+", "+v.tx.size(p.Size()))
		}
		d.List = append(d.List, s)
	}
	v.w.Header().Set("Cache-Control", "no-store")
	return &page{visitor: v, Name: "moderate", Title: v.tx.T("queue.title"), Data: d, NoIndex: true, Crumbs: []crumb{{v.tx.T("groups"), "/"}}}, nil
}
