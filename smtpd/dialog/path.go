package dialog

import (
	"strconv"
	"strings"
)

// path reads FROM:<address> or TO:<address> and what stands behind it: RFC 5321 §4.1.2.
// A source route is left out (§4.1.1.3); quotes are taken off the local part. "" is the
// null sender. Blanks behind the colon, and an address without brackets, are forgiven.
func path(keyword, arg string) (address, params string, ok bool) {
	if len(arg) < len(keyword) || !strings.EqualFold(arg[:len(keyword)], keyword) {
		return "", "", false
	}
	s := strings.TrimLeft(arg[len(keyword):], " ")
	if rest, found := strings.CutPrefix(s, "<>"); found {
		return "", rest, rest == "" || rest[0] == ' '
	}
	s, bracket := strings.CutPrefix(s, "<")
	if strings.HasPrefix(s, "@") {
		_, s, ok = strings.Cut(s, ":")
		if !ok {
			return "", "", false
		}
	}
	local, s, ok := localPart(s)
	if !ok {
		return "", "", false
	}
	address = local
	if rest, found := strings.CutPrefix(s, "@"); found {
		n := strings.IndexAny(rest, " \t<>@")
		if n < 0 {
			n = len(rest)
		}
		if n == 0 {
			return "", "", false
		}
		address, s = local+"@"+rest[:n], rest[n:]
	} else if !strings.EqualFold(local, "postmaster") { // RFC 5321 §4.1.1.3
		return "", "", false
	}
	if bracket {
		if s, ok = strings.CutPrefix(s, ">"); !ok {
			return "", "", false
		}
	}
	return address, s, s == "" || s[0] == ' '
}

// localPart reads what stands before the "@", without its quotes.
func localPart(s string) (local, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		n := strings.IndexAny(s, "@()<>[]:;\\,\" \t")
		if n < 0 {
			n = len(s)
		}
		return s[:n], s[n:], n > 0
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], b.Len() > 0
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}

// parameters reads KEYWORD or KEYWORD=VALUE, each once: RFC 5321 §4.1.1.11.
func parameters(s string) (map[string]string, bool) {
	all := map[string]string{}
	for _, f := range strings.Fields(s) {
		name, value, _ := strings.Cut(f, "=")
		name = strings.ToUpper(name)
		if _, twice := all[name]; twice || name == "" {
			return nil, false
		}
		all[name] = value
	}
	return all, true
}

// chunkSize reads the argument of BDAT.
func chunkSize(arg string) (size int64, last, ok bool) {
	words := strings.Fields(arg)
	switch len(words) {
	case 2:
		if !strings.EqualFold(words[1], "LAST") {
			return 0, false, false
		}
		last = true
	case 1:
	default:
		return 0, false, false
	}
	n, err := strconv.ParseUint(words[0], 10, 40)
	return int64(n), last, err == nil
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 128 {
			return false
		}
	}
	return true
}
