//go:build !nosearch

package main

import (
	"context"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/spool/search"
)

// openSearch opens the full-text index, once; it is closed with the data.
func (k *core) openSearch() (searcher, error) {
	k.lazy.Lock()
	defer k.lazy.Unlock()
	if k.search != nil {
		return k.search, nil
	}
	x, fresh, err := search.Open(k.dir.join("search"), k.spool)
	if err != nil {
		return nil, err
	}
	if fresh && k.followers != nil {
		if err := k.followers.Forget(x.Name()); err != nil {
			return nil, err
		}
	}
	x.Bound(int(k.heap / 128))
	k.search = x
	k.shut = append(k.shut, x.Close)
	return x, nil
}

// startSearch keeps the full-text index up with the spool, and sweeps out what the
// spool has no longer.
func (s *server) startSearch(context.Context) (*part, error) {
	if _, err := s.core.openSearch(); err != nil {
		return nil, err
	}
	x := s.core.search.(*search.Index)
	ctx, cancel := context.WithCancel(context.Background())
	if err := s.core.followers.Start(ctx, x, agent.AtBeginning); err != nil {
		cancel()
		return nil, err
	}
	over := make(chan struct{})
	go func() { defer close(over); s.sweepSearch(ctx, x) }()
	return &part{name: "search", stop: func(context.Context) error {
		cancel()
		<-over
		s.core.followers.Stop(x.Name())
		return nil
	}}, nil
}

// sweepSearch looks at 500 documents a minute, in rounds, while articles were
// removed since the last round began: a node at rest leaves the index alone.
func (s *server) sweepSearch(ctx context.Context, x *search.Index) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	at, swept, round := 0, int64(0), int64(0) // removed articles that a round has seen, or this one will
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if at == 0 {
			st := s.core.local.Stats()
			if round = int64(st.Last) - st.Articles; round == swept {
				continue
			}
		}
		next, err := x.Sweep(ctx, at, 500)
		if err != nil && ctx.Err() == nil {
			s.log.Warn("search index not swept", "error", err)
		}
		if at = next; at == 0 && err == nil {
			swept = round
		}
	}
}
