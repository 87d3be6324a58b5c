package main

import (
	"context"
	"fmt"

	"github.com/litfass/litfass/internal/state"
)

// pausedBucket holds the names of the peers that are paused. They are no part of a
// peer's settings: those of the configuration file can be paused, too.
const pausedBucket = "peers.paused"

// pausing is peer pause and peer resume.
type pausing struct {
	Name  string `json:"name"`
	Pause bool   `json:"pause"`
}

func cmdPeerPause(c *call, pause bool) error {
	if err := c.parse(1, 1); err != nil {
		return err
	}
	if err := c.ask("peer/pause", pausing{c.args[0], pause}, nil); err != nil {
		return err
	}
	does := "exchanges articles again"
	if pause {
		does = "is paused"
	}
	fmt.Fprintf(c.out, "peer %s %s\n", c.args[0], does)
	return nil
}

func (c *control) peerPause(_ context.Context, in pausing) (struct{}, error) {
	b := c.core.peers
	if all, _ := b.sections(); indexPeer(all, in.Name) < 0 {
		return struct{}{}, fmt.Errorf("there is no peer %s; \"litfass peer list\" shows those there are", in.Name)
	}
	err := b.table.DB.Update(func(tx *state.Tx) error {
		if in.Pause {
			return tx.Put(pausedBucket, in.Name, []byte("1"))
		}
		return tx.Delete(pausedBucket, in.Name)
	})
	if err != nil {
		return struct{}{}, fmt.Errorf("keep that peer %s is paused: %w", in.Name, err)
	}
	return struct{}{}, b.again()
}

// pausedNames reads which peers are paused.
func (b *peerBook) pausedNames() (map[string]bool, error) {
	out := map[string]bool{}
	err := b.table.DB.View(func(tx *state.Tx) error {
		tx.Each(pausedBucket, "", "", func(name string, _ []byte) bool { out[name] = true; return true })
		return nil
	})
	return out, err
}

func (b *peerBook) isPaused(name string) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.paused[name]
}
