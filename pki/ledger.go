package pki

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/litfass/litfass/internal/state"
)

const day = 24 * 60 * 60 // seconds

// Graces and bounds of the spec, in seconds where they are times.
const (
	skew       = day      // how far ahead of the clock a time may be (§5.2)
	holdMost   = 7 * day  // how long an article ahead of the clock is held (§5.2)
	lateGrace  = 7 * day  // late articles of a key that was rotated (§5.3)
	arrowGrace = 30 * day // arrows of the key before (§3.4)
	maxSlots   = 2000     // arrows kept per issuer (§3.4)
	maxHeld    = 10000    // statements kept that nothing known vouches for yet
	heldFor    = 30 * day
)

// Buckets of pki.db. Numbers in keys are big-endian.
const (
	bLog     = "log"     // N -> arrival, text: all statements that were taken, in order of arrival
	bDigest  = "digest"  // digest -> N
	bBy      = "by"      // identity, 'e', N: its key events; identity, 'a', slot, N: its arrows
	bKey     = "key"     // key, N: statements that name it
	bHeld    = "held"    // identity, digest -> arrival, text: not vouched for yet
	bState   = "state"   // identity -> what Evaluate said and which arrows count; derived
	bAnchor  = "anchor"  // JSON of the operator's anchors
	bLink    = "link"    // digest of an article -> digest of the one before it by the same key
	bQ       = "q"       // key -> next number not yet reserved
	bFetched = "fetched" // address of a neighbour's directory -> place in its log
	bOutlast = "outlast" // identity, slot -> the until of an outranked arrow that ends after the one that outranks it
	bLater   = "later"   // Seq of an article -> who brought it: a quota stopped some of its statements
	bRight   = "right"   // digest of an article -> 1: has its right, judged after it was filed; 0: was over a rate
)

// Anchor is an identity that the operator trusts for a purpose (§6.1).
type Anchor struct {
	ID      ID
	Purpose string // "*": every purpose
	Scope   string
	Depth   int
	Name    string // what the operator calls it, or ""
}

// Ledger keeps statements and says what follows from them: which key speaks for
// an identity, what a proof is worth, who has which right. Texts lie in pki.db,
// the graph of counting arrows in memory. It is safe for concurrent use.
type Ledger struct {
	db  *state.DB
	now func() time.Time

	mu      sync.RWMutex
	g       *graph
	anchors []Anchor
	gen     uint64 // grows with every change, and from one start to the next
	reached int64  // when node.reached was computed, 0: never
	changed chan struct{}
	cache   verdicts
	chains  map[ID]bool // identities in mode chain
	held    int         // rows of bHeld, about
	quotas  quotas
	rates   rates

	catching bool // CatchUp

	// Built is when the program was built, Unix seconds; a clock before it is no
	// clock (§5.2). 0: not known. It is set before use.
	Built int64
}

// CatchUp says that this node was away and asks its neighbours now what it missed:
// until CatchUp(false) articles by others are held, so that what a revocation bars is
// not judged before the revocation is here.
func (l *Ledger) CatchUp(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.catching != on {
		l.catching = on
		l.touch()
	}
}

// Alive notes that the node runs, for Away.
func (l *Ledger) Alive() error {
	return l.db.Update(func(tx *state.Tx) error { return tx.Put(bMeta, "alive", []byte(num(uint64(max(l.now().Unix(), 0))))) })
}

// Stamp is another number whenever what follows from the statements may have changed.
func (l *Ledger) Stamp() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.gen
}

// Away is how long ago Alive was said last; 0: never.
func (l *Ledger) Away() (d time.Duration, err error) {
	err = l.db.View(func(tx *state.Tx) error {
		if raw := tx.Get(bMeta, "alive"); len(raw) == 8 {
			d = max(l.now().Sub(time.Unix(int64(readNum(raw)), 0)), 0)
		}
		return nil
	})
	return d, err
}

// Timeless says whether the clock is before the program was built: such a node has
// no time, and holds what it would have to judge (§5.2).
func (l *Ledger) Timeless() bool { return l.now().Unix() < l.Built }

// Open reads the ledger of db, whose buckets named in ledger.go are its own.
// now is the clock.
func Open(db *state.DB, now func() time.Time) (*Ledger, error) {
	l := &Ledger{db: db, now: now, gen: uint64(now().UnixNano()), g: newGraph(), changed: make(chan struct{}), chains: map[ID]bool{}}
	if err := l.load(); err != nil {
		return nil, fmt.Errorf("open pki.db: %w", err)
	}
	return l, nil
}

// Anchors returns the operator's anchors.
func (l *Ledger) Anchors() []Anchor {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return append([]Anchor(nil), l.anchors...)
}

// Trust adds an anchor, or changes the one for the same identity, purpose and scope.
func (l *Ledger) Trust(a Anchor) error {
	if a.Depth < 0 {
		return errors.New("the depth of an anchor must not be negative")
	}
	if err := CheckScope(a.Scope); err != nil {
		return fmt.Errorf("scope %w", err)
	}
	return l.setAnchors(func(old []Anchor) []Anchor {
		return append(without(old, a), a)
	})
}

// Distrust removes anchors: of that identity, with that purpose and scope ("": any).
func (l *Ledger) Distrust(id ID, purpose, scope string) error {
	return l.setAnchors(func(old []Anchor) []Anchor {
		var out []Anchor
		for _, a := range old {
			if a.ID != id || purpose != "" && a.Purpose != purpose || scope != "" && a.Scope != scope {
				out = append(out, a)
			}
		}
		return out
	})
}

func without(old []Anchor, a Anchor) []Anchor {
	var out []Anchor
	for _, o := range old {
		if o.ID != a.ID || o.Purpose != a.Purpose || o.Scope != a.Scope {
			out = append(out, o)
		}
	}
	return out
}

func (l *Ledger) anchorTable() state.Table[[]Anchor] {
	return state.Table[[]Anchor]{DB: l.db, Bucket: bAnchor}
}

func (l *Ledger) setAnchors(f func([]Anchor) []Anchor) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := f(l.anchors)
	if err := l.anchorTable().Put("list", next); err != nil {
		return fmt.Errorf("write anchors: %w", err)
	}
	l.anchors = next
	for _, a := range next {
		l.g.node(a.ID.Subject())
	}
	l.touch()
	return nil
}

// touch says that something changed; l.mu is held.
func (l *Ledger) touch() {
	l.gen++
	l.reached = 0
	l.cache.clear()
	close(l.changed)
	l.changed = make(chan struct{})
}

// Changed returns a channel that is closed at the next change: what waited as
// unknown-key may be looked at again.
func (l *Ledger) Changed() <-chan struct{} {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.changed
}

// Left says whether sub has the right purpose in group at time at, and how many
// arrows may follow from it (§6.2).
func (l *Ledger) Left(sub Subject, purpose, group string, at time.Time) (left int, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	n := l.left(sub, purpose, group, at.Unix(), l.now().Unix())
	return int(n), n >= 0
}

func (l *Ledger) left(sub Subject, purpose, group string, at, arrived int64) int8 {
	n, ok := l.g.find(sub)
	if !ok {
		return -1
	}
	return l.g.query(l.anchors, purpose, group, at, arrived).left(n)
}

// has says whether sub has the right; l.mu is held.
func (l *Ledger) has(sub Subject, purpose, group string, at, arrived int64) bool {
	n, ok := l.g.find(sub)
	return ok && l.g.query(l.anchors, purpose, group, at, arrived).has(n, 0)
}

// Rights yields every subject that has the right purpose in group at time at.
func (l *Ledger) Rights(purpose, group string, at time.Time) map[Subject]int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	out := map[Subject]int{}
	for n, left := range l.g.query(l.anchors, purpose, group, at.Unix(), at.Unix()).all() {
		if left >= 0 {
			out[l.g.nodes.at(uint32(n)).sub] = int(left)
		}
	}
	return out
}

// reach marks what any arrow leads to from the anchors; l.mu is held for writing.
// It is good for a second: it only decides about quotas.
func (l *Ledger) reach() {
	now := l.now().Unix()
	if l.reached != 0 && now-l.reached < 1 && now >= l.reached {
		return
	}
	l.reached = max(now, 1)
	for i := range l.g.nodes.n {
		l.g.nodes.at(i).reached = false
	}
	var todo []uint32
	mark := func(n uint32) {
		if nd := l.g.nodes.at(n); !nd.reached {
			nd.reached = true
			todo = append(todo, n)
		}
	}
	for _, a := range l.anchors {
		if n, ok := l.g.find(a.ID.Subject()); ok {
			mark(n)
		}
	}
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for at := l.g.nodes.at(n).out; at != 0; {
			e := l.g.edges.at(at - 1)
			at = e.nextOut
			if !e.revoked && now < e.until {
				mark(e.subject)
			}
		}
	}
}

// Reached says whether an arrow of any purpose leads from an anchor to id.
func (l *Ledger) Reached(id ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.isReached(id)
}

func (l *Ledger) isReached(id ID) bool {
	l.reach()
	n, ok := l.g.find(id.Subject())
	return ok && l.g.nodes.at(n).reached
}

// Standing is the short answer about an identity.
func (l *Ledger) Standing(id ID) (Key, Status) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.standing(id)
}

func (l *Ledger) standing(id ID) (Key, Status) {
	n, ok := l.g.find(id.Subject())
	if !ok || l.g.nodes.at(n).ident == 0 {
		return Key{}, Unheard
	}
	nd := l.g.nodes.at(n)
	return *l.g.keys.at(nd.ident - 1), nd.status
}

// Identity is the long answer: what the events held say of id.
func (l *Ledger) Identity(id ID) (State, error) {
	st, _, err := l.identity(id)
	return st, err
}

// identity also gives the arrival of each event, in Unix seconds.
func (l *Ledger) identity(id ID) (State, map[Digest]int64, error) {
	events, err := l.rows(id, 'e')
	if err != nil {
		return State{}, nil, err
	}
	arrived := make(map[Digest]int64, len(events))
	set := make([]*Statement, len(events))
	for i, r := range events {
		set[i] = r.Statement
		arrived[r.Digest()] = r.Arrived
	}
	return Evaluate(id, set), arrived, nil
}

// Row is a statement as the ledger keeps it.
type Row struct {
	*Statement
	N       uint64 // its place in order of arrival
	Arrived int64  // Unix seconds
}

func num(n uint64) string { return string(binary.BigEndian.AppendUint64(nil, n)) }

func rowBytes(arrived int64, text string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(arrived)), text...)
}

func readRow(n uint64, raw []byte) (Row, error) {
	if len(raw) < 8 {
		return Row{}, fmt.Errorf("statement %d in pki.db is cut off", n)
	}
	s, err := ParseStatement(string(raw[8:]))
	if err != nil {
		return Row{}, fmt.Errorf("statement %d in pki.db: %w", n, err)
	}
	return Row{s, n, int64(binary.BigEndian.Uint64(raw))}, nil
}

// rows returns the key events ('e') or arrows ('a') of an identity.
func (l *Ledger) rows(id ID, kind byte) (out []Row, err error) {
	err = l.db.View(func(tx *state.Tx) error {
		out, err = rowsIn(tx, string(id[:])+string(kind))
		return err
	})
	return out, err
}

func rowsIn(tx *state.Tx, prefix string) (out []Row, err error) {
	var ns []string
	tx.Each(bBy, prefix, "", func(key string, _ []byte) bool {
		ns = append(ns, key[len(key)-8:])
		return true
	})
	for _, n := range ns {
		r, err := readRow(binary.BigEndian.Uint64([]byte(n)), tx.Get(bLog, n))
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func readNum(raw []byte) uint64 { return binary.BigEndian.Uint64(raw) }
