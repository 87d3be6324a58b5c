package letters

import (
	"embed"
	"fmt"
	"strings"
	"text/template"
)

//go:embed en.tmpl de.tmpl
var files embed.FS

// Languages are those there are, the first is what a reader of another sees first.
func Languages() []string { return []string{"en", "de"} }

// Facts are what a letter may tell. Each uses some of them.
type Facts struct {
	Domain  string
	Group   string // or several, with commas
	About   string // the group's description
	Posting bool   // the group takes posts
	Subject string // of the mail or article that the letter is about
	From    string // of the same
	Octets  int    // of the same
	Reason  string
	Account string
	Address string // whom the letter goes to
	Mode    string // all, digest, replies
	URL     string // the forum's address, without a slash at the end; "": there is none
	Link    string // where a button waits
	Yes, No string // one-time addresses
	Number  int
	Text    string // stands below, once, whatever the language
	Days    int    // how long the question is open
}

// Letters are the texts in all languages.
type Letters struct{ texts map[string]*template.Template }

// New reads the texts.
func New() *Letters {
	l := &Letters{map[string]*template.Template{}}
	for _, lang := range Languages() {
		l.texts[lang] = template.Must(template.ParseFS(files, lang+".tmpl")) // embedded, and tested
	}
	return l
}

// Write returns a letter in a language, or in all of them if that is none there is.
func (l *Letters) Write(lang, name string, f Facts) (subject, body string, err error) {
	langs := []string{lang}
	if l.texts[lang] == nil {
		langs = Languages()
	}
	var subjects, bodies []string
	for _, lang := range langs {
		var out strings.Builder
		if err := l.texts[lang].ExecuteTemplate(&out, name, f); err != nil {
			return "", "", fmt.Errorf("write the letter %s: %w", name, err)
		}
		s, b, _ := strings.Cut(out.String(), "\n")
		subjects, bodies = append(subjects, strings.TrimSpace(s)), append(bodies, strings.Trim(b, "\n"))
	}
	body = strings.Join(bodies, "\n\n"+strings.Repeat("-", 40)+"\n\n") + "\n"
	if f.Text != "" {
		body += "\n" + f.Text
	}
	return strings.Join(subjects, " / "), body, nil
}

// Language is the language of ours that a mail asks its answer in, by its
// Accept-Language (RFC 4021 §2.1.37) or else its Content-Language (RFC 3282), or "".
func Language(accept, content string) string {
	for _, field := range []string{accept, content} {
		for tag := range strings.SplitSeq(field, ",") {
			tag, _, _ = strings.Cut(tag, ";")
			tag, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
			for _, l := range Languages() {
				if l == tag {
					return l
				}
			}
		}
	}
	return ""
}
