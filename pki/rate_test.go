package pki

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
)

// TestRates: an arrow's rate bounds its subject, and ten times it bounds all whom
// the subject introduced, so that Sybils cost who let them in (§6.3).
func TestRates(t *testing.T) {
	const t0 = int64(1_800_000_000)
	clk := &clock{t0 + 10}
	l := testLedger(t, clk)
	owner, ina := newPerson(t, "owner", t0), newPerson(t, "ina", t0)

	grant, err := Make(Statement{Type: TypeArrow, ID: owner.id, Version: 2, Time: t0, Purpose: "post", Subject: ina.id.Subject(), Scope: "*",
		Depth: 2, From: t0, Until: t0 + 100*day, Param: "rate=2/day"}, owner.keys[0])
	if err != nil {
		t.Fatal(err)
	}
	l.mustApply(t, owner.all[0], ina.all[0], grant)
	if err := l.Trust(Anchor{ID: owner.id, Purpose: "*", Scope: "*", Depth: 5}); err != nil {
		t.Fatal(err)
	}
	groups := []article.Group{"mesh.talk", "mesh.radio"}
	n := 0
	post := func(p *person) (article.Proof, Result) {
		n++
		a := p.proof(p.keys[0], clk.t, 0)
		a.Digest = BodyHash([]byte(fmt.Sprint(n)))
		r, _, err := l.Arrive(&a, groups, "")
		if err != nil && !(errors.Is(err, ErrRate) && r == ResultNoRight) {
			t.Fatal(err)
		}
		if again, _, _ := l.Arrive(&a, groups, ""); again != r { // judged twice, counted once
			t.Errorf("%s, then %s", r, again)
		}
		return a, r
	}
	for i := range 4 {
		if _, r := post(ina); (r == ResultVerified) != (i < 2) {
			t.Errorf("article %d of her own: %s", i, r)
		}
	}
	sybils, taken := 0, 0
	var over article.Proof
	for i := range 30 {
		s := newPerson(t, fmt.Sprint("sybil", i), t0)
		l.mustApply(t, s.all[0], ina.arrow(t, 0, 1, "post", s.id.Subject(), 0, t0))
		if p, r := post(s); r == ResultVerified {
			taken++
		} else {
			over = p
		}
		sybils++
	}
	if taken != 18 { // 20 a day, two of which were her own
		t.Errorf("%d articles of %d Sybils, want 18", taken, sybils)
	}
	if r, err := l.Worth(&over, clk.now(), groups, ""); r != ResultNoRight || err != nil {
		t.Errorf("an article over the rate is %s when it is looked at (%v)", r, err)
	}
	clk.t += day
	if _, r := post(ina); r != ResultVerified {
		t.Error("the next day:", r)
	}
	if r, err := l.Worth(&over, time.Unix(t0+10, 0), groups, ""); r != ResultNoRight || err != nil {
		t.Errorf("an article over the rate is %s on the next day (%v)", r, err)
	}
}

func TestParseRate(t *testing.T) {
	for param, want := range map[string][2]int64{"rate=50/day": {50, day}, "nick=x,rate=5/hour": {5, 3600}, "rate=0/day": {0, day}, "": {}, "nick=rate": {}} {
		n, window, ok, err := ParseRate(param)
		if err != nil || ok != (window != 0) || n != want[0] || window != want[1] {
			t.Errorf("%q: %d %d %v %v", param, n, window, ok, err)
		}
	}
	for _, param := range []string{"rate=", "rate=5", "rate=-1/day", "rate=5/week", "rate=99999999999/day"} {
		if _, _, _, err := ParseRate(param); err == nil {
			t.Errorf("%q is a rate", param)
		}
	}
}

// TestTimeless: a node whose clock is before its build date judges nothing: it holds
// articles and statements until it has a time.
func TestTimeless(t *testing.T) {
	clk := &clock{100}
	l := testLedger(t, clk)
	l.Built = 1_790_000_000
	p := newPerson(t, "alice", 50)
	if out, err := l.Apply("peer", p.all); err != nil || out.Fates[0] != Held {
		t.Error("a statement of a peer:", out.Fates, err)
	}
	if !l.Timeless() {
		t.Error("1970 is a time")
	}
	a := p.proof(p.keys[0], 60, 1)
	if _, hold, err := l.Arrive(&a, nil, ""); err != nil || hold.IsZero() {
		t.Error("an article is not held:", hold, err)
	}
	clk.t = 1_800_000_000
	if err := l.Sweep(); err != nil {
		t.Fatal(err)
	}
	if _, status := l.Standing(p.id); status != Live {
		t.Error("with a time, the statement is", status)
	}
	if _, hold, err := l.Arrive(&a, nil, ""); err != nil || !hold.IsZero() {
		t.Error("with a time, the article is held until", hold, err)
	}
}
