package webforum

import (
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/spool/threads"
	"github.com/litfass/litfass/webforum/past"
)

// Past keeps the versions of articles that their authors replaced. past.Book is one.
type Past interface {
	Before(id article.ID) ([]past.Version, error)
	Replaced(ids []article.ID) (map[article.ID][]past.Version, error)
}

type versionRow struct {
	Date, ISO string
	Subject   string // only if it was another
	Changed   template.HTML
	Lost      bool
}

type historyData struct {
	Href     string
	Author   string
	Versions []versionRow
}

// historyPage shows what an author changed, the latest change first.
func (f *Forum) historyPage(v *visitor) (*page, error) {
	e, err := v.entry(v.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	var list []past.Version
	if f.Past != nil {
		if list, err = f.Past.Before(e.ID); err != nil {
			return nil, err
		}
	}
	if len(list) == 0 && e.Has&article.HasSupersedes == 0 {
		return nil, errPage(http.StatusNotFound, "history.none")
	}
	a, err := v.Spool.Open(v.ctx, e.Seq)
	if err != nil {
		return nil, err
	}
	d := &historyData{Href: messagePath(e.ID)}
	d.Author, _ = content.Author(e.From)
	newer, newSubject := content.Of(a).Plain(), subject(e.Subject)
	for _, old := range list {
		row := versionRow{Date: v.moment(old.At), ISO: old.At.Format(time.RFC3339), Lost: true}
		if oa, err := article.Parse(old.Wire, article.Limits{}); old.Wire != nil && err == nil {
			text, s := content.Of(oa).Plain(), subject(oa.Get("Subject"))
			if row.Lost, row.Changed = false, changes(text, newer); s != newSubject {
				row.Subject = s
			}
			newer, newSubject = text, s
		}
		d.Versions = append(d.Versions, row)
	}
	return &page{visitor: v, Name: "history", Title: v.tx.T("history.title"), Data: d, NoIndex: true,
		Crumbs: []crumb{{v.tx.T("groups"), "/"}, {subject(e.Subject), messagePath(e.ID)}}}, nil
}

const maxDiff = 400 // lines of a version that are compared; longer ones are shown whole

// changes shows two texts as one, with the lines that went and those that came.
func changes(old, new string) template.HTML {
	a, b := strings.Split(strings.TrimSpace(old), "\n"), strings.Split(strings.TrimSpace(new), "\n")
	var out strings.Builder
	line := func(tag, sign, s string) {
		if tag != "" {
			out.WriteString("<" + tag + ">")
		}
		out.WriteString(sign + " ")
		escape(&out, s)
		if tag != "" {
			out.WriteString("</" + tag + ">")
		}
		out.WriteByte('\n')
	}
	if len(a) > maxDiff || len(b) > maxDiff {
		for _, l := range a {
			line("", " ", l)
		}
		return template.HTML(out.String())
	}
	same := common(a, b)
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			line("", " ", a[i])
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && same[i+1][j] >= same[i][j+1]:
			line("del", "-", a[i])
			i++
		default:
			line("ins", "+", b[j])
			j++
		}
	}
	return template.HTML(out.String())
}

// common counts for each pair of places how many lines a and b share after them.
func common(a, b []string) [][]int {
	n := make([][]int, len(a)+1)
	for i := range n {
		n[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				n[i][j] = n[i+1][j+1] + 1
			} else {
				n[i][j] = max(n[i+1][j], n[i][j+1])
			}
		}
	}
	return n
}

// renewed lets new versions take the places of those they replaced: what answers
// the old one answers the new, and the time stays.
func (v *visitor) renewed(list []threads.Post) []threads.Post {
	if v.Past == nil {
		return list
	}
	at, ids := map[article.ID]int{}, make([]article.ID, len(list))
	for i := range list {
		at[list[i].ID], ids[i] = i, list[i].ID
	}
	olds, err := v.Past.Replaced(ids)
	if err != nil {
		v.Log.Warn("forum: earlier versions", "error", err)
	}
	if len(olds) == 0 {
		return list
	}
	heir := map[article.ID]article.ID{} // old version: the newest one
	for id, chain := range olds {
		for _, old := range chain {
			if h := heir[old.ID]; old.ID != id && (h == "" || len(olds[h]) < len(chain)) {
				heir[old.ID] = id
			}
		}
	}
	out := make([]threads.Post, 0, len(list))
	for _, p := range list {
		if heir[p.ID] != "" {
			continue
		}
		if chain := olds[p.ID]; len(chain) > 0 {
			first := chain[len(chain)-1]
			if i, ok := at[first.ID]; ok {
				p.Parent = list[i].Parent
			}
			if !first.Date.IsZero() {
				p.When = first.Date
			}
		}
		if h := heir[p.Parent]; h != "" && h != p.ID {
			p.Parent = h
		}
		out = append(out, p)
	}
	return out
}
