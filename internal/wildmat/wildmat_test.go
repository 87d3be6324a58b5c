package wildmat

import (
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	tests := []struct {
		wild string
		yes  string // blank-separated
		no   string
	}{
		{"*", "a misc.test ü", ""},
		{"a*,!*b,*c*", "aaa abc xcb", "ab xb bbb"}, // RFC 3977 §4.3
		{"a*,c*,!*b*", "aaa ccc", "abb xxx ccb cbc"},
		{"???", "abc äöü a.b", "ab abcd äö"},
		{"misc.test", "misc.test", "misc.tes misc.tests Misc.test"},
		{"misc.*,!misc.priv*", "misc.test misc.a", "misc.private misc alt.test"},
		{"!misc.*", "", "misc.test alt.test"},
		{"*.a.*b", "x.a.b x.a.a.b .a.xxb", "x.a.c a.b"},
		{"ü*", "üb ü", "ub"},
		{"?", "\xff ü", "\xc3\xff"},
	}
	for _, tc := range tests {
		w, err := Parse(tc.wild)
		if err != nil {
			t.Errorf("%s: %v", tc.wild, err)
		}
		for _, s := range strings.Fields(tc.yes) {
			if !w.Match(s) {
				t.Errorf("%s does not match %q", tc.wild, s)
			}
		}
		for _, s := range strings.Fields(tc.no) {
			if w.Match(s) {
				t.Errorf("%s matches %q", tc.wild, s)
			}
		}
	}
}

func TestParse(t *testing.T) {
	for _, s := range []string{"", ",", "a,", ",a", "a,,b", "!", "a\\*", "[a]", "a b", "a\x00", "a\r\n", "!!a"} {
		if _, err := Parse(s); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
	if n, ok := Must("misc.test").Exact(); !ok || n != "misc.test" {
		t.Error("misc.test is not exact")
	}
	for _, s := range []string{"*", "!a", "a,b", "a?"} {
		if _, ok := Must(s).Exact(); ok {
			t.Errorf("%q is exact", s)
		}
	}
}

// TestSlow: a pattern made to make matchers go back and back.
func TestSlow(t *testing.T) {
	w := Must(strings.Repeat("*a", 200) + "b")
	if w.Match(strings.Repeat("a", 5000)) {
		t.Error("it matches")
	}
}

// naive matches one pattern character by character, by recursion.
func naive(p, s []rune) bool {
	switch {
	case len(p) == 0:
		return len(s) == 0
	case p[0] == '*':
		return naive(p[1:], s) || len(s) > 0 && naive(p, s[1:])
	case len(s) == 0:
		return false
	}
	return (p[0] == '?' || p[0] == s[0]) && naive(p[1:], s[1:])
}

func runes(s string) []rune {
	var out []rune
	for _, r := range s {
		out = append(out, r)
	}
	return out
}

// FuzzMatch's law: it agrees with a matcher that tries everything.
func FuzzMatch(f *testing.F) {
	f.Add("a*,!*b,*c*", "abc")
	f.Add("*a?*ü", "xaüü")
	f.Fuzz(func(t *testing.T, wild, name string) {
		if len(wild) > 12 || len(name) > 12 || strings.ToValidUTF8(wild, "") != wild || strings.ToValidUTF8(name, "") != name {
			return
		}
		w, err := Parse(wild)
		if err != nil {
			return
		}
		want := false
		for p := range strings.SplitSeq(wild, ",") {
			p, not := strings.CutPrefix(p, "!")
			if naive(runes(p), runes(name)) {
				want = !not
			}
		}
		if got := w.Match(name); got != want {
			t.Errorf("%q on %q: %v, want %v", wild, name, got, want)
		}
	})
}
