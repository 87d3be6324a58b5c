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

// feedOne feeds over one connection.
func feedOne(c *nntp.Client, l *load, next *atomic.Int64, how feeding) (got fed, err error) {
	queue := make(chan flying, how.window)
	wanted := make(chan int, 2*how.window)
	ended := make(chan struct{})
	var rerr error
	go func() {
		defer close(ended)
		for p := range queue {
			if err := c.Await(); err != nil {
				rerr = err
				return
			}
			code, text, err := c.Next()
			if err != nil {
				rerr = err
				return
			}
			if code >= 400 {
				got.sample = fmt.Sprintf("%d %s", code, nntp.Printable(text))
			}
			switch code {
			case 238:
				wanted <- p.i
			case 239:
				got.accepted++
				if how.accepted != nil {
					how.accepted(l.ids[p.i])
				}
			case 431:
				got.later++
			case 438, 439:
				got.refused++
			default:
				rerr = fmt.Errorf("answer %d", code)
				return
			}
		}
	}()
	push := func(p flying) bool {
		select {
		case queue <- p:
			return true
		default:
		}
		if c.Flush() != nil {
			return false
		}
		select {
		case queue <- p:
			return true
		case <-ended:
			return false
		}
	}
	send := func(i int) bool {
		if !push(flying{i, true}) {
			return false
		}
		c.TakeThis(l.ids[i], l.wire(i))
		return c.Pending() < 64<<10 || c.Flush() == nil
	}
	ok := true
	for ok {
		select {
		case i := <-wanted:
			ok = send(i)
			continue
		case <-how.limit:
			ok = false
			continue
		default:
		}
		if how.pace != nil && !how.pace() {
			break
		}
		i := int(next.Add(1) - 1)
		if i >= l.len() {
			break
		}
		if how.check {
			if ok = push(flying{i, false}); ok {
				c.Check(l.ids[i])
			}
		} else {
			ok = send(i)
		}
	}
	for ok && how.check { // the last ones wanted
		c.Flush()
		select {
		case i := <-wanted:
			ok = send(i)
			continue
		case <-time.After(time.Millisecond):
		}
		if len(queue) == 0 && len(wanted) == 0 {
			time.Sleep(10 * time.Millisecond)
			if len(queue) == 0 && len(wanted) == 0 {
				break
			}
		}
	}
	c.Flush()
	close(queue)
	<-ended
	return got, rerr
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
