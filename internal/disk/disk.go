// Package disk is the few file operations a spool uses, so that tests can make
// them fail. OS is the real disk; Sim is one in memory whose operations fail,
// come short or are forgotten, and whose power can be cut.
package disk

import (
	"errors"
	"io"
)

// ErrLocked is returned by FS.Lock while another process holds the lock.
var ErrLocked = errors.New("locked by another process")

// FS is a disk. Names are paths as the operating system writes them.
type FS interface {
	// Open opens for reading and writing; create makes the file if it is missing.
	// A new name is durable only after SyncDir of its directory.
	Open(name string, create bool) (File, error)
	Rename(from, to string) error
	Remove(name string) error
	// ReadDir returns the names of the files in dir, sorted, folders left out.
	ReadDir(dir string) ([]string, error)
	MkdirAll(dir string) error
	// SyncDir makes names made, changed and removed in dir durable.
	SyncDir(dir string) error
	// Free returns how many octets may still be written below dir.
	Free(dir string) (int64, error)
	// Lock takes a lock that the kernel frees when the process ends.
	Lock(name string) (io.Closer, error)
}

// File is an open file. It is safe for concurrent use.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	// Sync makes content and size durable (fdatasync). After it failed, nothing
	// is known of what was written since the last good one, and a later Sync may
	// lie: such a file must not be synced again.
	Sync() error
	Size() (int64, error)
}
