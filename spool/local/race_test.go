package local

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/disk"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/spooltest"
)

// TestReadersAndWriters reads all the time while articles come, go, expire and
// move: what is listed and was not removed can be read, and nothing leaks.
func TestReadersAndWriters(t *testing.T) {
	defer goleak.VerifyNone(t)
	cfg := simConfig(t, disk.NewSim())
	cfg.TailMax, cfg.SegmentSize = 64, 24<<10
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	gs := []article.Group{"keep", "go", "drop"}
	for _, g := range gs {
		if err := s.PutGroups(ctx, spool.GroupInfo{Name: g}); err != nil {
			t.Fatal(err)
		}
	}
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := readAll(ctx, s); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for w := range 3 {
		writers.Go(func() {
			for i := range 250 {
				n := w*1000 + i
				in := spool.Arrival{Groups: []article.Group{gs[n%2], gs[2]}, At: time.Now(), Via: spool.Via{How: spool.Relayed}}
				if n%5 == 0 {
					in.Groups = gs[:1]
				}
				e, err := s.Add(ctx, spooltest.Article(n, 300, in.Groups...), in)
				if errors.Is(err, spool.ErrNotFound) {
					continue // the group is gone for a moment
				} else if err != nil {
					t.Error(err)
					return
				}
				if n%2 == 1 && n%3 == 0 && n%5 != 0 {
					if err := s.Remove(ctx, e.Seq, nil, time.Now().Add(time.Hour)); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for i := range 6 {
		if _, err := s.Expire(ctx); err != nil {
			t.Error(err)
		}
		if i%2 == 1 {
			if err := s.DropGroup(ctx, "drop"); err != nil {
				t.Error(err)
			}
			if err := s.PutGroups(ctx, spool.GroupInfo{Name: "drop"}); err != nil {
				t.Error(err)
			}
		}
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	if err := sound(s); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// readAll reads what the group "keep" lists: its articles are never removed.
func readAll(ctx context.Context, s *Spool) error {
	last := uint64(0)
	for e, err := range s.Range(ctx, "keep", 0, 1<<62) {
		if err != nil {
			return err
		}
		if n := e.Places[0].Number; n != last+1 {
			return fmt.Errorf("number %d after %d", n, last)
		}
		last++
		a, err := s.Open(ctx, e.Seq)
		if err != nil || a.ID() != e.ID {
			return fmt.Errorf("listed, but not readable: %w", err)
		}
		if got, err := s.ByNumber(ctx, e.Places[0]); err != nil || got.Seq != e.Seq {
			return fmt.Errorf("by number %d: %w", last, err)
		}
		if st, err := s.Lookup(ctx, e.ID); st != spool.Stored || err != nil {
			return fmt.Errorf("history of %s: %v %w", e.ID, st, err)
		}
	}
	var seen spool.Seq
	for e, err := range s.Since(ctx, 0) {
		if err != nil {
			return err
		}
		if e.Seq <= seen {
			return fmt.Errorf("seq %d after %d", e.Seq, seen)
		}
		seen = e.Seq
	}
	s.Stats()
	return nil
}
