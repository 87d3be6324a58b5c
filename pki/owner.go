package pki

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// owner holds the private keys of an identity: what its owner needs to speak,
// and to make the next key speak.
type owner struct {
	ID   ID
	Seed [32]byte // of the key in force
	Next [32]byte // of the key announced
}

func newSeed() (s [32]byte) {
	rand.Read(s[:])
	return s
}

func seedKey(seed [32]byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(seed[:]) }

func (o *owner) key() ed25519.PrivateKey { return seedKey(o.Seed) }

// found makes an identity, with its inception. recovery is the commitment, or nil.
func found(now time.Time, recovery *Digest) (*owner, *Statement, error) {
	o := &owner{Seed: newSeed(), Next: newSeed()}
	next := KeyOf(seedKey(o.Next)).Digest()
	s, err := Make(Statement{Type: TypeIncept, Time: now.Unix(), Key: KeyOf(o.key()), Next: &next, Recover: recovery}, o.key())
	if err != nil {
		return nil, nil, fmt.Errorf("make an identity: %w", err)
	}
	o.ID = s.ID
	return o, s, nil
}

// rotate makes the announced key the key in force. The old key is not in the
// owner any more.
func (o *owner) rotate(now time.Time, last *Statement, badSince *int64) (*owner, *Statement, error) {
	n := &owner{ID: o.ID, Seed: o.Next, Next: newSeed()}
	next := KeyOf(seedKey(n.Next)).Digest()
	s, err := Make(Statement{Type: TypeRotate, ID: o.ID, Seq: last.Seq + 1, Prev: last.digest, Time: now.Unix(),
		Key: KeyOf(n.key()), Next: &next, BadSince: badSince}, n.key())
	if err != nil {
		return nil, nil, fmt.Errorf("rotate: %w", err)
	}
	return n, s, nil
}

// Grant is what an arrow gives.
type Grant struct {
	Purpose string
	Subject Subject
	Scope   string // "": "*"
	Depth   int
	Days    int // 0: 400; 100 for moderate, create, gate and relay (§3.4)
	Param   string
}

// arrow signs an arrow; old is what stands in its slot, or nil.
func (o *owner) arrow(now time.Time, g Grant, old *Statement) (*Statement, error) {
	if g.Scope == "" {
		g.Scope = "*"
	}
	if g.Days == 0 {
		g.Days = defaultDays(g.Purpose)
	}
	s := Statement{Type: TypeArrow, ID: o.ID, Version: 1, Time: now.Unix(), Purpose: g.Purpose, Subject: g.Subject, Scope: g.Scope,
		Depth: uint64(g.Depth), From: now.Unix(), Until: now.Unix() + int64(g.Days)*day, Param: g.Param}
	if old != nil {
		s.Version = old.Version + 1
		if !old.Revoked {
			s.From = old.From // a renewal keeps from (§3.4)
		}
	}
	return Make(s, o.key())
}

// CheckPurpose refuses a purpose that no node would know (§3.5).
func CheckPurpose(p string) error {
	known := "post moderate create gate relay introduce name tls trust-tls encrypt openpgp login"
	if slices.Contains(strings.Fields(known), p) || strings.HasPrefix(p, "app.") {
		return nil
	}
	return fmt.Errorf("nothing is called %q that one could vouch for; there are %s and app.NAME.*", p, strings.ReplaceAll(known, " ", ", "))
}

func defaultDays(purpose string) int {
	switch purpose {
	case "moderate", "create", "gate", "relay":
		return 100
	}
	return 400
}

// again signs an arrow once more with the key in force, as after a rotation.
func (o *owner) again(now time.Time, old *Statement, revoke bool, badSince *int64) (*Statement, error) {
	s := *old
	s.Version, s.Time, s.Sigs, s.Revoked, s.BadSince = old.Version+1, now.Unix(), nil, revoke, badSince
	return Make(s, o.key())
}

// recoverWith makes the recover that puts new keys in force. prev is the event
// to go on from, key the recovery key of policy, commit the next policy's.
func recoverWith(now time.Time, prev *Statement, policy *Policy, by []crypto.Signer, commit *Digest, head *Head, badSince *int64) (*owner, *Statement, error) {
	if policy == nil || len(by) < policy.M {
		return nil, nil, errors.New("recover: not enough of the recovery keys are here")
	}
	n := &owner{ID: prev.ID, Seed: newSeed(), Next: newSeed()}
	next := KeyOf(seedKey(n.Next)).Digest()
	s, err := Make(Statement{Type: TypeRecover, ID: prev.ID, Seq: prev.Seq + 1, Prev: prev.digest, Time: now.Unix(), Policy: policy,
		Key: KeyOf(n.key()), Next: &next, Recover: commit, Head: head, BadSince: badSince}, append(by, n.key())...)
	if err != nil {
		return nil, nil, fmt.Errorf("recover: %w", err)
	}
	return n, s, nil
}
