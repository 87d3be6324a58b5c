package pki

import (
	"errors"
	"strings"
)

// maxPatterns bounds the patterns of one scope (§3.4).
const maxPatterns = 32

// InScope says whether a scope contains a group (or a host): the last pattern
// that matches decides, none: not contained (§3.4). The scope must be valid.
func InScope(scope, name string) bool {
	if scope == "*" {
		return true
	}
	for scope != "" {
		i := strings.LastIndexByte(scope, ',')
		p := scope[i+1:]
		not := strings.HasPrefix(p, "!")
		if matchPattern(strings.TrimPrefix(p, "!"), name) {
			return !not
		}
		if i < 0 {
			return false
		}
		scope = scope[:i]
	}
	return false
}

// matchPattern matches "*" (any run) and "?" (one octet). It goes back to the
// last star only, so its cost is at most len(p) times len(s).
func matchPattern(p, s string) bool {
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(s) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == s[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

// CheckScope says what is wrong with a scope.
func CheckScope(scope string) error {
	n := 0
	for p := range strings.SplitSeq(scope, ",") {
		if n++; n > maxPatterns {
			return errors.New("has over 32 patterns")
		}
		if p = strings.TrimPrefix(p, "!"); p == "" {
			return errors.New("has an empty pattern")
		}
		for _, c := range []byte(p) {
			switch {
			case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			case strings.IndexByte("+-_.:*?", c) >= 0:
			default:
				return errors.New("is not a comma list of patterns of A-Za-z0-9+-_.:*? without blanks")
			}
		}
	}
	return nil
}
