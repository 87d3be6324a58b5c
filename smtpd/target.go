package smtpd

import (
	"strings"

	"github.com/litfass/litfass/article"
)

// Kind is what a recipient's address asks for.
type Kind uint8

// The kinds of recipients.
const (
	ToGroup Kind = iota + 1 // post to Group
	ToSubscribe
	ToUnsubscribe
	ToHelp
	ToPostmaster
	ToToken // a one-time address: Verb and Token
)

// Target is a recipient of ours, taken apart.
type Target struct {
	Kind  Kind
	Group article.Group
	Verb  string // confirm, approve, reject, leave, bounce
	Token string
	Mode  string // of ToSubscribe: digest, or "" for each article
}

var verbs = []string{"confirm", "approve", "reject", "leave", "bounce"}

// suffixes are what may stand behind a group's name: our words, and what users of other
// lists and RFC 2142 §6 expect.
var suffixes = map[string]Target{
	"-subscribe": {Kind: ToSubscribe}, "-join": {Kind: ToSubscribe}, "-subscribe-digest": {Kind: ToSubscribe, Mode: "digest"},
	"-unsubscribe": {Kind: ToUnsubscribe}, "-leave": {Kind: ToUnsubscribe},
	"-help": {Kind: ToHelp}, "-request": {Kind: ToHelp}, "-owner": {Kind: ToPostmaster},
}

// parseTarget takes a local part apart. known says which groups there are; a
// group's name wins over a suffix. Names are tried as written, then in lower case.
func parseTarget(local string, known func(article.Group) bool) (Target, bool) {
	if len(local) > 200 || local == "" {
		return Target{}, false
	}
	if strings.EqualFold(local, "postmaster") || strings.EqualFold(local, "abuse") || strings.EqualFold(local, "mailer-daemon") { // RFC 2142
		return Target{Kind: ToPostmaster}, true
	}
	if verb, token, ok := strings.Cut(local, "+"); ok {
		for _, v := range verbs {
			if strings.EqualFold(verb, v) && token != "" {
				return Target{Kind: ToToken, Verb: v, Token: strings.ToLower(token)}, true
			}
		}
	}
	find := func(name string) (article.Group, bool) {
		for _, n := range [...]string{name, strings.ToLower(name)} {
			if g, err := article.ParseGroup(n); err == nil && known(g) {
				return g, true
			}
		}
		return "", false
	}
	if g, ok := find(local); ok {
		return Target{Kind: ToGroup, Group: g}, true
	}
	for suffix, t := range suffixes {
		if n := len(local) - len(suffix); n > 0 && strings.EqualFold(local[n:], suffix) {
			if g, ok := find(local[:n]); ok {
				t.Group = g
				return t, true
			}
		}
	}
	return Target{}, false
}

// splitAddress cuts an address at its last "@"; the domain in lower case.
func splitAddress(addr string) (local, domain string, ok bool) {
	i := strings.LastIndexByte(addr, '@')
	if i <= 0 || i == len(addr)-1 || len(addr) > 320 || strings.ContainsAny(addr, "\r\n\x00 <>") {
		return "", "", false
	}
	return addr[:i], strings.ToLower(strings.TrimSuffix(addr[i+1:], ".")), true
}
