package local

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// act writes one act to the meta log and then does it. It is the committer's.
func (s *Spool) act(m *metaRec) error {
	if s.meta.broken || s.meta.size > metaGrown && s.meta.size > 2*s.meta.fresh {
		if err := s.rewriteMeta(); err != nil {
			return asFull(err)
		}
	}
	if s.pending != nil {
		if err := s.redo(s.pending); err != nil {
			return err
		}
		s.metaDone, s.pending = s.pending.n, nil
	}
	m.after = s.last
	if err := s.meta.append(m); err != nil {
		return asFull(err)
	}
	s.metaSize.Store(s.meta.size)
	if err := s.redo(m); err != nil {
		s.pending = m
		return err
	}
	s.metaDone = m.n
	return nil
}

// redo does what an act of the meta log says. Doing it twice changes nothing more.
func (s *Spool) redo(m *metaRec) error {
	switch m.kind {
	case metaPut:
		s.putGroups(m.groups)
	case metaState:
		s.setState(m.groups, m.gone)
	case metaMarks:
		return s.raiseMarks(m.groups)
	case metaDrop:
		return s.dropGroup(m.name)
	case metaRemove:
		return s.remove(m.seq, m.from, m.until)
	case metaRecall:
		return s.recall(m.id, m.until)
	}
	return nil
}

// PutGroups implements spool.Writer.
func (s *Spool) PutGroups(ctx context.Context, infos ...spool.GroupInfo) error {
	if len(infos) == 0 {
		return ctx.Err()
	}
	infos = slices.Clone(infos)
	for i := range infos {
		if infos[i].Name == "" {
			return fmt.Errorf("a group needs a name")
		}
		if infos[i].Created.IsZero() {
			infos[i].Created = s.cfg.Now()
		}
		if infos[i].Status == 0 {
			infos[i].Status = spool.PostOpen
		}
		infos[i].Created = fromUnix(infos[i].Created.Unix())
	}
	return s.exclusive(ctx, func() error { return s.act(&metaRec{kind: metaPut, groups: infos}) })
}

func (s *Spool) putGroups(infos []spool.GroupInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, in := range infos {
		g := s.groups[in.Name]
		if g == nil {
			s.makeGroup(in)
			continue
		}
		in.Low, in.High, in.Count, in.Created = g.info.Low, g.info.High, g.info.Count, g.info.Created
		g.info = in
		s.touch(g)
	}
}

// makeGroup makes a group that is not there; it numbers on above in.High and any
// mark left by a group of that name.
func (s *Spool) makeGroup(in spool.GroupInfo) *group {
	in.High = max(in.High, s.marks[in.Name])
	in.Low, in.Count = in.High+1, 0
	if s.marks[in.Name] != 0 {
		delete(s.marks, in.Name)
		s.live.regone[in.Name] = true
	}
	g := &group{gid: s.nextGid, info: in}
	s.nextGid++
	s.groups[in.Name], s.byGid[g.gid] = g, g
	s.sorted.Store(nil)
	s.touch(g)
	return g
}

// touch notes that the group's state is to be written.
func (s *Spool) touch(g *group) {
	s.live.dirty[g.gid] = true
	s.stir()
}

// stir notes that the live tail holds something.
func (s *Spool) stir() {
	if s.live.began.IsZero() {
		s.live.began = time.Now()
		s.wake()
	}
}

// setState sets a group as a rewritten meta log has it. Its articles are filed
// again as the replay meets them: from Low on.
func (s *Spool) setState(infos []spool.GroupInfo, gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, in := range infos {
		g := s.groups[in.Name]
		switch {
		case gone && g == nil:
			s.marks[in.Name] = max(s.marks[in.Name], in.High)
			s.live.regone[in.Name] = true
			s.stir()
		case gone:
		case g == nil:
			low := in.Low
			g = s.makeGroup(in)
			g.info.Low = low
		}
	}
}

// raiseMarks takes over marks that a sweep noted: what lies below Low is gone.
func (s *Spool) raiseMarks(infos []spool.GroupInfo) error {
	for _, in := range infos {
		g := s.groups[in.Name]
		if g == nil {
			continue
		}
		for {
			ns, err := s.numbers(g.gid, 0, in.Low-1, 256)
			if err != nil {
				return err
			}
			if in.Low == 0 || len(ns) == 0 {
				break
			}
			for _, n := range ns {
				if err := s.removePlace(g, n); err != nil {
					return err
				}
			}
		}
		s.mu.Lock()
		g.info.High, g.info.Low = max(g.info.High, in.High), max(g.info.Low, in.Low)
		s.touch(g)
		s.mu.Unlock()
	}
	return nil
}

// removePlace removes the article at one place of a group, by a rule.
func (s *Spool) removePlace(g *group, n uint64) error {
	raw, err := s.rowAt(rowPlace{g.gid, n})
	if err != nil || raw == nil {
		return err
	}
	r, err := decodeRow(raw)
	if err != nil {
		return err
	}
	return s.remove(r.seq, []article.Group{g.info.Name}, time.Unix(int64(s.forget(r.arrived)), 0))
}

// DropGroup implements spool.Writer.
func (s *Spool) DropGroup(ctx context.Context, name article.Group) error {
	return s.exclusive(ctx, func() error {
		if s.groups[name] == nil {
			return fmt.Errorf("group %s: %w", name, spool.ErrNotFound)
		}
		return s.act(&metaRec{kind: metaDrop, name: name})
	})
}

// dropGroup takes the group away at once, then looks which of its articles are
// in no other group.
func (s *Spool) dropGroup(name article.Group) error {
	g := s.groups[name]
	if g == nil {
		return nil
	}
	s.mu.Lock()
	delete(s.groups, name)
	g.gone = true
	s.sorted.Store(nil)
	delete(s.byGid, g.gid)
	s.marks[name] = g.info.High
	s.live.regone[name] = true
	s.stir()
	s.mu.Unlock()
	for lo := uint64(0); ; {
		ns, err := s.numbers(g.gid, lo, g.info.High, 256)
		if err != nil {
			return err
		}
		if len(ns) == 0 {
			break
		}
		for _, n := range ns {
			if err := s.orphan(rowPlace{g.gid, n}); err != nil {
				return err
			}
		}
		lo = ns[len(ns)-1] + 1
	}
	s.mu.Lock()
	s.live.dropped[g.gid] = name
	s.mu.Unlock()
	return nil
}

// orphan counts one place of a removed group as dead, and its article if that
// was the last.
func (s *Spool) orphan(p rowPlace) error {
	raw, err := s.rowAt(p)
	if err != nil || raw == nil {
		return err
	}
	r, err := decodeRow(raw)
	if err != nil {
		return err
	}
	if err := s.makeRoomInTail(); err != nil {
		return err
	}
	s.mu.RLock()
	left := len(s.placesOf(&r, tails{s.live, s.frozen}))
	s.mu.RUnlock()
	s.mu.Lock()
	s.recent.removed(r.seq)
	s.mu.Unlock()
	v, off, end, err := s.locate(r.seq)
	if err == nil {
		v.deadPlaces.Add(1)
	}
	if left == 0 {
		s.bury(v, end-off, r.over.ID, time.Unix(int64(s.forget(r.arrived)), 0))
	}
	return nil
}

// bury makes an article that is in no group any more a recalled one. v is its
// segment, if that is there.
func (s *Spool) bury(v view, size int64, id article.ID, until time.Time) {
	if v.segment != nil {
		v.deadRecs.Add(1)
		v.deadBytes.Add(size)
		s.bytes.Add(-size)
	}
	s.articles.Add(-1)
	s.mu.Lock()
	s.live.ids[id.Hash()] = known{until: clamp32(unix(until))}
	s.stir()
	s.mu.Unlock()
}

func (s *Spool) makeRoomInTail() error {
	if s.live.load() < s.cfg.TailMax/2 {
		return nil
	}
	if s.replaying {
		return s.flush()
	}
	return s.freeze()
}

// Remove implements spool.Writer.
func (s *Spool) Remove(ctx context.Context, seq spool.Seq, from []article.Group, until time.Time) error {
	return s.exclusive(ctx, func() error {
		e, err := s.entry(seq)
		if isNotFound(err) {
			return nil
		} else if err != nil {
			return err
		}
		if len(from) > 0 && !slices.ContainsFunc(e.Places, func(p spool.Place) bool { return slices.Contains(from, p.Group) }) {
			return nil
		}
		return s.act(&metaRec{kind: metaRemove, seq: seq, from: from, until: until})
	})
}

// remove takes an article out of groups (none named: all).
func (s *Spool) remove(seq spool.Seq, from []article.Group, until time.Time) error {
	if err := s.makeRoomInTail(); err != nil {
		return err
	}
	e, v, size, err := s.sizedEntry(seq)
	if isNotFound(err) {
		return nil
	} else if err != nil {
		return err
	}
	left := 0
	var low []*group
	s.mu.Lock()
	s.recent.removed(seq)
	for _, p := range e.Places {
		if len(from) > 0 && !slices.Contains(from, p.Group) {
			left++
			continue
		}
		g := s.groups[p.Group]
		if g == nil {
			continue
		}
		s.live.gone[rowPlace{g.gid, p.Number}] = seq
		g.info.Count--
		s.touch(g)
		v.deadPlaces.Add(1)
		if g.info.Low == p.Number {
			low = append(low, g)
		}
	}
	s.mu.Unlock()
	if left == 0 {
		s.bury(v, size, e.ID, until)
	}
	for _, g := range low {
		if err := s.settleLow(g); err != nil {
			return err
		}
	}
	return nil
}

// settleLow moves the low mark up to the first article there is, or above High.
func (s *Spool) settleLow(g *group) error {
	if s.lazyLow {
		return nil // settleAll does it
	}
	ns, err := s.numbers(g.gid, g.info.Low, g.info.High, 1)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	low := g.info.High + 1
	if len(ns) > 0 {
		low = ns[0]
	}
	if low != g.info.Low {
		g.info.Low = low
		s.touch(g)
	}
	return nil
}

func (s *Spool) settleAll() error {
	s.lazyLow = false
	for _, g := range s.groups {
		if err := s.settleLow(g); err != nil {
			return err
		}
	}
	return nil
}

// Recall implements spool.History.
func (s *Spool) Recall(ctx context.Context, id article.ID, until time.Time) error {
	return s.exclusive(ctx, func() error {
		k, ok, err := s.known(id.Hash())
		if err != nil || ok && (k.seq != 0 || int64(k.until) >= until.Unix()) {
			return err
		}
		return s.act(&metaRec{kind: metaRecall, id: id, until: until})
	})
}

func (s *Spool) recall(id article.ID, until time.Time) error {
	h := id.Hash()
	if err := s.makeRoomInTail(); err != nil {
		return err
	}
	k, ok, err := s.known(h)
	if err != nil || ok && (k.seq != 0 || int64(k.until) >= until.Unix()) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live.ids[h] = known{until: clamp32(until.Unix())}
	s.stir()
	return nil
}

// rewriteMeta replaces the meta log by what still counts: groups and marks as
// they are, removals of articles whose segment is here, recalls that are not over.
func (s *Spool) rewriteMeta() error {
	if err := s.flush(); err != nil { // the index must not need what is left out
		return err
	}
	old, err := s.meta.read()
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	out := s.stateRecs()
	for _, m := range old {
		switch {
		case m.kind == metaRemove && s.holds(m.seq), m.kind == metaRecall && m.until.After(now), m.kind == metaEnd && s.onDisk(m.segs[0]):
			out = append(out, m)
		case m.kind == metaUnlinked:
			m.segs = slices.DeleteFunc(m.segs, func(n uint32) bool { return !s.onDisk(n) })
			if len(m.segs) > 0 {
				out = append(out, m)
			}
		}
	}
	// The groups come first and once, under the number of the last act done.
	last := metaRec{n: max(s.metaDone, 1), after: s.last, kind: metaMarks}
	out = append(out, last)
	if err := s.meta.rewrite(out); err != nil {
		return err
	}
	s.meta.next = max(s.meta.next, last.n+1)
	s.metaDone = max(s.metaDone, last.n)
	return nil
}

func (s *Spool) stateRecs() (out []metaRec) {
	for _, g := range s.groups {
		out = append(out, metaRec{n: 1, kind: metaState, groups: []spool.GroupInfo{g.info}})
	}
	for name, high := range s.marks {
		out = append(out, metaRec{n: 1, kind: metaState, gone: true, groups: []spool.GroupInfo{{Name: name, High: high}}})
	}
	return out
}

func (s *Spool) onDisk(num uint32) bool {
	f, err := s.fs.Open((&segment{num: num, dir: s.cfg.Dir}).path(), false)
	if err == nil {
		f.Close()
	}
	return err == nil
}

// Group implements spool.Reader.
func (s *Spool) Group(ctx context.Context, name article.Group) (spool.GroupInfo, error) {
	if err := s.rlock(ctx); err != nil {
		return spool.GroupInfo{}, err
	}
	defer s.mu.RUnlock()
	if g := s.groups[name]; g != nil {
		return g.info, nil
	}
	return spool.GroupInfo{}, fmt.Errorf("group %s: %w", name, spool.ErrNotFound)
}

// Groups implements spool.Reader.
//
// It looks at a batch of groups at a time, so that a list of 100,000 costs no
// memory: a group made or removed meanwhile may or may not be among them.
func (s *Spool) Groups(ctx context.Context) iter.Seq2[spool.GroupInfo, error] {
	return func(yield func(spool.GroupInfo, error) bool) {
		var batch [64]spool.GroupInfo
		var all []*group
		for at := 0; at == 0 || at < len(all); at += len(batch) {
			if err := s.rlock(ctx); err != nil {
				yield(spool.GroupInfo{}, err)
				return
			}
			if at == 0 {
				all = s.byName()
			}
			n := 0
			for _, g := range all[min(at, len(all)):min(at+len(batch), len(all))] {
				if !g.gone {
					batch[n] = g.info
					n++
				}
			}
			s.mu.RUnlock()
			for _, info := range batch[:n] {
				if !yield(info, nil) {
					return
				}
			}
		}
	}
}

// byName returns the groups in order; s.mu is held. The order is kept until a
// group is made or removed.
func (s *Spool) byName() []*group {
	if p := s.sorted.Load(); p != nil {
		return *p
	}
	all := make([]*group, 0, len(s.groups))
	for _, g := range s.groups {
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b *group) int { return strings.Compare(string(a.info.Name), string(b.info.Name)) })
	s.sorted.Store(&all)
	return all
}
