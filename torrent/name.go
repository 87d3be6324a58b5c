package torrent

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of a cleaned name (spec §1.3), in octets.
const (
	nameMax      = 120
	extensionMax = 16 // an extension up to this length, its dot included, is kept when a name is cut
)

// CleanName makes of a file name as somebody wrote it one that every system can
// bear (spec §1.3). It never returns "" nor anything with a path separator; still,
// no file here is ever named by it: the store names files by their SHA-256.
func CleanName(s string) string {
	s = strings.ReplaceAll(s, `\`, "/")
	s = s[strings.LastIndexByte(s, '/')+1:]
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n <= 1 || badInName(r) {
			r = '_'
		}
		b.WriteRune(r)
		i += n
	}
	s = strings.Trim(b.String(), " .")
	if deviceName(s) {
		s = "_" + s
	}
	if s = cutName(s, nameMax); s == "" {
		return "attachment.bin"
	}
	return s
}

func badInName(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7f && r < 0xa0: // control characters
		return true
	case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0x061c: // bidirectional
		return true
	case r == 0x2028, r == 0x2029: // line and paragraph separator
		return true
	}
	return strings.ContainsRune(`/\:*?"<>|`, r)
}

// deviceName says whether Windows takes the name, with any extension, for a device.
func deviceName(s string) bool {
	base, _, _ := strings.Cut(s, ".")
	base = strings.ToLower(strings.TrimRight(base, " "))
	switch base {
	case "con", "prn", "aux", "nul", "conin$", "conout$":
		return true
	}
	rest, ok := strings.CutPrefix(base, "com")
	if !ok {
		rest, ok = strings.CutPrefix(base, "lpt")
	}
	return ok && (len(rest) == 1 && rest[0] >= '0' && rest[0] <= '9' || rest == "¹" || rest == "²" || rest == "³")
}

// splitExtension cuts the extension off, if there is one short enough.
func splitExtension(s string) (base, ext string) {
	if i := strings.LastIndexByte(s, '.'); i > 0 && len(s)-i <= extensionMax {
		return s[:i], s[i:]
	}
	return s, ""
}

// cutName shortens s to max octets at a character's border and keeps the extension.
func cutName(s string, max int) string {
	if len(s) <= max {
		return s
	}
	base, ext := splitExtension(s)
	cut := max - len(ext)
	for cut > 0 && !utf8.RuneStart(base[cut]) {
		cut--
	}
	return strings.TrimRight(base[:cut], " .") + ext
}

// uniqueName returns name, or with -2, -3, ... before its extension if taken has
// it already, and notes it there. Case does not make names different.
func uniqueName(name string, taken map[string]bool) string {
	for n := 2; taken[strings.ToLower(name)]; n++ {
		base, ext := splitExtension(name)
		suffix := "-" + strconv.Itoa(n) + ext
		try := cutName(base, nameMax-len(suffix)) + suffix
		if !taken[strings.ToLower(try)] {
			name = try
		}
	}
	taken[strings.ToLower(name)] = true
	return name
}
