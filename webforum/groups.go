package webforum

import (
	"fmt"
	"hash/fnv"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/threads"
)

// groupCache holds all groups for a moment, so that a busy front page does not walk
// them for every visitor.
type groupCache struct {
	mu   sync.Mutex
	list []spool.GroupInfo
	last map[article.Group]threads.Thread
	sum  uint64
	seq  spool.Seq
	at   time.Time
}

const (
	groupsAge  = 3 * time.Second
	manyGroups = 60 // up to so many are shown on the front page, all of them
)

// allGroups returns the groups and a sum that changes when any of them does.
func (v *visitor) allGroups() ([]spool.GroupInfo, uint64, error) {
	c := &v.Forum.groups
	c.mu.Lock()
	defer c.mu.Unlock()
	if last := v.Spool.Last(); c.list != nil && c.seq == last && v.now.Sub(c.at) < groupsAge && !v.now.Before(c.at) {
		return c.list, c.sum, nil
	}
	seq := v.Spool.Last()
	list := []spool.GroupInfo{}
	h := fnv.New64a()
	for g, err := range v.Spool.Groups(v.ctx) {
		if err != nil {
			return nil, 0, fmt.Errorf("list groups: %w", err)
		}
		fmt.Fprintln(h, g.Name, g.Description, g.Status, g.Low, g.High, g.Count)
		list = append(list, g)
	}
	c.list, c.seq, c.at, c.sum, c.last = list, seq, v.now, h.Sum64(), map[article.Group]threads.Thread{}
	return list, c.sum, nil
}

// lastOf is the latest thread of a group, kept as long as the list of groups.
func (v *visitor) lastOf(g article.Group) (threads.Thread, bool) {
	c := &v.Forum.groups
	c.mu.Lock()
	defer c.mu.Unlock()
	if t, ok := c.last[g]; ok {
		return t, t.Root != ""
	}
	list, _, err := v.Threads.List(v.ctx, g, threads.Active, "", 1)
	if err != nil || len(list) == 0 {
		list = []threads.Thread{{}}
	}
	if c.last != nil {
		c.last[g] = list[0]
	}
	return list[0], list[0].Root != ""
}

type groupRow struct {
	Name, Short, Href, Desc string
	Count, Word             string
	Unread                  string // "": none, or the visitor was never here
	Last, LastHref, LastAt  string
	LastISO                 string
	Moderated, Closed       bool
}

type section struct {
	Name   string
	Href   string // of the hierarchy alone; "": it is shown whole
	Groups []groupRow
	More   int
}

type frontData struct {
	Sections    []section
	Hierarchies []hierarchy // of a large list
	Under       string
	Total       int
	Articles    string
	N           int
	Empty       bool // there is no group at all
	FirstRun    bool
}

type hierarchy struct {
	Name, Href, Articles string
	Groups, N            int
}

func (f *Forum) frontPage(v *visitor) (*page, error) {
	list, sum, err := v.allGroups()
	if err != nil {
		return nil, err
	}
	firstRun := false
	if f.Accounts != nil && v.account == nil {
		if firstRun, err = f.Accounts.Empty(v.ctx); err != nil {
			return nil, err
		}
	}
	if v.unchanged(sum, f.Threads.Mark(), firstRun) {
		return nil, nil
	}
	d := frontData{Under: v.r.URL.Query().Get("under"), FirstRun: firstRun}
	var show []spool.GroupInfo
	var articles uint64
	for _, g := range list {
		if v.mayRead(g.Name) && (d.Under == "" || string(g.Name) == d.Under || strings.HasPrefix(string(g.Name), d.Under+".")) {
			show = append(show, g)
			articles += g.Count
		}
	}
	d.Total, d.Articles, d.N, d.Empty = len(show), v.tx.number(articles), int(articles), len(show) == 0
	p := &page{visitor: v, Name: "front", Title: f.Host, Live: "all"}
	if d.Under != "" {
		p.Title = d.Under + ".*"
		p.Crumbs = []crumb{{v.tx.T("groups"), "/"}}
	}
	if len(show) <= manyGroups {
		d.Sections = v.sections(show)
	} else {
		d.Hierarchies = v.hierarchies(show, d.Under)
		d.Sections = []section{{Name: v.tx.T("groups.busiest"), Groups: v.busiest(show, 20)}}
	}
	p.Data = d
	return p, nil
}

// sections puts groups under their top-level hierarchies.
func (v *visitor) sections(list []spool.GroupInfo) []section {
	var out []section
	for _, g := range list {
		top, _, _ := strings.Cut(string(g.Name), ".")
		if n := len(out); n == 0 || out[n-1].Name != top {
			out = append(out, section{Name: top})
		}
		s := &out[len(out)-1]
		s.Groups = append(s.Groups, v.groupRow(g))
	}
	return out
}

func (v *visitor) busiest(list []spool.GroupInfo, n int) []groupRow {
	list = append([]spool.GroupInfo(nil), list...)
	sort.SliceStable(list, func(i, j int) bool { return list[i].Count > list[j].Count })
	var out []groupRow
	for _, g := range list[:min(n, len(list))] {
		out = append(out, v.groupRow(g))
	}
	return out
}

// hierarchies are the next components of the names under a prefix.
func (v *visitor) hierarchies(list []spool.GroupInfo, under string) []hierarchy {
	at := map[string]int{}
	var out []hierarchy
	for _, g := range list {
		name := string(g.Name)
		rest := name
		if under != "" {
			rest = strings.TrimPrefix(strings.TrimPrefix(name, under), ".")
		}
		part, _, _ := strings.Cut(rest, ".")
		key := strings.TrimPrefix(under+"."+part, ".")
		if rest == "" {
			key = under
		}
		i, ok := at[key]
		if !ok {
			i = len(out)
			at[key] = i
			out = append(out, hierarchy{})
		}
		out[i].Groups++
		out[i].N += int(g.Count)
		if out[i].Groups == 1 {
			out[i].Href = groupPath(g.Name)
			out[i].Name = name
		} else {
			out[i].Href, out[i].Name = "/?under="+key, key+".*"
		}
	}
	if len(out) > 300 { // there is a limit to what a page can hold: the largest
		sort.SliceStable(out, func(i, j int) bool { return out[i].N > out[j].N })
		out = out[:300]
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	for i := range out {
		out[i].Articles = v.tx.number(uint64(out[i].N))
	}
	return out
}

func (v *visitor) groupRow(g spool.GroupInfo) groupRow {
	row := groupRow{
		Name: string(g.Name), Href: groupPath(g.Name), Desc: content.Header(g.Description), Count: v.tx.number(g.Count), Word: v.tx.N("articles", int(g.Count)),
		Moderated: g.Status == spool.Moderated, Closed: g.Status == spool.PostNone,
	}
	if r := v.marks.of(g.Name); len(r) > 0 {
		if n := min(r.unread(g.Low, g.High), g.Count); n > 0 {
			row.Unread = v.tx.number(n)
		}
	}
	if g.Count == 0 {
		return row
	}
	if t, ok := v.lastOf(g.Name); ok {
		row.Last, row.LastHref = subject(t.Subject), threadPath(g.Name, t.Root)
		row.LastAt, row.LastISO = v.date(t.Last), t.Last.Format(time.RFC3339)
	}
	return row
}

// subject is a subject for lists: decoded, without "Re:", never empty.
func subject(s string) string {
	s = strings.Join(strings.Fields(content.Header(s)), " ")
	for {
		t := s
		if len(t) >= 3 && strings.EqualFold(t[:3], "re:") || len(t) >= 3 && strings.EqualFold(t[:3], "aw:") {
			t = strings.TrimSpace(t[3:])
		}
		if t == s {
			break
		}
		s = t
	}
	if s == "" {
		return "(…)"
	}
	return s
}
