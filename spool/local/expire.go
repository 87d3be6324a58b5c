package local

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/disk"
	"github.com/litfass/litfass/spool"
)

// Expired is what a sweep did.
type Expired struct {
	Articles  int   `json:"articles"`  // articles that are gone
	Segments  int   `json:"segments"`  // segments dropped
	Compacted int   `json:"compacted"` // segments rewritten without their dead articles
	Bytes     int64 `json:"octets"`    // octets that the log is smaller
}

// keepOf returns how long a group keeps articles; 0: until room is needed.
func (s *Spool) keepOf(g *group) time.Duration {
	if g.info.Keep > 0 {
		return g.info.Keep
	}
	return s.cfg.Keep
}

func (s *Spool) expired(g *group, arrived, expires time.Time) bool {
	now, keep := s.cfg.Now(), s.keepOf(g)
	return keep > 0 && !arrived.Add(keep).After(now) || !expires.IsZero() && !expires.After(now)
}

// used returns the octets on disk.
func (s *Spool) used() int64 {
	n := s.indexSize.Load() + s.metaSize.Load() + s.idsSize.Load() + int64(2*s.live.bytes)
	for _, g := range s.segs {
		n += g.size + tabHeader + int64(g.count)*tabEntryLn
	}
	return n
}

// tight says whether size more octets would pass quota, cap or what the disk has.
func (s *Spool) tight(size int64) (string, error) {
	if s.cfg.Quota > 0 && s.used()+size > s.cfg.Quota {
		return "quota", nil
	}
	if s.cfg.MaxArticles > 0 && s.articles.Load() >= int64(s.cfg.MaxArticles) {
		return "number of articles", nil
	}
	free, err := s.fs.Free(s.cfg.Dir)
	if err != nil {
		return "", fmt.Errorf("look for room on disk: %w", err)
	}
	if s.cfg.Reserve > 0 && free < s.cfg.Reserve+size {
		return "disk", nil
	}
	return "", nil
}

// room makes room for size octets: of the first segments of all classes that
// goes whose newest article is the oldest, none younger than KeepMin. It is the
// committer's.
func (s *Spool) room(size int64) error {
	for {
		what, err := s.tight(size)
		if err != nil || what == "" {
			return err
		}
		g := s.oldest()
		if !s.oldEnough(g) {
			return fmt.Errorf("%w: %s, and nothing here is older than %v", spool.ErrFull, what, s.cfg.KeepMin)
		}
		if s.isActive(g) {
			if err := s.roll(g.class); err != nil {
				return asFull(err)
			}
		}
		if err := s.dropSegment(g); err != nil {
			return fmt.Errorf("make room: %w", asFull(err))
		}
		s.log.Info("oldest articles dropped for room", "because", what, "segment", g.num, "articles", g.count)
	}
}

func (s *Spool) oldEnough(g *segment) bool {
	return g != nil && (s.cfg.KeepMin < 0 || int64(g.at) < s.cfg.Now().Add(-s.cfg.KeepMin).Unix())
}

// dropSegment removes what still lives in a segment, leaves its ids behind, and
// unlinks it.
func (s *Spool) dropSegment(g *segment) error {
	ids, touched, err := s.emptySegment(g)
	if err != nil {
		return err
	}
	if err := s.flush(); err != nil {
		return err
	}
	if err := s.leaveIDs(g.num, ids); err != nil {
		return err
	}
	marks := metaRec{kind: metaMarks}
	for _, gr := range touched {
		marks.groups = append(marks.groups, spool.GroupInfo{Name: gr.info.Name, Low: gr.info.Low, High: gr.info.High})
	}
	if len(marks.groups) > 0 {
		if err := s.act(&marks); err != nil {
			return err
		}
	}
	if err := s.noteEnd(g); err != nil {
		return err
	}
	if err := s.act(&metaRec{kind: metaUnlinked, segs: []uint32{g.num}}); err != nil {
		return err
	}
	s.droppedSegs[g.num] = true
	s.setSegs(slices.DeleteFunc(slices.Clone(s.segs), func(o *segment) bool { return o == g }))
	// Its files stay open for who reads them now; the collector closes them.
	s.fs.Remove(g.side("tab"))
	if err := s.fs.Remove(g.path()); err != nil {
		return fmt.Errorf("remove segment: %w", err)
	}
	return s.fs.SyncDir(s.cfg.Dir)
}

type oldID struct {
	h     hash
	until uint32
}

// emptySegment removes all articles of a segment and returns their ids and the
// groups that lost one.
func (s *Spool) emptySegment(g *segment) (ids []oldID, touched map[uint32]*group, err error) {
	s.lazyLow = true
	defer func() { s.lazyLow = false }()
	touched = map[uint32]*group{}
	var bad error
	err = g.scan(segHeader, g.size, false, func(r scanned) bool {
		if r.err != nil {
			return true // damaged: nothing to keep
		}
		ids = append(ids, oldID{r.rec.ID.Hash(), s.forget(r.rec.Arrived)})
		for _, p := range r.rec.Places {
			if gr := s.groups[p.Group]; gr != nil {
				touched[gr.gid] = gr
			}
		}
		bad = s.remove(r.rec.Seq, nil, time.Unix(int64(s.forget(r.rec.Arrived)), 0))
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return nil, nil, err
	}
	s.lazyLow = false
	for _, gr := range touched {
		if err := s.settleLow(gr); err != nil {
			return nil, nil, err
		}
	}
	for i := range ids { // removed by an act: kept as long as that said
		k, ok, err := s.known(ids[i].h)
		if err != nil {
			return nil, nil, err
		}
		if ok && k.seq == 0 {
			ids[i].until = k.until
		}
	}
	return ids, touched, nil
}

const idsMagic = "LFIDS\x00\x00\x01"

// leaveIDs writes the ids of dropped articles beside the segment, for a rebuild.
func (s *Spool) leaveIDs(num uint32, ids []oldID) error {
	g := &segment{num: num, fs: s.fs, dir: s.cfg.Dir}
	before, err := readIDs(s.fs, g.side("ids"))
	if err != nil && !isNotExist(err) {
		s.log.Warn("ids of dropped articles are unreadable", "file", g.side("ids"), "error", err)
	}
	ids = append(before, ids...)
	now := s.cfg.Now().Unix()
	le := binary.LittleEndian
	b := append([]byte(idsMagic), make([]byte, 8)...)
	for _, id := range ids {
		if int64(id.until) > now {
			b = le.AppendUint32(append(b, id.h[:]...), id.until)
		}
	}
	if len(b) == 16 {
		return nil
	}
	le.PutUint32(b[8:], crc32.Checksum(b[16:], castagnoli))
	if err := writeFile(s.fs, g.side("new"), g.side("ids"), b); err != nil {
		return fmt.Errorf("keep ids of dropped articles: %w", err)
	}
	s.idsSize.Add(int64(len(b) - len(before)*20))
	return s.fs.SyncDir(s.cfg.Dir)
}

// writeFile writes b to a new file under the name tmp, syncs and renames it.
func writeFile(fs disk.FS, tmp, name string, b []byte) error {
	fs.Remove(tmp)
	f, err := fs.Open(tmp, true)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return fs.Rename(tmp, name)
}

func readIDs(fs disk.FS, name string) ([]oldID, error) {
	f, err := fs.Open(name, false)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n, err := f.Size()
	if err != nil {
		return nil, err
	}
	b, err := readAt(f, make([]byte, n), 0)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if len(b) < 16 || string(b[:8]) != idsMagic || le.Uint32(b[8:]) != crc32.Checksum(b[16:], castagnoli) || (len(b)-16)%20 != 0 {
		return nil, fmt.Errorf("%w: ids", errBad)
	}
	var ids []oldID
	for b = b[16:]; len(b) > 0; b = b[20:] {
		ids = append(ids, oldID{hash(b[:16]), le.Uint32(b[16:])})
	}
	return ids, nil
}

// idFiles yields the numbers of the files with ids of dropped articles.
func (s *Spool) idFiles() (nums []uint32, err error) {
	names, err := s.fs.ReadDir(s.cfg.Dir)
	for _, name := range names {
		if base, ok := strings.CutSuffix(name, ".ids"); ok {
			if n, err := strconv.ParseUint(base, 10, 32); err == nil {
				nums = append(nums, uint32(n))
			}
		}
	}
	return nums, err
}

// loadForgotten puts the ids of dropped articles into a new index.
func (s *Spool) loadForgotten() error {
	nums, err := s.idFiles()
	if err != nil {
		return err
	}
	now := s.cfg.Now().Unix()
	for _, n := range nums {
		ids, err := readIDs(s.fs, (&segment{num: n, dir: s.cfg.Dir}).side("ids"))
		if err != nil {
			s.log.Warn("ids of dropped articles are unreadable: those articles may come again", "segment", n, "error", err)
			continue
		}
		for _, id := range ids {
			if int64(id.until) > now {
				s.live.ids[id.h] = known{until: id.until}
			}
			if err := s.makeRoomInTail(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Expire removes what its rule says is old: by group, by its Expires field; then
// makes room if quota or disk ask for it, drops dead segments, compacts those
// that are mostly dead, and forgets ids. Intake goes on meanwhile, in between.
func (s *Spool) Expire(ctx context.Context) (Expired, error) {
	var x Expired
	before, bytes := s.articles.Load(), s.Stats().LogBytes
	s.mu.RLock()
	var gs []*group
	for _, g := range s.groups {
		if s.keepOf(g) > 0 {
			gs = append(gs, g)
		}
	}
	s.mu.RUnlock()
	for _, g := range gs {
		if err := s.expireGroup(ctx, g); err != nil {
			return x, fmt.Errorf("expire %s: %w", g.info.Name, err)
		}
	}
	if err := s.expireDated(ctx); err != nil {
		return x, fmt.Errorf("expire by Expires field: %w", err)
	}
	err := s.exclusive(ctx, func() error {
		if err := s.rollOld(); err != nil {
			return asFull(err)
		}
		if err := s.room(0); err != nil && !isFull(err) {
			return err
		}
		return s.noteMarks(gs)
	})
	if err == nil {
		err = s.tidy(ctx, &x)
	}
	x.Articles = int(before - s.articles.Load())
	x.Bytes = bytes - s.Stats().LogBytes
	return x, err
}

// noteMarks keeps the low marks that the sweep raised: a rebuild after the rule
// was loosened must not bring old articles back.
func (s *Spool) noteMarks(gs []*group) error {
	m := metaRec{kind: metaMarks}
	for _, g := range gs {
		if g.info.Low > s.noted[g.gid] && s.groups[g.info.Name] == g {
			m.groups = append(m.groups, spool.GroupInfo{Name: g.info.Name, Low: g.info.Low, High: g.info.High})
			s.noted[g.gid] = g.info.Low
		}
	}
	if len(m.groups) == 0 {
		return nil
	}
	return s.act(&m)
}

func (s *Spool) expireGroup(ctx context.Context, g *group) error {
	for lo, more := uint64(0), true; more; {
		more = false
		err := s.exclusive(ctx, func() error {
			if s.groups[g.info.Name] != g {
				return nil
			}
			s.lazyLow = true
			defer func() { s.lazyLow = false }()
			rows, err := s.rows(g.gid, max(lo, g.info.Low), g.info.High)
			if err != nil {
				return err
			}
			more = len(rows) > 0
			for _, r := range rows {
				if !s.expired(g, r.arrived, time.Time{}) {
					more = false // numbers rise with time
					break
				}
				lo = r.places[0].number + 1
				if err := s.remove(r.seq, []article.Group{g.info.Name}, time.Unix(int64(s.forget(r.arrived)), 0)); err != nil {
					return err
				}
			}
			s.lazyLow = false
			return s.settleLow(g)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// expireDated removes articles whose Expires field has passed.
func (s *Spool) expireDated(ctx context.Context) error {
	if err := s.exclusive(ctx, s.flush); err != nil {
		return err
	}
	for {
		var due []spool.Seq
		var keys [][]byte
		err := s.view(func(tx *bolt.Tx) error {
			c := tx.Bucket(bktExpires).Cursor()
			for k, _ := c.First(); len(k) == 16 && len(due) < 256; k, _ = c.Next() {
				if int64(binary.BigEndian.Uint64(k)) > s.cfg.Now().Unix() {
					break
				}
				due = append(due, spool.Seq(binary.BigEndian.Uint64(k[8:])))
				keys = append(keys, slices.Clone(k))
			}
			return nil
		})
		if err != nil || len(due) == 0 {
			return err
		}
		err = s.exclusive(ctx, func() error {
			for _, seq := range due {
				e, err := s.entry(seq)
				if isNotFound(err) {
					continue
				} else if err == nil {
					err = s.remove(seq, nil, time.Unix(int64(s.forget(e.Arrived)), 0))
				}
				if err != nil {
					s.log.Warn("expire", "seq", seq, "error", err)
				}
			}
			if err := s.flush(); err != nil {
				return err
			}
			return s.update(func(tx *bolt.Tx) error {
				for _, k := range keys {
					if err := tx.Bucket(bktExpires).Delete(k); err != nil {
						return err
					}
				}
				return nil
			})
		})
		if err != nil {
			return err
		}
	}
}

// tidy gives back disk space.
func (s *Spool) tidy(ctx context.Context, x *Expired) error {
	s.mu.RLock()
	segs := s.segs
	s.mu.RUnlock()
	for _, g := range segs {
		err := s.exclusive(ctx, func() error {
			if s.isActive(g) || !slices.Contains(s.segs, g) {
				return nil
			}
			switch dead := g.deadBytes.Load(); {
			case int(g.deadRecs.Load()) >= g.count:
				x.Segments++
				return s.dropSegment(g)
			case dead > (g.size-segHeader)*3/4:
				x.Compacted++
				return s.compact(g)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return s.exclusive(ctx, s.forgetOld)
}

// compact writes a segment again with its living articles only, under its number.
func (s *Spool) compact(g *segment) error {
	head, err := readHeader(g)
	if err != nil {
		return err
	}
	n := &segment{num: g.num, class: g.class, salt: g.salt, first: g.first, last: g.first - 1, fs: g.fs, dir: g.dir, size: segHeader}
	b := head
	var ids []oldID
	var bad error
	err = g.scan(segHeader, g.size, true, func(r scanned) bool {
		if r.err != nil {
			bad = fmt.Errorf("segment %d at %d: %w; it is left as it is", g.num, r.off, r.err)
			return false
		}
		if err := s.prune(&r.rec.Entry, g.viewNow()); isNotFound(err) {
			ids = append(ids, oldID{r.rec.ID.Hash(), s.forget(r.rec.Arrived)})
			return true
		} else if err != nil {
			bad = err
			return false
		}
		off := len(b)
		r.rec.batch = uint32(off)
		b = appendRecord(b, &r.rec, n.salt)
		n.note(r.rec.Seq, int64(off), int64(len(b)), r.rec.Arrived)
		return true
	})
	if err == nil {
		err = bad
	}
	if err != nil {
		return err
	}
	return s.swap(g, n, b, ids)
}

func readHeader(g *segment) ([]byte, error) {
	f, err := g.handle()
	if err != nil {
		return nil, err
	}
	if g.tab == nil { // readers of the old one need its table after the new one is there
		if _, err := g.table(); err != nil {
			return nil, err
		}
	}
	return readAt(f, make([]byte, segHeader, 1<<20), 0)
}

// swap puts the compacted segment n, of octets b, in the place of g.
func (s *Spool) swap(g, n *segment, b []byte, ids []oldID) error {
	if err := s.flush(); err != nil {
		return err
	}
	for i := range ids {
		if k, ok, err := s.known(ids[i].h); err != nil {
			return err
		} else if ok && k.seq == 0 {
			ids[i].until = k.until
		}
	}
	if err := s.leaveIDs(g.num, ids); err != nil {
		return err
	}
	n.at = max(n.at, g.at)
	if err := s.noteMarks(s.groupList()); err != nil {
		return err
	}
	if err := writeFile(s.fs, g.side("new"), g.path(), b); err != nil {
		return fmt.Errorf("compact segment %d: %w", g.num, err)
	}
	if err := n.writeTable(); err == nil {
		n.tab = nil
	}
	segs := slices.Clone(s.segs)
	segs[slices.Index(segs, g)] = n
	s.setSegs(segs)
	if err := s.fs.SyncDir(s.cfg.Dir); err != nil {
		return err
	}
	return s.writeSegs()
}

func (s *Spool) groupList() (out []*group) {
	for _, g := range s.groups {
		out = append(out, g)
	}
	return out
}

// writeSegs writes the dead counts at once: those of a compacted segment fall.
func (s *Spool) writeSegs() error {
	s.mu.Lock()
	s.stir()
	s.mu.Unlock()
	return s.flush()
}

// forgetOld drops shards of history and id files that may be forgotten.
func (s *Spool) forgetOld() error {
	if err := s.flush(); err != nil {
		return err
	}
	now := s.cfg.Now().Unix()
	nums, err := s.idFiles()
	if err != nil {
		return err
	}
	for _, n := range nums {
		name := (&segment{num: n, dir: s.cfg.Dir}).side("ids")
		ids, err := readIDs(s.fs, name)
		if err == nil && !slices.ContainsFunc(ids, func(id oldID) bool { return int64(id.until) > now }) {
			if err := s.fs.Remove(name); err != nil {
				return fmt.Errorf("remove %s: %w", filepath.Base(name), err)
			}
			s.idsSize.Add(-int64(16 + 20*len(ids)))
		}
	}
	return s.dropShards(now)
}

func (s *Spool) dropShards(now int64) error {
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	oldest := s.last + 1
	if len(s.segs) > 0 {
		oldest = s.segs[0].first
	}
	n := 0
	for n < len(s.shards)-1 && int64(s.shards[n].until) <= now && s.shards[n].last < oldest {
		n++
	}
	if n == 0 {
		return nil
	}
	err := s.update(func(tx *bolt.Tx) error {
		for _, h := range s.shards[:n] {
			if err := tx.Bucket(bktHist).DeleteBucket(key32(h.id)); err != nil {
				return err
			}
			if err := tx.Bucket(bktShards).Delete(key32(h.id)); err != nil {
				return err
			}
			if err := tx.Bucket(bktFilter).Delete(key32(h.id)); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		s.mu.Lock()
		s.shards = s.shards[n:]
		s.mu.Unlock()
	}
	return err
}
