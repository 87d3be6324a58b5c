package local

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"slices"
	"sort"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/litfass/litfass/article"
)

// freeze hands the live tail to the keeper and begins a new one; it waits while
// there is a frozen one still. It is the committer's.
func (s *Spool) freeze() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.frozen != nil {
		if s.ckptErr != nil {
			return fmt.Errorf("write index: %w", asFull(s.ckptErr))
		}
		s.thawed.Wait()
	}
	t := s.live
	if t.began.IsZero() && t.load() == 0 && len(t.dirty) == 0 && len(t.dropped) == 0 && t.meta == s.metaDone {
		return nil
	}
	t.seq, t.meta, t.gid = s.last, s.metaDone, s.nextGid
	t.arts, t.size = s.articles.Load(), s.bytes.Load()
	for gid := range t.dirty {
		if g := s.byGid[gid]; g != nil {
			t.groups = append(t.groups, groupState{gid, g.info})
		}
	}
	// In order: bbolt moves all that lies behind a key that is put in between.
	slices.SortFunc(t.groups, func(a, b groupState) int { return strings.Compare(string(a.info.Name), string(b.info.Name)) })
	t.marks = map[article.Group]uint64{}
	for name := range t.regone {
		t.marks[name] = s.marks[name] // 0: made again
	}
	for _, g := range s.segs {
		t.segs = append(t.segs, segState{g.num, g.deadPlaces.Load(), g.deadRecs.Load(), g.deadBytes.Load()})
	}
	s.frozen, s.live = t, newTail()
	s.live.meta = s.metaDone
	s.wake()
	return nil
}

// flush writes all that is in the tails to the index. Before the keeper runs, and
// after, it does so itself.
func (s *Spool) flush() error {
	if err := s.checkpoint(); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	if err := s.freeze(); err != nil {
		return err
	}
	if err := s.checkpoint(); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	return nil
}

// keep is the keeper: it writes frozen tails, and freezes old ones.
func (s *Spool) keep() {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-s.kick:
		case <-timer.C:
			s.freezeOld()
		}
		if err := s.checkpoint(); err != nil {
			s.log.Error("index cannot be written; trying again", "error", err)
			timer.Reset(time.Second)
			continue
		}
		s.mu.RLock()
		pending := !s.live.began.IsZero() || len(s.recent.commits) > 0
		s.mu.RUnlock()
		if pending {
			timer.Reset(tailAge)
		}
	}
}

// freezeOld asks the committer to hand over what has waited long enough.
func (s *Spool) freezeOld() {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	if s.queue.closed {
		return
	}
	r := &request{act: s.freezeRest, done: make(chan struct{})}
	s.queue.reqs = append(s.queue.reqs, r)
	s.queue.more.Signal()
}

// freezeRest is freeze in a quiet moment: who has not followed yet may read the log, and
// the committer's buffer, half a MiB after an import, goes.
func (s *Spool) freezeRest() error {
	s.mu.Lock()
	s.recent.forget()
	s.mu.Unlock()
	s.buf = nil
	return s.freeze()
}

// checkpoint writes the frozen tail, if there is one, in one transaction.
func (s *Spool) checkpoint() error {
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	s.mu.RLock()
	t, shards := s.frozen, s.shards
	s.mu.RUnlock()
	if t == nil {
		return nil
	}
	w := ckpt{t: t, s: s, sealed: len(shards) - 1}
	for _, h := range shards {
		c := *h
		w.shards = append(w.shards, &c)
	}
	err := s.update(w.run)
	if st, err := os.Stat(s.indexPath()); err == nil {
		s.indexSize.Store(st.Size())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ckptErr = err
	if err == nil {
		for _, a := range w.added {
			if a.to.filt != nil {
				a.to.filt.add(a.h)
			}
		}
		s.shards = w.shards
		s.frozen = nil
	}
	s.thawed.Broadcast()
	return err
}

// ckpt is one checkpoint being written.
type ckpt struct {
	t      *tail
	s      *Spool
	shards []*shard
	added  []addedID
	sealed int // so many shards were full before
}

type addedID struct {
	to *shard
	h  hash
}

func (w *ckpt) run(tx *bolt.Tx) error {
	for _, step := range []func(*bolt.Tx) error{w.putRows, w.putGone, w.putIDs, w.putGroups, w.putRest} {
		if err := step(tx); err != nil {
			return err
		}
	}
	return nil
}

func (w *ckpt) putRows(tx *bolt.Tx) error {
	all := tx.Bucket(bktRows)
	for _, gid := range slices.Sorted(maps.Keys(w.t.rows)) {
		if _, gone := w.t.dropped[gid]; gone {
			continue
		}
		b, err := all.CreateBucketIfNotExists(key32(gid))
		if err != nil {
			return err
		}
		b.FillPercent = 0.95 // numbers rise
		for _, r := range w.t.rows[gid] {
			if _, gone := w.t.gone[rowPlace{gid, r.number}]; gone {
				continue
			}
			if err := b.Put(key64(r.number), r.row); err != nil {
				return err
			}
		}
	}
	for gid := range w.t.dropped {
		if all.Bucket(key32(gid)) != nil {
			if err := all.DeleteBucket(key32(gid)); err != nil {
				return err
			}
		}
	}
	return nil
}

// putGone deletes the rows of removed places and takes those places out of the
// rows of the article's other groups.
func (w *ckpt) putGone(tx *bolt.Tx) error {
	all := tx.Bucket(bktRows)
	for p := range w.t.gone {
		raw := w.t.row(p)
		b := all.Bucket(key32(p.gid))
		if raw == nil && b != nil {
			raw = b.Get(key64(p.number))
		}
		if raw == nil {
			continue
		}
		old, err := decodeRow(raw)
		if err != nil {
			return err
		}
		if b != nil {
			if err := b.Delete(key64(p.number)); err != nil {
				return err
			}
		}
		for _, o := range old.places[1:] {
			if err := dropFromRow(all, o, p); err != nil {
				return err
			}
		}
	}
	return nil
}

func dropFromRow(all *bolt.Bucket, in, gone rowPlace) error {
	b := all.Bucket(key32(in.gid))
	if b == nil {
		return nil
	}
	raw := b.Get(key64(in.number))
	if raw == nil {
		return nil
	}
	r, err := decodeRow(raw)
	if err != nil {
		return err
	}
	r = r.without(gone)
	return b.Put(key64(in.number), appendRow(nil, &r))
}

// putIDs writes what is known of ids: where an id stands already, else into the
// newest shard.
func (w *ckpt) putIDs(tx *bolt.Tx) error {
	hs := make([]hash, 0, len(w.t.ids))
	for h := range w.t.ids {
		hs = append(hs, h)
	}
	sort.Slice(hs, func(i, j int) bool { return string(hs[i][:]) < string(hs[j][:]) })
	for _, h := range hs {
		k := w.t.ids[h]
		sh, b, err := w.shardFor(tx, h)
		if err != nil {
			return err
		}
		if err := b.Put(h[:], k.encode()); err != nil {
			return err
		}
		sh.until, sh.last = max(sh.until, k.until), max(sh.last, k.seq)
	}
	for _, sh := range w.shards {
		if err := tx.Bucket(bktShards).Put(key32(sh.id), sh.encode()); err != nil {
			return err
		}
	}
	return nil
}

func (w *ckpt) shardFor(tx *bolt.Tx, h hash) (*shard, *bolt.Bucket, error) {
	all := tx.Bucket(bktHist)
	for i := len(w.shards) - 1; i >= 0; i-- {
		if sh := w.shards[i]; sh.filt.perhaps(h) {
			if b := all.Bucket(key32(sh.id)); b != nil && b.Get(h[:]) != nil {
				return sh, b, nil
			}
		}
	}
	if n := len(w.shards); n == 0 || w.shards[n-1].count >= w.shards[n-1].cap {
		if err := w.newShard(tx); err != nil {
			return nil, nil, err
		}
	}
	sh := w.shards[len(w.shards)-1]
	sh.count++
	w.added = append(w.added, addedID{sh, h})
	b, err := all.CreateBucketIfNotExists(key32(sh.id))
	return sh, b, err
}

// newShard begins a shard; shards grow with the spool, so that there are few.
func (w *ckpt) newShard(tx *bolt.Tx) error {
	total, id := 0, w.s.nextShard
	for _, sh := range w.shards {
		total += sh.count
		id = max(id, sh.id+1)
	}
	if n := len(w.shards); n > 0 {
		// The keeper alone changes filters, and it is here; what this checkpoint
		// added to the full one is not in its filter yet: let it be made again.
		if err := tx.Bucket(bktFilter).Delete(key32(w.shards[n-1].id)); err != nil {
			return err
		}
	}
	c := min(max(shardMin, total/4), shardMax)
	w.shards = append(w.shards, &shard{id: id, cap: c, filt: newFilter(c)})
	return nil
}

func (w *ckpt) putGroups(tx *bolt.Tx) error {
	b := tx.Bucket(bktGroups)
	for gid, name := range w.t.dropped {
		if v := b.Get([]byte(name)); len(v) >= 4 && binary.BigEndian.Uint32(v) == gid {
			if err := b.Delete([]byte(name)); err != nil {
				return err
			}
		}
	}
	for _, g := range w.t.groups {
		if _, gone := w.t.dropped[g.gid]; gone {
			continue
		}
		if err := b.Put([]byte(g.info.Name), appendInfo(key32(g.gid), &g.info)); err != nil {
			return err
		}
	}
	for name, high := range w.t.marks {
		if high == 0 {
			if err := tx.Bucket(bktMarks).Delete([]byte(name)); err != nil {
				return err
			}
		} else if err := tx.Bucket(bktMarks).Put([]byte(name), key64(high)); err != nil {
			return err
		}
	}
	return nil
}

func (w *ckpt) putRest(tx *bolt.Tx) error {
	for _, e := range w.t.expires {
		if err := tx.Bucket(bktExpires).Put(append(key64(uint64(e.at)), key64(uint64(e.seq))...), nil); err != nil {
			return err
		}
	}
	for i := 0; i < w.sealed; i++ {
		if tx.Bucket(bktFilter).Get(key32(w.shards[i].id)) == nil {
			if err := w.shards[i].storeFilter(tx); err != nil {
				return err
			}
		}
	}
	b := tx.Bucket(bktSegs)
	keep := map[uint32]bool{}
	for _, g := range w.t.segs {
		keep[g.num] = true
		v := append(append(key64(uint64(g.places)), key64(uint64(g.recs))...), key64(uint64(g.bytes))...)
		if err := b.Put(key32(g.num), v); err != nil {
			return err
		}
	}
	var old [][]byte
	b.ForEach(func(k, _ []byte) error {
		if !keep[binary.BigEndian.Uint32(k)] {
			old = append(old, slices.Clone(k))
		}
		return nil
	})
	for _, k := range old {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return tx.Bucket(bktState).Put(keyState, w.s.encodeState(w.t.seq, w.t.meta, w.t.gid, w.t.arts, w.t.size))
}

// storeFilters saves the filters, so that the next start need not make them.
func (s *Spool) storeFilters() error {
	return s.update(func(tx *bolt.Tx) error {
		for _, h := range s.shards {
			if b := tx.Bucket(bktFilter).Get(key32(h.id)); len(b) >= 4 && int(binary.LittleEndian.Uint32(b)) == h.count {
				continue
			}
			if err := h.storeFilter(tx); err != nil {
				return err
			}
		}
		return nil
	})
}
