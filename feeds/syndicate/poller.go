package syndicate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/spill"
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
	Times   int // how often it changed
}

// Config is what a Poller is made of.
type Config struct {
	Fetcher Fetcher
	State   *state.DB
	Agent   Injector
	Spool   interface {
		Lookup(ctx context.Context, id article.ID) (spool.State, error)
		Group(ctx context.Context, g article.Group) (spool.GroupInfo, error)
	}
	Read    func(html string) (text, safe string) // HTML as text, and made harmless
	First   int                                   // entries taken from a feed's first answer; 0: 30
	TempDir string                                // for enclosures that are fetched; "": the system's
	MaxFile int64                                 // octets of one of them; 0: 40 MiB
	MaxAge  time.Duration                         // Date of an article is the entry's if it is not older; 0: 60 days
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

	mu   sync.Mutex
	keys map[string]string // feed key to address
	next map[string]time.Time
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
		wake: make(chan struct{}, 1), keys: map[string]string{}, next: map[string]time.Time{}}
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
		return Poll{}, fmt.Errorf("group %s: %w; make it with `litfass group add %s`", g, err, g)
	}
	address, err = p.discover(ctx, u.String())
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
	p.mu.Lock()
	p.keys[feedKey(address)] = address
	p.mu.Unlock()
	return p.Poll(ctx, address)
}

// discover returns address if a feed answers there, or the address of the feed
// that the page there names.
func (p *Poller) discover(ctx context.Context, address string) (string, error) {
	a, err := p.cfg.Fetcher.Get(ctx, address, Validators{})
	if err != nil {
		return "", fmt.Errorf("ask %s: %w", address, err)
	}
	if a.Status != http.StatusOK {
		return "", fmt.Errorf("%s answers %d %s", address, a.Status, http.StatusText(a.Status))
	}
	_, err = Parse(a.Body, a.Type, p.cfg.Fetcher.Bounds)
	if !errors.Is(err, ErrNoFeed) {
		return address, err
	}
	for _, found := range Discover(a.Body, a.URL) {
		b, err := p.cfg.Fetcher.Get(ctx, found, Validators{})
		if err == nil && b.Status == http.StatusOK {
			if _, err := Parse(b.Body, b.Type, p.cfg.Fetcher.Bounds); err == nil {
				return found, nil
			}
		}
	}
	return "", fmt.Errorf("%s: %w, and no page that names one", address, err)
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

func (p *Poller) note(s Poll) {
	p.mu.Lock()
	if s.Paused || s.Gone {
		delete(p.next, s.URL)
	} else {
		p.next[s.URL] = s.Next
	}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// due returns the feed that is to be polled next, and when.
func (p *Poller) due() (string, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	best, at := "", time.Time{}
	for u, t := range p.next {
		if best == "" || t.Before(at) {
			best, at = u, t
		}
	}
	return best, at
}

// Run polls until ctx ends, one feed at a time: a small box has one uplink.
func (p *Poller) Run(ctx context.Context) error {
	defer p.cfg.Fetcher.Close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		u, at := p.due()
		wait := time.Hour
		if u != "" {
			wait = min(wait, at.Sub(p.cfg.Now()))
		}
		if u != "" && wait <= 0 {
			if _, err := p.Poll(ctx, u); err != nil && ctx.Err() == nil {
				p.cfg.Log.Info("feed not polled", "feed", u, "reason", err)
			}
			if ctx.Err() != nil {
				return p.Flush()
			}
			continue
		}
		if err := p.Flush(); err != nil {
			p.cfg.Log.Error("feeds", "err", err)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
		case <-timer.C:
		}
	}
}

// Flush writes down when feeds were polled, as far as Poll left that for later.
func (p *Poller) Flush() error { return p.polls.flush() }

// Poll asks one feed now and keeps what came of it. When a feed that brought nothing
// was polled is written by Flush, or with what comes next.
func (p *Poller) Poll(ctx context.Context, address string) (Poll, error) {
	s, err := p.polls.get(address)
	if err != nil {
		return Poll{}, fmt.Errorf("feed %s: %w", address, err)
	}
	fail := p.ask(ctx, &s)
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
		return s, err
	}
	p.note(s)
	return s, fail
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// ask does one poll. s.Next is set where the origin asked for a longer wait.
func (p *Poller) ask(ctx context.Context, s *Poll) error {
	address := s.URL
	if s.At != "" {
		address = s.At
	}
	a, err := p.cfg.Fetcher.Get(ctx, address, s.Validators)
	if err != nil {
		return err
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
		return fmt.Errorf("the origin answers %d %s", a.Status, http.StatusText(a.Status))
	}
	p.moved(s, a)
	sum := sha256.Sum256(a.Body)
	a.Validators.Body = hex.EncodeToString(sum[:16])
	if a.Validators.Body == s.Validators.Body {
		s.Validators = a.Validators
		s.Next = nextPoll(now, s.Every, a.MinWait)
		return nil
	}
	f, err := Parse(a.Body, a.Type, p.cfg.Fetcher.Bounds)
	if err != nil {
		return fmt.Errorf("the document: %w", err)
	}
	s.Title = f.Title
	made, err := p.articles(ctx, s, f)
	s.Entries += made
	if made > 0 {
		s.News = now
	}
	if err != nil {
		return err // validators are not kept: the next poll sees these entries again
	}
	s.Validators = a.Validators
	s.Every = rhythm(f.Entries, now)
	s.Next = nextPoll(now, s.Every, a.MinWait, f.TTL)
	return nil
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

// articles injects what is new in f, oldest first.
func (p *Poller) articles(ctx context.Context, s *Poll, f *Feed) (made int, err error) {
	first := s.Polled.IsZero()
	entries := f.Entries
	if first {
		entries = entries[:min(len(entries), p.cfg.First)]
	}
	ids := map[string]bool{}
	m := marks{}
	defer func() { err = errors.Join(err, p.remember(m)) }()
	for i := len(entries) - 1; i >= 0; i-- {
		e := entries[i]
		if ids[e.ID] { // one id, several entries: the link tells them apart
			e.ID += "\x00" + e.Link
		}
		ids[e.ID] = true
		ok, err := p.one(ctx, s, f, &e, m, s.Files == FetchEnclosures && i < fetchesAPoll)
		if err != nil {
			return made, err
		}
		if ok {
			made++
		}
	}
	return made, nil
}

// marks are what one poll learned of entries. They are written at its end, in one
// transaction: a crash before that loses nothing, since the spool knows the ids.
type marks map[string]seen

func (p *Poller) remember(m marks) error {
	if len(m) == 0 {
		return nil
	}
	err := p.cfg.State.Update(func(tx *state.Tx) error {
		for key, s := range m {
			if err := p.seen.PutIn(tx, key, s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("note the entries of a feed: %w", err)
	}
	return nil
}

// known returns what is known of an entry.
func (p *Poller) known(key string, m marks) (seen, bool, error) {
	if s, ok := m[key]; ok {
		return s, true, nil
	}
	s, err := p.seen.Get(key)
	if errors.Is(err, state.ErrNotFound) {
		return s, false, nil
	}
	return s, err == nil, err
}

// An entry that changes more often than this is not followed any further.
const (
	maxChanges  = 5
	changesWait = time.Hour
)

// one injects an entry if it is new or changed, with its files if fetch is set.
func (p *Poller) one(ctx context.Context, s *Poll, f *Feed, e *Entry, m marks, fetch bool) (bool, error) {
	now := p.cfg.Now()
	key := entryKey(s.URL, e.ID)
	feed, raw := feedKey(s.URL), e.raw()
	old, known, err := p.known(feed+"/"+key, m)
	if err != nil || known && old.Raw == raw {
		return false, err
	}
	alias := ""
	if !known && e.Link != "" { // ids that change with every poll: the link and title are what stays
		alias = feed + "=" + hash32(20, "alias", e.Link, e.Title)
		if _, dup, err := p.known(alias, m); err != nil || dup {
			return false, err
		}
	}
	text, safe := p.cfg.Read(e.HTML)
	version := e.version(text)
	if known && old.Version == version {
		old.Raw = raw
		m[feed+"/"+key] = old
		return false, nil
	}
	if known && (old.Times >= maxChanges || now.Sub(old.Changed) < changesWait) {
		return false, nil
	}
	post := &post{id: messageID(key, version, feed), group: s.Group, feed: f, feedURL: s.URL, entry: e, text: text,
		html: safe, date: p.dateOf(e, known, now)}
	if known {
		post.supersedes = messageID(key, old.Version, feed)
	}
	made, err := p.inject(ctx, post, fetch)
	if err != nil {
		return false, err
	}
	m[feed+"/"+key] = seen{version, raw, now, old.Times + btoi(known)}
	if alias != "" {
		m[alias] = seen{Changed: now}
	}
	return made, nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// dateOf is the entry's own date where news would take it, else now.
func (p *Poller) dateOf(e *Entry, changed bool, now time.Time) time.Time {
	t := e.Published
	if changed && e.Updated.After(t) {
		t = e.Updated
	}
	if t.IsZero() || t.After(now) || now.Sub(t) > p.cfg.MaxAge {
		return now
	}
	return t
}

// inject hands an article in. One that is here already, or that the agent refuses
// for good, is settled; what is temporary is an error.
func (p *Poller) inject(ctx context.Context, post *post, fetch bool) (bool, error) {
	state, err := p.cfg.Spool.Lookup(ctx, post.id)
	if err != nil {
		return false, err
	}
	if state != spool.Unknown {
		return false, nil
	}
	if fetch {
		for _, b := range p.fetchFiles(ctx, post) {
			defer b.Close()
		}
	}
	err = p.hand(ctx, post)
	var r *agent.Refusal
	if errors.As(err, &r) && r.Reason == agent.TooLarge && len(post.files) > 0 { // nobody here detaches: links, then
		post.files = nil
		err = p.hand(ctx, post)
	}
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &r) && !r.Temporary():
		if r.Reason != agent.Duplicate {
			p.cfg.Log.Warn("feed entry refused", "feed", post.feedURL, "entry", cutText(post.entry.ID, 100), "reason", err)
		}
		return false, nil
	}
	return false, err
}

// hand writes the article and hands it to the agent.
func (p *Poller) hand(ctx context.Context, post *post) error {
	body := spill.New(p.cfg.TempDir, filesInMemory, 1<<40)
	defer body.Close()
	d, err := post.draft(body, body)
	if err != nil {
		return err
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err = p.cfg.Agent.Inject(ctx, d, agent.Origin{Door: "feed"})
	return err
}

// Name names the cursor: Poller is a spool.Follower.
func (p *Poller) Name() string { return "feed-news" }

// Follow learns from an article that another node polled a feed of ours, and what
// version of which entry it saw; our own poll waits for longer than the feed's
// rhythm then, by chance up to twice as long, so that few nodes ask.
func (p *Poller) Follow(ctx context.Context, e spool.Entry) error {
	if e.Via.How != spool.Relayed || !strings.HasSuffix(string(e.ID), "@"+feedHost+">") {
		return nil
	}
	entry, version, feed, ok := splitID(e.ID)
	if !ok {
		return nil
	}
	p.mu.Lock()
	address, ours := p.keys[feed]
	p.mu.Unlock()
	if !ours {
		return nil
	}
	if err := p.seen.Put(feed+"/"+entry, seen{Version: version, Changed: e.Arrived}); err != nil {
		return err
	}
	now, arrived := p.cfg.Now(), e.Arrived // e itself would be moved to the heap, for each article
	var s Poll
	err := p.polls.change(address, func(v *Poll, found bool) (bool, error) {
		if !found {
			return false, state.ErrNotFound
		}
		v.News = latest(v.News, arrived)
		if next := now.Add(v.Every + v.Every/4 + rand.N(v.Every+1)); next.After(v.Next) {
			v.Next = next
		}
		s = *v
		return true, nil
	})
	if errors.Is(err, state.ErrNotFound) {
		return nil
	}
	if err == nil {
		p.note(s)
	}
	return err
}
