package torrent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/anacrolix/torrent/metainfo"
	"github.com/anacrolix/torrent/storage"

	"github.com/litfass/litfass/internal/state"
)

// pieceStore gives the engine the store's files as pieces: finished ones for
// reading, those being fetched for both. Of finished files no handle and no mapping
// stays; of those being fetched, the one handle that was written to last.
type pieceStore struct{ s *Store }

// OpenTorrent implements storage.ClientImpl. The info dictionary must be in the
// index, checked, and a fetch's room reserved.
func (p *pieceStore) OpenTorrent(_ context.Context, _ *metainfo.Info, ih metainfo.Hash) (storage.TorrentImpl, error) {
	h := Infohash(ih)
	in, err := p.s.Info(h)
	if err != nil {
		return storage.TorrentImpl{}, fmt.Errorf("open torrent %s: %w", h, err)
	}
	in.Raw = nil // the engine holds it, too
	t := &openTorrent{s: p.s, in: in, bits: make([]byte, (in.NumPieces+7)/8)}
	if err := t.load(); err != nil {
		return storage.TorrentImpl{}, fmt.Errorf("open torrent %s: %w", h, err)
	}
	return storage.TorrentImpl{
		Piece: func(mp metainfo.Piece) storage.PieceImpl {
			return &openPiece{t: t, i: mp.Index(), off: mp.Offset(), length: mp.Length()}
		},
		Close: t.close,
	}, nil
}

// openTorrent is one torrent as the engine sees it. bits is the set of pieces that
// are here, in this node's own store: of a finished torrent, all.
type openTorrent struct {
	s    *Store
	in   *Info
	mu   sync.Mutex
	bits []byte
	sums []Sum // of a finished torrent
	have int   // pieces that are here, of an unfinished one
	new  int   // pieces since the last flush
	bad  error // why the last flush in the background failed

	noting   sync.Mutex // held while a flush runs
	flushing sync.WaitGroup

	sum   *ahead // of a single file that is arriving, or nil
	whole int    // so many pieces are here from the first on
	asked int64  // sum was last told to go on to here
	busy  bool   // it does

	out writer
}

// writer holds the part file that was written to last.
type writer struct {
	mu sync.RWMutex // for reading: while written; for writing: while opened and closed
	f  partFile
	i  int
}

// at writes to the i-th file, which open opens where it is not at hand.
func (w *writer) at(i int, b []byte, off int64, open func() (partFile, error)) (int, error) {
	w.mu.RLock()
	for w.f == nil || w.i != i {
		w.mu.RUnlock()
		if err := w.turn(i, open); err != nil {
			return 0, err
		}
		w.mu.RLock()
	}
	n, err := w.f.WriteAt(b, off)
	w.mu.RUnlock()
	if err != nil {
		err = errors.Join(err, w.close())
	}
	return n, err
}

func (w *writer) turn(i int, open func() (partFile, error)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.f != nil && w.i == i {
		return nil
	}
	f, err := open()
	if err != nil {
		return err
	}
	if w.f != nil {
		err = w.f.Close()
	}
	w.f, w.i = f, i
	return err
}

func (w *writer) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.f == nil {
		return nil
	}
	f := w.f
	w.f = nil
	return f.Close()
}

// hint has the kernel begin to write these octets to the disk.
func (w *writer) hint(i int, off, n int64) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if f, ok := w.f.(*os.File); ok && w.i == i {
		startWriteback(f, off, n)
	}
}

const flushPieces = 256 // so many pieces may have to be hashed again after a crash

func (t *openTorrent) load() error {
	sums, err := t.s.Sums(t.in.Hash)
	if err == nil {
		t.sums = sums
		return nil
	}
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	if err := os.MkdirAll(t.s.partDir(t.in.Hash), 0o750); err != nil {
		return err
	}
	err = t.s.db.View(func(tx *state.Tx) error {
		copy(t.bits, tx.Get(bPieces, t.in.Hash.String()))
		return nil
	})
	for _, b := range t.bits {
		t.have += bits.OnesCount8(b)
	}
	if len(t.in.Files) == 1 {
		t.sum = newAhead()
		t.s.mu.Lock()
		t.s.ahead[t.in.Hash] = t.sum
		t.s.mu.Unlock()
	}
	return err
}

// close ends the use of a torrent: what came is noted.
func (t *openTorrent) close() error {
	if t.sum != nil {
		_, _ = t.sum.end()
		t.s.mu.Lock()
		if t.s.ahead[t.in.Hash] == t.sum {
			delete(t.s.ahead, t.in.Hash)
		}
		t.s.mu.Unlock()
	}
	t.flushing.Wait()
	return errors.Join(t.flush(), t.out.close())
}

// hashAhead has the file hashed as far as it is whole. It is called with the lock held.
func (t *openTorrent) hashAhead() {
	if t.sum == nil || t.busy || t.reach()-t.asked < aheadStep {
		return
	}
	t.busy, t.asked = true, t.reach()
	t.flushing.Go(func() {
		t.sum.upTo(t.s.partPath(t.in.Hash, 0), func() int64 {
			t.mu.Lock()
			defer t.mu.Unlock()
			return t.reach()
		})
		t.mu.Lock()
		t.busy = false
		t.mu.Unlock()
	})
}

// reach is how many octets are here from the first on. It is called with the lock held.
func (t *openTorrent) reach() int64 {
	for t.whole < t.in.NumPieces && t.bits[t.whole/8]&(0x80>>(t.whole%8)) != 0 {
		t.whole++
	}
	return min(int64(t.whole)*t.in.PieceLength, t.in.Length)
}

// flush notes durably which pieces are here: first the octets, then the note. Pieces
// go on coming meanwhile; they are noted the next time.
func (t *openTorrent) flush() error {
	t.noting.Lock()
	defer t.noting.Unlock()
	t.mu.Lock()
	if t.sums != nil || t.new == 0 || t.s.Has(t.in.Hash) {
		t.mu.Unlock()
		return nil
	}
	now, noted := bytes.Clone(t.bits), t.new
	t.new = 0
	t.mu.Unlock()
	err := t.note(now)
	if err != nil {
		t.mu.Lock()
		t.new += noted
		t.mu.Unlock()
	}
	return err
}

func (t *openTorrent) note(now []byte) error {
	for i := range t.in.Files {
		if err := syncFile(t.s.partPath(t.in.Hash, i)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	key := t.in.Hash.String()
	return t.s.db.Update(func(tx *state.Tx) error {
		if tx.Get(bInfo, key) == nil || tx.Get(bSums, key) != nil { // removed, or finished, in between
			return nil
		}
		return tx.Put(bPieces, key, now)
	})
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (s *Store) partPath(h Infohash, i int) string {
	return filepath.Join(s.partDir(h), strconv.Itoa(i))
}

// path returns where the i-th file lies now: a fetch moves it when it is done.
func (t *openTorrent) path(i int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sums == nil && t.s.Has(t.in.Hash) {
		if sums, err := t.s.Sums(t.in.Hash); err == nil {
			t.sums = sums
		}
	}
	if t.sums != nil {
		return t.s.blobPath(t.sums[i])
	}
	return t.s.partPath(t.in.Hash, i)
}

// spans calls fn for each part of a file that the octets [off, off+n) lie in.
func (t *openTorrent) spans(off int64, n int64, fn func(i int, at, n int64) error) error {
	for i, f := range t.in.Files {
		if n <= 0 {
			break
		}
		if off >= f.Offset+f.Length || f.Length == 0 {
			continue
		}
		part := min(n, f.Offset+f.Length-off)
		if err := fn(i, off-f.Offset, part); err != nil {
			return err
		}
		off, n = off+part, n-part
	}
	return nil
}

// openPiece implements storage.PieceImpl.
type openPiece struct {
	t           *openTorrent
	i           int
	off, length int64
}

func (p *openPiece) ReadAt(b []byte, off int64) (int, error) {
	want := min(int64(len(b)), p.length-off)
	if want <= 0 {
		return 0, io.EOF
	}
	done := 0
	err := p.t.spans(p.off+off, want, func(i int, at, n int64) error {
		m, err := p.t.read(i, b[done:done+int(n)], at)
		done += m
		return err
	})
	if err == nil && done < len(b) {
		err = io.EOF
	}
	return done, err
}

func (t *openTorrent) read(i int, b []byte, at int64) (int, error) {
	f, err := os.Open(t.path(i))
	if errors.Is(err, os.ErrNotExist) {
		f, err = os.Open(t.path(i)) // it was moved to its place in between
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := f.ReadAt(b, at)
	if n == len(b) {
		err = nil
	} else if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (p *openPiece) WriteAt(b []byte, off int64) (int, error) {
	if p.t.s.Has(p.t.in.Hash) {
		return 0, errors.New("a finished file is not written to")
	}
	done := 0
	err := p.t.spans(p.off+off, int64(len(b)), func(i int, at, n int64) error {
		m, err := p.t.out.at(i, b[done:done+int(n)], at, func() (partFile, error) {
			return p.t.s.openPart(p.t.s.partPath(p.t.in.Hash, i))
		})
		done += m
		return err
	})
	return done, err
}

func (p *openPiece) bit() (at int, mask byte) { return p.i / 8, 0x80 >> (p.i % 8) }

func (p *openPiece) MarkComplete() error {
	t := p.t
	at, mask := p.bit()
	t.mu.Lock()
	if t.bits[at]&mask == 0 {
		t.bits[at] |= mask
		t.new++
		t.have++
	}
	t.hashAhead()
	due, all, err := t.new > 0 && t.new%flushPieces == 0, t.have == t.in.NumPieces, t.bad
	t.bad = nil
	t.mu.Unlock()
	t.s.progress(t.in.Hash)
	_ = t.spans(p.off, p.length, func(i int, at, n int64) error { t.out.hint(i, at, n); return nil })
	if due {
		t.flushing.Go(func() {
			if err := t.flush(); err != nil {
				t.mu.Lock()
				t.bad = err
				t.mu.Unlock()
			}
		})
	}
	if all {
		err = errors.Join(err, t.out.close())
	}
	return err
}

func (p *openPiece) MarkNotComplete() error {
	at, mask := p.bit()
	p.t.mu.Lock()
	if p.t.bits[at]&mask != 0 {
		p.t.bits[at] &^= mask
		p.t.have--
	}
	p.t.whole, p.t.asked = min(p.t.whole, p.i), min(p.t.asked, p.off)
	p.t.mu.Unlock()
	if p.t.sum != nil {
		p.t.sum.forget(p.off)
	}
	return nil
}

func (p *openPiece) Completion() storage.Completion {
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	if p.t.sums != nil {
		return storage.Completion{Ok: true, Complete: true}
	}
	at, mask := p.bit()
	if p.t.bits[at]&mask != 0 {
		return storage.Completion{Ok: true, Complete: true}
	}
	// What was written before a crash and not noted is hashed, not fetched again.
	unknown := false
	_ = p.t.spans(p.off, p.length, func(i int, at, n int64) error {
		if st, err := os.Stat(p.t.s.partPath(p.t.in.Hash, i)); err == nil && st.Size() >= at+n {
			unknown = true
		}
		return nil
	})
	return storage.Completion{Ok: !unknown}
}
