package torrent

import (
	"io"
	"os"
	"sync"
)

const (
	copyBlock      = 256 << 10 // small enough for a processor's cache
	writebackEvery = 8 << 20
)

// copyHashed copies r to f and to h until r ends. A block's writing and its two hashes
// run at the same time, while the next block is read.
func copyHashed(f *os.File, h *Hasher, r io.Reader) error {
	bufs := [2][]byte{make([]byte, copyBlock), make([]byte, copyBlock)}
	var running sync.WaitGroup
	defer running.Wait()
	var failed error // of the block before
	var at, told int64
	for i := 0; ; i ^= 1 {
		n, err := io.ReadFull(r, bufs[i])
		if running.Wait(); failed != nil {
			return failed
		}
		b := bufs[i][:n]
		running.Go(func() {
			if _, failed = f.Write(b); failed != nil {
				return
			}
			if at += int64(len(b)); at-told >= writebackEvery {
				startWriteback(f, told, at-told)
				told = at
			}
		})
		running.Go(func() { h.whole.Write(b) })
		running.Go(func() { h.pieceHashes(b) })
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			running.Wait()
			return failed
		}
		if err != nil {
			return err
		}
	}
}
