package threads

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/spool"
)

const (
	meta   = "threads.meta"
	arts   = "threads.art"
	posts  = "threads.post"
	infos  = "threads.info"
	active = "threads.group"
	born   = "threads.born"
	subj   = "threads.subj"
	signed = "threads.by"

	version   = "1"
	maxBatch  = 256  // articles written with one sync
	maxRefs   = 100  // references of an article that are looked at: the first and the last
	maxMerge  = 5000 // articles that one late parent may move to another thread
	joinRange = 120 * 86400
)

// Spool is what the index asks of a spool.
type Spool interface {
	ByID(ctx context.Context, id article.ID) (spool.Entry, error)
	Since(ctx context.Context, after spool.Seq) iter.Seq2[spool.Entry, error]
	SpoolID() string
	Last() spool.Seq
}

// Index is the thread index of one spool: a spool.Follower, and the answers. It
// is safe for concurrent use.
//
// Follow keeps articles in memory until there are some, so that an import does
// not pay a sync each; every question writes them down first. The index saves
// its own cursor along with them: what a crash loses is read from the log again.
type Index struct {
	db    *state.DB
	spool Spool

	mu   sync.Mutex // guards what follows, and writing
	done spool.Seq  // written down
	pend []spool.Entry
	kept map[article.ID]stamped // what Stamp found since the tables changed last
	gen  uint64                 // grows when they change
}

// stamped is what Stamp says of an article.
type stamped struct {
	root  article.ID
	stamp string
}

const keptMost = 1000

// changed forgets what was found before the tables changed; x.mu is held.
func (x *Index) changed() {
	x.gen++
	x.kept = nil
}

// Open prepares the index of s in db. Tables of another spool or version go.
func Open(db *state.DB, s Spool) (*Index, error) {
	x := &Index{db: db, spool: s}
	err := db.Update(func(tx *state.Tx) error {
		x.done = 0
		ver, id, at := splitCursor(tx.Get(meta, "cursor"))
		if ver == version && id == s.SpoolID() && at <= s.Last() {
			x.done = at
			return nil
		}
		for _, b := range []string{meta, arts, posts, infos, active, born, subj, signed} {
			if err := tx.Drop(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("open the thread index: %w", err)
	}
	return x, nil
}

func splitCursor(b []byte) (ver, id string, at spool.Seq) {
	f := strings.Fields(string(b))
	if len(f) != 3 {
		return "", "", 0
	}
	var n uint64
	if _, err := fmt.Sscan(f[2], &n); err != nil {
		return "", "", 0
	}
	return f[0], f[1], spool.Seq(n)
}

// Name names the follower.
func (x *Index) Name() string { return "threads" }

// Done is the Seq up to which the index is written down.
func (x *Index) Done() spool.Seq {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.done
}

func (x *Index) last() spool.Seq {
	if n := len(x.pend); n > 0 {
		return x.pend[n-1].Seq
	}
	return x.done
}

// Follow takes the next article. What lies between it and the last one written
// down, because a crash lost it, is read from the log first.
func (x *Index) Follow(ctx context.Context, e spool.Entry) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if e.Seq <= x.last() {
		return nil
	}
	if e.Seq > x.last()+1 {
		if err := x.catchUp(ctx, e.Seq); err != nil {
			return err
		}
	}
	if e.Seq <= x.last() {
		return nil
	}
	x.pend = append(x.pend, e)
	if len(x.pend) >= maxBatch || e.Seq >= x.spool.Last() { // many in a row, or nothing more to wait for
		return x.flush()
	}
	return nil
}

// Hurry reads the log up to seq now, if at most most entries lie before it: who has
// just posted wants to see the thread before the follower's turn comes.
func (x *Index) Hurry(ctx context.Context, seq spool.Seq, most int) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if last := x.last(); seq <= last || seq > last+spool.Seq(most) {
		return nil
	}
	return x.catchUp(ctx, seq+1)
}

func (x *Index) catchUp(ctx context.Context, before spool.Seq) error {
	for e, err := range x.spool.Since(ctx, x.last()) {
		if err != nil {
			return fmt.Errorf("thread index: read the log: %w", err)
		}
		if e.Seq >= before {
			break
		}
		x.pend = append(x.pend, e)
		if len(x.pend) >= maxBatch {
			if err := x.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Flush writes down what was followed. Questions do it by themselves.
func (x *Index) Flush() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.flush()
}

func (x *Index) flush() error {
	if len(x.pend) == 0 {
		return nil
	}
	last := x.last()
	err := x.db.Update(func(tx *state.Tx) error {
		for _, e := range x.pend {
			if err := file(tx, e); err != nil {
				return fmt.Errorf("article %d: %w", e.Seq, err)
			}
		}
		return tx.Put(meta, "cursor", fmt.Appendf(nil, "%s %s %d", version, x.spool.SpoolID(), last))
	})
	if err != nil {
		return fmt.Errorf("thread index: %w", err)
	}
	x.done = last
	if clear(x.pend); len(x.pend) == maxBatch { // more is coming
		x.pend = x.pend[:0]
	} else { // or nothing: then nothing is kept of the articles
		x.pend = nil
	}
	x.changed()
	return nil
}

// file enters one article. It may be repeated.
func file(tx *state.Tx, e spool.Entry) error {
	self := hashOf(e.ID)
	have, err := getArt(tx, self)
	if err != nil {
		return err
	}
	if have != nil && have.seq != 0 {
		return nil
	}
	refs := references(e)
	a := &art{id: e.ID, seq: e.Seq, when: when(e), from: e.From, subject: e.Subject, places: e.Places}
	if e.Proof.State == article.ProofHolds {
		a.signer = e.Proof.Identity
	}
	root, err := place(tx, a, self, have, refs)
	if err != nil {
		return err
	}
	a.root = root
	if err := tx.Put(arts, string(self[:]), a.encode()); err != nil {
		return err
	}
	if a.signer != "" {
		if err := tx.Put(signed, signerKey(a.signer, a.when, a.seq), self[:]); err != nil {
			return err
		}
	}
	return enter(tx, a, self)
}

// references are the ids an article answers, oldest first.
func references(e spool.Entry) []article.ID {
	refs := article.ParseReferences(e.References)
	out := refs[:0]
	for _, r := range refs {
		if r != e.ID {
			out = append(out, r)
		}
	}
	if len(out) > maxRefs {
		out = append(out[:1], out[len(out)-maxRefs+1:]...)
	}
	return out
}

// place finds the thread of an article and leaves ghosts for references that are
// not here. have is the ghost that stood in the article's own place, or nil.
func place(tx *state.Tx, a *art, self hash, have *art, refs []article.ID) (hash, error) {
	if len(refs) == 0 {
		if root, ok := bySubject(tx, a); ok && have == nil {
			a.parent = root
			return root, nil
		}
		if have != nil {
			a.parent = have.parent
			return resolve(tx, have.root)
		}
		return self, nil
	}
	a.parent = hashOf(refs[len(refs)-1])
	root, err := rootOf(tx, refs)
	if err != nil {
		return root, err
	}
	if root == self { // it answers one who answers it: the first to come is the root
		a.parent = hash{}
		return self, ghosts(tx, refs, self)
	}
	if have != nil {
		if have.root, err = resolve(tx, have.root); err != nil {
			return root, err
		}
	}
	if have != nil && have.root != root {
		if have.root != self { // other articles already said where it belongs
			a.parent = have.parent
			return have.root, nil
		}
		if err := ghosts(tx, refs, root); err != nil {
			return root, err
		}
		return root, merge(tx, self, root)
	}
	return root, ghosts(tx, refs, root)
}

// rootOf is the thread of the nearest reference that is known. If that thread's
// root is a ghost within the references, it belongs under the first of them.
func rootOf(tx *state.Tx, refs []article.ID) (hash, error) {
	first := hashOf(refs[0])
	for i := len(refs) - 1; i >= 0; i-- {
		r, err := getArt(tx, hashOf(refs[i]))
		if err != nil {
			return first, err
		}
		if r == nil {
			continue
		}
		if r.root, err = resolve(tx, r.root); err != nil {
			return first, err
		}
		if i == 0 || r.root == first {
			return r.root, nil
		}
		top, err := getArt(tx, r.root)
		if err != nil || top == nil || top.seq != 0 || !within(refs[1:], r.root) {
			return r.root, err
		}
		to := first
		if f, err := getArt(tx, first); err != nil {
			return first, err
		} else if f != nil {
			if to, err = resolve(tx, f.root); err != nil {
				return first, err
			}
		}
		if to == r.root {
			return to, nil
		}
		if err := ghosts(tx, refs[:1], to); err != nil {
			return to, err
		}
		return to, merge(tx, r.root, to)
	}
	return first, nil
}

// resolve follows a root that was moved under another: only the posts of a moved
// thread are written again, its ghosts find the way here.
func resolve(tx *state.Tx, root hash) (hash, error) {
	for range 20 {
		a, err := getArt(tx, root)
		if err != nil || a == nil || a.root == root {
			return root, err
		}
		root = a.root
	}
	return root, nil
}

func within(refs []article.ID, h hash) bool {
	for _, r := range refs {
		if hashOf(r) == h {
			return true
		}
	}
	return false
}

func ghosts(tx *state.Tx, refs []article.ID, root hash) error {
	var parent hash
	for _, r := range refs {
		h := hashOf(r)
		have, err := getArt(tx, h)
		if err != nil {
			return err
		}
		if have == nil {
			g := &art{id: r, root: root, parent: parent}
			if h == root {
				g.parent = hash{}
			}
			if err := tx.Put(arts, string(h[:]), g.encode()); err != nil {
				return err
			}
		}
		parent = h
	}
	return nil
}

// bySubject finds the thread that an answer without References belongs to.
func bySubject(tx *state.Tx, a *art) (hash, bool) {
	base, re := BaseSubject(a.subject)
	if !re || base == "" {
		return hash{}, false
	}
	for _, p := range a.places {
		v := tx.Get(subj, subjectKey(p.Group, base))
		if len(v) == 24 {
			if t := int64(binary.BigEndian.Uint64(v[16:])); a.when-t < joinRange && t-a.when < joinRange {
				return hash(v[:16]), true
			}
		}
	}
	return hash{}, false
}

func subjectKey(g article.Group, base string) string {
	sum := sha256.Sum256([]byte(base))
	return string(g) + "\x00" + string(sum[:12])
}

// BaseSubject is a subject without its "Re:" and the like, for comparing; re says
// whether it had one.
func BaseSubject(s string) (base string, re bool) {
	s = strings.ToLower(strings.Join(strings.Fields(s), " "))
	for {
		t := s
		for _, p := range [...]string{"re:", "aw:", "sv:", "antw:", "fwd:", "wg:"} {
			if u, ok := strings.CutPrefix(t, p); ok {
				t, re = strings.TrimSpace(u), true
			}
		}
		if strings.HasPrefix(t, "re[") || strings.HasPrefix(t, "re^") {
			if i := strings.IndexByte(t, ':'); i > 0 && i < 8 {
				t, re = strings.TrimSpace(t[i+1:]), true
			}
		}
		if t == s {
			return s, re
		}
		s = t
	}
}

func getArt(tx *state.Tx, h hash) (*art, error) {
	b := tx.Get(arts, string(h[:]))
	if b == nil {
		return nil, nil
	}
	return decodeArt(b)
}

func getInfo(tx *state.Tx, root hash) (*info, error) {
	b := tx.Get(infos, string(root[:]))
	if b == nil {
		return nil, nil
	}
	return decodeInfo(b)
}

// enter counts an article in its thread and puts the thread where it now belongs.
func enter(tx *state.Tx, a *art, self hash) error {
	if err := tx.Put(posts, postKey(a.root, a.seq), self[:]); err != nil {
		return err
	}
	t, err := getInfo(tx, a.root)
	if err != nil {
		return err
	}
	if t == nil {
		t = &info{first: a.when}
		if r, err := getArt(tx, a.root); err != nil {
			return err
		} else if r != nil {
			t.root = r.id
		}
	}
	if a.root == self {
		t.root = a.id
	}
	if a.root == self || t.posts == 0 {
		t.subject, t.from = a.subject, a.from
	}
	t.posts++
	if t.first = min(t.first, a.when); a.when >= t.last {
		t.last, t.lastFrom, t.lastID = a.when, a.from, a.id
	}
	for _, p := range a.places {
		if err := enterGroup(tx, t, a, p); err != nil {
			return err
		}
	}
	return tx.Put(infos, string(a.root[:]), t.encode())
}

func enterGroup(tx *state.Tx, t *info, a *art, p spool.Place) error {
	g := t.in(p.Group)
	if g.posts > 0 {
		if err := errors.Join(tx.Delete(active, listKey(p.Group, g.last, a.root)), tx.Delete(born, listKey(p.Group, g.born, a.root))); err != nil {
			return err
		}
		g.last, g.born = max(g.last, a.when), min(g.born, a.when)
	} else {
		g.last, g.born = a.when, a.when
	}
	g.posts++
	g.high = max(g.high, p.Number)
	base, _ := BaseSubject(a.subject)
	if a.root == hashOf(a.id) {
		if err := tx.Put(subj, subjectKey(p.Group, base), binary.BigEndian.AppendUint64(a.root[:], uint64(a.when))); err != nil {
			return err
		}
	}
	return errors.Join(
		tx.Put(active, listKey(p.Group, g.last, a.root), nil),
		tx.Put(born, listKey(p.Group, g.born, a.root), nil))
}

// merge moves a whole thread under another root: a parent came late.
func merge(tx *state.Tx, from, to hash) error {
	if from == to {
		return nil
	}
	var moved []hash
	var keys []string
	tx.Each(posts, string(from[:]), "", func(k string, v []byte) bool {
		if len(v) == 16 {
			moved, keys = append(moved, hash(v)), append(keys, k)
		}
		return len(moved) < maxMerge
	})
	if len(moved) >= maxMerge {
		return nil
	}
	if err := forget(tx, from); err != nil {
		return err
	}
	for _, k := range keys {
		if err := tx.Delete(posts, k); err != nil {
			return err
		}
	}
	for _, h := range append(moved, from) {
		a, err := getArt(tx, h)
		if err != nil {
			return err
		}
		if a == nil {
			continue
		}
		a.root = to
		if err := tx.Put(arts, string(h[:]), a.encode()); err != nil {
			return err
		}
		if a.seq != 0 {
			if err := enter(tx, a, h); err != nil {
				return err
			}
		}
	}
	return nil
}

// forget takes a thread out of the lists.
func forget(tx *state.Tx, root hash) error {
	t, err := getInfo(tx, root)
	if err != nil || t == nil {
		return err
	}
	for _, g := range t.groups {
		if err := errors.Join(tx.Delete(active, listKey(g.group, g.last, root)), tx.Delete(born, listKey(g.group, g.born, root))); err != nil {
			return err
		}
	}
	return tx.Delete(infos, string(root[:]))
}
