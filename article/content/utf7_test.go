package content

import (
	"encoding/base64"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"
)

// TestUTF7: the examples of RFC 2152, and what is none.
func TestUTF7(t *testing.T) {
	for in, want := range map[string]string{
		"A+ImIDkQ.":         "A\u2262\u0391.",
		"Hi Mom -+Jjo--!":   "Hi Mom -\u263a-!",
		"+ZeVnLIqe-":        "日本語",
		"Item 3 is +AKM-1.": "Item 3 is £1.",
		"1 +- 1":            "1 + 1",
		"+2D3eAA-":          "\U0001F600",
		"+2D0-x":            "\uFFFDx", // half a pair
		"a+":                "a\uFFFD",
		"a+ b":              "a\uFFFD b",
		"+A":                "\uFFFD",
		"gr\xfc":            "gr\uFFFD",
	} {
		if got := ToUTF8("UTF-7", []byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := Header("=?utf-7?Q?Gr+APwA3w-e?="); got != "Grüße" {
		t.Errorf("in a header: %q", got)
	}
}

// FuzzUTF7: what comes out is UTF-8 and not much larger; what was encoded is read back.
func FuzzUTF7(f *testing.F) {
	for _, s := range []string{"", "+", "+-", "a+AKM-b", "+ZeVnLIqe", "ß+x", "+////-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if out := utf7([]byte(s)); !utf8.ValidString(out) || len(out) > 3*len(s) {
			t.Errorf("%q becomes %q", s, out)
		}
		if !utf8.ValidString(s) {
			return
		}
		var coded strings.Builder
		for _, r := range s {
			var raw []byte
			for _, u := range utf16.Encode([]rune{r}) {
				raw = append(raw, byte(u>>8), byte(u))
			}
			coded.WriteString("+" + base64.RawStdEncoding.EncodeToString(raw) + "-")
		}
		if got := utf7([]byte(coded.String())); got != s {
			t.Errorf("%q, coded as %s, is read as %q", s, coded.String(), got)
		}
	})
}
