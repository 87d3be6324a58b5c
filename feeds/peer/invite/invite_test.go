package invite

import (
	"crypto/rand"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/internal/state"
)

func sample() Code {
	return Code{Host: "box7.mesh.example", Addresses: []string{"10.7.0.7:1119", "nntps://[fd00::7]:1563"}, Key: [32]byte{1, 2}, Secret: [16]byte{3}}
}

func TestCode(t *testing.T) {
	text := sample().String()
	broken := "  " + text[:20] + "\r\n > "[:3] + text[20:] + "\n"
	c, err := Parse(broken)
	if err != nil || c.String() != text {
		t.Fatalf("%+v, %v", c, err)
	}
	for i := range text {
		other := []byte(text)
		if other[i]++; text[i] == 'z' || text[i] == '9' || text[i] == 'Z' {
			other[i] = 'A'
		}
		if _, err := Parse(string(other)); !errors.Is(err, ErrCode) {
			t.Errorf("a code with another character at %d: %v", i, err)
		}
	}
	for _, bad := range []string{"", "litfass1.", text[:len(text)-1], strings.Repeat(text, 20)} {
		if _, err := Parse(bad); !errors.Is(err, ErrCode) {
			t.Errorf("%.30q: %v", bad, err)
		}
	}
	for _, c := range []Code{{Host: "x", Addresses: nil}, {Host: "", Addresses: []string{"a:1"}}, {Host: "x y", Addresses: []string{"a:1"}}, {Host: "x", Addresses: []string{"a"}},
		{Host: "x", Addresses: []string{":1"}}, {Host: "x", Addresses: []string{"a:1", "a:1", "a:1", "a:1", "a:1"}}} {
		if _, err := Parse(c.String()); !errors.Is(err, ErrCode) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// What parses is what would be written: nothing is passed over in silence.
func FuzzParse(f *testing.F) {
	f.Add(sample().String())
	f.Add("litfass1.AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse(text)
		if err == nil && c.String() != strings.Join(strings.Fields(text), "") {
			t.Errorf("%q parses as %+v, which is written %q", text, c, c.String())
		}
		if err != nil && !errors.Is(err, ErrCode) {
			t.Errorf("%q: %v", text, err)
		}
	})
}

func TestBook(t *testing.T) {
	db, err := state.Open(filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	b := &Book{DB: db, Now: func() time.Time { return now }, Rand: rand.Reader}
	must := func(want bool, secret []byte, pin string) Terms {
		t.Helper()
		terms, err := b.Redeem(secret, pin)
		if want != (err == nil) || err != nil && !errors.Is(err, ErrSecret) {
			t.Fatalf("redeem: %v", err)
		}
		return terms
	}
	s, err := b.Make(Terms{Send: "mesh.*", Old: true}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	must(false, []byte("guessed by one!!"), "a")
	must(false, nil, "a")
	must(false, s[:], "")
	if terms := must(true, s[:], "a"); terms != (Terms{Send: "mesh.*", Old: true}) {
		t.Errorf("terms %+v", terms)
	}
	must(true, s[:], "a") // its answer was lost
	must(false, s[:], "b")
	late, err := b.Make(Terms{}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Hour)
	must(false, late[:], "a")
	must(false, s[:], "a")
	for range maxOpen { // the old ones make room
		if _, err := b.Make(Terms{}, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Make(Terms{}, time.Hour); !errors.Is(err, ErrFull) {
		t.Errorf("one too many: %v", err)
	}
	if n, err := b.Forget(); n != maxOpen || err != nil {
		t.Errorf("forgot %d, %v", n, err)
	}
}
