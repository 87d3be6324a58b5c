package search

import (
	"bytes"
	"unicode"
	"unicode/utf8"

	"github.com/blevesearch/bleve/v2/analysis"
	"github.com/blevesearch/bleve/v2/analysis/lang/de"
	"github.com/blevesearch/bleve/v2/analysis/lang/en"
	"github.com/blevesearch/bleve/v2/analysis/token/porter"
	"golang.org/x/text/unicode/norm"
)

// maxWord is how many runes of a word count; lines of code and data have longer ones.
const maxWord = 64

// lexiconMost is how many words a lexicon remembers with their stems, about 2 MiB
// each: the words of a language repeat, and stemming one costs more than all else.
const lexiconMost = 1 << 14

// lexicon turns words into terms of the index: it knows the stems and the words
// that say nothing. It is not safe for concurrent use.
type lexicon struct {
	stop    analysis.TokenMap // nil: every word counts
	filters []analysis.TokenFilter
	known   map[string]term
}

// term is a word as it stands in the index; the zero term is a word that is left out.
type term struct {
	text   string
	octets []byte
}

// newLexicon makes the lexicon of a language: "de", "en", or "" for names, which
// have no stems.
func newLexicon(lang string) *lexicon {
	l := &lexicon{known: map[string]term{}}
	var stop []byte
	switch lang {
	case "de":
		stop = de.GermanStopWords
		l.filters = []analysis.TokenFilter{de.NewGermanNormalizeFilter(), de.NewGermanLightStemmerFilter()}
	case "en":
		stop = en.EnglishStopWords
		l.filters = []analysis.TokenFilter{porter.NewPorterStemmer()}
	default:
		return l
	}
	l.stop = analysis.NewTokenMap()
	for line := range bytes.Lines(stop) {
		line, _, _ = bytes.Cut(line, []byte("|"))
		for _, w := range bytes.Fields(line) {
			l.stop.AddToken(string(w))
		}
	}
	return l
}

// term looks a word up that is in lower case.
func (l *lexicon) term(word []byte) term {
	t, ok := l.known[string(word)]
	if ok {
		return t
	}
	if bare := plain(word); !l.stop[string(word)] && !l.stop[string(bare)] {
		one := analysis.TokenStream{{Term: bare}}
		for _, f := range l.filters {
			one = f.Filter(one)
		}
		t.text = string(one[0].Term)
		t.octets = []byte(t.text)
	}
	if len(l.known) >= lexiconMost {
		clear(l.known)
	}
	l.known[string(word)] = t
	return t
}

// plain takes apostrophes out, with the s of a possessive, and accents from Latin
// letters but for the umlauts, which the stems of German know.
func plain(word []byte) []byte {
	if bytes.IndexByte(word, '\'') >= 0 {
		word = bytes.ReplaceAll(bytes.TrimSuffix(word, []byte("'s")), []byte("'"), nil)
	}
	out := make([]byte, 0, len(word))
	ascii := true
	for _, c := range word {
		ascii = ascii && c < utf8.RuneSelf
	}
	if ascii {
		return append(out, word...)
	}
	var base rune
	for _, r := range string(norm.NFD.Bytes(word)) {
		if unicode.Is(unicode.Mn, r) && unicode.Is(unicode.Latin, base) && r != '\u0308' {
			continue
		}
		if !unicode.Is(unicode.Mn, r) {
			base = r
		}
		out = utf8.AppendRune(out, r)
	}
	return norm.NFC.Bytes(out)
}

// each calls f for the words of a text in lower case, with their places from 1 on.
// Signs of Chinese, Japanese and Korean, which writes no blanks between some
// words, come in overlapping pairs. word is valid until f returns.
func each(text string, f func(word []byte, place int)) {
	var buf [maxWord * utf8.UTFMax]byte
	word, place, runes := buf[:0], 0, 0
	var last rune // the sign before, 0: none
	alone := false
	end := func() {
		if alone {
			word = utf8.AppendRune(word[:0], last)
		}
		if len(word) > 0 {
			place++
			f(word, place)
		}
		word, last, alone, runes = buf[:0], 0, false, 0
	}
	for i, r := range text {
		switch {
		case r < utf8.RuneSelf && lower(r) != 0:
			if last != 0 {
				end()
			}
			if runes++; runes <= maxWord {
				word = append(word, lower(r))
			}
		case (r == '\'' || r == '’') && runes > 0 && runes < maxWord && letterFollows(text[i+utf8.RuneLen(r):]):
			runes++
			word = append(word, '\'')
		case r < utf8.RuneSelf:
			end()
		case sign(r):
			if runes > 0 {
				end()
			}
			if last != 0 {
				place++
				word = utf8.AppendRune(utf8.AppendRune(word[:0], last), r)
				f(word, place)
				word = word[:0]
			}
			alone, last = last == 0, r
		case unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r):
			if last != 0 {
				end()
			}
			if runes++; runes <= maxWord {
				word = utf8.AppendRune(word, unicode.ToLower(r))
			}
		case r == '\u00ad': // a soft hyphen
		default:
			end()
		}
	}
	end()
}

// lower is an ASCII letter in lower case or a digit, or 0.
func lower(r rune) byte {
	switch {
	case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
		return byte(r)
	case r >= 'A' && r <= 'Z':
		return byte(r) + 'a' - 'A'
	}
	return 0
}

// letterFollows says whether an apostrophe stands within a word.
func letterFollows(rest string) bool {
	r, _ := utf8.DecodeRuneInString(rest)
	return unicode.IsLetter(r)
}

// sign says whether r is one of the signs that are indexed in pairs.
func sign(r rune) bool {
	return r >= 0x1100 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul)
}
