package local

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// Expired is what a sweep did.
type Expired struct {
	Articles  int   `json:"articles"`  // articles that are gone
	Segments  int   `json:"segments"`  // segments dropped
	Compacted int   `json:"compacted"` // segments rewritten without their dead articles
	Bytes     int64 `json:"octets"`    // octets that the log is smaller
}

// keepOf returns how long a group keeps articles; 0: until room is needed.
func (s *Spool) keepOf(g *group) time.Duration {
	if g.info.Keep > 0 {
		return g.info.Keep
	}
	return s.cfg.Keep
}

func (s *Spool) expired(g *group, arrived, expires time.Time) bool {
	now, keep := s.cfg.Now(), s.keepOf(g)
	return keep > 0 && !arrived.Add(keep).After(now) || !expires.IsZero() && !expires.After(now)
}

// Expire removes what its rule says is old: by group, by its Expires field; then
// makes room if quota or disk ask for it, drops dead segments, compacts those
// that are mostly dead, and forgets ids. Intake goes on meanwhile, in between.
func (s *Spool) Expire(ctx context.Context) (Expired, error) {
	var x Expired
	before, bytes := s.articles.Load(), s.Stats().LogBytes
	s.mu.RLock()
	var gs []*group
	for _, g := range s.groups {
		if s.keepOf(g) > 0 {
			gs = append(gs, g)
		}
	}
	s.mu.RUnlock()
	for _, g := range gs {
		if err := s.expireGroup(ctx, g); err != nil {
			return x, fmt.Errorf("expire %s: %w", g.info.Name, err)
		}
	}
	if err := s.expireDated(ctx); err != nil {
		return x, fmt.Errorf("expire by Expires field: %w", err)
	}
	err := s.exclusive(ctx, func() error {
		if err := s.rollOld(); err != nil {
			return asFull(err)
		}
		if err := s.room(0); err != nil && !isFull(err) {
			return err
		}
		return s.noteMarks(gs)
	})
	if err == nil {
		err = s.tidy(ctx, &x)
	}
	x.Articles = int(before - s.articles.Load())
	x.Bytes = bytes - s.Stats().LogBytes
	return x, err
}

// noteMarks keeps the low marks that the sweep raised: a rebuild after the rule
// was loosened must not bring old articles back.
func (s *Spool) noteMarks(gs []*group) error {
	m := metaRec{kind: metaMarks}
	for _, g := range gs {
		if g.info.Low > s.noted[g.gid] && s.groups[g.info.Name] == g {
			m.groups = append(m.groups, spool.GroupInfo{Name: g.info.Name, Low: g.info.Low, High: g.info.High})
			s.noted[g.gid] = g.info.Low
		}
	}
	if len(m.groups) == 0 {
		return nil
	}
	return s.act(&m)
}

func (s *Spool) expireGroup(ctx context.Context, g *group) error {
	for lo, more := uint64(0), true; more; {
		more = false
		err := s.exclusive(ctx, func() error {
			if s.groups[g.info.Name] != g {
				return nil
			}
			s.lazyLow = true
			defer func() { s.lazyLow = false }()
			rows, err := s.rows(g.gid, max(lo, g.info.Low), g.info.High)
			if err != nil {
				return err
			}
			more = len(rows) > 0
			for _, r := range rows {
				if !s.expired(g, r.arrived, time.Time{}) {
					more = false // numbers rise with time
					break
				}
				lo = r.places[0].number + 1
				if err := s.remove(r.seq, []article.Group{g.info.Name}, time.Unix(int64(s.forget(r.arrived)), 0)); err != nil {
					return err
				}
			}
			s.lazyLow = false
			return s.settleLow(g)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// expireDated removes articles whose Expires field has passed.
func (s *Spool) expireDated(ctx context.Context) error {
	if err := s.exclusive(ctx, s.flush); err != nil {
		return err
	}
	for {
		var due []spool.Seq
		var keys [][]byte
		err := s.view(func(tx *bolt.Tx) error {
			c := tx.Bucket(bktExpires).Cursor()
			for k, _ := c.First(); len(k) == 16 && len(due) < 256; k, _ = c.Next() {
				if int64(binary.BigEndian.Uint64(k)) > s.cfg.Now().Unix() {
					break
				}
				due = append(due, spool.Seq(binary.BigEndian.Uint64(k[8:])))
				keys = append(keys, slices.Clone(k))
			}
			return nil
		})
		if err != nil || len(due) == 0 {
			return err
		}
		err = s.exclusive(ctx, func() error {
			for _, seq := range due {
				e, err := s.entry(seq)
				if isNotFound(err) {
					continue
				} else if err == nil {
					err = s.remove(seq, nil, time.Unix(int64(s.forget(e.Arrived)), 0))
				}
				if err != nil {
					s.log.Warn("expire", "seq", seq, "error", err)
				}
			}
			if err := s.flush(); err != nil {
				return err
			}
			return s.update(func(tx *bolt.Tx) error {
				for _, k := range keys {
					if err := tx.Bucket(bktExpires).Delete(k); err != nil {
						return err
					}
				}
				return nil
			})
		})
		if err != nil {
			return err
		}
	}
}

// tidy gives back disk space.
func (s *Spool) tidy(ctx context.Context, x *Expired) error {
	s.mu.RLock()
	segs := s.segs
	s.mu.RUnlock()
	for _, g := range segs {
		err := s.exclusive(ctx, func() error {
			if s.isActive(g) || !slices.Contains(s.segs, g) {
				return nil
			}
			switch dead := g.deadBytes.Load(); {
			case int(g.deadRecs.Load()) >= g.count:
				x.Segments++
				return s.dropSegment(g)
			case dead > (g.size-segHeader)*3/4:
				x.Compacted++
				return s.compact(g)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return s.exclusive(ctx, s.forgetOld)
}

func (s *Spool) groupList() (out []*group) {
	for _, g := range s.groups {
		out = append(out, g)
	}
	return out
}
