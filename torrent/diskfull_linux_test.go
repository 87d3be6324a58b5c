package torrent

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestDiskFullForReal is TestDiskFullInTheMiddle on a small file system: something
// else fills it while the download runs. The engine's library once asked for the
// same block for ever then (its #889).
func TestDiskFullForReal(t *testing.T) {
	t.Parallel()
	small := t.TempDir()
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("a small file system cannot be mounted here (run as root): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(small, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	seed := newStore(t, nil)
	data := content(12 << 20)
	in, sum := add(t, seed, "a.bin", data, Owner{})
	from := newEngine(t, seed, func(c *EngineConfig) { c.Up = 6 << 20 })
	to := newStore(t, func(c *Config) { c.Dir = filepath.Join(small, "torrents") })
	refer(t, to, NewAttachment(in, sum, ""))
	other, _ := add(t, to, "b.bin", []byte("still served"), Owner{})
	e := newEngine(t, to, func(c *EngineConfig) { c.Peers = peersAt(from) })
	ctx := ctxFor(t)
	f, err := e.OpenFile(ctx, in.Hash, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Read(make([]byte, 1)); err != nil { // it runs
		t.Fatal(err)
	}
	f.Close()
	ballast := filepath.Join(small, "ballast")
	if err := fill(ballast); err != nil {
		t.Fatal(err)
	}
	err = e.Fetch(ctx, in.Hash, Cache)
	if !errors.Is(err, syscall.ENOSPC) || !errors.Is(err, ErrQuota) {
		t.Fatalf("got %v", err)
	}
	stats := from.cl.Stats()
	asked := stats.BytesWrittenData.Int64()
	if e.ActiveCount() != 0 || asked > int64(len(data))*2 {
		t.Errorf("%d active, %d octets were asked for", e.ActiveCount(), asked)
	}
	checkContent(t, to, other.Hash, []byte("still served"))
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	fast := newEngine(t, seed, nil)
	e.cfg.Peers = peersAt(fast)
	if err := e.Fetch(ctx, in.Hash, Cache); err != nil {
		t.Fatal(err)
	}
	checkContent(t, to, in.Hash, data)
}

// fill writes a file until the disk is full.
func fill(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 64<<10)
	for begin := time.Now(); time.Since(begin) < 10*time.Second; {
		if _, err := f.Write(b); errors.Is(err, syscall.ENOSPC) {
			if len(b) == 1 {
				return nil
			}
			b = b[:len(b)/2]
		} else if err != nil {
			return err
		}
	}
	return errors.New("the disk does not get full")
}
