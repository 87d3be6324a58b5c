package local

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/litfass/litfass/internal/disk"
)

type oldID struct {
	h     hash
	until uint32
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
