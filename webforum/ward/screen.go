package ward

import (
	"context"
	"errors"
	"iter"
	"sync"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// Screen is the spool as those see it who ask this node for articles: newsreaders,
// feed readers, subscribers by mail, searches. What moderators hid is not there for
// them, and is again once they show it. History is not screened: a peer that offers
// such an article is told that it is here, and what is sent to peers goes on: each
// node decides for itself. It is safe for concurrent use.
type Screen struct {
	spool.Store
	ward *Ward

	mu     sync.Mutex
	kept   uint64 // the Stamp for which the rest is true
	last   spool.Seq
	at     map[article.Group]map[uint64]bool // where the hidden articles stand
	judged map[spool.Seq]bool                // signed articles: whether their signer is barred
}

// judgedMost bounds what is remembered of signed articles while a key is barred:
// about 2 MiB.
const judgedMost = 1 << 16

// NewScreen puts w's decisions before s.
func NewScreen(s spool.Store, w *Ward) *Screen { return &Screen{Store: s, ward: w} }

// clear says whether there is nothing to look for.
func (d *decisions) clear() bool { return len(d.hidden) == 0 && len(d.keys) == 0 }

// hides says whether an article is hidden. Entries of a range do not name their
// signer: it is looked up, once, while keys are barred.
func (s *Screen) hides(ctx context.Context, e *spool.Entry) (bool, error) {
	d := s.ward.all.Load()
	if d.clear() {
		return false, nil
	}
	if _, ok := d.hidden[string(e.ID)]; ok {
		return true, nil
	}
	if len(d.keys) == 0 || e.Has&article.HasSignature == 0 {
		return false, nil
	}
	if e.Proof.Identity != "" {
		_, ok := d.keys[e.Proof.Identity]
		return ok, nil
	}
	s.mu.Lock()
	s.renew(d)
	barred, known := s.judged[e.Seq]
	s.mu.Unlock()
	if known {
		return barred, nil
	}
	full, err := s.Store.ByID(ctx, e.ID)
	if errors.Is(err, spool.ErrNotFound) {
		return true, nil // gone meanwhile
	} else if err != nil {
		return false, err
	}
	_, barred = d.keys[full.Proof.Identity]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.renew(d); s.kept == d.stamp && len(s.judged) < judgedMost {
		s.judged[e.Seq] = barred
	}
	return barred, nil
}

// renew forgets what is not true any more. s.mu is held.
func (s *Screen) renew(d *decisions) {
	if s.kept < d.stamp || s.judged == nil {
		s.kept, s.at, s.judged = d.stamp, nil, map[spool.Seq]bool{}
	}
}

// places says where hidden articles stand in g. One that was hidden before it came
// (after a restore) is looked for again whenever something came.
func (s *Screen) places(ctx context.Context, g article.Group) (map[uint64]bool, error) {
	d := s.ward.all.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renew(d)
	if last := s.Store.Last(); s.at == nil || last != s.last {
		at := map[article.Group]map[uint64]bool{}
		for id := range d.hidden {
			e, err := s.Store.ByID(ctx, article.ID(id))
			if errors.Is(err, spool.ErrNotFound) {
				continue
			} else if err != nil {
				return nil, err
			}
			for _, p := range e.Places {
				if at[p.Group] == nil {
					at[p.Group] = map[uint64]bool{}
				}
				at[p.Group][p.Number] = true
			}
		}
		s.at, s.last = at, last
	}
	return s.at[g], nil
}

// pass lets an entry through or says that it is not there.
func (s *Screen) pass(ctx context.Context, e spool.Entry, err error) (spool.Entry, error) {
	if err != nil {
		return e, err
	}
	hidden, err := s.hides(ctx, &e)
	if err == nil && hidden {
		err = spool.ErrNotFound
	}
	return e, err
}

// ByID is spool.Reader's.
func (s *Screen) ByID(ctx context.Context, id article.ID) (spool.Entry, error) {
	e, err := s.Store.ByID(ctx, id)
	return s.pass(ctx, e, err)
}

// ByNumber is spool.Reader's.
func (s *Screen) ByNumber(ctx context.Context, p spool.Place) (spool.Entry, error) {
	e, err := s.Store.ByNumber(ctx, p)
	return s.pass(ctx, e, err)
}

// Open is spool.Reader's.
func (s *Screen) Open(ctx context.Context, seq spool.Seq) (*article.Article, error) {
	a, err := s.Store.Open(ctx, seq)
	if err != nil || s.ward.all.Load().clear() {
		return a, err
	}
	e := spool.Entry{Seq: seq, Overview: a.Overview()}
	if e.ID == "" {
		e.ID = a.ID()
	}
	if hidden, err := s.hides(ctx, &e); err != nil || hidden {
		return nil, errors.Join(err, spool.ErrNotFound)
	}
	return a, nil
}

// Range is spool.Reader's.
func (s *Screen) Range(ctx context.Context, g article.Group, lo, hi uint64) iter.Seq2[spool.Entry, error] {
	return s.screened(ctx, s.Store.Range(ctx, g, lo, hi))
}

// Since is spool.Reader's.
func (s *Screen) Since(ctx context.Context, after spool.Seq) iter.Seq2[spool.Entry, error] {
	return s.screened(ctx, s.Store.Since(ctx, after))
}

func (s *Screen) screened(ctx context.Context, all iter.Seq2[spool.Entry, error]) iter.Seq2[spool.Entry, error] {
	if s.ward.all.Load().clear() {
		return all
	}
	return func(yield func(spool.Entry, error) bool) {
		for e, err := range all {
			if err == nil {
				hidden, herr := s.hides(ctx, &e)
				if hidden {
					continue
				}
				err = herr
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Numbers is spool.Reader's.
func (s *Screen) Numbers(ctx context.Context, g article.Group, lo, hi uint64) iter.Seq2[uint64, error] {
	d := s.ward.all.Load()
	if d.clear() {
		return s.Store.Numbers(ctx, g, lo, hi)
	}
	if len(d.keys) > 0 { // only the entries say who signed
		return func(yield func(uint64, error) bool) {
			for e, err := range s.Range(ctx, g, lo, hi) {
				n := uint64(0)
				if err == nil {
					n = e.Places[0].Number
				}
				if !yield(n, err) {
					return
				}
			}
		}
	}
	return func(yield func(uint64, error) bool) {
		hidden, err := s.places(ctx, g)
		if err != nil {
			yield(0, err)
			return
		}
		for n, err := range s.Store.Numbers(ctx, g, lo, hi) {
			if err == nil && hidden[n] {
				continue
			}
			if !yield(n, err) {
				return
			}
		}
	}
}

// List is spool.Reader's.
func (s *Screen) List(ctx context.Context, g article.Group, lo, hi uint64) iter.Seq2[spool.Listed, error] {
	d := s.ward.all.Load()
	if d.clear() {
		return s.Store.List(ctx, g, lo, hi)
	}
	if len(d.keys) > 0 { // only the entries say who signed
		return func(yield func(spool.Listed, error) bool) {
			for e, err := range s.Range(ctx, g, lo, hi) {
				var one spool.Listed
				if err == nil {
					one = spool.Listed{Number: e.Places[0].Number, Arrived: e.Arrived, ID: e.ID, Crossposted: len(e.Places) > 1}
				}
				if !yield(one, err) {
					return
				}
			}
		}
	}
	return func(yield func(spool.Listed, error) bool) {
		for one, err := range s.Store.List(ctx, g, lo, hi) {
			if _, hidden := d.hidden[string(one.ID)]; hidden && err == nil {
				continue
			}
			if !yield(one, err) {
				return
			}
		}
	}
}

// Group is spool.Reader's: what is hidden one by one does not count.
func (s *Screen) Group(ctx context.Context, g article.Group) (spool.GroupInfo, error) {
	info, err := s.Store.Group(ctx, g)
	if err != nil || len(s.ward.all.Load().hidden) == 0 {
		return info, err
	}
	hidden, err := s.places(ctx, g)
	info.Count -= min(info.Count, uint64(len(hidden)))
	return info, err
}
