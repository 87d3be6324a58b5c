package local

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
