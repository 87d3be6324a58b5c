package main

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/litfass/litfass/spool/local"
)

// Old articles are swept out every few minutes, the first time a minute after the
// start: then those who waited for the node have been served. The pause varies by
// a quarter, so that nodes on one machine do not sweep together.
const (
	firstSweep = time.Minute
	sweepEvery = 10 * time.Minute
)

// expirer is what sweeps: local.Spool.
type expirer interface {
	Expire(ctx context.Context) (local.Expired, error)
}

// sweeper drops now and then what is old, and makes room.
type sweeper struct {
	spool  expirer
	after  func(time.Duration) <-chan time.Time // time.After
	jitter func() float64                       // from 0 to 1
	log    *slog.Logger

	sweeps, failed, articles, segments, compacted, millis atomic.Int64
}

// startExpiry drops what is old while the node runs.
func (s *server) startExpiry(context.Context) (*part, error) {
	w := &sweeper{spool: s.core.local, after: time.After, jitter: rand.Float64, log: s.log}
	s.metrics = append(s.metrics, w.metrics)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.run(ctx) }()
	return &part{name: "expiry", stop: func(context.Context) error {
		cancel()
		<-done
		return nil
	}}, nil
}

func (w *sweeper) run(ctx context.Context) {
	for pause := firstSweep; ; pause = sweepEvery*3/4 + time.Duration(w.jitter()*float64(sweepEvery/2)) {
		select {
		case <-ctx.Done():
			return
		case <-w.after(pause):
		}
		w.sweep(ctx)
	}
}

// sweep is one round. What fails is tried again in the next.
func (w *sweeper) sweep(ctx context.Context) {
	begin := time.Now()
	x, err := w.spool.Expire(ctx)
	took := time.Since(begin)
	w.sweeps.Add(1)
	w.millis.Add(took.Milliseconds())
	w.articles.Add(int64(max(x.Articles, 0))) // less than none: more arrived meanwhile than went
	w.segments.Add(int64(x.Segments))
	w.compacted.Add(int64(x.Compacted))
	if err != nil {
		if ctx.Err() == nil {
			w.failed.Add(1)
			w.log.Error("old articles are not all dropped; the next sweep tries again", "error", err)
		}
		return
	}
	if x.Articles > 0 || x.Segments > 0 || x.Compacted > 0 {
		w.log.Info("old articles dropped", "articles", x.Articles, "segments", x.Segments, "compacted", x.Compacted, "octets", x.Bytes, "took", took.Round(time.Millisecond))
	}
}

func (w *sweeper) metrics(m *metricWriter) {
	m.counter("litfass_expire_sweeps_total", "sweeps for old articles", float64(w.sweeps.Load()))
	m.counter("litfass_expire_failed_total", "sweeps that failed", float64(w.failed.Load()))
	m.counter("litfass_expire_articles_total", "articles dropped by sweeps", float64(w.articles.Load()))
	m.counter("litfass_expire_segments_total", "segments dropped by sweeps", float64(w.segments.Load()))
	m.counter("litfass_expire_compacted_total", "segments rewritten by sweeps", float64(w.compacted.Load()))
	m.counter("litfass_expire_seconds_total", "time that sweeps took", float64(w.millis.Load())/1000)
}
