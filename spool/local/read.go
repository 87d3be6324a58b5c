package local

import (
	"context"
	"errors"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// headGuess is how many octets are read in the hope that they hold a record's head.
const headGuess = 1024

func isNotFound(err error) bool { return errors.Is(err, spool.ErrNotFound) }

func notOpen(err error) error {
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return spool.ErrClosed
	}
	return err
}

// view runs fn in a read transaction of the index.
func (s *Spool) view(fn func(*bolt.Tx) error) (err error) {
	defer s.guard(&err)
	return notOpen(s.db.View(fn))
}

// ByID implements spool.Reader.
func (s *Spool) ByID(ctx context.Context, id article.ID) (spool.Entry, error) {
	if err := s.rlock(ctx); err != nil {
		return spool.Entry{}, err
	}
	s.mu.RUnlock()
	k, ok, err := s.known(id.Hash())
	if err != nil {
		return spool.Entry{}, err
	}
	if !ok || k.seq == 0 {
		return spool.Entry{}, fmt.Errorf("article %s: %w", id, spool.ErrNotFound)
	}
	e, err := s.entry(k.seq)
	if err == nil && e.ID != id {
		err = fmt.Errorf("article %s: %w", id, spool.ErrNotFound)
	}
	return e, err
}

// ByNumber implements spool.Reader.
func (s *Spool) ByNumber(ctx context.Context, p spool.Place) (spool.Entry, error) {
	if err := s.rlock(ctx); err != nil {
		return spool.Entry{}, err
	}
	g := s.groups[p.Group]
	s.mu.RUnlock()
	var raw []byte
	var err error
	if g != nil {
		raw, err = s.rowAt(rowPlace{g.gid, p.Number})
	}
	if err == nil && len(raw) < 8 {
		err = spool.ErrNotFound
	}
	if err != nil {
		return spool.Entry{}, fmt.Errorf("article %s:%d: %w", p.Group, p.Number, err)
	}
	e, err := s.entry(rowSeq(raw))
	if i := slices.Index(e.Places, p); i > 0 {
		copy(e.Places[1:i+1], e.Places[:i])
		e.Places[0] = p
	}
	return e, err
}

// Open implements spool.Reader: of what came last nothing is read; else one read,
// the checksum, no parsing.
func (s *Spool) Open(ctx context.Context, seq spool.Seq) (*article.Article, error) {
	if err := s.rlock(ctx); err != nil {
		return nil, err
	}
	art := s.recent.article(seq)
	s.mu.RUnlock()
	if art != nil {
		return art, nil
	}
	r, v, _, err := s.readRecord(seq, true)
	if err != nil {
		return nil, err
	}
	if err := s.prune(&r.Entry, v); err != nil {
		return nil, err
	}
	return article.Stored(r.wire, r.headLen, r.Overview), nil
}

// entry returns the whole entry of seq with the places that can be read now.
func (s *Spool) entry(seq spool.Seq) (spool.Entry, error) {
	e, _, _, err := s.sizedEntry(seq)
	return e, err
}

// sizedEntry is entry that also says where the record is and how long.
func (s *Spool) sizedEntry(seq spool.Seq) (spool.Entry, view, int64, error) {
	r, v, size, err := s.readRecord(seq, false)
	if err != nil {
		return spool.Entry{}, v, 0, err
	}
	if err := s.prune(&r.Entry, v); err != nil {
		return spool.Entry{}, v, 0, err
	}
	return r.Entry, v, size, nil
}

// readRecord reads the head, or with whole all, of the record of seq, and says
// how long the record is.
func (s *Spool) readRecord(seq spool.Seq, whole bool) (record, view, int64, error) {
	v, off, end, err := s.locate(seq)
	if err != nil {
		return record{}, v, 0, fmt.Errorf("article of seq %d: %w", seq, err)
	}
	r, err := v.read(off, end, whole)
	if err == nil && r.Seq != seq {
		err = fmt.Errorf("%w: another article's", errBad)
	}
	if err != nil {
		return record{}, v, 0, fmt.Errorf("article of seq %d in segment %d at %d: %w", seq, v.num, off, err)
	}
	return r, v, end - off, nil
}

func (g *segment) read(off, end int64, whole bool) (record, error) {
	f, err := g.handle()
	if err != nil {
		return record{}, err
	}
	n := end - off
	if !whole {
		n = min(n, headGuess)
	}
	b, err := readAt(f, make([]byte, n), off)
	if err != nil {
		return record{}, err
	}
	if whole {
		r, _, err := parseRecord(b, g.salt)
		return r, err
	}
	p, err := parsePrefix(b)
	if err != nil {
		return record{}, err
	}
	if need := int64(prefixLen + p.head); need > n && need <= end-off {
		if b, err = readAt(f, make([]byte, need), off); err != nil {
			return record{}, err
		}
	}
	r, _, err := parseHead(b, g.salt)
	return r, err
}

// prune leaves those places of an entry read from the log that can be read now;
// without any it is not found.
func (s *Spool) prune(e *spool.Entry, v view) error {
	if v.deadPlaces.Load() == 0 {
		return nil
	}
	kept := e.Places[:0]
	for _, p := range e.Places {
		s.mu.RLock()
		g := s.groups[p.Group]
		s.mu.RUnlock()
		if g == nil {
			continue
		}
		ok, err := s.hasRow(rowPlace{g.gid, p.Number})
		if err != nil {
			return err
		}
		if ok {
			kept = append(kept, p)
		}
	}
	e.Places = kept
	if len(kept) == 0 {
		return fmt.Errorf("article of seq %d: %w", e.Seq, spool.ErrNotFound)
	}
	return nil
}
