package torrent

import (
	"cmp"
	"errors"
	"fmt"
)

// Reserve promises n octets of room to a file of o, dropping what nobody asks
// for if need be, or says with numbers why not (ErrQuota). release gives the
// promise back, once the octets are counted or were given up.
func (s *Store) Reserve(n int64, o Owner) error {
	if n > s.cfg.MaxSize {
		return fmt.Errorf("%w: %d octets, one torrent may have %d (torrent.max_size)", ErrQuota, n, s.cfg.MaxSize)
	}
	if err := s.shares(n, o); err != nil {
		return err
	}
	for {
		short, room := s.room()
		if n <= room {
			s.mu.Lock()
			fits := s.used+n <= s.cfg.Quota
			if fits {
				s.used += n
			}
			s.mu.Unlock()
			if fits {
				return nil
			}
		}
		victim, ok := s.victim()
		if !ok {
			return fmt.Errorf("%w: %d octets are asked for, %d are left (%s)", ErrQuota, n, max(room, 0), short)
		}
		if err := s.remove(victim, nil, (*Record).spare); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
}

func (s *Store) release(n int64) {
	s.mu.Lock()
	s.used -= n
	s.mu.Unlock()
}

// room returns the octets that may still come, and what the limit is.
func (s *Store) room() (why string, n int64) {
	s.mu.Lock()
	n = s.cfg.Quota - s.used
	s.mu.Unlock()
	why = "torrent.quota"
	if free, err := s.fs.Free(s.cfg.Dir); err == nil && free-s.cfg.MinFree < n {
		n, why = free-s.cfg.MinFree, "the disk is nearly full"
	}
	return why, n
}

// roomUnasked says whether n octets may be fetched that nobody here asked for: of
// the disk 5 % stay free then, beside what always does (spec §4).
func (s *Store) roomUnasked(n int64) error {
	free, err := s.fs.Free(s.cfg.Dir)
	if err != nil {
		return err
	}
	size, err := s.diskSize(s.cfg.Dir)
	if err != nil {
		return err
	}
	if keep := max(s.cfg.MinFree, size/20); free-n < keep {
		return fmt.Errorf("%w: %d octets are asked for, %d are free on the disk, and %d stay so", ErrQuota, n, free, keep)
	}
	return nil
}

// shares checks the quotas of group and author.
func (s *Store) shares(n int64, o Owner) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var group, author int64
	day := s.now() - 24*60*60
	for _, r := range s.index {
		if r.State == Known {
			continue
		}
		if o.Group != "" && r.Group == o.Group {
			group += r.Length
		}
		if o.Author != "" && r.Author == o.Author && r.Added > day {
			author += r.Length
		}
	}
	if group+n > s.cfg.GroupQuota {
		return fmt.Errorf("%w: %s holds %d of %d octets, %d more do not fit", ErrQuota, o.Group, group, s.cfg.GroupQuota, n)
	}
	if author+n > s.cfg.AuthorDaily {
		return fmt.Errorf("%w: you added %d of %d octets in a day, %d more do not fit", ErrQuota, author, s.cfg.AuthorDaily, n)
	}
	return nil
}

// victim picks what goes first when room is needed: cache that nobody wanted for
// longest, what waits for its end of grace before what does not. Own, mirror and
// pinned stay while articles name them.
func (s *Store) victim() (Infohash, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var best *Record
	for _, r := range s.index {
		if !r.spare() {
			continue
		}
		if best == nil || cmp.Or(-cmp.Compare(b2i(r.dead()), b2i(best.dead())), cmp.Compare(r.Wanted, best.Wanted)) < 0 {
			best = r
		}
	}
	if best == nil {
		return Infohash{}, false
	}
	return best.Hash, true
}

// dead says that no article names a torrent any more: it waits for its end of grace.
func (r *Record) dead() bool { return r.Until != 0 && r.Refs == 0 && r.Class != Own }

// spare says that a torrent may go when room is needed.
func (r *Record) spare() bool {
	return !r.Pinned && r.Complete() && (r.Class == Cache || r.dead())
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
