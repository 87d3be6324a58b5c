package syndicate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/spool"
)

// Injector is the slice of agent.Agent that a gateway uses.
type Injector interface {
	Inject(ctx context.Context, d *article.Draft, o agent.Origin) (agent.Result, error)
}

// Poll is one feed that this node polls, as kept in state.db.
type Poll struct {
	URL    string
	Group  article.Group
	Title  string `json:",omitempty"`
	Paused bool   `json:",omitempty"`
	Files  string `json:",omitempty"` // LinkEnclosures or FetchEnclosures

	Validators Validators
	Next       time.Time     // when to ask
	Polled     time.Time     `json:",omitzero"` // when we asked last
	News       time.Time     `json:",omitzero"` // when an entry came last, from the origin or over the mesh
	Every      time.Duration // the feed's rhythm
	Failures   int           `json:",omitempty"` // in a row
	LastError  string        `json:",omitempty"`
	Note       string        `json:",omitempty"` // what was odd in the document
	Gone       bool          `json:",omitempty"` // the origin said 410
	At         string        `json:",omitempty"` // where we ask, if it moved for good; URL stays its name
	Moved      string        `json:",omitempty"` // where it says it moved for good ...
	MovedTimes int           `json:",omitempty"` // ... and how often in a row
	Entries    int           // articles made here
}

// seen is what is known of one entry: its newest article.
type seen struct {
	Version string
	Raw     string `json:",omitempty"` // hash of what the feed said; the same again needs no second look
	Changed time.Time
	Times   int       `json:",omitempty"` // how often it changed
	Dated   time.Time `json:",omitzero"`  // of an alias: the date that the entry bore
}

// Config is what a Poller is made of.
type Config struct {
	Fetcher Fetcher
	State   *state.DB
	Agent   Injector
	Spool   interface {
		Lookup(ctx context.Context, id article.ID) (spool.State, error)
		Group(ctx context.Context, g article.Group) (spool.GroupInfo, error)
		Last() spool.Seq
	}
	First   int           // entries taken from a feed's first answer; 0: 30
	TempDir string        // for enclosures that are fetched; "": the system's
	MaxFile int64         // octets of one of them; 0: 40 MiB
	MaxAge  time.Duration // Date of an article is the entry's if it is not older; 0: 60 days
	Now     func() time.Time
	Log     *slog.Logger
}

// Poller polls feeds and makes articles of their entries. It owns the buckets
// feed.polls and feed.seen of state.db. As a spool.Follower it learns what other
// nodes polled: then it waits, so that one request serves the mesh.
type Poller struct {
	cfg   Config
	polls *book
	seen  state.Table[seen]
	wake  chan struct{}

	parsing sync.Mutex
	heard   heard

	mu    sync.Mutex
	keys  map[string]string        // feed key to address
	next  map[string]time.Time     // when a feed is to be asked
	hosts map[string]chan struct{} // hosts that are asked now; closed when it is over
	hold  map[string]time.Time     // hosts that are not to be asked before
}

// NewPoller reads the feeds that are kept.
func NewPoller(cfg Config) (*Poller, error) {
	if cfg.First == 0 {
		cfg.First = 30
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = 60 * 24 * time.Hour
	}
	if cfg.MaxFile == 0 {
		cfg.MaxFile = 40 << 20
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Fetcher.Now = cfg.Now
	cfg.Fetcher.Init()
	polls, err := openBook(cfg.State)
	if err != nil {
		return nil, err
	}
	p := &Poller{cfg: cfg, polls: polls, seen: state.Table[seen]{DB: cfg.State, Bucket: "feed.seen"},
		wake: make(chan struct{}, 1), heard: heard{marks: marks{}, feeds: map[string]time.Time{}}, keys: map[string]string{}, next: map[string]time.Time{},
		hosts: map[string]chan struct{}{}, hold: map[string]time.Time{}}
	for _, s := range polls.list() {
		p.keys[feedKey(s.URL)] = s.URL
		p.note(s)
	}
	return p, nil
}

// ErrKnownFeed is returned by Add for an address that is polled already, with what is
// known of it.
var ErrKnownFeed = errors.New("this feed is polled already")

// Files says what becomes of a feed's enclosures from now on: LinkEnclosures or
// FetchEnclosures.
func (p *Poller) Files(address, how string) error {
	return p.polls.change(address, func(v *Poll, found bool) (bool, error) {
		if !found {
			return false, state.ErrNotFound
		}
		v.Files = how
		return false, nil
	})
}

// Add begins to poll a feed into a group, and does with its enclosures what files
// says. If address is a web page, its feed is
// found by discovery. It asks once, at once, so that a mistake shows.
func (p *Poller) Add(ctx context.Context, address string, g article.Group, files string) (Poll, error) {
	u, err := ParseURL(address)
	if err != nil {
		return Poll{}, err
	}
	if _, err := p.cfg.Spool.Group(ctx, g); err != nil {
		if errors.Is(err, spool.ErrNotFound) {
			err = fmt.Errorf("there is no group %s; make it with `litfass group add %s`", g, g)
		}
		return Poll{}, err
	}
	if v, err := p.polls.get(u.String()); err == nil {
		return v, fmt.Errorf("%w, into %s", ErrKnownFeed, v.Group)
	}
	leave, err := p.await(ctx, u.String())
	if err != nil {
		return Poll{}, err
	}
	defer leave()
	address, got, err := p.discover(ctx, u.String())
	if err != nil {
		return Poll{}, err
	}
	s := Poll{URL: address, Group: g, Files: files, Next: p.cfg.Now(), Every: defaultInterval}
	err = p.polls.change(address, func(v *Poll, found bool) (bool, error) {
		if found {
			s = *v
			return false, fmt.Errorf("%w, into %s", ErrKnownFeed, v.Group)
		}
		*v = s
		return false, nil
	})
	if err != nil {
		return s, err
	}
	p.learn(address)
	return p.poll(ctx, address, got)
}

func (p *Poller) learn(address string) {
	p.mu.Lock()
	p.keys[feedKey(address)] = address
	p.mu.Unlock()
}

// Subscribe begins to poll feeds without asking any of them now: Run does, spread over
// some minutes if they are many. It says how many of them are new.
func (p *Poller) Subscribe(subs []Poll) (added int, err error) {
	fresh := map[string]Poll{}
	now := p.cfg.Now()
	for _, s := range subs {
		if _, err := p.polls.get(s.URL); err == nil {
			continue
		}
		s.Next, s.Every = now.Add(spread(len(subs))), defaultInterval
		fresh[s.URL] = s
	}
	if err := p.polls.add(fresh); err != nil {
		return 0, err
	}
	for u, s := range fresh {
		p.learn(u)
		p.note(s)
	}
	return len(fresh), nil
}

// discover returns address and what it answers if that is a feed, or those of the feed
// that the page there names.
func (p *Poller) discover(ctx context.Context, address string) (string, *Answer, error) {
	a, err := p.cfg.Fetcher.Get(ctx, address, Validators{})
	if err != nil {
		return "", nil, fmt.Errorf("ask %s: %w", address, err)
	}
	if a.Status != http.StatusOK {
		return "", nil, fmt.Errorf("%s: %w", address, statusError(a))
	}
	_, err = p.parse(a)
	if !errors.Is(err, ErrNoFeed) {
		if err != nil {
			err = fmt.Errorf("%s: %w", address, err)
		}
		return address, a, err
	}
	for _, found := range Discover(a.Body, a.URL) {
		b, err := p.cfg.Fetcher.Get(ctx, found, Validators{})
		if err == nil && b.Status == http.StatusOK {
			if _, err := p.parse(b); err == nil {
				return found, b, nil
			}
		}
	}
	return "", nil, fmt.Errorf("%s: %w, and no page that names one; look for the address behind the page's feed symbol", address, err)
}

// Remove stops polling a feed. Its articles stay.
func (p *Poller) Remove(address string) error {
	if err := p.polls.remove(address); err != nil {
		return fmt.Errorf("feed %s: %w", address, err)
	}
	p.mu.Lock()
	delete(p.keys, feedKey(address))
	delete(p.next, address)
	p.mu.Unlock()
	return nil
}

// List returns all feeds by address, with their health.
func (p *Poller) List() ([]Poll, error) {
	return p.polls.list(), nil
}

// Pause stops polling a feed for a while, or goes on.
func (p *Poller) Pause(address string, paused bool) error {
	err := p.polls.change(address, func(v *Poll, found bool) (bool, error) {
		if !found {
			return false, state.ErrNotFound
		}
		v.Paused = paused
		return false, nil
	})
	if err == nil {
		s, gerr := p.polls.get(address)
		p.note(s)
		err = gerr
	}
	return err
}
