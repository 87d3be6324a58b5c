package torrent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/litfass/litfass/internal/state"
)

// keep gives the synced files of a torrent, the i-th at path(i), their places, writes
// its record, and counts them in the place of the octets that were reserved for them.
// The caller holds wmu.
func (s *Store) keep(r Record, in *Info, sums []Sum, path func(i int) string) error {
	for i, sum := range sums {
		if err := s.fileBlob(sum, path(i)); err != nil {
			return err
		}
	}
	if err := s.put(r, s.filing(in, sums)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= in.Length
	for i, sum := range sums {
		if _, was := s.blobs[sum]; !was {
			s.blobs[sum] = in.Files[i].Length
			s.used += in.Files[i].Length
		}
	}
	return nil
}

// filing writes the rows of a complete torrent.
func (s *Store) filing(in *Info, sums []Sum) func(tx *state.Tx) error {
	return func(tx *state.Tx) error {
		var all []byte
		for i, sum := range sums {
			all = append(all, sum[:]...)
			size, _ := json.Marshal(in.Files[i].Length)
			if err := tx.Put(bBlob, sum.String()+"/"+in.Hash.String(), size); err != nil {
				return err
			}
		}
		if err := tx.Put(bInfo, in.Hash.String(), in.Raw); err != nil {
			return err
		}
		for _, b := range []string{bPieces, bGone} {
			if err := tx.Delete(b, in.Hash.String()); err != nil {
				return err
			}
		}
		return tx.Put(bSums, in.Hash.String(), all)
	}
}

// fileBlob gives the synced file at path its place under its SHA-256. Where the
// file system has no links, path is gone afterwards.
func (s *Store) fileBlob(sum Sum, path string) error {
	to := s.blobPath(sum)
	if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
		return fmt.Errorf("file a torrent's content: %w", err)
	}
	if err := os.Link(path, to); err != nil && !errors.Is(err, os.ErrExist) {
		if err := os.Rename(path, to); err != nil {
			return fmt.Errorf("file a torrent's content: %w", err)
		}
	}
	for _, d := range []string{filepath.Dir(to), filepath.Dir(filepath.Dir(to))} {
		if err := s.fs.SyncDir(d); err != nil {
			return err
		}
	}
	return nil
}

// begin makes a known torrent a partial one: its metadata is checked, room is
// found for all of it, and only then anything touches the disk (spec §4).
func (s *Store) begin(in *Info, class Class) error {
	r, err := s.Record(in.Hash)
	if err != nil {
		return err
	}
	if r.State >= Partial {
		return nil
	}
	if r.Refs > 0 && r.Length > 0 && r.Length != in.Length { // of a magnet link alone, the metadata knows better
		return badInfo("it is %d octets long, the article says %d", in.Length, r.Length)
	}
	if class == Mirror && in.Length > s.cfg.MaxAuto {
		return fmt.Errorf("%w: %d octets, unasked %d are fetched (torrent.max_auto)", ErrQuota, in.Length, s.cfg.MaxAuto)
	}
	if in.Length > s.cfg.MaxSize {
		return badInfo("%d octets, the limit is %d (torrent.max_size)", in.Length, s.cfg.MaxSize)
	}
	if err := s.Reserve(in.Length, Owner{Group: r.Group}); err != nil {
		return err
	}
	s.wmu.Lock()
	defer s.wmu.Unlock()
	r, err = s.Record(in.Hash)
	if err == nil && class == Mirror && s.gone(in.Hash) {
		err = errGone
	}
	if err != nil || r.State >= Partial {
		s.release(in.Length)
		return err
	}
	r.State, r.Length, r.Wanted, r.Class, r.Private = Partial, in.Length, s.now(), max(r.Class, class), in.Private
	if r.Name == "" {
		r.Name = CleanName(in.Name)
	}
	err = s.put(r, func(tx *state.Tx) error {
		if err := tx.Delete(bGone, in.Hash.String()); err != nil { // somebody asked for it
			return err
		}
		return tx.Put(bInfo, in.Hash.String(), in.Raw)
	})
	if err != nil {
		s.release(in.Length)
	}
	return err
}

// finish files a fetched torrent: its files' SHA-256 are compared with what
// articles promise before anything is called verified or given to anybody
// (spec §1.5). A mismatch removes everything.
func (s *Store) finish(ctx context.Context, in *Info) error {
	sums := make([]Sum, len(in.Files))
	for i, f := range in.Files {
		sum, err := s.hashPart(ctx, in.Hash, i, f.Length)
		if err != nil {
			return fmt.Errorf("check torrent %s: %w", in.Hash, err)
		}
		sums[i] = sum
		if err := s.denied(in.Hash, sum); err != nil {
			return errors.Join(err, s.Remove(in.Hash))
		}
	}
	good := s.promised(in.Hash, sums)
	if !good && s.claimed(in.Hash) {
		err := s.Remove(in.Hash)
		s.wmu.Lock()
		defer s.wmu.Unlock()
		if r, rerr := s.Record(in.Hash); rerr == nil {
			r.Actual = sums[0].String()
			err = errors.Join(err, s.put(r, nil))
		}
		return errors.Join(ErrMismatch, err)
	}
	if err := s.complete(in, sums, good); err != nil {
		return err
	}
	_ = os.RemoveAll(s.partDir(in.Hash)) // empty now
	return nil
}

// complete makes a partial torrent one that is here.
func (s *Store) complete(in *Info, sums []Sum, good bool) error {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	r, err := s.Record(in.Hash)
	switch {
	case err != nil:
		return err
	case r.Complete(): // added meanwhile
		return nil
	case r.State != Partial: // removed meanwhile; an article still names it
		return ErrNotFound
	}
	r.State, r.Progress = Here, s.now()
	if good {
		r.State = Verified
	}
	if err := s.keep(r, in, sums, func(i int) string { return s.partPath(in.Hash, i) }); err != nil {
		return err
	}
	return s.recheck(r)
}

func (s *Store) hashPart(ctx context.Context, h Infohash, i int, length int64) (sum Sum, err error) {
	f, err := os.OpenFile(s.partPath(h, i), os.O_RDWR|os.O_CREATE, 0o640) // a file of no octets was never written
	if err != nil {
		return sum, err
	}
	defer f.Close()
	synced := make(chan error, 1)
	go func() { synced <- f.Sync() }()
	w, at := s.hashed(h, i)
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, &meter{ctx: ctx, r: io.NewSectionReader(f, at, math.MaxInt64-at)}, make([]byte, copyBlock))
	if serr := <-synced; err == nil {
		err = serr
	}
	if err != nil {
		return sum, err
	}
	if at+n != length {
		return sum, fmt.Errorf("file %d has %d octets instead of %d", i, at+n, length)
	}
	return Sum(w.Sum(nil)), nil
}

// refuted says that the torrent was fetched once and no article names what it holds.
func (s *Store) refuted(r Record) bool {
	sum, err := ParseSum(r.Actual)
	return err == nil && !s.promised(r.Hash, []Sum{sum})
}
