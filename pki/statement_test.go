package pki

import (
	"bytes"
	"crypto"
	"math/rand"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func (v *vectors) statement(t testing.TB, name string) *Statement {
	t.Helper()
	s, err := ParseStatement(v.Statements[name].Text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return s
}

// valid leaves out what CheckSignatures refuses, as a ledger does.
func (v *vectors) valid(t testing.TB, names []string) []*Statement {
	var out []*Statement
	for _, name := range names {
		if s := v.statement(t, name); s.CheckSignatures() == nil {
			out = append(out, s)
		}
	}
	return out
}

func TestVectorStatements(t *testing.T) {
	v := loadVectors(t)
	for name, c := range v.Statements {
		s := v.statement(t, name)
		if s.Digest().String() != c.Digest || c.ID != "" && s.ID.String() != c.ID || len(c.Text) != c.Octets {
			t.Errorf("%s: digest %s id %s", name, s.Digest(), s.ID)
		}
		if s.compose() != s.Signed() {
			t.Errorf("%s: written again\n%s\nwas\n%s", name, s.compose(), s.Signed())
		}
		bad := strings.Contains(name, "thief") || strings.Contains(name, "padded") || strings.Contains(name, "1of3")
		if err := s.CheckSignatures(); (err != nil) != bad {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range v.Malformed {
		if _, err := ParseStatement(text); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestVectorIdentity(t *testing.T) {
	v := loadVectors(t)
	for _, c := range v.Identity {
		set := v.valid(t, c.Set)
		id := v.statement(t, "alice-incept").ID
		for range 20 {
			rand.Shuffle(len(set), func(i, j int) { set[i], set[j] = set[j], set[i] })
			st := Evaluate(id, set)
			if st.Status.String() != c.Status || st.Key().Text() != c.Key || st.Current.Seq != c.Seq {
				t.Errorf("%s: %s seq %d %s", c.Why, st.Status, st.Current.Seq, st.Key().Text())
				break
			}
			if next := st.Current.Next; (next == nil) != (c.Next == "none") || next != nil && next.String() != c.Next {
				t.Errorf("%s: next %v", c.Why, next)
				break
			}
		}
	}
}

// TestIdentityIsASetFunction draws random families of events, good and bad, and
// looks at them in several orders, with repeats; and adds more, to see that a
// state only moves on (§3.3).
func TestIdentityIsASetFunction(t *testing.T) {
	keys := make([]crypto.Signer, 12)
	for i := range keys {
		keys[i] = testKey("prop-" + string(rune('a'+i)))
	}
	key := func(i int) Key { return KeyOf(testKey("prop-" + string(rune('a'+i)))) }
	next := func(i int) *Digest { d := key(i).Digest(); return &d }
	policies := []*Policy{{1, []Key{key(8)}}, {1, []Key{key(9)}}, {1, []Key{key(10)}}}
	commit := func(i int) *Digest { d := policies[i].Digest(); return &d }
	rapid.Check(t, func(t *rapid.T) {
		incept, err := Make(Statement{Type: TypeIncept, Time: 1, Key: key(0), Next: next(1), Recover: commit(0)}, keys[0])
		if err != nil {
			t.Fatal(err)
		}
		all := []*Statement{incept}
		for range rapid.IntRange(0, 9).Draw(t, "events") {
			prev := all[rapid.IntRange(0, len(all)-1).Draw(t, "prev")]
			k, n := rapid.IntRange(0, 4).Draw(t, "key"), rapid.IntRange(0, 4).Draw(t, "next")
			s := Statement{Type: TypeRotate, ID: incept.ID, Seq: prev.Seq + 1, Prev: prev.digest, Time: 5, Key: key(k), Next: next(n)}
			if rapid.IntRange(0, 5).Draw(t, "closes") == 0 {
				s.Next = nil
			}
			signers := []crypto.Signer{keys[k]}
			if rapid.IntRange(0, 2).Draw(t, "kind") == 0 {
				p := rapid.IntRange(0, 2).Draw(t, "policy")
				s.Type, s.Policy, s.Recover = TypeRecover, policies[p], commit(rapid.IntRange(0, 2).Draw(t, "commit"))
				signers = append(signers, keys[8+p])
			}
			st, err := Make(s, signers...)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, st)
		}
		want := Evaluate(incept.ID, all)
		for range 4 {
			order := rapid.Permutation(append(all, all[0])).Draw(t, "order")
			got := Evaluate(incept.ID, order)
			if got.Status != want.Status || got.Current.digest != want.Current.digest || len(got.Terms) != len(want.Terms) {
				t.Fatalf("order matters: %v %v, %v %v", got.Status, got.Current.digest, want.Status, want.Current.digest)
			}
			part := Evaluate(incept.ID, append([]*Statement{incept}, order[:len(order)/2]...))
			if part.Status == Dead && want.Status != Dead {
				t.Fatal("more statements brought a dead identity back")
			}
			if part.Status == Frozen && part.Missing == nil && want.Status != Dead && want.Current.digest == part.Current.digest && want.Status != Frozen {
				t.Fatalf("a frozen identity became %v without a recover", want.Status)
			}
		}
	})
}

func FuzzStatement(f *testing.F) {
	v := loadVectors(f)
	for _, c := range v.Statements {
		f.Add([]byte(c.Text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := ParseStatement(string(text))
		if err != nil {
			return
		}
		again := s.compose()
		if again != s.Signed() {
			t.Fatalf("what parsed is not what was signed:\n%s\n%s", s.Signed(), again)
		}
		for _, sig := range s.Sigs {
			again += "sig " + sig.Key.Text() + " " + b64.EncodeToString(sig.Sig[:]) + "\n"
		}
		if !bytes.Equal(text, []byte(again)) {
			t.Fatalf("octets were lost: %q", text)
		}
	})
}

func TestParseStatements(t *testing.T) {
	v := loadVectors(t)
	a, b := v.Statements["alice-incept"].Text, v.Statements["alice-rotate"].Text
	if got, err := ParseStatements(a + b); err != nil || len(got) != 2 || got[0].Text() != a || got[1].Text() != b {
		t.Errorf("%d statements, %v", len(got), err)
	}
	if got, err := ParseStatements(strings.ReplaceAll(a+b, "\n", "\r\n")); err == nil {
		t.Error("CRLF is taken", len(got))
	}
	if got, err := ParseStatements(a + "x" + b); err == nil || len(got) != 0 {
		t.Error("rubbish between statements is taken", len(got))
	}
	if got, err := ParseStatements(""); err != nil || got != nil {
		t.Error(got, err)
	}
	start := time.Now()
	if _, err := ParseStatements(strings.Repeat("pki-statement-v1\ntype ", 500_000)); err == nil || time.Since(start) > 5*time.Second {
		t.Error("10 MB of rubbish:", err, time.Since(start))
	}
}

func BenchmarkParseStatement(b *testing.B) {
	text := loadVectors(b).Statements["arrow-bob-alice-post"].Text
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseStatement(text); err != nil {
			b.Fatal(err)
		}
	}
}
