package peer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/litfass/litfass/spool"
)

// sender feeds one peer.
type sender struct {
	cfg     *Config
	peer    Peer
	wants   func(context.Context, *spool.Entry) (bool, error)
	spoolID string
	tally   tally
	check   checking
	oldest  int64 // arrival of the oldest open article, Unix seconds; under tally.mu

	fresh   chan batch
	work    chan item // to workers with a connection
	extra   chan item // to workers without
	reports chan report
	saves   chan cursor
	wake    chan struct{}

	stop context.CancelFunc
	done chan struct{}
}

func newSender(cfg *Config, p Peer) (*sender, error) {
	p.defaults()
	wants, err := p.Wants(cfg.Spool.Open)
	if err != nil {
		return nil, err
	}
	s := &sender{
		cfg: cfg, peer: p, wants: wants, spoolID: cfg.Spool.SpoolID(),
		fresh: make(chan batch), work: make(chan item, 32), extra: make(chan item),
		reports: make(chan report, 64), saves: make(chan cursor), wake: make(chan struct{}, 1),
		done: make(chan struct{}),
	}
	s.tally.Name, s.tally.Address = p.Name, p.Address
	s.check.reset()
	return s, nil
}

// start begins to send and pull. stopped ends it and waits.
func (s *sender) start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	go func() {
		defer close(s.done)
		var wg sync.WaitGroup
		if s.peer.Address != "" {
			wg.Go(func() { s.send(ctx) })
		}
		if s.peer.Address != "" && s.peer.Pull > 0 && s.cfg.Relay != nil {
			wg.Go(func() { s.pull(ctx) })
		}
		wg.Wait()
	}()
}

// send runs reader, desk, saver and workers until ctx ends, and saves the cursor.
func (s *sender) send(ctx context.Context) {
	var c cursor
	for {
		var why string
		var err error
		if c, why, err = loadCursor(s.cfg.State, s.peer.Name, s.cfg.Spool); err == nil {
			if why != "" {
				s.cfg.Log.Warn("peer is offered everything again", "peer", s.peer.Name, "why", why)
			}
			break
		}
		s.tally.failed(err, s.cfg.Now())
		if !sleep(ctx, s.cfg.RetryMax) {
			return
		}
	}
	d := &desk{sender: s, upto: c.Seq, ids: map[spool.Seq]struct{}{}, first: first{open: map[spool.Seq]struct{}{}, early: map[spool.Seq]struct{}{}}, timer: time.NewTimer(time.Hour)}
	d.restore(ctx, c.Deferred)
	var followers, saver sync.WaitGroup
	followers.Go(func() { s.read(ctx, c.Seq) })
	for range s.peer.Conns {
		followers.Go(func() { s.worker(ctx) })
	}
	saver.Go(func() {
		for c := range s.saves {
			if err := c.save(s.cfg.State, s.peer.Name); err != nil {
				s.tally.failed(err, s.cfg.Now())
				s.cfg.Log.Error("peer's cursor", "peer", s.peer.Name, "err", err)
			}
		}
	})
	d.run(ctx)
	followers.Wait()
	s.saves <- d.cursor()
	close(s.saves)
	saver.Wait()
}

// restore puts the saved list of deferred articles into the queue.
func (d *desk) restore(ctx context.Context, seqs []spool.Seq) {
	for _, seq := range seqs {
		for e, err := range d.cfg.Spool.Since(ctx, seq-1) {
			if err == nil && e.Seq == seq {
				d.ids[seq] = struct{}{}
				d.queue = append(d.queue, item{seq: seq, id: e.ID, doubt: true, old: true})
			}
			break
		}
	}
}

// read follows the log and hands on what the peer is to have.
func (s *sender) read(ctx context.Context, after spool.Seq) {
	for ctx.Err() == nil {
		if err := s.cfg.Spool.Wait(ctx, after); err != nil {
			if errors.Is(err, spool.ErrClosed) || !s.troubled(ctx, err) {
				return
			}
			continue
		}
		last := s.cfg.Spool.Last()
		b := batch{upto: after}
		var failed error
		for e, err := range s.cfg.Spool.Since(ctx, after) {
			wanted := false
			if err == nil {
				wanted, err = s.wants(ctx, &e)
			}
			if err != nil {
				failed = err
				break
			}
			b.upto = e.Seq
			if wanted {
				b.items = append(b.items, item{seq: e.Seq, id: e.ID})
				b.times = append(b.times, e.Arrived.Unix())
			}
			if len(b.items) >= batchSize || e.Seq-after >= 64*batchSize {
				if !s.hand(ctx, b) {
					return
				}
				after = b.upto
				b = batch{upto: after}
			}
		}
		if failed == nil {
			b.upto = max(b.upto, last) // the last ones may be removed already
		}
		if b.upto > after && !s.hand(ctx, b) {
			return
		}
		after = b.upto
		if failed != nil && !s.troubled(ctx, failed) {
			return
		}
	}
}

// batchSize is how many articles go from the reader to the desk at one time.
const batchSize = 32

func (s *sender) hand(ctx context.Context, b batch) bool {
	select {
	case s.fresh <- b:
		return true
	case <-ctx.Done():
		return false
	}
}

// troubled notes an error of the spool and waits a little.
func (s *sender) troubled(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	s.tally.failed(err, s.cfg.Now())
	s.cfg.Log.Error("reading the spool for a peer", "peer", s.peer.Name, "err", err)
	return sleep(ctx, s.cfg.RetryMin)
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// worker makes a connection whenever the desk wants one more, and feeds over it.
func (s *sender) worker(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case it := <-s.extra:
			s.reports <- s.feed(ctx, it)
		}
	}
}

// feed connects and feeds, beginning with first, until the connection ends.
func (s *sender) feed(ctx context.Context, first item) report {
	c, err := s.cfg.dialer(&s.peer).Connect(ctx)
	if err != nil {
		return report{outcomes: []outcome{{first, returned}}, ended: true, err: err}
	}
	stopping := context.AfterFunc(ctx, func() {
		time.AfterFunc(s.cfg.Farewell, func() { c.Close() })
	})
	defer stopping()
	defer c.Close()
	streaming, err := c.ModeStream()
	if err != nil {
		return report{outcomes: []outcome{{first, returned}}, ended: true, err: err}
	}
	s.tally.with(func(st *Stats) {
		if st.Conns++; st.Conns == 1 {
			st.Since = s.cfg.Now()
		}
		st.Streaming = streaming
	})
	defer s.tally.with(func(st *Stats) {
		if st.Conns--; st.Conns == 0 {
			st.Since = time.Time{}
		}
	})
	if streaming {
		return newStream(s, c).run(ctx, first)
	}
	return s.ihave(ctx, c, first)
}

// stats returns the figures of now.
func (s *sender) stats() Stats {
	last, now := s.cfg.Spool.Last(), s.cfg.Now()
	s.tally.mu.Lock()
	defer s.tally.mu.Unlock()
	st := s.tally.Stats
	st.Rate = s.tally.rate.now(now)
	st.Checking = s.check.needed()
	if last > st.Cursor {
		st.Lag = uint64(last - st.Cursor)
		if s.oldest > 0 {
			st.LagTime = max(now.Sub(time.Unix(s.oldest, 0)), 0)
		}
	}
	if s.peer.Address == "" {
		st.Lag, st.LagTime = 0, 0
	}
	return st
}
