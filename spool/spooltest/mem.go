package spooltest

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// Mem is a spool.Store in memory: plain, correct, and slow where it may be. It
// forgets everything at Close.
type Mem struct {
	Now func() time.Time // set before use, or left as it is: time.Now

	mu      sync.Mutex
	closed  bool
	log     []*memArticle // by Seq, from 1; nil once removed
	ids     map[article.ID]memID
	groups  map[article.Group]*memGroup
	marks   map[article.Group]uint64 // high marks of removed groups
	changed chan struct{}            // closed and replaced when something arrives
}

type memArticle struct {
	entry   spool.Entry
	art     *article.Article
	expires time.Time
}

type memID struct {
	seq   spool.Seq // 0: recalled
	until time.Time
}

type memGroup struct {
	info spool.GroupInfo
	at   map[uint64]*memArticle
}

// NewMem returns an empty spool in memory.
func NewMem() *Mem {
	return &Mem{Now: time.Now, ids: map[article.ID]memID{}, groups: map[article.Group]*memGroup{},
		marks: map[article.Group]uint64{}, changed: make(chan struct{})}
}

var _ spool.Store = (*Mem)(nil)

// enter locks m; the caller unlocks it if there was no error.
func (m *Mem) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return spool.ErrClosed
	}
	return nil
}

// Lookup implements spool.History.
func (m *Mem) Lookup(ctx context.Context, id article.ID) (spool.State, error) {
	if err := m.enter(ctx); err != nil {
		return 0, err
	}
	defer m.mu.Unlock()
	return m.state(id), nil
}

func (m *Mem) state(id article.ID) spool.State {
	h, ok := m.ids[id]
	switch {
	case !ok:
		return spool.Unknown
	case h.seq != 0:
		return spool.Stored
	case !h.until.After(m.Now()):
		return spool.Unknown
	}
	return spool.Recalled
}

// Recall implements spool.History.
func (m *Mem) Recall(ctx context.Context, id article.ID, until time.Time) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if h := m.ids[id]; h.seq == 0 && until.After(h.until) {
		m.ids[id] = memID{until: until}
	}
	return nil
}

// Add implements spool.Writer.
func (m *Mem) Add(ctx context.Context, a *article.Article, in spool.Arrival) (spool.Entry, error) {
	if err := m.enter(ctx); err != nil {
		return spool.Entry{}, err
	}
	defer m.mu.Unlock()
	if len(in.Groups) == 0 {
		return spool.Entry{}, fmt.Errorf("add %s: no group given", a.ID())
	}
	if m.state(a.ID()) != spool.Unknown {
		return spool.Entry{}, spool.ErrDuplicate
	}
	for _, g := range in.Groups {
		if m.groups[g] == nil {
			return spool.Entry{}, fmt.Errorf("group %s: %w", g, spool.ErrNotFound)
		}
	}
	if in.At.IsZero() {
		in.At = m.Now()
	}
	x := &memArticle{art: a, entry: spool.Entry{Seq: spool.Seq(len(m.log) + 1),
		Arrived: time.Unix(in.At.Unix(), 0).UTC(), Path: hops(a), Via: in.Via, Proof: in.Proof, Overview: a.Overview()}}
	if in.Expires.After(in.At) {
		x.expires = in.Expires
	}
	for _, name := range in.Groups {
		g := m.groups[name]
		if slices.ContainsFunc(x.entry.Places, func(p spool.Place) bool { return p.Group == name }) {
			continue
		}
		g.info.High++
		g.info.Count++
		g.at[g.info.High] = x
		x.entry.Places = append(x.entry.Places, spool.Place{Group: name, Number: g.info.High})
	}
	m.log = append(m.log, x)
	m.ids[a.ID()] = memID{seq: x.entry.Seq}
	close(m.changed)
	m.changed = make(chan struct{})
	return x.copy(""), nil
}

// hops returns the path identities of a without the tail-entry.
func hops(a *article.Article) []string {
	h := article.PathHops(a.Get("Path"))
	if len(h) == 0 {
		return nil
	}
	return h[:len(h)-1]
}

// copy returns the entry for the caller to keep, g's own place first.
func (x *memArticle) copy(g article.Group) spool.Entry {
	e := x.entry
	e.Places = slices.Clone(e.Places)
	for i, p := range e.Places {
		if p.Group == g {
			copy(e.Places[1:i+1], e.Places[:i])
			e.Places[0] = p
			break
		}
	}
	return e
}

// Remove implements spool.Writer.
func (m *Mem) Remove(ctx context.Context, seq spool.Seq, from []article.Group, until time.Time) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if seq > 0 && int(seq) <= len(m.log) && m.log[seq-1] != nil {
		m.remove(m.log[seq-1], from, until)
	}
	return nil
}

func (m *Mem) remove(x *memArticle, from []article.Group, until time.Time) {
	var left []spool.Place
	for _, p := range x.entry.Places {
		if len(from) > 0 && !slices.Contains(from, p.Group) {
			left = append(left, p)
			continue
		}
		if g := m.groups[p.Group]; g != nil {
			delete(g.at, p.Number)
			g.info.Count--
			g.settleLow()
		}
	}
	x.entry.Places = left
	if len(left) == 0 {
		m.log[x.entry.Seq-1] = nil
		m.ids[x.entry.ID] = memID{until: until}
	}
}

// settleLow moves the low mark up to the first article there is, or above High.
func (g *memGroup) settleLow() {
	for g.info.Low <= g.info.High && g.at[g.info.Low] == nil {
		g.info.Low++
	}
}

// PutGroups implements spool.Writer.
func (m *Mem) PutGroups(ctx context.Context, infos ...spool.GroupInfo) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	for _, in := range infos {
		if in.Status == 0 {
			in.Status = spool.PostOpen
		}
		if g := m.groups[in.Name]; g != nil {
			in.Low, in.High, in.Count, in.Created = g.info.Low, g.info.High, g.info.Count, g.info.Created
			g.info = in
			continue
		}
		in.High = max(in.High, m.marks[in.Name])
		in.Low, in.Count = in.High+1, 0
		if in.Created.IsZero() {
			in.Created = m.Now()
		}
		in.Created = time.Unix(in.Created.Unix(), 0).UTC()
		delete(m.marks, in.Name)
		m.groups[in.Name] = &memGroup{info: in, at: map[uint64]*memArticle{}}
	}
	return nil
}

// DropGroup implements spool.Writer.
func (m *Mem) DropGroup(ctx context.Context, name article.Group) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	g := m.groups[name]
	if g == nil {
		return fmt.Errorf("group %s: %w", name, spool.ErrNotFound)
	}
	for _, x := range g.at {
		m.remove(x, []article.Group{name}, m.Now().Add(90*24*time.Hour))
	}
	m.marks[name] = g.info.High
	delete(m.groups, name)
	return nil
}

// ByID implements spool.Reader.
func (m *Mem) ByID(ctx context.Context, id article.ID) (spool.Entry, error) {
	if err := m.enter(ctx); err != nil {
		return spool.Entry{}, err
	}
	defer m.mu.Unlock()
	h := m.ids[id]
	if h.seq == 0 {
		return spool.Entry{}, fmt.Errorf("article %s: %w", id, spool.ErrNotFound)
	}
	return m.log[h.seq-1].copy(""), nil
}

// ByNumber implements spool.Reader.
func (m *Mem) ByNumber(ctx context.Context, p spool.Place) (spool.Entry, error) {
	if err := m.enter(ctx); err != nil {
		return spool.Entry{}, err
	}
	defer m.mu.Unlock()
	if g := m.groups[p.Group]; g != nil && g.at[p.Number] != nil {
		return g.at[p.Number].copy(p.Group), nil
	}
	return spool.Entry{}, fmt.Errorf("article %s:%d: %w", p.Group, p.Number, spool.ErrNotFound)
}

// Range implements spool.Reader. As in every spool, Path, Via and Proof are left out.
func (m *Mem) Range(ctx context.Context, name article.Group, lo, hi uint64) iter.Seq2[spool.Entry, error] {
	return func(yield func(spool.Entry, error) bool) {
		for n, err := range m.Numbers(ctx, name, lo, hi) {
			if err != nil {
				yield(spool.Entry{}, err)
				return
			}
			e, err := m.ByNumber(ctx, spool.Place{Group: name, Number: n})
			if err != nil {
				continue // removed meanwhile
			}
			e.Path, e.Via, e.Proof = nil, spool.Via{}, article.Proof{}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Numbers implements spool.Reader.
func (m *Mem) Numbers(ctx context.Context, name article.Group, lo, hi uint64) iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		if err := m.enter(ctx); err != nil {
			yield(0, err)
			return
		}
		g := m.groups[name]
		var all []uint64
		if g != nil {
			for n := range g.at {
				if lo <= n && n <= hi {
					all = append(all, n)
				}
			}
		}
		m.mu.Unlock()
		if g == nil {
			yield(0, fmt.Errorf("group %s: %w", name, spool.ErrNotFound))
			return
		}
		slices.Sort(all)
		for _, n := range all {
			if !yield(n, nil) {
				return
			}
		}
	}
}

// List implements spool.Reader.
func (m *Mem) List(ctx context.Context, name article.Group, lo, hi uint64) iter.Seq2[spool.Listed, error] {
	return func(yield func(spool.Listed, error) bool) {
		for e, err := range m.Range(ctx, name, lo, hi) {
			l := spool.Listed{Arrived: e.Arrived, ID: e.ID, Crossposted: len(e.Places) > 1}
			if err == nil {
				l.Number = e.Places[0].Number
			}
			if !yield(l, err) {
				return
			}
		}
	}
}

// Since implements spool.Reader.
func (m *Mem) Since(ctx context.Context, after spool.Seq) iter.Seq2[spool.Entry, error] {
	return func(yield func(spool.Entry, error) bool) {
		for {
			if err := m.enter(ctx); err != nil {
				yield(spool.Entry{}, err)
				return
			}
			var x *memArticle
			for x == nil && int(after) < len(m.log) {
				x = m.log[after]
				after++
			}
			if x == nil {
				m.mu.Unlock()
				return
			}
			e := x.copy("")
			m.mu.Unlock()
			if !yield(e, nil) {
				return
			}
		}
	}
}

// SeqAt implements spool.Reader.
func (m *Mem) SeqAt(ctx context.Context, t time.Time) (spool.Seq, error) {
	if err := m.enter(ctx); err != nil {
		return 0, err
	}
	defer m.mu.Unlock()
	for i, x := range m.log {
		if x != nil && !x.entry.Arrived.Before(t) {
			return spool.Seq(i), nil
		}
	}
	return spool.Seq(len(m.log)), nil
}

// Last implements spool.Reader.
func (m *Mem) Last() spool.Seq {
	m.mu.Lock()
	defer m.mu.Unlock()
	return spool.Seq(len(m.log))
}

// Open implements spool.Reader.
func (m *Mem) Open(ctx context.Context, seq spool.Seq) (*article.Article, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	if seq == 0 || int(seq) > len(m.log) || m.log[seq-1] == nil {
		return nil, fmt.Errorf("article of seq %d: %w", seq, spool.ErrNotFound)
	}
	return m.log[seq-1].art, nil
}

// Group implements spool.Reader.
func (m *Mem) Group(ctx context.Context, name article.Group) (spool.GroupInfo, error) {
	if err := m.enter(ctx); err != nil {
		return spool.GroupInfo{}, err
	}
	defer m.mu.Unlock()
	if g := m.groups[name]; g != nil {
		return g.info, nil
	}
	return spool.GroupInfo{}, fmt.Errorf("group %s: %w", name, spool.ErrNotFound)
}

// Groups implements spool.Reader.
func (m *Mem) Groups(ctx context.Context) iter.Seq2[spool.GroupInfo, error] {
	return func(yield func(spool.GroupInfo, error) bool) {
		if err := m.enter(ctx); err != nil {
			yield(spool.GroupInfo{}, err)
			return
		}
		all := make([]spool.GroupInfo, 0, len(m.groups))
		for _, g := range m.groups {
			all = append(all, g.info)
		}
		m.mu.Unlock()
		sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
		for _, g := range all {
			if !yield(g, nil) {
				return
			}
		}
	}
}

// Wait implements spool.Store.
func (m *Mem) Wait(ctx context.Context, after spool.Seq) error {
	for {
		if err := m.enter(ctx); err != nil {
			return err
		}
		there, changed := len(m.log) > int(after), m.changed
		m.mu.Unlock()
		if there {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// SpoolID implements spool.Store.
func (m *Mem) SpoolID() string { return fmt.Sprintf("mem-%p", m) }

// Close implements spool.Store.
func (m *Mem) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.closed = true
		close(m.changed)
	}
	return nil
}
