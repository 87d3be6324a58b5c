package pki

import (
	"bytes"
	"slices"
)

// Status says how an identity stands (§3.3).
type Status uint8

// The statuses of an identity.
const (
	Unheard Status = iota // no valid inception is known
	Live
	Frozen  // two next keys were announced, or an event is missing: only a recover goes on
	Retired // closed by its owner; only a recover opens it again
	Dead    // recovered twice: for good
)

func (s Status) String() string {
	return [...]string{"unknown", "live", "frozen", "retired", "dead"}[s]
}

// Term is the time of one key of an identity.
type Term struct {
	Event  *Statement // the event that brought the key
	Ended  *Statement // the event that took it away, nil while it speaks
	Undone bool       // its event was undone by the recover in Ended, or lies behind a fork
}

// State is what a set of key events says of an identity: a function of the set
// alone, whatever order it came in.
type State struct {
	Status   Status
	Current  *Statement   // the event in force; its Key speaks while Status is Live
	Terms    []Term       // of every key with a valid event, those in force first, in order
	Evidence []*Statement // what conflicts: the two rotations of a fork, the two recovers
	Missing  *Statement   // a recover whose event before is not known here
}

// Key is the key in force.
func (s *State) Key() Key { return s.Current.Key }

// Evaluate says how the identity id stands by the events of the set, which must
// have passed CheckSignatures; those of other identities are passed by (§3.3).
func Evaluate(id ID, set []*Statement) State {
	e := &evaluation{byPrev: map[Digest][]*Statement{}, byCommit: map[Digest][]*Statement{}}
	for _, s := range set {
		e.add(id, s)
	}
	if e.incept == nil {
		return State{}
	}
	return e.run()
}

type evaluation struct {
	incept   *Statement
	byPrev   map[Digest][]*Statement // rotations by the event before
	byCommit map[Digest][]*Statement // recovers by the commitment they open
	seen     map[Digest]bool
	state    State
}

// add files an event once, whatever signatures its copies carry.
func (e *evaluation) add(id ID, s *Statement) {
	if s.ID != id || !s.IsEvent() || e.seen[s.digest] {
		return
	}
	if e.seen == nil {
		e.seen = map[Digest]bool{}
	}
	e.seen[s.digest] = true
	switch s.Type {
	case TypeIncept:
		e.incept = s
	case TypeRotate:
		e.byPrev[s.Prev] = append(e.byPrev[s.Prev], s)
	case TypeRecover:
		c := s.Policy.Digest()
		e.byCommit[c] = append(e.byCommit[c], s)
	}
}

func byDigest(a, b *Statement) int { return bytes.Compare(a.digest[:], b.digest[:]) }

// rotations are the valid rotations that follow an event, smallest digest first.
func (e *evaluation) rotations(ev *Statement) []*Statement {
	if e.incept.Chain || ev.Next == nil {
		return nil
	}
	var out []*Statement
	for _, r := range e.byPrev[ev.digest] {
		if r.Seq == ev.Seq+1 && r.Key.Digest() == *ev.Next {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, byDigest)
	return out
}

// run goes from epoch to epoch.
func (e *evaluation) run() State {
	base := e.incept
	var used []Digest // commitments of the epochs so far
	for {
		recovers := e.opening(base, &used)
		if len(recovers) > 1 {
			e.state.Status, e.state.Current, e.state.Evidence = Dead, base, recovers[:2]
			e.term(base)
			e.branches(base, nil)
			return e.state
		}
		if len(recovers) == 0 {
			e.follow(base)
			return e.state
		}
		rec := recovers[0]
		path := e.pathTo(base, rec)
		if path == nil {
			e.follow(base)
			e.state.Missing = rec
			if e.state.Status != Frozen {
				e.state.Status = Frozen
			}
			return e.state
		}
		e.take(path, rec)
		base = rec
	}
}

// opening returns the valid recovers that open the commitment of base's epoch.
func (e *evaluation) opening(base *Statement, used *[]Digest) []*Statement {
	if base.Recover == nil {
		return nil
	}
	c := *base.Recover
	*used = append(*used, c)
	var out []*Statement
	for _, r := range e.byCommit[c] {
		if r.Recover == nil || !slices.Contains(*used, *r.Recover) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, byDigest)
	return out
}

// pathTo returns the events from base to the one that rec names, or nil.
func (e *evaluation) pathTo(base, rec *Statement) []*Statement {
	type step struct {
		ev   *Statement
		from *step
	}
	for todo := []*step{{ev: base}}; len(todo) > 0; todo = todo[1:] {
		at := todo[0]
		if at.ev.digest == rec.Prev {
			if rec.Seq != at.ev.Seq+1 {
				return nil
			}
			var path []*Statement
			for s := at; s != nil; s = s.from {
				path = append(path, s.ev)
			}
			slices.Reverse(path)
			return path
		}
		for _, r := range e.rotations(at.ev) {
			todo = append(todo, &step{r, at})
		}
	}
	return nil
}

// take puts the events of path in force, ends the last by rec, and undoes the
// rotations that are not on it.
func (e *evaluation) take(path []*Statement, rec *Statement) {
	for i, ev := range path {
		t := Term{Event: ev, Ended: rec}
		if i+1 < len(path) {
			t.Ended = path[i+1]
		}
		e.state.Terms = append(e.state.Terms, t)
	}
	on := map[Digest]bool{}
	for _, ev := range path {
		on[ev.digest] = true
	}
	e.undo(path[0], on, rec)
}

// undo marks the rotations behind ev that are not in on as undone by rec (nil: by a fork).
func (e *evaluation) undo(ev *Statement, on map[Digest]bool, rec *Statement) {
	for todo := []*Statement{ev}; len(todo) > 0; todo = todo[1:] {
		for _, r := range e.rotations(todo[0]) {
			if !on[r.digest] {
				e.state.Terms = append(e.state.Terms, Term{Event: r, Ended: rec, Undone: true})
			}
			todo = append(todo, r)
		}
	}
}

func (e *evaluation) branches(ev *Statement, rec *Statement) { e.undo(ev, nil, rec) }

func (e *evaluation) term(ev *Statement) {
	e.state.Terms = append(e.state.Terms, Term{Event: ev})
}

// follow goes along the rotations from base as far as they are without a fork.
func (e *evaluation) follow(base *Statement) {
	at := base
	for {
		next := e.rotations(at)
		if len(next) == 1 {
			e.state.Terms = append(e.state.Terms, Term{Event: at, Ended: next[0]})
			at = next[0]
			continue
		}
		e.term(at)
		e.state.Current = at
		switch {
		case len(next) > 1:
			e.state.Status, e.state.Evidence = Frozen, next[:2]
			e.branches(at, nil)
		case at.Next == nil:
			e.state.Status = Retired
		default:
			e.state.Status = Live
		}
		return
	}
}
