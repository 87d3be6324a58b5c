package courier

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"github.com/litfass/litfass/smtpd/letters"
)

//go:embed pages/en.html pages/de.html
var pageFiles embed.FS

// style is all that the pages here have of it; they work without.
const style = `:root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:42rem;margin:2rem auto;padding:0 1rem}` +
	`button{font:inherit;padding:.5rem 1rem;margin:0 .5rem .5rem 0}pre{white-space:pre-wrap;overflow-wrap:anywhere;border-left:.25rem solid;padding-left:1rem}` +
	`dt{float:left;clear:left;width:6rem}dd{margin-left:6rem;overflow-wrap:anywhere}`

// pages are the texts of the few pages that mails lead to, by language.
type pages map[string]*template.Template

func newPages() pages {
	p := pages{}
	for _, lang := range letters.Languages() {
		p[lang] = template.Must(template.ParseFS(pageFiles, "pages/"+lang+".html")) // embedded, and tested
	}
	return p
}

// pageLanguage is that of the forum if there is one, else what the browser asks for.
func (c *Courier) pageLanguage(r *http.Request) string {
	lang := letters.Language(r.Header.Get("Accept-Language"), "")
	if c.frame != nil {
		lang = c.frame.Language(r)
	}
	if all := letters.Languages(); !slices.Contains(all, lang) {
		return all[0]
	}
	return lang
}

// page writes a page in the reader's language.
func (c *Courier) page(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	lang := c.pageLanguage(r)
	var b bytes.Buffer
	if err := c.pages[lang].ExecuteTemplate(&b, name, data); err != nil {
		c.cfg.Log.Error("courier: write a page", "page", name, "err", err)
		http.Error(w, "This node has a trouble of its own, try again later.", http.StatusServiceUnavailable)
		return
	}
	if c.frame != nil {
		title, body, _ := strings.Cut(strings.TrimPrefix(b.String(), "<h1>"), "</h1>") // all begin with it
		c.frame.Frame(w, r, status, title, template.HTML(body))
		return
	}
	sum := sha256.Sum256([]byte(style))
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", lang)
	h.Set("Vary", "Accept-Language, Cookie")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; form-action 'self'; frame-ancestors 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<!DOCTYPE html>\n<html lang=%q>\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>%s</title><style>%s</style></head>\n<body><main>\n%s</main></body></html>\n",
		lang, template.HTMLEscapeString(c.cfg.Domain), style, b.Bytes())
}
