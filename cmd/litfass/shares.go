package main

import (
	"context"
	"fmt"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/spool"
)

// What peers and accounts brought is saved so often; a crash forgives that much.
const saveUsage = 10 * time.Second

// shares keeps peers to their share of the disk: the oldest articles of one that
// holds more go, so that it never pushes out those of others.
type shares struct {
	core *core
	over chan string          // peers that are over their share
	from map[string]spool.Seq // up to here nothing is left of a peer
	past spool.Seq            // what was before it is forgotten; 0: not looked yet
}

// startShares watches what peers hold, and keeps the figures.
func (s *server) startShares(context.Context) (*part, error) {
	w := &shares{core: s.core, over: make(chan string, 16), from: make(map[string]spool.Seq)}
	s.core.peerQuota.Over = func(peer string) {
		select {
		case w.over <- peer:
		default: // the next tick looks at all of them
		}
	}
	s.metrics = append(s.metrics, func(m *metricWriter) {
		held := map[string]float64{}
		for _, p := range s.core.peers.All() {
			held[p.Name] = float64(s.core.usage.Held(p.Name).Octets)
		}
		m.labelled("gauge", "litfass_peer_held_octets", "what is on the disk of a peer's articles", "peer", held)
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.run(ctx) }()
	return &part{name: "shares", stop: func(context.Context) error {
		cancel()
		<-done
		return s.core.usage.Save()
	}}, nil
}

func (w *shares) run(ctx context.Context) {
	tick := time.NewTicker(saveUsage)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case name := <-w.over:
			if p, ok := w.core.peers.Peer(name); ok {
				err = w.trim(ctx, p)
			}
		case <-tick.C:
			err = w.round(ctx)
		}
		if err != nil && ctx.Err() == nil {
			w.core.log.Error("keep peers to their share of the disk; tried again soon", "error", err)
		}
	}
}

// round looks at all peers and saves the figures.
func (w *shares) round(ctx context.Context) error {
	if err := w.forget(ctx); err != nil {
		return err
	}
	for _, p := range w.core.peers.All() {
		if err := w.trim(ctx, p); err != nil {
			return err
		}
	}
	return w.core.usage.Save()
}

// forget drops the figures of days of which nothing is left. It reads the log only when
// that has lost its beginning since: a node at rest must not read it every tick.
func (w *shares) forget(ctx context.Context) error {
	first := w.core.local.First()
	if first == w.past {
		return nil
	}
	for e, err := range w.core.spool.Since(ctx, first-1) {
		if err != nil {
			return err
		}
		w.core.usage.Forget(e.Arrived)
		break
	}
	w.past = first
	return nil
}

// trim removes the oldest articles of a peer that holds more than its share,
// until it holds a fiftieth less; none younger than spool.keep_min.
func (w *shares) trim(ctx context.Context, p agent.Peer) error {
	k := w.core
	if p.Share == 0 || k.usage.Held(p.Name).Octets <= p.Share {
		return nil
	}
	now, removed := k.now(), 0
	young := now.Add(-time.Duration(k.cfg.Spool.KeepMin))
	for e, err := range k.spool.Since(ctx, w.from[p.Name]) {
		if err != nil {
			return fmt.Errorf("find the oldest articles of %s: %w", p.Name, err)
		}
		if e.Arrived.After(young) || k.usage.Held(p.Name).Octets <= p.Share-p.Share/50 {
			break
		}
		if e.Via.How == spool.Relayed && e.Via.Peer == p.Name {
			if err := k.spool.Remove(ctx, e.Seq, nil, now.Add(remember(k.cfg.Spool.Cutoff))); err != nil {
				return fmt.Errorf("make room among the articles of %s: %w", p.Name, err)
			}
			k.usage.Gone(p.Name, e.Arrived, int64(e.Bytes))
			removed++
		}
		w.from[p.Name] = e.Seq
	}
	if removed == 0 {
		return nil
	}
	k.log.Info("a peer's oldest articles made room: it held more than its share", "code", "peer-share", "peer", p.Name, "articles", removed)
	if _, err := k.local.Expire(ctx); err != nil {
		return fmt.Errorf("give back the room of %s: %w", p.Name, err)
	}
	return nil
}
