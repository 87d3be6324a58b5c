package local

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

const (
	rangeBatch  = 128
	numberBatch = 4096
	listBatch   = 1024
	sinceBatch  = 128
	sinceBytes  = 512 << 10
	headGuess   = 1024 // octets read in the hope that they hold a record's head
)

func isNotFound(err error) bool { return errors.Is(err, spool.ErrNotFound) }

// view runs fn in a read transaction of the index.
func (s *Spool) view(fn func(*bolt.Tx) error) (err error) {
	defer s.guard(&err)
	return notOpen(s.db.View(fn))
}

func notOpen(err error) error {
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return spool.ErrClosed
	}
	return err
}

// known asks history for an id: tails, filters, then the index.
func (s *Spool) known(h hash) (known, bool, error) {
	var few [16]uint32
	ask := few[:0]
	s.mu.RLock()
	k, ok := s.live.ids[h]
	if !ok && s.frozen != nil {
		k, ok = s.frozen.ids[h]
	}
	if !ok {
		for i := len(s.shards) - 1; i >= 0; i-- {
			if s.shards[i].filt.perhaps(h) {
				ask = append(ask, s.shards[i].id)
			}
		}
	}
	s.mu.RUnlock()
	if ok || len(ask) == 0 {
		return k, ok, nil
	}
	k, ok, done, err := s.lookup(h, ask)
	if err != nil {
		return known{}, false, fmt.Errorf("ask history: %w", err)
	}
	if done {
		return k, ok, nil
	}
	err = s.view(func(tx *bolt.Tx) error {
		all := tx.Bucket(bktHist)
		for _, id := range ask {
			if b := all.Bucket(key32(id)); b != nil {
				if v := b.Get(h[:]); v != nil {
					k, ok = decodeKnown(v)
					return nil
				}
			}
		}
		return nil
	})
	if err != nil {
		return known{}, false, fmt.Errorf("ask history: %w", err)
	}
	return k, ok, nil
}

// Lookup implements spool.History.
func (s *Spool) Lookup(ctx context.Context, id article.ID) (spool.State, error) {
	if err := s.rlock(ctx); err != nil {
		return 0, err
	}
	s.mu.RUnlock()
	k, ok, err := s.known(id.Hash())
	if err != nil || !ok {
		return spool.Unknown, err
	}
	return k.state(s.cfg.Now().Unix()), nil
}

// rowAt returns a copy of the row at a place, nil if there is none.
func (s *Spool) rowAt(p rowPlace) (raw []byte, err error) {
	if raw, done := s.tailRow(p); done {
		return raw, nil
	}
	err = s.view(func(tx *bolt.Tx) error {
		if b := tx.Bucket(bktRows).Bucket(key32(p.gid)); b != nil {
			raw = slices.Clone(b.Get(key64(p.number)))
		}
		return nil
	})
	return raw, err
}

// tailRow looks for a row in the tails; done means that the index need not be asked.
func (s *Spool) tailRow(p rowPlace) (raw []byte, done bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, t := range [...]*tail{s.live, s.frozen} {
		if t == nil {
			continue
		}
		if _, gone := t.gone[p]; gone {
			return nil, true
		}
		if raw := t.row(p); raw != nil {
			return raw, true
		}
	}
	return nil, false
}

// isGone says whether a tail holds the removal of a place. s.mu is held.
func (s *Spool) isGone(p rowPlace) bool {
	if _, gone := s.live.gone[p]; gone {
		return true
	}
	if s.frozen == nil {
		return false
	}
	_, gone := s.frozen.gone[p]
	return gone
}

// tails are those of a moment before a transaction began. What they hold as
// removed is so, though the checkpoint that follows let go of them meanwhile.
type tails [2]*tail

func (s *Spool) tails() tails {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return tails{s.live, s.frozen}
}

// gone says whether one of them holds the removal of a place. s.mu is held.
func (ts tails) gone(p rowPlace) bool {
	for _, t := range ts {
		if t != nil {
			if _, gone := t.gone[p]; gone {
				return true
			}
		}
	}
	return false
}

func (ts tails) anyGone() bool {
	return len(ts[0].gone) > 0 || ts[1] != nil && len(ts[1].gone) > 0
}

// placesOf names the places of a row that can be read now. s.mu is held.
func (s *Spool) placesOf(r *row, ts tails) []spool.Place {
	return s.appendPlaces(make([]spool.Place, 0, len(r.places)), r, ts)
}

// appendPlaces is placesOf that appends to out.
func (s *Spool) appendPlaces(out []spool.Place, r *row, ts tails) []spool.Place {
	for _, p := range r.places {
		if g := s.byGid[p.gid]; g != nil && !ts.gone(p) && !s.isGone(p) {
			out = append(out, spool.Place{Group: g.info.Name, Number: p.number})
		}
	}
	return out
}

// readRecord reads the head, or with whole all, of the record of seq, and says
// how long the record is.
func (s *Spool) readRecord(seq spool.Seq, whole bool) (record, view, int64, error) {
	v, off, end, err := s.locate(seq)
	if err != nil {
		return record{}, v, 0, fmt.Errorf("article of seq %d: %w", seq, err)
	}
	r, err := v.read(off, end, whole)
	if err == nil && r.Seq != seq {
		err = fmt.Errorf("%w: another article's", errBad)
	}
	if err != nil {
		return record{}, v, 0, fmt.Errorf("article of seq %d in segment %d at %d: %w", seq, v.num, off, err)
	}
	return r, v, end - off, nil
}

func (g *segment) read(off, end int64, whole bool) (record, error) {
	f, err := g.handle()
	if err != nil {
		return record{}, err
	}
	n := end - off
	if !whole {
		n = min(n, headGuess)
	}
	b, err := readAt(f, make([]byte, n), off)
	if err != nil {
		return record{}, err
	}
	if whole {
		r, _, err := parseRecord(b, g.salt)
		return r, err
	}
	p, err := parsePrefix(b)
	if err != nil {
		return record{}, err
	}
	if need := int64(prefixLen + p.head); need > n && need <= end-off {
		if b, err = readAt(f, make([]byte, need), off); err != nil {
			return record{}, err
		}
	}
	r, _, err := parseHead(b, g.salt)
	return r, err
}

// entry returns the whole entry of seq with the places that can be read now.
func (s *Spool) entry(seq spool.Seq) (spool.Entry, error) {
	e, _, _, err := s.sizedEntry(seq)
	return e, err
}

// sizedEntry is entry that also says where the record is and how long.
func (s *Spool) sizedEntry(seq spool.Seq) (spool.Entry, view, int64, error) {
	r, v, size, err := s.readRecord(seq, false)
	if err != nil {
		return spool.Entry{}, v, 0, err
	}
	if err := s.prune(&r.Entry, v); err != nil {
		return spool.Entry{}, v, 0, err
	}
	return r.Entry, v, size, nil
}

// prune leaves those places of an entry read from the log that can be read now;
// without any it is not found.
func (s *Spool) prune(e *spool.Entry, v view) error {
	if v.deadPlaces.Load() == 0 {
		return nil
	}
	kept := e.Places[:0]
	for _, p := range e.Places {
		s.mu.RLock()
		g := s.groups[p.Group]
		s.mu.RUnlock()
		if g == nil {
			continue
		}
		ok, err := s.hasRow(rowPlace{g.gid, p.Number})
		if err != nil {
			return err
		}
		if ok {
			kept = append(kept, p)
		}
	}
	e.Places = kept
	if len(kept) == 0 {
		return fmt.Errorf("article of seq %d: %w", e.Seq, spool.ErrNotFound)
	}
	return nil
}

func (s *Spool) hasRow(p rowPlace) (ok bool, err error) {
	if raw, done := s.tailRow(p); done {
		return raw != nil, nil
	}
	err = s.view(func(tx *bolt.Tx) error {
		b := tx.Bucket(bktRows).Bucket(key32(p.gid))
		ok = b != nil && b.Get(key64(p.number)) != nil
		return nil
	})
	return ok, err
}

// ByID implements spool.Reader.
func (s *Spool) ByID(ctx context.Context, id article.ID) (spool.Entry, error) {
	if err := s.rlock(ctx); err != nil {
		return spool.Entry{}, err
	}
	s.mu.RUnlock()
	k, ok, err := s.known(id.Hash())
	if err != nil {
		return spool.Entry{}, err
	}
	if !ok || k.seq == 0 {
		return spool.Entry{}, fmt.Errorf("article %s: %w", id, spool.ErrNotFound)
	}
	e, err := s.entry(k.seq)
	if err == nil && e.ID != id {
		err = fmt.Errorf("article %s: %w", id, spool.ErrNotFound)
	}
	return e, err
}

// ByNumber implements spool.Reader.
func (s *Spool) ByNumber(ctx context.Context, p spool.Place) (spool.Entry, error) {
	if err := s.rlock(ctx); err != nil {
		return spool.Entry{}, err
	}
	g := s.groups[p.Group]
	s.mu.RUnlock()
	var raw []byte
	var err error
	if g != nil {
		raw, err = s.rowAt(rowPlace{g.gid, p.Number})
	}
	if err == nil && len(raw) < 8 {
		err = spool.ErrNotFound
	}
	if err != nil {
		return spool.Entry{}, fmt.Errorf("article %s:%d: %w", p.Group, p.Number, err)
	}
	e, err := s.entry(rowSeq(raw))
	if i := slices.Index(e.Places, p); i > 0 {
		copy(e.Places[1:i+1], e.Places[:i])
		e.Places[0] = p
	}
	return e, err
}

// walk calls fn for the rows of a group from lo to hi in order, merged from index
// and tails; removed ones included. fn must not keep raw; it returns false to end.
func (s *Spool) walk(gid uint32, lo, hi uint64, fn func(n uint64, raw []byte) bool) error {
	s.mu.RLock()
	rows := s.live.from(gid, lo)
	var older []tailRow
	if s.frozen != nil {
		older = s.frozen.from(gid, lo)
	}
	s.mu.RUnlock() // before the transaction begins: else rows could fall between
	return s.view(func(tx *bolt.Tx) error {
		var c *bolt.Cursor
		var k, v []byte
		if b := tx.Bucket(bktRows).Bucket(key32(gid)); b != nil {
			c = b.Cursor()
			k, v = c.Seek(key64(lo))
		}
		if len(older) == 0 && len(rows) == 0 { // the common case
			for ; len(k) == 8; k, v = c.Next() {
				if n := binary.BigEndian.Uint64(k); n > hi || !fn(n, v) {
					return nil
				}
			}
			return nil
		}
		for {
			n, raw := hi, []byte(nil)
			if len(k) == 8 {
				if m := binary.BigEndian.Uint64(k); m <= n {
					n, raw = m, v
				}
			}
			for _, t := range [...][]tailRow{older, rows} {
				if len(t) > 0 && (t[0].number < n || t[0].number == n && raw == nil) {
					n, raw = t[0].number, t[0].row
				}
			}
			if raw == nil || !fn(n, raw) {
				return nil
			}
			if len(k) == 8 && binary.BigEndian.Uint64(k) == n {
				k, v = c.Next()
			}
			for _, t := range [...]*[]tailRow{&older, &rows} {
				if len(*t) > 0 && (*t)[0].number == n {
					*t = (*t)[1:]
				}
			}
		}
	})
}

// numbers returns up to limit numbers of a group that can be read now.
func (s *Spool) numbers(gid uint32, lo, hi uint64, limit int) ([]uint64, error) {
	some := max(limit, 64)
	for {
		var all []uint64
		ts := s.tails()
		err := s.walk(gid, lo, hi, func(n uint64, _ []byte) bool {
			all = append(all, n)
			return len(all) < some
		})
		if err != nil || len(all) == 0 {
			return nil, err
		}
		last, full := all[len(all)-1], len(all) == some
		s.mu.RLock()
		if ts.anyGone() || len(s.live.gone) > 0 {
			all = slices.DeleteFunc(all, func(n uint64) bool { return ts.gone(rowPlace{gid, n}) || s.isGone(rowPlace{gid, n}) })
		}
		s.mu.RUnlock()
		if len(all) > 0 || !full {
			return all[:min(limit, len(all))], nil
		}
		lo = last + 1
	}
}

// groupFor finds a group for an iterator.
func (s *Spool) groupFor(ctx context.Context, name article.Group) (*group, error) {
	if err := s.rlock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	if g := s.groups[name]; g != nil {
		return g, nil
	}
	return nil, fmt.Errorf("group %s: %w", name, spool.ErrNotFound)
}

// Numbers implements spool.Reader.
func (s *Spool) Numbers(ctx context.Context, name article.Group, lo, hi uint64) iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		for lo <= hi {
			g, err := s.groupFor(ctx, name)
			var ns []uint64
			if err == nil {
				ns, err = s.numbers(g.gid, lo, hi, numberBatch)
			}
			if err != nil {
				yield(0, err)
				return
			}
			if len(ns) == 0 {
				return
			}
			for _, n := range ns {
				if !yield(n, nil) {
					return
				}
			}
			lo = ns[len(ns)-1] + 1
		}
	}
}

// Range implements spool.Reader.
func (s *Spool) Range(ctx context.Context, name article.Group, lo, hi uint64) iter.Seq2[spool.Entry, error] {
	return func(yield func(spool.Entry, error) bool) {
		for first := true; lo <= hi || first; first = false {
			g, err := s.groupFor(ctx, name)
			ts := s.tails()
			var b rowBatch
			if err == nil && lo <= hi {
				b, err = s.batch(g.gid, lo, hi)
			}
			if err != nil {
				yield(spool.Entry{}, err)
				return
			}
			if len(b.rows) == 0 {
				return
			}
			lo = b.rows[len(b.rows)-1].number + 1
			if !s.entries(&b, ts, yield) {
				return
			}
		}
	}
}

// rowBatch are rows that were copied out of the index and not decoded yet: two
// allocations for all of them.
type rowBatch struct {
	text string
	rows []rawRow
}

type rawRow struct {
	number uint64
	seq    spool.Seq
	end    int // in text
}

// batch reads one batch of rows, removed ones included.
func (s *Spool) batch(gid uint32, lo, hi uint64) (b rowBatch, err error) {
	var text strings.Builder
	var bad error
	err = s.walk(gid, lo, hi, func(n uint64, raw []byte) bool {
		if b.rows == nil {
			few := min(rangeBatch, hi-n+1)
			b.rows = make([]rawRow, 0, few)
			text.Grow(int(few) * (len(raw) + len(raw)/4))
		}
		if len(raw) < 8 {
			bad = fmt.Errorf("%w: index row", errBad)
			return false
		}
		text.Write(raw)
		b.rows = append(b.rows, rawRow{n, rowSeq(raw), text.Len()})
		return len(b.rows) < rangeBatch
	})
	if err == nil {
		err = bad
	}
	b.text = text.String()
	return b, err
}

// entries decodes rows into entries, less what is removed.
func (s *Spool) entries(b *rowBatch, ts tails, yield func(spool.Entry, error) bool) bool {
	places := make([]spool.Place, 0, len(b.rows)+len(b.rows)/8+1)
	var r row
	from := 0
	for _, raw := range b.rows {
		if err := r.decode(b.text[from:raw.end], raw.seq); err != nil {
			yield(spool.Entry{}, err)
			return false
		}
		from = raw.end
		if cap(places)-len(places) < len(r.places) {
			places = make([]spool.Place, 0, len(r.places)+cap(places))
		}
		at := len(places)
		s.mu.RLock()
		here := !ts.gone(r.places[0]) && !s.isGone(r.places[0]) && s.byGid[r.places[0].gid] != nil
		if here {
			places = s.appendPlaces(places, &r, ts)
		}
		s.mu.RUnlock()
		if here && !yield(spool.Entry{Seq: r.seq, Arrived: r.arrived, Places: places[at:len(places):len(places)], Overview: r.over}, nil) {
			return false
		}
	}
	return true
}

// List implements spool.Reader: Range that skips most of each row.
func (s *Spool) List(ctx context.Context, name article.Group, lo, hi uint64) iter.Seq2[spool.Listed, error] {
	return func(yield func(spool.Listed, error) bool) {
		for lo <= hi {
			g, err := s.groupFor(ctx, name)
			ts := s.tails()
			var some []spool.Listed
			if err == nil {
				some, err = s.list(g.gid, lo, hi)
			}
			if err != nil {
				yield(spool.Listed{}, err)
				return
			}
			if len(some) == 0 {
				return
			}
			lo = some[len(some)-1].Number + 1
			s.mu.RLock()
			removed := ts.anyGone() || len(s.live.gone) > 0 || g.gone
			s.mu.RUnlock()
			for _, l := range some {
				if removed && s.wasRemoved(ts, rowPlace{g.gid, l.Number}) {
					continue
				}
				if !yield(l, nil) {
					return
				}
			}
		}
	}
}

// list reads one batch for List, removed ones included.
func (s *Spool) list(gid uint32, lo, hi uint64) (some []spool.Listed, err error) {
	var text strings.Builder
	var bad error
	ends := make([]int, 0, listBatch)
	err = s.walk(gid, lo, hi, func(n uint64, raw []byte) bool {
		at, cross, id, err := skim(raw)
		if err != nil {
			bad = err
			return false
		}
		if some == nil {
			few := min(listBatch, hi-n+1)
			some = make([]spool.Listed, 0, few)
			text.Grow(int(few) * (len(id) + 8))
		}
		text.Write(id)
		ends = append(ends, text.Len())
		some = append(some, spool.Listed{Number: n, Arrived: fromUnix(at), Crossposted: cross})
		return len(some) < listBatch
	})
	if err == nil {
		err = bad
	}
	all, from := text.String(), 0
	for i := range some {
		some[i].ID = article.ID(all[from:ends[i]])
		from = ends[i]
	}
	return some, err
}

// wasRemoved says whether a place that a tail of before, or of now, knows is gone.
func (s *Spool) wasRemoved(ts tails, p rowPlace) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return ts.gone(p) || s.isGone(p) || s.byGid[p.gid] == nil
}

// rows reads one batch of rows, removed ones included.
func (s *Spool) rows(gid uint32, lo, hi uint64) ([]row, error) {
	b, err := s.batch(gid, lo, hi)
	if err != nil {
		return nil, err
	}
	rows, from := make([]row, len(b.rows)), 0
	for i, raw := range b.rows {
		if err := rows[i].decode(b.text[from:raw.end], raw.seq); err != nil {
			return nil, err
		}
		from = raw.end
	}
	return rows, nil
}

// Since implements spool.Reader. What is damaged is passed over, with a warning.
func (s *Spool) Since(ctx context.Context, after spool.Seq) iter.Seq2[spool.Entry, error] {
	return func(yield func(spool.Entry, error) bool) {
		for {
			es, next, err := s.since(ctx, after)
			if err != nil {
				yield(spool.Entry{}, err)
				return
			}
			if next == after {
				return
			}
			after = next
			for i := range es {
				if !yield(es[i], nil) {
					return
				}
			}
		}
	}
}

// since returns one batch, and the Seq up to which it reaches: after, at the end.
func (s *Spool) since(ctx context.Context, after spool.Seq) ([]spool.Entry, spool.Seq, error) {
	if err := s.rlock(ctx); err != nil {
		return nil, 0, err
	}
	if es, ok := s.recent.since(after); ok {
		s.mu.RUnlock()
		return es, es[len(es)-1].Seq, nil
	}
	var few [classCount]view
	vs := s.views(few[:0], func(g *segment) bool { return g.last > after })
	s.mu.RUnlock()
	steps, err := nextSteps(vs, after)
	if err != nil {
		return nil, 0, err
	}
	es := make([]spool.Entry, 0, len(steps))
	for _, st := range steps {
		after = st.at.seq
		e, err := s.sinceOne(*st.v, st.w, st.at, st.next)
		if isNotFound(err) {
			continue
		}
		if errors.Is(err, errBad) {
			s.log.Warn("a damaged article is passed over; run spool check", "seq", after, "segment", st.v.num, "error", err)
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		es = append(es, e)
	}
	return es, after, nil
}

// step is one record that since reads: where it lies, and where the next one does.
type step struct {
	v        *view
	w        *window
	at, next tabEntry
}

// nextSteps returns the records that come after a Seq, in order: as many as one
// batch takes. vs holds, of each chain, the first segment with something after it.
func nextSteps(vs []view, after spool.Seq) ([]step, error) {
	var steps []step
	upTo := spool.Seq(math.MaxUint64) // beyond it some chain was not looked at
	for i := range vs {
		v := &vs[i]
		at, err := v.find(after + 1)
		if err != nil {
			return nil, err
		}
		tab, err := v.entries(at, sinceBatch+1)
		if err != nil {
			return nil, err
		}
		f, err := v.handle()
		if err != nil {
			return nil, err
		}
		n := len(tab) - 1
		if n < 1 {
			return nil, fmt.Errorf("table of segment %d: %w", v.num, errBad)
		}
		for n > 1 && tab[n].off-tab[0].off > sinceBytes {
			n /= 2
		}
		upTo = min(upTo, tab[n-1].seq)
		w := &window{f: f, size: int64(tab[n].off), step: int(tab[n].off - tab[0].off)}
		for k := range n {
			steps = append(steps, step{v, w, tab[k], tab[k+1]})
		}
	}
	if len(vs) > 1 {
		steps = slices.DeleteFunc(steps, func(s step) bool { return s.at.seq > upTo })
		slices.SortFunc(steps, func(a, b step) int { return cmp.Compare(a.at.seq, b.at.seq) })
	}
	return steps, nil
}

func (s *Spool) sinceOne(v view, w *window, t, next tabEntry) (spool.Entry, error) {
	b, err := w.at(int64(t.off), int(next.off-t.off))
	if err != nil {
		return spool.Entry{}, fmt.Errorf("read segment %d: %w", v.num, err)
	}
	r, _, err := parseHead(b, v.salt)
	if err != nil {
		return spool.Entry{}, err
	}
	return r.Entry, s.prune(&r.Entry, v)
}

// SeqAt implements spool.Reader: all that arrived at t or later comes after it.
func (s *Spool) SeqAt(ctx context.Context, t time.Time) (spool.Seq, error) {
	if err := s.rlock(ctx); err != nil {
		return 0, err
	}
	sec := t.Unix()
	if t.Nanosecond() > 0 {
		sec++
	}
	at := clamp32(sec)
	last := s.last
	var few [classCount]view
	vs := s.views(few[:0], func(g *segment) bool { return g.at >= at })
	s.mu.RUnlock()
	for _, v := range vs {
		k, err := v.search(func(e tabEntry) bool { return e.at >= at })
		if err != nil {
			return 0, err
		}
		if k >= v.count {
			continue
		}
		e, err := v.entries(k, 1)
		if err != nil {
			return 0, err
		}
		last = min(last, e[0].seq-1)
	}
	return last, nil
}

// Last implements spool.Reader.
func (s *Spool) Last() spool.Seq {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.last
}

// First is a Seq before which nothing is left: it rises when a segment is dropped.
func (s *Spool) First() spool.Seq {
	s.mu.RLock()
	defer s.mu.RUnlock()
	first := s.last + 1
	for _, g := range s.segs {
		first = min(first, g.first)
	}
	return first
}

// Open implements spool.Reader: of what came last nothing is read; else one read,
// the checksum, no parsing.
func (s *Spool) Open(ctx context.Context, seq spool.Seq) (*article.Article, error) {
	if err := s.rlock(ctx); err != nil {
		return nil, err
	}
	art := s.recent.article(seq)
	s.mu.RUnlock()
	if art != nil {
		return art, nil
	}
	r, v, _, err := s.readRecord(seq, true)
	if err != nil {
		return nil, err
	}
	if err := s.prune(&r.Entry, v); err != nil {
		return nil, err
	}
	return article.Stored(r.wire, r.headLen, r.Overview), nil
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

// Wait implements spool.Store.
func (s *Spool) Wait(ctx context.Context, after spool.Seq) error {
	for {
		if err := s.rlock(ctx); err != nil {
			return err
		}
		last, changed := s.last, s.changed
		s.mu.RUnlock()
		if last > after {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}
