package disk

import (
	"bytes"
	"errors"
	"path/filepath"
	"syscall"
	"testing"
)

// both runs a test on the real disk and on the simulated one.
func both(t *testing.T, run func(t *testing.T, d FS, dir string)) {
	t.Run("os", func(t *testing.T) { run(t, OS{}, t.TempDir()) })
	t.Run("sim", func(t *testing.T) { run(t, NewSim(), "/d") })
}

func TestFS(t *testing.T) {
	both(t, func(t *testing.T, d FS, dir string) {
		name := filepath.Join(dir, "a")
		if _, err := d.Open(name, false); err == nil {
			t.Fatal("opened what is not there")
		}
		f, err := d.Open(name, true)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte("hello world"), 2); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Sync(), f.Truncate(7), d.Rename(name, name+"b"), d.SyncDir(dir)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 20)
		n, _ := f.ReadAt(got, 0)
		size, _ := f.Size()
		names, err := d.ReadDir(dir)
		if string(got[:n]) != "\x00\x00hello" || size != 7 || len(names) != 1 || names[0] != "ab" || err != nil {
			t.Fatalf("%q %d %v %v", got[:n], size, names, err)
		}
		l, err := d.Lock(filepath.Join(dir, "lock"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Lock(filepath.Join(dir, "lock")); !errors.Is(err, ErrLocked) {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if free, err := d.Free(dir); free < 1 || err != nil {
			t.Fatal(free, err)
		}
		if err := d.Remove(name + "b"); err != nil {
			t.Fatal(err)
		}
	})
}

func TestCut(t *testing.T) {
	s := NewSim()
	f, _ := s.Open("/d/a", true)
	f.WriteAt(bytes.Repeat([]byte("x"), 2000), 0)
	f.Sync()
	lost := 0
	for seed := range uint64(20) { // synced, but its name is not
		if _, err := s.Cut(seed).Open("/d/a", false); err != nil {
			lost++
		}
	}
	if lost == 0 || lost == 20 {
		t.Errorf("name without SyncDir lost %d of 20 times", lost)
	}
	s.SyncDir("/d")
	f.WriteAt(bytes.Repeat([]byte("y"), 3000), 2000)
	forms := map[string]bool{}
	for seed := range uint64(40) {
		g, err := s.Cut(seed).Open("/d/a", false)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 5000)
		n, _ := g.ReadAt(got, 0)
		if n < 2000 || !bytes.Equal(got[:2000], bytes.Repeat([]byte("x"), 2000)) {
			t.Fatal("synced data lost")
		}
		forms[string(got[:n])] = true
	}
	if len(forms) < 5 {
		t.Errorf("unsynced data survives in %d forms only", len(forms))
	}
}

func TestSpoil(t *testing.T) {
	s := NewSim()
	f, _ := s.Open("/d/a", true)
	s.Spoil(2, Short, false)
	f.WriteAt([]byte("1234"), 0)
	n, err := f.WriteAt([]byte("5678"), 4)
	if size, _ := f.Size(); n != 2 || !errors.Is(err, ErrInjected) || size != 6 {
		t.Fatal(n, err, size)
	}
	s.Spoil(1, Fail, false)
	if err := f.Sync(); !errors.Is(err, ErrInjected) {
		t.Fatal(err)
	}
	f.Sync()
	s.SyncDir("/d")
	g, _ := s.Cut(1).Open("/d/a", false)
	if size, _ := g.Size(); size != 0 {
		t.Error("a failed sync must lose what came before it, found", size)
	}
	s.SetRoom(10)
	if n, err := f.WriteAt(make([]byte, 100), 0); n != 10 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(n, err)
	}
}
