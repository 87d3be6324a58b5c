package main

import (
	"context"
	"errors"
	"time"

	"github.com/litfass/litfass/pki"
	"github.com/litfass/litfass/webforum"
)

// How much of who vouches for whom the page of a person shows.
const (
	rightsMost  = 40 // arrows of one identity
	rightsDepth = 3  // how far they are followed
)

// forumPeople are the identities as the forum asks for them.
type forumPeople struct{ core *core }

// nameOf is what this node calls an identity: its own name, an account's, or that
// of `key trust --name`; else "".
func (k *core) nameOf(id pki.ID) string {
	if id == k.keys.NodeID() {
		return k.host
	}
	if name, ok := k.keys.Hosted(id); ok {
		return name
	}
	for _, a := range k.keys.Ledger.Anchors() {
		if a.ID == id && a.Name != "" {
			return a.Name
		}
	}
	return ""
}

// Person is webforum.People's.
func (f forumPeople) Person(_ context.Context, identity string) (webforum.Person, error) {
	id, err := pki.ParseID(identity)
	if err != nil {
		return webforum.Person{}, err
	}
	k, l := f.core, f.core.keys.Ledger
	st, err := l.Identity(id)
	if err != nil {
		return webforum.Person{}, err
	}
	_, here := k.keys.Hosted(id)
	p := webforum.Person{Name: k.nameOf(id), Node: id == k.keys.NodeID(), Here: here, Status: st.Status.String()}
	for _, t := range st.Terms {
		key := webforum.PersonKey{Key: t.Event.Key.String(), Since: time.Unix(t.Event.Time, 0), Bad: t.Undone}
		if t.Ended != nil {
			key.Ended = time.Unix(t.Ended.Time, 0)
			if t.Ended.BadSince != nil {
				key.Bad, key.Since = true, time.Unix(*t.Ended.BadSince, 0)
			}
		}
		p.Keys = append([]webforum.PersonKey{key}, p.Keys...)
		if p.Since.IsZero() || key.Since.Before(p.Since) {
			p.Since = time.Unix(t.Event.Time, 0)
		}
	}
	given, more := l.Gives(id, rightsMost)
	for _, g := range given {
		if g.Other.Kind == pki.SubjectID {
			p.For = append(p.For, f.right(g, rightsDepth, map[pki.ID]bool{id: true}))
		} else {
			p.Devices = append(p.Devices, f.right(g, 0, nil))
		}
	}
	p.MoreFor = more
	got, more := l.Gets(id.Subject(), rightsMost)
	for _, g := range got {
		p.By = append(p.By, f.right(g, 0, nil))
	}
	p.MoreBy = more
	for _, a := range l.Anchors() {
		if a.ID == id {
			p.Believed = append(p.Believed, webforum.Right{Identity: identity, Name: k.host, Purpose: a.Purpose, Scope: a.Scope, Depth: a.Depth})
		}
	}
	return p, nil
}

// right describes one arrow, and whom its other end gives rights to, deep steps on.
func (f forumPeople) right(g pki.Given, deep int, seen map[pki.ID]bool) webforum.Right {
	r := webforum.Right{Purpose: g.Purpose, Scope: g.Scope, Depth: g.Depth, Until: time.Unix(g.Until, 0)}
	if g.Other.Kind != pki.SubjectID {
		r.Key = g.Other.String()
		return r
	}
	id := pki.ID(g.Other.Hash)
	r.Identity, r.Name, r.Status = id.String(), f.core.nameOf(id), g.Status.String()
	if deep <= 1 || seen[id] {
		return r
	}
	seen[id] = true
	next, _ := f.core.keys.Ledger.Gives(id, rightsMost)
	for _, g := range next {
		if g.Other.Kind == pki.SubjectID {
			r.Follow = append(r.Follow, f.right(g, deep-1, seen))
		}
	}
	return r
}

// Vouch is webforum.People's.
func (f forumPeople) Vouch(_ context.Context, v webforum.Vouch) error {
	id, err := pki.ParseID(v.Identity)
	if err != nil {
		return err
	}
	scope := or(v.Scope, "*")
	if err := pki.CheckScope(scope); err != nil {
		return err
	}
	_, err = f.core.keys.Vouch(v.Account, v.Password, pki.Grant{Purpose: v.Purpose, Subject: id.Subject(), Scope: scope, Depth: v.Depth})
	return sealed(err)
}

// TakeBack is webforum.People's.
func (f forumPeople) TakeBack(_ context.Context, account, password, identity string) (int, error) {
	id, err := pki.ParseID(identity)
	if err != nil {
		return 0, err
	}
	n, err := f.core.keys.Revoke(account, password, id.Subject(), "", nil)
	return n, sealed(err)
}

// Passwd is webforum.People's.
func (f forumPeople) Passwd(ctx context.Context, account, old, password string) error {
	_, err := (&control{core: f.core}).userPasswd(ctx, passwdJSON{Name: account, Old: old, Password: password})
	return sealed(err)
}

// sealed says in the forum's terms that a right password does not open an identity.
func sealed(err error) error {
	if errors.Is(err, pki.ErrPassword) {
		return webforum.ErrSealed
	}
	return err
}
