package peer

import (
	"context"
	"slices"

	"github.com/litfass/litfass/spool"
)

// maxFirst bounds the articles that overtake others at one time.
const maxFirst = 1000

// first are the articles that overtake the rest (Config.First): whoever was away hears
// what was taken back before what that may bar.
type first struct {
	open  map[spool.Seq]struct{} // not answered yet: nothing else is offered meanwhile
	early map[spool.Seq]struct{} // taken before the reader came to them
	upto  spool.Seq              // they were looked for so far
}

// hurryNew is hurry for what came since: a connection with a backlog may stay open for long.
func (d *desk) hurryNew(ctx context.Context) {
	if d.live > 0 && len(d.queue) > 0 && d.cfg.Spool.Last() > d.first.upto {
		d.hurry(ctx, max(d.first.upto, d.settledTo()))
	}
}

// hurry looks for such articles that came after a place in the log and puts them at the
// head of the queue. Before the first connection is made that is all behind what is settled.
func (d *desk) hurry(ctx context.Context, after spool.Seq) {
	if d.cfg.First == nil {
		return
	}
	last := d.cfg.Spool.Last()
	list, err := d.cfg.First(ctx, after)
	if err != nil {
		d.tally.failed(err, d.cfg.Now())
		return
	}
	d.first.upto = last
	var ahead []item
	for _, e := range list {
		if _, out := d.first.open[e.Seq]; out || len(d.first.open) >= maxFirst {
			continue
		}
		if it, ok := d.overtaking(ctx, &e); ok {
			d.first.open[e.Seq] = struct{}{}
			ahead = append(ahead, it)
		}
	}
	d.queue = append(ahead, d.queue...)
}

// overtaking takes an entry out of the queue, or ahead of the reader.
func (d *desk) overtaking(ctx context.Context, e *spool.Entry) (item, bool) {
	if e.Seq <= d.upto {
		i := slices.IndexFunc(d.queue, func(it item) bool { return it.seq == e.Seq })
		if i < 0 {
			return item{}, false
		}
		it := d.queue[i]
		d.queue = slices.Delete(d.queue, i, i+1)
		return it, true
	}
	if _, done := d.first.early[e.Seq]; done {
		return item{}, false
	}
	if wanted, err := d.wants(ctx, e); err != nil || !wanted {
		return item{}, false // the reader comes to it
	}
	d.first.early[e.Seq], d.ids[e.Seq] = struct{}{}, struct{}{}
	return item{seq: e.Seq, id: e.ID, doubt: true, old: true}, true
}

// held says whether an item must wait for the answers to those that overtook it.
func (d *desk) held(it item) bool {
	_, first := d.first.open[it.seq]
	return len(d.first.open) > 0 && !first
}

// passed says whether an article that the reader brings was taken before.
func (d *desk) passed(seq spool.Seq) bool {
	_, early := d.first.early[seq]
	delete(d.first.early, seq)
	return early
}
