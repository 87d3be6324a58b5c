package local

import (
	"fmt"
	"slices"
)

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

// writeSegs writes the dead counts at once: those of a compacted segment fall.
func (s *Spool) writeSegs() error {
	s.mu.Lock()
	s.stir()
	s.mu.Unlock()
	return s.flush()
}
