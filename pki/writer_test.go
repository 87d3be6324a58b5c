package pki

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
)

// next signs the next article of a chain, as the agent does.
func (kr *Keyring) nextLink(t *testing.T, account, subject string) *article.Article {
	t.Helper()
	return signed(t, kr, account, UsePost, [2]string{"Subject", subject})
}

// TestChainWriter: an account in mode chain posts, the node restarts, and each article
// names the one before with a key of its own; another node that misses one waits for it.
func TestChainWriter(t *testing.T) {
	c := &clock{1_800_000_000}
	kr, other := testKeyring(t, c), testKeyring(t, c)
	id, words, err := kr.NewChain("radio")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := kr.NewChain("radio"); !errors.Is(err, ErrHasOne) {
		t.Error(err)
	}
	bring := func() {
		t.Helper()
		list, _, err := kr.Ledger.Since(0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		other.Ledger.mustApply(t, list...)
	}
	bring()
	if err := other.Ledger.Trust(Anchor{ID: kr.NodeID(), Purpose: "*", Scope: "*", Depth: 3}); err != nil {
		t.Fatal(err)
	}
	var all []*article.Article
	keys := map[[32]byte]bool{}
	for i := range 4 {
		c.t++
		all = append(all, kr.nextLink(t, "radio", "episode"))
		p, r := verdict(t, kr, all[i])
		if r != string(ResultVerified) || p.Q != uint64(i) || keys[p.Key] {
			t.Fatalf("article %d: %s, q=%d", i, r, p.Q)
		}
		keys[p.Key] = true
		if i == 1 { // a restart
			if kr, err = OpenKeyring(kr.dir, kr.Ledger); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, i := range []int{0, 2, 3} {
		if _, r := verdict(t, other, all[i]); (r == string(ResultVerified)) != (i == 0) {
			t.Errorf("article %d without the second: %s", i, r)
		}
	}
	if ch, list, err := kr.Ledger.ChainOf(id, 0, 10); err != nil || len(list) != 4 || !strings.Contains(ch.String(), "whole: 4 articles") || list[2].Subject != "episode" {
		t.Error(ch, list, err)
	}
	if _, r := verdict(t, other, all[1]); r != string(ResultVerified) {
		t.Error("the missing one:", r)
	}
	if _, r := verdict(t, other, all[3]); r != string(ResultVerified) {
		t.Error("what waited for it:", r)
	}
	if err := kr.Rotate("radio", "x", nil); !errors.Is(err, ErrChain) {
		t.Error("rotate:", err)
	}
	forkAndRecover(t, kr, c, id, words)
}

// forkAndRecover: somebody copied the file and posts, too; the words go on after what
// both agree on.
func forkAndRecover(t *testing.T, kr *Keyring, c *clock, id ID, words []string) {
	t.Helper()
	thief := *kr.hosted["radio"]
	good := kr.nextLink(t, "radio", "mine")
	if _, r := verdict(t, kr, good); r != string(ResultVerified) {
		t.Fatal(r)
	}
	mine := kr.hosted["radio"]
	kr.hosted["radio"] = &thief
	if _, r := verdict(t, kr, kr.nextLink(t, "radio", "the thief's")); r != string(ResultDisputed) {
		t.Error("a second article of one number:", r)
	}
	kr.hosted["radio"] = mine
	if _, r := verdict(t, kr, kr.nextLink(t, "radio", "later")); r != string(ResultDisputed) {
		t.Error("after a fork:", r)
	}
	if ch, _, err := kr.Ledger.ChainOf(id, 0, 1); err != nil || !strings.Contains(ch.String(), "two different articles claim number 4") {
		t.Error(ch, err)
	}
	c.t++
	again, err := kr.Recover(id, strings.Join(words, " "), "radio", "", nil, nil)
	if err != nil || len(again) != 24 {
		t.Fatal(err)
	}
	c.t++
	if p, r := verdict(t, kr, kr.nextLink(t, "radio", "back again")); r != string(ResultVerified) || p.Q != 4 {
		t.Errorf("after the recovery: %s, q=%d", r, p.Q)
	}
	if _, r := verdict(t, kr, kr.nextLink(t, "radio", "and on")); r != string(ResultVerified) {
		t.Error("and the one after it:", r)
	}
}

// TestChainIsNotForked: two articles written at the same time do not get one number.
func TestChainIsNotForked(t *testing.T) {
	kr := testKeyring(t, &clock{1_800_000_000})
	if _, _, err := kr.NewChain("radio"); err != nil {
		t.Fatal(err)
	}
	h, _, err := kr.Signer(context.Background(), "radio", UsePost)
	if err != nil {
		t.Fatal(err)
	}
	a, b := benchDraft(), benchDraft()
	a.Set("Message-ID", "<k3x9qa7m2p5r8t1v"+boundMark+h+"@node1.mesh>")
	b.Set("Message-ID", "<k3x9qa7m2p5r8t1w"+boundMark+h+"@node1.mesh>")
	if err := kr.SignDraft(context.Background(), a, "radio", UsePost); err != nil {
		t.Fatal(err)
	}
	if err := kr.SignDraft(context.Background(), b, "radio", UsePost); !errors.Is(err, errChainBusy) {
		t.Error(err)
	}
}

// TestGuardians: two of three guardians give an identity back; one alone, or a
// stranger, can not; and the owner's words are his own again afterwards.
func TestGuardians(t *testing.T) {
	c := &clock{1_800_000_000}
	kr := testKeyring(t, c)
	id, words, err := kr.NewIdentity("anna", "geheim")
	if err != nil {
		t.Fatal(err)
	}
	var held [][]string
	var keys []Key
	for range 3 {
		w, k := NewGuardian()
		held, keys = append(held, w), append(keys, k)
	}
	c.t++
	if _, err := kr.NameGuardians("anna", "falsch", strings.Join(words, " "), 2, keys); !errors.Is(err, ErrPassword) {
		t.Error("with a wrong password:", err)
	}
	line, err := kr.NameGuardians("anna", "geheim", strings.Join(words, " "), 2, keys)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kr.Recover(id, strings.Join(words, " "), "anna", "neu", nil, nil); err == nil {
		t.Error("the words still recover it")
	}
	if _, r := verdict(t, kr, signed(t, kr, "anna", UsePost)); r != string(ResultVerified) {
		t.Error("with guardians named:", r)
	}
	bad := time.Unix(c.t, 0)
	c.t += 100
	part, fresh, err := kr.AskGuardians(id, line, "anna", "neu", &bad)
	if err != nil {
		t.Fatal(err)
	}
	stranger, _ := NewGuardian()
	if _, _, err := Approve(part, strings.Join(stranger, " ")); err == nil || !strings.Contains(err.Error(), "no guardian") {
		t.Error("a stranger:", err)
	}
	var sigs []string
	for _, w := range held[1:] {
		sig, what, err := Approve(part, strings.Join(w, " "))
		if err != nil || what.ID != id || what.Policy.Describe() != "2 of 3 guardians" || !what.BadSince.Equal(bad) {
			t.Fatal(what, err)
		}
		sigs = append(sigs, sig)
	}
	if err := kr.FinishRecovery("anna", "neu", sigs[:1]); err == nil || !strings.Contains(err.Error(), "1 guardians have signed, 2 must") {
		t.Error("one alone:", err)
	}
	if err := kr.FinishRecovery("anna", "geheim", sigs); !errors.Is(err, ErrPassword) {
		t.Error("with the old password:", err)
	}
	if err := kr.FinishRecovery("anna", "neu", []string{sigs[0], sigs[0] + " "}); err == nil {
		t.Error("one who signs twice is two")
	}
	if err := kr.FinishRecovery("anna", "neu", sigs); err != nil {
		t.Fatal(err)
	}
	if err := kr.FinishRecovery("anna", "neu", sigs); err == nil {
		t.Error("finished twice")
	}
	c.t++
	if _, r := verdict(t, kr, signed(t, kr, "anna", UsePost)); r != string(ResultVerified) {
		t.Error("recovered:", r)
	}
	if err := kr.Rotate("anna", "neu", nil); err != nil {
		t.Error(err)
	}
	if _, err := kr.Recover(id, strings.Join(fresh, " "), "anna", "x", nil, nil); err != nil {
		t.Error("the new words:", err)
	}
}

// TestFrozenInWords: who can resolve a fork is said.
func TestFrozenInWords(t *testing.T) {
	const t0 = int64(1_800_000_000)
	p := newPerson(t, "alice", t0)
	a := p.rotation(t, 1, t0+5, nil, nil)
	p.last = p.all[0]
	b := p.rotation(t, 1, t0+6, nil, nil)
	e := &StandingError{ID: p.id, State: Evaluate(p.id, []*Statement{p.all[0], a, b})}
	if text := e.Error(); text != "this identity is frozen: two different next keys were announced on 15 January; its recovery words can resolve it: litfass key recover" {
		t.Error(text)
	}
	e.By = &Policy{M: 2, Keys: make([]Key, 3)}
	if text := e.Error(); !strings.HasSuffix(text, "announced on 15 January; 2 of 3 guardians can resolve it: litfass key guardian ask") {
		t.Error(text)
	}
}

// TestChainIsNotFilled: links that a stranger makes for somebody's chain, with keys of
// his own, do not keep the true ones out.
func TestChainIsNotFilled(t *testing.T) {
	c := &clock{1_800_000_000}
	kr := testKeyring(t, c)
	id, _, err := kr.NewChain("radio")
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxLoose + 20 {
		d := benchDraft()
		k := testKey("stranger" + strings.Repeat("x", i))
		n := mustKey(k).Digest()
		s := Stamp{Purpose: UsePost, Identity: id, Signer: k, Time: c.now(), Q: uint64(i % 3), N: &n}
		if s.Q > 0 {
			s.P = &n
		}
		if _, err := Sign(d, s); err != nil {
			t.Fatal(err)
		}
		a, err := d.Build(article.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if _, r := verdict(t, kr, a); r == string(ResultVerified) {
			t.Fatal("a stranger's link is verified")
		}
	}
	for i := range 3 {
		if _, r := verdict(t, kr, kr.nextLink(t, "radio", "true")); r != string(ResultVerified) {
			t.Errorf("article %d: %s", i, r)
		}
	}
}
