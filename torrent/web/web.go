package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/litfass/litfass/torrent"
)

// Config is what the handlers need. Store must be set.
type Config struct {
	Store    *torrent.Store
	Engine   *torrent.Engine // nil: only what is here is served
	URL      string          // this node as readers see it, without a final slash
	Trackers []string        // the mesh's, beside this node's own
	// MayFetch says whether a request may make this node fetch; nil: none may.
	MayFetch func(*http.Request) bool
	Log      *slog.Logger  // nil: none
	Patience time.Duration // without an octet for that long: 504; default 30 s
	// Settle is how long a torrent that is not known is waited for: its article may
	// have come a moment ago. Default 1 s.
	Settle time.Duration
}

// Handler serves /t/... and /magnet. Hand it requests as they came: a mux that
// cleans paths in front would turn /t/HASH/../x into something else.
type Handler struct {
	cfg          Config
	pages, forms string // Content-Security-Policy of pages that are ours
	texts        map[string]*texts
}

// New returns the handler.
func New(cfg Config) (*Handler, error) {
	if cfg.Patience == 0 {
		cfg.Patience = 30 * time.Second
	}
	if cfg.Settle == 0 {
		cfg.Settle = time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	words, err := loadTexts()
	if err != nil {
		return nil, fmt.Errorf("texts of the torrents' pages: %w", err)
	}
	return &Handler{cfg: cfg, pages: pagePolicy(), forms: formPolicy(), texts: words}, nil
}

// contentPolicy is on all of /t/ but its pages (spec §2.4): nothing there runs, whatever it is.
const contentPolicy = "sandbox; default-src 'none'; media-src 'self'; img-src 'self'"

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Security-Policy", contentPolicy)
	w.Header().Set("Referrer-Policy", "no-referrer")
	if r.URL.Path == "/magnet" {
		h.magnet(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), "/t/")
	if !ok {
		http.NotFound(w, r)
		return
	}
	first, inside, hasSlash := strings.Cut(rest, "/")
	ext := ""
	if i := strings.IndexByte(first, '.'); i > 0 && !hasSlash {
		first, ext = first[:i], first[i:]
	}
	hash, err := torrent.ParseInfohash(first)
	if err != nil {
		http.Error(w, "no infohash: 40 hexadecimal digits or 32 letters of base32 are", http.StatusBadRequest)
		return
	}
	if first != hash.String() {
		http.Redirect(w, r, "/t/"+hash.String()+rest[len(first):], http.StatusMovedPermanently)
		return
	}
	switch {
	case ext == ".torrent":
		h.metainfo(w, r, hash)
	case ext == ".meta4":
		h.metalink(w, r, hash)
	case ext != "":
		http.NotFound(w, r)
	case !hasSlash:
		http.Redirect(w, r, "/t/"+hash.String()+"/", http.StatusMovedPermanently)
	default:
		h.inside(w, r, hash, inside)
	}
}

// decodePath undoes one percent-encoding per component. ok is false for what no
// path in a torrent can be (spec §3).
func decodePath(raw string) (path string, folder, ok bool) {
	if raw == "" {
		return "", true, true
	}
	parts := strings.Split(raw, "/")
	if parts[len(parts)-1] == "" {
		folder, parts = true, parts[:len(parts)-1]
	}
	for i, p := range parts {
		s, err := url.PathUnescape(p)
		if err != nil || s == "" || s == "." || s == ".." || strings.ContainsAny(s, "/\\\x00") {
			return "", false, false
		}
		parts[i] = s
	}
	return strings.Join(parts, "/"), folder, true
}

func (h *Handler) inside(w http.ResponseWriter, r *http.Request, hash torrent.Infohash, raw string) {
	name, folder, ok := decodePath(raw)
	if !ok {
		http.NotFound(w, r)
		return
	}
	st, err := h.settled(r.Context(), hash)
	if err != nil {
		h.absent(w, r, hash, err)
		return
	}
	if folder {
		h.listing(w, r, st, name)
		return
	}
	in, err := h.info(r, st)
	if err != nil {
		h.absent(w, r, hash, err)
		return
	}
	i := in.Find(name)
	if i < 0 {
		if in.Folder(name) {
			http.Redirect(w, r, "/t/"+hash.String()+"/"+torrent.EscapePath(name)+"/", http.StatusMovedPermanently)
			return
		}
		http.NotFound(w, r)
		return
	}
	h.file(w, r, in, i)
}

// status is what is known of a torrent, also of one that is only in the store.
func (h *Handler) status(hash torrent.Infohash) (torrent.Status, error) {
	if h.cfg.Engine != nil {
		return h.cfg.Engine.Status(hash)
	}
	rec, err := h.cfg.Store.Record(hash)
	return torrent.Status{Record: rec}, err
}

// settled is status, with a short wait for a torrent that is not known yet: a page
// may show an article before the follower has read it.
func (h *Handler) settled(ctx context.Context, hash torrent.Infohash) (torrent.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, h.cfg.Settle)
	defer cancel()
	for {
		changed := h.cfg.Store.Changed()
		st, err := h.status(hash)
		if !errors.Is(err, torrent.ErrNotFound) {
			return st, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return st, err
		}
	}
}

// mayFetch: a request that another node's engine sends never starts a fetch here,
// or two nodes that name each other as web seeds would ask in a circle.
func (h *Handler) mayFetch(r *http.Request) bool {
	return h.cfg.Engine != nil && h.cfg.MayFetch != nil && !torrent.FromEngine(r) && h.cfg.MayFetch(r)
}

// info returns the info dictionary; for those who may fetch it waits for it.
func (h *Handler) info(r *http.Request, st torrent.Status) (*torrent.Info, error) {
	if !st.Complete() && !h.mayFetch(r) {
		return nil, torrent.ErrNotFound
	}
	if h.cfg.Engine == nil {
		return h.cfg.Store.Info(st.Hash)
	}
	return h.cfg.Engine.Metadata(r.Context(), st.Hash)
}

// absent answers for a torrent, or metadata, that is not here.
func (h *Handler) absent(w http.ResponseWriter, r *http.Request, hash torrent.Infohash, err error) {
	switch {
	case errors.Is(err, torrent.ErrDenied):
		http.Error(w, "This torrent is on this node's deny list.", http.StatusUnavailableForLegalReasons)
	case errors.Is(err, torrent.ErrNoMetadata), errors.Is(err, context.DeadlineExceeded):
		w.Header().Set("Retry-After", "30")
		http.Error(w, "Nobody who has this was found yet; this node keeps looking. Try again in half a minute.", http.StatusGatewayTimeout)
	case errors.Is(err, torrent.ErrQuota):
		w.Header().Set("Retry-After", "3600")
		http.Error(w, "This node has no room for it now.", http.StatusServiceUnavailable)
	case errors.Is(err, torrent.ErrMismatch), errors.Is(err, torrent.ErrMetadata):
		http.Error(w, "What is in the net under this infohash is not what the article promises, or is malformed: it was dropped.", http.StatusNotFound)
	case errors.Is(err, torrent.ErrNotFound):
		h.notHere(w, hash)
	case r.Context().Err() != nil: // the reader left
	default:
		h.cfg.Log.Warn("torrent", "infohash", hash, "error", err)
		w.Header().Set("Retry-After", "60")
		http.Error(w, "This does not work just now.", http.StatusServiceUnavailable)
	}
}

// notHere says 404 with the magnet link in the body.
func (h *Handler) notHere(w http.ResponseWriter, hash torrent.Infohash) {
	m := torrent.Magnet{Hash: hash, Length: -1, Trackers: []string{torrent.Retracker}}
	if rec, err := h.cfg.Store.Record(hash); err == nil {
		m.Name, m.Length, m.WebSeeds = rec.Name, rec.Length, rec.WebSeeds
		if rec.Private {
			m.Trackers = rec.Trackers
		}
	}
	http.Error(w, "This is not on this node. A torrent program may find it:\n\n"+m.String(), http.StatusNotFound)
}

// file serves one file: RFC 9110 §14 ranges, with ETag and the type that its name
// says. Only pictures, sound and film are shown, all else is a download.
func (h *Handler) file(w http.ResponseWriter, r *http.Request, in *torrent.Info, i int) {
	f, err := h.open(r, in, i)
	if err != nil {
		h.absent(w, r, in.Hash, err)
		return
	}
	defer f.Close()
	name := path.Base(in.Files[i].Path)
	typ, inline := mediaType(name)
	hd := w.Header()
	hd.Set("Content-Type", typ)
	hd.Set("ETag", `"`+in.Hash.String()+"-"+strconv.Itoa(i)+`"`)
	hd.Set("Accept-Ranges", "bytes")
	hd.Set("Cross-Origin-Resource-Policy", "cross-origin")
	if h.cfg.Store.Has(in.Hash) {
		hd.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		hd.Set("Cache-Control", "no-cache")
	}
	disposition := "attachment"
	if inline {
		disposition = "inline"
	}
	hd.Set("Content-Disposition", mime.FormatMediaType(disposition, map[string]string{"filename": torrent.CleanName(name)}))
	http.ServeContent(w, r, "", time.Time{}, f)
}

// open opens a file; of one that is not here it waits for the first octet that is
// asked for, so that a failure can still be told by a status.
func (h *Handler) open(r *http.Request, in *torrent.Info, i int) (io.ReadSeekCloser, error) {
	if h.cfg.Engine == nil {
		return h.cfg.Store.OpenFile(in.Hash, i)
	}
	f, err := h.cfg.Engine.OpenFile(r.Context(), in.Hash, i)
	if err != nil || h.cfg.Store.Has(in.Hash) || r.Method == http.MethodHead || in.Files[i].Length == 0 {
		return f, err
	}
	a, ok := f.(*torrent.Arriving)
	if !ok {
		return f, nil
	}
	a.SetPatience(h.cfg.Patience)
	at := firstOctet(r.Header.Get("Range"), in.Files[i].Length)
	if _, err := f.Seek(at, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := io.ReadFull(f, make([]byte, 1)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// firstOctet guesses where a Range begins; ServeContent reads it exactly.
func firstOctet(rng string, length int64) int64 {
	spec, ok := strings.CutPrefix(rng, "bytes=")
	if !ok {
		return 0
	}
	from, to, _ := strings.Cut(spec, "-")
	if n, err := strconv.ParseInt(from, 10, 64); err == nil && n >= 0 && n < length {
		return n
	}
	if n, err := strconv.ParseInt(to, 10, 64); from == "" && err == nil && n > 0 && n <= length {
		return length - n
	}
	return 0
}

// trackers of the metainfo that this node gives out; of a private torrent (BEP 27) those
// that it came with.
func (h *Handler) trackers(st torrent.Status) []string {
	if st.Private {
		return st.Trackers
	}
	return append([]string{h.cfg.URL + "/announce", torrent.Retracker}, h.cfg.Trackers...)
}

func (h *Handler) metainfo(w http.ResponseWriter, r *http.Request, hash torrent.Infohash) {
	st, err := h.settled(r.Context(), hash)
	if err != nil {
		h.absent(w, r, hash, err)
		return
	}
	in, err := h.info(r, st)
	if err != nil {
		h.absent(w, r, hash, err)
		return
	}
	seed := h.cfg.URL + "/t/" + hash.String() + "/"
	if in.Single {
		seed += torrent.EscapePath(in.Files[0].Path)
	}
	m := torrent.Metainfo{Info: in, Trackers: h.trackers(st), WebSeeds: []string{seed}}
	w.Header().Set("Content-Type", "application/x-bittorrent")
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": torrent.CleanName(in.Name) + ".torrent"}))
	_, _ = w.Write(m.Encode())
}

// metalink answers with RFC 5854: size, SHA-256, torrent, mirrors.
func (h *Handler) metalink(w http.ResponseWriter, r *http.Request, hash torrent.Infohash) {
	st, err := h.settled(r.Context(), hash)
	if err == nil && !st.Complete() {
		err = torrent.ErrNotFound
	}
	if err != nil {
		h.absent(w, r, hash, err)
		return
	}
	in, err := h.cfg.Store.Info(hash)
	var sums []torrent.Sum
	if err == nil {
		sums, err = h.cfg.Store.Sums(hash)
	}
	if err != nil {
		h.absent(w, r, hash, err)
		return
	}
	base := h.cfg.URL + "/t/" + hash.String()
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<metalink xmlns="urn:ietf:params:xml:ns:metalink">` + "\n")
	for i, f := range in.Files {
		if f.Pad {
			continue
		}
		fmt.Fprintf(&b, "  <file name=\"%s\">\n    <size>%d</size>\n    <hash type=\"sha-256\">%s</hash>\n", xmlText(f.Path), f.Length, sums[i])
		fmt.Fprintf(&b, "    <metaurl mediatype=\"torrent\" name=\"%s\">%s.torrent</metaurl>\n", xmlText(f.Path), xmlText(base))
		fmt.Fprintf(&b, "    <url priority=\"1\">%s/%s</url>\n", xmlText(base), xmlText(torrent.EscapePath(f.Path)))
		for _, s := range st.WebSeeds {
			if in.Single && !strings.HasPrefix(s, h.cfg.URL+"/") {
				fmt.Fprintf(&b, "    <url priority=\"2\">%s</url>\n", xmlText(s))
			}
		}
		b.WriteString("  </file>\n")
	}
	b.WriteString("</metalink>\n")
	w.Header().Set("Content-Type", "application/metalink4+xml")
	_, _ = io.WriteString(w, b.String())
}

// writeJSON answers with v.
func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
