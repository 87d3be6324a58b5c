package torrent

import (
	"crypto/sha256"
	"hash"
	"os"
	"path/filepath"
	"testing"
)

// TestAhead: what is hashed while a file arrives is what is there, also after a piece
// was lost again; the rest is for who takes over, once.
func TestAhead(t *testing.T) {
	t.Parallel()
	data := content(5<<20 + 7)
	file := filepath.Join(t.TempDir(), "0")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s := newStore(t, nil)
	a := newAhead()
	s.ahead[Infohash{1}] = a
	here := int64(3<<20 + 5)
	upTo := func() { a.upTo(file, func() int64 { return here }) }
	upTo()
	if a.at != 3<<20 {
		t.Fatalf("hashed %d octets of the %d that are here", a.at, here)
	}
	a.forget(3 << 20)
	if a.at != 3<<20 {
		t.Error("a piece behind what was hashed cost it")
	}
	data[0] ^= 1
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	a.forget(0)
	here = int64(len(data))
	upTo()
	if _, at := s.hashed(Infohash{1}, 1); at != 0 {
		t.Error("the second file took over the first one's")
	}
	w, at := s.hashed(Infohash{1}, 0)
	if at != 5<<20 || sumOf(w, data[at:]) != Sum(sha256.Sum256(data)) {
		t.Errorf("another file's sum, from %d on", at)
	}
	upTo()
	a.forget(0)
	if w, at := s.hashed(Infohash{1}, 0); at != 0 || sumOf(w, data) != Sum(sha256.Sum256(data)) {
		t.Error("taken over twice")
	}
}

func sumOf(w hash.Hash, rest []byte) Sum {
	w.Write(rest)
	return Sum(w.Sum(nil))
}
