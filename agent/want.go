package agent

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// wantFor is how long a reservation of Want lasts: ARCHITECTURE §4 rule 4.
const wantFor = 30 * time.Second

// maxWants bounds the ids of one generation; over it nothing is reserved, which
// costs traffic only.
const maxWants = 1 << 15

// Conn is one connection of a peer: what it has reserved, and the order of what
// it brings. The zero Conn is ready for use.
type Conn struct {
	mu   sync.Mutex
	next uint64
	low  uint64 // all turns up to here are over
	over map[uint64]bool
	wake chan struct{} // closed when low rises; nil: nobody waits
}

// Next gives the next place in the stream. The door takes one for each article
// in the order of arrival and hands it on as Origin.Turn; Relay gives it back.
// A door that does not call Relay for it calls Done.
func (c *Conn) Next() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	return c.next
}

// Done says that nothing more comes of this turn.
func (c *Conn) Done(turn uint64) {
	if c == nil || turn == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if turn <= c.low {
		return
	}
	if c.over == nil {
		c.over = make(map[uint64]bool)
	}
	c.over[turn] = true
	for c.over[c.low+1] {
		delete(c.over, c.low+1)
		c.low++
	}
	if c.wake != nil {
		close(c.wake)
		c.wake = nil
	}
}

// before waits until all turns before this one are over, or ctx is.
func (c *Conn) before(ctx context.Context, turn uint64) error {
	if c == nil || turn == 0 {
		return nil
	}
	for {
		c.mu.Lock()
		if c.low+1 >= turn {
			c.mu.Unlock()
			return nil
		}
		if c.wake == nil {
			c.wake = make(chan struct{})
		}
		wake := c.wake
		c.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

type want struct {
	conn  *Conn
	peer  string
	until time.Time
}

// same says whether the reservation is the asker's own.
func (w want) same(o Origin) bool {
	if w.conn != nil || o.Conn != nil {
		return w.conn == o.Conn
	}
	return w.peer == o.Peer
}

// wants are the reservations in two generations: what lies in old was made before
// turned, so that after another wantFor all of it has lapsed and goes at once.
type wants struct {
	mu       sync.Mutex
	new, old map[article.ID]want
	turned   time.Time
}

// turn begins a new generation when the present one is as old as a reservation
// lasts. The clock may have been set back: then, too.
func (w *wants) turn(now time.Time) {
	d := now.Sub(w.turned)
	if d >= 0 && d < wantFor && w.new != nil {
		return
	}
	if w.old = w.new; d >= 2*wantFor || d < 0 {
		w.old = nil
	}
	w.new, w.turned = make(map[article.ID]want), now
}

func (w *wants) get(id article.ID) (want, bool) {
	if x, ok := w.new[id]; ok {
		return x, true
	}
	x, ok := w.old[id]
	return x, ok
}

func (w *wants) drop(id article.ID) {
	delete(w.new, id)
	delete(w.old, id)
}

// Want says whether to ask for id, and reserves it for that connection for 30 s
// or until Relay or Release. It returns nil or a *Refusal: Duplicate (438, 435),
// Unwanted, or Busy (431, 436) while somebody else is bringing it.
func (a *Agent) Want(ctx context.Context, id article.ID, o Origin) error {
	err := a.want(ctx, id, o)
	a.counts.add("want", err)
	return err
}

func (a *Agent) want(ctx context.Context, id article.ID, o Origin) error {
	if _, err := article.ParseID(string(id)); err != nil {
		return &Refusal{Reason: Malformed, Code: "bad-id", Text: err.Error()}
	}
	if err := a.unwelcome(ctx, id, o); err != nil {
		return err
	}
	now := a.now()
	a.wants.mu.Lock()
	defer a.wants.mu.Unlock()
	if w, ok := a.wants.get(id); ok && !w.same(o) && now.Before(w.until) {
		return &Refusal{Reason: Busy, Code: "reserved", Text: "somebody else is sending it, try later"}
	}
	if a.wants.turn(now); len(a.wants.new) < maxWants {
		delete(a.wants.old, id)
		a.wants.new[id] = want{o.Conn, o.Peer, now.Add(wantFor)}
	}
	return nil
}

// unwelcome refuses an id that is known, that a paused peer offers, or whose
// article was refused before.
func (a *Agent) unwelcome(ctx context.Context, id article.ID, o Origin) error {
	if err := a.known(ctx, id, o); err != nil {
		return err
	}
	if o.Peer != "" && a.Peers != nil {
		if p, ok := a.Peers.Peer(o.Peer); ok && p.Paused {
			return &Refusal{Reason: Busy, Code: "paused", Text: "the exchange with you is paused here, try again later"}
		}
	}
	if a.refused.has(refusalKey(id, "")) || o.Peer != "" && a.refused.has(refusalKey(id, o.Peer)) {
		return &Refusal{Reason: Unwanted, Code: "refused-before", Text: "was refused before"}
	}
	return nil
}

// known refuses an id that history or the waiting room knows.
func (a *Agent) known(ctx context.Context, id article.ID, o Origin) error {
	st, err := a.Spool.Lookup(ctx, id)
	if err != nil {
		return fmt.Errorf("look up %s: %w", id, err)
	}
	if st != spool.Unknown {
		return duplicate()
	}
	if a.roomBars(id, o) {
		return duplicate()
	}
	return nil
}

func duplicate() *Refusal {
	return &Refusal{Reason: Duplicate, Code: "duplicate", Text: "is here already"}
}

// Release gives a reservation back: the article does not come after all.
func (a *Agent) Release(id article.ID, o Origin) {
	a.wants.mu.Lock()
	defer a.wants.mu.Unlock()
	if w, ok := a.wants.get(id); ok && w.same(o) {
		a.wants.drop(id)
	}
}

// ReleaseAll gives back what o's connection has reserved: it has ended.
func (a *Agent) ReleaseAll(o Origin) {
	a.wants.mu.Lock()
	defer a.wants.mu.Unlock()
	mine := func(_ article.ID, w want) bool { return w.same(o) }
	maps.DeleteFunc(a.wants.new, mine)
	maps.DeleteFunc(a.wants.old, mine)
}

// take ends a reservation and says whether it was o's own, so that history need
// not be asked again.
func (a *Agent) take(id article.ID, o Origin) bool {
	a.wants.mu.Lock()
	defer a.wants.mu.Unlock()
	w, ok := a.wants.get(id)
	if !ok || !w.same(o) {
		return false
	}
	a.wants.drop(id)
	return true
}

// refused remembers refusals for a day at most, in two generations of bounded
// size. It only saves traffic: ARCHITECTURE §4 rule 3.
type refused struct {
	mu       sync.Mutex
	new, old map[[16]byte]struct{}
}

// maxRefused is the size of a generation: 32 octets or so each.
const maxRefused = 1 << 15

// refusalKey files a refusal: for everybody, or for the peer that brought a bad copy.
func refusalKey(id article.ID, peer string) [16]byte {
	sum := sha256.Sum256([]byte(peer + "\x00" + string(id)))
	return [16]byte(sum[:16])
}

func (r *refused) has(k [16]byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, hot := r.new[k]
	_, cold := r.old[k]
	return hot || cold
}

func (r *refused) put(k [16]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.new) >= maxRefused || r.new == nil {
		r.old, r.new = r.new, make(map[[16]byte]struct{})
	}
	r.new[k] = struct{}{}
}

// forget makes all ids welcome again: a group was made, or a policy changed.
func (r *refused) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.new, r.old = nil, nil
}
