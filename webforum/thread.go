package webforum

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/threads"
)

const (
	postsPage  = 25
	nestedPage = 50  // a tree is harder to cut
	wholeMost  = 300 // posts of a thread that is shown on one page, for who asks for that
)

type threadData struct {
	Subject            string
	Group              string
	Others             []crumb // the other groups it is crossposted to
	Posts              []post
	Rows               []post // index: all posts, one line each
	View               string
	Views              []viewLink
	Count              int
	Pages              []pageLink
	Prev, Next         string
	All                string // the whole thread on one page; "": it is, or is too long
	FirstNew           string
	ReplyHref, PostWhy string
	Feed               string
	News               string // "3 new posts", or ""
	WatchAction        string // "": the visitor cannot watch
	Watching           bool
	Quick              *quickForm
}

type viewLink struct {
	Name, Href string
	Current    bool
}

type pageLink struct {
	N       int
	Href    string
	Current bool
	Gap     bool
}

func (v *visitor) view() string {
	if v.prefs.View != "" {
		return v.prefs.View
	}
	return viewLinear
}

func (f *Forum) threadPage(v *visitor) (*page, error) {
	g, err := v.group(v.r.PathValue("group"))
	if err != nil {
		return nil, err
	}
	id, err := article.ParseID("<" + v.r.PathValue("root") + ">")
	if err != nil {
		return nil, errPage(http.StatusNotFound, "error.thread")
	}
	q := v.r.URL.Query()
	if w := q.Get("view"); w != "" && w != v.prefs.View {
		v.prefs.View = w
		v.prefs.sane()
		v.savePrefs()
	}
	root, stamp, err := f.Threads.Stamp(id)
	if errors.Is(err, spool.ErrNotFound) {
		return nil, errPage(http.StatusNotFound, "error.thread")
	} else if err != nil {
		return nil, err
	}
	if root != id {
		v.redirect(threadPath(g.Name, root) + "#" + anchor(id))
		return nil, nil
	}
	if v.unchanged(stamp, g.Status, g.Count) {
		return nil, nil
	}
	seq := v.Spool.Last()
	_, posts, err := f.Threads.Thread(v.ctx, id)
	if err != nil {
		return nil, err
	}
	t := &threadView{v: v, g: g, root: root, all: v.renewed(posts), read: v.marks.of(g.Name), seq: seq}
	return t.page()
}

// threadView makes one page of one thread.
type threadView struct {
	v    *visitor
	g    spool.GroupInfo
	root article.ID
	all  []threads.Post
	read ranges
	seq  spool.Seq // what came later is news to the page
	data threadData
}

func (t *threadView) page() (*page, error) {
	v := t.v
	order := t.order()
	if len(order) == 0 {
		return nil, errPage(http.StatusNotFound, "error.thread")
	}
	per := postsPage
	if v.view() == viewNested {
		per = nestedPage
	}
	whole := v.r.URL.Query().Get("page") == "all" && len(order) <= wholeMost
	if t.data.All = ""; len(order) > per && len(order) <= wholeMost && !whole && v.view() != viewIndex {
		t.data.All = "?page=all"
	}
	if whole {
		per = wholeMost
	}
	pages := (len(order) + per - 1) / per
	n, err := strconv.Atoi(v.r.URL.Query().Get("page"))
	if v.r.URL.Query().Get("new") != "" {
		n = t.firstNew(order)/per + 1
	} else if v.r.URL.Query().Get("page") == "last" {
		n = pages
	} else if err != nil || n < 1 || n > pages {
		n = 1
	}
	t.data.View, t.data.Group, t.data.Count = v.view(), string(t.g.Name), t.count()
	t.links(n, pages, per, order)
	if v.view() == viewIndex {
		t.index(order)
	} else if err := t.posts(order[(n-1)*per:min(n*per, len(order))], (n-1)*per); err != nil {
		return nil, err
	}
	if t.data.Subject == "" {
		t.data.Subject = subject(t.firstSubject())
	}
	for _, w := range [...]string{viewLinear, viewNested, viewIndex} {
		t.data.Views = append(t.data.Views, viewLink{v.tx.T("view." + w), "?view=" + w, w == v.view()})
	}
	t.others()
	if _, why := v.maybePost(t.g); why == "" {
		t.data.ReplyHref = messagePath(t.root) + "/reply"
	} else {
		t.data.PostWhy = why
	}
	t.data.Feed = threadPath(t.g.Name, t.root) + "/feed.atom"
	if v.account != nil && v.Shelf != nil {
		t.data.WatchAction = threadPath(t.g.Name, t.root) + "/watch"
		_, t.data.Watching = v.shelf().watches[t.root]
	}
	if n == pages {
		t.data.Quick = t.quick()
	}
	if k := t.countNew(); k > 0 {
		t.data.News = v.tx.N("news", k)
	}
	t.mark()
	v.marks.save()
	return &page{visitor: v, Name: "thread", Title: t.data.Subject, Group: string(t.g.Name), Data: &t.data, Live: "t=" + t.root.Bare(), seq: t.seq,
		Crumbs: []crumb{{v.tx.T("groups"), "/"}, {string(t.g.Name), groupPath(t.g.Name)}}}, nil
}

// order lists the posts in reading order: by time, or as the tree goes.
func (t *threadView) order() []*threads.Node {
	tree := threads.Walk(threads.Tree(t.all))
	if t.v.view() != viewLinear {
		return tree
	}
	out := slices.DeleteFunc(tree, func(n *threads.Node) bool { return n.Seq == 0 })
	slices.SortStableFunc(out, func(a, b *threads.Node) int { return a.When.Compare(b.When) })
	if i := slices.IndexFunc(out, func(n *threads.Node) bool { return n.ID == t.root }); i > 0 { // a wrong clock: the root leads
		r := out[i]
		copy(out[1:i+1], out[:i])
		out[0] = r
	}
	return out
}

func (t *threadView) count() (n int) {
	for _, p := range t.all {
		if p.Seq != 0 {
			n++
		}
	}
	return n
}

func (t *threadView) firstSubject() string {
	for _, p := range t.all {
		if p.ID == t.root && p.Seq != 0 {
			return p.Subject
		}
	}
	for _, p := range t.all {
		if p.Seq != 0 {
			return p.Subject
		}
	}
	return ""
}

func (t *threadView) isNew(p *threads.Post) bool {
	n := p.Number(t.g.Name)
	return len(t.read) > 0 && n > 0 && !t.read.has(n) && !t.v.mutes(p)
}

func (t *threadView) countNew() (n int) {
	for i := range t.all {
		if t.all[i].Seq != 0 && t.isNew(&t.all[i]) {
			n++
		}
	}
	return n
}

func (t *threadView) firstNew(order []*threads.Node) int {
	for i, n := range order {
		if t.isNew(&n.Post) {
			return i
		}
	}
	return 0
}

// posts opens the articles of one page.
func (t *threadView) posts(order []*threads.Node, first int) error {
	known := t.parents(order)
	t.data.Subject = subject(t.firstSubject())
	t.data.Posts = make([]post, 0, len(order))
	for i, n := range order {
		p, err := t.v.post(n.ID, n.Seq)
		if err != nil {
			return err
		}
		p.Number, p.Depth, p.Kids = first+i+1, min(n.Depth, 12), len(n.Kids) > 0
		if p.New = t.isNew(&n.Post); p.New && t.data.FirstNew == "" {
			t.data.FirstNew = "#" + p.Anchor
		}
		if p.Subject == t.data.Subject {
			p.Subject = ""
		}
		direct := i > 0 && order[i-1].ID == n.Parent // it stands just above
		if !direct && n.Parent != "" && known[n.Parent] != "" && (t.v.view() == viewLinear || n.Depth > 12) {
			p.ParentHref, p.ParentName = "#"+anchor(n.Parent), known[n.Parent]
			if !onPage(order, n.Parent) {
				p.ParentHref = messagePath(n.Parent)
			}
		}
		t.data.Posts = append(t.data.Posts, p)
	}
	return nil
}

// parents are the authors of what the posts of a page answer; a ghost has none.
func (t *threadView) parents(order []*threads.Node) map[article.ID]string {
	out := make(map[article.ID]string, len(order))
	for _, n := range order {
		out[n.Parent] = ""
	}
	for i := range t.all {
		if _, ok := out[t.all[i].ID]; ok && t.all[i].Seq != 0 {
			out[t.all[i].ID], _ = content.Author(t.all[i].From)
		}
	}
	return out
}

func onPage(order []*threads.Node, id article.ID) bool {
	return slices.ContainsFunc(order, func(n *threads.Node) bool { return n.ID == id })
}

// index shows a line for each post; no article is opened.
func (t *threadView) index(order []*threads.Node) {
	t.data.Subject = subject(t.firstSubject())
	for i, n := range order {
		name, addr := content.Author(n.From)
		p := post{ID: n.ID.Bare(), Anchor: anchor(n.ID), Href: messagePath(n.ID), Author: name, Letter: letterOf(name), Color: colorOf(name + addr), Ghost: n.Seq == 0 || t.v.unseen(n.ID),
			Number: i + 1, Depth: min(n.Depth, 12), New: t.isNew(&n.Post), Subject: subject(n.Subject)}
		if !p.Ghost {
			p.Date, p.ISO = t.v.date(n.When), n.When.Format(time.RFC3339)
		}
		if p.Subject == t.data.Subject {
			p.Subject = ""
		}
		t.data.Rows = append(t.data.Rows, p)
	}
}

func (t *threadView) links(n, pages, per int, order []*threads.Node) {
	if t.v.view() == viewIndex {
		return
	}
	at := func(i int) string { return "?page=" + strconv.Itoa(i) }
	if pages > 1 {
		for i := 1; i <= pages; i++ {
			if i > 2 && i < pages-1 && (i < n-2 || i > n+2) {
				if k := len(t.data.Pages); k > 0 && !t.data.Pages[k-1].Gap {
					t.data.Pages = append(t.data.Pages, pageLink{Gap: true})
				}
				continue
			}
			t.data.Pages = append(t.data.Pages, pageLink{N: i, Href: at(i), Current: i == n})
		}
	}
	if n > 1 {
		t.data.Prev = at(n - 1)
	}
	if n < pages {
		t.data.Next = at(n + 1)
	}
	if i := t.firstNew(order); i > 0 || len(order) > 0 && t.isNew(&order[0].Post) {
		if i/per+1 != n {
			t.data.FirstNew = fmt.Sprintf("?page=%d#%s", i/per+1, anchor(order[i].ID))
		}
	}
}

func (t *threadView) others() {
	seen := map[article.Group]bool{t.g.Name: true}
	for _, p := range t.all {
		for _, pl := range p.Places {
			if !seen[pl.Group] && t.v.mayRead(pl.Group) && len(t.data.Others) < 8 {
				seen[pl.Group] = true
				t.data.Others = append(t.data.Others, crumb{string(pl.Group), threadPath(pl.Group, t.root)})
			}
		}
	}
}

// mark marks what is shown as read, in each group where it stands.
func (t *threadView) mark() {
	numbers := map[article.Group][]uint64{}
	shown := map[string]bool{}
	for _, p := range t.data.Posts {
		shown[p.ID] = true
	}
	for _, p := range t.all {
		if !shown[p.ID.Bare()] {
			continue
		}
		for _, pl := range p.Places {
			if pl.Group == t.g.Name || t.v.marks.known(pl.Group) {
				numbers[pl.Group] = append(numbers[pl.Group], pl.Number)
			}
		}
	}
	for g, ns := range numbers {
		if g == t.g.Name && len(t.read) == 0 { // came here without the list: what is here does not count as new
			t.v.marks.set(g, ranges{{1, max(1, t.g.High)}})
			continue
		}
		t.v.marks.read(g, ns...)
	}
}
