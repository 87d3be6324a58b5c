package torrent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
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
	if err := s.fileBlob(sum, tmp); err != nil {
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

// inChild fills a store with n torrents and measures, in a process of its own that
// only opens it, what it takes to have them, active of them in the engine.
func inChild(b *testing.B, n, active int) {
	for b.Loop() {
		s, _ := many(b, n)
		if err := s.db.Close(); err != nil {
			b.Fatal(err)
		}
		c := exec.Command(os.Args[0], "-test.run=^TestMemoryChild$", "-test.v")
		c.Env = append(os.Environ(), "LITFASS_MEMORY_DIR="+s.cfg.Dir, fmt.Sprintf("LITFASS_MEMORY_ACTIVE=%d", active))
		out, err := c.CombinedOutput()
		if err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		_, rest, _ := strings.Cut(string(out), "RSS ")
		rss, err := strconv.ParseInt(strings.Fields(rest + " x")[0], 10, 64)
		if err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		b.ReportMetric(float64(rss)/(1<<20), "RSS-MiB")
	}
}

// TestMemoryChild is the process that inChild starts.
func TestMemoryChild(t *testing.T) {
	dir := os.Getenv("LITFASS_MEMORY_DIR")
	if dir == "" {
		t.Skip("only as a child of a benchmark")
	}
	db, err := state.Open(filepath.Join(filepath.Dir(dir), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s, err := Open(db, Config{Dir: dir, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	active, _ := strconv.Atoi(os.Getenv("LITFASS_MEMORY_ACTIVE"))
	e := newEngine(t, s, func(c *EngineConfig) { c.Active = max(active, 1) })
	for _, r := range s.List()[:active] {
		e.wake(r.Hash)
	}
	if e.ActiveCount() != active {
		t.Fatal(e.ActiveCount())
	}
	debug.FreeOSMemory() // as the node does when it rests
	fmt.Printf("RSS %d\n", resident())
	runtime.KeepAlive(s)
}

// BenchmarkLazy is the memory of 10,000 torrents that nobody asks for.
func BenchmarkLazy(b *testing.B) { inChild(b, 10000, 0) }

// BenchmarkActive is the memory of 1,000 torrents in the engine.
func BenchmarkActive(b *testing.B) { inChild(b, 1000, 1000) }

// BenchmarkEmpty is the memory of the same process without torrents.
func BenchmarkEmpty(b *testing.B) { inChild(b, 1, 0) }

// BenchmarkAdd stores files of 64 MiB through the disk, sync included.
func BenchmarkAdd(b *testing.B) {
	s := newStore(b, nil)
	data := content(64 << 20)
	b.SetBytes(int64(len(data)))
	for n := 0; b.Loop(); n++ {
		data[0], data[1] = byte(n), byte(n>>8)
		in, _, err := s.Add(b.Context(), bytes.NewReader(data), int64(len(data)), "a.bin", Owner{}, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := s.Remove(in.Hash); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
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
