package torrent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func add(t *testing.T, s *Store, name string, b []byte, o Owner) (*Info, Sum) {
	t.Helper()
	in, sum, err := s.Add(context.Background(), bytes.NewReader(b), int64(len(b)), name, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return in, sum
}

func countFiles(t *testing.T, s *Store) (n int) {
	t.Helper()
	err := filepath.WalkDir(s.cfg.Dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestBytesOnce(t *testing.T) {
	s := newStore(t, nil)
	a, sum := add(t, s, "a.txt", []byte("hello"), Owner{})
	b, _ := add(t, s, "b.txt", []byte("hello"), Owner{})
	if used, _ := s.Usage(); countFiles(t, s) != 1 || used != 5 || a.Hash == b.Hash {
		t.Fatalf("%d files, %d octets", countFiles(t, s), used)
	}
	if err := s.Remove(a.Hash); err != nil || countFiles(t, s) != 1 {
		t.Fatalf("the other name still points there: %v", err)
	}
	again, err := Open(s.db, s.cfg)
	if err != nil || !again.Has(b.Hash) || again.Has(a.Hash) {
		t.Fatalf("opened again: %v", err)
	}
	f, err := again.OpenFile(b.Hash, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(f); string(got) != "hello" {
		t.Errorf("got %q", got)
	}
	f.Close()
	if err := again.Deny(sum.String(), "spam"); err != nil || countFiles(t, s) != 0 {
		t.Errorf("denied: %v, %d files", err, countFiles(t, s))
	}
	if _, _, err := again.Add(context.Background(), strings.NewReader("hello"), 5, "c.txt", Owner{}, nil); !errors.Is(err, ErrDenied) {
		t.Errorf("denied octets: %v", err)
	}
	if used, _ := again.Usage(); used != 0 || countFiles(t, s) != 0 {
		t.Errorf("%d octets in %d files are left", used, countFiles(t, s))
	}
}

func TestQuota(t *testing.T) {
	s := newStore(t, func(c *Config) { c.Quota = 100; c.GroupQuota = 60 })
	old, _ := add(t, s, "old", make([]byte, 40), Owner{Class: Cache, Group: "x"})
	add(t, s, "own", bytes.Repeat([]byte{1}, 50), Owner{Group: "a.b"})
	ctx := context.Background()
	if _, _, err := s.Add(ctx, strings.NewReader(strings.Repeat("y", 20)), 20, "g", Owner{Group: "a.b"}, nil); !errors.Is(err, ErrQuota) || !strings.Contains(err.Error(), "50 of 60") {
		t.Errorf("over the group's quota: %v", err)
	}
	if _, _, err := s.Add(ctx, strings.NewReader(strings.Repeat("y", 60)), 60, "n", Owner{}, nil); !errors.Is(err, ErrQuota) {
		t.Errorf("over the node's quota: %v", err)
	}
	add(t, s, "next", bytes.Repeat([]byte{2}, 45), Owner{})
	if s.Has(old.Hash) {
		t.Error("the cache did not make room")
	}
	if _, _, err := s.Add(ctx, strings.NewReader(strings.Repeat("z", 60)), -1, "n", Owner{}, nil); !errors.Is(err, ErrQuota) {
		t.Errorf("unknown length over the quota: %v", err)
	}
	if used, _ := s.Usage(); used != 95 || countFiles(t, s) != 2 {
		t.Errorf("%d octets in %d files", used, countFiles(t, s))
	}
	if _, _, err := s.Add(ctx, strings.NewReader("abc"), 4, "short", Owner{}, nil); err == nil {
		t.Error("fewer octets than promised were taken")
	}
}

func TestReferencesAndGrace(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := newStore(t, func(c *Config) { c.Now = func() time.Time { return now } })
	in, sum := add(t, s, "a", []byte("hello"), Owner{})
	ctx := context.Background()
	live := map[string]bool{"<1@x>": true, "<2@x>": true}
	ask := func(_ context.Context, id string) (bool, error) { return live[id], nil }
	a := NewAttachment(in, sum, "")
	for _, id := range []string{"<1@x>", "<2@x>", "<1@x>"} {
		if err := s.Refer(Reference{id, sum}, a, "g"); err != nil {
			t.Fatal(err)
		}
	}
	step := func(d time.Duration, refs int, class Class, here bool) {
		t.Helper()
		now = now.Add(d)
		if err := s.Sweep(ctx, ask); err != nil {
			t.Fatal(err)
		}
		r, err := s.Record(in.Hash)
		if (err == nil) != here || here && (r.Refs != refs || r.Class != class) {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	step(100*24*time.Hour, 2, Own, true)
	delete(live, "<1@x>")
	step(time.Hour, 1, Own, true)
	delete(live, "<2@x>")
	step(time.Hour, 0, Cache, true)
	step(6*24*time.Hour, 0, Cache, true)
	step(2*24*time.Hour, 0, Cache, false)
	if countFiles(t, s) != 0 {
		t.Error("the octets are still there")
	}
	in, sum = add(t, s, "b", []byte("pinned"), Owner{Pinned: true})
	if err := s.Refer(Reference{"<3@x>", sum}, NewAttachment(in, sum, ""), "g"); err != nil {
		t.Fatal(err)
	}
	step(time.Hour, 0, Own, true)
	step(1000*24*time.Hour, 0, Own, true)
}

// TestLengthOfKnown: what a magnet link says of a torrent's size yields to a later one's,
// to an article, and to the metadata; two articles that differ leave it to the metadata.
func TestLengthOfKnown(t *testing.T) {
	t.Parallel()
	s := newStore(t, func(c *Config) { c.MaxAuto = 4 })
	in, sum, err := BuildInfo(strings.NewReader("hello"), 5, "hello.txt")
	if err != nil {
		t.Fatal(err)
	}
	length := func(want int64) {
		t.Helper()
		if r, err := s.Record(in.Hash); err != nil || r.Length != want {
			t.Errorf("%d octets, not %d, %v", r.Length, want, err)
		}
	}
	for _, step := range []struct{ said, want int64 }{{-1, 0}, {7, 7}, {8, 8}, {-1, 8}} {
		if err := s.Note(Magnet{Hash: in.Hash, Length: step.said}); err != nil {
			t.Fatal(err)
		}
		length(step.want)
	}
	a := NewAttachment(in, sum, "")
	a.Length = 9
	if err := s.Refer(Reference{"<liar@x>", Sum{1}}, a, "a.b"); err != nil {
		t.Fatal(err)
	}
	length(9)
	if err := s.begin(in, Cache); !errors.Is(err, ErrMetadata) {
		t.Errorf("against the only article: %v", err)
	}
	a.Length = 5
	if err := s.Refer(Reference{"<true@x>", sum}, a, "a.b"); err != nil {
		t.Fatal(err)
	}
	length(0)
	if err := s.begin(in, Mirror); !errors.Is(err, ErrQuota) {
		t.Errorf("unasked, over torrent.max_auto: %v", err)
	}
	if err := s.begin(in, Cache); err != nil {
		t.Error(err)
	}
	length(5)
}
