package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/nntp"
	"github.com/litfass/litfass/internal/wildmat"
	"github.com/litfass/litfass/spool"
)

// Peer is one neighbour as configured. A zero field takes the default named there.
type Peer struct {
	Name     string
	Path     string        // its path identity; default: Name
	Address  string        // host:port, or nntps://host:port for implicit TLS; empty: we never connect
	Send     string        // wildmat of the groups it is offered; default "*,!local.*"
	Take     string        // wildmat of the groups pulled from it; default "*"
	Dist     string        // wildmat of Distribution's words that it is offered; default "*,!local"
	Key      string        // spki:sha256:B64 of its TLS key, checked when we connect; needs TLS
	User     string        // our login there
	Password string        //
	Conns    int           // connections at one time; default 2, at most 16
	Window   int           // commands in flight on each; default 64, at most 1024
	Pull     time.Duration // ask it for news so often; 0: never
}

// DefaultDist keeps what is for this server alone (RFC 5536 §3.2.4: "local").
const DefaultDist = "*,!local"

func (p *Peer) defaults() {
	or := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	or(&p.Path, p.Name)
	or(&p.Send, "*,!local.*")
	or(&p.Take, "*")
	or(&p.Dist, DefaultDist)
	if p.Conns == 0 {
		p.Conns = 2
	}
	if p.Window == 0 {
		p.Window = 64
	}
	p.Conns, p.Window = min(p.Conns, 16), min(p.Window, 1024)
}

// Check says what is wrong with a peer's settings.
func (p Peer) Check() error {
	p.defaults()
	if p.Name == "" {
		return errors.New("a peer needs a name")
	}
	for what, w := range map[string]string{"send": p.Send, "take": p.Take, "distributions": p.Dist} {
		if _, err := wildmat.Parse(w); err != nil {
			return fmt.Errorf("peer %s: %s: %q is %w", p.Name, what, w, err)
		}
	}
	if p.Conns < 0 || p.Window < 0 || p.Pull < 0 {
		return fmt.Errorf("peer %s: connections, window and pull must not be negative", p.Name)
	}
	return nil
}

// Matcher returns the function that says whether the peer is to have an article:
// its Send matches a group in which the article is filed here, and its path
// identity is not in Path. Nothing else exempts it: RFC 5537 §3.6 (3).
func (p Peer) Matcher() (func(*spool.Entry) bool, error) {
	p.defaults()
	send, err := wildmat.Parse(p.Send)
	if err != nil {
		return nil, fmt.Errorf("peer %s: send: %w", p.Name, err)
	}
	return func(e *spool.Entry) bool {
		for _, hop := range e.Path {
			if strings.EqualFold(hop, p.Path) {
				return false
			}
		}
		return agent.Concerns(e, func(g article.Group) bool { return send.Match(string(g)) })
	}, nil
}

// Wants is Matcher and a look at the field Distribution of articles that have it:
// RFC 5536 §3.2.4, one of its words must match Dist. What is gone meanwhile is
// not wanted.
func (p Peer) Wants(open func(context.Context, spool.Seq) (*article.Article, error)) (func(context.Context, *spool.Entry) (bool, error), error) {
	match, err := p.Matcher()
	if err != nil {
		return nil, err
	}
	p.defaults()
	dist, err := wildmat.Parse(strings.ToLower(p.Dist))
	if err != nil {
		return nil, fmt.Errorf("peer %s: distributions: %w", p.Name, err)
	}
	return func(ctx context.Context, e *spool.Entry) (bool, error) {
		if ok := match(e); !ok || e.Has&article.HasDistribution == 0 {
			return ok, nil
		}
		a, err := open(ctx, e.Seq)
		if errors.Is(err, spool.ErrNotFound) {
			return false, nil
		} else if err != nil {
			return false, err
		}
		for word := range strings.SplitSeq(strings.ToLower(a.Get("Distribution")), ",") {
			if dist.Match(strings.TrimSpace(word)) {
				return true, nil
			}
		}
		return false, nil
	}, nil
}

// Source is the part of a spool that senders read.
type Source interface {
	Since(ctx context.Context, after spool.Seq) iter.Seq2[spool.Entry, error]
	Open(ctx context.Context, seq spool.Seq) (*article.Article, error)
	Wait(ctx context.Context, after spool.Seq) error
	Last() spool.Seq
	SpoolID() string
}

// State keeps a few octets per name: cursors and what belongs to them.
type State interface {
	// Load returns what was saved last, or nil.
	Load(name string) ([]byte, error)
	// Save replaces it, durably. nil forgets it.
	Save(name string, b []byte) error
}

// Relayer is the part of agent.Agent that pulling uses.
type Relayer interface {
	Want(ctx context.Context, id article.ID, o agent.Origin) error
	Relay(ctx context.Context, raw []byte, o agent.Origin) (spool.Entry, error)
}

// Config is what all peers of a node share. A zero field takes the default
// named there; Spool and State must be set.
type Config struct {
	Spool Source
	State State
	Relay Relayer                                                 // nil: no pulling
	TLS   *tls.Config                                             // our certificate, and roots; default: none
	Max   int                                                     // octets of an article that is pulled; default 1 MiB
	Log   *slog.Logger                                            // default: none
	Now   func() time.Time                                        // default time.Now
	Dial  func(context.Context, string, string) (net.Conn, error) // default net.Dialer

	// First returns what is offered before all else, of what came after a place in the
	// log, oldest first: pki.md §7.1. It is asked when a connection is made, and while
	// articles wait for one at each SaveEvery if something came. nil: nothing.
	First func(ctx context.Context, after spool.Seq) ([]spool.Entry, error)

	Answer    time.Duration // longest wait for an answer of a peer; default 60 s
	Idle      time.Duration // a connection without work is left after it; default 3 min
	RetryMin  time.Duration // first wait after a connection failed; default 1 s, doubled up to RetryMax
	RetryMax  time.Duration // default 30 s
	DeferMin  time.Duration // first wait for an article that was deferred; default 500 ms, doubled up to DeferMax
	DeferMax  time.Duration // default 60 s
	SaveEvery time.Duration // the cursor is saved so often; default 5 s
	Farewell  time.Duration // time for the last answers when stopping; default 1 s

	buffers *nntp.Buffers // of all connections
}

func (c *Config) defaults() {
	set := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		}
	}
	set(&c.Answer, time.Minute)
	set(&c.Idle, 3*time.Minute)
	set(&c.RetryMin, time.Second)
	set(&c.RetryMax, 30*time.Second)
	set(&c.DeferMin, 500*time.Millisecond)
	set(&c.DeferMax, time.Minute)
	set(&c.SaveEvery, 5*time.Second)
	set(&c.Farewell, time.Second)
	c.buffers = new(nntp.Buffers)
	if c.Max == 0 {
		c.Max = 1 << 20
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// dialer says how to reach p. A pinned key asks for STARTTLS even where it is
// not listed; without one it is used where it is listed.
func (c *Config) dialer(p *Peer) nntp.Dialer {
	d := nntp.Dialer{
		Address: p.Address, Config: c.TLS, Pin: p.Key, User: p.User, Password: p.Password,
		Answer: c.Answer, Buffers: c.buffers, Dial: c.Dial,
	}
	rest, implicit := strings.CutPrefix(p.Address, "nntps://")
	switch {
	case implicit:
		d.Address, d.TLS = rest, nntp.TLSImplicit
	case p.Key != "":
		d.TLS = nntp.TLSStart
	case p.User != "":
		d.TLS = nntp.TLSIfListed
	}
	if _, _, err := net.SplitHostPort(d.Address); err != nil {
		port := "119"
		if implicit {
			port = "563"
		}
		d.Address = net.JoinHostPort(strings.Trim(d.Address, "[]"), port)
	}
	return d
}
