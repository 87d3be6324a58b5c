package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/litfass/litfass/spool"
)

// What Since reads of the log at one time: records, and octets unless one is larger.
const (
	sinceBatch = 128
	sinceBytes = 512 << 10
)

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
