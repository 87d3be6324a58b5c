package threads

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/spool"
)

// Thread is one line of a group's list. Strings are header content, not decoded.
type Thread struct {
	Root          article.ID
	Subject, From string
	First, Last   time.Time
	LastFrom      string
	LastID        article.ID
	Posts         int    // here, in all groups
	High          uint64 // highest number in the group asked for
}

// Post is one article of a thread.
type Post struct {
	ID            article.ID
	Parent        article.ID // nearest article it answers, which may be a ghost, or ""
	Seq           spool.Seq  // 0: a ghost
	When          time.Time
	From, Subject string
	Signer        string
	Places        []spool.Place
}

// Number is the post's number in g, or 0.
func (p *Post) Number(g article.Group) uint64 {
	for _, pl := range p.Places {
		if pl.Group == g {
			return pl.Number
		}
	}
	return 0
}

// Order sorts a group's threads.
type Order uint8

// The orders.
const (
	Active Order = iota // by last article
	Newest              // by first article
)

// ErrPage is returned for a place in a list that no page ever named.
var ErrPage = errors.New("no such page")

// List returns up to n threads of a group from a place on ("" is the start), and
// the place of the next page, "" at the end. Threads whose articles are all gone
// are passed over.
func (x *Index) List(ctx context.Context, g article.Group, o Order, from string, n int) (list []Thread, next string, err error) {
	if err := x.Flush(); err != nil {
		return nil, "", err
	}
	start := ""
	if from != "" {
		b, err := hex.DecodeString(from)
		if err != nil || len(b) != 24 {
			return nil, "", ErrPage
		}
		start = string(g) + "\x00" + string(b)
	}
	for ctx.Err() == nil {
		rows, infos, more, err := x.page(g, o, start, n+1)
		if err != nil {
			return nil, "", fmt.Errorf("list threads of %s: %w", g, err)
		}
		for i, t := range infos {
			if len(list) == n {
				return list, hex.EncodeToString([]byte(rows[i][len(g)+1:])), nil
			}
			if row, ok := x.line(ctx, g, t); ok {
				list = append(list, row)
			}
		}
		if more == "" {
			break
		}
		start = more
	}
	return list, "", ctx.Err()
}

// Find returns the line of one thread as List does, by the id of its beginning or
// of any article in it. Without such a thread the error is spool.ErrNotFound.
func (x *Index) Find(ctx context.Context, g article.Group, id article.ID) (Thread, error) {
	if err := x.Flush(); err != nil {
		return Thread{}, err
	}
	var t *info
	err := x.db.View(func(tx *state.Tx) error {
		a, err := getArt(tx, hashOf(id))
		if err != nil || a == nil {
			return errors.Join(err, spool.ErrNotFound)
		}
		root, err := resolve(tx, a.root)
		if err != nil {
			return err
		}
		t, err = getInfo(tx, root)
		return err
	})
	if err != nil {
		return Thread{}, err
	}
	if t != nil {
		if row, ok := x.line(ctx, g, t); ok {
			return row, nil
		}
	}
	return Thread{}, spool.ErrNotFound
}

// page reads rows of a list in one transaction. more is the key to go on from.
func (x *Index) page(g article.Group, o Order, start string, n int) (keys []string, list []*info, more string, err error) {
	bucket := active
	if o == Newest {
		bucket = born
	}
	err = x.db.View(func(tx *state.Tx) error {
		var roots []hash
		tx.Each(bucket, string(g)+"\x00", start, func(k string, _ []byte) bool {
			if len(keys) == n {
				more = k
				return false
			}
			if _, root, ok := listRow(k, g); ok {
				keys, roots = append(keys, k), append(roots, root)
			}
			return true
		})
		for _, r := range roots {
			t, err := getInfo(tx, r)
			if err != nil {
				return err
			}
			if t == nil {
				t = &info{}
			}
			list = append(list, t)
		}
		return nil
	})
	return keys, list, more, err
}

// line makes a line of a thread, if something of it is still here. The root is
// asked of the spool, and the last article if the root is gone.
func (x *Index) line(ctx context.Context, g article.Group, t *info) (Thread, bool) {
	row := Thread{Root: t.root, Subject: t.subject, From: t.from, First: unix(t.first), Last: unix(t.last), LastFrom: t.lastFrom, LastID: t.lastID, Posts: int(t.posts), High: t.in(g).high}
	if t.posts == 0 {
		return row, false
	}
	if _, err := x.spool.ByID(ctx, t.root); err == nil {
		return row, true
	} else if t.posts == 1 && t.lastID == t.root {
		return row, false
	}
	e, err := x.spool.ByID(ctx, t.lastID)
	if err == nil { // its subject is not shown any more: somebody took it away
		row.Subject, row.From = e.Subject, e.From
		return row, true
	}
	_, all, err := x.Thread(ctx, t.root)
	if err != nil {
		return row, false
	}
	for i := len(all) - 1; i >= 0; i-- {
		if e, err := x.spool.ByID(ctx, all[i].ID); all[i].Seq != 0 && err == nil {
			row.Subject, row.From, row.LastFrom, row.LastID = e.Subject, e.From, e.From, e.ID
			return row, true
		}
	}
	return row, false
}

// Thread returns the thread that an article, or a ghost, belongs to: the root's
// id, and its posts in the order of their arrival, at most 5,000; ghosts that
// stand between them follow at the end. What is gone from the spool is left for
// the caller to find out. Without such a thread the error is spool.ErrNotFound.
func (x *Index) Thread(ctx context.Context, id article.ID) (root article.ID, list []Post, err error) {
	if err := x.Flush(); err != nil {
		return "", nil, err
	}
	err = x.db.View(func(tx *state.Tx) error {
		a, err := getArt(tx, hashOf(id))
		if err != nil {
			return err
		}
		if a == nil {
			return spool.ErrNotFound
		}
		top, err := getTop(tx, a.root)
		if err != nil {
			return err
		}
		root = top.id
		list, err = members(tx, hashOf(top.id))
		return err
	})
	if err != nil && !errors.Is(err, spool.ErrNotFound) {
		err = fmt.Errorf("thread of %s: %w", id, err)
	}
	return root, list, err
}

func getTop(tx *state.Tx, root hash) (*art, error) {
	root, err := resolve(tx, root)
	if err != nil {
		return nil, err
	}
	top, err := getArt(tx, root)
	if err == nil && top == nil {
		err = spool.ErrNotFound
	}
	return top, err
}

func members(tx *state.Tx, root hash) ([]Post, error) {
	var hashes []hash
	tx.Each(posts, string(root[:]), "", func(_ string, v []byte) bool {
		if len(v) == 16 {
			hashes = append(hashes, hash(v))
		}
		return len(hashes) < maxMerge
	})
	ids := make(map[hash]article.ID, len(hashes))
	all := make([]*art, 0, len(hashes))
	for _, h := range hashes {
		a, err := getArt(tx, h)
		if err != nil {
			return nil, err
		}
		if a != nil {
			all, ids[h] = append(all, a), a.id
		}
	}
	for i := 0; i < len(all) && len(all) < 2*maxMerge; i++ { // ghosts on the way up
		p := all[i].parent
		if _, ok := ids[p]; ok || p == (hash{}) {
			continue
		}
		g, err := getArt(tx, p)
		if err != nil {
			return nil, err
		}
		if g == nil {
			continue
		}
		if r, err := resolve(tx, g.root); err != nil || r != root {
			continue
		}
		all, ids[p] = append(all, g), g.id
	}
	out := make([]Post, len(all))
	for i, a := range all {
		out[i] = post(a)
		out[i].Parent = ids[a.parent]
	}
	return out, nil
}

func post(a *art) Post {
	p := Post{ID: a.id, Seq: a.seq, From: a.from, Subject: a.subject, Signer: a.signer, Places: a.places}
	if a.seq != 0 {
		p.When = unix(a.when)
	}
	return p
}

// Stamp says whether a thread changed without reading it: it differs once an
// article came, was moved here, or was forgotten.
func (x *Index) Stamp(id article.ID) (root article.ID, stamp string, err error) {
	x.mu.Lock()
	err = x.flush()
	s, ok := x.kept[id]
	gen := x.gen
	x.mu.Unlock()
	if ok || err != nil {
		return s.root, s.stamp, err
	}
	if s, err = x.stamp(id); err != nil {
		return "", "", err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.gen == gen {
		if x.kept == nil || len(x.kept) >= keptMost {
			x.kept = map[article.ID]stamped{}
		}
		x.kept[id] = s
	}
	return s.root, s.stamp, nil
}

// stamp is Stamp from the tables.
func (x *Index) stamp(id article.ID) (s stamped, err error) {
	err = x.db.View(func(tx *state.Tx) error {
		at := hashOf(id)
		top, err := getArt(tx, at)
		for range 20 { // as resolve does, but most are asked for by their first article: one look
			if err != nil || top == nil || top.root == at {
				break
			}
			at = top.root
			top, err = getArt(tx, at)
		}
		if err != nil || top == nil {
			return errors.Join(err, spool.ErrNotFound)
		}
		s = stamped{top.id, string(tx.Get(infos, string(at[:])))}
		return nil
	})
	return s, err
}

// Root returns the id under which an article's thread is found.
func (x *Index) Root(id article.ID) (article.ID, error) {
	root, _, err := x.Stamp(id)
	return root, err
}

// BySigner returns up to n articles whose good signature names an identity, the
// latest first, from a place on, and the place of the next page.
func (x *Index) BySigner(ctx context.Context, identity, from string, n int) (list []Post, next string, err error) {
	if err := x.Flush(); err != nil {
		return nil, "", err
	}
	start := ""
	if from != "" {
		b, err := hex.DecodeString(from)
		if err != nil || len(b) != 16 {
			return nil, "", ErrPage
		}
		start = identity + "\x00" + string(b)
	}
	err = x.db.View(func(tx *state.Tx) error {
		var hashes []hash
		tx.Each(signed, identity+"\x00", start, func(k string, v []byte) bool {
			if len(hashes) == n {
				next = hex.EncodeToString([]byte(k[len(identity)+1:]))
				return false
			}
			if len(v) == 16 {
				hashes = append(hashes, hash(v))
			}
			return true
		})
		for _, h := range hashes {
			a, err := getArt(tx, h)
			if err != nil {
				return err
			}
			if a != nil {
				list = append(list, post(a))
			}
		}
		return nil
	})
	return list, next, err
}

// Node is a post with its answers: what a nested view shows.
type Node struct {
	Post
	Depth int
	Kids  []*Node
	climb uint8 // of cutLoop: 1 on its way, 2 known to end at a root
}

// Tree makes trees of posts: answers under what they answer, by time. Ghosts stay
// only where they hold several answers together. Loops are broken.
func Tree(list []Post) []*Node {
	nodes := make(map[article.ID]*Node, len(list))
	order := make([]*Node, 0, len(list))
	for _, p := range list {
		if nodes[p.ID] == nil {
			n := &Node{Post: p}
			nodes[p.ID], order = n, append(order, n)
		}
	}
	for _, n := range order {
		cutLoop(nodes, n)
	}
	var roots []*Node
	for _, n := range order {
		if up := nodes[n.Parent]; up != nil {
			up.Kids = append(up.Kids, n)
			continue
		}
		n.Parent = ""
		roots = append(roots, n)
	}
	return settle(roots, 0, true)
}

// cutLoop goes up from n and cuts the way where it comes back to itself. A node is
// passed by once for all that are below it, so that deep threads stay cheap.
func cutLoop(nodes map[article.ID]*Node, n *Node) {
	at := n
	for at != nil && at.climb == 0 {
		at.climb = 1
		at = nodes[at.Parent]
	}
	if at != nil && at.climb == 1 {
		at.Parent = ""
	}
	for at = n; at != nil && at.climb == 1; at = nodes[at.Parent] {
		at.climb = 2
	}
}

func settle(list []*Node, depth int, top bool) []*Node {
	var out []*Node
	for _, n := range list {
		if n.Seq == 0 {
			kids := settle(n.Kids, depth, false)
			if len(kids) <= 1 || !top && depth > 100 {
				out = append(out, kids...)
				continue
			}
		}
		n.Depth = depth
		n.Kids = settle(n.Kids, depth+1, false)
		if n.Seq == 0 && len(n.Kids) > 0 {
			n.When = n.Kids[0].When
		}
		out = append(out, n)
	}
	slices.SortStableFunc(out, func(a, b *Node) int { return a.When.Compare(b.When) })
	return out
}

// Walk lists trees in reading order.
func Walk(trees []*Node) []*Node {
	var out []*Node
	stack := slices.Clone(trees)
	slices.Reverse(stack)
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		out = append(out, n)
		for i := len(n.Kids) - 1; i >= 0; i-- {
			stack = append(stack, n.Kids[i])
		}
	}
	return out
}

// Sweep forgets articles that the spool no longer has, in small steps. It returns
// how many it forgot.
func (x *Index) Sweep(ctx context.Context) (int, error) {
	gone, from := 0, ""
	for ctx.Err() == nil {
		if err := x.Flush(); err != nil {
			return gone, err
		}
		var batch []*art
		next := ""
		err := x.db.View(func(tx *state.Tx) error {
			tx.Each(arts, "", from, func(k string, v []byte) bool {
				if len(batch) == 200 {
					next = k
					return false
				}
				if a, err := decodeArt(v); err == nil && a.seq != 0 {
					batch = append(batch, a)
				}
				return true
			})
			return nil
		})
		if err != nil {
			return gone, err
		}
		var dead []*art
		for _, a := range batch {
			if _, err := x.spool.ByID(ctx, a.id); errors.Is(err, spool.ErrNotFound) {
				dead = append(dead, a)
			}
		}
		if err := x.bury(dead); err != nil {
			return gone, err
		}
		if gone += len(dead); next == "" {
			return gone, nil
		}
		from = next
	}
	return gone, ctx.Err()
}

// Forget forgets an article that was withdrawn; Sweep would do it later.
func (x *Index) Forget(id article.ID) error {
	if err := x.Flush(); err != nil {
		return err
	}
	return x.bury([]*art{{id: id}})
}

// bury turns articles into ghosts and counts their threads again.
func (x *Index) bury(dead []*art) error {
	if len(dead) == 0 {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	defer x.changed()
	return x.db.Update(func(tx *state.Tx) error {
		for _, d := range dead {
			h := hashOf(d.id)
			a, err := getArt(tx, h)
			if err != nil || a == nil || a.seq == 0 {
				continue
			}
			err = errors.Join(tx.Delete(posts, postKey(a.root, a.seq)), tx.Delete(signed, signerKey(a.signer, a.when, a.seq)))
			ghost := &art{id: a.id, root: a.root, parent: a.parent}
			if err = errors.Join(err, tx.Put(arts, string(h[:]), ghost.encode()), recount(tx, a.root)); err != nil {
				return err
			}
		}
		return nil
	})
}

func recount(tx *state.Tx, root hash) error {
	if err := forget(tx, root); err != nil {
		return err
	}
	var left []hash
	tx.Each(posts, string(root[:]), "", func(_ string, v []byte) bool {
		if len(v) == 16 {
			left = append(left, hash(v))
		}
		return true
	})
	if len(left) == 0 {
		return tx.Delete(arts, string(root[:]))
	}
	for _, h := range left {
		if a, err := getArt(tx, h); err != nil {
			return err
		} else if a != nil && a.seq != 0 {
			if err := enter(tx, a, h); err != nil {
				return err
			}
		}
	}
	return nil
}

// Size is the number of threads in a group's list, counted up to max.
func (x *Index) Size(g article.Group, max int) (n int, err error) {
	if err := x.Flush(); err != nil {
		return 0, err
	}
	err = x.db.View(func(tx *state.Tx) error {
		tx.Each(active, string(g)+"\x00", "", func(string, []byte) bool { n++; return n < max })
		return nil
	})
	return n, err
}

// Mark changes whenever a list of the group may have changed.
func (x *Index) Mark() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return uint64(x.last())
}
