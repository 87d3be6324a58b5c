package pki

import (
	"bytes"
	"testing"

	"github.com/litfass/litfass/article"
)

// TestOwnSignatures: a signature that was made here is known without checking it
// again; one octet changed anywhere in what it covers, or in itself, and it is not.
func TestOwnSignatures(t *testing.T) {
	kr := testKeyring(t, &clock{1_800_000_000})
	a := signed(t, kr, "", UseGate)
	known := 0
	r := examineKnowing(a, func(s signature) bool {
		known++
		return kr.made.holds(s)
	})
	if p, _ := verdict(t, kr, a); r.Err != nil || known != 1 || p.State != article.ProofHolds || r.Proof.Digest != p.Digest {
		t.Fatalf("%v, asked %d times, %+v", r.Err, known, p)
	}
	wire := a.Wire()
	for _, change := range [][2]string{{"Subject: ", "Subject: x"}, {"\r\n\r\n", "\r\n\r\nx"}, {" b=", " b=A"}} {
		i := bytes.Index(wire, []byte(change[0]))
		if i < 0 {
			t.Fatalf("no %q in\n%s", change[0], wire)
		}
		spoilt := append(append(bytes.Clone(wire[:i]), change[1]...), wire[i+len(change[0]):]...)
		if change[0] == " b=" {
			spoilt = bytes.Clone(wire)
			if c := &spoilt[i+5]; *c == 'A' {
				*c = 'B'
			} else {
				*c = 'A'
			}
		}
		b, err := article.Parse(spoilt, article.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if p, _ := verdict(t, kr, b); p.State != article.ProofInvalid {
			t.Errorf("%q: %+v", change, p)
		}
	}
	for range 2 * len(kr.made.last) { // older ones are forgotten, and checked as any
		signed(t, kr, "", UseGate)
	}
	if p, _ := verdict(t, kr, a); p.State != article.ProofHolds {
		t.Errorf("forgotten: %+v", p)
	}
}
