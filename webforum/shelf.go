package webforum

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/members"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/threads"
)

// Shelf keeps what a member watches, mutes and is writing. members.Book is one.
type Shelf interface {
	// Stamp changes whenever what the account has read, watches or mutes changes.
	Stamp(account string) uint64
	Watch(ctx context.Context, account string, w members.Watch) error
	Unwatch(ctx context.Context, account, root string) error
	Watches(ctx context.Context, account string) ([]members.Watch, error)
	Mute(ctx context.Context, account string, m members.Mute) error
	Unmute(ctx context.Context, account, identity string) error
	Mutes(ctx context.Context, account string) ([]members.Mute, error)
	KeepDraft(ctx context.Context, account string, d members.Draft) error
	Draft(ctx context.Context, account, id string) (members.Draft, error)
	DropDraft(ctx context.Context, account, id string) error
	Drafts(ctx context.Context, account string) ([]members.Draft, error)
}

// shelves keep what pages ask of members' shelves, until it changes.
type shelves struct {
	mu sync.Mutex
	of map[string]*shelfState
}

type shelfState struct {
	stamp   uint64
	watches map[article.ID]members.Watch
	muted   map[string]string // identity: name

	counted bool
	mark    uint64 // of the thread index when news was counted
	news    int    // watched threads with something unread
}

const maxShelves = 500 // members whose shelves are in memory

// shelf is the visitor's, or an empty one.
func (v *visitor) shelf() *shelfState {
	if v.account == nil || v.Shelf == nil {
		return &shelfState{}
	}
	name, c := v.account.Name, &v.Forum.shelves
	stamp := v.Shelf.Stamp(name)
	c.mu.Lock()
	s := c.of[name]
	c.mu.Unlock()
	if s != nil && s.stamp == stamp {
		return s
	}
	s, err := v.loadShelf(name, stamp)
	if err != nil {
		v.Log.Warn("forum: what a member watches and mutes", "account", name, "error", err)
		return &shelfState{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil || len(c.of) >= maxShelves {
		c.of = map[string]*shelfState{}
	}
	c.of[name] = s
	return s
}

func (v *visitor) loadShelf(name string, stamp uint64) (*shelfState, error) {
	s := &shelfState{stamp: stamp, watches: map[article.ID]members.Watch{}, muted: map[string]string{}}
	ws, err := v.Shelf.Watches(v.ctx, name)
	if err != nil {
		return nil, err
	}
	for _, w := range ws {
		s.watches[article.ID(w.Root)] = w
	}
	ms, err := v.Shelf.Mutes(v.ctx, name)
	if err != nil {
		return nil, err
	}
	for _, m := range ms {
		s.muted[m.Identity] = m.Name
	}
	return s, nil
}

// Watched is how many of the visitor's watched threads hold something unread.
func (v *visitor) Watched() int {
	s := v.shelf()
	if len(s.watches) == 0 {
		return 0
	}
	mark, c := v.Threads.Mark(), &v.Forum.shelves
	c.mu.Lock()
	counted, n := s.counted && s.mark == mark, s.news
	c.mu.Unlock()
	if counted {
		return n
	}
	n = 0
	for root, w := range s.watches {
		g := article.Group(w.Group)
		if t, err := v.Threads.Find(v.ctx, g, root); err == nil && v.mayRead(g) && v.marks.known(g) && t.High > 0 && !v.marks.of(g).has(t.High) {
			if k, err := v.fresh(g, root); err == nil && k > 0 {
				n++
			}
		}
	}
	c.mu.Lock()
	s.counted, s.mark, s.news = true, mark, n
	c.mu.Unlock()
	return n
}

// muted is the name under which the visitor muted the signer of an article.
func (v *visitor) muted(e spool.Entry) (name string, ok bool) {
	if v.account == nil || e.Proof.State != article.ProofHolds || e.Proof.Purpose == "gate" {
		return "", false
	}
	name, ok = v.shelf().muted[e.Proof.Identity]
	return name, ok
}

// mutes says whether the visitor muted the signer of a post.
func (v *visitor) mutes(p *threads.Post) bool {
	if _, ok := v.shelf().muted[p.Signer]; !ok || p.Signer == "" {
		return false
	}
	e, err := v.Spool.ByID(v.ctx, p.ID) // tells a person's key from a node's
	if err != nil {
		return false
	}
	_, ok := v.muted(e)
	return ok
}

// fresh counts what a thread has in a group for the visitor to read: neither read nor
// of somebody muted.
func (v *visitor) fresh(g article.Group, root article.ID) (n int, err error) {
	read := v.marks.of(g)
	_, posts, err := v.Threads.Thread(v.ctx, root)
	for i := range posts {
		if k := posts[i].Number(g); k > 0 && !read.has(k) && !v.mutes(&posts[i]) {
			n++
		}
	}
	return n, err
}

// mine stops guests at what only members have.
func (v *visitor) mine() error {
	if v.Shelf == nil || v.Accounts == nil {
		return errPage(http.StatusNotFound, "error.page")
	}
	if v.account == nil {
		return errPage(http.StatusUnauthorized, "mine.login")
	}
	return nil
}

// watchThread puts a thread on the member's list, or takes it off.
func (f *Forum) watchThread(v *visitor) (*page, error) {
	if err := v.mine(); err != nil {
		return nil, err
	}
	g, err := v.group(v.r.PathValue("group"))
	if err != nil {
		return nil, err
	}
	id, err := article.ParseID("<" + v.r.PathValue("root") + ">")
	if err != nil {
		return nil, errPage(http.StatusNotFound, "error.thread")
	}
	q := v.form()
	if q.Get("act") == "unwatch" {
		err = v.Shelf.Unwatch(v.ctx, v.account.Name, string(id))
	} else {
		err = v.watch(g.Name, id)
	}
	if err != nil {
		return nil, v.full(err)
	}
	to := threadPath(g.Name, id)
	if next := q.Get("next"); next != "" {
		to = local(next)
	}
	v.redirect(to)
	return nil, nil
}

func (v *visitor) watch(g article.Group, id article.ID) error {
	t, err := v.Threads.Find(v.ctx, g, id)
	if errors.Is(err, spool.ErrNotFound) {
		return errPage(http.StatusNotFound, "error.thread")
	} else if err != nil {
		return err
	}
	return v.Shelf.Watch(v.ctx, v.account.Name, members.Watch{Root: string(t.Root), Group: string(g), Subject: subject(t.Subject)})
}

// full puts the one error of a shelf that is a member's own doing into words.
func (v *visitor) full(err error) error {
	if errors.Is(err, members.ErrFull) {
		return errPage(http.StatusInsufficientStorage, "mine.full")
	}
	return err
}

// mutePerson folds away what a key signs, or no longer.
func (f *Forum) mutePerson(v *visitor) (*page, error) {
	if err := v.mine(); err != nil {
		return nil, err
	}
	id := v.r.PathValue("identity")
	if len(id) != 52 || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		return nil, errPage(http.StatusNotFound, "error.person")
	}
	q := v.form()
	var err error
	switch {
	case q.Get("act") == "unmute":
		err = v.Shelf.Unmute(v.ctx, v.account.Name, id)
	case id == v.account.Identity:
		return nil, errPage(http.StatusConflict, "mute.self")
	default:
		err = v.Shelf.Mute(v.ctx, v.account.Name, members.Mute{Identity: id, Name: clip(q.Get("name"), 100)})
	}
	if err != nil {
		return nil, v.full(err)
	}
	to := "/mine#muted"
	if next := q.Get("next"); next != "" {
		to = local(next)
	}
	v.redirect(to)
	return nil, nil
}

// muteForm is the button on pages about one person.
type muteForm struct {
	Action, Name, Next string
	Muted              bool
}

// MuteOf makes the button for an identity; nil: there is none for this visitor.
func (p *page) MuteOf(identity, name string) *muteForm {
	if p.Shelf == nil || p.account == nil || identity == "" || identity == p.account.Identity {
		return nil
	}
	_, muted := p.shelf().muted[identity]
	return &muteForm{Action: "/u/" + identity + "/mute", Name: name, Next: p.Path(), Muted: muted}
}

type watchRow struct {
	Href, Subject, Group, GroupHref string
	Unread                          int
	NewHref                         string
	LastAt, LastISO                 string
	Posts                           int
	Gone                            bool
	Action                          string
}

type muteRow struct{ Name, Href, Action, Since string }

type mineData struct {
	Watched []watchRow
	Drafts  []draftRow
	Muted   []muteRow
	Person  string // the visitor's own page, or ""
}

// minePage shows a member what is his: watched threads, drafts, whom he muted.
func (f *Forum) minePage(v *visitor) (*page, error) {
	if err := v.mine(); err != nil {
		return nil, err
	}
	d := &mineData{}
	if v.account.Identity != "" {
		d.Person = "/u/" + v.account.Identity + "/"
	}
	ws, err := v.Shelf.Watches(v.ctx, v.account.Name)
	if err != nil {
		return nil, err
	}
	type dated struct {
		watchRow
		last time.Time
	}
	var rows []dated
	for _, w := range ws {
		row, last, err := v.watchRow(w)
		if err != nil {
			return nil, err
		}
		rows = append(rows, dated{row, last})
	}
	slices.SortStableFunc(rows, func(a, b dated) int {
		if (a.Unread > 0) != (b.Unread > 0) {
			if a.Unread > 0 {
				return -1
			}
			return 1
		}
		return b.last.Compare(a.last)
	})
	for _, r := range rows {
		d.Watched = append(d.Watched, r.watchRow)
	}
	if d.Drafts, err = v.draftRows(); err != nil {
		return nil, err
	}
	ms, err := v.Shelf.Mutes(v.ctx, v.account.Name)
	if err != nil {
		return nil, err
	}
	for _, m := range ms {
		name := m.Name
		if name == "" {
			name = m.Identity[:8] + "…"
		}
		d.Muted = append(d.Muted, muteRow{Name: name, Href: "/u/" + m.Identity + "/", Action: "/u/" + m.Identity + "/mute", Since: v.moment(m.Since)})
	}
	v.w.Header().Set("Cache-Control", "no-store")
	return &page{visitor: v, Name: "mine", Title: v.tx.T("mine.title"), Data: d, NoIndex: true, Live: "all", Crumbs: []crumb{{v.tx.T("groups"), "/"}}}, nil
}

// watchRow is a watched thread as it is now. If it became part of a larger one, the
// watch moves there.
func (v *visitor) watchRow(w members.Watch) (watchRow, time.Time, error) {
	g, id := article.Group(w.Group), article.ID(w.Root)
	row := watchRow{Subject: w.Subject, Group: w.Group, GroupHref: groupPath(g), Href: threadPath(g, id), Action: threadPath(g, id) + "/watch"}
	t, err := v.Threads.Find(v.ctx, g, id)
	if errors.Is(err, spool.ErrNotFound) || err == nil && !v.mayRead(g) {
		row.Gone = true
		return row, time.Time{}, nil
	} else if err != nil {
		return row, time.Time{}, err
	}
	if t.Root != id {
		err := errors.Join(v.Shelf.Unwatch(v.ctx, v.account.Name, w.Root), v.watch(g, t.Root))
		if err != nil {
			return row, time.Time{}, err
		}
		row.Href, row.Action = threadPath(g, t.Root), threadPath(g, t.Root)+"/watch"
	}
	row.Subject, row.Posts, row.LastAt, row.LastISO = subject(t.Subject), t.Posts, v.date(t.Last), t.Last.Format(time.RFC3339)
	if read := v.marks.of(g); len(read) > 0 && !read.has(t.High) {
		if row.Unread, err = v.fresh(g, t.Root); err != nil {
			return row, t.Last, err
		}
		row.NewHref = row.Href + "?view=" + v.view() + "&new=1"
	}
	return row, t.Last, nil
}
