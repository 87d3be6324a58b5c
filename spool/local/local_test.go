package local

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/litfass/litfass/internal/disk"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/spooltest"
)

func open(t testing.TB, cfg Config) *Spool {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestContract(t *testing.T) {
	for name, cfg := range map[string]Config{
		"default":    {},
		"small tail": {TailMax: 16, SegmentSize: 64 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			spooltest.Run(t, func() spool.Store {
				c := cfg
				c.Dir = t.TempDir()
				return open(t, c)
			})
		})
	}
}

// TestRandom compares with the model while the spool is closed and opened again:
// as it is, without its index, with an old index, with a meta log written anew.
func TestRandom(t *testing.T) {
	for seed := range uint64(6) {
		cfg := Config{Dir: t.TempDir(), TailMax: 32, SegmentSize: 16 << 10, noSync: true}
		if seed > 1 {
			cfg.FS = disk.NewSim() // faster
		}
		if seed%3 == 2 {
			cfg.TailMax = 4096
		}
		rnd := rand.New(rand.NewPCG(seed, 3))
		index := filepath.Join(cfg.Dir, indexName)
		var old []byte
		spooltest.Random(t, seed, 400, open(t, cfg), func(s spool.Store) spool.Store {
			if rnd.IntN(4) == 0 {
				l := s.(*Spool)
				if err := l.exclusive(context.Background(), l.rewriteMeta); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			switch rnd.IntN(4) {
			case 0:
				os.Remove(index)
			case 1:
				if old != nil {
					os.WriteFile(index, old, 0o600)
				}
			case 2:
				old, _ = os.ReadFile(index)
			}
			n := open(t, cfg)
			if r, err := n.Check(context.Background(), nil); err != nil || len(r.Problems) > 0 {
				t.Fatalf("seed %d: check: %v %q", seed, err, r.Problems)
			}
			return n
		})
	}
}
