package dialog

import (
	"fmt"
	"strings"
)

// Reply is an answer that is no success, and so an error: RFC 5321 §4.2, RFC 3463.
type Reply struct {
	Code     int
	Enhanced [3]int
	Text     string
}

func (r *Reply) Error() string {
	return fmt.Sprintf("%d %d.%d.%d %s", r.Code, r.Enhanced[0], r.Enhanced[1], r.Enhanced[2], r.Text)
}

// Refuse makes a Reply.
func Refuse(code, class, subject, detail int, format string, args ...any) *Reply {
	return &Reply{code, [3]int{class, subject, detail}, fmt.Sprintf(format, args...)}
}

// line is the text of r as it is sent, on one line; RFC 5321 §4.5.3.1.5 allows 512 octets
// with the code.
func (r *Reply) line() string {
	text := strings.Map(func(c rune) rune {
		if c < ' ' || c == 127 {
			return ' '
		}
		return c
	}, r.Text)
	return text[:min(len(text), 490)]
}
