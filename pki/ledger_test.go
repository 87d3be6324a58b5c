package pki

import (
	"crypto"
	"fmt"
	"math/rand"
	"path/filepath"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
)

// clock is a clock for tests.
type clock struct{ t int64 }

func (c *clock) now() time.Time { return time.Unix(c.t, 0) }

func testDB(t testing.TB) *state.DB {
	t.Helper()
	db, err := state.Open(filepath.Join(t.TempDir(), "pki.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func testLedger(t testing.TB, c *clock) *Ledger {
	t.Helper()
	l, err := Open(testDB(t), c.now)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *Ledger) mustApply(t testing.TB, list ...*Statement) Outcome {
	t.Helper()
	out, err := l.Apply("", list)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestVectorTrust(t *testing.T) {
	v := loadVectors(t)
	for _, d := range v.Trust.Decisions {
		c := &clock{d.Now}
		l := testLedger(t, c)
		for _, a := range v.Trust.Anchors {
			id, err := ParseID(a.ID)
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Trust(Anchor{ID: id, Purpose: a.Purpose, Scope: a.Scope, Depth: a.Depth}); err != nil {
				t.Fatal(err)
			}
		}
		set := append([]string{"owner-incept", "alice-incept", "bob-incept", "mallory-incept"}, d.Arrows...)
		rand.Shuffle(len(set), func(i, j int) { set[i], set[j] = set[j], set[i] })
		for _, name := range set {
			l.mustApply(t, v.statement(t, name))
		}
		sub, err := ParseSubject(d.Subject)
		if err != nil {
			t.Fatal(err)
		}
		left, ok := l.Left(sub, d.Purpose, d.Group, c.now())
		if ok != d.Allowed || d.Left != nil && left != *d.Left {
			t.Errorf("%s: %v, left %d, want %v", d.Why, ok, left, d.Allowed)
		}
		all := l.Rights(d.Purpose, d.Group, c.now())
		if got, in := all[sub]; in != ok || ok && got != left {
			t.Errorf("%s: backwards left %d %v, forwards %d %v", d.Why, left, ok, got, in)
		}
		again, err := Open(l.db, c.now)
		if err != nil {
			t.Fatal(err)
		}
		if l2, ok2 := again.Left(sub, d.Purpose, d.Group, c.now()); ok2 != ok || l2 != left {
			t.Errorf("%s: after a restart %d %v", d.Why, l2, ok2)
		}
	}
}

// TestSpoiltCopy: who brings the file of a statement that is here is told if a signature
// in it does not hold; from peers such a copy costs no check, and changes nothing.
func TestSpoiltCopy(t *testing.T) {
	v := loadVectors(t)
	l := testLedger(t, &clock{v.Trust.Decisions[0].Now})
	good := v.statement(t, "owner-incept")
	l.mustApply(t, good)
	last := len(good.Text()) - 3 // before the last character, whose low bits say nothing, and LF
	flip := byte('A')
	if good.Text()[last] == flip {
		flip = 'B'
	}
	bad, err := ParseStatement(good.Text()[:last] + string(flip) + good.Text()[last+1:])
	if err != nil || bad.Digest() != good.Digest() {
		t.Fatal(err)
	}
	if out := l.mustApply(t, bad, good); out.Fates[0] != Refused || out.Errs[0] == nil || out.Fates[1] != Known {
		t.Errorf("%+v", out)
	}
	if out, err := l.Apply("box", []*Statement{bad}); err != nil || out.Fates[0] != Known {
		t.Errorf("from a peer: %+v, %v", out, err)
	}
}

func TestVectorChain(t *testing.T) {
	v := loadVectors(t)
	for _, skip := range []int{-1, 1} {
		c := &clock{1795402900}
		l := testLedger(t, c)
		l.mustApply(t, v.statement(t, v.Chain.Incept))
		want, order := v.Chain.InForce, rand.Perm(len(v.Chain.Articles))
		if skip >= 0 {
			want = v.Chain.Without
		}
		proofs := make([]article.Proof, len(order))
		for _, i := range order {
			a, err := parseText(v.Chain.Articles[i].Article)
			if err != nil {
				t.Fatal(err)
			}
			r := Examine(a)
			if r.Err != nil || Digest(r.Proof.Digest).String() != v.Chain.Articles[i].Digest {
				t.Fatal(r.Err)
			}
			proofs[i] = r.Proof
			if i == skip {
				continue
			}
			if err := l.AddChain(r.Author, r.Input); err != nil {
				t.Fatal(err)
			}
		}
		ch, err := l.Chain(v.statement(t, v.Chain.Incept).ID)
		if err != nil || len(ch.InForce) != want || ch.Frozen {
			t.Errorf("%d in force, want %d, %v", len(ch.InForce), want, err)
		}
		if r, err := l.Worth(&proofs[2], c.now(), nil, ""); err != nil || (r == ResultUnknownKey) != (skip >= 0) {
			t.Errorf("the third article without the second: %s, %v", r, err)
		}
	}
}

// person is an identity with its keys, for tests.
type person struct {
	id   ID
	keys []crypto.Signer // 0 is the inception's
	last *Statement
	all  []*Statement
	rec  crypto.Signer
}

func newPerson(t testing.TB, name string, at int64) *person {
	t.Helper()
	p := &person{}
	for i := range 4 {
		p.keys = append(p.keys, testKey(fmt.Sprintf("%s-%d", name, i)))
	}
	p.rec = testKey(name + "-recovery")
	policy := Policy{1, []Key{KeyOf(testKey(name + "-recovery"))}}
	next, commit := mustKey(p.keys[1]).Digest(), policy.Digest()
	p.add(t, Statement{Type: TypeIncept, Time: at, Key: mustKey(p.keys[0]), Next: &next, Recover: &commit}, p.keys[0])
	p.id = p.last.ID
	return p
}

func mustKey(s crypto.Signer) Key {
	k, err := edKey(s.Public())
	if err != nil {
		panic(err)
	}
	return k
}

func (p *person) add(t testing.TB, s Statement, signers ...crypto.Signer) *Statement {
	t.Helper()
	out, err := Make(s, signers...)
	if err != nil {
		t.Fatal(err)
	}
	p.last = out
	p.all = append(p.all, out)
	return out
}

// rotation makes the rotation to key n.
func (p *person) rotation(t testing.TB, n int, at int64, bad *int64, head *Head) *Statement {
	t.Helper()
	next := mustKey(p.keys[n+1]).Digest()
	return p.add(t, Statement{Type: TypeRotate, ID: p.id, Seq: p.last.Seq + 1, Prev: p.last.digest, Time: at,
		Key: mustKey(p.keys[n]), Next: &next, BadSince: bad, Head: head}, p.keys[n])
}

// arrow makes an arrow signed by the key of that number.
func (p *person) arrow(t testing.TB, key int, version uint64, purpose string, to Subject, depth uint64, at int64) *Statement {
	t.Helper()
	s, err := Make(Statement{Type: TypeArrow, ID: p.id, Version: version, Time: at, Purpose: purpose, Subject: to, Scope: "*",
		Depth: depth, From: at, Until: at + 400*day}, p.keys[key])
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (p *person) proof(key crypto.Signer, at int64, digest byte) article.Proof {
	return article.Proof{State: article.ProofHolds, Purpose: UsePost, Identity: p.id.String(), Key: mustKey(key), Time: at, Digest: [32]byte{digest}}
}

func ptr[T any](v T) *T { return &v }

// TestVectorTimes goes through §5.3 and §5.4 with a key that was rotated.
func TestVectorTimes(t *testing.T) {
	v := loadVectors(t).Times
	t0 := v.RotationTime - day
	for _, c := range v.Cases {
		clk := &clock{t0}
		l := testLedger(t, clk)
		p, owner := newPerson(t, "alice", t0), newPerson(t, "owner", t0)
		l.mustApply(t, owner.all[0], p.all[0], owner.arrow(t, 0, 1, "post", p.id.Subject(), 0, t0))
		if err := l.Trust(Anchor{ID: owner.id, Purpose: "*", Scope: "*", Depth: 3}); err != nil {
			t.Fatal(err)
		}
		proof := p.proof(p.keys[0], c.T, 7)
		var head *Head
		if c.Head {
			head = &Head{Q: 3, Digest: proof.Digest}
		}
		clk.t = v.RotationArrived
		l.mustApply(t, p.rotation(t, 1, v.RotationTime, c.BadSince, head))
		got, err := l.Worth(&proof, time.Unix(c.Arrived, 0), []article.Group{"mesh.talk"}, "")
		if err != nil || got != c.Result {
			t.Errorf("%s: %s, want %s (%v)", c.Why, got, c.Result, err)
		}
	}
}

// TestArrive judges rights once, on arrival.
func TestArrive(t *testing.T) {
	const t0 = int64(1_800_000_000)
	clk := &clock{t0 + 10}
	l := testLedger(t, clk)
	owner, alice, bob := newPerson(t, "owner", t0), newPerson(t, "alice", t0), newPerson(t, "bob", t0)
	device := testKey("device")
	groups := []article.Group{"mesh.talk"}
	post := func(key crypto.Signer, at int64) (article.Proof, Result, time.Time) {
		p := alice.proof(key, at, 1)
		r, hold, err := l.Arrive(&p, groups, "")
		if err != nil {
			t.Fatal(err)
		}
		return p, r, hold
	}
	if _, r, _ := post(alice.keys[0], t0); r != ResultUnknownKey {
		t.Error("before the inception:", r)
	}
	grant := owner.arrow(t, 0, 1, "post", alice.id.Subject(), 0, t0)
	toDevice := alice.arrow(t, 0, 1, "post", mustKey(device).Subject(), 0, t0)
	if o := l.mustApply(t, grant, toDevice); o.Count(Held) != 2 {
		t.Error("arrows before their issuers:", o.Fates)
	}
	l.mustApply(t, alice.all[0], owner.all[0])
	if _, r, _ := post(alice.keys[0], t0); r != ResultNoRight {
		t.Error("without an anchor:", r)
	}
	if err := l.Trust(Anchor{ID: owner.id, Purpose: "post", Scope: "mesh.*", Depth: 1}); err != nil {
		t.Fatal(err)
	}
	stored, r, hold := post(device, t0)
	if r != ResultVerified || len(stored.Right) != 1 || !hold.IsZero() {
		t.Error("a device of alice:", r)
	}
	if _, r, _ := post(bob.keys[0], t0); r != ResultUnknownKey {
		t.Error("a valid key of somebody else:", r)
	}
	if _, _, hold := post(device, clk.t+3*day); hold.Unix() != clk.t+2*day {
		t.Error("an article three days ahead is held until", hold)
	}
	// Revoked: new articles have no right, the old one stands (§5.5).
	revoke := alice.arrow(t, 0, 2, "post", mustKey(device).Subject(), 0, t0)
	revoke, err := Make(Statement{Type: TypeArrow, ID: alice.id, Version: 2, Time: t0, Revoked: true, Purpose: "post",
		Subject: revoke.Subject, Scope: "*", From: t0, Until: t0 + 400*day}, alice.keys[0])
	if err != nil {
		t.Fatal(err)
	}
	l.mustApply(t, revoke)
	if _, r, _ := post(device, t0+5); r != ResultNoRight {
		t.Error("a revoked device:", r)
	}
	if r, err := l.Worth(&stored, clk.now(), groups, ""); err != nil || r != ResultVerified {
		t.Error("an article of before:", r, err)
	}
	if o := l.mustApply(t, toDevice); o.Fates[0] == Taken {
		t.Error("the old grant came back")
	}
}

// TestLateKey: an article that was filed before its key was known is judged once
// the statements are here, and keeps its right when the arrow is revoked later.
func TestLateKey(t *testing.T) {
	const t0 = int64(1_800_000_000)
	clk := &clock{t0 + 10}
	l := testLedger(t, clk)
	owner, alice := newPerson(t, "owner", t0), newPerson(t, "alice", t0)
	groups := []article.Group{"mesh.talk"}
	p := alice.proof(alice.keys[0], t0, 1)
	ask := func(want Result) {
		t.Helper()
		if r, err := l.Worth(&p, clk.now(), groups, ""); err != nil || r != want {
			t.Errorf("%s, want %s (%v)", r, want, err)
		}
	}
	if r, _, err := l.Arrive(&p, groups, ""); err != nil || r != ResultUnknownKey {
		t.Fatal(r, err)
	}
	ask(ResultUnknownKey)
	l.mustApply(t, alice.all[0], owner.all[0])
	ask(ResultNoRight)
	if err := l.Trust(Anchor{ID: owner.id, Purpose: "post", Scope: "*", Depth: 1}); err != nil {
		t.Fatal(err)
	}
	grant := owner.arrow(t, 0, 1, "post", alice.id.Subject(), 0, t0)
	l.mustApply(t, grant)
	ask(ResultVerified)
	revoked := *grant
	revoked.Version, revoked.Revoked, revoked.Sigs = 2, true, nil
	s, err := Make(revoked, owner.keys[0])
	if err != nil {
		t.Fatal(err)
	}
	l.mustApply(t, s)
	ask(ResultVerified)
}
