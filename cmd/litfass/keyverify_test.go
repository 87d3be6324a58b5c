package main

import (
	"strings"
	"testing"

	"github.com/litfass/litfass/pki"
)

func TestVerdictSaysItsWordOnce(t *testing.T) {
	for _, c := range []struct{ detail, want string }{
		{"signed as post by id:abc (anna)", "signed as post by id:abc (anna)"},
		{"signed as post by id:abc (none)", ""},
		{"field Verified has a fold of blanks only", ""},
		{`unknown purpose u="no-right"`, ""},
		{"nonesuch", "nonesuch"},
		{"", ""},
	} {
		if got := verdict(pki.ResultInvalid, c.detail); got.Result != "invalid" || got.Detail != c.want {
			t.Errorf("%q: %q %q", c.detail, got.Result, got.Detail)
		}
	}
}

func TestReadArticle(t *testing.T) {
	const text = "From: a@x\nSubject: x\n\nbody\n"
	for _, c := range []struct {
		name, text string
		ok         bool
	}{
		{"LF", text, true},
		{"CRLF", strings.ReplaceAll(text, "\n", "\r\n"), true},
		{"last line without end", strings.TrimSuffix(text, "\n"), true},
		{"CR alone at the end", text + "\r", false},
		{"CR alone", strings.ReplaceAll(text, "\n", "\r"), false},
		{"larger than this node takes", text + strings.Repeat("a line of some length\n", 1<<17), true},
		{"empty", " \n", false},
	} {
		if _, err := readArticle([]byte(c.text)); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
