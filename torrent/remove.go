package torrent

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/litfass/litfass/internal/state"
)

// errGone: somebody here removed the torrent, and no policy brings it back.
var errGone = fmt.Errorf("%w: it was removed here", ErrNotFound)

// Discard is Remove at somebody's word: no policy fetches the torrent again, also
// not for an article that is seen only now. Who asks for it still gets it; Deny is
// what forbids that.
func (s *Store) Discard(h Infohash) error {
	at := []byte(strconv.FormatInt(s.now(), 10))
	return s.remove(h, func(tx *state.Tx) error { return tx.Put(bGone, h.String(), at) }, nil)
}

// gone says whether somebody here removed the torrent and nobody asked for it since.
func (s *Store) gone(h Infohash) (yes bool) {
	_ = s.db.View(func(tx *state.Tx) error { yes = tx.Get(bGone, h.String()) != nil; return nil })
	return yes
}

// Remove deletes a torrent: its record, and its octets unless another infohash
// points to them. References stay: an article that is still there names it.
func (s *Store) Remove(h Infohash) error { return s.remove(h, nil, nil) }

// remove deletes a torrent of which still, unless nil, holds now. more, unless nil,
// is written with it.
func (s *Store) remove(h Infohash, more func(tx *state.Tx) error, still func(*Record) bool) error {
	s.dropped(h) // nobody is to write any more
	err := s.erase(h, more, still)
	s.dropped(h) // who came meanwhile
	return err
}

func (s *Store) dropped(h Infohash) {
	for _, fn := range s.onDrop {
		fn(h)
	}
}

func (s *Store) erase(h Infohash, more func(tx *state.Tx) error, still func(*Record) bool) error {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	s.mu.Lock()
	r, ok := s.index[h]
	s.mu.Unlock()
	if !ok || still != nil && !still(r) {
		return ErrNotFound
	}
	sums, err := s.Sums(h)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	var orphans []Sum
	key := h.String()
	known := Record{Hash: h, Name: r.Name, Length: r.Length, State: Known, Class: Cache, Group: r.Group, Refs: r.Refs,
		WebSeeds: r.WebSeeds, Trackers: r.Trackers, Private: r.Private, Added: r.Added, Wanted: r.Wanted}
	row, err := json.Marshal(known)
	if err != nil {
		return err
	}
	err = s.db.Update(func(tx *state.Tx) error {
		var err error
		if orphans, err = unfile(tx, key, sums); err != nil {
			return err
		}
		if r.Refs > 0 {
			if err := tx.Put(bRecord, key, row); err != nil {
				return err
			}
		}
		if more != nil {
			return more(tx)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("remove torrent %s: %w", h, err)
	}
	s.forget(r, known, orphans)
	return nil
}

// unfile deletes a torrent's rows and returns which of its files no other one points to.
func unfile(tx *state.Tx, key string, sums []Sum) (orphans []Sum, err error) {
	for _, sum := range sums {
		if err := tx.Delete(bBlob, sum.String()+"/"+key); err != nil {
			return nil, err
		}
		left := false
		tx.Each(bBlob, sum.String()+"/", "", func(string, []byte) bool { left = true; return false })
		if !left {
			orphans = append(orphans, sum)
		}
	}
	for _, b := range []string{bSums, bPieces, bInfo, bRecord} {
		if err := tx.Delete(b, key); err != nil {
			return nil, err
		}
	}
	return orphans, nil
}

// forget takes a removed torrent out of memory and its octets off the disk.
func (s *Store) forget(r *Record, known Record, orphans []Sum) {
	s.mu.Lock()
	if r.State == Partial {
		s.used -= r.Length
	}
	for _, sum := range orphans {
		s.used -= s.blobs[sum]
		delete(s.blobs, sum)
	}
	if delete(s.index, r.Hash); r.Refs > 0 {
		s.index[r.Hash] = &known
	}
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	for _, sum := range orphans {
		_ = os.Remove(s.blobPath(sum)) // an index without the file is worse than a file without the index: sweep finds it
	}
	_ = os.RemoveAll(s.partDir(r.Hash))
}
