package webforum

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// hint is what a careful friend would say before posting. Urgent ones are said once
// before an article is sent, the others with the preview. Some can be mended here.
type hint struct {
	Name   string
	Text   string
	Fix    bool // there is a button for it
	Urgent bool
}

// draftText is a text as the hints look at it.
type draftText struct {
	lines       []string
	quoted, own int // lines
	quotedSize  int // octets
	ownSize     int
	after       int // own lines below the last quotation
	before      int // own lines above the first
	wrote       []string
	sig         int // lines of the signature
	links       int // lines that are an address and nothing else
}

func lookAt(body string) *draftText {
	t := &draftText{lines: strings.Split(strings.TrimRight(strings.ReplaceAll(body, "\r\n", "\n"), "\n "), "\n")}
	for i, l := range t.lines {
		text := strings.TrimSpace(l)
		switch {
		case l == "-- " || l == "--" && i > 0:
			t.sig = len(t.lines) - i - 1
			return t
		case strings.HasPrefix(l, ">"):
			if t.quoted == 0 {
				t.before = t.own
			}
			t.quoted, t.quotedSize, t.after = t.quoted+1, t.quotedSize+len(l), 0
		case text == "":
		case strings.HasSuffix(text, ":") && i+1 < len(t.lines) && strings.HasPrefix(t.lines[i+1], ">"):
			t.wrote = append(t.wrote, text)
		default:
			t.own, t.ownSize, t.after = t.own+1, t.ownSize+len(text), t.after+1
			if at, n := findURL(text); n > 0 && at == 0 && n == len(text) {
				t.links++
			}
		}
	}
	return t
}

// hints looks at what was composed. parent is the text that is answered, as a
// reply begins with it; "" for a new thread.
func (v *visitor) hints(c *composed, parent string) []hint {
	t := lookAt(c.Body)
	var out []hint
	say := func(when bool, name string, fix, urgent bool) {
		if when {
			out = append(out, hint{name, v.tx.T("hint." + name), fix, urgent})
		}
	}
	over := t.quotedSize > 600 && t.quotedSize > 4*max(t.ownSize, 200)
	top := t.quoted > 0 && t.own > 0 && t.after == 0
	say(t.own == 0 && len(c.files) == 0, "empty", false, true)
	say(over, "overquote", true, true)
	say(top && t.quoted > 3, "toppost", true, true)
	if parent != "" {
		say(t.quoted == 0 && t.own > 0, "noquote", false, false)
		say(len(t.wrote) > 1, "manyparents", false, false)
		say(t.quoted > 1 && len(t.wrote) == 0, "nowrote", true, false)
		say(t.quoted > 1 && !quotesFrom(t, parent), "wrongparent", false, false)
	}
	v.subjectHints(c, parent != "", say)
	say(c.FollowupTo == "" && strings.Count(c.Groups, ",") > 1, "crosspost", false, strings.Count(c.Groups, ",") > 2)
	say(t.links > 0 && t.own == t.links, "barelink", false, false)
	say(shortLink(c.Body), "shortlink", false, false)
	say(t.sig > 4, "longsig", false, false)
	say(longWord(t), "longline", false, false)
	say(len(c.files) == 0 && mentionsFile(t, strings.Fields(v.tx.T("hint.attach.words"))), "nofile", false, true)
	return out
}

func (v *visitor) subjectHints(c *composed, reply bool, say func(bool, string, bool, bool)) {
	s := strings.TrimSpace(c.Subject)
	bare := s
	for len(bare) >= 3 && (strings.EqualFold(bare[:3], "re:") || strings.EqualFold(bare[:3], "aw:")) {
		bare = strings.TrimSpace(bare[3:])
	}
	letters := strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return -1
	}, bare)
	say(s != "" && bare == "", "onlyre", false, true)
	say(!reply && bare != s && bare != "", "newre", true, false)
	say(len(letters) > 8 && letters == strings.ToUpper(letters), "capitals", false, false)
	_, n := findURL(s)
	say(n > 0, "linksubject", false, false)
	say(utf8.RuneCountInString(s) > 120, "longsubject", false, false)
}

// quotesFrom says whether any line that is quoted stands in the parent.
func quotesFrom(t *draftText, parent string) bool {
	have := map[string]bool{}
	for l := range strings.SplitSeq(parent, "\n") {
		have[strings.Join(strings.Fields(l), " ")] = true
	}
	return slices.ContainsFunc(t.lines, func(l string) bool {
		text := strings.Join(strings.Fields(l), " ")
		return strings.HasPrefix(l, ">") && len(strings.Trim(text, "> ")) > 3 && (have[text] || strings.Contains(parent, strings.Trim(text, "> ")))
	})
}

// shorteners hide where a link leads, and end one day.
var shorteners = [...]string{"bit.ly", "t.co", "goo.gl", "tinyurl.com", "ow.ly", "is.gd", "buff.ly", "rb.gy", "cutt.ly", "t1p.de", "kurzelinks.de"}

func shortLink(s string) bool {
	for {
		at, n := findURL(s)
		if n == 0 {
			return false
		}
		_, rest, _ := strings.Cut(s[at:at+n], "://")
		host, _, _ := strings.Cut(rest, "/")
		if slices.Contains(shorteners[:], strings.ToLower(strings.TrimPrefix(host, "www."))) {
			return true
		}
		s = s[at+n:]
	}
}

// longWord says whether a line cannot be broken: articles have lines of at most
// 998 octets (RFC 5536 §2.2), so it would be torn.
func longWord(t *draftText) bool {
	for _, l := range t.lines {
		for w := range strings.FieldsSeq(l) {
			if len(w) > 900 {
				return true
			}
		}
	}
	return false
}

func mentionsFile(t *draftText, words []string) bool {
	for _, l := range t.lines {
		l = strings.ToLower(l)
		if !strings.HasPrefix(l, ">") && slices.ContainsFunc(words, func(w string) bool { return strings.Contains(l, strings.ReplaceAll(w, "_", " ")) }) {
			return true
		}
	}
	return false
}

// fix mends what a hint was about.
func (v *visitor) fix(name string, c *composed, parent string) {
	switch t := lookAt(c.Body); name {
	case "overquote":
		c.Body = shorten(t, max(600, 2*t.ownSize))
	case "toppost":
		c.Body = turn(t)
	case "nowrote":
		if first, _, ok := strings.Cut(parent, "\n"); ok {
			c.Body = first + "\n" + strings.TrimLeft(c.Body, "\n")
		}
	case "newre":
		c.Subject = subject(c.Subject)
	}
}

// shorten leaves quotations of quotations out, deepest first, then what is quoted
// beyond the first lines of each quotation, until about room octets are left.
func shorten(t *draftText, room int) string {
	lines := t.lines
	for depth := 5; depth >= 2; depth-- {
		if quotedSize(lines) <= room {
			break
		}
		lines = cutQuotes(lines, func(d, _ int) bool { return d >= depth })
	}
	for keep := 8; keep >= 2 && quotedSize(lines) > room; keep -= 3 {
		lines = cutQuotes(lines, func(d, n int) bool { return d >= 1 && n >= keep })
	}
	return strings.Join(lines, "\n") + "\n"
}

func quotedSize(lines []string) (n int) {
	for _, l := range lines {
		if strings.HasPrefix(l, ">") {
			n += len(l)
		}
	}
	return n
}

const omitted = "> […]"

// cutQuotes leaves out the quoted lines that drop names by their depth and their
// place in their quotation; a mark stays where some went.
func cutQuotes(lines []string, drop func(depth, n int) bool) []string {
	var out []string
	n := 0
	for _, l := range lines {
		if !strings.HasPrefix(l, ">") {
			n, out = 0, append(out, l)
			continue
		}
		n++
		switch {
		case l != omitted && !drop(depthOf(l), n-1):
			out = append(out, l)
		case len(out) == 0 || out[len(out)-1] != omitted:
			out = append(out, omitted)
		}
	}
	return out
}

func depthOf(l string) (n int) {
	for _, c := range l {
		switch c {
		case '>':
			n++
		case ' ':
		default:
			return n
		}
	}
	return n
}

// turn puts what was written above a quotation below it; a signature stays last.
func turn(t *draftText) string {
	end := len(t.lines)
	if t.sig > 0 {
		end -= t.sig + 1
	}
	first := slices.IndexFunc(t.lines, func(l string) bool { return strings.HasPrefix(l, ">") })
	if first > 0 && slices.Contains(t.wrote, strings.TrimSpace(t.lines[first-1])) {
		first--
	}
	if first <= 0 {
		return strings.Join(t.lines, "\n") + "\n"
	}
	own := strings.Trim(strings.Join(t.lines[:first], "\n"), "\n")
	quote := strings.Trim(strings.Join(t.lines[first:end], "\n"), "\n")
	out := quote + "\n\n" + own + "\n"
	if end < len(t.lines) {
		out += "\n" + strings.Join(t.lines[end:], "\n") + "\n"
	}
	return out
}
