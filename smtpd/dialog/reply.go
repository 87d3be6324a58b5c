package dialog

import (
	"errors"
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

// replyTo is the answer to what went wrong; what is not known to be for good is not.
func replyTo(err error) *Reply {
	var r *Reply
	if errors.As(err, &r) {
		return r
	}
	return Refuse(451, 4, 3, 0, "this node has a trouble of its own, try again later")
}

// line is r as it is sent; RFC 5321 §4.5.3.1.5 allows 512 octets.
func (r *Reply) line() string {
	text := strings.Map(func(c rune) rune {
		if c < ' ' || c == 127 {
			return ' '
		}
		return c
	}, r.Error())
	return text[:min(len(text), 510)] + "\r\n"
}
