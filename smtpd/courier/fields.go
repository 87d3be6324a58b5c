package courier

import (
	"fmt"
	"mime"
	"net/mail"
	"strings"
	"unicode"

	"golang.org/x/net/idna"

	"github.com/litfass/litfass/article/content"
)

const (
	maxPhrase = 200 // characters of a name in a field
	lineWidth = 76  // where a field is folded, in octets: RFC 2047 §2 wants it there
	maxWord   = 200 // octets without a blank that are left as they are
)

// phrase writes a name as RFC 5322 §3.2.5 wants it: words, a quoted string, or encoded
// words (RFC 2047 §5 (3)). Control characters go, and what is too long is cut.
func phrase(name string) string {
	name = readable(name)
	if r := []rune(name); len(r) > maxPhrase {
		name = strings.TrimSpace(string(r[:maxPhrase])) + "…"
	}
	const specials = "()<>[]:;@\\,.\""
	switch {
	case mustEncode(name):
		return encodeWords(name)
	case strings.ContainsAny(name, specials):
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
	}
	return name
}

// mailbox is a name and an address.
func mailbox(name, address string) string {
	if name == "" {
		return address
	}
	return phrase(name) + " <" + address + ">"
}

// prose writes what a person reads, in ASCII: RFC 2047 §5 (1).
func prose(s string) string {
	if s = readable(s); mustEncode(s) {
		return encodeWords(s)
	}
	return s
}

// readable is s on one line, without what cannot be seen.
func readable(s string) string {
	return oneLine(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD")))
}

// mustEncode says whether s is not ASCII, would be read as encoded, or cannot be folded.
func mustEncode(s string) bool {
	if over127([]byte(s)) || strings.Contains(s, "=?") {
		return true
	}
	for word := range strings.FieldsSeq(s) {
		if len(word) > maxWord {
			return true
		}
	}
	return false
}

// encodeWords writes s as encoded words that may stand in a phrase, too: by Q with nothing
// but letters, digits and "_", or by B where most is not ASCII.
func encodeWords(s string) string {
	beyond := 0
	for i := range len(s) {
		if s[i] >= 128 {
			beyond++
		}
	}
	if beyond > len(s)/2 {
		return mime.BEncoding.Encode("utf-8", s)
	}
	const open, end, most = "=?utf-8?q?", "?=", 75
	var out, word strings.Builder
	for _, r := range s {
		q := string(r)
		switch {
		case r == ' ':
			q = "_"
		case r > 127 || !isAlnum(byte(r)):
			q = ""
			for _, b := range []byte(string(r)) {
				q += fmt.Sprintf("=%02X", b)
			}
		}
		if word.Len()+len(q) > most-len(open)-len(end) {
			out.WriteString(open + word.String() + end + " ")
			word.Reset()
		}
		word.WriteString(q)
	}
	return out.String() + open + word.String() + end
}

func isAlnum(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9'
}

// field is a field with its end, folded at blanks: RFC 5322 §2.2.3.
func field(name, value string) string {
	var out strings.Builder
	out.WriteString(name + ":")
	at := len(name) + 1
	for word := range strings.SplitSeq(value, " ") {
		if at+1+len(word) > lineWidth && at > len(name)+1 {
			out.WriteString("\r\n")
			at = 0
		}
		out.WriteString(" " + word)
		at += 1 + len(word)
	}
	return out.String() + "\r\n"
}

// addresses are the fields that hold them.
var addresses = map[string]bool{"from": true, "sender": true, "reply-to": true, "to": true, "cc": true}

// inASCII is the content of an article's field as mail may carry it everywhere; fields of
// news are UTF-8, or what their author's program took for text.
func inASCII(name, v string) string {
	if v = oneLine(v); mayTravel(v) {
		return v
	}
	if !addresses[strings.ToLower(name)] {
		return prose(content.Header(v))
	}
	list, err := mail.ParseAddressList(content.ToUTF8("utf-8", []byte(v)))
	if err != nil {
		who, address := content.Author(v)
		return mailbox(who, address)
	}
	each := make([]string, len(list))
	for i, a := range list {
		each[i] = mailbox(content.Header(a.Name), a.Address)
	}
	return strings.Join(each, ", ")
}

// mayTravel says whether a field's content is ASCII and can be folded.
func mayTravel(v string) bool {
	for word := range strings.FieldsSeq(v) {
		if len(word) > 900 {
			return false
		}
	}
	return !over127([]byte(v))
}

// label is a group's name in a List-Id, which is ASCII (RFC 2919 §2) as host names are.
func label(name string) string {
	if !over127([]byte(name)) {
		return name
	}
	out, err := idna.Punycode.ToASCII(name)
	if err != nil {
		return fmt.Sprintf("x-%08x", hashOf(name))
	}
	return out
}
