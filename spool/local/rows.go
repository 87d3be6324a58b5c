package local

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/litfass/litfass/spool"
)

// rangeBatch is how many rows are copied out of the index in one transaction: it holds
// pages, and who reads may be slow.
const rangeBatch = 128

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

// wasRemoved says whether a place that a tail of before, or of now, knows is gone.
func (s *Spool) wasRemoved(ts tails, p rowPlace) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return ts.gone(p) || s.isGone(p) || s.byGid[p.gid] == nil
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
