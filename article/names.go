package article

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// ParseID checks a Message-ID: RFC 5536 §3.1.3 as far as all agents must agree
// on it: "<", octets 33..126 without another angle bracket and with an "@", ">";
// at most 250 octets (RFC 3977 §3.6).
func ParseID(s string) (ID, error) {
	if len(s) < 5 || s[0] != '<' || s[len(s)-1] != '>' {
		return "", bad("Message-ID", "is not of the form <left@right>")
	}
	if len(s) > 250 {
		return "", large("Message-ID", "of %d octets, the limit is 250", len(s))
	}
	at := false
	for i := 1; i < len(s)-1; i++ {
		switch c := s[i]; {
		case c <= 32 || c >= 127 || c == '<' || c == '>':
			return "", bad("Message-ID", "holds the octet %#02x", c)
		case c == '@':
			at = at || i > 1 && i < len(s)-2
		}
	}
	if !at {
		return "", bad("Message-ID", "has no @ with something on both sides")
	}
	return ID(s), nil
}

// Proper says whether an id is one that may be made today: RFC 5536 §3.1.3 to the
// letter. Servers that hold to it (INN) refuse an article with another.
func (id ID) Proper() bool {
	left, right, ok := strings.Cut(id.Bare(), "@")
	if lit, found := strings.CutPrefix(right, "["); found { // no-fold-literal
		lit, found = strings.CutSuffix(lit, "]")
		return ok && found && dotAtom(left) && !strings.ContainsAny(lit, `[\]`)
	}
	return ok && dotAtom(left) && dotAtom(right)
}

// dotAtom is RFC 5322 §3.2.3's dot-atom-text.
func dotAtom(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || strings.ContainsFunc(part, func(r rune) bool {
			return r <= ' ' || r >= 127 || strings.ContainsRune(`()<>[]:;@\,."`, r)
		}) {
			return false
		}
	}
	return true
}

// Bare returns the id without its angle brackets, as web addresses and cid: use it.
func (id ID) Bare() string { return strings.TrimSuffix(strings.TrimPrefix(string(id), "<"), ">") }

// Hash is the first half of the id's SHA-256: the key under which indexes file it.
func (id ID) Hash() [16]byte {
	sum := sha256.Sum256([]byte(id))
	return [16]byte(sum[:16])
}

// ParseGroup checks a newsgroup name: RFC 5536 §3.1.4, and, as there for names
// already in use, letters beyond ASCII in UTF-8; at most 200 octets. What cannot be
// seen (a sign that turns the direction of writing, a blank, a terminal's control
// octet) would make one group look like another.
func ParseGroup(s string) (Group, error) {
	if s == "" || len(s) > 200 {
		return "", bad("Newsgroups", "a group's name has %d octets, 1 to 200 are allowed", len(s))
	}
	part, ascii := 0, true
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '.':
			if part == 0 || i == len(s)-1 {
				return "", bad("Newsgroups", "%.80q has an empty part", s)
			}
			part = 0
			continue
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '+', c == '-', c == '_':
		case c >= utf8.RuneSelf:
			ascii = false
		default:
			return "", bad("Newsgroups", "%.80q holds the octet %#02x", s, c)
		}
		part++
	}
	if ascii {
		return Group(s), nil
	}
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsGraphic(r) || unicode.IsSpace(r) {
			return "", bad("Newsgroups", "%.80q holds %U, which cannot be seen or is no UTF-8", s, r)
		}
	}
	return Group(s), nil
}

// Reserved says whether a group must not be made: RFC 5536 §3.1.4 reserves the
// first components example, to and control, any component all or ctl, and the
// names poster and junk.
func (g Group) Reserved() bool {
	if g == "poster" || g == "junk" {
		return true
	}
	for i, part := range strings.Split(string(g), ".") {
		if part == "all" || part == "ctl" || i == 0 && (part == "example" || part == "to" || part == "control") {
			return true
		}
	}
	return false
}

// ParseGroups reads the content of Newsgroups or Followup-To (without "poster"):
// each name once, in order, at most max of them (0: the default of Limits).
// A name that is none is an error: injecting agents want that.
func ParseGroups(s string, max int) ([]Group, error) { return parseGroups(s, max, true) }

// LenientGroups is ParseGroups that passes over what is no group's name, as long
// as one is left: relaying agents file an article where they can.
func LenientGroups(s string, max int) ([]Group, error) { return parseGroups(s, max, false) }

func parseGroups(s string, max int, strict bool) ([]Group, error) {
	if max == 0 {
		max = Limits{}.orDefault().Groups
	}
	if n := strings.Count(s, ",") + 1; n > max {
		return nil, large("Newsgroups", "%d groups, the limit is %d", n, max)
	}
	var out []Group
	var why error // why the first was passed over
next:
	for part := range strings.SplitSeq(s, ",") {
		part = strings.Trim(part, " \t\r\n")
		if part == "" { // a comma at the end: seen in the wild
			continue
		}
		g, err := ParseGroup(part)
		if err != nil && strict {
			return nil, err
		} else if err != nil {
			why = cmp.Or(why, err)
			continue
		}
		for _, have := range out {
			if have == g {
				continue next
			}
		}
		out = append(out, g)
	}
	if len(out) == 0 {
		return nil, cmp.Or(why, bad("Newsgroups", "names no group"))
	}
	return out, nil
}

// ParseReferences returns the Message-IDs in s, in order, at most 1,000 of the
// last; what is no id is passed over.
func ParseReferences(s string) []ID {
	var out []ID
	for len(s) > 0 {
		i := strings.IndexByte(s, '<')
		if i < 0 {
			break
		}
		s = s[i:]
		j := strings.IndexByte(s, '>')
		if j < 0 {
			break
		}
		if id, err := ParseID(s[:j+1]); err == nil {
			out = append(out, id)
		}
		s = s[j+1:]
	}
	if len(out) > 1000 {
		out = out[len(out)-1000:]
	}
	return out
}

// PathHops splits the content of Path into its path identities, newest first:
// RFC 5536 §3.1.5. Diagnostics such as ".POSTED" and ".MISMATCH.x" keep their dot;
// the empty entry of "!!" (RFC 5537 §3.2.1: a checked hop) is left out; the
// tail-entry is the last element.
func PathHops(s string) []string {
	var out []string
	for hop := range strings.SplitSeq(s, "!") {
		if hop = strings.Trim(hop, " \t\r\n"); hop != "" {
			out = append(out, hop)
		}
	}
	return out
}

// InPath says whether host stands in the content of Path before its tail-entry;
// case does not matter (RFC 5536 §3.1.5).
func InPath(path, host string) bool {
	for hop, rest, more := strings.Cut(path, "!"); more; hop, rest, more = strings.Cut(rest, "!") {
		if strings.EqualFold(strings.Trim(hop, " \t\r\n"), host) {
			return true
		}
	}
	return false
}

// FormatDate writes a date as RFC 5536 §3.1.1 wants it, in UTC.
func FormatDate(t time.Time) string { return t.UTC().Format("Mon, 02 Jan 2006 15:04:05 +0000") }

// Check reports the first mandatory field that is missing or malformed: From,
// Date, Message-ID, Newsgroups, Path and Subject (RFC 5536 §3.1). It returns the
// groups named, read leniently, at most max (0: default).
func (a *Article) Check(max int) ([]Group, error) {
	o := &a.over
	if _, err := ParseID(string(o.ID)); err != nil {
		return nil, err
	}
	for _, f := range [...][2]string{{"From", o.From}, {"Date", o.Date}, {"Newsgroups", o.Newsgroups}} {
		if f[1] == "" {
			return nil, bad(f[0], "is missing or empty")
		}
	}
	for _, name := range [...]string{"Subject", "Path"} {
		if v, ok := a.Lookup(name); !ok || name == "Path" && v == "" {
			return nil, bad(name, "is missing or empty")
		}
	}
	return LenientGroups(o.Newsgroups, max)
}

// Stuff appends text, of CRLF lines, to dst with leading dots doubled.
func Stuff(dst, text []byte) []byte {
	for len(text) > 0 {
		if text[0] == '.' {
			dst = append(dst, '.')
		}
		i := bytes.IndexByte(text, '\n') + 1
		if i == 0 {
			i = len(text)
		}
		dst = append(dst, text[:i]...)
		text = text[i:]
	}
	return dst
}

// Unstuff undoes Stuff. It returns b itself if no line begins with a dot.
func Unstuff(b []byte) []byte {
	if len(b) > 0 && b[0] != '.' && !bytes.Contains(b, []byte("\n.")) {
		return b
	}
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		if b[0] == '.' {
			b = b[1:]
		}
		i := bytes.IndexByte(b, '\n') + 1
		if i == 0 {
			i = len(b)
		}
		out = append(out, b[:i]...)
		b = b[i:]
	}
	return out
}
