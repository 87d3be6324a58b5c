package webforum

import (
	"context"
	"fmt"
	"hash/fnv"
	"net/url"
	"slices"
	"sort"
	"strconv"
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
	want chan struct{} // to Run: read them anew
	gen  int           // grows when somebody changed them here
}

const (
	groupsAge  = 3 * time.Second
	manyGroups = 60   // up to so many are shown on the front page, all of them
	hugeGroups = 5000 // walking more takes so long that what changes may wait for hugeAge
	hugeAge    = 30 * time.Second
	hugeMost   = 10 * time.Minute // an older list is nothing to be shown while a new one is made
	cloudPage  = 300              // hierarchies on a page
)

// allGroups returns the groups and a sum that changes when any of them does. A huge list
// that is old is shown once more while Run makes a new one.
func (v *visitor) allGroups() ([]spool.GroupInfo, uint64, error) {
	c := &v.Forum.groups
	c.mu.Lock()
	defer c.mu.Unlock()
	age, huge := v.now.Sub(c.at), len(c.list) > hugeGroups
	switch {
	case c.list == nil || age < 0:
	case huge && age < hugeAge, c.seq == v.Spool.Last() && age < groupsAge:
		return c.list, c.sum, nil
	case huge && age < hugeMost:
		select {
		case c.want <- struct{}{}:
		default: // asked already
		}
		return c.list, c.sum, nil
	}
	n, err := v.readGroups(v.ctx, len(c.list))
	if err != nil {
		return nil, 0, err
	}
	c.take(n)
	return c.list, c.sum, nil
}

// take keeps what was read; c.mu is held.
func (c *groupCache) take(n *groupCache) {
	c.list, c.seq, c.at, c.sum, c.last = n.list, n.seq, n.at, n.sum, n.last
}

// readGroups reads all groups, about size.
func (f *Forum) readGroups(ctx context.Context, size int) (*groupCache, error) {
	n := &groupCache{seq: f.Spool.Last(), at: f.Now(), list: make([]spool.GroupInfo, 0, size), last: map[article.Group]threads.Thread{}}
	h := fnv.New64a()
	for g, err := range f.Spool.Groups(ctx) {
		if err != nil {
			return nil, fmt.Errorf("list groups: %w", err)
		}
		fmt.Fprintln(h, g.Name, g.Description, g.Status, g.Low, g.High, g.Count)
		n.list = append(n.list, g)
	}
	n.sum = h.Sum64()
	return n, nil
}

// renewGroups reads the groups whenever a visitor saw an old list, until ctx ends.
func (f *Forum) renewGroups(ctx context.Context) {
	c := &f.groups
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.want:
		}
		c.mu.Lock()
		size, gen := len(c.list), c.gen
		c.mu.Unlock()
		n, err := f.readGroups(ctx, size)
		if err != nil {
			if ctx.Err() == nil {
				f.Log.Warn("forum: the list of groups stays old", "error", err)
			}
			continue
		}
		c.mu.Lock()
		if c.gen == gen {
			c.take(n)
		}
		c.mu.Unlock()
	}
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
	Groups []groupRow
}

type frontData struct {
	Sections    []section
	Hierarchies []hierarchy // of a large list
	Programs    []hierarchy // groups that people do not read
	AllPrograms string      // where the rest of them stands, or ""
	ForPrograms bool        // the page of those
	Under, Find string      // what the visitor narrows the list to
	Large       bool        // there is enough to look for a name among
	Prev, Next  string
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
	q := v.r.URL.Query()
	d := frontData{Under: q.Get("under"), Find: strings.ToLower(clip(q.Get("find"), 100)), ForPrograms: q.Get("programs") != "", FirstRun: firstRun}
	p := &page{visitor: v, Name: "front", Title: f.Host, Live: "all"}
	if d.ForPrograms {
		p.Title = v.tx.T("groups.programs")
	} else if d.Under != "" {
		p.Title = d.Under + ".*"
	} else if d.Find != "" {
		p.Title = d.Find
	}
	if p.Title != f.Host {
		p.Crumbs = []crumb{{v.tx.T("groups"), "/"}}
	}
	v.fillFront(&d, list)
	p.Data = d
	return p, nil
}

// fillFront puts the groups on the front page that the visitor may read and asked for:
// few all of them, many by hierarchy. Without a question, those for programs stand
// apart.
func (v *visitor) fillFront(d *frontData, list []spool.GroupInfo) {
	var show, programs []*spool.GroupInfo // of very many, copies would keep the collector busy
	var articles uint64
	for i := range list {
		g := &list[i]
		switch name := string(g.Name); {
		case d.Under != "" && name != d.Under && !strings.HasPrefix(name, d.Under+"."):
		case !strings.Contains(strings.ToLower(name), d.Find) || !v.mayRead(g.Name):
		case (d.ForPrograms || d.Under == "" && d.Find == "") && forPrograms(name):
			programs = append(programs, g)
		case d.ForPrograms:
		default:
			show = append(show, g)
			articles += g.Count
		}
	}
	if d.ForPrograms {
		lo, hi, prev, next := v.slice(len(programs), cloudPage)
		d.Total, d.Hierarchies, d.Prev, d.Next = len(programs), v.cloud(programs[lo:hi]), prev, next
		for _, g := range programs {
			d.N += int(g.Count)
		}
		d.Articles = v.tx.number(uint64(d.N))
		return
	}
	d.Total, d.Articles, d.N, d.Empty = len(show), v.tx.number(articles), int(articles), len(show) == 0
	d.Large = d.Find != "" || len(show) > manyGroups
	switch {
	case d.Find != "":
		lo, hi, prev, next := v.slice(len(show), manyGroups)
		d.Sections, d.Prev, d.Next = v.sections(show[lo:hi]), prev, next
	case len(show) <= manyGroups:
		d.Sections = v.sections(show)
	default:
		all := v.hierarchies(show, d.Under)
		lo, hi, prev, next := v.slice(len(all), cloudPage)
		d.Hierarchies, d.Prev, d.Next = v.counted(all[lo:hi]), prev, next
		if lo == 0 {
			d.Sections = []section{{Name: v.tx.T("groups.busiest"), Groups: v.busiest(show, 20)}}
		}
	}
	if d.Programs = v.cloud(programs[:min(len(programs), cloudPage)]); len(programs) > cloudPage {
		d.AllPrograms = "/?programs=1"
	}
}

// cloud is a line for each group.
func (v *visitor) cloud(list []*spool.GroupInfo) (out []hierarchy) {
	for _, g := range list {
		out = append(out, hierarchy{Name: string(g.Name), Href: groupPath(g.Name), Groups: 1, N: int(g.Count)})
	}
	return v.counted(out)
}

// forPrograms says whether programs write a group and read it: control messages
// (RFC 5537 §5), what was filed nowhere else, and the directory of keys.
func forPrograms(name string) bool {
	return name == "junk" || name == "control" || strings.HasPrefix(name, "control.") || strings.Contains(name, ".admin.pki.")
}

// slice returns which of n things stand on the page that the address asks for, and
// the addresses of the pages beside it.
func (v *visitor) slice(n, per int) (lo, hi int, prev, next string) {
	asked, q := v.r.URL.Query(), url.Values{}
	for _, k := range [...]string{"under", "find", "programs"} {
		if s := asked.Get(k); s != "" {
			q.Set(k, s)
		}
	}
	at := func(page int) string {
		q.Set("page", strconv.Itoa(page))
		return "?" + q.Encode()
	}
	page, err := strconv.Atoi(asked.Get("page"))
	if err != nil || page < 1 || page-1 > (n-1)/per {
		page = 1
	}
	lo, hi = (page-1)*per, min(page*per, n)
	if page > 1 {
		prev = at(page - 1)
	}
	if hi < n {
		next = at(page + 1)
	}
	return lo, hi, prev, next
}

// sections puts groups under their top-level hierarchies.
func (v *visitor) sections(list []*spool.GroupInfo) []section {
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

func (v *visitor) busiest(list []*spool.GroupInfo, n int) []groupRow {
	var top []*spool.GroupInfo // sorting very many of them would take longer than all else
	for _, g := range list {
		if len(top) < n || g.Count > top[n-1].Count {
			at := sort.Search(len(top), func(i int) bool { return top[i].Count < g.Count })
			top = slices.Insert(top[:min(len(top), n-1)], at, g)
		}
	}
	var out []groupRow
	for _, g := range top {
		out = append(out, v.groupRow(g))
	}
	return out
}

// hierarchies are the next components of the names under a prefix.
func (v *visitor) hierarchies(list []*spool.GroupInfo, under string) []hierarchy {
	at := map[string]int{}
	var out []hierarchy
	for _, g := range list {
		name := string(g.Name)
		begin := 0
		if under != "" {
			begin = min(len(under)+1, len(name)) // it may be the name itself
		}
		part, _, _ := strings.Cut(name[begin:], ".")
		key := name[:begin+len(part)]
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
			out[i].Href, out[i].Name = "/?under="+url.QueryEscape(key), key+".*"
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// counted writes the numbers of articles as the visitor does.
func (v *visitor) counted(list []hierarchy) []hierarchy {
	for i := range list {
		list[i].Articles = v.tx.number(uint64(list[i].N))
	}
	return list
}

func (v *visitor) groupRow(g *spool.GroupInfo) groupRow {
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

func (c *groupCache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = nil
	c.gen++
}
