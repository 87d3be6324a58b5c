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

// language names the text field in which s is indexed, judged by its beginning.
func language(s string) string {
	if len(s) > 2048 {
		s = strings.ToValidUTF8(s[:2048], "")
	}
	letters, signs := 0, 0
	for _, r := range s {
		switch {
		case r >= 0x1100 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul):
			signs++
		case unicode.IsLetter(r):
			letters++
		}
	}
	if signs*4 > letters {
		return "cjk"
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
