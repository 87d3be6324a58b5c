package content

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
)

// ToUTF8 decodes b as charset says, and better than it says where it is known to
// lie: UTF-8 that is labelled Latin-1, Windows-1252 that is labelled ASCII or
// UTF-8. An unknown charset is guessed. The result is valid UTF-8.
func ToUTF8(charset string, b []byte) string {
	label := strings.ToLower(strings.Trim(charset, " \t\"'"))
	if ascii(b) {
		if bytes.IndexByte(b, 0x1b) < 0 && !sevenBit(label) {
			return string(b)
		}
	}
	switch label {
	case "", "us-ascii", "ascii", "utf-8", "utf8", "unknown-8bit", "x-unknown", "x-user-defined", "default", "8bit", "ansi_x3.4-1968", "iso-8859-1", "latin1", "iso8859-1", "windows-1252", "cp1252", "utf_8", "cp65001", "windows-65001", "utf-8-sig", "utf8mb4":
		if bytes.Contains(b, []byte("\x1b$")) {
			return decode(japanese.ISO2022JP, b)
		}
		if utf8.Valid(b) {
			return string(b)
		}
		if strings.HasPrefix(label, "utf") && mostlyUTF8(b) {
			return string(bytes.ToValidUTF8(b, []byte("\uFFFD")))
		}
		return decode(charmap.Windows1252, b)
	case "utf-7", "utf_7", "utf7", "unicode-1-1-utf-7", "unicode-2-0-utf-7", "x-unicode-1-1-utf-7", "x-unicode-2-0-utf-7":
		return utf7(b)
	case "hz-gb-2312", "hz": // which browsers do not read any more
		return decode(simplifiedchinese.HZGB2312, b)
	case "iso-2022-kr", "csiso2022kr", "iso2022-kr", "iso2022kr", "iso2022_kr", "iso_2022_kr":
		return decode(korean.EUCKR, eucOfISO2022KR(b))
	}
	enc := named(label)
	switch name, err := htmlindex.Name(enc); {
	case enc == nil:
		return ToUTF8("", b)
	case err == nil && strings.HasPrefix(name, "iso-8859-"):
		return decodeISO(enc, b)
	}
	return decode(enc, b)
}

// eucOfISO2022KR sets the eighth bit of what stands between SO and SI, or the end of the
// line, and leaves out these and the sign that says so: RFC 1557.
func eucOfISO2022KR(b []byte) []byte {
	out := make([]byte, 0, len(b))
	korean := byte(0)
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == 0x1b && bytes.HasPrefix(b[i:], []byte("\x1b$)C")):
			i += 3
		case c == 0x0e:
			korean = 0x80
		case c == 0x0f:
			korean = 0
		case c == '\n' || c == '\r':
			korean = 0
			out = append(out, c)
		case c > ' ':
			out = append(out, c|korean)
		default:
			out = append(out, c)
		}
	}
	return out
}

// sevenBit says whether a charset writes other than ASCII with octets below 128.
func sevenBit(label string) bool {
	return strings.HasPrefix(strings.TrimPrefix(label, "x-"), "u") && strings.HasSuffix(label, "7") || strings.HasPrefix(label, "iso-2022") || strings.HasPrefix(label, "iso2022") || strings.HasPrefix(label, "iso_2022") || strings.HasPrefix(label, "hz") || strings.HasPrefix(label, "utf-16") || strings.HasPrefix(label, "utf-32") || strings.HasPrefix(label, "ucs-2")
}

func ascii(b []byte) bool {
	for ; len(b) >= 8; b = b[8:] {
		if binary.LittleEndian.Uint64(b)&0x8080808080808080 != 0 {
			return false
		}
	}
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// mostlyUTF8 says whether more of the octets over 127 are part of good sequences
// than are not: a cut text rather than another charset.
func mostlyUTF8(b []byte) bool {
	good, wrong := 0, 0
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			wrong++
		} else if n > 1 {
			good++
		}
		b = b[n:]
	}
	return good > wrong
}

func decode(enc encoding.Encoding, b []byte) string {
	out, err := enc.NewDecoder().Bytes(b)
	if err != nil {
		return string(bytes.ToValidUTF8(b, []byte("\uFFFD")))
	}
	return string(bytes.ToValidUTF8(out, []byte("\uFFFD")))
}

// decodeISO decodes a charset of ISO 8859. 0x80 to 0x9F are controls in it that nobody
// sends: they are the quotes and dashes of Windows, which its code pages have in common.
func decodeISO(enc encoding.Encoding, b []byte) string {
	windows := func(c byte) bool { return c >= 0x80 && c <= 0x9f }
	var out strings.Builder
	for len(b) > 0 {
		n, of := 1, enc
		for n < len(b) && windows(b[n]) == windows(b[0]) {
			n++
		}
		if windows(b[0]) {
			of = charmap.Windows1252
		}
		out.WriteString(decode(of, b[:n]))
		b = b[n:]
	}
	return out.String()
}

// clean takes control characters out, except LF and TAB; CRLF and CR become LF.
// s is valid UTF-8.
func clean(s string) string { return string(cleanBytes([]byte(s))) }

// cleanBytes is clean in place.
func cleanBytes(s []byte) []byte {
	out := s[:0]
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= ' ' && c != 0x7f && c != 0xc2, c == '\n', c == '\t':
			out = append(out, c)
		case c == '\r':
			if i+1 == len(s) || s[i+1] != '\n' {
				out = append(out, '\n')
			}
		case c == 0xc2: // U+0080 to U+009F are controls as well
			if i+1 < len(s) && s[i+1] >= 0xa0 {
				out = append(out, c)
			} else {
				i++
			}
		}
	}
	return out
}
