package webforum

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/threads"
)

const threadsPage = 50

type threadRow struct {
	Href, Subject, Author, Letter string
	Color                         int
	Replies                       string
	Word                          string // "replies"
	LastAuthor, LastAt, LastISO   string
	New, Watched                  bool
	NewHref                       string
}

type listData struct {
	Group         string
	Desc          string
	Rows          []threadRow
	Order         string
	Next, First   string
	PostHref      string // "": the visitor may not post
	PostWhy       string
	Moderated     bool
	MarkHref      string
	Undo          string
	Unread, Count string
	High          uint64
}

func (f *Forum) groupPage(v *visitor) (*page, error) {
	g, err := v.group(v.r.PathValue("group"))
	if err != nil {
		return nil, err
	}
	if v.unchanged(g.High, g.Low, g.Count, g.Description, g.Status, f.Threads.Mark()) {
		return nil, nil
	}
	q := v.r.URL.Query()
	order := v.order(q)
	d := listData{Group: string(g.Name), Desc: content.Header(g.Description), Order: order, Moderated: g.Status == spool.Moderated, Count: v.tx.number(g.Count), High: g.High, Undo: q.Get("undo")}
	rows, next, err := v.threadRows(g, order, q.Get("from"))
	if errors.Is(err, threads.ErrPage) {
		return nil, errPage(http.StatusNotFound, "error.page")
	} else if err != nil {
		return nil, err
	}
	d.Rows = rows
	base := groupPath(g.Name) + "?order=" + order
	if next != "" {
		d.Next = base + "&from=" + url.QueryEscape(next)
	}
	if q.Get("from") != "" {
		d.First = base
	}
	d.PostHref, d.PostWhy = v.maybePost(g)
	if r := v.marks.of(g.Name); len(r) > 0 {
		if n := min(r.unread(g.Low, g.High), g.Count); n > 0 {
			d.Unread = v.tx.number(n)
		}
	} else if g.High > 0 && d.Undo == "" { // the first visit: what is here now does not count as new
		v.marks.set(g.Name, ranges{{1, g.High}})
	}
	v.marks.save()
	return &page{visitor: v, Name: "group", Title: string(g.Name), Group: string(g.Name), Data: d, Live: "g=" + string(g.Name),
		Crumbs: []crumb{{v.tx.T("groups"), "/"}}}, nil
}

func (v *visitor) order(q url.Values) string {
	switch o := q.Get("order"); o {
	case "active", "newest", "unread":
		if o != v.prefs.Order {
			v.prefs.Order = o
			v.savePrefs()
		}
		return o
	}
	if v.prefs.Order != "" {
		return v.prefs.Order
	}
	return "active"
}

// threadRows reads a page of a list. "unread" leaves out what was read, and looks
// at most at 20 pages for it.
func (v *visitor) threadRows(g spool.GroupInfo, order, from string) (rows []threadRow, next string, err error) {
	o := threads.Active
	if order == "newest" {
		o = threads.Newest
	}
	read := v.marks.of(g.Name)
	gaps := v.gapThreads(g, read)
	for range 20 {
		list, n, err := v.Threads.List(v.ctx, g.Name, o, from, threadsPage)
		if err != nil {
			return nil, "", err
		}
		for _, t := range list {
			if v.lone(t) {
				continue
			}
			row := v.threadRow(g.Name, t)
			_, row.Watched = v.shelf().watches[t.Root]
			row.New = len(read) > 0 && t.High > 0 && (!read.has(t.High) || gaps[t.Root])
			if row.New && len(v.shelf().muted) > 0 {
				if k, err := v.fresh(g.Name, t.Root); err == nil && k == 0 {
					row.New = false
				}
			}
			if order == "unread" && !row.New {
				continue
			}
			if row.New {
				row.NewHref = row.Href + "?view=" + v.view() + "&new=1"
			}
			rows = append(rows, row)
		}
		if next = n; n == "" || order != "unread" || len(rows) >= threadsPage {
			break
		}
		from = n
	}
	return rows, next, nil
}

// lone says whether all of a thread is one article that is hidden from the visitor.
func (v *visitor) lone(t threads.Thread) bool {
	if v.Ward == nil || t.Posts != 1 {
		return false
	}
	e, err := v.Spool.ByID(v.ctx, t.LastID)
	return err == nil && !v.readable(e)
}

func (v *visitor) threadRow(g article.Group, t threads.Thread) threadRow {
	name, addr := content.Author(t.From)
	last, _ := content.Author(t.LastFrom)
	row := threadRow{
		Href: threadPath(g, t.Root), Subject: subject(t.Subject), Author: name, Letter: letterOf(name), Color: colorOf(name + addr),
		LastAt: v.date(t.Last), LastISO: t.Last.Format(time.RFC3339),
	}
	replies := max(0, t.Posts-1)
	if row.Replies, row.Word = v.tx.number(uint64(replies)), v.tx.N("replies", replies); replies > 0 {
		row.LastAuthor = last
	}
	return row
}

// maybePost gives the address of the form, or says why there is none.
func (v *visitor) maybePost(g spool.GroupInfo) (href, why string) {
	if v.account == nil && v.Anonymous != "post" {
		return "", v.tx.T("post.login")
	}
	err := v.Agent.Postable(v.ctx, v.origin(), g)
	if err == nil {
		return groupPath(g.Name) + "/post", ""
	}
	var r *agent.Refusal
	if errors.As(err, &r) {
		return "", v.refusal(r)
	}
	return "", v.tx.T("error.busy")
}

// markGroup marks all of a group as read; "undo" carries what was read before.
func (f *Forum) markGroup(v *visitor) (*page, error) {
	g, err := v.group(v.r.PathValue("group"))
	if err != nil {
		return nil, err
	}
	q := v.form()
	if undo := q.Get("undo"); undo != "" {
		v.marks.set(g.Name, parseRanges(undo))
		v.marks.save()
		v.redirect(groupPath(g.Name))
		return nil, nil
	}
	old := v.marks.of(g.Name).String()
	v.marks.set(g.Name, ranges{{1, max(1, g.High)}})
	v.marks.save()
	to := groupPath(g.Name)
	if old != "" && len(old) < 1500 {
		to += "?undo=" + url.QueryEscape(old)
	}
	v.redirect(to)
	return nil, nil
}

// letterOf and colorOf make the disc that stands for an author.
func letterOf(name string) string {
	for _, r := range name {
		if r > ' ' && r != '"' && r != '\'' && r != '(' {
			return string(r)
		}
	}
	return "?"
}

func colorOf(who string) int {
	h := uint32(2166136261)
	for i := 0; i < len(who); i++ {
		h = (h ^ uint32(who[i])) * 16777619
	}
	return int(h>>8) % 8
}
