package local

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// TestFilterRate: what was added is never said to be absent, and few others ask the index.
func TestFilterRate(t *testing.T) {
	const ids = 100_000
	f := newFilter(ids)
	for i := range ids {
		f.add(article.ID(string(rune(i)) + "@in").Hash())
	}
	wrong := 0
	for i := range ids {
		if !f.perhaps(article.ID(string(rune(i)) + "@in").Hash()) {
			t.Fatal("what is in is said to be absent")
		}
		if f.perhaps(article.ID(string(rune(i)) + "@out").Hash()) {
			wrong++
		}
	}
	if wrong > ids/100 {
		t.Errorf("%d of %d unknown ids ask the index, over one percent", wrong, ids)
	}
	if !filter(nil).perhaps(hash{}) {
		t.Error("a missing filter must mean: ask the index")
	}
}

// TestOldFilters: filters that an earlier version laid out otherwise are thrown away
// and made anew; to believe one would be to take every article a second time.
func TestOldFilters(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	s := open(t, cfg)
	if err := s.PutGroups(context.Background(), spool.GroupInfo{Name: "mesh.test", Status: spool.PostOpen}); err != nil {
		t.Fatal(err)
	}
	e, err := put(t, s, 1, time.Time{}, "mesh.test")
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	index := filepath.Join(cfg.Dir, indexName)
	edit(t, index, func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket(bktOldFilter)
		if err != nil {
			return err
		}
		err = tx.Bucket(bktFilter).ForEach(func(k, v []byte) error {
			return b.Put(k, append(v[:4:4], make([]byte, len(v)-4)...)) // nothing is in it
		})
		return errors.Join(err, tx.DeleteBucket(bktFilter))
	})
	s = open(t, cfg)
	if st, err := s.Lookup(context.Background(), e.ID); err != nil || st != spool.Stored {
		t.Errorf("the article is %v, %v", st, err)
	}
	if f := s.shards[0].filt; f == nil || !f.perhaps(e.ID.Hash()) {
		t.Error("its filter is not made anew")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, index, func(tx *bolt.Tx) error {
		if tx.Bucket(bktOldFilter) != nil {
			t.Error("the old filters are still there")
		}
		return nil
	})
}

// edit changes an index that is not open.
func edit(t *testing.T, index string, fn func(*bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(index, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(fn); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkFilters asks the filters of ten million ids, newest first, as History does.
func BenchmarkFilters(b *testing.B) {
	const ids = 10_000_000
	rnd := rand.New(rand.NewPCG(1, 2))
	random := func() (h hash) {
		binary.LittleEndian.PutUint64(h[:], rnd.Uint64())
		binary.LittleEndian.PutUint64(h[8:], rnd.Uint64())
		return h
	}
	var filters []filter
	var some []hash
	for total := 0; total < ids; {
		n := min(max(shardMin, total/4), shardMax)
		f := newFilter(n)
		for i := range n {
			h := random()
			if f.add(h); i%100 == 0 {
				some = append(some, h)
			}
		}
		filters, total = append(filters, f), total+n
	}
	rnd.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	for name, next := range map[string]func(int) hash{
		"known":   func(i int) hash { return some[i%len(some)] },
		"unknown": func(int) hash { return random() },
	} {
		b.Run(name, func(b *testing.B) {
			asked := 0
			for i := 0; b.Loop(); i++ {
				h := next(i)
				for k := len(filters) - 1; k >= 0; k-- {
					if filters[k].perhaps(h) {
						asked++
					}
				}
			}
			b.ReportMetric(float64(asked)/float64(b.N), "shards/op")
		})
	}
}
