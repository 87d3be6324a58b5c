package webforum

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/spool"
)

//go:embed templates
var templateFiles embed.FS

//go:embed static
var staticFiles embed.FS

type asset struct {
	typ        string
	body, gzip []byte
}

// pageError is an error that has a page of its own.
type pageError struct {
	status int
	key    string
	text   string
}

func (e *pageError) Error() string { return fmt.Sprintf("%d: %s%s", e.status, e.key, e.text) }

func errPage(status int, key string) error { return &pageError{status: status, key: key} }

// page is what a handler returns: the name of a template and what it shows.
type page struct {
	*visitor
	Name    string // of the template
	Title   string
	Status  int // 0: 200
	Group   string
	Crumbs  []crumb
	Data    any
	Live    string // what the page wants to hear of: "g=GROUP" or "t=ROOT"
	NoIndex bool
	Notice  string

	seq spool.Seq // of live pages: what came later is news; 0: what is here when it is sent
}

type crumb struct{ Text, Href string }

// handler makes a page; nil means that the answer was written already.
type handler func(v *visitor) (*page, error)

func (f *Forum) serve(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := f.visitor(w, r)
		if err != nil {
			f.Log.Error("forum: visitor", "error", err)
			w.Header().Set("Retry-After", "30")
			http.Error(w, "503: this node cannot answer now; try again in half a minute.", http.StatusServiceUnavailable)
			return
		}
		p, err := h(v)
		if err != nil {
			p = v.errorPage(err)
		}
		if p != nil {
			v.render(p)
		}
	})
}

// errorPage says what went wrong in the visitor's words; the log has the rest.
func (v *visitor) errorPage(err error) *page {
	status, text := http.StatusServiceUnavailable, v.tx.T("error.busy")
	var pe *pageError
	var ref *agent.Refusal
	switch {
	case errors.As(err, &pe):
		status, text = pe.status, pe.text
		if pe.key != "" {
			text = v.tx.T(pe.key)
		}
	case errors.As(err, &ref):
		status, text = statusOf(ref), v.refusal(ref)
	case v.ctx.Err() != nil: // the visitor is gone
	default:
		v.Log.Error("forum", "path", v.r.URL.Path, "error", err)
	}
	if status == http.StatusServiceUnavailable {
		v.w.Header().Set("Retry-After", "30")
	}
	return &page{visitor: v, Name: "error", Title: v.errorTitle(status), Status: status, Data: errorData{text, v.waysOut(status)}, NoIndex: true}
}

// errorData is what an error page shows: what is wrong, and where to go from there.
type errorData struct {
	Text string
	Next []crumb // the first is what most will want
}

func (v *visitor) errorTitle(status int) string {
	if code := strconv.Itoa(status); v.tx.has("error.title." + code) {
		return v.tx.T("error.title." + code)
	}
	return v.tx.T("error.title")
}

// waysOut are the links of an error page.
func (v *visitor) waysOut(status int) (out []crumb) {
	path, get := v.r.URL.Path, v.r.Method == http.MethodGet
	switch {
	case v.account == nil && v.Accounts != nil && (status == http.StatusUnauthorized || status == http.StatusForbidden):
		next := "/"
		if get {
			next = v.r.URL.RequestURI()
		}
		out = append(out, crumb{v.tx.T("login"), "/login?" + url.Values{"next": {next}}.Encode()})
	case get && (status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable):
		out = append(out, crumb{v.tx.T("error.again"), v.r.URL.RequestURI()})
	case status == http.StatusGone && v.Ward != nil:
		out = append(out, crumb{v.tx.T("log.title"), "/log"})
	}
	if rest, ok := strings.CutPrefix(path, "/g/"); ok {
		name, _, more := strings.Cut(rest, "/")
		if g, err := v.group(name); more && err == nil {
			out = append(out, crumb{v.tx.T("back.to", name), groupPath(g.Name)})
		}
	}
	if strings.HasPrefix(path, "/admin/") && v.account != nil && v.account.Admin {
		out = append(out, crumb{v.tx.T("admin"), "/admin"})
	}
	return append(out, crumb{v.tx.T("error.back"), "/"})
}

// statusOf translates a refusal; refusal puts it in words.
func statusOf(r *agent.Refusal) int {
	switch r.Reason {
	case agent.Duplicate:
		return http.StatusConflict
	case agent.Malformed:
		return http.StatusUnprocessableEntity
	case agent.Unwanted, agent.Unproven, agent.Denied:
		return http.StatusForbidden
	case agent.Login:
		return http.StatusUnauthorized
	case agent.TooLarge:
		return http.StatusRequestEntityTooLarge
	case agent.Absent:
		return http.StatusNotFound
	}
	return http.StatusServiceUnavailable
}

func (v *visitor) refusal(r *agent.Refusal) string {
	if v.tx.has("refusal." + r.Code) {
		return v.tx.T("refusal." + r.Code)
	}
	switch r.Reason {
	case agent.Login:
		return v.tx.T("refusal.login")
	case agent.TooLarge:
		return v.tx.T("refusal.large") + " " + r.Text
	case agent.Busy:
		return v.tx.T("error.busy")
	}
	return v.tx.T("refusal.other") + " " + r.Text
}

// buffers keeps page buffers between requests.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

var zippers = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, 5) // 3 makes 14 % more of it
	return z
}}

func (v *visitor) render(p *page) {
	if p.Status == 0 {
		p.Status = http.StatusOK
	}
	buf := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(buf)
	buf.Reset()
	t, err := v.tx.page(p.Name)
	if err == nil {
		err = t.Execute(buf, p)
	}
	if err != nil {
		v.Log.Error("forum: template", "name", p.Name, "error", err)
		http.Error(v.w, "500: this page cannot be shown; the operator finds the reason in the log.", http.StatusInternalServerError)
		return
	}
	h := v.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", v.tx.lang)
	h["Vary"] = headVary
	if h.Get("Cache-Control") == "" {
		h["Cache-Control"] = headAlways
	}
	if v.fleeting {
		h.Del("ETag")
	}
	if p.NoIndex || v.r.URL.RawQuery != "" {
		h.Set("X-Robots-Tag", "noindex")
	}
	v.write(p.Status, buf.Bytes())
}

// write sends octets, compressed where the client takes it and it pays.
func (v *visitor) write(status int, b []byte) {
	h := v.w.Header()
	if len(b) > 600 && strings.Contains(v.r.Header.Get("Accept-Encoding"), "gzip") {
		out := buffers.Get().(*bytes.Buffer)
		defer buffers.Put(out)
		out.Reset()
		z := zippers.Get().(*gzip.Writer)
		defer zippers.Put(z)
		z.Reset(out)
		_, err := z.Write(b)
		if err = errors.Join(err, z.Close()); err == nil {
			h.Set("Content-Encoding", "gzip")
			b = out.Bytes()
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(b)))
	v.w.WriteHeader(status)
	if v.r.Method != http.MethodHead {
		_, _ = v.w.Write(b) // the client may be gone: nothing to do about it
	}
}

// unchanged answers 304 if the visitor has the page as marks describe it: whatever
// a page depends on must be among them. It adds who looks, and how, and what the
// node knows of keys by now.
func (v *visitor) unchanged(marks ...any) bool {
	tag := v.tag(marks)
	h := v.w.Header()
	h["Etag"] = []string{tag}
	if v.r.Header.Get("If-None-Match") != tag {
		return false
	}
	for _, g := range &guards { // the browser keeps those that came with the page (RFC 9110 §15.4.5)
		delete(h, g.name)
	}
	h["Cache-Control"], h["Vary"] = headAlways, headVary
	v.w.WriteHeader(http.StatusNotModified)
	return true
}

// Values of header fields that most answers have. Shared: nobody may append to them.
var (
	headAlways = []string{"private, no-cache"}
	headVary   = []string{"Accept-Encoding, Accept-Language, Cookie"}
)

// tag is the entity tag of a page.
func (v *visitor) tag(marks []any) string {
	b := make([]byte, 0, 1024)
	for _, s := range [...]string{v.css, v.js, guards[0].value[0], v.tx.lang, v.r.URL.Path, v.r.URL.RawQuery, v.marks.raw, v.guestSecret(),
		v.prefs.Lang, v.prefs.Theme, v.prefs.View, v.prefs.Order, v.prefs.Name, v.prefs.Email} {
		b = append(append(b, s...), 0)
	}
	b = strconv.AppendInt(b, int64(v.now.In(v.Zone).YearDay()), 10)
	if v.account != nil {
		b = fmt.Appendln(b, v.account.Name, v.account.Admin, v.Waiting(), v.Watched())
		if v.Shelf != nil {
			b = fmt.Appendln(b, v.Shelf.Stamp(v.account.Name))
		}
	}
	b = strconv.AppendUint(append(b, ' '), v.wardStamp(), 10)
	if v.TrustStamp != nil {
		b = strconv.AppendUint(append(b, ' '), v.TrustStamp(), 10)
	}
	sum := sha256.Sum256(fmt.Appendln(b, marks...))
	return `W/"` + hex.EncodeToString(sum[:12]) + `"`
}

func (v *visitor) redirect(to string) {
	v.w.Header().Set("Cache-Control", "no-store")
	http.Redirect(v.w, v.r, to, http.StatusSeeOther)
}

// pair hands two things to a template.
type pair struct{ A, B any }

func pairOf(a, b any) pair { return pair{a, b} }

// dots lets a group's name be broken after its dots.
func dots(s string) template.HTML {
	return template.HTML(strings.ReplaceAll(template.HTMLEscapeString(s), ".", ".<wbr>"))
}

// magnet lets magnet links through, which html/template takes for unsafe.
func magnet(s string) template.URL {
	if !strings.HasPrefix(s, "magnet:?") {
		return ""
	}
	return template.URL(s)
}

func (f *Forum) loadAssets() error {
	f.static = map[string]asset{}
	for name, typ := range map[string]string{"forum.css": "text/css; charset=utf-8", "forum.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"} {
		b, err := staticFiles.ReadFile("static/" + name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		key := hex.EncodeToString(sum[:8]) + path.Ext(name)
		var z bytes.Buffer
		w, err := gzip.NewWriterLevel(&z, 9)
		if err != nil {
			return err
		}
		if _, err = w.Write(b); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		f.static[key] = asset{typ, b, z.Bytes()}
		switch name {
		case "forum.css":
			f.css = "/-/" + key
		case "forum.js":
			f.js = "/-/" + key
		case "icon.svg":
			f.static["icon.svg"] = f.static[key]
		}
	}
	return nil
}

func (f *Forum) asset(w http.ResponseWriter, r *http.Request) {
	a, ok := f.static[r.PathValue("file")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", a.typ)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	b := a.body
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		b = a.gzip
	}
	h.Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b)
}

// CSS, JS and T are for templates.
func (p *page) CSS() string                      { return p.css }
func (p *page) JS() string                       { return p.js }
func (p *page) T(key string, args ...any) string { return p.tx.T(key, args...) }
func (p *page) N(key string, n int) string       { return p.tx.N(key, n) }
func (p *page) Lang() string                     { return p.tx.lang }
func (p *page) Theme() string                    { return p.prefs.Theme }
func (p *page) Account() *Account                { return p.account }
func (p *page) Host() string                     { return p.Forum.Host }
func (p *page) CanSearch() bool                  { return p.Forum.Search != nil && p.Name != "search" } // that page has its own
func (p *page) CanLogin() bool                   { return p.Forum.Accounts != nil }
func (p *page) Path() string                     { return p.r.URL.RequestURI() }
func (p *page) Query() string                    { return p.r.URL.Query().Get("q") }

// PostChoices are who may post to a group.
func (p *page) PostChoices() (out [][2]string) {
	for _, c := range [...]string{"open", "signed", "none"} {
		out = append(out, [2]string{c, p.tx.T("group.post." + c)})
	}
	return out
}

// IsAdmin and HasLog say what the frame links to.
func (p *page) IsAdmin() bool    { return p.account != nil && p.account.Admin && p.Forum.Admin != nil }
func (p *page) HasShelf() bool   { return p.Shelf != nil }
func (p *page) HasLog() bool     { return p.Ward != nil }
func (p *page) HasNotices() bool { return p.Notices != nil }

func (p *page) ChosenLang() string { return p.prefs.Lang }
func (p *page) View() string       { return p.view() }
func (p *page) Order() string      { return p.prefs.Order }
