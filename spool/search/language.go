package search

import (
	"strings"
	"unicode"
)

// Words that are common in one language and rare in the other.
var (
	german  = words("und der die das ist nicht ich ein eine den mit auf für auch von dem zu sich wie aber wenn oder noch bei nur man hat wird sind")
	english = words("the and of to is in that it for you not are this with but have on be was they from if or as what there")
)

func words(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

// language says which stems s is indexed by, judged by its beginning.
func language(s string) string {
	if len(s) > 2048 {
		s = strings.ToValidUTF8(s[:2048], "")
	}
	g, e := 0, 0
	for w := range strings.FieldsFuncSeq(strings.ToLower(s), func(r rune) bool { return !unicode.IsLetter(r) }) {
		if german[w] {
			g++
		}
		if english[w] {
			e++
		}
	}
	if g > e {
		return "de"
	}
	return "en"
}
