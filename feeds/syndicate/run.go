package syndicate

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/url"
	"sync"
	"time"
)

// pollers is how many feeds are asked at the same time, each of another host: a slow
// origin, or a large file that an entry names, holds up a quarter of the work.
const pollers = 4

// note takes over when a feed is to be asked next, and wakes Run.
func (p *Poller) note(s Poll) {
	p.mu.Lock()
	if s.Paused || s.Gone {
		delete(p.next, s.URL)
	} else {
		p.next[s.URL] = s.Next
	}
	p.mu.Unlock()
	p.rouse()
}

func (p *Poller) rouse() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// due returns the feed that is to be polled next, and when, those left out that are
// asked already, or whose host is.
func (p *Poller) due() (string, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	best, at := "", time.Time{}
	for u, t := range p.next {
		host := hostOf(u)
		if hold := p.hold[host]; t.Before(hold) {
			t = hold
		}
		if (best == "" || t.Before(at)) && p.hosts[host] == nil {
			best, at = u, t
		}
	}
	return best, at
}

// Run polls until ctx ends.
func (p *Poller) Run(ctx context.Context) error {
	defer p.cfg.Fetcher.Close()
	var work sync.WaitGroup
	defer work.Wait()
	free := make(chan struct{}, pollers)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		u, at := p.due()
		wait := time.Hour
		if u != "" {
			wait = min(wait, at.Sub(p.cfg.Now()))
		}
		if wait <= 0 {
			select {
			case free <- struct{}{}:
			case <-ctx.Done():
				continue
			}
			leave, ok := p.enter(u)
			if !ok { // somebody was faster
				<-free
				continue
			}
			work.Go(func() {
				defer func() { leave(); <-free; p.rouse() }()
				if _, err := p.poll(ctx, u, nil); err != nil && ctx.Err() == nil {
					p.cfg.Log.Info("feed not polled", "feed", u, "reason", err)
				}
			})
			continue
		}
		if err := p.Flush(); err != nil {
			p.cfg.Log.Error("feeds", "err", err)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-p.wake:
		case <-timer.C:
		}
	}
	work.Wait()
	return p.Flush()
}

// PollAll asks several feeds now, a few at a time, and returns them in their order. What
// is wrong with one stands in it; the error is the node's own.
func (p *Poller) PollAll(ctx context.Context, urls []string) ([]Poll, error) {
	out, errs := make([]Poll, len(urls)), make([]error, len(urls))
	free := make(chan struct{}, pollers)
	var work sync.WaitGroup
	for i, u := range urls {
		free <- struct{}{}
		work.Go(func() {
			defer func() { <-free }()
			var err error
			if out[i], err = p.Poll(ctx, u); err != nil && out[i].LastError == "" {
				errs[i] = err
			}
		})
	}
	work.Wait()
	return out, errors.Join(append(errs, p.Flush())...)
}

// Flush writes down when feeds were polled, and what other nodes polled, as far as
// Poll and Follow left that for later.
func (p *Poller) Flush() error {
	p.heard.mu.Lock()
	defer p.heard.mu.Unlock()
	return errors.Join(p.writeHeard(), p.polls.flush())
}

// enter takes a feed's host, if nobody has it: one request at a time goes to a host.
func (p *Poller) enter(address string) (leave func(), ok bool) {
	host := hostOf(address)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hosts[host] != nil {
		return nil, false
	}
	over := make(chan struct{})
	p.hosts[host] = over
	return func() {
		p.mu.Lock()
		delete(p.hosts, host)
		p.mu.Unlock()
		close(over)
	}, true
}

// await takes a feed's host, and waits for it if need be.
func (p *Poller) await(ctx context.Context, address string) (leave func(), err error) {
	for {
		if leave, ok := p.enter(address); ok {
			return leave, nil
		}
		p.mu.Lock()
		over := p.hosts[hostOf(address)]
		p.mu.Unlock()
		if over == nil {
			continue
		}
		select {
		case <-over:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// holdHost keeps all feeds of a host from being asked before until, which a host that
// answers 429 (RFC 6585 §4) asks for: it counts requests, not feeds.
func (p *Poller) holdHost(address string, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.cfg.Now()
	for h, t := range p.hold {
		if t.Before(now) {
			delete(p.hold, h)
		}
	}
	p.hold[hostOf(address)] = until
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return u.Host
}

// spread is a random part of the time over which new feeds are asked for the first
// time, so that a list of hundreds is no attack on one host.
func spread(n int) time.Duration {
	return rand.N(min(time.Duration(n)*time.Second, 10*time.Minute) + 1)
}
