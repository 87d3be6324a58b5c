package local

import (
	"fmt"
	"slices"
	"time"

	"github.com/litfass/litfass/spool"
)

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
