package agent

import (
	"context"
	"net/netip"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// Origin says who brings an article or asks for something, as the door knows it.
type Origin struct {
	Door    string     // "nntp", "smtp", "web", "feed", "control" (command line), "import", "batch"
	Account string     // logged in as, or ""
	Peer    string     // name of the configured peer whose connection it is, or ""
	Addr    netip.Addr // the client's address; invalid for "control" and the like
	TLS     bool
	Trusted bool   // the address is in the door's `trusted` list: its `anonymous` setting applies
	Cert    string // spki:sha256:B64 of the client's TLS key, or ""
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
type Detacher interface {
	Detach(ctx context.Context, d *article.Draft, groups []article.Group) error
}

// Result is what became of an injected draft.
type Result struct {
	ID      article.ID
	Entry   spool.Entry // zero if Waiting
	Waiting bool        // it waits for a moderator (answer 240 all the same)
}
