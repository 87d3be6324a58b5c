package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/litfass/litfass/spool"
)

func isFull(err error) bool { return errors.Is(err, spool.ErrFull) }

// Stats is how a spool stands.
type Stats struct {
	Articles int64 // that can be read
	Bytes    int64 // of their records
	LogBytes int64 // of all segments, dead articles included
	Disk     int64 // octets on disk, index and all
	Quota    int64 // 0: none
	Segments int
	Groups   int
	Known    int64     // ids in history, those in the tail left out
	Oldest   time.Time // arrival of the oldest article in the log; zero: none
	Last     spool.Seq
	Classes  []Class // by retention class; at least one once there is an article
}

// Class is how the segments of one retention class stand.
type Class struct {
	Keep     time.Duration // what is kept up to so long lies here; 0: what is kept longer, or until room is needed
	Segments int
	Bytes    int64 // of them
	Dead     int64 // of that removed articles
}

// Stats returns how the spool stands. It is cheap but for Oldest: one read for each class.
func (s *Spool) Stats() Stats {
	s.mu.RLock()
	st := Stats{Articles: s.articles.Load(), Bytes: s.bytes.Load(), Disk: s.used(), Quota: s.cfg.Quota, Segments: len(s.segs), Groups: len(s.groups), Last: s.last}
	for _, g := range s.segs {
		st.LogBytes += g.size
	}
	for _, chain := range s.chains {
		c := Class{Keep: classSpan(chain[0].class), Segments: len(chain)}
		for _, g := range chain {
			c.Bytes += g.size
			c.Dead += g.deadBytes.Load()
		}
		st.Classes = append(st.Classes, c)
	}
	var few [classCount]view
	vs := s.views(few[:0], func(*segment) bool { return true })
	for _, h := range s.shards {
		st.Known += int64(h.count)
	}
	s.mu.RUnlock()
	for _, v := range vs {
		if e, err := v.entries(0, 2); err == nil && len(e) == 2 {
			if r, err := v.read(int64(e[0].off), int64(e[1].off), false); err == nil && (st.Oldest.IsZero() || r.Arrived.Before(st.Oldest)) {
				st.Oldest = r.Arrived
			}
		}
	}
	return st
}

// Report is what Check found.
type Report struct {
	Segments int      `json:"segments"`
	Records  int      `json:"articles"` // sound records
	Dead     int      `json:"removed"`  // of them removed ones
	Bytes    int64    `json:"octets"`   // read
	Rows     int      `json:"places"`   // in the index
	Problems []string `json:"problems"`
}

const maxProblems = 1000

func (r *Report) problem(format string, args ...any) {
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	}
}

// Check reads every record and compares checksums, tables and index with the
// log. The spool may be used meanwhile. The error means that it could not go on;
// what is wrong with the spool stands in the report. told may be nil.
func (s *Spool) Check(ctx context.Context, told Progress) (Report, error) {
	r := Report{Problems: []string{}} // in JSON a list, if an empty one
	if err := s.rlock(ctx); err != nil {
		return r, err
	}
	segs, of := s.segs, int64(0)
	for _, g := range segs {
		of += g.size
	}
	s.mu.RUnlock()
	step := func() {
		if told != nil {
			told(r.Bytes, of, r.Records)
		}
	}
	for _, g := range segs {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		s.mu.RLock()
		v := g.viewNow()
		s.mu.RUnlock()
		r.Segments++
		if err := s.checkSegment(ctx, &r, v, step); err != nil {
			return r, fmt.Errorf("check segment %d: %w", g.num, err)
		}
	}
	return r, s.checkRows(ctx, &r)
}

func (s *Spool) checkSegment(ctx context.Context, r *Report, v view, step func()) error {
	f, err := v.handle()
	if err != nil {
		return err
	}
	if b, err := readAt(f, make([]byte, segHeader), 0); err != nil {
		return err
	} else if _, err := decodeSegHeader(b); err != nil {
		r.problem("segment %d: its header is damaged", v.num)
	}
	found := 0
	err = v.scan(segHeader, v.size, true, func(x scanned) bool {
		if x.err != nil {
			r.problem("segment %d, octets %d to %d: %v: an article is lost", v.num, x.off, x.end, x.err)
			return ctx.Err() == nil
		}
		found++
		r.Records++
		r.Bytes += x.end - x.off
		off, end, ok, err := v.extent(x.rec.Seq)
		if err != nil || !ok || off != x.off || end < x.end {
			r.problem("segment %d: its table does not lead to article %s at %d", v.num, x.rec.ID, x.off)
		}
		s.checkKnown(r, v, &x.rec)
		step()
		return ctx.Err() == nil
	})
	if err == nil {
		err = ctx.Err()
	}
	return err
}

// checkKnown compares one record with the index.
func (s *Spool) checkKnown(r *Report, v view, rec *record) {
	k, ok, err := s.known(rec.ID.Hash())
	if err != nil {
		r.problem("history of %s: %v", rec.ID, err)
		return
	}
	places := slices.Clone(rec.Places)
	live := 0
	for _, p := range places {
		s.mu.RLock()
		g := s.groups[p.Group]
		s.mu.RUnlock()
		if g == nil {
			continue
		}
		raw, err := s.rowAt(rowPlace{g.gid, p.Number})
		if err != nil {
			r.problem("index of %s:%d: %v", p.Group, p.Number, err)
		} else if raw == nil && v.deadPlaces.Load() == 0 {
			r.problem("article %s is missing in %s as number %d", rec.ID, p.Group, p.Number)
		} else if raw != nil {
			live++
			if rowSeq(raw) != rec.Seq {
				r.problem("%s:%d leads to seq %d, the log has it at %d", p.Group, p.Number, rowSeq(raw), rec.Seq)
			}
		}
	}
	switch {
	case live == 0:
		r.Dead++
	case !ok || k.seq != rec.Seq:
		if again, err := s.entry(rec.Seq); err == nil && len(again.Places) > 0 {
			r.problem("history does not know article %s (seq %d)", rec.ID, rec.Seq)
		}
	}
}

// checkRows sees whether each row of the index leads to a record.
func (s *Spool) checkRows(ctx context.Context, r *Report) error {
	for info, err := range s.Groups(ctx) {
		if err != nil {
			return err
		}
		count := uint64(0)
		for e, err := range s.Range(ctx, info.Name, 0, 1<<63) {
			if isNotFound(err) {
				break // removed meanwhile
			}
			if err != nil {
				return err
			}
			r.Rows++
			count++
			full, err := s.entry(e.Seq)
			if isNotFound(err) {
				if raw, _ := s.rowAt(s.placeOf(e.Places[0])); raw != nil {
					r.problem("%s:%d is listed, but there is no such article in the log (seq %d)", info.Name, e.Places[0].Number, e.Seq)
				}
			} else if err != nil {
				r.problem("%s:%d is listed, but unreadable: %v", info.Name, e.Places[0].Number, err)
			} else if full.ID != e.ID {
				r.problem("%s:%d is %s in the index and %s in the log", info.Name, e.Places[0].Number, e.ID, full.ID)
			}
		}
		if now, err := s.Group(ctx, info.Name); err == nil && now.High == info.High && now.Count == info.Count && count != info.Count {
			r.problem("group %s counts %d articles, there are %d", info.Name, info.Count, count)
		}
	}
	return nil
}

func (s *Spool) placeOf(p spool.Place) rowPlace {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if g := s.groups[p.Group]; g != nil {
		return rowPlace{g.gid, p.Number}
	}
	return rowPlace{}
}

// Reindex makes the index of the spool in cfg.Dir anew from the log, with the
// same numbers, and returns how the spool stands then. Nobody may hold it.
func Reindex(cfg Config) (Stats, error) {
	c := cfg.orDefault()
	lock, err := c.FS.Lock(filepath.Join(c.Dir, "lock"))
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return Stats{}, fmt.Errorf("reindex %s: %w", c.Dir, err)
		}
		return Stats{}, ErrLocked
	}
	err = os.Remove(filepath.Join(c.indexDir, indexName))
	lock.Close()
	if err != nil && !isNotExist(err) {
		return Stats{}, fmt.Errorf("reindex: %w", err)
	}
	s, err := Open(cfg)
	if err != nil {
		return Stats{}, err
	}
	st := s.Stats()
	return st, s.Close()
}
