package torrent

import (
	"slices"

	"github.com/litfass/litfass/internal/state"
)

// Refer notes that an article names the torrent. It may be called again.
func (s *Store) Refer(ref Reference, a Attachment, group string) error {
	if err := s.denied(a.Hash, a.Sum); err != nil {
		return err
	}
	s.wmu.Lock()
	defer s.wmu.Unlock()
	r, err := s.Record(a.Hash)
	if err != nil {
		r = Record{Hash: a.Hash, Name: a.Name, Length: a.Length, State: Known, Class: Cache, Group: group, Added: s.now()}
		if m, err := ParseMagnet(a.Magnet); err == nil {
			r.WebSeeds, r.Trackers = m.WebSeeds, m.Trackers
		}
	}
	key := a.Hash.String() + "/" + ref.ID
	fresh := false
	err = s.db.View(func(tx *state.Tx) error { fresh = tx.Get(bRef, key) == nil; return nil })
	if err != nil || !fresh {
		return err
	}
	if r.State == Known {
		r.describe(a)
	}
	r.Refs++
	r.Until = 0
	sum := []byte{}
	if !ref.Sum.IsZero() {
		sum = ref.Sum[:]
	}
	if err := s.put(r, func(tx *state.Tx) error { return tx.Put(bRef, key, sum) }); err != nil {
		return err
	}
	return s.recheck(r)
}

// describe takes over what an article says of a torrent that is not here. It counts for
// more than a magnet link. Where two articles say different lengths one of them lies:
// then it is not known, and the SHA-256 decides at the end.
func (r *Record) describe(a Attachment) {
	switch {
	case r.Refs == 0:
		r.Name, r.Length = a.Name, a.Length
	case r.Length != a.Length:
		r.Length = 0
	}
}

// recheck makes a complete torrent verified once an article vouches for it.
func (s *Store) recheck(r Record) error {
	if r.State != Here {
		return nil
	}
	sums, err := s.Sums(r.Hash)
	if err != nil || !s.promised(r.Hash, sums) {
		return err
	}
	r.State = Verified
	return s.put(r, nil)
}

// References returns the articles that name a torrent.
func (s *Store) References(h Infohash) (out []Reference) {
	_ = s.db.View(func(tx *state.Tx) error {
		prefix := h.String() + "/"
		tx.Each(bRef, prefix, "", func(key string, v []byte) bool {
			ref := Reference{ID: key[len(prefix):]}
			copy(ref.Sum[:], v)
			out = append(out, ref)
			return true
		})
		return nil
	})
	return out
}

// promised says whether an article names the one file's SHA-256.
func (s *Store) promised(h Infohash, sums []Sum) bool {
	if len(sums) != 1 {
		return false
	}
	return slices.ContainsFunc(s.References(h), func(r Reference) bool { return r.Sum == sums[0] })
}

// claimed says whether any article names a SHA-256 for the torrent.
func (s *Store) claimed(h Infohash) bool {
	return slices.ContainsFunc(s.References(h), func(r Reference) bool { return !r.Sum.IsZero() })
}
