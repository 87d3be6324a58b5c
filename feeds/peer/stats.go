package peer

import (
	"math"
	"sync"
	"time"

	"github.com/litfass/litfass/spool"
)

// Stats is how a peer is doing. Counters count since the sender started.
type Stats struct {
	Name, Address string

	Offered  uint64 // CHECK, IHAVE, and TAKETHIS without CHECK
	Accepted uint64 // 239, 235
	Refused  uint64 // 438, 439, 435, 437: it has them, or does not want them
	Later    uint64 // 431, 436: times that it deferred one
	Failed   uint64 // connections that could not be made or broke
	Octets   uint64 // of articles it took
	Pulled   uint64 // articles taken from it by pulling
	PullBad  uint64 // articles refused here when pulling

	Cursor   spool.Seq // everything up to here is settled, but for Deferred
	Lag      uint64    // Seqs between Cursor and the end of the log
	LagTime  time.Duration
	Deferred int     // articles that wait to be offered again
	Open     int     // articles at hand or on their way
	Rate     float64 // accepted articles per second, over the last half minute or so

	Conns     int       // connections open now
	Since     time.Time // connected since; zero: not connected
	LastError string    // the last failure, or ""
	ErrorAt   time.Time
	RetryAt   time.Time // no connection before that; zero: whenever there is work
	Streaming bool      // the last connection had MODE STREAM
	Checking  bool      // CHECK is asked before TAKETHIS
	LastPull  time.Time // of the last round that came to its end
}

// tally is Stats with its lock, and what the rates are made of.
type tally struct {
	mu sync.Mutex
	Stats
	rate meter
}

func (t *tally) with(fn func(*Stats)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fn(&t.Stats)
}

// failed notes a failure.
func (t *tally) failed(err error, now time.Time) {
	t.with(func(s *Stats) { s.LastError, s.ErrorAt = err.Error(), now })
}

// meter is a rate per second that forgets with a time constant of half a minute.
type meter struct {
	value float64
	at    time.Time
}

const meterSpan = 30 * time.Second

func (m *meter) add(n int, now time.Time) {
	m.value = m.now(now) + float64(n)/meterSpan.Seconds()
	m.at = now
}

func (m *meter) now(now time.Time) float64 {
	if m.at.IsZero() || now.Before(m.at) {
		return m.value
	}
	return m.value * math.Exp(-now.Sub(m.at).Seconds()/meterSpan.Seconds())
}
