package torrent

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Add stores what r holds as a torrent of one file and returns once it is on
// disk. length -1: not known, r is then read to its end and hashed from the disk.
// At most limit octets are taken (0: what fits the quotas). progress, if not nil,
// is told how far it is.
func (s *Store) Add(ctx context.Context, r io.Reader, length int64, name string, o Owner, progress func(int64)) (*Info, Sum, error) {
	if o.Class == 0 {
		o.Class = Own
	}
	reserved := max(length, 0)
	if err := s.Reserve(reserved, o); err != nil {
		return nil, Sum{}, err
	}
	defer func() { s.release(reserved) }()
	tmp, err := os.CreateTemp(filepath.Join(s.cfg.Dir, "tmp"), "add-*")
	if err != nil {
		return nil, Sum{}, fmt.Errorf("add %s: %w", name, err)
	}
	defer func() {
		tmp.Close()
		os.Remove(tmp.Name())
	}()
	in, sum, err := s.copyIn(ctx, tmp, r, length, CleanName(name), progress)
	if err != nil {
		return nil, Sum{}, err
	}
	if length < 0 {
		if err := s.Reserve(in.Length, o); err != nil {
			return nil, Sum{}, err
		}
		reserved = in.Length
	}
	if err := s.denied(in.Hash, sum); err != nil {
		return nil, Sum{}, err
	}
	if err := tmp.Sync(); err != nil {
		return nil, Sum{}, fmt.Errorf("add %s: %w", name, err)
	}
	err = s.adopt(in, sum, tmp.Name(), o)
	if err == nil {
		reserved = 0 // counted
	}
	return in, sum, err
}

func (s *Store) copyIn(ctx context.Context, tmp *os.File, r io.Reader, length int64, name string, progress func(int64)) (*Info, Sum, error) {
	src := &meter{ctx: ctx, r: r, told: progress}
	if length >= 0 {
		h := NewHasher(length)
		if err := copyHashed(tmp, h, src); err != nil {
			return nil, Sum{}, fmt.Errorf("add %s: %w", name, err)
		}
		return h.Finish(name)
	}
	_, room := s.room()
	n, err := io.CopyBuffer(struct{ io.Writer }{tmp}, io.LimitReader(src, room+1), make([]byte, 64<<10))
	if err != nil {
		return nil, Sum{}, fmt.Errorf("add %s: %w", name, err)
	}
	if n > room {
		return nil, Sum{}, fmt.Errorf("%w: the file is larger than the %d octets that are left", ErrQuota, room)
	}
	if _, err := tmp.Seek(0, io.SeekStart); err != nil {
		return nil, Sum{}, err
	}
	return BuildInfo(tmp, n, name)
}

// meter counts what is read, and stops with its context.
type meter struct {
	ctx  context.Context
	r    io.Reader
	n    int64
	told func(int64)
}

func (m *meter) Read(p []byte) (int, error) {
	if err := m.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := m.r.Read(p)
	m.n += int64(n)
	if m.told != nil {
		m.told(m.n)
	}
	return n, err
}

// adopt files the octets at path, synced and reserved, as the one file of torrent in.
func (s *Store) adopt(in *Info, sum Sum, path string, o Owner) error {
	fetching, err := s.adoptAs(in, sum, path, o)
	if err == nil && fetching {
		s.dropped(in.Hash) // it need not go on
		_ = os.RemoveAll(s.partDir(in.Hash))
	}
	return err
}

// adoptAs is adopt's change of the index. It says whether the torrent was partial.
func (s *Store) adoptAs(in *Info, sum Sum, path string, o Owner) (fetching bool, err error) {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	now := s.now()
	r := Record{Hash: in.Hash, Name: in.Name, Length: in.Length, State: Verified, Class: o.Class, Pinned: o.Pinned,
		Author: o.Author, Group: o.Group, Added: now, Wanted: now}
	if old, err := s.Record(in.Hash); err == nil {
		r.Refs, r.Added, r.Class, r.Pinned = old.Refs, old.Added, max(old.Class, r.Class), old.Pinned || r.Pinned
		r.WebSeeds, r.Trackers, fetching = old.WebSeeds, old.Trackers, old.State == Partial
	}
	if r.Refs == 0 && r.Class != Cache {
		r.Until = now + int64(unnamedGrace.Seconds())
	}
	err = s.keep(r, in, []Sum{sum}, func(int) string { return path })
	if err == nil && fetching {
		s.release(in.Length) // what the fetch had reserved
	}
	return fetching, err
}
