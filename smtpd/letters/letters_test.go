package letters

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// TestLetters: each letter is there in each language and in all at once, nothing is left
// open in it, and its lines fit into 79 columns as long as names do.
func TestLetters(t *testing.T) {
	l := New()
	full := Facts{Domain: "mesh.example", Group: "mesh.talk", About: "This and that", Posting: true, Subject: "Hello", From: "Ann <a@b.example>",
		Octets: 700, Reason: "spam", Account: "ann", Address: "ann@people.example", Mode: "digest", URL: "https://mesh.example", Link: "https://mesh.example/x",
		Yes: "approve+x@mesh.example", No: "reject+x@mesh.example", Number: 2, Days: 3, Text: "below\n"}
	for _, tmpl := range l.texts["en"].Templates() {
		name := tmpl.Name()
		if strings.HasSuffix(name, ".tmpl") {
			continue
		}
		for _, f := range []Facts{full, {Group: "g", Domain: "d", From: "f", Subject: "s", Yes: "y", No: "n", Reason: "r", Mode: "all", Address: "a", Account: "c", Number: 1}} {
			subject, body, err := l.Write("", name, f)
			if err != nil {
				t.Fatal(err)
			}
			var subjects []string
			for _, lang := range Languages() {
				s, b, err := l.Write(lang, name, f)
				if err != nil || s == "" {
					t.Fatalf("%s in %s: %q, %v", name, lang, s, err)
				}
				subjects = append(subjects, s)
				if !strings.Contains(body, strings.TrimSuffix(b, "\n"+f.Text)) {
					t.Errorf("%s: both languages do not hold what %s says", name, lang)
				}
			}
			if subject != strings.Join(subjects, " / ") || f.Text != "" && strings.Count(body, f.Text) != 1 {
				t.Errorf("%s: %q\n%s", name, subject, body)
			}
			for line := range strings.Lines(body) {
				if utf8.RuneCountInString(line) > 80 || strings.HasSuffix(line, " \n") || strings.Contains(body, "\n\n\n") {
					t.Errorf("%s: %q in\n%s", name, line, body)
				}
			}
		}
	}
	if _, _, err := l.Write("en", "nothing", full); err == nil {
		t.Error("a letter that there is not was written")
	}
}

func TestLanguage(t *testing.T) {
	for _, c := range [][3]string{{"de-DE", "en-US", "de"}, {"", "en-US", "en"}, {"fr, de;q=0.5", "", "de"}, {"fr", "", ""}, {"", "", ""}} {
		if got := Language(c[0], c[1]); got != c[2] {
			t.Errorf("%q: %q", c, got)
		}
	}
}
