package local

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/disk"
	"github.com/litfass/litfass/spool"
)

func TestClassFor(t *testing.T) {
	for _, c := range []struct {
		keep time.Duration
		want uint8
	}{{0, 0}, {-1, 0}, {time.Hour, 1}, {day, 1}, {day + 1, 2}, {3 * day, 2}, {16 * day, 3}, {30 * day, 4}, {365 * day, 6}, {1024 * day, 6}, {1025 * day, 0}} {
		if got := classFor(c.keep); got != c.want {
			t.Errorf("%v is of class %d, want %d", c.keep, got, c.want)
		}
		if span := classSpan(classFor(c.keep)); span != 0 && span < c.keep {
			t.Errorf("%v is in a class of %v", c.keep, span)
		}
	}
}

// classes returns how many segments each class has.
func classes(s *Spool) (out [classCount]int) {
	for _, g := range s.segs {
		out[g.class]++
	}
	return out
}

// classSpool has groups kept for ever, for 3 days and for 30.
func classSpool(t *testing.T, change func(*Config)) (*Spool, *clock, *disk.Sim) {
	t.Helper()
	s, c, sim := expireSpool(t, change)
	if err := s.PutGroups(context.Background(), spool.GroupInfo{Name: "days", Keep: 3 * day}, spool.GroupInfo{Name: "month", Keep: 30 * day}); err != nil {
		t.Fatal(err)
	}
	return s, c, sim
}

// TestClasses: a short-lived class frees whole segments, the long-lived ones stay
// as they are, and nothing of a crosspost to a long-lived group is lost.
func TestClasses(t *testing.T) {
	s, c, _ := classSpool(t, func(c *Config) { c.KeepMin = -1 })
	byClass := map[int]int{}
	for n := range 400 {
		c.t = c.t.Add(time.Minute)
		switch n % 4 {
		case 0:
			mustPut(t, s, n, "g")
		case 1:
			mustPut(t, s, n, "days")
		case 2:
			mustPut(t, s, n, "month", "days")
		default:
			mustPut(t, s, n, "days", "g")
		}
		byClass[n%4]++
	}
	had := classes(s)
	if had[0] < 3 || had[2] < 3 || had[4] < 3 || had[1]+had[3]+had[5]+had[6] != 0 {
		t.Fatal("segments by class:", had)
	}
	for _, rebuild := range []bool{false, true} {
		s = again(t, s, rebuild)
		if got := classes(s); got != had {
			t.Fatalf("rebuild %v: segments %v, were %v", rebuild, got, had)
		}
	}
	c.t = c.t.Add(4 * day)
	x := expire(t, s)
	got := classes(s)
	if x.Articles != 100 || x.Compacted != 0 || got[2] != 1 || got[0] != had[0] || got[4] < had[4] {
		t.Fatalf("%+v, segments %v, were %v", x, got, had)
	}
	for _, rebuild := range []bool{false, true} {
		s = again(t, s, rebuild)
		n := 0
		for e, err := range s.Since(context.Background(), 0) {
			if err != nil || e.Places[0].Group == "days" {
				t.Fatal(e, err)
			}
			n++
		}
		if g, _ := s.Group(context.Background(), "days"); n != 300 || g.Count != 0 || g.High != 300 || g.Low != 301 {
			t.Fatal(n, g)
		}
	}
	c.t = c.t.Add(30 * day)
	if x := expire(t, s); x.Articles != 100 || x.Compacted != 0 {
		t.Fatalf("%+v", x)
	}
	if e := mustPut(t, s, 1000, "days"); e.Places[0].Number != 301 || e.Seq != 401 {
		t.Fatal(e)
	}
}

// TestQuietClass: what a short-lived class took goes in time, though its segment
// never fills.
func TestQuietClass(t *testing.T) {
	s, c, _ := classSpool(t, func(c *Config) { c.SegmentSize = 1 << 20 })
	for n := range 60 {
		mustPut(t, s, n, "days")
		mustPut(t, s, 1000+n, "g")
		c.t = c.t.Add(3 * time.Hour)
		if n%4 == 0 {
			expire(t, s)
		}
	}
	if got := classes(s); got[0] != 1 || got[2] < 4 || got[2] > 12 {
		t.Fatal("segments by class:", got)
	}
	live := s.Stats()
	if dead := live.LogBytes - live.Bytes; dead > live.Bytes/4 {
		t.Errorf("%d of %d octets are dead", dead, live.LogBytes)
	}
	c.t = c.t.Add(5 * day)
	expire(t, s)
	expire(t, s)
	if got := classes(s); got[2] > 1 {
		t.Error("segments by class:", got)
	}
}

// TestQuotaOfClasses: the oldest goes first, whatever its class, and nothing
// younger than KeepMin.
func TestQuotaOfClasses(t *testing.T) {
	s, c, _ := classSpool(t, func(c *Config) { c.KeepMin, c.TailMax = time.Hour, 4096 })
	order := []article.Group{"month", "g", "days"} // from old to young
	n := 0
	for _, g := range order {
		for range 100 {
			mustPut(t, s, n, g)
			n++
		}
		c.t = c.t.Add(30 * time.Minute)
	}
	if err := s.SetLimits(context.Background(), Config{Quota: s.Stats().Disk + 300<<10, KeepMin: time.Hour}); err != nil {
		t.Fatal(err)
	}
	gone := func() (out []bool) { // has the first article of each gone?
		for i := range order {
			out = append(out, state(t, s, i*100) == spool.Recalled)
		}
		return out
	}
	full := 0
	for i := 0; i < 1000 && full == 0; i++ {
		_, err := put(t, s, 10_000+i, time.Time{}, "days")
		if errors.Is(err, spool.ErrFull) {
			full++
		} else if err != nil {
			t.Fatal(err)
		}
		if got := gone(); got[1] && !got[0] || got[2] {
			t.Fatal("gone, from old to young:", got)
		}
	}
	if full == 0 || !gone()[0] || state(t, s, 150) != spool.Stored {
		t.Fatal("full", full, "gone", gone(), "a young one is", state(t, s, 150))
	}
	c.t = c.t.Add(12 * time.Hour)
	for i := range 400 {
		mustPut(t, s, 20_000+i, "days")
	}
	if got := gone(); !slices.Equal(got, []bool{true, true, true}) {
		t.Fatal("gone:", got)
	}
	s = again(t, s, true)
	if state(t, s, 0) != spool.Recalled {
		t.Fatal("its id is forgotten")
	}
}

// TestVoidAcrossClasses: a write to one class fails, the next commit is of another
// class, then the power goes: what the failed write left is void.
func TestVoidAcrossClasses(t *testing.T) {
	for op := 1; op <= 6; op++ {
		for seed := range uint64(8) {
			s, _, sim := classSpool(t, nil)
			mustPut(t, s, 1, "g")
			mustPut(t, s, 2, "days")
			sim.Spoil(op, disk.Short, false)
			_, err1 := put(t, s, 3, time.Time{}, "g")
			_, err2 := put(t, s, 4, time.Time{}, "days")
			sim.Spoil(0, 0, false)
			e5 := mustPut(t, s, 5, "days", "month")
			cfg := s.cfg
			cfg.FS, cfg.indexDir = sim.Cut(seed), t.TempDir()
			n := open(t, cfg)
			if err := sound(n); err != nil {
				t.Fatalf("operation %d, seed %d: %v", op, seed, err)
			}
			for id, bad := range map[int]error{3: err1, 4: err2, 5: nil} {
				e, err := n.ByID(context.Background(), article.ID(fmt.Sprintf("<%d@test.example>", id)))
				if bad == nil && err != nil || id == 5 && e.Seq != e5.Seq {
					t.Fatalf("operation %d, seed %d: article %d: %+v %v", op, seed, id, e, err)
				}
			}
			n.Close()
			s.Close()
		}
	}
}

// TestEndIsKept: where a segment ends after a failed write stays known when the
// segment behind it, whose header says so, has gone.
func TestEndIsKept(t *testing.T) {
	s, c, sim := classSpool(t, func(c *Config) { c.KeepMin = -1 })
	mustPut(t, s, 1, "g")
	sim.Spoil(2, disk.Fail, false) // the sync: the record stands in the file
	if _, err := put(t, s, 2, time.Time{}, "g"); err == nil {
		t.Fatal("a failed sync was not noticed")
	}
	sim.Spoil(0, 0, false)
	e := mustPut(t, s, 3, "g")
	if err := s.exclusive(context.Background(), func() error { return s.roll(0) }); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(context.Background(), e.Seq, nil, c.t.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if x := expire(t, s); x.Segments != 1 {
		t.Fatalf("%+v", x)
	}
	s.exclusive(context.Background(), s.rewriteMeta)
	s = again(t, s, true)
	if st := state(t, s, 2); st != spool.Unknown {
		t.Fatal("an article that was refused is", st)
	}
	if n := mustPut(t, s, 4, "g"); n.Seq != e.Seq+1 {
		t.Fatal(n.Seq)
	}
}

// TestNear: the place of a Seq is found also where other chains hold most of them.
func TestNear(t *testing.T) {
	v := view{segment: &segment{first: 10}}
	for i, seq := 0, spool.Seq(10); i < 5000; i++ {
		v.tab = append(v.tab, tabEntry{seq: seq, off: uint32(i)})
		seq += spool.Seq(1 + i*i%17 + i%1000/990*5000)
	}
	v.count, v.last = len(v.tab), v.tab[len(v.tab)-1].seq
	for i, e := range v.tab {
		for _, seq := range []spool.Seq{e.seq, e.seq + 1} {
			want := i
			if seq > e.seq {
				want++
			}
			if got, err := v.find(seq); err != nil || got != want {
				t.Fatalf("%d is at %d, want %d (%v)", seq, got, want, err)
			}
		}
	}
}
