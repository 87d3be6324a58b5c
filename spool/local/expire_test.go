package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/disk"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/spooltest"
)

// clock is a time that the test moves.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func expireSpool(t *testing.T, change func(*Config)) (*Spool, *clock, *disk.Sim) {
	t.Helper()
	c := &clock{time.Now().Truncate(time.Second)}
	sim := disk.NewSim()
	cfg := simConfig(t, sim)
	cfg.Now = c.now
	if change != nil {
		change(&cfg)
	}
	s := open(t, cfg)
	if err := s.PutGroups(context.Background(), spool.GroupInfo{Name: "g"}, spool.GroupInfo{Name: "short", Keep: 24 * time.Hour}, spool.GroupInfo{Name: "other"}); err != nil {
		t.Fatal(err)
	}
	return s, c, sim
}

func put(t *testing.T, s *Spool, n int, expires time.Time, gs ...article.Group) (spool.Entry, error) {
	t.Helper()
	return s.Add(context.Background(), spooltest.Article(n, 700, gs...), spool.Arrival{Groups: gs, At: s.cfg.Now(), Expires: expires, Via: spool.Via{How: spool.Injected}})
}

func mustPut(t *testing.T, s *Spool, n int, gs ...article.Group) spool.Entry {
	t.Helper()
	e, err := put(t, s, n, time.Time{}, gs...)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func expire(t *testing.T, s *Spool) Expired {
	t.Helper()
	x, err := s.Expire(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := sound(s); err != nil {
		t.Fatal(err)
	}
	return x
}

// again closes the spool and opens it, without its index if so wanted.
func again(t *testing.T, s *Spool, rebuild bool) *Spool {
	t.Helper()
	cfg := s.cfg
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if rebuild {
		if err := os.Remove(filepath.Join(cfg.indexDir, indexName)); err != nil {
			t.Fatal(err)
		}
	}
	n := open(t, cfg)
	if err := sound(n); err != nil {
		t.Fatal(err)
	}
	return n
}

func state(t *testing.T, s *Spool, n int) spool.State {
	t.Helper()
	st, err := s.Lookup(context.Background(), article.ID(fmt.Sprintf("<%d@test.example>", n)))
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestExpireByGroup(t *testing.T) {
	s, c, _ := expireSpool(t, nil)
	for n := range 300 {
		switch n % 3 {
		case 0:
			mustPut(t, s, n, "short")
		case 1:
			mustPut(t, s, n, "short", "g")
		default:
			mustPut(t, s, n, "g")
		}
	}
	c.t = c.t.Add(25 * time.Hour)
	mustPut(t, s, 300, "short")
	x := expire(t, s)
	if x.Articles != 100 {
		t.Errorf("%+v", x)
	}
	for range 3 {
		g, _ := s.Group(context.Background(), "short")
		if g.Low != 201 || g.High != 201 || g.Count != 1 {
			t.Fatalf("%+v", g)
		}
		if g, _ := s.Group(context.Background(), "g"); g.Count != 200 || g.Low != 1 {
			t.Fatalf("%+v", g)
		}
		if e, err := s.ByID(context.Background(), "<1@test.example>"); err != nil || len(e.Places) != 1 {
			t.Fatal(e, err)
		}
		if state(t, s, 0) != spool.Recalled || state(t, s, 1) != spool.Stored {
			t.Fatal(state(t, s, 0), state(t, s, 1))
		}
		s = again(t, s, true)
	}
	// A looser rule brings nothing back, not even by a rebuild.
	if err := s.PutGroups(context.Background(), spool.GroupInfo{Name: "short", Keep: 1000 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	s = again(t, s, true)
	if g, _ := s.Group(context.Background(), "short"); g.Low != 201 || g.Count != 1 {
		t.Fatalf("%+v", g)
	}
}

func TestExpiresField(t *testing.T) {
	s, c, _ := expireSpool(t, nil)
	put(t, s, 1, c.t.Add(time.Hour), "g")
	put(t, s, 2, c.t.Add(-time.Hour), "g") // earlier than arrival: ignored
	put(t, s, 3, c.t.Add(9*time.Hour), "g", "other")
	c.t = c.t.Add(2 * time.Hour)
	if x := expire(t, s); x.Articles != 1 || state(t, s, 1) != spool.Recalled || state(t, s, 2) != spool.Stored {
		t.Fatal(x)
	}
	s = again(t, s, false)
	c.t = c.t.Add(8 * time.Hour)
	s = again(t, s, true)
	expire(t, s)
	if state(t, s, 3) != spool.Recalled || state(t, s, 2) != spool.Stored {
		t.Fatal(state(t, s, 3), state(t, s, 2))
	}
}

func TestSegmentsGo(t *testing.T) {
	s, c, sim := expireSpool(t, func(c *Config) { c.Keep, c.Remember = 10*time.Hour, 100*time.Hour })
	for n := range 200 {
		mustPut(t, s, n, "g", "other")
	}
	before := s.Stats()
	c.t = c.t.Add(11 * time.Hour)
	mustPut(t, s, 200, "g")
	x := expire(t, s)
	if x.Articles != 200 || x.Segments < 10 || s.Stats().LogBytes > before.LogBytes/5 {
		t.Fatalf("%+v %+v\n%v", x, s.Stats(), sim)
	}
	if first := s.First(); first < 2 || first > 201 {
		t.Errorf("the log begins at %d", first)
	}
	for _, rebuild := range []bool{false, true} { // ids and numbers outlive their segments
		s = again(t, s, rebuild)
		if state(t, s, 5) != spool.Recalled || state(t, s, 200) != spool.Stored {
			t.Fatalf("rebuild %v: %v %v", rebuild, state(t, s, 5), state(t, s, 200))
		}
		if g, _ := s.Group(context.Background(), "other"); g.High != 200 || g.Low != 201 || g.Count != 0 {
			t.Fatalf("rebuild %v: %+v", rebuild, g)
		}
	}
	c.t = c.t.Add(100 * time.Hour)
	mustPut(t, s, 201, "other")
	expire(t, s)
	if strings.Contains(sim.String(), ".ids") || state(t, s, 5) != spool.Unknown {
		t.Errorf("ids are kept too long: %v\n%v", state(t, s, 5), sim)
	}
	if e := mustPut(t, s, 5, "other"); e.Places[0].Number != 202 {
		t.Fatal(e.Places)
	}
}

func TestCompact(t *testing.T) {
	s, _, _ := expireSpool(t, func(c *Config) { c.SegmentSize = 64 << 10 })
	var kept []spool.Entry
	for n := range 200 {
		e := mustPut(t, s, n, "g", "other")
		if n%10 == 0 {
			kept = append(kept, e)
		} else if n%10 == 1 {
			if err := s.Remove(context.Background(), e.Seq, []article.Group{"g"}, time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
			e.Places = e.Places[1:]
			kept = append(kept, e)
		} else if err := s.Remove(context.Background(), e.Seq, nil, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	x := expire(t, s)
	if x.Compacted < 1 || x.Bytes < 50<<10 {
		t.Fatalf("%+v", x)
	}
	for _, rebuild := range []bool{false, false, true} {
		for _, e := range kept {
			got, err := s.ByID(context.Background(), e.ID)
			if err != nil || got.Seq != e.Seq || !slices.Equal(got.Places, e.Places) {
				t.Fatalf("%+v %v, want %+v", got, err, e)
			}
			if _, err := s.Open(context.Background(), e.Seq); err != nil {
				t.Fatal(err)
			}
		}
		if state(t, s, 2) != spool.Recalled {
			t.Fatal("id of a removed article forgotten")
		}
		n := 0
		for range s.Since(context.Background(), 0) {
			n++
		}
		if n != len(kept) {
			t.Fatal(n)
		}
		s = again(t, s, rebuild)
	}
}

func TestQuota(t *testing.T) {
	s, c, sim := expireSpool(t, func(c *Config) { c.Quota, c.KeepMin = 400<<10, time.Hour })
	var err error
	n := 0
	for ; err == nil && n < 2000; n++ {
		_, err = put(t, s, n, time.Time{}, "g")
	}
	if !errors.Is(err, spool.ErrFull) {
		t.Fatal("quota without effect:", err)
	}
	if _, err := s.Open(context.Background(), 1); err != nil {
		t.Fatal("readers are served when it is full:", err)
	}
	if st := s.Stats(); st.Disk > st.Quota*3/2 { // the index grows by doubling while it is small
		t.Errorf("%+v", st)
	}
	c.t = c.t.Add(2 * time.Hour) // now the oldest may go
	for i := range 100 {
		mustPut(t, s, 10_000+i, "g")
	}
	if state(t, s, 0) != spool.Recalled || state(t, s, 10_000) != spool.Stored {
		t.Fatal(state(t, s, 0))
	}
	s = again(t, s, true)
	if g, _ := s.Group(context.Background(), "g"); g.Low < 2 || g.Count != g.High-g.Low+1 {
		t.Fatalf("%+v\n%v", g, sim)
	}
}

func TestFullDisk(t *testing.T) {
	for _, reserve := range []int64{-1, 64 << 10} {
		s, _, sim := expireSpool(t, func(c *Config) { c.Reserve = reserve })
		sim.SetRoom(200 << 10)
		var ok []spool.Entry
		full := 0
		for n := range 400 {
			e, err := put(t, s, n, time.Time{}, "g")
			if err == nil {
				ok = append(ok, e)
			} else if full++; !errors.Is(err, spool.ErrFull) {
				t.Fatal(err)
			}
		}
		if full == 0 || len(ok) < 50 {
			t.Fatal(full, len(ok))
		}
		for _, e := range ok {
			if _, err := s.Open(context.Background(), e.Seq); err != nil {
				t.Fatal(err)
			}
		}
		if reserve > 0 { // what frees room still works
			if err := s.Remove(context.Background(), 1, nil, time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		sim.SetRoom(1 << 20)
		mustPut(t, s, 1000, "g")
		s = again(t, s, true)
		if st := s.Stats(); int(st.Articles) < len(ok) {
			t.Fatalf("%+v, %d were taken", st, len(ok))
		}
	}
}

// TestDamage: a record in the middle of a sealed segment rots. Check tells, the
// others are read, also by a rebuild.
func TestDamage(t *testing.T) {
	s, _, sim := expireSpool(t, nil)
	for n := range 60 {
		mustPut(t, s, n, "g")
	}
	v := s.segs[1].viewNow()
	e, err := v.entries(2, 2)
	if err != nil {
		t.Fatal(err)
	}
	victim := e[0].seq
	for _, where := range []int64{int64(e[0].off) + 3, int64(e[0].off) + 40, int64(e[1].off) - 20} {
		flip := func(b []byte) []byte { b = bytes.Clone(b); b[where] ^= 0x40; return b }
		if err := sim.Corrupt(v.path(), flip); err != nil {
			t.Fatal(err)
		}
		s = again2(t, s)
		for _, rebuild := range []bool{false, true} {
			r, err := s.Check(context.Background(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Problems) == 0 {
				t.Errorf("check says nothing of damage at %d (rebuild %v)", where, rebuild)
			}
			if _, err := s.Open(context.Background(), victim); err == nil {
				t.Error("a damaged article is served")
			}
			if _, err := s.Open(context.Background(), victim+1); err != nil {
				t.Error("the next one is not readable:", err)
			}
			n := 0
			for range s.Since(context.Background(), 0) {
				n++
			}
			if n < 59 {
				t.Errorf("Since yields %d", n)
			}
			cfg := s.cfg
			s.Close()
			os.Remove(filepath.Join(cfg.indexDir, indexName))
			s = open(t, cfg)
		}
		s.Close()
		if err := sim.Corrupt(v.path(), flip); err != nil { // heals
			t.Fatal(err)
		}
		os.Remove(filepath.Join(s.cfg.indexDir, indexName))
		sim.Remove(v.side("tab"))
		s = open(t, s.cfg)
		if err := sound(s); err != nil {
			t.Fatal(err)
		}
	}
}

func again2(t *testing.T, s *Spool) *Spool {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, s.cfg)
}

// TestBadIndex: whatever stands in the place of index.db, the spool opens and
// holds the same, with the same numbers.
func TestBadIndex(t *testing.T) {
	s, _, _ := expireSpool(t, nil)
	for n := range 100 {
		mustPut(t, s, n, "g", "short")
	}
	s.Remove(context.Background(), 50, nil, time.Now().Add(time.Hour))
	cfg := s.cfg
	s.Close()
	good, err := os.ReadFile(filepath.Join(cfg.indexDir, indexName))
	if err != nil {
		t.Fatal(err)
	}
	other, _, _ := expireSpool(t, nil)
	mustPut(t, other, 1, "g")
	other.Close()
	foreign, _ := os.ReadFile(filepath.Join(other.cfg.indexDir, indexName))
	rot := bytes.Clone(good)
	for i := 3 * os.Getpagesize(); i < len(rot); i += 7 {
		rot[i] ^= 0x55
	}
	for name, content := range map[string][]byte{"good": good, "empty": {}, "text": []byte("hello"), "zeros": make([]byte, len(good)),
		"cut": good[:len(good)/2], "cut short": good[:5000], "foreign": foreign, "rotten": rot} {
		if err := os.WriteFile(filepath.Join(cfg.indexDir, indexName), content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(cfg)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := sound(s); err != nil && name == "rotten" {
			s.Close() // found in use; the next start makes it again
			if s, err = Open(cfg); err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
		}
		if err := sound(s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if g, _ := s.Group(context.Background(), "g"); g.High != 100 || g.Count != 99 || g.Low != 1 {
			t.Errorf("%s: %+v", name, g)
		}
		s.Close()
	}
}

func TestLostMeta(t *testing.T) {
	for _, rebuild := range []bool{false, true} {
		s, _, sim := expireSpool(t, nil)
		for n := range 40 {
			mustPut(t, s, n, "g")
		}
		s.Close()
		if err := sim.Remove("/spool/" + metaName); err != nil {
			t.Fatal(err)
		}
		if rebuild {
			os.Remove(filepath.Join(s.cfg.indexDir, indexName))
		}
		s = open(t, s.cfg)
		mustPut(t, s, 100, "g")
		s = again(t, s, true)
		if g, err := s.Group(context.Background(), "g"); err != nil || g.Count != 41 || g.High != 41 {
			t.Fatalf("rebuild %v: %+v %v", rebuild, g, err)
		}
	}
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrLocked) {
		t.Fatal(err)
	}
	if _, err := Reindex(Config{Dir: dir}); !errors.Is(err, ErrLocked) {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Reindex(Config{Dir: dir}); err != nil {
		t.Fatal(err)
	}
}

// TestProgress: who waits for a reindex or a check hears of every article, up to
// all octets of the log but the segments' headers.
func TestProgress(t *testing.T) {
	var octets, of int64
	var articles, told int
	hear := func(o, all int64, n int) { octets, of, articles, told = o, all, n, told+1 }
	s := open(t, Config{Dir: t.TempDir(), SegmentSize: 4 << 10})
	if err := s.PutGroups(t.Context(), spool.GroupInfo{Name: "g"}); err != nil {
		t.Fatal(err)
	}
	for n := range 60 {
		mustPut(t, s, n, "g")
	}
	cfg := s.cfg
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Progress = hear
	if _, err := Reindex(cfg); err != nil {
		t.Fatal(err)
	}
	heard := func(what string, segments int) {
		t.Helper()
		if told != 60 || articles != 60 || octets != of-int64(segments)*segHeader {
			t.Errorf("%s told %d times: %d articles, %d octets of %d in %d segments", what, told, articles, octets, of, segments)
		}
		told = 0
	}
	cfg.Progress = nil
	s = open(t, cfg)
	heard("reindex", s.Stats().Segments)
	if _, err := s.Check(t.Context(), hear); err != nil {
		t.Fatal(err)
	}
	heard("check", s.Stats().Segments)
}
