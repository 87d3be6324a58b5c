package torrent

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/internal/state"
)

// resident is the process's resident memory in octets: Linux only, else 0.
func resident() int64 {
	b, _ := os.ReadFile("/proc/self/statm")
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	n, _ := strconv.ParseInt(f[1], 10, 64)
	return n * int64(os.Getpagesize())
}

// many fills a store's index with n torrents of one file each that all point to
// one small file: what a node looks like after a start.
func many(b *testing.B, n int) (*Store, []Infohash) {
	s := newStore(b, nil)
	data := content(1 << 20)
	h := NewHasher(int64(len(data)))
	_, _ = h.Write(data)
	first, sum, err := h.Finish("0.bin")
	if err != nil {
		b.Fatal(err)
	}
	tmp := s.cfg.Dir + "/tmp/x"
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		b.Fatal(err)
	}
	if err := s.fileBlob(sum, tmp, first.Length); err != nil {
		b.Fatal(err)
	}
	d, _, _ := parseBencode(first.Raw)
	pieces, _ := d.get("pieces", 's')
	var all []Infohash
	err = s.db.Update(func(tx *state.Tx) error {
		for i := range n {
			raw := singleInfo(fmt.Sprintf("file-%d.bin", i), first.Length, first.PieceLength, pieces.str)
			in, err := ParseInfo(raw, Limits{})
			if err != nil {
				return err
			}
			all = append(all, in.Hash)
			row, _ := json.Marshal(Record{Name: in.Name, Length: in.Length, State: Verified, Class: Mirror, Added: 1})
			if err := tx.Put(bRecord, in.Hash.String(), row); err != nil {
				return err
			}
			if err := s.filing(in, []Sum{sum})(tx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	again, err := Open(s.db, s.cfg)
	if err != nil {
		b.Fatal(err)
	}
	return again, all
}

func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

// BenchmarkLazy is the memory of 10,000 torrents that nobody asks for.
func BenchmarkLazy(b *testing.B) {
	for b.Loop() {
		s, _ := many(b, 10000)
		e := newEngine(b, s, nil)
		b.ReportMetric(heap(), "heap-MiB")
		b.ReportMetric(float64(resident())/(1<<20), "RSS-MiB")
		e.Close()
		runtime.KeepAlive(s)
	}
}

// BenchmarkActive is the memory of 1,000 torrents in the engine.
func BenchmarkActive(b *testing.B) {
	for b.Loop() {
		s, all := many(b, 1000)
		e := newEngine(b, s, func(c *EngineConfig) { c.Active = 1000 })
		before := heap()
		for _, h := range all {
			e.wake(h)
		}
		if e.ActiveCount() != 1000 {
			b.Fatal(e.ActiveCount())
		}
		b.ReportMetric(heap()-before, "added-heap-MiB")
		b.ReportMetric(float64(resident())/(1<<20), "RSS-MiB")
		b.ReportMetric(float64(runtime.NumGoroutine()), "goroutines")
		e.Close()
	}
}

// BenchmarkNodeToNode fetches 200 MiB from one engine into another, both in this
// process, SHA-256 check and sync to the disk included.
func BenchmarkNodeToNode(b *testing.B) {
	const size = 200 << 20
	seed := newStore(b, nil)
	data := content(size)
	in, sum, err := seed.Add(b.Context(), strings.NewReader(string(data)), size, "a.bin", Owner{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	from := newEngine(b, seed, nil)
	b.SetBytes(size)
	for b.Loop() {
		to := newStore(b, nil)
		refer(b, to, NewAttachment(in, sum, ""))
		e := newEngine(b, to, func(c *EngineConfig) { c.Peers = peersAt(from) })
		if err := e.Fetch(ctxFor(b), in.Hash, Cache); err != nil {
			b.Fatal(err)
		}
		e.Close()
	}
}

// BenchmarkFirstOctet is the time from a magnet with a neighbour to its first octet.
func BenchmarkFirstOctet(b *testing.B) {
	seed := newStore(b, nil)
	data := content(8 << 20)
	in, sum, err := seed.Add(b.Context(), strings.NewReader(string(data)), int64(len(data)), "a.bin", Owner{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	from := newEngine(b, seed, nil)
	var first, ranged time.Duration
	n := 0
	for b.Loop() {
		to := newStore(b, nil)
		refer(b, to, NewAttachment(in, sum, ""))
		e := newEngine(b, to, func(c *EngineConfig) { c.Peers = peersAt(from) })
		begin := time.Now()
		f, err := e.OpenFile(ctxFor(b), in.Hash, 0)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := f.Read(make([]byte, 1)); err != nil {
			b.Fatal(err)
		}
		first += time.Since(begin)
		begin = time.Now()
		if _, err := f.Seek(5<<20, 0); err != nil {
			b.Fatal(err)
		}
		for buf, left := make([]byte, 64<<10), 1<<20; left > 0; {
			k, err := f.Read(buf)
			if err != nil {
				b.Fatal(err)
			}
			left -= k
		}
		ranged += time.Since(begin)
		n++
		f.Close()
		e.Close()
	}
	b.ReportMetric(float64(first.Milliseconds())/float64(n), "first-ms")
	b.ReportMetric(float64(ranged.Milliseconds())/float64(n), "range-1MB-ms")
}
