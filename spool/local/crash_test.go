package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/disk"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/spooltest"
)

// ledger notes what a spool has acknowledged.
type ledger struct {
	mu      sync.Mutex
	stored  map[article.ID]acked
	removed map[article.ID]bool
	groups  map[article.Group]bool
}

type acked struct {
	a *article.Article
	e spool.Entry
}

func newLedger() *ledger {
	return &ledger{stored: map[article.ID]acked{}, removed: map[article.ID]bool{}, groups: map[article.Group]bool{}}
}

func (l *ledger) copy() *ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := newLedger()
	for k, v := range l.stored {
		c.stored[k] = v
	}
	for k := range l.removed {
		c.removed[k] = true
	}
	for k := range l.groups {
		c.groups[k] = true
	}
	return c
}

// keeps says how long groups keep: their articles are of three classes.
var keeps = map[article.Group]time.Duration{"g1": 48 * time.Hour, "g2": 20 * day}

func (l *ledger) group(s *Spool, g article.Group) error {
	err := s.PutGroups(context.Background(), spool.GroupInfo{Name: g, Keep: keeps[g]})
	if err == nil {
		l.mu.Lock()
		l.groups[g] = true
		l.mu.Unlock()
	}
	return err
}

func (l *ledger) add(s *Spool, n int, gs ...article.Group) error {
	a := spooltest.Article(n, 100+n*37%1500, gs...)
	e, err := s.Add(context.Background(), a, spool.Arrival{Groups: gs, At: time.Now(), Via: spool.Via{How: spool.Relayed, Peer: "p"}})
	if err == nil {
		l.mu.Lock()
		l.stored[a.ID()] = acked{a, e}
		l.mu.Unlock()
	}
	return err
}

func (l *ledger) remove(s *Spool, id article.ID) error {
	l.mu.Lock()
	x, ok := l.stored[id]
	delete(l.stored, id) // from now on it may be gone
	l.mu.Unlock()
	if !ok {
		return nil
	}
	err := s.Remove(context.Background(), x.e.Seq, nil, time.Now().Add(time.Hour))
	if err == nil {
		l.mu.Lock()
		l.removed[id] = true
		l.mu.Unlock()
	}
	return err
}

// verify says what of the acknowledged is missing, and what is listed that
// cannot be read.
func (l *ledger) verify(s *Spool) error {
	ctx := context.Background()
	for id, x := range l.stored {
		e, err := s.ByID(ctx, id)
		if err != nil {
			return fmt.Errorf("acknowledged article %s (seq %d): %w", id, x.e.Seq, err)
		}
		if e.Seq != x.e.Seq || !slices.Equal(e.Places, x.e.Places) {
			return fmt.Errorf("article %s was %v, is %v", id, x.e.Places, e.Places)
		}
		a, err := s.Open(ctx, e.Seq)
		if err != nil || !bytes.Equal(a.Wire(), x.a.Wire()) {
			return fmt.Errorf("article %s is not what it was: %w", id, err)
		}
		for _, p := range x.e.Places {
			if got, err := s.ByNumber(ctx, p); err != nil || got.ID != id {
				return fmt.Errorf("%v is %s: %w", p, got.ID, err)
			}
		}
	}
	for id := range l.removed {
		if st, err := s.Lookup(ctx, id); st != spool.Recalled || err != nil {
			return fmt.Errorf("removed article %s is %v: %w", id, st, err)
		}
	}
	for g := range l.groups {
		if _, err := s.Group(ctx, g); err != nil {
			return err
		}
	}
	return sound(s)
}

// sound runs check and sees that no number of a group is missing without cause.
func sound(s *Spool) error {
	r, err := s.Check(context.Background(), nil)
	if err != nil {
		return err
	}
	if len(r.Problems) > 0 {
		return fmt.Errorf("check: %s", strings.Join(r.Problems, "; "))
	}
	for g, err := range s.Groups(context.Background()) {
		if err != nil {
			return err
		}
		if g.High+1-g.Low < g.Count {
			return fmt.Errorf("group %+v", g)
		}
	}
	var last spool.Seq
	for e, err := range s.Since(context.Background(), 0) {
		if err != nil {
			return err
		}
		if e.Seq <= last {
			return fmt.Errorf("seq %d after %d", e.Seq, last)
		}
		last = e.Seq
		if _, err := s.Open(context.Background(), e.Seq); err != nil {
			return err
		}
	}
	return nil
}

// quiet discards log lines; set LITFASS_TEST_LOG to see them.
func quiet() *slog.Logger {
	if os.Getenv("LITFASS_TEST_LOG") != "" {
		return slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return slog.New(slog.DiscardHandler)
}

func simConfig(t testing.TB, sim *disk.Sim) Config {
	return Config{Dir: "/spool", FS: sim, indexDir: t.TempDir(), TailMax: 32, SegmentSize: 12 << 10, Reserve: -1, Log: quiet(), noSync: true}
}

// copyIndex copies index.db as a power cut between two transactions leaves it.
func copyIndex(t testing.TB, s *Spool, to string) {
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	b, err := os.ReadFile(s.indexPath())
	if err == nil {
		err = os.WriteFile(filepath.Join(to, indexName), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestPowerCut(t *testing.T) {
	seeds := uint64(12)
	if os.Getenv("LITFASS_TEST_ALL") != "" {
		seeds = 200
	}
	for seed := range seeds {
		if err := powerCut(t, seed); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// powerCut works on a spool from several sides, cuts the power, opens what is
// left, goes on there, and cuts again.
func powerCut(t *testing.T, seed uint64) error {
	rnd := rand.New(rand.NewPCG(seed, 11))
	sim, l := disk.NewSim(), newLedger()
	cfg := simConfig(t, sim)
	s, err := Open(cfg)
	if err != nil {
		return err
	}
	n := 0
	for range 3 {
		total := 30 + rnd.IntN(150)
		stop := n + total
		done := make(chan error, 1)
		go func() { done <- busy(s, l, n, total, seed) }()
		target := len(l.copy().stored) + rnd.IntN(total*3/4)
		for len(l.copy().stored) < target {
			select {
			case err = <-done:
				target = 0
				done <- err
			default:
				time.Sleep(50 * time.Microsecond)
			}
		}
		dir := t.TempDir()
		if rnd.IntN(3) > 0 {
			copyIndex(t, s, dir)
		}
		kept := l.copy()
		cut := sim.Cut(rnd.Uint64())
		now := l.copy()
		for id := range kept.stored { // a removal that began before the cut may have come through
			if _, ok := now.stored[id]; !ok {
				delete(kept.stored, id)
			}
		}
		err := <-done
		s.Close()
		if err != nil {
			return err
		}
		sim, l, n = cut, kept, stop
		cfg.FS, cfg.indexDir = sim, dir
		if s, err = Open(cfg); err != nil {
			return fmt.Errorf("after the cut: %w", err)
		}
		if err := l.verify(s); err != nil {
			return fmt.Errorf("after the cut: %w", err)
		}
	}
	defer s.Close()
	if err := busy(s, l, n, 20, seed); err != nil {
		return err
	}
	return l.verify(s)
}

// busy adds total articles from four goroutines, with groups and removals.
func busy(s *Spool, l *ledger, from, total int, seed uint64) error {
	for i := range 3 {
		if err := l.group(s, article.Group(fmt.Sprintf("g%d", i))); err != nil {
			return err
		}
	}
	var wg sync.WaitGroup
	errs := make(chan error, total*2+1)
	for w := range 4 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(w)))
			for i := w; i < total; i += 4 {
				n := from + i
				gs := []article.Group{article.Group(fmt.Sprintf("g%d", n%3))}
				if n%4 == 0 {
					gs = append(gs, article.Group(fmt.Sprintf("g%d", (n+1)%3)))
				}
				if err := l.add(s, n, gs...); err != nil && !errors.Is(err, spool.ErrDuplicate) {
					errs <- err
				}
				if rnd.IntN(15) == 0 {
					if err := l.remove(s, article.ID(fmt.Sprintf("<%d@test.example>", rnd.IntN(n+1)))); err != nil {
						errs <- err
					}
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// script is a fixed row of acts; what fails is passed over.
func script(s *Spool, l *ledger) (failed int) {
	count := func(err error) {
		if err != nil {
			failed++
		}
	}
	count(l.group(s, "g0"))
	count(l.group(s, "g1"))
	for n := range 30 {
		if l.groups["g0"] && l.groups["g1"] {
			count(l.add(s, n, "g0"))
			count(l.add(s, 100+n, "g1", "g0"))
			count(l.add(s, 200+n, "g1"))
		}
		if n%7 == 3 {
			count(l.remove(s, article.ID(fmt.Sprintf("<%d@test.example>", n-2))))
			count(l.group(s, article.Group(fmt.Sprintf("extra%d", n))))
		}
	}
	return failed
}

// TestFaults makes each operation of the disk fail in turn: what was acknowledged
// must be there at once, after opening again, and after a power cut.
func TestFaults(t *testing.T) {
	sim := disk.NewSim()
	s, err := Open(simConfig(t, sim))
	if err != nil {
		t.Fatal(err)
	}
	script(s, newLedger())
	s.Close()
	ops := sim.Ops()
	step, from := 17, 1+int(time.Now().Unix()%17) // a part of them each time: all take a minute
	if os.Getenv("LITFASS_TEST_ALL") != "" {
		step, from = 1, 1
	}
	for n := from; n <= ops; n += step {
		for _, fault := range []disk.Fault{disk.Fail, disk.Short} {
			for _, onward := range []bool{false, true} {
				if err := oneFault(t, n, fault, onward); err != nil {
					t.Fatalf("operation %d of %d, fault %d, onward %v: %v", n, ops, fault, onward, err)
				}
			}
		}
	}
}

func oneFault(t *testing.T, n int, fault disk.Fault, onward bool) error {
	sim, l := disk.NewSim(), newLedger()
	cfg := simConfig(t, sim)
	sim.Spoil(n, fault, onward)
	s, err := Open(cfg)
	if err != nil {
		sim.Spoil(0, 0, false)
		if s, err = Open(cfg); err != nil {
			return fmt.Errorf("open after a fault at the first opening: %w", err)
		}
	}
	failed := script(s, l)
	if !onward && failed > 2 {
		return fmt.Errorf("one fault made %d acts fail", failed)
	}
	sim.Spoil(0, 0, false)
	if err := l.verify(s); err != nil {
		return fmt.Errorf("while open: %w", err)
	}
	dir := t.TempDir()
	copyIndex(t, s, dir)
	cut := cfg
	cut.FS, cut.indexDir = sim.Cut(uint64(n)), dir
	s.Close()
	for what, c := range map[string]Config{"opened again": cfg, "after a power cut": cut} {
		s, err := Open(c)
		if err == nil {
			if err = l.verify(s); err == nil && l.groups["g0"] {
				err = l.add(s, 5000, "g0")
				delete(l.stored, "<5000@test.example>")
			}
			s.Close()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

// TestCutEverywhere cuts the newest segment at every octet.
func TestCutEverywhere(t *testing.T) {
	sim, l := disk.NewSim(), newLedger()
	cfg := simConfig(t, sim)
	cfg.SegmentSize = 1 << 20
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l.group(s, "g")
	for n := range 6 {
		if err := l.add(s, n*10, "g"); err != nil {
			t.Fatal(err)
		}
	}
	index := t.TempDir()
	if err := s.exclusive(context.Background(), s.flush); err != nil {
		t.Fatal(err)
	}
	copyIndex(t, s, index)
	tab := s.segs[0].viewNow().tab
	size := s.segs[0].size
	s.Close()
	step := int64(31)
	if os.Getenv("LITFASS_TEST_ALL") != "" {
		step = 1
	}
	for at := int64(segHeader); at < size; at += step {
		c := cfg
		cut := sim.Cut(1)
		c.FS = cut
		if at%2 == 0 {
			c.indexDir = t.TempDir() // no index
		} else {
			c.indexDir = index
		}
		cut.Corrupt("/spool/"+segName(1), func(b []byte) []byte { return b[:at] })
		s, err := Open(c)
		if err != nil {
			t.Fatalf("cut at %d: %v", at, err)
		}
		whole := 0
		for i := range tab {
			if i+1 < len(tab) && int64(tab[i+1].off) <= at {
				whole++
			}
		}
		if got := len(slices.Collect(keys(s, "g"))); got != whole {
			t.Fatalf("cut at %d of %d: %d articles, want %d", at, size, got, whole)
		}
		if err := sound(s); err != nil {
			t.Fatalf("cut at %d: %v", at, err)
		}
		s.Close()
	}
}

func keys(s *Spool, g article.Group) func(func(uint64) bool) {
	return func(yield func(uint64) bool) {
		for n, err := range s.Numbers(context.Background(), g, 0, 1<<62) {
			if err != nil || !yield(n) {
				return
			}
		}
	}
}
