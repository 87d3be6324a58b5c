package local

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/litfass/litfass/internal/disk"
	"github.com/litfass/litfass/spool"
)

// openSegments finds the segments, cuts off what was never acknowledged, and
// removes what a sweep had dropped already.
func (s *Spool) openSegments(acts []metaRec) error {
	names, err := s.fs.ReadDir(s.cfg.Dir)
	if err != nil {
		return err
	}
	dropped, ends := map[uint32]bool{}, map[uint32]int64{}
	for _, m := range acts {
		switch m.kind {
		case metaUnlinked:
			for _, n := range m.segs {
				dropped[n] = true
			}
		case metaEnd:
			ends[m.segs[0]] = m.size
		}
	}
	s.nextSeg, s.droppedSegs = 1, dropped
	for n := range dropped {
		s.nextSeg = max(s.nextSeg, n+1)
	}
	var nums []uint32
	for _, name := range names {
		base, ext, _ := strings.Cut(name, ".")
		n, err := strconv.ParseUint(base, 10, 32)
		if err != nil || len(base) != 8 {
			continue
		}
		if ext == "new" || dropped[uint32(n)] && (ext == "seg" || ext == "tab") {
			s.fs.Remove((&segment{num: uint32(n), dir: s.cfg.Dir}).side(ext))
		} else if ext == "seg" {
			nums = append(nums, uint32(n))
			s.nextSeg = max(s.nextSeg, uint32(n)+1)
		}
	}
	slices.Sort(nums)
	return s.openEach(nums, ends)
}

// openEach reads the headers, then what each segment holds. ends is by number:
// where the meta log, or the next segment of the chain, says that it ends.
func (s *Spool) openEach(nums []uint32, ends map[uint32]int64) error {
	var segs []*segment
	var heads []segHead
	for _, n := range nums {
		g := &segment{num: n, fs: s.fs, dir: s.cfg.Dir}
		h, ok, err := s.openHeader(g)
		if err != nil {
			return err
		}
		if ok {
			segs, heads = append(segs, g), append(heads, h)
			if h.id != "" {
				ends[h.prev] = h.prevSize
			}
		}
	}
	newest := map[uint8]uint32{}
	for i, g := range segs {
		if err := s.classify(g, &heads[i]); err != nil {
			return err
		}
		newest[g.class] = g.num
	}
	at := map[uint8]uint32{}
	for i, g := range segs {
		g.at = at[g.class]
		if err := s.openOne(g, heads[i], ends, g.num == newest[g.class]); err != nil {
			return fmt.Errorf("segment %s: %w", g.path(), err)
		}
		at[g.class] = g.at
		s.last = max(s.last, g.last)
	}
	s.setSegs(segs)
	return nil
}

// openHeader reads the header of a segment; its id is "" if it is damaged. A
// segment that was begun and never used is removed: false.
func (s *Spool) openHeader(g *segment) (h segHead, ok bool, err error) {
	f, err := g.handle()
	if err != nil {
		return h, false, err
	}
	b, err := readAt(f, make([]byte, segHeader+1), 0)
	if err != nil {
		return h, false, fmt.Errorf("read segment %d: %w", g.num, err)
	}
	h, err = decodeSegHeader(b)
	if err != nil {
		if len(b) <= segHeader {
			g.close()
			return h, false, s.fs.Remove(g.path())
		}
		s.log.Error("header of segment is damaged; its articles are read all the same", "segment", g.num)
		return segHead{}, true, nil
	}
	if s.id == "" {
		s.id = h.id
	}
	if h.id != s.id || h.num != g.num {
		return h, false, fmt.Errorf("segment %s belongs to another spool (%q, segment %d): move it away", g.path(), h.id, h.num)
	}
	return h, true, nil
}

// classify finds out of which class a segment is: if its header is damaged, by
// its first sound record.
func (s *Spool) classify(g *segment, h *segHead) error {
	g.salt, g.class = segSalt(s.id, g.num), h.class
	if h.id != "" {
		return nil
	}
	f, err := g.handle()
	if err != nil {
		return err
	}
	n, err := f.Size()
	if err != nil {
		return err
	}
	return g.scan(segHeader, n, false, func(r scanned) bool {
		if r.err == nil {
			g.class = r.rec.class % classCount
		}
		return r.err != nil
	})
}

// openOne finds out what a segment holds. One that is not the newest of its chain
// ends with its file unless ends knows better.
func (s *Spool) openOne(g *segment, h segHead, ends map[uint32]int64, newest bool) error {
	f, err := g.handle()
	if err != nil {
		return err
	}
	onDisk, err := f.Size()
	if err != nil {
		return err
	}
	if h.id == "" {
		h.first = 1
	}
	g.first, g.last = h.first, h.first-1
	end, known := ends[g.num]
	if !known || end > onDisk {
		end = onDisk
	}
	sealed := known || !newest
	if !sealed || !g.loadTable(end) {
		if err := g.rescan(end, sealed, s.log.Warn); err != nil {
			return err
		}
		if newest {
			if err := settleFile(f, g.size, onDisk); err != nil {
				return err
			}
		}
		if sealed {
			s.seal(g)
		}
	}
	if h.id != "" {
		return nil
	}
	return g.findFirst(s.last)
}

// findFirst sets first, which the damaged header had, by the table; last is the
// newest Seq of the segments before.
func (g *segment) findFirst(last spool.Seq) error {
	if g.count == 0 {
		g.first, g.last = last+1, last
		return nil
	}
	e, err := g.viewNow().entries(0, 1)
	if err == nil {
		g.first = e[0].seq
	}
	return err
}

// settleFile cuts off what is no sound record and syncs the rest: a killed
// process may have left records that are seen now but were not yet synced.
func settleFile(f disk.File, size, onDisk int64) error {
	if size < onDisk {
		if err := f.Truncate(size); err != nil {
			return fmt.Errorf("cut off what was never acknowledged: %w", err)
		}
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync what was found: %w", err)
	}
	return nil
}

// rescan finds the records again. Of a segment that was not sealed, damage with
// nothing but records of the same group commit behind it is that commit, torn by
// a power cut before it was acknowledged: it is void as a whole from there on.
func (g *segment) rescan(end int64, sealed bool, warn func(string, ...any)) error {
	g.tab, g.count, g.size, g.last = nil, 0, segHeader, g.first-1
	before := g.at
	type hole struct{ off, end int64 }
	var holes []hole
	var torn int64 = -1
	err := g.scan(segHeader, end, true, func(r scanned) bool {
		if r.err != nil {
			if torn < 0 {
				torn = r.off
			}
			holes = append(holes, hole{r.off, r.end})
			return true
		}
		if torn >= 0 && int64(r.rec.batch) > torn {
			torn = -1 // a later commit followed: what came before it had been synced
		}
		g.note(r.rec.Seq, r.off, r.end, r.rec.Arrived)
		return true
	})
	if err != nil {
		return err
	}
	if torn >= 0 && !sealed {
		g.undo(torn, before)
		holes = slices.DeleteFunc(holes, func(h hole) bool { return h.off >= torn })
	} else if sealed {
		g.size = end
	}
	for _, h := range holes {
		warn("octets of a segment are damaged and passed over: an article may be lost; run spool check", "segment", g.num, "from", h.off, "to", h.end)
	}
	return nil
}

// undo forgets the records from off on; at is the latest arrival before the segment.
func (g *segment) undo(off int64, at uint32) {
	i := sort.Search(len(g.tab), func(i int) bool { return int64(g.tab[i].off) >= off })
	g.tab, g.count, g.size = g.tab[:i], i, off
	g.last, g.at = g.first-1, at
	if i > 0 {
		g.last, g.at = g.tab[i-1].seq, g.tab[i-1].at
	}
}

// replay brings the index up to the log: acts of the meta log and records, in
// the order in which they happened.
func (s *Spool) replay(acts []metaRec, from spool.Seq) error {
	acts = slices.DeleteFunc(slices.Clone(acts), func(m metaRec) bool { return m.n <= s.metaDone })
	next := 0
	do := func(upTo spool.Seq) error {
		for next < len(acts) && acts[next].after < upTo {
			if err := s.redo(&acts[next]); err != nil {
				return err
			}
			s.metaDone = acts[next].n
			next++
		}
		return nil
	}
	end := s.last
	s.last = from
	of, octets, articles := s.octetsAfter(from), int64(0), 0
	for r := range s.records(from) {
		err := r.fail
		if err == nil {
			err = do(r.rec.Seq)
		}
		if err == nil {
			err = s.relive(r.g, &r.rec, r.off, r.end)
		}
		if err != nil {
			return err
		}
		octets, articles = octets+r.end-r.off, articles+1
		s.cfg.Progress(octets, of, articles)
	}
	s.last = end
	if err := do(end + 1); err != nil {
		return err
	}
	for ; next < len(acts); next++ { // after an article that is lost
		if err := s.redo(&acts[next]); err != nil {
			return err
		}
		s.metaDone = acts[next].n
	}
	return s.settleAll()
}

// octetsAfter is the size of the segments that hold what came after from.
func (s *Spool) octetsAfter(from spool.Seq) int64 {
	n := int64(0)
	for _, g := range s.segs {
		if g.last > from {
			n += g.size
		}
	}
	return n
}

func (g *segment) viewNow() view {
	return view{segment: g, size: g.size, last: g.last, count: g.count, at: g.at, tab: g.tab}
}

// relive shows a record of the log again: in the groups that are still there,
// where its number is not below the low mark.
func (s *Spool) relive(g *segment, r *record, off, end int64) error {
	if s.live.load() >= s.cfg.TailMax/2 || s.live.bytes >= tailBytes/2 {
		if err := s.flush(); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var rows []pendRow
	for _, p := range r.Places {
		gr := s.groups[p.Group]
		if gr == nil && s.orphans {
			gr = s.makeGroup(spool.GroupInfo{Name: p.Group, Status: spool.PostOpen, Created: r.Arrived, High: p.Number - 1})
		}
		if gr == nil || p.Number < gr.info.Low || s.rebuild && s.expired(gr, r.Arrived, r.expires) {
			g.deadPlaces.Add(1)
			continue
		}
		rows = append(rows, pendRow{g: gr, number: p.Number})
	}
	s.last = max(s.last, r.Seq)
	h := r.ID.Hash()
	if len(rows) == 0 {
		g.deadRecs.Add(1)
		g.deadBytes.Add(end - off)
		s.live.ids[h] = known{until: s.forget(r.Arrived)}
		return nil
	}
	encodeRows(r, rows)
	s.show(g, r, h, rows, off, end)
	return nil
}
