package content

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// What gateways need of a text that is not an article yet.

// TextOfHTML is the text of an HTML document in a charset ("": UTF-8), with line
// ends where blocks end and no more than two of them in a row.
func TextOfHTML(page, charset string) string {
	if charset == "" {
		charset = "utf-8"
	}
	w := &textWriter{}
	readHTML(ToUTF8(charset, []byte(page[:min(len(page), maxHTML)])), nil, w)
	return compact(w.out.String())
}

// ReadHTML is the text of a UTF-8 HTML document, as TextOfHTML makes it, and the
// document made harmless: no script, no style, no picture from elsewhere. What is over
// 256 KiB is cut off.
func ReadHTML(page string) (text, safe string) {
	n := min(len(page), maxHTML)
	for n < len(page) && n > maxHTML-utf8.UTFMax && !utf8.RuneStart(page[n]) {
		n--
	}
	s, t := &safeWriter{c: &Content{}}, &textWriter{}
	s.out.Grow(n)
	t.out.Grow(n)
	readHTML(ToUTF8("utf-8", []byte(page[:n])), s, t)
	return compact(t.out.String()), s.String()
}

// compact makes one blank of several, and at most one empty line.
func compact(s string) string {
	var out strings.Builder
	out.Grow(len(s))
	lines, blank := 0, false // since the last word
	from := -1               // where the word that is being read begins
	flush := func(to int) {
		if from < 0 {
			return
		}
		switch {
		case out.Len() == 0:
		case lines > 1:
			out.WriteString("\n\n")
		case lines == 1:
			out.WriteByte('\n')
		case blank:
			out.WriteByte(' ')
		}
		out.WriteString(s[from:to])
		lines, blank, from = 0, false, -1
	}
	for i, r := range s {
		switch {
		case r == '\n':
			flush(i)
			lines++
		case unicode.IsSpace(r):
			flush(i)
			blank = true
		case from < 0:
			from = i
		}
	}
	flush(len(s))
	return out.String()
}
