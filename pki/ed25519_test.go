package pki

import (
	"crypto/ed25519"
	"encoding/hex"
	"math/rand/v2"
	"testing"
)

// lowOrder are all encodings of points of small order that decode, the ones that
// are not canonical too.
var lowOrder = []string{
	"0100000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000080",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
}

// order is L, the order of the base point, little-endian.
const order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010"

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSameAcceptance: what verifies accepts is what crypto/ed25519 accepts, among
// signatures that tell implementations apart: points of small order, encodings that
// are not canonical, S not reduced, S with its high bits.
func TestSameAcceptance(t *testing.T) {
	accepted := 0
	same := func(key, msg, sig []byte) {
		t.Helper()
		want := ed25519.Verify(key, msg, sig)
		if got := verifies(Key(key), msg, [64]byte(sig)); got != want {
			t.Fatalf("key %x message %x signature %x: %v, crypto/ed25519 says %v", key, msg, sig, got, want)
		}
		if want {
			accepted++
		}
	}
	l := unhex(t, order)
	for i := range lowOrder {
		for j := range lowOrder {
			for m := range byte(24) {
				for _, s := range [][]byte{make([]byte, 32), l} {
					same(unhex(t, lowOrder[i]), []byte{m}, append(unhex(t, lowOrder[j]), s...))
				}
			}
		}
	}
	if accepted == 0 {
		t.Error("none of the odd ones is accepted: the test asks nothing")
	}
	key := testKey("a")
	pub, msg := key.Public().(ed25519.PublicKey), message(Digest{1})
	good := ed25519.Sign(key, msg)
	same(pub, msg, good)
	plusL := append([]byte(nil), good...) // S + L: the same equation, refused
	carry := 0
	for i := range 32 {
		carry += int(plusL[32+i]) + int(l[i])
		plusL[32+i] = byte(carry)
		carry >>= 8
	}
	same(pub, msg, plusL)
	for i := range 512 {
		bad := append([]byte(nil), good...)
		bad[i/8] ^= 1 << (i % 8)
		same(pub, msg, bad)
	}
	for i := range 256 {
		bad := append([]byte(nil), pub...)
		bad[i/8] ^= 1 << (i % 8)
		same(bad, msg, good)
	}
	for _, low := range lowOrder { // a good signature with a twisted R
		same(pub, msg, append(unhex(t, low), good[32:]...))
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var key [32]byte
		var sig [64]byte
		for i := range key {
			key[i] = byte(r.Uint32())
		}
		for i := range sig {
			sig[i] = byte(r.Uint32())
		}
		same(key[:], msg, sig[:])
	}
}

// FuzzSameAcceptance: verifies says what crypto/ed25519 says, of any key, message
// and signature.
func FuzzSameAcceptance(f *testing.F) {
	key := testKey("a")
	f.Add([]byte(key.Public().(ed25519.PublicKey)), []byte("x"), ed25519.Sign(key, []byte("x")))
	for _, low := range lowOrder[:4] {
		p, _ := hex.DecodeString(low)
		f.Add(p, []byte("y"), append(append([]byte(nil), p...), make([]byte, 32)...))
	}
	f.Fuzz(func(t *testing.T, key, msg, sig []byte) {
		if len(key) != 32 || len(sig) != 64 {
			return
		}
		if want, got := ed25519.Verify(key, msg, sig), verifies(Key(key), msg, [64]byte(sig)); got != want {
			t.Errorf("%v, crypto/ed25519 says %v", got, want)
		}
	})
}
