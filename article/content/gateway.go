package content

import (
	"net/url"
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

// Page is an HTML document as a gateway passes it on.
type Page struct {
	Text  string   // as TextOfHTML makes it, "[n]" behind the n-th link
	Safe  string   // harmless HTML: no script, no style, nothing that loads
	Links []string // addresses that the text refers to, at most 50
}

// ReadHTML reads a UTF-8 HTML document whose relative addresses count from base (nil:
// they are dropped). Pictures become links that say what they are, with the type of a
// picture; those of one dot, which only count readers, go. What is over 256 KiB is cut off.
func ReadHTML(page string, base *url.URL) Page {
	n := min(len(page), maxHTML)
	for n < len(page) && n > maxHTML-utf8.UTFMax && !utf8.RuneStart(page[n]) {
		n--
	}
	s, t := &safeWriter{c: &Content{}, gate: true, base: base}, &textWriter{}
	s.out.Grow(n)
	t.out.Grow(n)
	readHTML(ToUTF8("utf-8", []byte(page[:n])), s, t)
	return Page{compact(t.out.String()), s.String(), s.links}
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
