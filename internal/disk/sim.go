package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// ErrInjected is what an operation that Sim was told to spoil returns.
var ErrInjected = errors.New("injected disk fault")

// Fault is what happens to the chosen operation.
type Fault uint8

// The faults. A Sync that fails forgets: what was written before it will not
// become durable by a later Sync that succeeds, as on Linux.
const (
	Fail   Fault = iota + 1 // it does nothing and returns an error
	Short                   // half of a write is done, then an error; else as Fail
	Forget                  // a write or sync does nothing and says nothing: only a power cut shows it
)

// Sim is a disk in memory. Its operations that change something (create, write,
// truncate, sync, rename, remove, sync folder) are counted from 1.
type Sim struct {
	mu     sync.Mutex
	now    map[string]*simFile // as programs see it
	kept   map[string]*simFile // names as they are on the platter
	undone []dirOp             // changes of names not synced yet, in order
	locks  map[string]bool
	ops    int
	at     int
	fault  Fault
	from   bool // at and all that follow
	room   int64
	used   int64
}

type dirOp struct {
	dir, name string
	file      *simFile // nil: removed
}

type simFile struct {
	data   []byte     // as programs see it
	synced []byte     // what surely is on the platter
	since  []simWrite // what may or may not be, in order
}

type simWrite struct {
	off  int64
	data []byte
	size int64 // -1: a write; else a truncation to it
}

// NewSim returns an empty disk of 1 GiB.
func NewSim() *Sim {
	return &Sim{now: map[string]*simFile{}, kept: map[string]*simFile{}, locks: map[string]bool{}, room: 1 << 30}
}

// Spoil makes the n-th changing operation from now on fail in this way, once;
// with onward, all that follow too. n = 0 ends it.
func (s *Sim) Spoil(n int, f Fault, onward bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ops, s.at, s.fault, s.from = 0, n, f, onward
}

// Ops returns how many changing operations there were since the last Spoil.
func (s *Sim) Ops() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ops
}

// SetRoom sets how many octets files may hold in all.
func (s *Sim) SetRoom(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room = n
}

// op counts an operation and says whether it is to be spoilt.
func (s *Sim) op() Fault {
	s.ops++
	if s.at != 0 && (s.ops == s.at || s.from && s.ops > s.at) {
		return s.fault
	}
	return 0
}

// Cut returns the disk as it is found after a power cut now: what was synced,
// and of the rest a part chosen by seed, in blocks of 512 octets and in no
// order; names change in order up to a point chosen by seed. s itself is as before.
func (s *Sim) Cut(seed uint64) *Sim {
	s.mu.Lock()
	defer s.mu.Unlock()
	rnd := rand.New(rand.NewPCG(seed, 1))
	out := NewSim()
	out.room = s.room
	names := map[string]*simFile{}
	for n, f := range s.kept {
		names[n] = f
	}
	survive := 0
	if len(s.undone) > 0 {
		survive = rnd.IntN(len(s.undone) + 1)
	}
	for _, op := range s.undone[:survive] {
		if op.file == nil {
			delete(names, op.name)
		} else {
			names[op.name] = op.file
		}
	}
	sorted := make([]string, 0, len(names))
	for n := range names {
		sorted = append(sorted, n)
	}
	slices.Sort(sorted)
	for _, n := range sorted {
		data := names[n].after(rnd)
		f := &simFile{data: data, synced: slices.Clone(data)}
		out.now[n], out.kept[n] = f, f
		out.used += int64(len(data))
	}
	return out
}

// after returns what a power cut leaves of f.
func (f *simFile) after(rnd *rand.Rand) []byte {
	data := slices.Clone(f.synced)
	mode := rnd.IntN(4) // 0: nothing of it, 1: all, else: some blocks
	for _, w := range f.since {
		if mode == 0 {
			continue
		}
		if w.size >= 0 {
			if mode == 1 || rnd.IntN(2) == 0 {
				data = resize(data, w.size)
			}
			continue
		}
		for at := 0; at < len(w.data); {
			n := min(512-int(w.off+int64(at))%512, len(w.data)-at)
			if mode == 1 || rnd.IntN(2) == 0 {
				off := w.off + int64(at)
				data = grow(data, off+int64(n))
				copy(data[off:], w.data[at:at+n])
			}
			at += n
		}
	}
	return data
}

func grow(b []byte, size int64) []byte {
	if int64(len(b)) < size {
		b = append(b, make([]byte, size-int64(len(b)))...)
	}
	return b
}

func resize(b []byte, size int64) []byte {
	if int64(len(b)) > size {
		return slices.Clone(b[:size])
	}
	return grow(b, size)
}

type simHandle struct {
	s    *Sim
	f    *simFile
	name string
}

// Open implements FS.
func (s *Sim) Open(name string, create bool) (File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name = filepath.Clean(name)
	f := s.now[name]
	if f == nil {
		if !create {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		if s.op() != 0 {
			return nil, fmt.Errorf("create %s: %w", name, ErrInjected)
		}
		if s.used >= s.room {
			return nil, fmt.Errorf("create %s: %w", name, syscall.ENOSPC)
		}
		f = &simFile{}
		s.now[name] = f
		s.undone = append(s.undone, dirOp{filepath.Dir(name), name, f})
	}
	return &simHandle{s, f, name}, nil
}

// Rename implements FS.
func (s *Sim) Rename(from, to string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	from, to = filepath.Clean(from), filepath.Clean(to)
	f := s.now[from]
	if f == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	if s.op() != 0 {
		return fmt.Errorf("rename %s: %w", from, ErrInjected)
	}
	if old := s.now[to]; old != nil {
		s.used -= int64(len(old.data))
	}
	delete(s.now, from)
	s.now[to] = f
	s.undone = append(s.undone, dirOp{filepath.Dir(to), to, f}, dirOp{filepath.Dir(from), from, nil})
	return nil
}

// Remove implements FS.
func (s *Sim) Remove(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	name = filepath.Clean(name)
	f := s.now[name]
	if f == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	if s.op() != 0 {
		return fmt.Errorf("remove %s: %w", name, ErrInjected)
	}
	s.used -= int64(len(f.data))
	delete(s.now, name)
	s.undone = append(s.undone, dirOp{filepath.Dir(name), name, nil})
	return nil
}

// ReadDir implements FS.
func (s *Sim) ReadDir(dir string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for n := range s.now {
		if filepath.Dir(n) == filepath.Clean(dir) {
			out = append(out, filepath.Base(n))
		}
	}
	slices.Sort(out)
	return out, nil
}

// MkdirAll implements FS: folders are there always.
func (s *Sim) MkdirAll(string) error { return nil }

// SyncDir implements FS.
func (s *Sim) SyncDir(dir string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.op() {
	case Forget:
		return nil
	case 0:
	default:
		return fmt.Errorf("sync folder %s: %w", dir, ErrInjected)
	}
	var left []dirOp
	for _, op := range s.undone {
		switch {
		case op.dir != filepath.Clean(dir):
			left = append(left, op)
		case op.file == nil:
			delete(s.kept, op.name)
		default:
			s.kept[op.name] = op.file
		}
	}
	s.undone = left
	return nil
}

// Free implements FS.
func (s *Sim) Free(string) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(0, s.room-s.used), nil
}

// Lock implements FS.
func (s *Sim) Lock(name string) (io.Closer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.locks[name] {
		return nil, fmt.Errorf("%s: %w", name, ErrLocked)
	}
	s.locks[name] = true
	return unlock(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.locks, name)
	}), nil
}

type unlock func()

func (u unlock) Close() error { u(); return nil }

// Corrupt changes octets of a file, durably and unseen by any count: bit rot.
func (s *Sim) Corrupt(name string, change func(data []byte) []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.now[filepath.Clean(name)]
	if f == nil {
		return &fs.PathError{Op: "corrupt", Path: name, Err: fs.ErrNotExist}
	}
	f.data = change(f.data)
	f.synced, f.since = slices.Clone(f.data), nil
	return nil
}

// String lists the files with their sizes.
func (s *Sim) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for n, f := range s.now {
		out = append(out, fmt.Sprintf("%s %d", n, len(f.data)))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func (h *simHandle) ReadAt(p []byte, off int64) (int, error) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if off >= int64(len(h.f.data)) {
		return 0, io.EOF
	}
	n := copy(p, h.f.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *simHandle) WriteAt(p []byte, off int64) (int, error) {
	s := h.s
	s.mu.Lock()
	defer s.mu.Unlock()
	fault, n := s.op(), len(p)
	switch fault {
	case Fail:
		return 0, fmt.Errorf("write %s: %w", h.name, ErrInjected)
	case Short:
		n /= 2
	}
	var err error
	if more := off + int64(n) - int64(len(h.f.data)); more > 0 {
		if s.used+more > s.room {
			n = max(0, n-int(s.used+more-s.room))
			more = max(0, off+int64(n)-int64(len(h.f.data)))
			err = fmt.Errorf("write %s: %w", h.name, syscall.ENOSPC)
		}
		s.used += more
	}
	h.f.data = grow(h.f.data, off+int64(n))
	copy(h.f.data[off:], p[:n])
	if fault != Forget {
		h.f.since = append(h.f.since, simWrite{off, slices.Clone(p[:n]), -1})
	}
	if fault == Short {
		err = fmt.Errorf("write %s: %w", h.name, ErrInjected)
	}
	return n, err
}

func (h *simHandle) Truncate(size int64) error {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if h.s.op() != 0 {
		return fmt.Errorf("truncate %s: %w", h.name, ErrInjected)
	}
	h.s.used += size - int64(len(h.f.data))
	h.f.data = resize(h.f.data, size)
	h.f.since = append(h.f.since, simWrite{size: size})
	return nil
}

func (h *simHandle) Sync() error {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	switch h.s.op() {
	case Forget:
		return nil
	case 0:
	default:
		h.f.since = nil // the kernel takes the pages for clean now
		return fmt.Errorf("sync %s: %w", h.name, ErrInjected)
	}
	for _, w := range h.f.since {
		if w.size >= 0 {
			h.f.synced = resize(h.f.synced, w.size)
			continue
		}
		h.f.synced = grow(h.f.synced, w.off+int64(len(w.data)))
		copy(h.f.synced[w.off:], w.data)
	}
	h.f.since = nil
	return nil
}

func (h *simHandle) Size() (int64, error) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	return int64(len(h.f.data)), nil
}

func (h *simHandle) Close() error { return nil }
