package content

import "strings"

// What gateways need of a text that is not an article yet.

// TextOfHTML is the text of an HTML document in a charset ("": UTF-8), with line
// ends where blocks end and no more than two of them in a row.
func TextOfHTML(page, charset string) string {
	if charset == "" {
		charset = "utf-8"
	}
	var out strings.Builder
	blank := 0
	for line := range strings.Lines(htmlText(ToUTF8(charset, []byte(page[:min(len(page), maxHTML)])))) {
		line = strings.Join(strings.Fields(line), " ")
		if line == "" {
			blank++
			continue
		}
		if out.Len() > 0 {
			out.WriteString(strings.Repeat("\n", min(blank, 1)+1))
		}
		blank = 0
		out.WriteString(line)
	}
	return out.String()
}

// SafeHTML makes UTF-8 HTML from the net harmless: no script, no style, no picture
// from elsewhere; what is over MaxText octets is cut off.
func SafeHTML(page string) string {
	c := &Content{}
	page = strings.ToValidUTF8(page[:min(len(page), maxHTML)], "")
	return strings.TrimSpace(policy().Sanitize(c.tidy(page, func(*Part) string { return "" })))
}
