// Package spill holds octets that are usually few and sometimes many: in memory
// up to a bound, in a temporary file beyond it. Doors use it for what a client
// posts, mails or uploads, so that 64 MiB of attachment cost little memory.
package spill

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrTooLarge is returned by Write once the buffer would pass its limit.
var ErrTooLarge = errors.New("too large")

// Buffer is written first and read afterwards; reading may be repeated by
// Seek. The zero value is not usable: see New. It is not safe for concurrent use.
type Buffer struct {
	dir    string
	memory int
	limit  int64

	mem  []byte
	file *os.File
	size int64
	at   int64
}

// New returns an empty buffer that keeps up to memory octets in memory and takes
// limit in all; dir is where the temporary file goes ("": the system's).
func New(dir string, memory int, limit int64) *Buffer {
	return &Buffer{dir: dir, memory: memory, limit: limit}
}

// Write appends p. It fails with ErrTooLarge, or as the disk fails.
func (b *Buffer) Write(p []byte) (int, error) {
	if b.size+int64(len(p)) > b.limit {
		return 0, ErrTooLarge
	}
	if b.file == nil && len(b.mem)+len(p) > b.memory {
		if err := b.toFile(); err != nil {
			return 0, err
		}
	}
	if b.file == nil {
		b.mem = append(b.mem, p...)
	} else if n, err := b.file.WriteAt(p, b.size); err != nil {
		return n, fmt.Errorf("keep a large message: %w", err)
	}
	b.size += int64(len(p))
	return len(p), nil
}

func (b *Buffer) toFile() error {
	f, err := os.CreateTemp(b.dir, "litfass-*.part")
	if err != nil {
		return fmt.Errorf("keep a large message: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil { // the file goes with its last handle, also after a crash
		f.Close()
		return err
	}
	if _, err := f.WriteAt(b.mem, 0); err != nil {
		f.Close()
		return fmt.Errorf("keep a large message: %w", err)
	}
	b.file, b.mem = f, nil
	return nil
}

// Size is the number of octets written.
func (b *Buffer) Size() int64 { return b.size }

// Read reads on from where the last Seek or Read left off.
func (b *Buffer) Read(p []byte) (int, error) {
	n, err := b.ReadAt(p, b.at)
	b.at += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// ReadAt implements io.ReaderAt.
func (b *Buffer) ReadAt(p []byte, off int64) (int, error) {
	if off >= b.size {
		return 0, io.EOF
	}
	if b.file != nil {
		return b.file.ReadAt(p[:min(int64(len(p)), b.size-off)], off)
	}
	n := copy(p, b.mem[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Seek implements io.Seeker.
func (b *Buffer) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += b.at
	case io.SeekEnd:
		off += b.size
	}
	if off < 0 {
		return 0, errors.New("seek before the start")
	}
	b.at = off
	return off, nil
}

// Close frees memory and file. The buffer is empty afterwards.
func (b *Buffer) Close() error {
	f := b.file
	*b = Buffer{dir: b.dir, memory: b.memory, limit: b.limit}
	if f != nil {
		return f.Close()
	}
	return nil
}
