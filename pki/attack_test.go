package pki

import (
	"crypto"
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
)

// The attacks of docs/threat-model.md on statements and keys. Those on articles
// are in directory/attack_test.go.

// TestThiefRotates: who has the key in use can not put a key of his own in force,
// neither with nor without the owner's signature beside it.
func TestThiefRotates(t *testing.T) {
	clk := &clock{1_800_000_000}
	l := testLedger(t, clk)
	p := newPerson(t, "alice", clk.t)
	l.mustApply(t, p.all[0])
	thief := testKey("thief")
	next := KeyOf(thief).Digest()
	s := Statement{Type: TypeRotate, ID: p.id, Seq: 1, Prev: p.all[0].digest, Time: clk.t, Key: KeyOf(thief), Next: &next}
	own, err := Make(s, thief)
	if err != nil {
		t.Fatal(err)
	}
	if o := l.mustApply(t, own); o.Fates[0] != Refused {
		t.Error("a rotation to a key that was not announced:", o.Fates)
	}
	s.Key = mustKey(p.keys[0]) // the stolen key itself
	again, err := Make(s, p.keys[0])
	if err != nil {
		t.Fatal(err)
	}
	if o := l.mustApply(t, again); o.Fates[0] != Refused {
		t.Error("a rotation to the stolen key:", o.Fates)
	}
	if key, status := l.Standing(p.id); status != Live || key != mustKey(p.keys[0]) {
		t.Error("the identity moved:", status)
	}
	l.mustApply(t, p.rotation(t, 1, clk.t+60, ptr(clk.t), nil))
	if key, status := l.Standing(p.id); status != Live || key != mustKey(p.keys[1]) {
		t.Error("the owner can not rotate:", status)
	}
	late := p.proof(p.keys[0], clk.t+120, 1)
	if r, _, err := l.Arrive(&late, nil, ""); err != nil || r != ResultInvalid {
		t.Error("the stolen key posts after the rotation:", r, err)
	}
}

// TestForkInEveryOrder: two rotations by the announced key, and a recovery, in
// every order, give one and the same end, on disk and after a restart.
func TestForkInEveryOrder(t *testing.T) {
	const t0 = int64(1_800_000_000)
	p := newPerson(t, "alice", t0)
	incept := p.last
	one := p.rotation(t, 1, t0+1, nil, nil)
	p.last = incept
	two := p.rotation(t, 1, t0+2, nil, nil)
	_, rec, err := recoverWith(time.Unix(t0+9, 0), incept, &Policy{1, []Key{mustKey(p.rec)}}, []crypto.Signer{p.rec}, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range []struct {
		list []*Statement
		want Status
	}{{[]*Statement{incept, one, two}, Frozen}, {[]*Statement{incept, one, two, rec}, Live}} {
		for _, order := range permutations(len(set.list)) {
			clk := &clock{t0 + 10}
			l := testLedger(t, clk)
			for _, i := range order {
				l.mustApply(t, set.list[i])
			}
			key, status := l.Standing(p.id)
			if status != set.want || status == Frozen && key != incept.Key || status == Live && key != rec.Key {
				t.Errorf("order %v: %s", order, status)
			}
			again, err := Open(l.db, clk.now)
			if err != nil {
				t.Fatal(err)
			}
			if k, s := again.Standing(p.id); k != key || s != status {
				t.Errorf("order %v: after a restart %s", order, s)
			}
		}
	}
	st := Evaluate(p.id, []*Statement{incept, one, two})
	if text := (&StandingError{ID: p.id, State: st}).Error(); !strings.Contains(text, "two different next keys were announced") {
		t.Error(text)
	}
}

func permutations(n int) (out [][]int) {
	if n == 1 {
		return [][]int{{0}}
	}
	for _, p := range permutations(n - 1) {
		for at := range n {
			out = append(out, append(append(append([]int{}, p[:at]...), n-1), p[at:]...))
		}
	}
	return out
}

// TestInceptionFlood: 100,000 inceptions by one peer on one day. It gets 500 in,
// the rest costs no signature, and a revocation of somebody reached still passes.
func TestInceptionFlood(t *testing.T) {
	clk := &clock{1_800_000_000}
	l := testLedger(t, clk)
	p := newPerson(t, "alice", clk.t)
	l.mustApply(t, p.all[0])
	if err := l.Trust(Anchor{ID: p.id, Purpose: "*", Scope: "*", Depth: 2}); err != nil {
		t.Fatal(err)
	}
	template := p.all[0].text
	good, taken := 600, 0
	for from := 0; from < 100_000; from += 1000 {
		var list []*Statement
		for i := from; i < from+1000; i++ {
			if i < good {
				next := Digest{byte(i), byte(i >> 8), 1}
				s, err := Make(Statement{Type: TypeIncept, Time: clk.t, Key: KeyOf(testKey("flood")), Next: &next}, testKey("flood"))
				if err != nil {
					t.Fatal(err)
				}
				list = append(list, s)
				continue
			}
			s, err := ParseStatement(strings.Replace(template, fmt.Sprintf("time %d", clk.t), fmt.Sprintf("time %d", clk.t-int64(i)), 1))
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, s)
		}
		out, err := l.Apply("flooder", list)
		if err != nil {
			t.Fatal(err)
		}
		taken += out.Count(Taken)
		if from > good && out.Count(Stopped) != len(list) {
			t.Fatalf("%d of %d were stopped before their signatures were looked at", out.Count(Stopped), len(list))
		}
	}
	if f := l.Figures(); taken != quotaIncepts || f.Identities != quotaIncepts+1 {
		t.Errorf("%d taken, %d known; the quota is %d", taken, f.Identities, quotaIncepts)
	}
	out, err := l.Apply("flooder", []*Statement{p.rotation(t, 1, clk.t+1, ptr(clk.t), nil)})
	if err != nil || out.Fates[0] != Taken {
		t.Error("the flood holds a revocation back:", out.Fates, err)
	}
	clk.t += 31 * day
	if err := l.Sweep(); err != nil {
		t.Fatal(err)
	}
	if rows, _, err := l.Since(0, 1000); err != nil || len(rows) != 2 {
		t.Errorf("%d statements are left after a month, want alice's two: %v", len(rows), err)
	}
}

// TestEventsOfOthers: nobody can use up the rate of events of an identity that is
// not his, nor fill its record.
func TestEventsOfOthers(t *testing.T) {
	clk := &clock{1_800_000_000}
	l := testLedger(t, clk)
	p := newPerson(t, "alice", clk.t)
	l.mustApply(t, p.all[0])
	for i := range 50 {
		k := testKey(fmt.Sprint("noise", i))
		next := KeyOf(k).Digest()
		s, err := Make(Statement{Type: TypeRotate, ID: p.id, Seq: uint64(i), Prev: Digest{byte(i)}, Time: clk.t, Key: KeyOf(k), Next: &next}, k)
		if err != nil {
			t.Fatal(err)
		}
		a, err := Make(Statement{Type: TypeArrow, ID: p.id, Version: 1 << 62, Time: clk.t, Purpose: "post", Subject: KeyOf(k).Subject(), Scope: "*",
			From: clk.t, Until: clk.t + day}, k)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := l.Apply("noise", []*Statement{s, a}); err != nil || out.Count(Taken) > 0 {
			t.Fatal(out.Fates, err)
		}
	}
	if list, err := l.ByIdentity(p.id); err != nil || len(list) != 1 {
		t.Error(len(list), err)
	}
	if out, err := l.Apply("friend", []*Statement{p.rotation(t, 1, clk.t, nil, nil)}); err != nil || out.Fates[0] != Taken {
		t.Error(out.Fates, err)
	}
}

// TestClockOff: statements and articles two days ahead wait, and come in when
// their time has come; a node whose clock was behind judges as the others then.
func TestClockOff(t *testing.T) {
	clk := &clock{1_800_000_000}
	l := testLedger(t, clk)
	p := newPerson(t, "alice", clk.t+2*day)
	if o := l.mustApply(t, p.all[0]); o.Fates[0] != Held {
		t.Error("a statement two days ahead:", o.Fates)
	}
	if _, status := l.Standing(p.id); status != Unheard {
		t.Error("it counts already:", status)
	}
	q := p.proof(p.keys[0], clk.t+2*day, 1)
	if _, hold, err := l.Arrive(&q, nil, ""); err != nil || hold.Unix() != clk.t+day {
		t.Error("an article two days ahead is held until", hold, err)
	}
	far := p.proof(p.keys[0], clk.t+4000*day, 1)
	if _, hold, err := l.Arrive(&far, nil, ""); err != nil || hold.Unix() != clk.t+7*day {
		t.Error("an article eleven years ahead is held until", hold, err)
	}
	clk.t += day + 1
	if err := l.Sweep(); err != nil {
		t.Fatal(err)
	}
	if _, status := l.Standing(p.id); status != Live {
		t.Error("it does not count when its time has come:", status)
	}
}

// TestHugeStatements: 10 MB of anything are refused quickly, whatever they look like.
func TestHugeStatements(t *testing.T) {
	p := newPerson(t, "alice", 1)
	for _, text := range []string{
		strings.Repeat("a", 10<<20),
		statementMark + "type arrow\nissuer " + strings.Repeat("a", 10<<20),
		p.all[0].text + strings.Repeat("sig ed25519 x y\n", 700_000),
		strings.Repeat(statementMark, 600_000),
		strings.Repeat(statementMark+"type incept\n", 350_000),
	} {
		start := time.Now()
		list, err := ParseStatements(text)
		if err == nil || len(list) > 1 {
			t.Errorf("%.30q...: %d statements, %v", text, len(list), err)
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("%.30q...: %s", text, d)
		}
	}
}

// TestDeepGraphs: a chain of 10,000 arrows, rings within rings: each question ends,
// backwards and forwards agree, and depth ends where it should.
func TestDeepGraphs(t *testing.T) {
	const n, t0 = 10_000, int64(1_800_000_000)
	clk := &clock{t0}
	l := testLedger(t, clk)
	l.mu.Lock()
	link := func(from, to int, depth uint64) {
		s := &Statement{ID: townID(from), Purpose: "post", Subject: townID(to).Subject(), Scope: "*", Depth: depth, From: t0, Until: t0 + day}
		l.g.add(l.g.arrowEdge(s, 0))
	}
	r := rand.New(rand.NewSource(1))
	for i := range n {
		link(i, (i+1)%n, 1<<30)                       // one ring of all
		link(i, i-i%100+(i+1)%100, 100)               // rings of a hundred
		link(r.Intn(n), r.Intn(n), uint64(r.Intn(4))) // and across
		link(i, i, 100)                               // and itself
		l.g.setKey(townID(i), Key{}, Live)            // they are identities
	}
	l.mu.Unlock()
	if err := l.Trust(Anchor{ID: townID(0), Purpose: "post", Scope: "*", Depth: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	all := l.Rights("post", "mesh.talk", clk.now())
	if all[townID(0).Subject()] != maxDepth || len(all) < 100 || len(all) == n {
		t.Error(len(all), "have the right; the anchor has", all[townID(0).Subject()])
	}
	for range 300 {
		sub := townID(r.Intn(n)).Subject()
		left, ok := l.Left(sub, "post", "mesh.talk", clk.now())
		if want, in := all[sub]; in != ok || ok && want != left {
			t.Fatalf("backwards %d %v, forwards %d %v", left, ok, want, in)
		}
	}
}

// TestSomebodyElsesKey: a key speaks for its own identity only; the article of one
// can not be turned into that of another.
func TestSomebodyElsesKey(t *testing.T) {
	clk := &clock{1_800_000_000}
	l := testLedger(t, clk)
	alice, mallory := newPerson(t, "alice", clk.t), newPerson(t, "mallory", clk.t)
	l.mustApply(t, alice.all[0], mallory.all[0])
	d := benchDraft()
	if _, err := Sign(d, Stamp{Purpose: UsePost, Identity: alice.id, Signer: mallory.keys[0], Time: clk.now()}); err != nil {
		t.Fatal(err)
	}
	a, err := d.Build(article.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := Verify(a)
	if err != nil {
		t.Fatal(err)
	}
	if r, _, err := l.Arrive(&p, nil, ""); err != nil || r != ResultUnknownKey {
		t.Error("mallory's key for alice:", r, err)
	}
	// An arrow by mallory does not let her key speak for alice either.
	l.mustApply(t, mallory.arrow(t, 0, 1, "post", mustKey(mallory.keys[0]).Subject(), 0, clk.t))
	if r, _, err := l.Arrive(&p, nil, ""); err != nil || r != ResultUnknownKey {
		t.Error("with an arrow of her own:", r, err)
	}
}

// TestLostKeyOutranksNothing: who has a key that was rotated away, or one side of a
// fork, can neither end the grace of its owner's arrows by a higher version, nor push
// the owner's arrows out by many of his own.
func TestLostKeyOutranksNothing(t *testing.T) {
	clk := &clock{1_800_000_000}
	l := testLedger(t, clk)
	p, bob := newPerson(t, "alice", clk.t), newPerson(t, "bob", clk.t)
	if err := l.Trust(Anchor{ID: p.id, Purpose: "*", Scope: "*", Depth: 2}); err != nil {
		t.Fatal(err)
	}
	l.mustApply(t, p.all[0], bob.all[0], p.arrow(t, 0, 1, "post", bob.id.Subject(), 0, clk.t))
	clk.t += 100
	l.mustApply(t, p.rotation(t, 1, clk.t, nil, nil))
	clk.t += 100
	if _, ok := l.Left(bob.id.Subject(), "post", "a.b", clk.now()); !ok {
		t.Fatal("there is no grace")
	}
	if o := l.mustApply(t, p.arrow(t, 0, 1<<62, "post", bob.id.Subject(), 0, clk.t)); o.Fates[0] != Refused {
		t.Error("an arrow by a key that went:", o.Fates)
	}
	var flood []*Statement
	for i := range 2100 {
		flood = append(flood, p.arrow(t, 0, 1, fmt.Sprintf("app.x%d", i), bob.id.Subject(), 0, clk.t))
	}
	if o := l.mustApply(t, flood...); o.Count(Refused) != len(flood) {
		t.Error("a flood of arrows by it:", o.Count(Refused))
	}
	if _, ok := l.Left(bob.id.Subject(), "post", "a.b", clk.now()); !ok {
		t.Error("a thief of the old key ended the grace")
	}
	if o := l.mustApply(t, p.arrow(t, 1, 1, "post", bob.id.Subject(), 0, clk.t)); o.Fates[0] != Taken {
		t.Error("the owner's own arrow:", o.Fates, o.Errs)
	}
}

// TestOutrankedStaysAway: an arrow that ends later than the one that outranks it does
// not count again when that one has gone, granted or revoked.
func TestOutrankedStaysAway(t *testing.T) {
	for _, revoked := range []bool{false, true} {
		for _, oldFirst := range []bool{true, false} {
			clk := &clock{1_800_000_000}
			l := testLedger(t, clk)
			p, bob := newPerson(t, "alice", clk.t), newPerson(t, "bob", clk.t)
			if err := l.Trust(Anchor{ID: p.id, Purpose: "*", Scope: "*", Depth: 2}); err != nil {
				t.Fatal(err)
			}
			arrow := func(version uint64, days int64, revoked bool) *Statement {
				s, err := Make(Statement{Type: TypeArrow, ID: p.id, Version: version, Time: clk.t, Purpose: "post", Subject: bob.id.Subject(),
					Scope: "*", From: clk.t, Until: clk.t + days*day, Revoked: revoked}, p.keys[0])
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			old, narrow := arrow(1, 3000, false), arrow(2, 10, revoked)
			l.mustApply(t, p.all[0], bob.all[0])
			if oldFirst {
				l.mustApply(t, old, narrow)
			} else {
				l.mustApply(t, narrow, old)
			}
			for range 10 {
				clk.t += 200 * day
				if err := l.Sweep(); err != nil {
					t.Fatal(err)
				}
				l.mustApply(t, old)
				if _, ok := l.Left(bob.id.Subject(), "post", "a.b", clk.now()); ok {
					t.Fatalf("revoked %v, old first %v: the outranked arrow is back", revoked, oldFirst)
				}
			}
			clk.t += 2000 * day
			if err := l.Sweep(); err != nil {
				t.Fatal(err)
			}
			if f := l.Figures(); f.Arrows != 0 {
				t.Errorf("%d arrows are kept for ever", f.Arrows)
			}
		}
	}
}

// TestDeviceWithdraws: a key that its identity lets do something else takes back
// nothing of that identity's; a device for posting does, where it may post.
func TestDeviceWithdraws(t *testing.T) {
	clk := &clock{1_800_000_000}
	l := testLedger(t, clk)
	p := newPerson(t, "alice", clk.t)
	phone, service := testKey("phone"), testKey("service")
	scoped, err := Make(Statement{Type: TypeArrow, ID: p.id, Version: 1, Time: clk.t, Purpose: "post", Subject: KeyOf(phone).Subject(),
		Scope: "a.*", From: clk.t, Until: clk.t + 400*day}, p.keys[0])
	if err != nil {
		t.Fatal(err)
	}
	l.mustApply(t, p.all[0], scoped, p.arrow(t, 0, 1, "login", KeyOf(service).Subject(), 0, clk.t))
	groups := []article.Group{"a.b", "c.d"}
	for _, c := range []struct {
		name string
		key  crypto.Signer
		use  string
		want int
	}{{"her own", p.keys[0], UseControl, 2}, {"her phone's", phone, UseControl, 1}, {"her phone's, superseding", phone, UsePost, 1},
		{"a service's", service, UseControl, 0}, {"a service's, superseding", service, UsePost, 0}, {"a stranger's", testKey("x"), UseControl, 0}} {
		proof := p.proof(c.key, clk.t, 1)
		proof.Purpose = c.use
		if got, err := l.Withdraws(&proof, clk.now(), groups); err != nil || len(got) != c.want {
			t.Errorf("%s key: %v, %v", c.name, got, err)
		}
	}
}

// TestThiefDatesAhead: who had the identity's key and a device made with it does not
// save what that signed by dating it after the revocation that comes.
func TestThiefDatesAhead(t *testing.T) {
	clk := &clock{1_800_000_000}
	l := testLedger(t, clk)
	p := newPerson(t, "alice", clk.t)
	if err := l.Trust(Anchor{ID: p.id, Purpose: "*", Scope: "*", Depth: 2}); err != nil {
		t.Fatal(err)
	}
	device := testKey("device")
	l.mustApply(t, p.all[0], p.arrow(t, 0, 1, "post", KeyOf(device).Subject(), 0, clk.t-100))
	groups := []article.Group{"a.b"}
	bad := clk.t + 10
	var proofs []article.Proof
	var arrived []time.Time
	for i, at := range []int64{bad - 5, bad, bad + 100, bad + 12*3600} { // before; and after it: at once, as it is, ahead
		clk.t = min(at, bad+100)
		proof := p.proof(device, at, byte(i))
		if r, _, err := l.Arrive(&proof, groups, ""); err != nil || r != ResultVerified {
			t.Fatal(i, r, err)
		}
		proofs, arrived = append(proofs, proof), append(arrived, clk.now())
	}
	l.mustApply(t, p.rotation(t, 1, clk.t, &bad, nil)) // in the second in which the last ones came
	for i, want := range []Result{ResultVerified, ResultDisputed, ResultDisputed, ResultDisputed} {
		if r, err := l.Worth(&proofs[i], arrived[i], groups, ""); err != nil || r != want {
			t.Errorf("article %d is %s, %v; want %s", i, r, err, want)
		}
	}
}
