package pki

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
)

func testKeyring(t testing.TB, c *clock) *Keyring {
	t.Helper()
	kr, err := OpenKeyring(filepath.Join(t.TempDir(), "keys"), testLedger(t, c))
	if err != nil {
		t.Fatal(err)
	}
	return kr
}

// TestWords checks words against the published vectors of BIP 39.
func TestWords(t *testing.T) {
	var zero [32]byte
	for _, c := range loadVectors(t).Words.Cases {
		raw, err := hex.DecodeString(c.Seed)
		if err != nil {
			t.Fatal(err)
		}
		seed, want := [32]byte(raw), c.Words
		if got := strings.Join(Words(seed), " "); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if back, err := ParseWords(strings.ToUpper(want)); err != nil || back != seed {
			t.Error(err)
		}
	}
	if seed, err := ParseWords(strings.Repeat("aban ", 23) + "art"); err != nil || seed != zero {
		t.Error("four letters:", err)
	}
	for _, bad := range []string{"zoo", strings.Repeat("zoo ", 24), strings.Repeat("zoo ", 22) + "zooo vote", strings.Repeat("zoo ", 23) + "vota"} {
		if _, err := ParseWords(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestSeal(t *testing.T) {
	var s sealer
	x, err := s.seal("geheim", []byte("seed"), []byte("about"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.open("geheim", x, []byte("about")); err != nil || string(got) != "seed" {
		t.Error(got, err)
	}
	if _, err := s.open("falsch", x, []byte("about")); !errors.Is(err, ErrPassword) {
		t.Error(err)
	}
	if _, err := s.open("geheim", x, []byte("other")); err == nil {
		t.Error("what stands beside it may be changed")
	}
	x.Memory = 1 << 30
	if _, err := s.open("geheim", x, nil); err == nil {
		t.Error("a file may ask for a terabyte")
	}
}

func signed(t testing.TB, kr *Keyring, account, purpose string, extra ...[2]string) *article.Article {
	t.Helper()
	d := benchDraft()
	for _, f := range extra {
		d.Set(f[0], f[1])
	}
	h, used, err := kr.Signer(context.Background(), account, purpose)
	if err != nil {
		t.Fatal(err)
	}
	if used != "" {
		d.Set("Message-ID", "<k3x9qa7m2p5r8t1v"+boundMark+h+"@node1.mesh>")
		if err := kr.SignDraft(context.Background(), d, account, used); err != nil {
			t.Fatal(err)
		}
	}
	a, err := d.Build(article.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func verdict(t testing.TB, kr *Keyring, a *article.Article) (article.Proof, string) {
	t.Helper()
	p, r, _, err := kr.Verify(context.Background(), a, kr.now(), false)
	if err != nil && r == "" {
		t.Fatal(err)
	}
	return p, r
}

// TestKeyring goes through the life of an account: it posts, the node restarts,
// the key is rotated, stolen, recovered with the printed words.
func TestKeyring(t *testing.T) {
	const t0 = int64(1_800_000_000)
	c := &clock{t0}
	kr := testKeyring(t, c)
	if _, r := verdict(t, kr, signed(t, kr, "", UsePost)); r != string(ResultVerified) {
		t.Error("an unsigned reader's post under the node's gate:", r)
	}
	id, words, err := kr.NewIdentity("anna", "geheim")
	if err != nil || len(words) != 24 {
		t.Fatal(words, err)
	}
	a := signed(t, kr, "anna", UsePost)
	p, r := verdict(t, kr, a)
	if r != string(ResultVerified) || p.Identity != id.String() || p.Purpose != UsePost || len(p.Right) != 2 {
		t.Fatal(r, p)
	}
	cancel := [2]string{"Control", "cancel <9@x>"}
	if _, r := verdict(t, kr, signed(t, kr, "anna", UseControl, cancel)); r != string(ResultVerified) {
		t.Error("a cancel of her own:", r)
	}
	if _, r := verdict(t, kr, signed(t, kr, "anna", UseControl, [2]string{"Control", "newgroup mesh.x"})); r != string(ResultNoRight) {
		t.Error("a newgroup by her device:", r)
	}
	if _, r := verdict(t, kr, signed(t, kr, "", UseControl, cancel)); r != string(ResultNone) {
		t.Error("a cancel without account:", r)
	}
	again, err := OpenKeyring(kr.dir, kr.Ledger)
	if err != nil {
		t.Fatal(err)
	}
	if q1, q2 := proofQ(t, kr, "anna"), proofQ(t, again, "anna"); q2 <= q1 {
		t.Errorf("q was used twice: %d, then %d after a restart", q1, q2)
	}
	kr = again
	if err := kr.Rotate("anna", "falsch", nil); !errors.Is(err, ErrPassword) {
		t.Error("rotated with a wrong password:", err)
	}
	c.t += 100
	if err := kr.Rotate("anna", "geheim", nil); err != nil {
		t.Fatal(err)
	}
	if _, r := verdict(t, kr, signed(t, kr, "anna", UsePost)); r != string(ResultVerified) {
		t.Error("after a rotation:", r)
	}
	c.t += 100
	bad := time.Unix(c.t-50, 0)
	if _, err := kr.Recover(id, strings.Join(Words([32]byte{9}), " "), "anna", "neu", nil, nil); err == nil {
		t.Error("recovered with somebody else's words")
	}
	words2, err := kr.Recover(id, strings.Join(words, " "), "anna", "neu", nil, &bad)
	if err != nil {
		t.Fatal(err)
	}
	if _, r := verdict(t, kr, signed(t, kr, "anna", UsePost)); r != string(ResultVerified) {
		t.Error("after a recovery:", r)
	}
	if _, err := kr.Recover(id, strings.Join(words, " "), "anna", "neu", nil, nil); err == nil {
		t.Error("the old words recover again")
	}
	if _, err := kr.Recover(id, strings.Join(words2, " "), "other", "neu", nil, nil); err != nil {
		t.Error("the new words do not:", err)
	}
}

func proofQ(t *testing.T, kr *Keyring, account string) uint64 {
	p, _ := verdict(t, kr, signed(t, kr, account, UsePost))
	return p.Q
}

func TestKeyFilesAreClosed(t *testing.T) {
	kr := testKeyring(t, &clock{1_800_000_000})
	if _, _, err := kr.NewIdentity("anna", "geheim"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{kr.nodePath(), kr.accountPath("anna")} {
		st, err := os.Stat(path)
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", path, st.Mode(), err)
		}
	}
	if err := kr.Reseal("anna", "geheim", "neu"); err != nil {
		t.Error(err)
	}
	if err := kr.Rotate("anna", "geheim", nil); !errors.Is(err, ErrPassword) {
		t.Error("the old password still opens:", err)
	}
	if err := kr.Rotate("", "", nil); err != nil {
		t.Error("the node's own key:", err)
	}
	if _, r := verdict(t, kr, signed(t, kr, "", UsePost)); r != string(ResultVerified) {
		t.Error("after the node's rotation:", r)
	}
	if _, r := verdict(t, kr, signed(t, kr, "anna", UsePost)); r != string(ResultVerified) {
		t.Error("a user after the node's rotation:", r)
	}
}

// TestLostLedger: the statements that keys stand on come back from their files.
func TestLostLedger(t *testing.T) {
	c := &clock{1_800_000_000}
	kr := testKeyring(t, c)
	if _, _, err := kr.NewIdentity("anna", "geheim"); err != nil {
		t.Fatal(err)
	}
	again, err := OpenKeyring(kr.dir, testLedger(t, c))
	if err != nil {
		t.Fatal(err)
	}
	if _, r := verdict(t, again, signed(t, again, "anna", UsePost)); r != string(ResultVerified) {
		t.Error(r)
	}
}

// TestRenewal: what a hosted key may is renewed at login, before it ends.
func TestRenewal(t *testing.T) {
	const t0 = int64(1_800_000_000)
	c := &clock{t0}
	kr := testKeyring(t, c)
	id, _, err := kr.NewIdentity("anna", "geheim")
	if err != nil {
		t.Fatal(err)
	}
	ends := func() (first int64) {
		arrows, err := kr.Ledger.Arrows(id)
		if err != nil || len(arrows) != 2 {
			t.Fatal(len(arrows), err)
		}
		return min(arrows[0].Until, arrows[1].Until)
	}
	before := ends()
	if err := kr.Login("anna", "falsch"); err != nil || ends() != before {
		t.Error("renewed too early:", err)
	}
	c.t += 50 * day
	if err := kr.Login("anna", "falsch"); !errors.Is(err, ErrPassword) {
		t.Error("renewed with a wrong password:", err)
	}
	if err := kr.Login("anna", "geheim"); err != nil || ends() <= before {
		t.Error("not renewed:", err)
	}
	arrows, err := kr.Ledger.Arrows(id)
	if err != nil || arrows[0].From != t0 || arrows[1].From != t0 {
		t.Error("a renewal keeps from:", err)
	}
}

// TestQueuedBeforeTold: who waits for Changed and then looks into the outbox finds
// what was made; nothing lies there until something else happens.
func TestQueuedBeforeTold(t *testing.T) {
	clk := &clock{1_800_000_000}
	l := testLedger(t, clk)
	kr, err := OpenKeyring(t.TempDir(), l)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := l.Outbox(100)
	if err != nil || l.Posted(rows) != nil {
		t.Fatal(err)
	}
	for round := range 50 {
		changed, made := l.Changed(), make(chan error, 1)
		go func() {
			_, err := kr.Vouch("", "", Grant{Purpose: "post", Subject: KeyOf(testKey("x")).Subject(), Days: round + 1})
			made <- err
		}()
		<-changed
		rows, err := l.Outbox(100)
		if err != nil || len(rows) == 0 {
			t.Fatalf("round %d: told before it was queued: %d, %v", round, len(rows), err)
		}
		if err := errors.Join(<-made, l.Posted(rows)); err != nil {
			t.Fatal(err)
		}
	}
}
