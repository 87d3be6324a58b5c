package webforum

import (
	"errors"
	"fmt"
	"html/template"
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

// post is one article on a page.
type post struct {
	ID, Anchor, Href, Raw        string
	Author, Address, Letter      string
	Color                        int
	Date, ISO, Full              string
	Subject                      string // only if it differs from the thread's
	Body                         template.HTML
	Files                        []file
	Trust                        trustMark
	Number                       int // place in the thread
	Depth                        int
	New, Gone, Ghost             bool
	ParentHref, ParentName       string
	ReplyHref, EditHref, DelHref string
	Size                         string
	Kids, Muted                  bool
	MutedName                    string // as it was when the visitor muted the signer
	Identity                     string // of a person's good signature
	History                      string // address of earlier versions, or ""
	seq                          spool.Seq
}

type trustMark struct{ Class, Icon, Word, Why, Href string }

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
	return len(t.read) > 0 && n > 0 && !t.read.has(n)
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

// post opens one article for a page. One that is gone leaves a line that says so.
func (v *visitor) post(id article.ID, seq spool.Seq) (post, error) {
	p := post{ID: id.Bare(), Anchor: anchor(id), Href: messagePath(id), seq: seq}
	if seq == 0 {
		p.Ghost = true
		return p, nil
	}
	e, err := v.Spool.ByID(v.ctx, id)
	if errors.Is(err, spool.ErrNotFound) || err == nil && !v.readable(e) {
		p.Gone = true
		return p, nil
	} else if err != nil {
		return p, err
	}
	if kept, ok := v.Forum.bodies.get(bodyKey{e.Seq, v.tx.lang}); ok {
		v.fillWith(&p, e, kept)
		return p, nil
	}
	a, err := v.Spool.Open(v.ctx, e.Seq)
	if errors.Is(err, spool.ErrNotFound) {
		p.Gone = true
		return p, nil
	} else if err != nil {
		return p, err
	}
	v.fill(&p, e, a)
	return p, nil
}

func (v *visitor) fill(p *post, e spool.Entry, a *article.Article) {
	kept, ok := v.Forum.bodies.get(bodyKey{e.Seq, v.tx.lang})
	if !ok {
		c := content.Of(a)
		kept = &bodyKept{key: bodyKey{e.Seq, v.tx.lang}, body: v.body(c, e.ID), files: v.files(c, e.ID), lock: a.Get("Cancel-Lock"), asks: a.Get("Followup-To")}
		v.Forum.bodies.put(kept)
	}
	v.fillWith(p, e, kept)
}

// fillWith fills in what a page says of an article, and its body.
func (v *visitor) fillWith(p *post, e spool.Entry, kept *bodyKept) {
	p.Author, p.Address = content.Author(e.From)
	p.Letter, p.Color = letterOf(p.Author), colorOf(p.Author+p.Address)
	at := sent(e)
	p.Date, p.ISO, p.Full = v.date(at), at.Format(time.RFC3339), v.moment(at)
	p.Subject = subject(e.Subject)
	p.Body, p.Files = kept.body, kept.files
	v.fleeting = v.fleeting || slices.ContainsFunc(p.Files, func(f file) bool { return f.Detached && !f.Here })
	p.Trust = v.trust(e)
	p.Raw, p.ReplyHref = p.Href+"/raw", p.Href+"/reply"
	p.Size = v.tx.size(int64(e.Bytes))
	p.MutedName, p.Muted = v.muted(e)
	if e.Proof.State == article.ProofHolds && e.Proof.Purpose != "gate" {
		p.Identity = e.Proof.Identity
	}
	if e.Has&article.HasSupersedes != 0 {
		p.History = p.Href + "/history"
	}
	if v.owns(e, kept.lock) {
		p.EditHref, p.DelHref = p.Href+"/edit", p.Href+"/delete"
	}
}

// sent is the time an article is shown with.
func sent(e spool.Entry) time.Time {
	if d, err := article.ParseDate(e.Date); err == nil {
		return d
	}
	return e.Arrived
}

// anchor is the id of a post within its page.
func anchor(id article.ID) string {
	h := id.Hash()
	return fmt.Sprintf("p%x", h[:6])
}

// trust says in words what a signature is worth; the sign before it is for the eye.
func (v *visitor) trust(e spool.Entry) trustMark {
	if v.Trust == nil {
		return trustMark{}
	}
	t := v.Trust(v.ctx, e)
	name := t.Name
	if name == "" && len(t.Identity) >= 8 {
		name = t.Identity[:8] + "…"
	}
	m := trustMark{Class: t.Result}
	if t.Identity != "" {
		m.Href = "/u/" + t.Identity + "/"
	}
	switch t.Result {
	case "verified":
		m.Icon, m.Word = "✓", v.tx.T("trust.verified", name)
	case "gate":
		m.Icon, m.Word = "⇢", v.tx.T("trust.gate", name)
	case "unknown-key":
		m.Icon, m.Word = "?", v.tx.T("trust.unknown", name)
	case "disputed":
		m.Icon, m.Word = "≠", v.tx.T("trust.disputed", name)
	case "no-right":
		m.Icon, m.Word = "∅", v.tx.T("trust.noright", name)
	case "invalid":
		m.Icon, m.Word = "✗", v.tx.T("trust.invalid")
	default:
		m.Class, m.Icon, m.Word = "none", "–", v.tx.T("trust.none")
	}
	m.Why = v.tx.T("trust.why." + m.Class)
	return m
}
