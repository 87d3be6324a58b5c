package local

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

const (
	indexName    = "index.db"
	indexVersion = 1
)

var (
	bktState   = []byte("state")
	bktGroups  = []byte("groups")
	bktMarks   = []byte("marks")
	bktRows    = []byte("rows")
	bktShards  = []byte("shards")
	bktExpires = []byte("expires")
	bktSegs    = []byte("segments")
	keyState   = []byte("checkpoint")
)

// errIndex is wrapped by errors that mean the index file is damaged.
var errIndex = errors.New("index.db is damaged: stop the node and run spool reindex")

func (s *Spool) indexPath() string { return filepath.Join(s.cfg.indexDir, indexName) }

// openIndex opens index.db if it is sound and this spool's, else makes it anew,
// and replays what it lacks.
func (s *Spool) openIndex(acts []metaRec) error {
	s.replaying, s.lazyLow = true, true
	defer func() { s.replaying, s.lazyLow = false, false }()
	why := s.tryIndex(acts)
	if why == nil {
		return nil
	}
	if s.db != nil {
		s.lookups.pause()
		s.db.Close()
		s.db = nil
		s.lookups.resume()
	}
	if !isNotExist(why) {
		s.log.Warn("index is made again from the log", "because", why)
	}
	last := spool.Seq(0)
	for _, g := range s.segs {
		g.deadPlaces.Store(0)
		g.deadRecs.Store(0)
		g.deadBytes.Store(0)
		last = max(last, g.last)
	}
	s.reset()
	s.last = last
	for _, name := range []string{indexName, "index.bad"} {
		if err := os.Remove(filepath.Join(s.cfg.indexDir, name)); err != nil && !isNotExist(err) {
			return err
		}
	}
	if err := s.openBolt(); err != nil {
		return fmt.Errorf("make index: %w", err)
	}
	if err := s.loadForgotten(); err != nil {
		return err
	}
	s.rebuild = true
	defer func() { s.rebuild = false }()
	if err := s.replay(acts, 0); err != nil {
		return fmt.Errorf("rebuild index: %w", err)
	}
	if s.orphans {
		if err := s.rewriteMeta(); err != nil {
			return err
		}
	}
	return s.flush()
}

// tryIndex opens the index as it is; any error means it must be made again.
func (s *Spool) tryIndex(acts []metaRec) (err error) {
	defer catch(&err)
	if _, err := os.Stat(s.indexPath()); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.cfg.indexDir, "index.bad")); err == nil {
		return errors.New("damage was found while it was in use")
	}
	if err := s.openBolt(); err != nil {
		return err
	}
	from, err := s.loadIndex()
	if err != nil {
		return err
	}
	if s.orphans { // the index still has what the meta log had of groups
		s.meta.next = s.metaDone + 1
	}
	if s.metaDone >= s.meta.next || s.metaDone < s.meta.base {
		return errors.New("it and the meta log are not of the same time")
	}
	if err := s.replay(acts, from); err != nil || !s.orphans {
		return err
	}
	return s.rewriteMeta()
}

// catch turns a panic of bbolt over a damaged file into an error.
func catch(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w (%v)", errIndex, p)
	}
}

func (s *Spool) openBolt() error {
	// A second process cannot come here: it lacks our own lock.
	// The freelist is synced: without, bbolt walks the whole file at the start, in
	// a goroutine of its own, whose panic over a damaged page nobody can catch.
	db, err := bolt.Open(s.indexPath(), 0o640, &bolt.Options{Timeout: 3 * time.Second, FreelistType: bolt.FreelistMapType, NoSync: s.cfg.noSync})
	if err != nil {
		return err
	}
	s.db = db
	err = db.View(func(tx *bolt.Tx) error {
		st, err := os.Stat(s.indexPath())
		if err == nil && st.Size() < tx.Size() {
			err = errors.New("it is cut off")
		}
		if err == nil {
			s.indexSize.Store(st.Size())
		}
		return err
	})
	if err != nil {
		return err
	}
	return db.Update(func(tx *bolt.Tx) error {
		for _, b := range [][]byte{bktState, bktGroups, bktMarks, bktRows, bktHist, bktShards, bktFilter, bktExpires, bktSegs} {
			if _, err := tx.CreateBucketIfNotExists(b); err != nil {
				return err
			}
		}
		if err := tx.DeleteBucket(bktOldFilter); err != nil && !errors.Is(err, berrors.ErrBucketNotFound) {
			return err
		}
		if tx.Bucket(bktState).Get(keyState) == nil {
			return tx.Bucket(bktState).Put(keyState, s.encodeState(0, 0, 1, 0, 0))
		}
		return nil
	})
}

func (s *Spool) encodeState(seq spool.Seq, meta uint64, gid uint32, arts, bytes int64) []byte {
	b := binary.BigEndian.AppendUint32(nil, indexVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(seq))
	b = binary.BigEndian.AppendUint64(b, meta)
	b = binary.BigEndian.AppendUint32(b, gid)
	b = binary.BigEndian.AppendUint64(b, uint64(arts))
	b = binary.BigEndian.AppendUint64(b, uint64(bytes))
	return append(b, s.id...)
}

// loadIndex reads groups, shards and counts into memory and returns the Seq up to
// which the index is true.
func (s *Spool) loadIndex() (from spool.Seq, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		b := tx.Bucket(bktState).Get(keyState)
		be := binary.BigEndian
		if len(b) < 40 || be.Uint32(b) != indexVersion {
			return errors.New("it is of another version")
		}
		if string(b[40:]) != s.id {
			return errors.New("it is another spool's")
		}
		from, s.metaDone, s.nextGid = spool.Seq(be.Uint64(b[4:])), be.Uint64(b[12:]), be.Uint32(b[20:])
		s.articles.Store(int64(be.Uint64(b[24:])))
		s.bytes.Store(int64(be.Uint64(b[32:])))
		if from > s.last {
			return fmt.Errorf("it is ahead of the log: %d, the log ends at %d", from, s.last)
		}
		if err := s.loadGroups(tx); err != nil {
			return err
		}
		if err := s.loadShards(tx); err != nil {
			return err
		}
		return s.loadSegs(tx, from)
	})
	return from, err
}

func (s *Spool) loadGroups(tx *bolt.Tx) error {
	err := tx.Bucket(bktGroups).ForEach(func(k, v []byte) error {
		if len(v) < 4 {
			return fmt.Errorf("%w: group %q", errBad, k)
		}
		d := newDecoder(v[4:])
		g := &group{gid: binary.BigEndian.Uint32(v), info: d.info()}
		if d.bad || string(g.info.Name) != string(k) {
			return fmt.Errorf("%w: group %q", errBad, k)
		}
		s.groups[g.info.Name], s.byGid[g.gid] = g, g
		return nil
	})
	if err != nil {
		return err
	}
	return tx.Bucket(bktMarks).ForEach(func(k, v []byte) error {
		if len(v) == 8 {
			s.marks[article.Group(k)] = binary.BigEndian.Uint64(v)
		}
		return nil
	})
}

func (s *Spool) loadShards(tx *bolt.Tx) error {
	return tx.Bucket(bktShards).ForEach(func(k, v []byte) error {
		h := decodeShard(binary.BigEndian.Uint32(k), v)
		if h == nil {
			return fmt.Errorf("%w: shard", errBad)
		}
		h.loadFilter(tx)
		s.shards = append(s.shards, h)
		s.nextShard = max(s.nextShard, h.id+1)
		return nil
	})
}

// loadSegs reads how much of each segment is dead. A segment that the index knows
// and the disk does not means that one of them is not of this spool's present.
func (s *Spool) loadSegs(tx *bolt.Tx, from spool.Seq) error {
	here := map[uint32]*segment{}
	for _, g := range s.segs {
		here[g.num] = g
	}
	be := binary.BigEndian
	return tx.Bucket(bktSegs).ForEach(func(k, v []byte) error {
		g := here[be.Uint32(k)]
		if len(v) != 24 {
			return fmt.Errorf("%w: segment", errBad)
		}
		if g == nil && s.droppedSegs[be.Uint32(k)] {
			return nil
		}
		if g == nil {
			return fmt.Errorf("segment %d, which it knows, is not there", be.Uint32(k))
		}
		g.deadPlaces.Store(int64(be.Uint64(v)))
		g.deadRecs.Store(int64(be.Uint64(v[8:])))
		g.deadBytes.Store(int64(be.Uint64(v[16:])))
		return nil
	})
}

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

// freezeRest is freeze in a quiet moment: who has not followed yet may read the log.
func (s *Spool) freezeRest() error {
	s.mu.Lock()
	s.recent.forget()
	s.mu.Unlock()
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

// update is db.Update that survives a damaged file.
func (s *Spool) update(fn func(*bolt.Tx) error) (err error) {
	s.lookups.pause()
	defer s.lookups.resume()
	defer s.guard(&err)
	return s.db.Update(fn)
}

// guard turns a panic over a damaged index into an error and leaves a note, so
// that the next start makes the index again.
func (s *Spool) guard(err *error) {
	if p := recover(); p != nil {
		s.log.Error("index.db is damaged; it is made again at the next start", "error", p)
		os.WriteFile(filepath.Join(s.cfg.indexDir, "index.bad"), []byte(fmt.Sprint(p)), 0o640)
		*err = fmt.Errorf("%w (%v)", errIndex, p)
	}
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
