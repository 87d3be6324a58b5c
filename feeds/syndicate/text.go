package syndicate

import (
	"strings"

	"golang.org/x/net/html"
)

// plain turns a title, which may hold tags and entities, into one line of text
// of at most 500 octets.
func plain(s string) string {
	if len(s) > 8<<10 {
		s = s[:8<<10]
	}
	if strings.ContainsAny(s, "<&") {
		var out strings.Builder
		z := html.NewTokenizer(strings.NewReader(s))
		for {
			tt := z.Next()
			if tt == html.ErrorToken {
				break
			}
			if tt == html.TextToken {
				out.Write(z.Text())
			}
		}
		s = html.UnescapeString(out.String())
	}
	s = strings.Join(strings.Fields(s), " ")
	return cutText(s, 500)
}

// cutText shortens s to at most n octets at a rune's border.
func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}
