package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"html/template"
	"net/http"
	"strings"

	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/torrent"
)

// mediaType returns a file's type by its name, and whether it is shown in place:
// pictures (SVG is none of them: it can hold script), sound, film.
func mediaType(name string) (typ string, inline bool) {
	typ = content.TypeByName(name)
	switch kind, _, _ := strings.Cut(typ, "/"); kind {
	case "":
		return "application/octet-stream", false
	case "text":
		return typ + "; charset=utf-8", false
	case "image", "audio", "video":
		return typ, true
	}
	return typ, false
}

// Type returns a file's media type by its name, without parameters.
func Type(name string) string {
	typ, _ := mediaType(name)
	typ, _, _ = strings.Cut(typ, ";")
	return typ
}

func xmlText(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // into memory
	return b.String()
}

// view is what the page and the JSON show of a torrent.
type view struct {
	Infohash string   `json:"infohash"`
	Name     string   `json:"name"`
	Folder   string   `json:"folder,omitempty"`
	State    string   `json:"state"` // known, partial, here, verified
	Size     int64    `json:"size"`
	Have     int64    `json:"have"`
	Peers    int      `json:"peers"`
	Fetching bool     `json:"fetching"`
	Magnet   string   `json:"magnet"`
	Torrent  string   `json:"torrent,omitempty"`
	Metalink string   `json:"metalink,omitempty"`
	Files    []entry  `json:"files"`
	Folders  []folder `json:"folders,omitempty"`
	MayFetch bool     `json:"-"`
}

// folder is one in it.
type folder struct {
	Path string `json:"path"`
	URL  string `json:"url"` // says what the path's octets are, where they are no UTF-8
}

// entry is a file in it.
type entry struct {
	Path   string `json:"path"`
	URL    string `json:"url"`
	Size   int64  `json:"size"`
	Type   string `json:"type"`
	SHA256 string `json:"sha256,omitempty"`
	Kind   string `json:"-"` // image, audio, video, or nothing
}

// Percent is how much is here.
func (v view) Percent() int64 {
	if v.Size == 0 {
		return 100
	}
	return v.Have * 100 / v.Size
}

// viewPage is a view and the words of its page.
type viewPage struct {
	view
	*texts
}

// Title is the torrent's name, or else its infohash.
func (v viewPage) Title() string {
	if v.Name == "" {
		return v.Infohash
	}
	return shown(v.Name)
}

// Arriving says how far a fetch is.
func (v viewPage) Arriving() string {
	switch {
	case !v.Fetching:
		return v.T("partial", v.Percent())
	case v.Peers == 1:
		return v.T("partial.one", v.Percent())
	}
	return v.T("partial.peers", v.Percent(), v.Peers)
}

// Verified says that the SHA-256 was compared with the article's.
func (v view) Verified() bool { return v.State == torrent.Verified.String() }

// listing shows a torrent, or a folder of it, as a page or as JSON. It fetches nothing.
func (h *Handler) listing(w http.ResponseWriter, r *http.Request, st torrent.Status, folder string) {
	v := h.view(st)
	v.MayFetch = h.mayFetch(r)
	in, err := h.cfg.Store.Info(st.Hash)
	switch {
	case err == nil && !in.Folder(folder):
		http.NotFound(w, r)
		return
	case err == nil:
		h.fill(&v, in, folder)
	case !errors.Is(err, torrent.ErrNotFound):
		h.absent(w, r, st.Hash, err)
		return
	case folder != "":
		h.notHere(w, st.Hash)
		return
	case st.Name != "": // its metadata is not here, but an article named its one file
		v.Files = []entry{newEntry(st.Hash, torrent.File{Path: st.Name, Length: st.Length}, "")}
	}
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Add("Vary", "Accept, Accept-Language")
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		writeJSON(w, v)
		return
	}
	var b bytes.Buffer
	if err := page.Execute(&b, viewPage{v, h.language(r.Header.Get("Accept-Language"))}); err != nil {
		h.absent(w, r, st.Hash, err)
		return
	}
	w.Header().Set("Content-Security-Policy", h.pages)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = b.WriteTo(w)
}

func (h *Handler) view(st torrent.Status) view {
	m := torrent.Magnet{Hash: st.Hash, Name: st.Name, Length: st.Length, Trackers: []string{torrent.Retracker, h.cfg.URL + "/announce"}, WebSeeds: st.WebSeeds}
	if st.Private {
		m.Trackers = st.Trackers
	}
	v := view{
		Infohash: st.Hash.String(), Name: st.Name, State: st.State.String(), Size: st.Length, Have: st.Have,
		Peers: st.Peers, Fetching: st.Fetching,
	}
	if st.Complete() {
		v.Have = st.Length
		v.Torrent, v.Metalink = "/t/"+v.Infohash+".torrent", "/t/"+v.Infohash+".meta4"
		m.Sources = []string{h.cfg.URL + v.Torrent}
		if in, err := h.cfg.Store.Info(st.Hash); err == nil && in.Single {
			m.WebSeeds = append([]string{h.cfg.URL + "/t/" + v.Infohash + "/" + torrent.EscapePath(in.Files[0].Path)}, m.WebSeeds...)
		}
	}
	v.Magnet = m.String()
	return v
}

// fill lists the files and folders directly in the folder at.
func (h *Handler) fill(v *view, in *torrent.Info, at string) {
	v.Folder = strings.TrimSuffix(at, "/")
	prefix := ""
	if v.Folder != "" {
		prefix = v.Folder + "/"
	}
	sums, _ := h.cfg.Store.Sums(in.Hash) // none while it is not here
	seen := map[string]bool{}
	for i, f := range in.Files {
		rest, ok := strings.CutPrefix(f.Path, prefix)
		if !ok || f.Pad {
			continue
		}
		if sub, _, deeper := strings.Cut(rest, "/"); deeper {
			if !seen[sub] {
				seen[sub] = true
				v.Folders = append(v.Folders, folder{Path: prefix + sub, URL: "/t/" + v.Infohash + "/" + torrent.EscapePath(prefix+sub) + "/"})
			}
			continue
		}
		sum := ""
		if i < len(sums) {
			sum = sums[i].String()
		}
		v.Files = append(v.Files, newEntry(in.Hash, f, sum))
	}
}

func newEntry(hash torrent.Infohash, f torrent.File, sum string) entry {
	typ, inline := mediaType(f.Path)
	e := entry{Path: f.Path, URL: "/t/" + hash.String() + "/" + torrent.EscapePath(f.Path), Size: f.Length, Type: typ, SHA256: sum}
	if inline {
		e.Kind, _, _ = strings.Cut(typ, "/")
	}
	return e
}

// style is all there is; pagePolicy names its hash.
const style = `:root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:45rem;margin:1rem auto;padding:0 1rem;overflow-wrap:anywhere}` +
	`h1{font-size:1.5rem}video,audio,progress{width:100%}button{font:inherit;padding:.3rem .8rem}`

const head = `<!doctype html>
<html lang="{{.Lang}}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><style>` + style + `</style>`

// formPolicy is for /magnet, a page of ours with one form.
func formPolicy() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; form-action 'self'; frame-ancestors 'none'"
}

// pagePolicy is for the pages of torrents, ours as well. No script may run there
// either, but without these permissions a browser saves no file, opens no torrent
// program and asks for sound and film without the reader's cookie.
func pagePolicy() string {
	return "sandbox allow-same-origin allow-downloads allow-top-navigation-to-custom-protocols; " + formPolicy() + "; media-src 'self'; img-src 'self'"
}

var page = template.Must(template.New("torrent").Funcs(template.FuncMap{
	"magnet": func(s string) template.URL { return template.URL(s) }, // made by this node, percent-encoded
	"shown":  shown,
}).Parse(head + `<link rel="icon" href="/-/icon.svg" type="image/svg+xml"><title>{{.Title}}</title></head>
<body>
<p><a href="/">{{.T "forum"}}</a></p>
<h1>{{.Title}}{{if .Folder}} / {{shown .Folder}}{{end}}</h1>
<p>{{if eq .State "known"}}{{.T "known"}}{{if .MayFetch}} {{.T "known.may"}}{{end}}
{{else if eq .State "partial"}}{{.Arriving}}
<progress max="100" value="{{.Percent}}"></progress>
{{else if .Verified}}{{.T "verified"}}
{{else}}{{.T "here"}}{{end}}</p>
{{range .Files}}{{if eq .Kind "video"}}<p><video src="{{.URL}}" controls preload="metadata" width="640"></video></p>
{{else if eq .Kind "audio"}}<p><audio src="{{.URL}}" controls preload="metadata"></audio></p>
{{end}}{{end}}<ul>
{{range .Folders}}<li><a href="{{.URL}}">{{shown .Path}}/</a></li>
{{end}}{{range .Files}}<li><a href="{{.URL}}">{{shown .Path}}</a> ({{$.Octets .Size}}, {{.Type}}){{if .SHA256}}<br><small>SHA-256 {{.SHA256}}</small>{{end}}</li>
{{end}}</ul>
<p><a href="{{magnet .Magnet}}">{{.T "magnet"}}</a>{{if .Torrent}} · <a href="{{.Torrent}}">.torrent</a> · <a href="{{.Metalink}}">Metalink</a>{{end}}</p>
</body></html>
`))

// magnet shows what a magnet link is and offers to fetch it; GET fetches nothing.
func (h *Handler) magnet(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", h.forms)
	m, err := torrent.ParseMagnet(r.FormValue("uri"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Add("Vary", "Accept-Language")
		_ = magnetPage.Execute(w, struct {
			*texts
			M   torrent.Magnet
			URI string
			May bool
		}{h.language(r.Header.Get("Accept-Language")), m, m.String(), h.mayFetch(r)})
	case http.MethodPost:
		if http.NewCrossOriginProtection().Check(r) != nil || !h.mayFetch(r) {
			http.Error(w, "You may not make this node fetch: log in first.", http.StatusForbidden)
			return
		}
		err := h.cfg.Store.Note(m)
		if err == nil {
			err = h.cfg.Engine.Start(m.Hash, torrent.Cache)
		}
		if err == nil && r.FormValue("do") == "pin" {
			err = h.cfg.Store.Pin(m.Hash, true)
		}
		if err != nil {
			h.absent(w, r, m.Hash, err)
			return
		}
		http.Redirect(w, r, "/t/"+m.Hash.String()+"/", http.StatusSeeOther)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "only GET and POST", http.StatusMethodNotAllowed)
	}
}

var magnetPage = template.Must(template.New("magnet").Funcs(template.FuncMap{"shown": shown}).Parse(head + `<title>{{if .M.Name}}{{shown .M.Name}}{{else}}{{.M.Hash}}{{end}}</title></head>
<body>
<p><a href="/">{{.T "forum"}}</a></p>
<h1>{{if .M.Name}}{{shown .M.Name}}{{else}}{{.M.Hash}}{{end}}</h1>
<p>{{if ge .M.Length 0}}{{.Octets .M.Length}}. {{end}}Infohash {{.M.Hash}}.</p>
<p><a href="/t/{{.M.Hash}}/">{{.T "look"}}</a></p>
{{if .May}}<form method="post" action="/magnet"><input type="hidden" name="uri" value="{{.URI}}">
<button name="do" value="fetch">{{.T "fetch"}}</button> <button name="do" value="pin">{{.T "keep"}}</button></form>
{{else}}<p>{{.T "login"}}</p>{{end}}
</body></html>
`))
