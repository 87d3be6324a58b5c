package peer

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// item is an article on its way to the peer.
type item struct {
	seq   spool.Seq
	id    article.ID
	tries int  // times it was deferred
	doubt bool // sent before and not answered: ask before sending again
	old   bool // not in the ledger: it was in the list of deferred ones
}

// batch is what the reader found: articles for the peer, and up to where it read.
type batch struct {
	items []item
	times []int64 // arrivals, Unix seconds
	upto  spool.Seq
}

// fate is what became of an item.
type fate uint8

const (
	accepted fate = iota + 1
	refused
	deferred // the peer says later
	gone     // it is not in the spool any more
	returned // the connection broke: offer it again
)

type outcome struct {
	item
	fate fate
}

// report is what a worker tells the desk.
type report struct {
	outcomes []outcome
	ended    bool  // the worker has no connection any more
	progress bool  // the connection brought an answer
	err      error // why it ended, or nil
}

// desk is owned by one goroutine.
type desk struct {
	*sender
	ledger  ledger
	queue   []item // ready; at its head what came back
	later   laterHeap
	ids     map[spool.Seq]struct{} // deferred ones, also while they are on their way again
	first   first
	upto    spool.Seq // the reader has read so far
	live    int       // workers that have a connection or make one
	fails   int       // connections that failed without an answer, in a row
	failed  time.Time // the last time
	retryAt time.Time
	timer   *time.Timer
	dirty   bool
}

// run is the desk's loop. It ends when ctx does and all workers have reported.
func (d *desk) run(ctx context.Context) {
	save := time.NewTicker(d.cfg.SaveEvery)
	defer save.Stop()
	defer d.timer.Stop()
	stop := ctx.Done()
	for stop != nil || d.live > 0 {
		now := d.cfg.Now()
		d.ripen(now)
		if d.live == 0 && len(d.queue) > 0 && !now.Before(d.retryAt) {
			d.hurry(ctx, d.settledTo())
		}
		out, extra, head := d.outlets(now, stop != nil)
		fresh := d.fresh
		if d.full() || stop == nil {
			fresh = nil
		}
		d.alarm(now)
		d.publish()
		select {
		case out <- head:
			d.pop()
		case extra <- head:
			d.pop()
			d.live++
		case b := <-fresh:
			d.take(b)
		case r := <-d.reports:
			d.settle(r)
		case <-d.wake:
			d.fails = 0
			if at := d.failed.Add(wakeGap); d.retryAt.After(at) {
				d.retryAt = at
			}
		case <-d.timer.C:
		case <-save.C:
			d.hurryNew(ctx)
			d.offerSave()
		case <-stop:
			stop = nil
		}
	}
	d.publish()
}

// outlets says where the head of the queue may go now.
func (d *desk) outlets(now time.Time, running bool) (out, extra chan item, head item) {
	if len(d.queue) == 0 || !running {
		return nil, nil, item{}
	}
	head = d.queue[0]
	if d.held(head) {
		return nil, nil, head
	}
	if d.live > 0 {
		out = d.work
	}
	if d.live == 0 || d.live < d.peer.Conns && len(d.queue) >= growAt {
		if !now.Before(d.retryAt) {
			extra = d.extra
		}
	}
	return out, extra, head
}

// wakeGap is the least time between a failure and the next attempt, however
// often the peer is seen: newsreaders from its address look the same.
const wakeGap = 100 * time.Millisecond

// growAt is the queue's length that calls for one more connection.
const growAt = 16

// full says whether the reader must wait.
func (d *desk) full() bool {
	return len(d.queue) >= d.peer.Window*2 || d.ledger.span() >= d.bound() || len(d.ids) >= maxDeferred
}

// bound is how many Seqs the ledger may span: settled ones behind a slow one too.
func (d *desk) bound() int { return 8 * d.peer.Conns * d.peer.Window }

func (d *desk) pop() {
	d.queue[0] = item{}
	if d.queue = d.queue[1:]; len(d.queue) == 0 {
		d.queue = nil
	}
}

// take opens a batch.
func (d *desk) take(b batch) {
	for i, it := range b.items {
		if d.passed(it.seq) {
			continue
		}
		d.ledger.add(it.seq, b.times[i])
		d.queue = append(d.queue, it)
	}
	d.upto, d.dirty = b.upto, true
}

// ripen moves deferred articles whose time has come into the queue.
func (d *desk) ripen(now time.Time) {
	for len(d.later) > 0 && !d.later[0].due.After(now) {
		d.queue = append(d.queue, d.later.pop())
	}
}

// alarm sets the timer to the next thing that time alone brings.
func (d *desk) alarm(now time.Time) {
	next := time.Time{}
	if len(d.later) > 0 {
		next = d.later[0].due
	}
	if len(d.queue) > 0 && d.retryAt.After(now) && (next.IsZero() || d.retryAt.Before(next)) {
		next = d.retryAt
	}
	if next.IsZero() {
		d.timer.Stop()
		return
	}
	d.timer.Reset(max(next.Sub(now), 0))
}

// settle deals with a worker's report.
func (d *desk) settle(r report) {
	now := d.cfg.Now()
	var back []item
	taken := 0
	for _, o := range r.outcomes {
		switch o.fate {
		case returned:
			back = append(back, o.item)
			continue
		case deferred:
			delete(d.first.open, o.seq)
			d.postpone(o.item, now)
			continue
		case accepted:
			taken++
		}
		delete(d.first.open, o.seq)
		if o.old {
			delete(d.ids, o.seq)
		} else {
			d.ledger.settle(o.seq)
		}
		d.dirty = true
	}
	if len(back) > 0 {
		d.queue = append(back, d.queue...)
	}
	if taken > 0 {
		d.tally.mu.Lock()
		d.tally.rate.add(taken, now)
		d.tally.mu.Unlock()
	}
	if r.progress {
		d.fails = 0
	}
	if r.ended {
		d.end(r, now)
	}
}

// postpone puts a deferred article on the list, out of the cursor's way.
func (d *desk) postpone(it item, now time.Time) {
	if !it.old {
		it.old = true
		d.ids[it.seq] = struct{}{}
		d.ledger.settle(it.seq)
	}
	wait := d.cfg.DeferMax
	if it.tries < 16 {
		wait = min(wait, d.cfg.DeferMin<<it.tries)
	}
	it.tries++
	it.doubt = true
	d.later.push(ripening{it, now.Add(wait)})
	d.dirty = true
}

// end deals with a connection that is no more.
func (d *desk) end(r report, now time.Time) {
	d.live--
	if d.live == 0 { // nobody would take what lies there
		var left []item
		for len(d.work) > 0 {
			left = append(left, <-d.work)
		}
		d.queue = append(left, d.queue...)
	}
	if r.err == nil {
		return
	}
	wait := min(100*time.Millisecond, d.cfg.RetryMin)
	if !r.progress {
		wait = min(d.cfg.RetryMax, d.cfg.RetryMin<<min(d.fails, 16))
		d.fails++
	}
	d.failed, d.retryAt = now, now.Add(wait)
	d.tally.failed(r.err, now)
	d.tally.with(func(s *Stats) { s.Failed++ })
	if !r.progress && d.fails == 1 {
		d.cfg.Log.Warn("peer cannot be fed", "peer", d.peer.Name, "err", r.err)
	}
}

// cursor is the state to be saved.
func (d *desk) cursor() cursor {
	c := cursor{Spool: d.spoolID, Seq: d.settledTo()}
	for seq := range d.ids {
		c.Deferred = append(c.Deferred, seq)
	}
	return c
}

// settledTo is the place in the log up to which all is settled, but for what is in ids.
func (d *desk) settledTo() spool.Seq {
	if e, ok := d.ledger.oldest(); ok {
		return e.seq - 1
	}
	return d.upto
}

// offerSave hands the state to the saver, unless it is still busy.
func (d *desk) offerSave() {
	if !d.dirty {
		return
	}
	select {
	case d.saves <- d.cursor():
		d.dirty = false
	default:
	}
}

// publish shows the desk's figures in the statistics.
func (d *desk) publish() {
	at, lag := d.upto, int64(0)
	if e, ok := d.ledger.oldest(); ok {
		at, lag = e.seq-1, e.arrived
	}
	d.tally.mu.Lock()
	defer d.tally.mu.Unlock()
	s := &d.tally.Stats
	s.Cursor, s.Deferred, s.Open, s.RetryAt = at, len(d.ids), d.ledger.n, d.retryAt
	d.oldest = lag
}

// ripening is a deferred article and when it may be offered again.
type ripening struct {
	item
	due time.Time
}

// laterHeap is a binary heap, the next due first.
type laterHeap []ripening

func (h *laterHeap) push(r ripening) {
	*h = append(*h, r)
	a := *h
	for i := len(a) - 1; i > 0; {
		up := (i - 1) / 2
		if !a[i].due.Before(a[up].due) {
			break
		}
		a[i], a[up] = a[up], a[i]
		i = up
	}
}

func (h *laterHeap) pop() item {
	a := *h
	top := a[0].item
	n := len(a) - 1
	a[0] = a[n]
	a[n] = ripening{}
	a = a[:n]
	for i := 0; ; {
		k := 2*i + 1
		if k >= n {
			break
		}
		if k+1 < n && a[k+1].due.Before(a[k].due) {
			k++
		}
		if !a[k].due.Before(a[i].due) {
			break
		}
		a[i], a[k] = a[k], a[i]
		i = k
	}
	*h = a
	return top
}

// checking says whether CHECK comes before TAKETHIS: not while nearly
// everything that is offered is wanted.
type checking struct{ rate atomic.Uint32 } // wanted, in 1/65536

func (c *checking) reset() { c.rate.Store(65536 / 2) }

// note counts one answer to an offer.
func (c *checking) note(wanted bool) {
	r := c.rate.Load()
	if r -= r / 64; wanted {
		r += 65536 / 64
	}
	c.rate.Store(r)
}

// needed says whether to ask first. INN's innfeed draws the line at the same place.
func (c *checking) needed() bool { return c.rate.Load() < 65536*95/100 }

func (o outcome) String() string { return fmt.Sprintf("%s: %d", o.id, o.fate) }
