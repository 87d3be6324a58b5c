package pki

import (
	"encoding/binary"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/litfass/litfass/internal/state"
)

// townID is a made-up identity of the big directory below.
func townID(i int) (id ID) {
	binary.BigEndian.PutUint64(id[24:], uint64(i))
	copy(id[:], BodyHash(id[24:]).bytes8())
	return id
}

func (d Digest) bytes8() []byte { return d[:24] }

// town writes the derived records of 100,000 identities and 200,000 arrows: a tree
// of introducers ten wide, and as many arrows across it.
func town(t testing.TB, db *state.DB) {
	t.Helper()
	const n = 100_000
	arrow := func(from, to int, depth uint64) counting {
		return counting{Statement: &Statement{Purpose: "post", Subject: townID(to).Subject(), Scope: "mesh.*", Depth: depth,
			From: 1_800_000_000, Until: 1_834_000_000}}
	}
	out := make(map[int][]counting, n)
	for i := 1; i < n; i++ {
		out[i/10] = append(out[i/10], arrow(i/10, i, 8))
		out[(i*7919)%n] = append(out[(i*7919)%n], arrow(0, i, 1))
	}
	for from := 0; from < n; from += 5000 {
		err := db.Update(func(tx *state.Tx) error {
			for i := from; i < from+5000; i++ {
				id := townID(i)
				d := derived{key: Key(id), status: Live, arrows: out[i]}
				if err := tx.Put(bState, string(id[:]), d.bytes()); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	l := &Ledger{db: db, g: newGraph(), changed: make(chan struct{})}
	if err := l.Trust(Anchor{ID: townID(0), Purpose: "post", Scope: "*", Depth: 9}); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkTown measures 100,000 identities and 200,000 arrows: start-up, heap,
// all rights for one purpose, the right of one subject.
func BenchmarkTown(b *testing.B) {
	db, err := state.Open(filepath.Join(b.TempDir(), "pki.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	town(b, db)
	clk := &clock{1_800_000_100}
	var l *Ledger
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			l = nil
			before := heap()
			if l, err = Open(db, clk.now); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(heap()-before)/(1<<20), "MiB-heap")
		}
	})
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			l.mu.RLock()
			best := l.g.query(l.anchors, "post", "mesh.talk", clk.t, clk.t).all()
			l.mu.RUnlock()
			if n := count(best); n < 90_000 {
				b.Fatal(n)
			}
		}
	})
	b.Run("one", func(b *testing.B) {
		i := 0
		for b.Loop() {
			i = (i + 7919) % 100_000
			if _, ok := l.Left(townID(i).Subject(), "post", "mesh.talk", clk.now()); !ok {
				b.Fatal(i)
			}
		}
	})
}

func count(best []int8) (n int) {
	for _, l := range best {
		if l >= 0 {
			n++
		}
	}
	return n
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkApply takes statements in, as from a snapshot: parse, verify, derive, write.
func BenchmarkApply(b *testing.B) {
	clk := &clock{1_800_000_100}
	l := testLedger(b, clk)
	var list []*Statement
	for i := range 2000 {
		next := Digest{byte(i), byte(i >> 8)}
		s, err := Make(Statement{Type: TypeIncept, Time: 1_800_000_000, Key: KeyOf(testKey("b")), Next: &next}, testKey("b"))
		if err != nil {
			b.Fatal(err)
		}
		list = append(list, s)
	}
	start := time.Now()
	b.ResetTimer()
	for range b.N {
		if _, err := l.Apply("", list); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(time.Since(start).Microseconds())/float64(len(list)*b.N), "us/statement")
}
