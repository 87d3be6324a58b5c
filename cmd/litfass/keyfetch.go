package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/litfass/litfass/pki/directory"
)

// fetchEvery is how often the directories of neighbours are asked for what is new.
const fetchEvery = time.Hour

// fetchKeys pulls statements from the peers that the configuration names a
// directory of (pki = "http://..."), now and every hour, until ctx ends. What it returns
// does so once more.
func (s *server) fetchKeys(ctx context.Context, wg *sync.WaitGroup) (again func(context.Context)) {
	var mu, one sync.Mutex
	peers := s.core.conf().Peer
	s.reloads = append(s.reloads, func(cfg config) error {
		mu.Lock()
		defer mu.Unlock()
		peers = cfg.Peer
		return nil
	})
	again = func(ctx context.Context) {
		one.Lock()
		defer one.Unlock()
		mu.Lock()
		now := peers
		mu.Unlock()
		for _, p := range now {
			if p.PKI != "" && ctx.Err() == nil {
				s.fetchFrom(ctx, p)
			}
		}
	}
	l := s.core.keys.Ledger
	catching := s.catchUp()
	wg.Go(func() {
		tick := time.NewTicker(fetchEvery)
		defer tick.Stop()
		if catching {
			patience := time.AfterFunc(catchFor, func() { l.CatchUp(false) })
			defer patience.Stop()
		}
		for {
			again(ctx)
			l.CatchUp(false)
			if err := l.Alive(); err != nil {
				s.log.Warn("it could not be noted that this node runs", "error", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	return again
}

// A node that was away for longer than awayFor asks its neighbours what was revoked
// before it judges what they bring, for catchFor at most.
const (
	awayFor  = time.Hour + 10*time.Minute // Alive is said each hour
	catchFor = 2 * time.Minute
)

// catchUp lets signed articles wait if this node was away and there is somebody to ask.
func (s *server) catchUp() bool {
	l := s.core.keys.Ledger
	away, err := l.Away()
	if err != nil || away < awayFor {
		return false
	}
	for _, p := range s.core.cfg.Peer {
		if p.PKI != "" {
			l.CatchUp(true)
			s.log.Info("this node was away: what is signed waits until its neighbours have said what was revoked", "away", away.Round(time.Minute))
			return true
		}
	}
	return false
}

func (s *server) fetchFrom(ctx context.Context, p peerSection) {
	f := directory.Fetcher{Ledger: s.core.keys.Ledger}
	got, err := f.Pull(ctx, p.PKI, p.Name)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.log.Warn("statements about keys could not be fetched, trying again in an hour", "peer", p.Name, "error", err)
	case got.Taken > 0 || got.Stopped > 0:
		s.log.Info("statements about keys fetched", "peer", p.Name, "taken", got.Taken, "stopped", got.Stopped)
	}
}

// keyFetch pulls from the address that the operator names: its first snapshot without
// quotas, all else under those of a neighbour.
func (c *control) keyFetch(ctx context.Context, u keyJSON) (keyJSON, error) {
	f := directory.Fetcher{Ledger: c.core.keys.Ledger}
	got, err := f.Pull(ctx, u.Subject, "fetch "+u.Subject)
	return keyJSON{Count: got.Taken, Stopped: got.Stopped, Links: got.Links}, err
}

func cmdKeyFetch(c *call) error {
	if err := c.parse(1, 1); err != nil {
		return err
	}
	var out keyJSON
	if err := c.ask("key/fetch", keyJSON{Subject: c.args[0]}, &out); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(out)
	}
	fmt.Fprintf(c.out, "%d new statements; \"litfass key trust ID\" says whom of them to believe\n", out.Count)
	if out.Links > 0 {
		fmt.Fprintf(c.out, "%d articles of chains\n", out.Links)
	}
	if out.Stopped > 0 {
		fmt.Fprintf(c.out, "%d more are over what is taken from one neighbour in a day: run this again tomorrow\n", out.Stopped)
	}
	return nil
}
