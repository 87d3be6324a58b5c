// Package wildmat matches newsgroup names against the wildmats of RFC 3977 §4:
// patterns with `*` and `?`, separated by commas, where the last pattern that
// matches decides and `!` turns its verdict round.
//
// Names and patterns are UTF-8. An octet that is not part of valid UTF-8 counts
// as one character that equals only itself. Matching takes at most
// len(pattern) * len(name) steps, whatever they hold.
package wildmat

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// ErrSyntax: a wildmat with an empty pattern, or with characters that RFC 3977
// §4.1 keeps out: `\`, `[`, `]`, blanks and control characters.
var ErrSyntax = errors.New("not a wildmat: names with * and ?, commas between them, ! before what is left out")

// Wildmat is a parsed wildmat. The zero value matches nothing.
type Wildmat struct {
	text  string
	parts []part
	all   bool
}

type part struct {
	pattern string
	not     bool
	prefix  bool // pattern is plain text and a star at the end, taken off here
	plain   bool // pattern has no star and no question mark
}

// Parse reads a wildmat: RFC 3977 §4.1.
func Parse(s string) (Wildmat, error) {
	w := Wildmat{text: s}
	for p := range strings.SplitSeq(s, ",") {
		p, not := strings.CutPrefix(p, "!")
		if p == "" || strings.ContainsAny(p, "\\[]!") {
			return Wildmat{}, ErrSyntax
		}
		for i := 0; i < len(p); i++ {
			if p[i] <= ' ' || p[i] == 127 {
				return Wildmat{}, ErrSyntax
			}
		}
		q := part{pattern: p, not: not}
		first := strings.IndexAny(p, "*?")
		q.plain = first < 0
		if q.prefix = first == len(p)-1 && p[first] == '*'; q.prefix {
			q.pattern = p[:first]
		}
		w.parts = append(w.parts, q)
	}
	w.all = len(w.parts) == 1 && w.parts[0].prefix && w.parts[0].pattern == "" && !w.parts[0].not
	return w, nil
}

// Must is Parse for wildmats that stand in the program. It panics on others.
func Must(s string) Wildmat {
	w, err := Parse(s)
	if err != nil {
		panic("wildmat: " + s + ": " + err.Error())
	}
	return w
}

// String returns the wildmat as it was parsed.
func (w Wildmat) String() string { return w.text }

// All says whether it is "*", which matches everything.
func (w Wildmat) All() bool { return w.all }

// Exact returns the one name that w can match, if it is a single pattern
// without `*`, `?` and `!`.
func (w Wildmat) Exact() (string, bool) {
	if len(w.parts) == 1 && w.parts[0].plain && !w.parts[0].not {
		return w.parts[0].pattern, true
	}
	return "", false
}

// Match says whether name matches: the last pattern that does decides
// (RFC 3977 §4.2).
func (w Wildmat) Match(name string) bool {
	for i := len(w.parts) - 1; i >= 0; i-- {
		if w.parts[i].match(name) {
			return !w.parts[i].not
		}
	}
	return false
}

func (p part) match(name string) bool {
	switch {
	case p.prefix:
		return strings.HasPrefix(name, p.pattern)
	case p.plain:
		return name == p.pattern
	}
	return glob(p.pattern, name)
}

// glob matches one pattern. It goes back to the last star only, which is
// enough: what an earlier star took need never be longer.
func glob(p, s string) bool {
	star, mark := -1, 0 // place behind the last star; where in s it is tried
	i, j := 0, 0
	for j < len(s) {
		if i < len(p) {
			switch p[i] {
			case '*':
				i++
				star, mark = i, j
				continue
			case '?':
				_, n := utf8.DecodeRuneInString(s[j:])
				i, j = i+1, j+n
				continue
			}
			// Whole characters are compared, so that ? and * never stop inside one.
			_, n := utf8.DecodeRuneInString(p[i:])
			_, m := utf8.DecodeRuneInString(s[j:])
			if n == m && p[i:i+n] == s[j:j+m] {
				i, j = i+n, j+m
				continue
			}
		}
		if star < 0 {
			return false
		}
		_, n := utf8.DecodeRuneInString(s[mark:])
		mark += n
		i, j = star, mark
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
