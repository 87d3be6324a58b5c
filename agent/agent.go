package agent

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/members"
	"github.com/litfass/litfass/spool"
)

// Agent is one node's news agent. Its exported fields are set once, before use;
// Host and Spool are needed, everything else may be left zero.
type Agent struct {
	Host    string      // path identity and domain of the Message-IDs made here
	Spool   spool.Store // where articles go
	State   *state.DB   // state.db: waiting room, kept cancels, secrets; nil: nothing can wait, the rest is lost at the end
	Members *members.Book
	Keys    Keys                      // signatures and rights; nil: nothing is signed, no signature is looked at
	Peers   Peers                     // who may bring articles; nil: nobody
	Filters []Filter                  // asked in order, at injection and at relaying
	Barred  func(account string) bool // whose key moderators barred: it moderates nothing; nil: nobody's
	Detach  Detacher                  // nil: large bodies are refused
	Limits  article.Limits
	Policy  Policy
	Now     func() time.Time     // nil: time.Now
	Random  func(p []byte) error // nil: the system's
	Log     *slog.Logger         // nil: silent

	// Superseded is told of an article that its author replaced, before it goes: who
	// wants to show earlier versions keeps them. An error is tried again. nil: nobody.
	Superseded func(ctx context.Context, old *article.Article, by article.ID) error
	// Withdrawn is told of what was removed from all groups at somebody's word, after
	// it went: indexes may forget it at once instead of at their next sweep. nil: nobody.
	Withdrawn func(ctx context.Context, id article.ID)

	// Kept is told of every article of a peer that was stored; it must not wait. nil: nobody.
	Kept func(peer string, e spool.Entry)

	live    atomic.Pointer[Policy] // nil: Policy
	wants   wants
	refused refused
	counts  counts
	locks   locks
	control controlMark
	pending pending
	room    room
	groupMu sync.Mutex // making control groups
}

// SetPolicy replaces Policy while the agent works: for what comes from now on, and
// what was refused under the old one is judged anew.
func (a *Agent) SetPolicy(p Policy) {
	a.live.Store(&p)
	a.refused.forget()
}

func (a *Agent) policy() *Policy {
	if p := a.live.Load(); p != nil {
		return p
	}
	return &a.Policy
}

// Origin says who brings an article or asks for something, as the door knows it.
type Origin struct {
	Door    string     // "nntp", "smtp", "web", "feed", "control" (command line), "import", "batch"
	Account string     // logged in as, or ""
	Peer    string     // name of the configured peer whose connection it is, or "" (see Agent.Whose)
	Addr    netip.Addr // the client's address; invalid for "control" and the like
	TLS     bool
	Trusted bool   // the address is in the door's `trusted` list: its `anonymous` setting applies
	Cert    string // spki:sha256:B64 of the client's TLS key, or ""
	Secret  string // of a guest, which only his client keeps: it opens the Cancel-Locks of what he posts; "": none

	Offered article.ID // the id that IHAVE or TAKETHIS named, or ""
	Conn    *Conn      // the connection, for reservations and order; nil: none
	Turn    uint64     // place in the stream of Conn, from Conn.Next; 0: none
}

// Reason is why something was refused. A door translates it in one table.
type Reason uint8

// The reasons.
const (
	Duplicate Reason = iota + 1 // history knows the id
	Malformed                   // syntax; this copy is refused
	Unwanted                    // policy: refused for good
	Unproven                    // signature does not hold, or not the right: this copy is refused
	Login                       // logging in would help (480)
	Denied                      // may not, and logging in would not help
	TooLarge
	Busy   // temporary: try later (431, 436, 451, 503)
	Absent // no such group or article
)

// Refusal is the one error a door may show to its client. Any other error is
// logged and becomes that protocol's "try again later".
type Refusal struct {
	Reason Reason
	Code   string // stable word for log lines and counters: "duplicate", "path-loop", "too-old", ...
	Text   string // for the client: names no file, host or key
	Err    error  // for the log, or nil
}

func (r *Refusal) Error() string {
	if r.Err != nil {
		return r.Code + ": " + r.Text + ": " + r.Err.Error()
	}
	return r.Code + ": " + r.Text
}

func (r *Refusal) Unwrap() error { return r.Err }

// Temporary says whether trying again later may help.
func (r *Refusal) Temporary() bool { return r.Reason == Busy }

// Filter may refuse an article, at injection and at relaying.
type Filter interface {
	Check(ctx context.Context, a *article.Article, o Origin) error // a *Refusal, or a temporary failure
}

// Detacher turns large parts of a draft into torrents and leaves magnet links.
// It is asked before signing, and never for a draft that came signed.
type Detacher interface {
	Detach(ctx context.Context, d *article.Draft, groups []article.Group) error
}

// Result is what became of an injected draft.
type Result struct {
	ID      article.ID
	Entry   spool.Entry // zero if Waiting
	Waiting bool        // it waits for a moderator (answer 240 all the same)
}

func (a *Agent) now() time.Time {
	if a.Now != nil {
		return a.Now()
	}
	return time.Now()
}

func (a *Agent) log() *slog.Logger {
	if a.Log != nil {
		return a.Log
	}
	return slog.New(slog.DiscardHandler)
}

func (a *Agent) random(p []byte) error {
	if a.Random != nil {
		return a.Random(p)
	}
	_, err := rand.Read(p)
	return err
}
