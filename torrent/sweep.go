package torrent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"

	"github.com/litfass/litfass/internal/state"
)

// Sweep drops references to articles that are gone, and what has outlived its
// time: without references own and mirror become cache and go after their grace;
// downloads without progress go after 30 days. live asks the spool.
func (s *Store) Sweep(ctx context.Context, live func(ctx context.Context, id string) (bool, error)) error {
	for _, r := range s.List() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.sweepOne(ctx, r, live); err != nil {
			return err
		}
	}
	return s.forgetGone()
}

// forgetGone drops the marks of Discard that no article can be late for any more.
func (s *Store) forgetGone() error {
	old := map[string]bool{}
	err := s.db.View(func(tx *state.Tx) error {
		tx.Each(bGone, "", "", func(key string, v []byte) bool {
			at, err := strconv.ParseInt(string(v), 10, 64)
			old[key] = err != nil || s.now()-at > int64(goneGrace.Seconds())
			return true
		})
		return nil
	})
	maps.DeleteFunc(old, func(_ string, yes bool) bool { return !yes })
	if err != nil || len(old) == 0 {
		return err
	}
	return s.db.Update(func(tx *state.Tx) error {
		for key := range old {
			if err := tx.Delete(bGone, key); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) sweepOne(ctx context.Context, r Record, live func(context.Context, string) (bool, error)) error {
	var dead []string
	for _, ref := range s.References(r.Hash) {
		ok, err := live(ctx, ref.ID)
		if err != nil {
			return fmt.Errorf("ask for the articles of torrent %s: %w", r.Hash, err)
		}
		if !ok {
			dead = append(dead, ref.ID)
		}
	}
	if len(dead) > 0 {
		if err := s.unrefer(r.Hash, dead); err != nil {
			return err
		}
	}
	now, err := s.Record(r.Hash)
	if err != nil || !s.ended(&now) {
		return nil // removed meanwhile, or it stays
	}
	if err := s.remove(r.Hash, nil, s.ended); !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}

// ended says that a torrent has outlived its time.
func (s *Store) ended(r *Record) bool {
	now := s.now()
	stalled := r.State == Partial && now-max(r.Progress, r.Wanted, r.Added) > int64(stalledGrace.Seconds())
	return !r.Pinned && (stalled || r.Until != 0 && now > r.Until && r.Refs == 0)
}

// unrefer forgets articles that are gone. Without any, what is not pinned becomes
// cache and has its grace.
func (s *Store) unrefer(h Infohash, dead []string) error {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	r, err := s.Record(h)
	if err != nil {
		return nil // removed meanwhile
	}
	if r.Refs = max(r.Refs-len(dead), 0); r.Refs == 0 && !r.Pinned {
		r.Class, r.Until = Cache, s.now()+int64(s.cfg.Grace.Seconds())
	}
	return s.put(r, func(tx *state.Tx) error {
		for _, id := range dead {
			if err := tx.Delete(bRef, h.String()+"/"+id); err != nil {
				return err
			}
		}
		return nil
	})
}
