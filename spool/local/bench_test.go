package local

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/spooltest"
)

// benchDir is on the same disk as the test's temporary folder.
func benchSpool(b *testing.B, n int, cfg Config) *Spool {
	b.Helper()
	cfg.Dir = b.TempDir()
	s, err := Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	s.putGroupsBench()
	fill(b, s, 0, n, 128, 300)
	return s
}

func (s *Spool) putGroupsBench() {
	var infos []spool.GroupInfo
	for i := range 50 {
		infos = append(infos, spool.GroupInfo{Name: benchGroup(i)})
	}
	if err := s.PutGroups(context.Background(), infos...); err != nil {
		panic(err)
	}
}

func benchGroup(i int) article.Group { return article.Group(fmt.Sprintf("bench.group.%d", i%50)) }

// fill adds n articles with so many callers at once.
func fill(b testing.TB, s *Spool, from, n, callers, size int) {
	var next atomic.Int64
	next.Store(int64(from))
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= from+n {
					return
				}
				addBench(b, s, i, size)
			}
		})
	}
	wg.Wait()
}

func addBench(b testing.TB, s *Spool, i, size int) {
	gs := []article.Group{benchGroup(i)}
	if i%5 == 0 {
		gs = append(gs, benchGroup(i+1))
	}
	if _, err := s.Add(context.Background(), spooltest.Article(i, size, gs...), spool.Arrival{Groups: gs, At: time.Now(), Via: spool.Via{How: spool.Relayed, Peer: "p"}}); err != nil {
		b.Error(err)
	}
}

// BenchmarkAdd stores articles of 2.5 KB, durably, by 128 callers at once: two
// streams of window 64. The articles are made beforehand.
func BenchmarkAdd(b *testing.B) {
	s := benchSpool(b, 0, Config{})
	arts := make([]*article.Article, b.N)
	for i := range arts {
		arts[i] = spooltest.Article(i, 2500, benchGroup(i))
	}
	b.SetBytes(2500)
	b.ReportAllocs()
	b.ResetTimer()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 128 {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= b.N {
					return
				}
				if _, err := s.Add(context.Background(), arts[i], spool.Arrival{Groups: []article.Group{benchGroup(i)}, At: time.Now()}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "articles/s")
}

// BenchmarkAddAlone is one caller: one sync per article.
func BenchmarkAddAlone(b *testing.B) {
	s := benchSpool(b, 0, Config{})
	for i := 0; b.Loop(); i++ {
		addBench(b, s, i, 2500)
	}
}

func BenchmarkLookup(b *testing.B) {
	const n = 1_000_000
	s := benchSpool(b, 0, Config{})
	for at := 0; at < n; at += 1 << 15 { // ids alone: history does not care for articles
		err := s.exclusive(context.Background(), func() error {
			s.mu.Lock()
			for i := at; i < min(n, at+1<<15); i++ {
				s.live.ids[article.ID(fmt.Sprintf("<%d@test.example>", i)).Hash()] = known{seq: spool.Seq(i + 1), until: 1 << 31}
			}
			s.mu.Unlock()
			return s.flush()
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	for _, what := range []string{"known", "unknown"} {
		b.Run(what, func(b *testing.B) {
			ids := make([]article.ID, 1<<16)
			for i := range ids {
				ids[i] = article.ID(fmt.Sprintf("<%d@%s.example>", i*15, strings.Replace(what, "known", "test", 1)))
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := s.Lookup(context.Background(), ids[i%len(ids)]); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ids/s")
		})
	}
}

func BenchmarkRead(b *testing.B) {
	ctx := context.Background()
	s := benchSpool(b, 100_000, Config{})
	s.exclusive(ctx, s.flush)
	g := benchGroup(3)
	b.Run("Range100", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			lo := uint64(i%1000 + 1)
			for _, err := range s.Range(ctx, g, lo, lo+99) {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("Numbers2000", func(b *testing.B) {
		for b.Loop() {
			for _, err := range s.Numbers(ctx, g, 1, 2000) {
				if err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("ByNumber+Open", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			e, err := s.ByNumber(ctx, spool.Place{Group: g, Number: uint64(i*7%2000 + 1)})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := s.Open(ctx, e.Seq); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Since", func(b *testing.B) {
		n := 0
		for b.Loop() {
			for _, err := range s.Since(ctx, s.Last()-10_000) {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "articles/s")
	})
}

// BenchmarkReopen opens a spool of 100,000 articles that was not closed: with its
// last checkpoint, and without index.
func BenchmarkReopen(b *testing.B) {
	s := benchSpool(b, 100_000, Config{})
	cfg := s.cfg
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("index", func(b *testing.B) {
		for b.Loop() {
			s, err := Open(cfg)
			if err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			s.Close()
			b.StartTimer()
		}
	})
	b.Run("rebuild", func(b *testing.B) {
		for b.Loop() {
			if _, err := Reindex(cfg); err != nil {
				b.Fatal(err)
			}
		}
	})
}
