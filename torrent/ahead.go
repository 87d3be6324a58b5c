package torrent

import (
	"crypto/sha256"
	"hash"
	"io"
	"os"
	"sync"
)

// ahead hashes a file while it arrives, as far as it is whole from its begin, so that
// little is left to hash when the last piece has come. What it reads has been checked
// by the pieces' SHA-1 before.
type ahead struct {
	mu sync.Mutex // held while a step is hashed
	w  hash.Hash  // of the first at octets; nil: ended
	at int64
}

const aheadStep = 1 << 20

func newAhead() *ahead { return &ahead{w: sha256.New()} }

// upTo hashes on from where it stands, in steps of 1 MiB, as long as to allows; an
// octet that cannot be read is left to the end of the download.
func (a *ahead) upTo(path string, to func() int64) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	buf := make([]byte, copyBlock)
	for a.step(f, buf, to) {
	}
}

func (a *ahead) step(f *os.File, buf []byte, to func() int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.w == nil || to()-a.at < aheadStep {
		return false
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{a.w}, io.NewSectionReader(f, a.at, aheadStep), buf)
	a.at += n
	return err == nil && n == aheadStep
}

// forget starts over: a piece below at is not here any more.
func (a *ahead) forget(off int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.w != nil && off < a.at {
		a.w.Reset()
		a.at = 0
	}
}

// end stops it and returns what it has; nil if it was ended before.
func (a *ahead) end() (w hash.Hash, at int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w, a.w = a.w, nil
	return w, a.at
}

// hashed takes over what was hashed of a torrent's file while it came, or begins.
func (s *Store) hashed(h Infohash, i int) (w hash.Hash, at int64) {
	if i == 0 {
		s.mu.Lock()
		a := s.ahead[h]
		s.mu.Unlock()
		if a != nil {
			w, at = a.end()
		}
	}
	if w == nil {
		return sha256.New(), 0
	}
	return w, at
}
