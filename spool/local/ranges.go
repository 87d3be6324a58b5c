package local

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// Numbers are less to copy than rows, and what List wants of rows lies between.
const (
	numberBatch = 4096
	listBatch   = 1024
)

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
