package syndicate

import (
	"bytes"
	"mime"
	"regexp"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
)

var (
	xmlDecl  = regexp.MustCompile(`^\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._:-]{1,40})["'][^>]*\?>`)
	anyDecl  = regexp.MustCompile(`^\s*<\?xml[^>]{0,400}\?>`)
	utf32be  = utf32.UTF32(utf32.BigEndian, utf32.UseBOM)
	utf32le  = utf32.UTF32(utf32.LittleEndian, utf32.UseBOM)
	utf16any = unicode.UTF16(unicode.BigEndian, unicode.UseBOM)
)

// toUTF8 decodes a document. Octets that look like UTF-8 are believed to be it,
// whatever the label says; else the byte order mark, the label of HTTP, that of
// the XML declaration count, in this order, and windows-1252 last. Octets that
// fit nowhere become U+FFFD; control characters, which XML forbids, go. An XML
// declaration is taken away: it would now be wrong.
func toUTF8(b []byte, contentType string) []byte {
	b = transcode(b, contentType)
	if !utf8.Valid(b) {
		b = bytes.ToValidUTF8(b, []byte("\uFFFD"))
	}
	b = bytes.TrimPrefix(b, []byte("\uFEFF"))
	b = dropControls(b)
	if loc := anyDecl.FindIndex(b); loc != nil {
		b = b[loc[1]:]
	}
	return b
}

func transcode(b []byte, contentType string) []byte {
	if enc := wide(b); enc != nil {
		return decodeWith(enc, b)
	}
	label := ""
	if m := xmlDecl.FindSubmatch(b[:min(len(b), 512)]); m != nil {
		label = string(m[1])
	}
	if _, params, err := mime.ParseMediaType(contentType); err == nil && params["charset"] != "" {
		if enc, _ := charset.Lookup(params["charset"]); enc != nil {
			label = params["charset"]
		}
	}
	enc, name := charset.Lookup(label)
	if escapes := name == "iso-2022-jp" || name == "hz-gb-2312" || name == "utf-7"; !escapes && utf8.Valid(b) {
		return b
	}
	if enc == nil || name == "utf-8" {
		if mostlyUTF8(b) {
			return b
		}
		enc, _ = charset.Lookup("windows-1252")
	}
	return decodeWith(enc, b)
}

// wide recognises UTF-32 and UTF-16 by mark or by the NULs around the first "<".
func wide(b []byte) encoding.Encoding {
	has := func(p string) bool { return bytes.HasPrefix(b, []byte(p)) }
	switch {
	case has("\x00\x00\xfe\xff"), has("\x00\x00\x00<"):
		return utf32be
	case has("\xff\xfe\x00\x00"), has("<\x00\x00\x00"):
		return utf32le
	case has("\xfe\xff"), has("\xff\xfe"):
		return utf16any
	case has("\x00<"):
		return unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)
	case has("<\x00"):
		return unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)
	}
	return nil
}

// mostlyUTF8: a few broken octets in what else is UTF-8 do not make it latin-1.
func mostlyUTF8(b []byte) bool {
	good, broken := 0, 0
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n == 1:
			broken++
		case n > 1:
			good++
		}
		b = b[n:]
	}
	return good > 4*broken
}

func decodeWith(enc encoding.Encoding, b []byte) []byte {
	out, err := enc.NewDecoder().Bytes(b)
	if err != nil {
		return b
	}
	return out
}

func dropControls(b []byte) []byte {
	bad := func(c byte) bool { return c < 32 && c != '\t' && c != '\n' && c != '\r' }
	i := 0
	for i < len(b) && !bad(b[i]) {
		i++
	}
	if i == len(b) {
		return b
	}
	out := append([]byte(nil), b[:i]...)
	for _, c := range b[i:] {
		if !bad(c) {
			out = append(out, c)
		}
	}
	return out
}
