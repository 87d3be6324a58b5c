package webforum

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
)

const hitsPage = 25

type hit struct {
	Href, Subject, Author, Date, ISO, Excerpt string
	Group, GroupHref                          string
}

type searchData struct {
	Query      string
	Hits       []hit
	Total      int
	Prev, Next string
	None       bool // this node has no search
}

func (f *Forum) searchPage(v *visitor) (*page, error) {
	d := &searchData{Query: clip(v.r.URL.Query().Get("q"), 500), None: f.Search == nil}
	p := &page{visitor: v, Name: "search", Title: v.tx.T("search"), Data: d, NoIndex: true, Crumbs: []crumb{{v.tx.T("groups"), "/"}}}
	if d.Query != "" {
		p.Title = d.Query
	}
	if d.Query == "" || d.None {
		return p, nil
	}
	n, err := strconv.Atoi(v.r.URL.Query().Get("page"))
	if err != nil || n < 1 || n > 400 {
		n = 1
	}
	ids, total, err := f.Search.Search(v.ctx, d.Query, (n-1)*hitsPage, hitsPage)
	var wrong interface{ Question() string } // what is wrong with it
	if errors.As(err, &wrong) {
		p.Status, p.Notice = http.StatusUnprocessableEntity, v.tx.T("search.wrong."+wrong.Question())
		return p, nil
	}
	if err != nil {
		f.Log.Warn("forum: search", "query", d.Query, "error", err)
		p.Status, p.Notice = http.StatusServiceUnavailable, v.tx.T("search.failed")
		return p, nil
	}
	d.Total = total
	for _, id := range ids {
		if h, ok := v.hit(id, d.Query); ok {
			d.Hits = append(d.Hits, h)
		}
	}
	at := func(i int) string { return "/search?q=" + url.QueryEscape(d.Query) + "&page=" + strconv.Itoa(i) }
	if n > 1 {
		d.Prev = at(n - 1)
	}
	if n*hitsPage < total {
		d.Next = at(n + 1)
	}
	return p, nil
}

// hit makes a line of a result that is still here and that the visitor may read.
func (v *visitor) hit(id article.ID, query string) (hit, bool) {
	e, err := v.Spool.ByID(v.ctx, id)
	if err != nil || !v.readable(e) {
		return hit{}, false
	}
	a, err := v.Spool.Open(v.ctx, e.Seq)
	if err != nil {
		return hit{}, false
	}
	name, _ := content.Author(e.From)
	at := sent(e)
	h := hit{Href: messagePath(id), Subject: subject(e.Subject), Author: name, Date: v.date(at), ISO: at.Format(time.RFC3339)}
	h.Excerpt = excerpt(content.Of(a).Own(20000), query)
	for _, p := range e.Places {
		if v.mayRead(p.Group) {
			h.Group, h.GroupHref = string(p.Group), groupPath(p.Group)
			break
		}
	}
	return h, true
}

// excerpt is the stretch of a text around the first word that was asked for.
func excerpt(text, query string) string {
	const width = 240
	low := strings.ToLower(text)
	at := -1
	for _, w := range strings.Fields(strings.ToLower(query)) {
		w = strings.Trim(w, `"+-()`)
		if len(w) < 2 || strings.Contains(w, ":") {
			continue
		}
		if i := strings.Index(low, w); i >= 0 && (at < 0 || i < at) {
			at = i
		}
	}
	if at < 80 || len(low) != len(text) {
		at = 0
	} else {
		at -= 60
		if i := strings.IndexByte(text[at:], ' '); i >= 0 {
			at += i + 1
		}
	}
	out := text[at:]
	if len(out) > width {
		out = strings.ToValidUTF8(out[:width], "")
		if i := strings.LastIndexByte(out, ' '); i > 0 {
			out = out[:i]
		}
		out += " …"
	}
	if at > 0 {
		out = "… " + out
	}
	return out
}
