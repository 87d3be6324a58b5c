package local

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// Add implements spool.Writer.
func (s *Spool) Add(ctx context.Context, a *article.Article, in spool.Arrival) (spool.Entry, error) {
	if err := ctx.Err(); err != nil {
		return spool.Entry{}, err
	}
	if len(in.Groups) == 0 {
		return spool.Entry{}, fmt.Errorf("add %s: no group given", a.ID())
	}
	if len(a.Wire()) > maxRecord/2 {
		return spool.Entry{}, fmt.Errorf("add %s: %d octets are too many for a segment", a.ID(), len(a.Wire()))
	}
	if in.At.IsZero() {
		in.At = s.cfg.Now()
	}
	r := &request{art: a, in: in, hash: a.ID().Hash(), path: hops(a)}
	err := s.queue.put(r)
	return r.rec.Entry, err
}

// hops returns the path identities of a without the tail-entry.
func hops(a *article.Article) []string {
	h := article.PathHops(a.Get("Path"))
	if len(h) <= 1 {
		return nil
	}
	return h[:len(h)-1]
}

// commitLoop is the committer.
func (s *Spool) commitLoop() {
	for {
		all := s.queue.take()
		if len(all) == 0 {
			return
		}
		for i := 0; i < len(all); {
			if r := all[i]; r.act != nil {
				r.err = r.act()
				close(r.done)
				i++
				continue
			}
			n, size := i, 0
			for n < len(all) && n-i < maxBatch && all[n].act == nil {
				if size += len(all[n].art.Wire()) + 1024; n > i && size > maxBatchBytes {
					break
				}
				n++
			}
			s.byClass(all[i:n], s.commit)
			i = n
		}
		clear(all)
	}
}

// commit stores one batch of a class: all that can be taken with one write and
// one sync.
func (s *Spool) commit(class uint8, batch []*request) {
	defer func() {
		for _, r := range batch {
			close(r.done)
		}
	}()
	size := int64(0)
	for _, r := range batch {
		size += int64(len(r.art.Wire())) + 1024
	}
	seg, err := s.ready(class, size)
	if err != nil {
		for _, r := range batch {
			r.err = err
		}
		return
	}
	good, offs := s.prepare(batch, seg)
	if len(good) == 0 {
		return
	}
	if err := s.write(seg, s.buf); err != nil {
		seg.ended = true
		s.log.Error("segment ends here: a write failed", "segment", seg.num, "error", err)
		for _, r := range good {
			r.rec, r.err = record{}, fmt.Errorf("store article: %w", asFull(err))
		}
		return
	}
	s.publish(seg, good, offs)
	if cap(s.buf) > 1<<20 {
		s.buf = nil
	}
}

// asFull marks an error that means "no room" as spool.ErrFull.
func asFull(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", spool.ErrFull, err)
	}
	return err
}

// write appends b to the active segment and syncs it, once.
func (s *Spool) write(seg *segment, b []byte) error {
	f, err := seg.handle()
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(b, seg.size); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return f.Sync()
}

// ready sees to it that a batch of that size can be stored: room on disk and in
// the tail, and a segment of the class to write to. A segment whose write failed
// is ended first, whatever its class: what may stand behind its end bears numbers
// that are given again now.
func (s *Spool) ready(class uint8, size int64) (*segment, error) {
	if s.live.load() >= s.cfg.TailMax/2 || s.live.bytes >= tailBytes/2 {
		if err := s.freeze(); err != nil {
			return nil, err
		}
	}
	if err := s.room(size); err != nil {
		return nil, err
	}
	for _, chain := range s.chains {
		if g := chain[len(chain)-1]; g.ended {
			if err := s.roll(g.class); err != nil {
				return nil, fmt.Errorf("begin segment: %w", asFull(err))
			}
		}
	}
	g := s.active(class)
	if g == nil || g.size+size > s.cfg.SegmentSize && g.count > 0 {
		if err := s.roll(class); err != nil {
			return nil, fmt.Errorf("begin segment: %w", asFull(err))
		}
		g = s.active(class)
	}
	return g, nil
}

// prepare judges the requests and encodes those that are taken into s.buf. The
// numbers it gives become true in publish.
func (s *Spool) prepare(batch []*request, seg *segment) (good []*request, ends []int64) {
	s.buf = s.buf[:0]
	next := map[*group]uint64{}
	seen := make(map[hash]struct{}, len(batch))
	now := s.cfg.Now().Unix()
	seq := s.last
	for _, r := range batch {
		if _, twice := seen[r.hash]; twice {
			r.err = spool.ErrDuplicate
			continue
		}
		k, ok, err := s.known(r.hash)
		if err != nil {
			r.err = err
			continue
		}
		if ok && k.state(now) != spool.Unknown {
			r.err = spool.ErrDuplicate
			continue
		}
		gs, err := s.find(r.in.Groups)
		if err != nil {
			r.err = err
			continue
		}
		seen[r.hash] = struct{}{}
		seq++
		r.rec = record{Entry: spool.Entry{Seq: seq, Arrived: time.Unix(r.in.At.Unix(), 0).UTC(), Path: r.path, Via: r.in.Via,
			Proof: r.in.Proof, Overview: r.art.Overview()}, batch: uint32(seg.size), class: seg.class, headLen: r.art.HeadLen(), wire: r.art.Wire()}
		if r.in.Expires.After(r.in.At) {
			r.rec.expires = r.in.Expires
		}
		for _, g := range gs {
			n := next[g]
			if n == 0 {
				n = g.info.High
			}
			next[g] = n + 1
			r.rec.Places = append(r.rec.Places, spool.Place{Group: g.info.Name, Number: n + 1})
			r.rows = append(r.rows, pendRow{g: g, number: n + 1})
		}
		s.buf = appendRecord(s.buf, &r.rec, seg.salt)
		encodeRows(&r.rec, r.rows)
		good, ends = append(good, r), append(ends, seg.size+int64(len(s.buf)))
	}
	return good, ends
}

// find returns the groups of these names, each once.
func (s *Spool) find(names []article.Group) ([]*group, error) {
	gs := make([]*group, 0, len(names))
next:
	for _, name := range names {
		g := s.groups[name] // only the committer changes the map
		if g == nil {
			return nil, fmt.Errorf("group %s: %w", name, spool.ErrNotFound)
		}
		for _, have := range gs {
			if have == g {
				continue next
			}
		}
		gs = append(gs, g)
	}
	return gs, nil
}

// encodeRows makes the index rows of a record: one per place, that place first.
func encodeRows(r *record, rows []pendRow) {
	w := row{seq: r.Seq, arrived: r.Arrived, places: make([]rowPlace, 0, len(rows)), over: r.Overview}
	for i := range rows {
		w.places = append(w.places[:0], rowPlace{rows[i].g.gid, rows[i].number})
		for k := range rows {
			if k != i {
				w.places = append(w.places, rowPlace{rows[k].g.gid, rows[k].number})
			}
		}
		rows[i].row = appendRow(make([]byte, 0, 128+len(r.Subject)+len(r.From)+len(r.References)+len(r.ID)+len(r.Newsgroups)+16*len(rows)), &w)
	}
}

// publish makes a written batch visible.
func (s *Spool) publish(seg *segment, good []*request, ends []int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range good {
		s.show(seg, &r.rec, r.hash, r.rows, seg.size, ends[i])
		r.rec.wire = nil
	}
	s.recent.add(good)
	close(s.changed)
	s.changed = make(chan struct{})
	if s.live.began.IsZero() {
		s.live.began = time.Now()
		s.wake()
	}
}

// show puts one record of the log into the tables in memory.
func (s *Spool) show(seg *segment, r *record, h hash, rows []pendRow, off, end int64) {
	if end > seg.size {
		seg.note(r.Seq, off, end, r.Arrived)
	}
	s.live.ids[h] = known{seq: r.Seq, until: s.forget(r.Arrived)}
	for _, p := range rows {
		s.live.addRow(p.g.gid, p.number, p.row)
		s.live.dirty[p.g.gid] = true
		p.g.info.High = max(p.g.info.High, p.number)
		p.g.info.Count++
	}
	if !r.expires.IsZero() {
		s.live.expires = append(s.live.expires, expiry{r.expires.Unix(), r.Seq})
	}
	s.last = max(s.last, r.Seq)
	s.articles.Add(1)
	s.bytes.Add(end - off)
}

// forget returns when the id of an article that arrived then may be forgotten.
func (s *Spool) forget(arrived time.Time) uint32 {
	return clamp32(arrived.Add(s.cfg.Remember).Unix())
}

// wake tells the keeper that there is something to look at.
func (s *Spool) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// roll begins a new segment of a class; the one before is sealed. Its header,
// synced before any record, tells where the segment before it ends: what a failed
// write left behind that place is void.
func (s *Spool) roll(class uint8) error {
	prev, prevSize, at := uint32(0), int64(0), uint32(0)
	old := s.active(class)
	if old != nil {
		prev, prevSize, at = old.num, old.size, old.at
		old.ended = true
		s.seal(old)
	}
	s.nextSeg++ // a number is not used twice: a file whose sync failed is not synced again
	g := &segment{num: s.nextSeg - 1, class: class, salt: segSalt(s.id, s.nextSeg-1), first: s.last + 1, last: s.last, fs: s.fs, dir: s.cfg.Dir, size: segHeader, at: at}
	if err := g.create(encodeSegHeader(s.id, g.num, class, g.first, prev, prevSize)); err != nil {
		g.close()
		s.fs.Remove(g.path())
		return err
	}
	s.setSegs(append(slices.Clone(s.segs), g))
	return nil
}

// create makes the segment's file, with its name durable.
func (g *segment) create(head []byte) error {
	f, err := g.fs.Open(g.path(), true)
	if err != nil {
		return err
	}
	g.file = f
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := f.WriteAt(head, 0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return g.fs.SyncDir(g.dir)
}

// seal writes the segment's table, so that it need not stay in memory.
func (s *Spool) seal(g *segment) {
	if g.count == 0 || g.tab == nil {
		return
	}
	if err := g.writeTable(); err != nil {
		s.log.Warn("table of segment stays in memory", "segment", g.num, "error", err)
		return
	}
	s.mu.Lock()
	g.tab = nil
	s.mu.Unlock()
}
