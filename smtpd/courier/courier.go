package courier

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/smtpd/letters"
	"github.com/litfass/litfass/spool"
)

// Spool is the slice of spool.Store that the courier reads.
type Spool interface {
	Group(ctx context.Context, g article.Group) (spool.GroupInfo, error)
	ByID(ctx context.Context, id article.ID) (spool.Entry, error)
	Open(ctx context.Context, seq spool.Seq) (*article.Article, error)
	Range(ctx context.Context, g article.Group, lo, hi uint64) iter.Seq2[spool.Entry, error]
}

// Waiting is the slice of agent.Agent by which moderators decide by mail.
type Waiting interface {
	Waiting(ctx context.Context, groups ...article.Group) ([]agent.Held, error)
	WaitingChanged() <-chan struct{}
	Held(ctx context.Context, key string) (agent.Held, *article.Article, error)
	ByToken(ctx context.Context, token string) (agent.Held, error)
	Approve(ctx context.Context, key string, by agent.Origin, token string) (agent.Result, error)
	Reject(ctx context.Context, key string, by agent.Origin, token string) (agent.Held, *article.Article, error)
	Told(ctx context.Context, key string) error
}

// Config is what a Courier is made of.
type Config struct {
	Domain    string // of the groups' addresses
	Host      string // the node's name, in HELO
	URL       string // the forum's address, for Archived-At and one-click unsubscribing; "": neither
	Smarthost string // host:port; "mx": direct delivery; "": mail leaves to nobody
	User      string // at the smarthost, or ""
	Password  string
	DKIM      Seal        // signs each mail; without a key: unsigned
	Common    Seal        // signs, beside DKIM, once a letter what all subscribers get alike; or no key
	Language  string      // of letters to whom nothing better is known of; "": all
	TLS       *tls.Config // for sending; nil: opportunistic, certificates are not checked
	Port      string      // of mail servers in "mx" mode; "": 25

	State    *state.DB
	Spool    Spool
	Waiting  Waiting          // nil: moderators are not told
	People   People           // nil: accounts get no notices
	Settled  func() spool.Seq // the saved cursor of this follower
	Resolver *net.Resolver    // for MX and DMARC; nil: the system's
	Now      func() time.Time
	Log      *slog.Logger
	Workers  int // connections at a time; 0: 4
}

// Courier is a spool.Follower that queues mail, and the workers that send it.
type Courier struct {
	cfg     Config
	subs    state.Table[Subscription]
	tokens  state.Table[string] // of a subscription: its key
	asked   state.Table[asked]
	queue   state.Table[row]
	digest  state.Table[digestMark]
	dmarc   dmarcCache
	places  destinations
	commons commons

	letters *letters.Letters
	pages   pages
	frame   Frame // nil: pages stand alone
	wake    chan struct{}

	mu   sync.Mutex
	busy map[string]bool // rows that a worker has

	noticeDay int64          // counted from 1970
	noticed   map[string]int // notices by address on that day

	sent, deferred, bounced atomic.Int64
}

// New makes a Courier; Run sends.
func New(cfg Config) *Courier {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Workers == 0 {
		cfg.Workers = 4
	}
	if cfg.Port == "" {
		cfg.Port = "25"
	}
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	c := &Courier{cfg: cfg, wake: make(chan struct{}, 1), busy: map[string]bool{}, letters: letters.New(), pages: newPages()}
	c.subs = state.Table[Subscription]{DB: cfg.State, Bucket: "courier.subs"}
	c.tokens = state.Table[string]{DB: cfg.State, Bucket: "courier.tokens"}
	c.asked = state.Table[asked]{DB: cfg.State, Bucket: "courier.asked"}
	c.queue = state.Table[row]{DB: cfg.State, Bucket: "courier.queue"}
	c.digest = state.Table[digestMark]{DB: cfg.State, Bucket: "courier.digest"}
	return c
}

// Name names the cursor.
func (c *Courier) Name() string { return "courier" }

// Follow queues an article for the subscribers of its groups, each address once.
// Imported articles and control messages reach nobody; without a smarthost nothing
// is queued. Repeating it writes the
// same rows.
func (c *Courier) Follow(ctx context.Context, e spool.Entry) error {
	if c.cfg.Smarthost == "" || e.Via.How == spool.Imported || e.Has&article.HasControl != 0 {
		return nil
	}
	seen := map[string]bool{}
	answered, err := c.answered(ctx, e)
	if err != nil {
		return err
	}
	for _, p := range e.Places {
		_, subs, err := c.subs.List(string(p.Group) + "\x00")
		if err != nil {
			return fmt.Errorf("list subscribers of %s: %w", p.Group, err)
		}
		var to []string
		for _, s := range subs {
			wanted := s.Mode == All || s.Mode == Replies && s.Address == answered
			if wanted && !s.Paused && !seen[s.Address] {
				seen[s.Address] = true
				to = append(to, s.Address)
			}
		}
		if err := c.enqueue(row{Seq: e.Seq, Group: p.Group}, e.Arrived, to); err != nil {
			return err
		}
	}
	return c.notify(ctx, e, seen)
}

// answered is the address of who wrote what an article answers, or "": not here, or
// his own.
func (c *Courier) answered(ctx context.Context, e spool.Entry) (string, error) {
	refs := article.ParseReferences(e.References)
	if len(refs) == 0 {
		return "", nil
	}
	parent, err := c.cfg.Spool.ByID(ctx, refs[len(refs)-1])
	if errors.Is(err, spool.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look up what article %d answers: %w", e.Seq, err)
	}
	_, who := content.Author(parent.From)
	if _, own := content.Author(e.From); strings.EqualFold(who, own) {
		return "", nil
	}
	return strings.ToLower(who), nil
}

func (c *Courier) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Counts are what the courier did since it began.
type Counts struct {
	Sent, Deferred, Bounced int64
	Queued                  int // rows
}

// Counts returns them.
func (c *Courier) Counts() Counts {
	keys, _, err := c.queue.List("")
	if err != nil {
		c.cfg.Log.Error("courier: count the queue", "err", err)
	}
	return Counts{c.sent.Load(), c.deferred.Load(), c.bounced.Load(), len(keys)}
}

// Run sends what is due, tells moderators and makes digests, until ctx ends; then
// it waits for open deliveries.
func (c *Courier) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	if c.cfg.Smarthost == "" {
		<-ctx.Done()
		return nil
	}
	if c.cfg.Waiting != nil {
		wg.Go(func() { c.tellModerators(ctx) })
	}
	slots := make(chan struct{}, c.cfg.Workers)
	for {
		wait, err := c.dispatch(ctx, slots, &wg)
		if err == nil {
			err = c.digests(ctx)
		}
		if err != nil && ctx.Err() == nil {
			c.cfg.Log.Error("courier: work on the queue", "err", err)
			wait = time.Minute
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-c.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// dispatch hands rows that are due to workers and says when to look again.
func (c *Courier) dispatch(ctx context.Context, slots chan struct{}, wg *sync.WaitGroup) (time.Duration, error) {
	rows, next, err := c.due(100)
	if err != nil {
		return 0, err
	}
	for _, r := range rows {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return time.Hour, nil
		}
		where := c.destination(r.To[0])
		if !c.places.reserve(where, c.most()) { // who is done with it pokes
			<-slots
			continue
		}
		c.mu.Lock()
		c.busy[r.Key] = true
		c.mu.Unlock()
		wg.Go(func() {
			defer func() {
				c.mu.Lock()
				delete(c.busy, r.Key)
				c.mu.Unlock()
				c.places.release(where)
				<-slots
				c.poke()
			}()
			if err := c.work(ctx, r); err != nil && ctx.Err() == nil {
				c.cfg.Log.Error("courier: deliver", "err", err)
			}
		})
	}
	return next, nil
}

func cut(addr string) (local, domain string, ok bool) {
	i := strings.LastIndexByte(addr, '@')
	if i <= 0 || i == len(addr)-1 || len(addr) > 320 || strings.ContainsAny(addr, "\r\n\x00 <>,;") {
		return "", "", false
	}
	return addr[:i], strings.ToLower(addr[i+1:]), true
}

// ErrNoWay is returned by Send where no smarthost is configured.
var ErrNoWay = errors.New("mail leaves to nobody here: set smtp.smarthost")

// ErrUnknown is returned for tokens and subscriptions that are not there.
var ErrUnknown = errors.New("no such subscription, or the link was used already")
