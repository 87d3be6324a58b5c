package torrent

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/litfass/litfass/internal/state"
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
		WebSeeds: r.WebSeeds, Trackers: r.Trackers, Added: r.Added, Wanted: r.Wanted}
	row, err := json.Marshal(known)
	if err != nil {
		return err
	}
	err = s.db.Update(func(tx *state.Tx) error {
		orphans = orphans[:0]
		for _, sum := range sums {
			if err := tx.Delete(bBlob, sum.String()+"/"+key); err != nil {
				return err
			}
			left := false
			tx.Each(bBlob, sum.String()+"/", "", func(string, []byte) bool { left = true; return false })
			if !left {
				orphans = append(orphans, sum)
			}
		}
		for _, b := range []string{bSums, bPieces, bInfo, bRecord} {
			if err := tx.Delete(b, key); err != nil {
				return err
			}
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

// Deny puts an infohash or SHA-256 on the deny list and removes what it names.
func (s *Store) Deny(hash, reason string) error {
	hash = strings.ToLower(strings.TrimSpace(hash))
	_, errSum := ParseSum(hash)
	h, errHash := ParseInfohash(hash)
	if errSum != nil && (errHash != nil || len(hash) != 40) {
		return fmt.Errorf("deny %q: neither an infohash (40 hexadecimal digits) nor a SHA-256 (64)", hash)
	}
	if reason == "" {
		reason = "-"
	}
	if err := s.db.Update(func(tx *state.Tx) error { return tx.Put(bDeny, hash, []byte(reason)) }); err != nil {
		return fmt.Errorf("deny %s: %w", hash, err)
	}
	s.mu.Lock()
	s.deny[hash] = true
	s.mu.Unlock()
	var hit []Infohash
	if errSum != nil {
		hit = []Infohash{h}
	} else {
		hit = s.users(hash)
	}
	for _, h := range hit {
		if err := s.Remove(h); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}

// users returns the infohashes that point to a file.
func (s *Store) users(sum string) (out []Infohash) {
	_ = s.db.View(func(tx *state.Tx) error {
		tx.Each(bBlob, sum+"/", "", func(key string, _ []byte) bool {
			if h, err := ParseInfohash(key[65:]); err == nil {
				out = append(out, h)
			}
			return true
		})
		return nil
	})
	return out
}

// DenyList reads a deny list: an infohash or SHA-256 in front of each line, the
// rest is a comment; empty lines and those that begin with # are passed.
func (s *Store) DenyList(r io.Reader) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		hash, why, _ := strings.Cut(text, " ")
		if err := s.Deny(hash, strings.TrimSpace(why)); err != nil {
			return err
		}
	}
	return lines.Err()
}

// Allow takes a hash off the deny list.
func (s *Store) Allow(hash string) error {
	hash = strings.ToLower(strings.TrimSpace(hash))
	if err := s.db.Update(func(tx *state.Tx) error { return tx.Delete(bDeny, hash) }); err != nil {
		return fmt.Errorf("allow %s: %w", hash, err)
	}
	s.mu.Lock()
	delete(s.deny, hash)
	s.mu.Unlock()
	return nil
}

// Denied returns the deny list: the reason of each infohash and SHA-256.
func (s *Store) Denied() (map[string]string, error) {
	out := map[string]string{}
	err := s.db.View(func(tx *state.Tx) error {
		tx.Each(bDeny, "", "", func(hash string, why []byte) bool { out[hash] = string(why); return true })
		return nil
	})
	return out, err
}

func (s *Store) denied(h Infohash, sum Sum) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deny[h.String()] || !sum.IsZero() && s.deny[sum.String()] {
		return fmt.Errorf("%s %w", h, ErrDenied)
	}
	return nil
}

// Sweep drops references to articles that are gone, and what has outlived its
// time: without references own and mirror become cache and go after their grace;
// downloads without progress go after 30 days. live asks the spool.
func (s *Store) Sweep(ctx context.Context, live func(ctx context.Context, id string) (bool, error)) error {
	for _, r := range s.List() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.sweepOne(ctx, r, live); err != nil {
			return err
		}
	}
	return s.forgetGone()
}

// forgetGone drops the marks of Discard that no article can be late for any more.
func (s *Store) forgetGone() error {
	old := map[string]bool{}
	err := s.db.View(func(tx *state.Tx) error {
		tx.Each(bGone, "", "", func(key string, v []byte) bool {
			at, err := strconv.ParseInt(string(v), 10, 64)
			old[key] = err != nil || s.now()-at > int64(goneGrace.Seconds())
			return true
		})
		return nil
	})
	maps.DeleteFunc(old, func(_ string, yes bool) bool { return !yes })
	if err != nil || len(old) == 0 {
		return err
	}
	return s.db.Update(func(tx *state.Tx) error {
		for key := range old {
			if err := tx.Delete(bGone, key); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) sweepOne(ctx context.Context, r Record, live func(context.Context, string) (bool, error)) error {
	var dead []string
	for _, ref := range s.References(r.Hash) {
		ok, err := live(ctx, ref.ID)
		if err != nil {
			return fmt.Errorf("ask for the articles of torrent %s: %w", r.Hash, err)
		}
		if !ok {
			dead = append(dead, ref.ID)
		}
	}
	if len(dead) > 0 {
		if err := s.unrefer(r.Hash, dead); err != nil {
			return err
		}
	}
	now, err := s.Record(r.Hash)
	if err != nil || !s.ended(&now) {
		return nil // removed meanwhile, or it stays
	}
	if err := s.remove(r.Hash, nil, s.ended); !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}

// ended says that a torrent has outlived its time.
func (s *Store) ended(r *Record) bool {
	now := s.now()
	stalled := r.State == Partial && now-max(r.Progress, r.Wanted, r.Added) > int64(stalledGrace.Seconds())
	return !r.Pinned && (stalled || r.Until != 0 && now > r.Until && r.Refs == 0)
}

// unrefer forgets articles that are gone. Without any, what is not pinned becomes
// cache and has its grace.
func (s *Store) unrefer(h Infohash, dead []string) error {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	r, err := s.Record(h)
	if err != nil {
		return nil // removed meanwhile
	}
	if r.Refs = max(r.Refs-len(dead), 0); r.Refs == 0 && !r.Pinned {
		r.Class, r.Until = Cache, s.now()+int64(s.cfg.Grace.Seconds())
	}
	return s.put(r, func(tx *state.Tx) error {
		for _, id := range dead {
			if err := tx.Delete(bRef, h.String()+"/"+id); err != nil {
				return err
			}
		}
		return nil
	})
}
