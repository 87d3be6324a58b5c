package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/nntp"
)

func connect(addr string) (*nntp.Client, error) {
	return nntp.Dialer{Address: addr, Answer: 2 * time.Minute}.Connect(context.Background())
}

func connectReader(addr string) (*nntp.Client, error) {
	c, err := connect(addr)
	if err == nil {
		err = c.ModeReader()
	}
	return c, err
}

// feeding is how articles are sent.
type feeding struct {
	conns, window int
	check         bool             // CHECK first
	accepted      func(article.ID) // told of each 239; from several goroutines
	limit         <-chan struct{}  // no further article once it is closed
	pace          func() (ok bool) // called before each article; false: no more
}

// fed is what became of it.
type fed struct {
	accepted, refused, later int64
	took                     time.Duration
	sample                   string // of a refusal
	broken                   error  // the connection broke: expected when the server is killed
}

// all is an error if not every article was taken.
func (f fed) all(want int) error {
	if f.broken != nil {
		return f.broken
	}
	if f.accepted != int64(want) {
		return fmt.Errorf("took %d of %d, as in %q", f.accepted, want, f.sample)
	}
	return nil
}

func (f fed) rate() float64 { return float64(f.accepted) / f.took.Seconds() }

// feed streams the articles of l.
func feed(addr string, l *load, how feeding) (fed, error) {
	var next atomic.Int64
	var mu sync.Mutex
	var sum fed
	var clients []*nntp.Client
	for range how.conns {
		c, err := connect(addr)
		if err != nil {
			return sum, err
		}
		defer c.Close()
		if ok, err := c.ModeStream(); !ok {
			return sum, fmt.Errorf("no streaming: %w", err)
		}
		clients = append(clients, c)
	}
	begin := time.Now()
	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Go(func() {
			got, err := feedOne(c, l, &next, how)
			mu.Lock()
			defer mu.Unlock()
			sum.accepted += got.accepted
			sum.refused += got.refused
			sum.later += got.later
			sum.sample = cmp.Or(got.sample, sum.sample)
			if err != nil {
				sum.broken = err
			}
		})
	}
	wg.Wait()
	sum.took = time.Since(begin)
	return sum, nil
}

type flying struct {
	i    int
	take bool
}

// feeder feeds over one connection: one goroutine sends, another reads the answers.
type feeder struct {
	c   *nntp.Client
	l   *load
	how feeding

	queue  chan flying   // sent and not answered, in order
	wanted chan int      // CHECK said so
	ended  chan struct{} // no more answers are read
	got    fed
	err    error // of the answers
}

// feedOne feeds over one connection.
func feedOne(c *nntp.Client, l *load, next *atomic.Int64, how feeding) (fed, error) {
	f := &feeder{c: c, l: l, how: how, queue: make(chan flying, how.window), wanted: make(chan int, 2*how.window), ended: make(chan struct{})}
	go func() {
		defer close(f.ended)
		f.err = f.answers()
	}()
	if f.offer(next) && how.check {
		f.rest()
	}
	c.Flush()
	close(f.queue)
	<-f.ended
	return f.got, f.err
}

// answers counts what comes back.
func (f *feeder) answers() error {
	for p := range f.queue {
		if err := f.c.Await(); err != nil {
			return err
		}
		code, text, err := f.c.Next()
		if err != nil {
			return err
		}
		if code >= 400 {
			f.got.sample = fmt.Sprintf("%d %s", code, nntp.Printable(text))
		}
		switch code {
		case 238:
			f.wanted <- p.i
		case 239:
			f.got.accepted++
			if f.how.accepted != nil {
				f.how.accepted(f.l.ids[p.i])
			}
		case 431:
			f.got.later++
		case 438, 439:
			f.got.refused++
		default:
			return fmt.Errorf("answer %d", code)
		}
	}
	return nil
}

// push notes what is about to be sent; false: nobody reads answers any more.
func (f *feeder) push(p flying) bool {
	select {
	case f.queue <- p:
		return true
	default:
	}
	if f.c.Flush() != nil {
		return false
	}
	select {
	case f.queue <- p:
		return true
	case <-f.ended:
		return false
	}
}

// send sends an article by TAKETHIS.
func (f *feeder) send(i int) bool {
	if !f.push(flying{i, true}) {
		return false
	}
	f.c.TakeThis(f.l.ids[i], f.l.wire(i))
	return f.c.Pending() < 64<<10 || f.c.Flush() == nil
}

// offer goes through the load; false: it was cut short.
func (f *feeder) offer(next *atomic.Int64) bool {
	for ok := true; ok; {
		select {
		case i := <-f.wanted:
			ok = f.send(i)
			continue
		case <-f.how.limit:
			return false
		default:
		}
		if f.how.pace != nil && !f.how.pace() {
			return true
		}
		i := int(next.Add(1) - 1)
		if i >= f.l.len() {
			return true
		}
		if !f.how.check {
			ok = f.send(i)
		} else if ok = f.push(flying{i, false}); ok {
			f.c.Check(f.l.ids[i])
		}
	}
	return false
}

// rest sends what CHECK still wants when all has been offered.
func (f *feeder) rest() {
	for ok := true; ok; {
		f.c.Flush()
		select {
		case i := <-f.wanted:
			ok = f.send(i)
			continue
		case <-time.After(time.Millisecond):
		}
		if len(f.queue) == 0 && len(f.wanted) == 0 {
			time.Sleep(10 * time.Millisecond)
			if len(f.queue) == 0 && len(f.wanted) == 0 {
				return
			}
		}
	}
}

// checks sends CHECK only, for at most that long, and returns how many a second.
func checks(addr string, conns, window int, dur time.Duration, id func(n int64) article.ID) (perSecond float64, err error) {
	var n, total atomic.Int64
	var wg sync.WaitGroup
	begin := time.Now()
	errs := make(chan error, conns)
	for range conns {
		c, err := connect(addr)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		if _, err := c.ModeStream(); err != nil {
			return 0, err
		}
		wg.Go(func() {
			slots := make(chan struct{}, window)
			done := make(chan error, 1)
			go func() {
				var err error
				for range slots {
					if err != nil {
						continue
					}
					if err = c.Await(); err == nil {
						_, _, err = c.Next()
					}
					total.Add(1)
				}
				done <- err
			}()
			for time.Since(begin) < dur {
				c.Check(id(n.Add(1)))
				select {
				case slots <- struct{}{}:
				default:
					c.Flush()
					slots <- struct{}{}
				}
			}
			c.Flush()
			close(slots)
			errs <- <-done
		})
	}
	wg.Wait()
	for range conns {
		if e := <-errs; e != nil {
			err = e
		}
	}
	return float64(total.Load()) / time.Since(begin).Seconds(), err
}

// times are latencies.
type times []time.Duration

// at returns a quantile.
func (t times) at(q float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	s := slices.Clone(t)
	slices.Sort(s)
	return s[min(int(q*float64(len(s))), len(s)-1)]
}

// repeat runs fn for that long and returns how long each run took.
func repeat(dur time.Duration, fn func(n int) error) (times, error) {
	var t times
	for begin, n := time.Now(), 0; time.Since(begin) < dur; n++ {
		at := time.Now()
		if err := fn(n); err != nil {
			return t, err
		}
		t = append(t, time.Since(at))
	}
	return t, nil
}
