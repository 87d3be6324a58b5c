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
	dropped := map[uint32]bool{}
	for _, m := range acts {
		for _, n := range m.segs {
			dropped[n] = true
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
	return s.openEach(nums)
}

// openEach reads the headers, then what each segment holds.
func (s *Spool) openEach(nums []uint32) error {
	heads := make([]segHead, len(nums))
	ends := map[uint32]int64{} // by number: where the next segment says it ends
	segs := make([]*segment, len(nums))
	for i, n := range nums {
		g := &segment{num: n, fs: s.fs, dir: s.cfg.Dir}
		segs[i] = g
		f, err := g.handle()
		if err != nil {
			return err
		}
		b, err := readAt(f, make([]byte, segHeader), 0)
		if err != nil {
			return fmt.Errorf("read segment %d: %w", n, err)
		}
		if heads[i], err = decodeSegHeader(b); err != nil {
			continue // mended or removed below
		}
		if s.id == "" {
			s.id = heads[i].id
		}
		if heads[i].id != s.id || heads[i].num != n {
			return fmt.Errorf("segment %s belongs to another spool (%q, segment %d): move it away", g.path(), heads[i].id, heads[i].num)
		}
		ends[heads[i].prev] = heads[i].prevSize
	}
	for i, g := range segs {
		if err := s.openOne(g, heads[i], ends, i == len(segs)-1); err != nil {
			return fmt.Errorf("segment %s: %w", g.path(), err)
		}
	}
	return nil
}

func (s *Spool) openOne(g *segment, h segHead, ends map[uint32]int64, newest bool) error {
	f, err := g.handle()
	if err != nil {
		return err
	}
	onDisk, err := f.Size()
	if err != nil {
		return err
	}
	if h.id == "" && onDisk <= segHeader {
		g.close() // begun, never used
		return s.fs.Remove(g.path())
	}
	if h.id == "" {
		s.log.Error("header of segment is damaged; its articles are read all the same", "segment", g.num)
		h.first = s.last + 1
	}
	g.salt, g.first, g.last = segSalt(s.id, g.num), h.first, h.first-1
	if n := len(s.segs); n > 0 {
		g.at = s.segs[n-1].at
	}
	end, sealed := ends[g.num]
	if !sealed {
		end = onDisk
	}
	end = min(end, onDisk)
	if sealed && g.loadTable(end) {
		return s.take(g)
	}
	if err := g.rescan(end, sealed, s.log.Warn); err != nil {
		return err
	}
	if newest {
		if err := settleFile(f, g.size, onDisk); err != nil {
			return err
		}
	}
	if err := s.take(g); err != nil {
		return err
	}
	if sealed {
		s.seal(g)
	}
	return nil
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

func (s *Spool) take(g *segment) error {
	s.segs = append(s.segs, g)
	s.last = max(s.last, g.last)
	return nil
}

// rescan finds the records again. Of a segment that was not sealed, damage with
// nothing but records of the same group commit behind it is that commit, torn by
// a power cut before it was acknowledged: it is void as a whole from there on.
func (g *segment) rescan(end int64, sealed bool, warn func(string, ...any)) error {
	g.tab, g.count, g.size, g.last = nil, 0, segHeader, g.first-1
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
		g.undo(torn)
		holes = slices.DeleteFunc(holes, func(h hole) bool { return h.off >= torn })
	} else if sealed {
		g.size = end
	}
	for _, h := range holes {
		warn("octets of a segment are damaged and passed over: an article may be lost; run spool check", "segment", g.num, "from", h.off, "to", h.end)
	}
	return nil
}

// undo forgets the records from off on.
func (g *segment) undo(off int64) {
	i := sort.Search(len(g.tab), func(i int) bool { return int64(g.tab[i].off) >= off })
	g.tab, g.count, g.size = g.tab[:i], i, off
	g.last, g.at = g.first-1, 0
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
	for _, g := range s.segs {
		if g.last <= from {
			continue
		}
		if err := s.replaySegment(g, from, do); err != nil {
			return err
		}
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

func (s *Spool) replaySegment(g *segment, from spool.Seq, do func(spool.Seq) error) error {
	v := g.viewNow()
	i, err := v.find(from + 1)
	if err != nil || i >= v.count {
		return err
	}
	e, err := v.entries(i, 1)
	if err != nil {
		return err
	}
	var bad error
	err = g.scan(int64(e[0].off), g.size, false, func(r scanned) bool {
		if r.err != nil {
			return true // reported when it was found; check tells
		}
		if bad = do(r.rec.Seq); bad == nil {
			bad = s.relive(g, &r.rec, r.off, r.end)
		}
		return bad == nil
	})
	if err == nil {
		err = bad
	}
	return err
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
