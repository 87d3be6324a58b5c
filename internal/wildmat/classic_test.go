package wildmat

import (
	"strings"
	"testing"
)

func TestClassic(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"*[Cc][Ll][Ee] 2*", "Article 2", true}, // Thunderbird
		{"*[Cc][Ll][Ee] 2*", "article 3", false},
		{"[a-c]x", "bx", true}, {"[a-c]x", "dx", false}, {"[^a-c]x", "dx", true}, {"[^a-c]x", "ax", false},
		{"[]]", "]", true}, {"[^]]", "]", false}, {"[a-]", "-", true}, {"[", "[", true}, {"[ab", "[ab", true},
		{`\*`, "*", true}, {`\*`, "x", false}, {`a\`, `a\`, true}, {`\[a]`, "[a]", true},
		{"*", "", true}, {"**", "x", true}, {"?", "ü", true}, {"[ä-ü]", "ö", true}, {"?", "\xff", true}, {"\xff", "\xff", true}, {"\xff", "\xfe", false},
		{"a,b c", "a,b c", true}, {"*a*b*", "xxaxxbxx", true}, {"*a*b", "ab ba", false}, {"�", "\xff", false},
	} {
		if got := ParseClassic(c.pattern).Match(c.text); got != c.want {
			t.Errorf("%q, %q: %v", c.pattern, c.text, got)
		}
	}
}

// FuzzClassic: a pattern without brackets and backslash means what glob makes of
// it; a text with everything escaped matches itself.
func FuzzClassic(f *testing.F) {
	f.Add("*[a-c]?", "xab")
	f.Add(`\*[^`, "*[^")
	f.Fuzz(func(t *testing.T, p, s string) {
		got := ParseClassic(p).Match(s)
		if !strings.ContainsAny(p, `[\`) && got != glob(p, s) {
			t.Errorf("%q, %q: %v", p, s, got)
		}
		quoted := strings.NewReplacer("*", `\*`, "?", `\?`, "[", `\[`, `\`, `\\`).Replace(s)
		if !ParseClassic(quoted).Match(s) {
			t.Errorf("%q does not match itself as %q", s, quoted)
		}
	})
}
