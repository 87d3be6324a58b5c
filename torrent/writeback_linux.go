//go:build linux && !arm

package torrent

import (
	"os"
	"syscall"
)

const writeOnly = 2 // SYNC_FILE_RANGE_WRITE of sync_file_range(2)

// startWriteback has the kernel begin to write n octets of f from off to the disk
// now, so that the sync at the end finds little left. It is only a hint.
func startWriteback(f *os.File, off, n int64) {
	_ = syscall.SyncFileRange(int(f.Fd()), off, n, writeOnly)
}
