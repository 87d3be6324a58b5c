package content

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
)

// utf7 decodes RFC 2152, which old mail programs wrote: "+" begins base64 of UTF-16,
// "-" or whatever is no base64 ends it. What is no UTF-7 becomes U+FFFD. It takes no
// more than twice the room of b.
func utf7(b []byte) string {
	var out strings.Builder
	out.Grow(len(b))
	for len(b) > 0 {
		c := b[0]
		b = b[1:]
		switch {
		case c >= 0x80:
			out.WriteString("\uFFFD")
			continue
		case c != '+':
			out.WriteByte(c)
			continue
		}
		n := 0
		for n < len(b) && base64Octet(b[n]) {
			n++
		}
		shifted := b[:n]
		b = b[n:]
		ended := len(b) > 0 && b[0] == '-'
		if ended {
			b = b[1:]
		}
		if n == 0 {
			if !ended { // a plus that begins nothing
				out.WriteString("\uFFFD")
				continue
			}
			out.WriteByte('+')
			continue
		}
		utf7Shifted(&out, shifted)
	}
	return out.String()
}

func base64Octet(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/'
}

// utf7Shifted writes what base64 says of UTF-16; bits over at its end are padding.
func utf7Shifted(out *strings.Builder, b []byte) {
	raw := make([]byte, base64.RawStdEncoding.DecodedLen(len(b)))
	n, err := base64.RawStdEncoding.Decode(raw, b)
	if err != nil && n == 0 || n < 2 {
		out.WriteString("\uFFFD")
		return
	}
	units := make([]uint16, 0, n/2)
	for i := 0; i+1 < n; i += 2 {
		units = append(units, uint16(raw[i])<<8|uint16(raw[i+1]))
	}
	for _, r := range utf16.Decode(units) {
		out.WriteRune(r)
	}
}
