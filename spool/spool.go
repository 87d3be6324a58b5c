package spool

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/litfass/litfass/article"
)

// Errors of a Store. Doors do not see them: agent translates.
var (
	// ErrDuplicate is returned by Add if history knows the id, stored or recalled.
	ErrDuplicate = errors.New("message-id is known already")
	// ErrNotFound: no such article, number or group is here now.
	ErrNotFound = errors.New("not found")
	// ErrFull is returned by Writer's methods while neither disk nor quota has
	// room and nothing may be dropped. It is temporary: try later.
	ErrFull = errors.New("spool is full")
	// ErrClosed is returned by every method after Close.
	ErrClosed = errors.New("spool is closed")
)

// Seq is an article's place in this node's arrival log, from 1. Seqs become
// visible in increasing order and are never reused: a reader that has seen n
// will never later find a new article below n. Followers stand on this.
type Seq uint64

// Place is an article's number in one group: one item of the Xref field.
type Place struct {
	Group  article.Group
	Number uint64
}

// How an article came here.
type How uint8

// The ways in.
const (
	Injected How = iota + 1 // posted at this node
	Relayed                 // brought by a peer
	Imported                // from an archive: without age limit and without consequences
)

// Via tells how and from whom an article came.
type Via struct {
	How  How
	Peer string // the peer's name if Relayed; else the door ("nntp", "web", "mail", ...)
}

// Entry is all the spool knows of an article without opening it. Range leaves
// Path, Via and Proof out: they stand in the record's head, not in the index.
type Entry struct {
	Seq     Seq
	Arrived time.Time // seconds
	Places  []Place   // where it can be read now; the Xref field
	Path    []string  // hops without the tail-entry, newest first, our own included
	Via     Via
	Proof   article.Proof
	article.Overview
}

// Listed is what List says of an article.
type Listed struct {
	Number      uint64
	Arrived     time.Time // seconds
	ID          article.ID
	Crossposted bool // it may stand in other groups too
}

// State is what history says of a Message-ID.
type State uint8

// The states of an id.
const (
	Unknown  State = iota
	Stored         // can be read
	Recalled       // was here, or must not come: cancelled, expired, refused for good
)

// Arrival is what the agent decided about an article that is to be added.
type Arrival struct {
	Groups  []article.Group // groups to file it in, at least one; all must exist
	Via     Via
	Proof   article.Proof
	At      time.Time // arrival
	Expires time.Time // from the Expires field if it is later than At; zero: none
}

// Status is the status letter of a group in LIST ACTIVE (RFC 3977 §7.6.3).
type Status byte

// The letters in use.
const (
	PostOpen  Status = 'y'
	PostNone  Status = 'n'
	Moderated Status = 'm'
)

// GroupInfo describes a group. PutGroups takes the settings and ignores Low,
// High, Count and Created where the group exists already.
type GroupInfo struct {
	Name        article.Group
	Status      Status
	Description string        // octets as received; LIST NEWSGROUPS
	Moderator   string        // address of a moderated group, or ""
	Require     string        // "", "none" or "known": what an unsigned article meets (pki)
	Approved    string        // "" or "field": Approved counts as it stands
	Keep        time.Duration // expire after; 0: the spool's default
	Detach      string        // "" or "never"
	Fetch       string        // torrent replication policy: "", on-demand, copies=K, mirror, none
	Created     time.Time
	Creator     string

	Low, High, Count uint64 // Low > High: empty. Low never falls, numbers are never used twice
}

// History answers the question every offer asks; fast even when larger than memory.
type History interface {
	Lookup(ctx context.Context, id article.ID) (State, error)
	// Recall makes id known as Recalled until then, so that it is refused.
	Recall(ctx context.Context, id article.ID, until time.Time) error
}

// Writer changes the spool. Each method is atomic and, once it returned nil,
// survives a power cut.
type Writer interface {
	// Add stores a, gives it the next number in each group and the next Seq, and
	// records its history, all or nothing. It returns ErrDuplicate if history
	// knows a's id, however many callers race, and ErrNotFound if a group is gone.
	// Many calls at once share one sync.
	Add(ctx context.Context, a *article.Article, in Arrival) (Entry, error)
	// Remove takes the article out of these groups (none named: all); out of all
	// of them, it is gone and its id Recalled until then. An article that is gone
	// already is no error.
	Remove(ctx context.Context, seq Seq, from []article.Group, until time.Time) error
	// PutGroups makes or changes groups: all with one sync.
	PutGroups(ctx context.Context, g ...GroupInfo) error
	// DropGroup removes a group. Made again, it numbers on above its old high mark.
	DropGroup(ctx context.Context, g article.Group) error
}

// Reader reads. Iterators work in batches and hold nothing while the loop body
// runs: what is removed meanwhile is skipped. An iterator that fails yields the
// error once and ends.
type Reader interface {
	ByID(ctx context.Context, id article.ID) (Entry, error)
	ByNumber(ctx context.Context, p Place) (Entry, error)
	// Range yields lo <= number <= hi of g in order; Entry.Places begins with g's own.
	Range(ctx context.Context, g article.Group, lo, hi uint64) iter.Seq2[Entry, error]
	// Numbers is Range for who wants the numbers alone (LISTGROUP).
	Numbers(ctx context.Context, g article.Group, lo, hi uint64) iter.Seq2[uint64, error]
	// List is Range for who wants ids and arrivals alone (NEWNEWS).
	List(ctx context.Context, g article.Group, lo, hi uint64) iter.Seq2[Listed, error]
	// Since yields what came after that Seq, in order, whole entries, read from the log.
	Since(ctx context.Context, after Seq) iter.Seq2[Entry, error]
	// SeqAt returns the newest Seq that arrived before t: where NEWNEWS begins.
	SeqAt(ctx context.Context, t time.Time) (Seq, error)
	// Last returns the newest visible Seq.
	Last() Seq
	Open(ctx context.Context, seq Seq) (*article.Article, error)
	Group(ctx context.Context, g article.Group) (GroupInfo, error)
	// Groups yields all groups by name.
	Groups(ctx context.Context) iter.Seq2[GroupInfo, error]
}

// Store is the whole spool: the one seam behind which storage may change.
type Store interface {
	History
	Writer
	Reader
	// Wait returns nil as soon as there is something newer than after.
	Wait(ctx context.Context, after Seq) error
	// SpoolID names this log; cursors of another log mean nothing here.
	SpoolID() string
	Close() error
}

// Follower is told of every article, in order, at least once. What it does must
// be repeatable. A temporary error (see Permanent) holds up this follower only.
type Follower interface {
	Name() string // names the saved cursor
	Follow(ctx context.Context, e Entry) error
}
