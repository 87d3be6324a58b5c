package local

import (
	"context"
	"fmt"
	"sync"

	bolt "go.etcd.io/bbolt"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// lookups answers "where is this id" in one read transaction that lasts from one
// checkpoint to the next: to begin one and to find the shard's bucket costs several
// times what looking the id up does. While the index is written there is none (the
// file's map could not grow), and each question begins its own.
//
// Who asks looks at the tails first. What has left them since was written before
// this transaction could begin.
type lookups struct {
	mu      sync.Mutex
	tx      *bolt.Tx // nil: to begin
	shards  map[uint32]*bolt.Bucket
	writing int
}

// pause ends the transaction, until resume.
func (l *lookups) pause() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writing++
	l.drop()
}

func (l *lookups) resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writing--
}

// drop ends the transaction; l.mu is held.
func (l *lookups) drop() {
	if l.tx != nil {
		_ = l.tx.Rollback() // of a read transaction: it cannot fail otherwise than by being over
		l.tx, l.shards = nil, nil
	}
}

// lookup asks shards in order; done is false if there can be no transaction now.
func (s *Spool) lookup(h hash, ask []uint32) (k known, ok, done bool, err error) {
	l := &s.lookups
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.writing > 0 {
		return known{}, false, false, nil
	}
	defer func() {
		if err != nil {
			l.drop()
		}
	}()
	defer s.guard(&err)
	if l.tx == nil {
		if l.tx, err = s.db.Begin(false); err != nil {
			return known{}, false, true, notOpen(err)
		}
		l.shards = map[uint32]*bolt.Bucket{}
	}
	for _, id := range ask {
		b, have := l.shards[id]
		if !have {
			b = l.tx.Bucket(bktHist).Bucket(key32(id))
			l.shards[id] = b // nil: not written yet
		}
		if b == nil {
			continue
		}
		if v := b.Get(h[:]); v != nil {
			k, ok = decodeKnown(v)
			return k, ok, true, nil
		}
	}
	return known{}, false, true, nil
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
