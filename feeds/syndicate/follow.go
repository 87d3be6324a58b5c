package syndicate

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/spool"
)

// heard is what articles told of polls by other nodes and is not written down yet: a
// hundred entries that come at once do not pay a sync each.
type heard struct {
	mu         sync.Mutex
	marks      marks
	feeds      map[string]time.Time // address, and when its newest article came
	last, done spool.Seq            // followed; written down
}

// maxHeard is how many entries are written down with one sync.
const maxHeard = 256

// Name names the cursor: Poller is an agent.Pipelined.
func (p *Poller) Name() string { return "feed-news" }

// Done is the Seq up to which all is written down.
func (p *Poller) Done() spool.Seq {
	p.heard.mu.Lock()
	defer p.heard.mu.Unlock()
	return p.heard.done
}

// Follow learns from an article that another node polled a feed of ours, and what
// version of which entry it saw.
func (p *Poller) Follow(ctx context.Context, e spool.Entry) error {
	h := &p.heard
	h.mu.Lock()
	defer h.mu.Unlock()
	p.hear(&e)
	h.last = e.Seq
	if len(h.marks) >= maxHeard || e.Seq >= p.cfg.Spool.Last() { // many in a row, or nothing more to wait for
		return p.writeHeard()
	}
	return nil
}

// hear notes what an article tells; heard.mu is held.
func (p *Poller) hear(e *spool.Entry) {
	if e.Via.How != spool.Relayed || !strings.HasSuffix(string(e.ID), "@"+feedHost+">") {
		return
	}
	entry, version, feed, ok := splitID(e.ID)
	if !ok {
		return
	}
	p.mu.Lock()
	address, ours := p.keys[feed]
	p.mu.Unlock()
	if ours {
		p.heard.marks[feed+"/"+entry] = seen{Version: version, Changed: e.Arrived}
		p.heard.feeds[address] = latest(p.heard.feeds[address], e.Arrived)
	}
}

// writeHeard writes down what was heard; heard.mu is held.
func (p *Poller) writeHeard() error {
	h := &p.heard
	if err := p.write(h.marks); err != nil {
		return err
	}
	clear(h.marks)
	for address, arrived := range h.feeds {
		if err := p.putOff(address, arrived); err != nil {
			return err
		}
		delete(h.feeds, address)
	}
	h.done = h.last
	return nil
}

// putOff has our own poll of a feed that others polled wait for longer than the feed's
// rhythm, by chance up to twice as long, so that few nodes ask; but never for more
// than a day since we asked last, or who forges such articles could silence a feed.
func (p *Poller) putOff(address string, arrived time.Time) error {
	now := p.cfg.Now()
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
