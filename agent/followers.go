package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/spool"
)

// cursorBucket holds the saved cursors: name -> 8 octets Seq, then the spool's id.
const cursorBucket = "agent.cursors"

// Start says where a follower without a usable cursor begins: ARCHITECTURE §4
// rule 10.
type Start uint8

// The places to begin.
const (
	AtBeginning Start = iota // peers, search, control: what they do is repeatable
	AtEnd                    // what reaches people
)

// Pipelined is a Follower that has several entries in work at once: Follow may
// return nil before an entry is done. Done is the newest Seq up to which all is
// done; it only rises, and the cursor is saved from it. When Follow fails, the
// follower is told again from Done on.
type Pipelined interface {
	spool.Follower
	Done() spool.Seq
}

// beginner is a Follower that wants to know where it begins.
type beginner interface {
	Begin(after spool.Seq)
}

// Followers runs followers of one spool, each in a goroutine of its own, and
// saves their cursors, all with one sync: ten followers must not sync ten times
// as often as one. After a crash they repeat what came behind the saved cursor.
// Its exported fields are set once, before use.
type Followers struct {
	Spool spool.Store
	State *state.DB // nil: cursors are not saved
	Log   *slog.Logger
	Now   func() time.Time

	// Save is how often cursors are saved; 0: every 2 s. They are also saved when
	// a follower ends.
	Save time.Duration
	// Retry is the first pause after a temporary error; it doubles up to a minute.
	// 0: a second.
	Retry time.Duration

	mu   sync.Mutex
	runs map[string]*run
	stop bool
	wg   sync.WaitGroup // of the followers

	saving sync.Mutex    // one save at a time: a cursor never falls
	halt   chan struct{} // closed: no more is saved
	saver  sync.WaitGroup
}

// A follower that reaches the end of a log that grows by manyAtOnce entries while
// it reads lets gather pass before it reads on: to be woken for each commit costs
// more than the work, and under such load nobody sees the difference.
const (
	manyAtOnce = 16
	gather     = 10 * time.Millisecond
)

// Lag is how a follower stands.
type Lag struct {
	Name    string
	Done    spool.Seq // the newest entry that is done
	Behind  uint64    // entries between Done and the end of the log, at most
	Saved   spool.Seq // cursor on disk
	Error   string    // last temporary error, "" once it went on
	Since   time.Time // of that error
	Skipped uint64    // entries passed over after permanent errors
}

type run struct {
	f      spool.Follower
	cancel context.CancelFunc
	over   chan struct{}

	mu  sync.Mutex
	lag Lag
}

func (s *Followers) log() *slog.Logger {
	if s.Log != nil {
		return s.Log
	}
	return slog.New(slog.DiscardHandler)
}

func (s *Followers) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// Start runs f until Stop, StopAll, or ctx ends. A name can run once only.
func (s *Followers) Start(ctx context.Context, f spool.Follower, at Start) error {
	name := f.Name()
	after, err := s.cursor(name, at)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop {
		return errors.New("followers are stopped")
	}
	if s.runs == nil {
		s.runs = make(map[string]*run)
		s.halt = make(chan struct{})
		s.saver.Go(s.keepSaved)
	}
	if s.runs[name] != nil {
		return fmt.Errorf("follower %s runs already", name)
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &run{f: f, cancel: cancel, over: make(chan struct{})}
	r.lag = Lag{Name: name, Done: after, Saved: after}
	s.runs[name] = r
	if b, ok := f.(beginner); ok {
		b.Begin(after)
	}
	s.wg.Go(func() {
		defer close(r.over)
		s.follow(ctx, r, after)
		cancel()
		s.saveRun(r)
	})
	return nil
}

// cursor reads the saved cursor, or decides where to begin.
func (s *Followers) cursor(name string, at Start) (spool.Seq, error) {
	begin := spool.Seq(0)
	if at == AtEnd {
		begin = s.Spool.Last()
	}
	if s.State == nil {
		return begin, nil
	}
	var raw []byte
	err := s.State.View(func(tx *state.Tx) error {
		raw = tx.Get(cursorBucket, name)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("read the cursor of %s: %w", name, err)
	}
	if len(raw) < 8 {
		// A first cursor is kept at once: after a crash AtEnd must not mean a later end.
		return begin, s.save(cursor{name, begin})
	}
	seq := spool.Seq(binary.BigEndian.Uint64(raw))
	if string(raw[8:]) != s.Spool.SpoolID() || seq > s.Spool.Last() {
		s.log().Warn("the log is not the one this follower read before: it begins anew", "follower", name, "at", begin)
		return begin, s.save(cursor{name, begin})
	}
	return seq, nil
}

// cursor is one to be saved.
type cursor struct {
	name string
	seq  spool.Seq
}

// save writes cursors, all with one sync.
func (s *Followers) save(cs ...cursor) error {
	if s.State == nil {
		return nil
	}
	id := s.Spool.SpoolID()
	err := s.State.Update(func(tx *state.Tx) error {
		for _, c := range cs {
			if err := tx.Put(cursorBucket, c.name, append(binary.BigEndian.AppendUint64(nil, uint64(c.seq)), id...)); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("save cursors: %w", err)
	}
	return nil
}

// keepSaved saves the cursors now and then, and when asked to.
func (s *Followers) keepSaved() {
	every := s.Save
	if every == 0 {
		every = 2 * time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-s.halt:
			return
		}
		s.saveAll()
	}
}

func (s *Followers) saveAll() {
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.runs))
	s.mu.Unlock()
	s.saveRuns(all)
}

func (s *Followers) saveRun(r *run) {
	s.saving.Lock()
	defer s.saving.Unlock()
	s.saveRuns([]*run{r})
}

// saveRuns saves those cursors that have risen; s.saving is held.
func (s *Followers) saveRuns(runs []*run) {
	var cs []cursor
	var risen []*run
	for _, r := range runs {
		r.mu.Lock()
		done, saved := r.lag.Done, r.lag.Saved
		r.mu.Unlock()
		if p, ok := r.f.(Pipelined); ok {
			done = max(saved, p.Done())
		}
		if done > saved {
			cs, risen = append(cs, cursor{r.f.Name(), done}), append(risen, r)
		}
	}
	if len(cs) == 0 {
		return
	}
	if err := s.save(cs...); err != nil {
		s.log().Warn("cursors not saved", "error", err)
		return
	}
	for i, r := range risen {
		r.mu.Lock()
		r.lag.Saved = cs[i].seq
		r.mu.Unlock()
	}
}

// follow is the loop of one follower.
func (s *Followers) follow(ctx context.Context, r *run, after spool.Seq) {
	pause := s.firstPause()
	for ctx.Err() == nil {
		err := s.Spool.Wait(ctx, after)
		if err == nil {
			var next spool.Seq
			before := after
			if next, err = s.read(ctx, r, after); next > after {
				after, pause = next, s.firstPause()
			}
			if err == nil && after-before >= manyAtOnce {
				rest(ctx, gather)
			}
		}
		if err == nil {
			continue
		}
		if ctx.Err() != nil || errors.Is(err, spool.ErrClosed) {
			return
		}
		r.fail(err, s.now())
		s.log().Warn("follower waits after an error", "follower", r.f.Name(), "after", after, "pause", pause, "error", err)
		if p, ok := r.f.(Pipelined); ok {
			after = min(after, max(p.Done(), r.saved()))
		}
		rest(ctx, pause)
		pause = min(2*pause, time.Minute)
	}
}

// rest waits for d, or until ctx is done.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (s *Followers) firstPause() time.Duration {
	if s.Retry > 0 {
		return s.Retry
	}
	return time.Second
}

// read hands entries on until the log's end or an error.
func (s *Followers) read(ctx context.Context, r *run, after spool.Seq) (spool.Seq, error) {
	last := s.Spool.Last()
	for e, err := range s.Spool.Since(ctx, after) {
		if err != nil {
			return after, fmt.Errorf("read the log: %w", err)
		}
		if err := r.f.Follow(ctx, e); spool.IsPermanent(err) {
			s.log().Warn("follower passes over an article", "follower", r.f.Name(), "id", e.ID, "seq", e.Seq, "error", err)
			r.skip()
		} else if err != nil {
			return after, fmt.Errorf("article %d %s: %w", e.Seq, e.ID, err)
		}
		after = e.Seq
		r.done(after)
	}
	if ctx.Err() != nil {
		return after, ctx.Err()
	}
	// What was removed is skipped by Since: the end was reached all the same.
	if last > after {
		after = last
		r.done(after)
	}
	return after, nil
}

func (r *run) done(seq spool.Seq) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lag.Done, r.lag.Error = seq, ""
}

func (r *run) saved() spool.Seq {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lag.Saved
}

func (r *run) skip() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lag.Skipped++
}

func (r *run) fail(err error, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lag.Error, r.lag.Since = err.Error(), at
}

// Lags tells how all followers stand.
func (s *Followers) Lags() []Lag {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.Spool.Last()
	out := make([]Lag, 0, len(s.runs))
	for _, r := range s.runs {
		r.mu.Lock()
		l := r.lag
		r.mu.Unlock()
		if p, ok := r.f.(Pipelined); ok {
			l.Done = max(l.Saved, p.Done())
		}
		if last > l.Done {
			l.Behind = uint64(last - l.Done)
		}
		out = append(out, l)
	}
	return out
}

// Saved is the cursor of a running follower on disk: a row that leads outside is
// worked on only once this has passed it (ARCHITECTURE §4 rule 10).
func (s *Followers) Saved(name string) spool.Seq {
	s.mu.Lock()
	r := s.runs[name]
	s.mu.Unlock()
	if r == nil {
		return 0
	}
	return r.saved()
}

// Stop ends one follower and waits for it; its cursor is saved.
func (s *Followers) Stop(name string) {
	s.mu.Lock()
	r := s.runs[name]
	s.mu.Unlock()
	if r == nil {
		return
	}
	r.cancel()
	<-r.over
	s.saveRun(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.runs[name] == r {
		delete(s.runs, name)
	}
}

// Forget removes the cursor of a follower that does not run: a peer was removed.
func (s *Followers) Forget(name string) error {
	if s.State == nil {
		return nil
	}
	s.saving.Lock()
	defer s.saving.Unlock()
	return s.State.Update(func(tx *state.Tx) error { return tx.Delete(cursorBucket, name) })
}

// StopAll ends all followers, waits for them, and saves their cursors.
func (s *Followers) StopAll() {
	s.mu.Lock()
	first := !s.stop
	s.stop = true
	for _, r := range s.runs {
		r.cancel()
	}
	if first && s.halt != nil {
		close(s.halt)
	}
	s.mu.Unlock()
	s.wg.Wait()
	s.saver.Wait()
}
