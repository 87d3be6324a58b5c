package wildmat

import (
	"strings"
	"unicode/utf8"
)

// Classic is one pattern of the old kind, as XPAT takes it (RFC 2980 §2.9, §3.3):
// beside `*` and `?` it knows sets like [abc], [a-z] and [^0-9], and `\`, which
// takes a character's meaning away. Blanks and commas stand for themselves.
type Classic struct{ parts []char }

// char is what one character, or with star any number of them, must be.
type char struct {
	star, any bool
	one       rune
	raw       string // an octet that is no UTF-8
	set       []span
	not       bool
}

type span struct{ lo, hi rune }

// ParseClassic reads a pattern. A bracket that is not closed stands for itself.
func ParseClassic(p string) Classic {
	var c Classic
	for i := 0; i < len(p); {
		r, n := utf8.DecodeRuneInString(p[i:])
		next := char{one: r}
		if r == utf8.RuneError && n == 1 {
			next.raw = p[i : i+1]
		}
		switch r {
		case '*':
			next = char{star: true}
		case '?':
			next = char{any: true}
		case '\\':
			if i+1 < len(p) {
				r, m := utf8.DecodeRuneInString(p[i+1:])
				next, n = char{one: r}, 1+m
			}
		case '[':
			if set, not, m := readSet(p[i:]); m > 0 {
				next, n = char{set: set, not: not}, m
			}
		}
		if !next.star || len(c.parts) == 0 || !c.parts[len(c.parts)-1].star {
			c.parts = append(c.parts, next)
		}
		i += n
	}
	return c
}

// readSet reads "[...]" and says how long it is; 0: it is not closed.
func readSet(p string) (set []span, not bool, n int) {
	i := 1
	if strings.HasPrefix(p[i:], "^") {
		not = true
		i++
	}
	for first := true; i < len(p); first = false {
		lo, m := utf8.DecodeRuneInString(p[i:])
		if lo == ']' && !first {
			return set, not, i + 1
		}
		i += m
		hi := lo
		if strings.HasPrefix(p[i:], "-") && i+1 < len(p) && p[i+1] != ']' {
			hi, m = utf8.DecodeRuneInString(p[i+1:])
			i += 1 + m
		}
		set = append(set, span{lo, hi})
	}
	return nil, false, 0
}

func (c char) fits(r rune, raw string) bool {
	switch {
	case c.any:
		return true
	case c.set != nil:
		in := false
		for _, s := range c.set {
			in = in || s.lo <= r && r <= s.hi
		}
		return in != c.not
	case c.raw != "":
		return c.raw == raw
	}
	return c.one == r && !(r == utf8.RuneError && len(raw) == 1)
}

// Match says whether all of s matches, in at most pattern times text steps: it
// goes back to the last star only.
func (c Classic) Match(s string) bool {
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(s) {
		r, n := utf8.DecodeRuneInString(s[j:])
		switch {
		case i < len(c.parts) && c.parts[i].star:
			i++
			star, mark = i, j
		case i < len(c.parts) && c.parts[i].fits(r, s[j:j+n]):
			i, j = i+1, j+n
		case star < 0:
			return false
		default:
			_, m := utf8.DecodeRuneInString(s[mark:])
			mark += m
			i, j = star, mark
		}
	}
	for i < len(c.parts) && c.parts[i].star {
		i++
	}
	return i == len(c.parts)
}
