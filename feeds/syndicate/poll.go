package syndicate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Poll asks one feed now and keeps what came of it. When a feed that brought nothing
// was polled is written by Flush, or with what comes next.
func (p *Poller) Poll(ctx context.Context, address string) (Poll, error) {
	leave, err := p.await(ctx, address)
	if err != nil {
		return Poll{}, err
	}
	defer leave()
	return p.poll(ctx, address, nil)
}

// poll is Poll for who has the feed's host; got is the answer if it was asked already.
func (p *Poller) poll(ctx context.Context, address string, got *Answer) (Poll, error) {
	s, err := p.polls.get(address)
	if err != nil {
		return Poll{}, fmt.Errorf("feed %s: %w", address, err)
	}
	fail := p.ask(ctx, &s, got)
	if ctx.Err() != nil {
		return s, ctx.Err()
	}
	now := p.cfg.Now()
	s.Polled = now
	if fail != nil {
		s.Failures++
		s.LastError = cutText(oneLine(fail.Error()), 300)
		s.Next = nextPoll(now, backOff(s.Failures), s.Next.Sub(now))
	} else {
		s.Failures, s.LastError = 0, ""
	}
	err = p.polls.change(address, func(v *Poll, found bool) (bool, error) {
		if !found {
			return false, fmt.Errorf("feed %s was removed meanwhile", address)
		}
		s.Paused, s.Files, s.News = v.Paused, v.Files, latest(s.News, v.News)
		later := s.Entries == v.Entries && s.Gone == v.Gone && s.At == v.At && !v.Polled.IsZero()
		*v = s
		return later, nil
	})
	if err != nil {
		p.put(s.URL, now.Add(floorInterval))
		return s, err
	}
	p.note(s)
	return s, fail
}

// put moves the next poll of a feed that is still polled.
func (p *Poller) put(address string, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.next[address]; ok {
		p.next[address] = at
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// ask does one poll. s.Next is set where the origin asked for a longer wait.
func (p *Poller) ask(ctx context.Context, s *Poll, a *Answer) (err error) {
	if a == nil {
		address := s.URL
		if s.At != "" {
			address = s.At
		}
		if a, err = p.cfg.Fetcher.Get(ctx, address, s.Validators); err != nil {
			return err
		}
	}
	now := p.cfg.Now()
	switch a.Status {
	case http.StatusNotModified:
		p.moved(s, a)
		s.Next = nextPoll(now, s.Every, a.MinWait)
		return nil
	case http.StatusOK:
	case http.StatusGone:
		s.Gone = true
		return errors.New("410: the origin says that this feed is gone for good; it is not polled any more")
	default:
		s.Next = now.Add(a.RetryAfter)
		if a.Status == http.StatusTooManyRequests {
			p.holdHost(s.URL, nextPoll(now, a.RetryAfter))
		}
		return statusError(a)
	}
	p.moved(s, a)
	sum := sha256.Sum256(a.Body)
	a.Validators.Body = hex.EncodeToString(sum[:16])
	if a.Validators.Body == s.Validators.Body {
		s.Validators = a.Validators
		s.Next = nextPoll(now, s.Every, a.MinWait)
		return nil
	}
	return p.digest(ctx, s, a)
}

// statusError says what an origin answered that is no success, and until when it wants
// to be left alone.
func statusError(a *Answer) error {
	if a.RetryAfter > 0 {
		return fmt.Errorf("the origin answers %d %s and asks to wait %v", a.Status, http.StatusText(a.Status), a.RetryAfter.Round(time.Second))
	}
	return fmt.Errorf("the origin answers %d %s", a.Status, http.StatusText(a.Status))
}

// digest makes articles of a document.
func (p *Poller) digest(ctx context.Context, s *Poll, a *Answer) error {
	f, err := p.parse(a)
	if err != nil {
		return fmt.Errorf("the document: %w", err)
	}
	now := p.cfg.Now()
	s.Title = f.Title
	made, said, err := p.articles(ctx, s, f)
	s.Entries += made
	if made > 0 {
		s.News = now
	}
	s.Note = said
	if err != nil {
		return err // validators are not kept: the next poll sees these entries again
	}
	s.Validators = a.Validators
	s.Every = rhythm(f.Entries, now)
	s.Next = nextPoll(now, s.Every, a.MinWait, f.TTL)
	return nil
}

// parse reads an answer; one document at a time is taken apart, for the sake of memory.
func (p *Poller) parse(a *Answer) (*Feed, error) {
	p.parsing.Lock()
	defer p.parsing.Unlock()
	f, err := Parse(a.Body, a.Type, p.cfg.Fetcher.Bounds)
	if err != nil {
		return nil, err
	}
	f.resolve(a.URL)
	return f, nil
}

// moved counts permanent redirects; from the third in a row on, we ask at the new
// address. The old one stays the feed's name: ids hang on it.
func (p *Poller) moved(s *Poll, a *Answer) {
	switch {
	case a.Permanent == "":
		s.Moved, s.MovedTimes = "", 0
	case a.Permanent == s.Moved:
		s.MovedTimes++
	default:
		s.Moved, s.MovedTimes = a.Permanent, 1
	}
	if s.MovedTimes >= 3 {
		s.At, s.Moved, s.MovedTimes = s.Moved, "", 0
	}
}
