package torrent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/anacrolix/torrent/metainfo"
	"github.com/anacrolix/torrent/storage"

	"github.com/litfass/litfass/internal/state"
)

// pieceStore gives the engine the store's files as pieces: finished ones for
// reading, those being fetched for both. Files are opened, used and closed: no
// handle and no mapping stays.
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
		Close: t.flush,
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
	new  int   // pieces since the last flush
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
	return t.s.db.View(func(tx *state.Tx) error {
		copy(t.bits, tx.Get(bPieces, t.in.Hash.String()))
		return nil
	})
}

// flush notes durably which pieces are here: first the octets, then the note.
func (t *openTorrent) flush() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sums != nil || t.new == 0 {
		return nil
	}
	if t.s.Has(t.in.Hash) {
		return nil
	}
	for i := range t.in.Files {
		if err := syncFile(t.s.partPath(t.in.Hash, i)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	t.new = 0
	return t.s.db.Update(func(tx *state.Tx) error { return tx.Put(bPieces, t.in.Hash.String(), t.bits) })
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
		f, err := p.t.s.openPart(p.t.s.partPath(p.t.in.Hash, i))
		if err != nil {
			return err
		}
		m, err := f.WriteAt(b[done:done+int(n)], at)
		done += m
		return errors.Join(err, f.Close())
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
	}
	due := t.new >= flushPieces
	t.mu.Unlock()
	t.s.progress(t.in.Hash)
	if due {
		return t.flush()
	}
	return nil
}

func (p *openPiece) MarkNotComplete() error {
	at, mask := p.bit()
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	p.t.bits[at] &^= mask
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
