package local

import (
	"errors"
	"iter"
	"slices"
	"sort"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// Retention classes. Articles that are kept about equally long lie together, so
// that old ones free whole segments: each class has a chain of segments of its
// own. The Seqs of a chain rise, with gaps: what is missing is in other chains.
// A group commit is of one class, so no power cut tears it across files.

const (
	day        = 24 * time.Hour
	classCount = 7 // the classes are 0 to 6
	rollParts  = 8 // a segment of a bounded class takes articles for this part of its span
)

// classFor returns the class of what is to be kept that long. Class n from 1 on
// spans 4^(n-1) days. Class 0 is for what stays longer, or until room is needed.
func classFor(keep time.Duration) uint8 {
	if keep <= 0 {
		return 0
	}
	for c := uint8(1); c < classCount; c++ {
		if keep <= classSpan(c) {
			return c
		}
	}
	return 0
}

// classSpan returns how long articles of a class are kept at most; 0: no bound.
func classSpan(class uint8) time.Duration {
	if class == 0 {
		return 0
	}
	return day << (2 * (class - 1))
}

// classOf returns the class of an article in these groups: that of the one which
// keeps longest. It is the committer's.
func (s *Spool) classOf(names []article.Group) uint8 {
	var longest time.Duration
	for _, name := range names {
		g := s.groups[name]
		if g == nil {
			continue
		}
		keep := s.keepOf(g)
		if keep <= 0 {
			return 0
		}
		longest = max(longest, keep)
	}
	return classFor(longest)
}

// byClass calls commit for the requests of each class, in order of arrival: one
// group commit for each, almost always one in all.
func (s *Spool) byClass(batch []*request, commit func(class uint8, batch []*request)) {
	var of [maxBatch]uint8
	mixed := false
	for i, r := range batch {
		of[i] = s.classOf(r.in.Groups)
		mixed = mixed || of[i] != of[0]
	}
	if !mixed {
		commit(of[0], batch)
		return
	}
	for c := range uint8(classCount) {
		var part []*request
		for i, r := range batch {
			if of[i] == c {
				part = append(part, r)
			}
		}
		if len(part) > 0 {
			commit(c, part)
		}
	}
}

// setSegs replaces the list of segments, which is in order of their numbers.
func (s *Spool) setSegs(segs []*segment) {
	var by [classCount][]*segment
	for _, g := range segs {
		c := g.class % classCount
		by[c] = append(by[c], g)
	}
	var chains [][]*segment
	for _, chain := range by {
		if len(chain) > 0 {
			chains = append(chains, chain)
		}
	}
	s.mu.Lock()
	s.segs, s.chains = segs, chains
	s.mu.Unlock()
}

// active returns the segment of a class that takes its articles; nil if there is
// none yet. It is the committer's.
func (s *Spool) active(class uint8) *segment {
	for _, chain := range s.chains {
		if g := chain[len(chain)-1]; g.class == class {
			return g
		}
	}
	return nil
}

// isActive says whether g is the last of its chain.
func (s *Spool) isActive(g *segment) bool { return s.active(g.class) == g }

// views returns, of each chain, the first segment that is good and not empty, as
// it is now.
// good must be false, then true, along a chain. s.mu is held.
func (s *Spool) views(dst []view, good func(*segment) bool) []view {
	for _, chain := range s.chains {
		i := sort.Search(len(chain), func(i int) bool { return good(chain[i]) })
		for i < len(chain) && chain[i].count == 0 {
			i++
		}
		if i < len(chain) {
			dst = append(dst, chain[i].viewNow())
		}
	}
	return dst
}

// locate returns the segment that holds seq and where in it; ErrNotFound if none.
func (s *Spool) locate(seq spool.Seq) (v view, off, end int64, err error) {
	var few [classCount]view
	s.mu.RLock()
	vs := s.views(few[:0], func(g *segment) bool { return g.last >= seq })
	s.mu.RUnlock()
	for _, v := range vs {
		if seq < v.first {
			continue
		}
		off, end, ok, err := v.extent(seq)
		if ok || err != nil {
			return v, off, end, err
		}
	}
	return view{}, 0, 0, spool.ErrNotFound
}

// holds says whether there is a record of seq in some segment. What cannot be
// looked at counts as held.
func (s *Spool) holds(seq spool.Seq) bool {
	_, _, _, err := s.locate(seq)
	return !errors.Is(err, spool.ErrNotFound)
}

// located is a record found by a walk through the log, or why the walk ended.
type located struct {
	g *segment
	scanned
	fail error
}

// records walks through all sound heads after from, in order of Seq, whatever
// chain they are in. Damage is passed over: it was reported when it was found.
func (s *Spool) records(from spool.Seq) iter.Seq[located] {
	var walks []iter.Seq[located]
	for _, chain := range s.chains {
		i := sort.Search(len(chain), func(i int) bool { return chain[i].last > from })
		if i < len(chain) {
			walks = append(walks, walkChain(chain[i:], from))
		}
	}
	if len(walks) == 1 {
		return walks[0]
	}
	return func(yield func(located) bool) { mergeWalks(walks, yield) }
}

func mergeWalks(walks []iter.Seq[located], yield func(located) bool) {
	type head struct {
		located
		next func() (located, bool)
	}
	var heads []head
	for _, w := range walks {
		next, stop := iter.Pull(w)
		defer stop()
		if x, ok := next(); ok {
			heads = append(heads, head{x, next})
		}
	}
	for len(heads) > 0 {
		least := 0
		for i := range heads {
			if heads[i].fail != nil {
				yield(heads[i].located)
				return
			}
			if heads[i].rec.Seq < heads[least].rec.Seq {
				least = i
			}
		}
		if !yield(heads[least].located) {
			return
		}
		x, ok := heads[least].next()
		if !ok {
			heads = slices.Delete(heads, least, least+1)
			continue
		}
		heads[least].located = x
	}
}

func walkChain(chain []*segment, from spool.Seq) iter.Seq[located] {
	return func(yield func(located) bool) {
		for _, g := range chain {
			v := g.viewNow()
			i, err := v.find(from + 1)
			if err == nil && i >= v.count {
				continue
			}
			var e []tabEntry
			if err == nil {
				e, err = v.entries(i, 1)
			}
			on := true
			if err == nil {
				err = g.scan(int64(e[0].off), g.size, false, func(r scanned) bool {
					on = r.err != nil || yield(located{g: g, scanned: r})
					return on
				})
			}
			if err != nil && on {
				yield(located{g: g, fail: err})
				return
			}
			if !on {
				return
			}
		}
	}
}

// oldest returns the segment whose newest article is the oldest of all first
// segments of the chains: what goes when room is needed. Nil: there is none.
func (s *Spool) oldest() *segment {
	var out *segment
	for _, chain := range s.chains {
		i := slices.IndexFunc(chain, func(g *segment) bool { return g.count > 0 })
		if i >= 0 && (out == nil || chain[i].at < out.at) {
			out = chain[i]
		}
	}
	return out
}

// rollOld begins new segments in bounded classes whose active one has taken
// articles for a while: else those of a quiet class would never go.
func (s *Spool) rollOld() error {
	now := s.cfg.Now().Unix()
	for _, chain := range s.chains {
		g := chain[len(chain)-1]
		span := classSpan(g.class)
		if span == 0 || g.count == 0 || len(g.tab) == 0 || now-int64(g.tab[0].at) < int64((span/rollParts).Seconds()) {
			continue
		}
		if err := s.roll(g.class); err != nil {
			return err
		}
	}
	return nil
}

// before returns the segment before g in its chain, nil if g is the first.
func (s *Spool) before(g *segment) *segment {
	for _, chain := range s.chains {
		if i := slices.Index(chain, g); i > 0 {
			return chain[i-1]
		}
	}
	return nil
}

// noteEnd keeps in the meta log where the segment before g ends, if its file is
// longer: the header of g says so, and g is about to go.
func (s *Spool) noteEnd(g *segment) error {
	p := s.before(g)
	if p == nil {
		return nil
	}
	f, err := p.handle()
	if err != nil {
		return err
	}
	n, err := f.Size()
	if err != nil || n <= p.size {
		return err
	}
	return s.act(&metaRec{kind: metaEnd, segs: []uint32{p.num}, size: p.size})
}
