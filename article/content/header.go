package content

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Header makes the content of a header field readable: encoded words (RFC 2047)
// and raw octets of 8 bits become UTF-8, line ends and controls blanks. Writing
// direction marks are taken out, so that no name turns the line around it.
func Header(s string) string {
	plain := true
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '=' && i+1 < len(s) && s[i+1] == '?' {
			plain = false
			break
		}
	}
	if plain {
		return s
	}
	if !utf8.ValidString(s) || strings.Contains(s, "\x1b$") {
		s = ToUTF8("", []byte(s))
	}
	return strings.Map(harmless, words(s))
}

func harmless(r rune) rune {
	switch {
	case r == '\t' || r == '\n' || r == '\r':
		return ' '
	case r < ' ' || r >= 0x7f && r < 0xa0, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0xfeff:
		return -1
	}
	return r
}

// words decodes encoded words. Octets of neighbours in one charset are joined
// before they are decoded, since many senders cut characters in two.
func words(s string) string {
	var out strings.Builder
	var pend []byte
	var charset string
	flush := func() {
		if len(pend) > 0 {
			out.WriteString(ToUTF8(charset, pend))
			pend = pend[:0]
		}
	}
	for len(s) > 0 {
		i := strings.Index(s, "=?")
		if i < 0 {
			break
		}
		cs, data, n := word(s[i:])
		if n == 0 {
			flush()
			out.WriteString(s[:i+2])
			s = s[i+2:]
			continue
		}
		if between := s[:i]; len(pend) == 0 || strings.TrimLeft(between, " \t\r\n") != "" {
			flush()
			out.WriteString(between)
		}
		if !strings.EqualFold(cs, charset) {
			flush()
		}
		charset, pend = cs, append(pend, data...)
		s = s[i+n:]
	}
	flush()
	out.WriteString(s)
	return out.String()
}

// word reads one encoded word at the start of s and returns its length, 0 if it
// is none. Blanks in it are suffered: they are common.
func word(s string) (charset string, data []byte, n int) {
	rest := s[2:]
	cs, rest, ok := strings.Cut(rest, "?")
	if !ok || cs == "" || len(cs) > 40 || len(rest) < 3 || rest[1] != '?' {
		return "", nil, 0
	}
	kind, text := rest[0]|0x20, rest[2:]
	end := strings.Index(text, "?=")
	if end < 0 {
		return "", nil, 0
	}
	n = len(s) - len(text) + end + 2
	text = text[:end]
	cs, _, _ = strings.Cut(cs, "*") // RFC 2231 §5: a language may follow
	switch kind {
	case 'b':
		return cs, unbase64([]byte(text)), n
	case 'q':
		out := make([]byte, 0, len(text))
		for i := 0; i < len(text); i++ {
			switch c := text[i]; {
			case c == '_':
				out = append(out, ' ')
			case c == '=' && i+2 < len(text):
				if v, err := strconv.ParseUint(text[i+1:i+3], 16, 8); err == nil {
					out = append(out, byte(v))
					i += 2
					continue
				}
				out = append(out, c)
			default:
				out = append(out, c)
			}
		}
		return cs, out, n
	}
	return "", nil, 0
}

// Author splits the content of From into a name and an address, as written in
// "Name <address>", "address (Name)" or "address". The name is decoded; it falls
// back to the part of the address before the @.
func Author(from string) (name, address string) {
	from = strings.TrimSpace(from)
	if i := strings.LastIndexByte(from, '<'); i >= 0 {
		address, _, _ = strings.Cut(from[i+1:], ">")
		name = unquoteName(from[:i])
	} else if i := strings.IndexByte(from, '('); i >= 0 {
		address = from[:i]
		name = strings.TrimSpace(from[i+1:])
		name = strings.TrimSuffix(name, ")")
		name = unquoteName(name)
	} else {
		address = from
	}
	name, address = strings.TrimSpace(Header(name)), strings.TrimSpace(Header(address))
	if name == "" {
		name, _, _ = strings.Cut(address, "@")
	}
	if name == "" {
		name = "?"
	}
	return name, address
}

func unquoteName(s string) string {
	s = strings.TrimSpace(s)
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
	}
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		out = append(out, s[i])
	}
	return string(out)
}

// Encode writes a text as header content: as it is if it is printable ASCII that
// does not look like an encoded word, else as encoded words of at most 75 octets
// joined by folds (RFC 2047 §2).
func Encode(s string) string {
	s = strings.TrimSpace(strings.Map(harmless, s))
	plain := !strings.Contains(s, "=?")
	for i := 0; i < len(s) && plain; i++ {
		plain = s[i] < 0x7f
	}
	if plain && len(s) < 900 {
		return s
	}
	var out []string
	for len(s) > 0 {
		n := 0
		for n < len(s) {
			_, k := utf8.DecodeRuneInString(s[n:])
			if n+k > 45 { // 60 octets of base64
				break
			}
			n += k
		}
		out = append(out, "=?UTF-8?B?"+base64.StdEncoding.EncodeToString([]byte(s[:n]))+"?=")
		s = s[n:]
	}
	return strings.Join(out, "\r\n ")
}

// Address writes a name and an address for From: RFC 5322 §3.4.
func Address(name, address string) string {
	name = strings.TrimSpace(strings.Map(harmless, name))
	if name == "" {
		return address
	}
	for _, r := range name {
		if r >= 0x7f {
			return Encode(name) + " <" + address + ">"
		}
	}
	if strings.ContainsAny(name, `()<>[]:;@\,."`) || strings.Contains(name, "=?") {
		name = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
	}
	return name + " <" + address + ">"
}

// CleanName makes a file name that the net sent harmless for showing and saving,
// by the rules of torrents' names: no path, no control or direction marks, at most
// 120 octets with the extension kept, no device name.
func CleanName(s string) string {
	s = strings.ReplaceAll(s, `\`, "/")
	s = s[strings.LastIndexByte(s, '/')+1:]
	s = strings.ToValidUTF8(s, "_")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || strings.ContainsRune(`/\:*?"<>|`, r) || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x200e || r == 0x200f || r == 0x061c {
			return '_'
		}
		return r
	}, s)
	s = strings.Trim(s, " .")
	if len(s) > 120 {
		ext := ""
		if i := strings.LastIndexByte(s, '.'); i > 0 && len(s)-i <= 17 {
			ext = s[i:]
		}
		s = strings.ToValidUTF8(s[:120-len(ext)], "")
		s += ext
	}
	stem, _, _ := strings.Cut(strings.ToUpper(s), ".")
	switch stem {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		s = "_" + s
	default:
		if len(stem) == 4 && (strings.HasPrefix(stem, "COM") || strings.HasPrefix(stem, "LPT")) && stem[3] >= '1' && stem[3] <= '9' {
			s = "_" + s
		}
	}
	if s == "" {
		return "attachment.bin"
	}
	return s
}
