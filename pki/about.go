package pki

import (
	"cmp"
	"slices"
)

// Given is an arrow that counts, seen from one of its ends.
type Given struct {
	Other   Subject // the other end: whom it is given to, or who gives it
	Status  Status  // of Other, if it is an identity
	Purpose string
	Scope   string
	Param   string
	Depth   int
	From    int64 // Unix seconds, both
	Until   int64
}

// Gives returns the arrows of an identity that count now, sorted by whom they are
// for and purpose, at most max; more is how many were left out.
func (l *Ledger) Gives(id ID, max int) (list []Given, more int) {
	return l.arrowsAt(id.Subject(), false, max)
}

// Gets returns the arrows to somebody that count now, by issuer; see Gives.
func (l *Ledger) Gets(sub Subject, max int) (list []Given, more int) {
	return l.arrowsAt(sub, true, max)
}

func (l *Ledger) arrowsAt(sub Subject, in bool, max int) (list []Given, more int) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	n, ok := l.g.find(sub)
	if !ok {
		return nil, 0
	}
	now := l.now().Unix()
	at := l.g.nodes.at(n).out
	if in {
		at = l.g.nodes.at(n).in
	}
	for at != 0 {
		e := l.g.edges.at(at - 1)
		other := e.subject
		if at = e.nextOut; in {
			other, at = e.issuer, e.nextIn
		}
		if e.revoked || now < e.from || now >= e.until {
			continue
		}
		nd := l.g.nodes.at(other)
		g := Given{Other: nd.sub, Purpose: l.g.names[e.purpose], Scope: l.g.names[e.scope], Param: l.g.names[e.param], Depth: int(e.depth), From: e.from, Until: e.until}
		if nd.sub.Kind == SubjectID && nd.ident != 0 {
			g.Status = nd.status
		}
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b Given) int {
		return cmp.Or(cmp.Compare(a.Other.String(), b.Other.String()), cmp.Compare(a.Purpose, b.Purpose), cmp.Compare(a.Scope, b.Scope))
	})
	if len(list) > max {
		more, list = len(list)-max, list[:max]
	}
	return list, more
}

// Hosted returns the account of this node that an identity belongs to.
func (kr *Keyring) Hosted(id ID) (account string, ok bool) {
	kr.mu.RLock()
	defer kr.mu.RUnlock()
	for name, f := range kr.hosted {
		if f.id == id {
			return name, true
		}
	}
	return "", false
}
