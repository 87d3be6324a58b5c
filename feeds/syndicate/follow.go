package syndicate

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"strings"

	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/spool"
)

// Name names the cursor: Poller is a spool.Follower.
func (p *Poller) Name() string { return "feed-news" }

// Follow learns from an article that another node polled a feed of ours, and what
// version of which entry it saw; our own poll waits for longer than the feed's
// rhythm then, by chance up to twice as long, so that few nodes ask; but never for more
// than a day since we asked last, or who forges such articles could silence a feed.
func (p *Poller) Follow(ctx context.Context, e spool.Entry) error {
	if e.Via.How != spool.Relayed || !strings.HasSuffix(string(e.ID), "@"+feedHost+">") {
		return nil
	}
	entry, version, feed, ok := splitID(e.ID)
	if !ok {
		return nil
	}
	p.mu.Lock()
	address, ours := p.keys[feed]
	p.mu.Unlock()
	if !ours {
		return nil
	}
	if err := p.seen.Put(feed+"/"+entry, seen{Version: version, Changed: e.Arrived}); err != nil {
		return err
	}
	now, arrived := p.cfg.Now(), e.Arrived // e itself would be moved to the heap, for each article
	var s Poll
	err := p.polls.change(address, func(v *Poll, found bool) (bool, error) {
		if !found {
			return false, state.ErrNotFound
		}
		v.News = latest(v.News, arrived)
		next := now.Add(v.Every + v.Every/4 + rand.N(v.Every+1))
		if last := cmp.Or(v.Polled, v.Next).Add(ceilInterval); next.After(last) {
			next = last
		}
		v.Next = latest(v.Next, next)
		s = *v
		return true, nil
	})
	if errors.Is(err, state.ErrNotFound) {
		return nil
	}
	if err == nil {
		p.note(s)
	}
	return err
}
