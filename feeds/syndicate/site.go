package syndicate

import (
	"context"
	"errors"
	"fmt"
	"html"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/spool"
)

// Reader is the slice of spool.Store that outgoing feeds use.
type Reader interface {
	Group(ctx context.Context, g article.Group) (spool.GroupInfo, error)
	Groups(ctx context.Context) iter.Seq2[spool.GroupInfo, error]
	Range(ctx context.Context, g article.Group, lo, hi uint64) iter.Seq2[spool.Entry, error]
	Since(ctx context.Context, after spool.Seq) iter.Seq2[spool.Entry, error]
	Open(ctx context.Context, seq spool.Seq) (*article.Article, error)
	ByID(ctx context.Context, id article.ID) (spool.Entry, error)
	Last() spool.Seq
}

// Lister finds articles for feeds that are no group; cmd/litfass hands in what the
// threads and the search know. Entries come newest first; stamp changes whenever
// the answer may have changed.
type Lister interface {
	Thread(ctx context.Context, g article.Group, root article.ID) (entries []spool.Entry, stamp string, err error)
	Person(ctx context.Context, identity string, limit int) (entries []spool.Entry, stamp string, err error)
	Search(ctx context.Context, query string, limit int) (entries []spool.Entry, stamp string, err error)
}

// Site serves outgoing feeds over HTTP.
type Site struct {
	URL      string // as readers see the node, without a slash at the end
	Name     string // the node's, for titles
	Spool    Reader
	More     Lister                                       // nil: groups and everything only
	MayRead  func(r *http.Request, g article.Group) error // nil: all may
	PerPage  int                                          // entries; 0: 30
	Torrents bool                                         // detached attachments have a .torrent here
}

// Register adds the feeds' addresses to a mux.
func (s *Site) Register(mux *http.ServeMux) {
	for _, f := range formats {
		mux.HandleFunc("GET /feed."+f.name, s.everything(f))
		mux.HandleFunc("GET /g/{group}/feed."+f.name, s.group(f))
		if s.More != nil {
			mux.HandleFunc("GET /g/{group}/t/{root}/feed."+f.name, s.thread(f))
			mux.HandleFunc("GET /u/{identity}/feed."+f.name, s.person(f))
			mux.HandleFunc("GET /search/feed."+f.name, s.search(f))
		}
	}
}

type format struct {
	name, kind string
	write      func(*Out, http.ResponseWriter) error
}

var formats = []format{
	{"atom", "application/atom+xml; charset=utf-8", func(o *Out, w http.ResponseWriter) error { return o.WriteAtom(w) }},
	{"rss", "application/rss+xml; charset=utf-8", func(o *Out, w http.ResponseWriter) error { return o.WriteRSS(w) }},
	{"json", "application/feed+json; charset=utf-8", func(o *Out, w http.ResponseWriter) error { return o.WriteJSON(w) }},
}

func (s *Site) perPage() int {
	if s.PerPage == 0 {
		return 30
	}
	return s.PerPage
}

// group is the feed of a group. Its validator is made of the group's marks alone,
// so an unchanged feed costs no look at any article.
func (s *Site) group(f format) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := article.Group(r.PathValue("group"))
		g, err := s.Spool.Group(r.Context(), name)
		if err == nil && s.MayRead != nil {
			if s.MayRead(r, name) != nil {
				err = spool.ErrNotFound
			}
		}
		if err != nil {
			s.fail(w, err)
			return
		}
		hi := g.High
		if before, err := strconv.ParseUint(r.FormValue("before"), 10, 64); err == nil && before > 0 {
			hi = min(hi, before-1)
		}
		if s.unchanged(w, r, fmt.Sprintf("%s-%d-%d-%d-%d", f.name, g.Low, g.High, g.Count, hi)) {
			return
		}
		entries, next, err := s.page(r.Context(), g, hi)
		if err != nil {
			s.fail(w, err)
			return
		}
		path := "/g/" + url.PathEscape(string(name))
		o := s.out(r.Context(), entries)
		o.ID = "urn:litfass:group:" + url.PathEscape(string(name))
		o.Title, o.Description = string(name), text(g.Description)
		o.Page, o.Self = s.URL+path, s.URL+path+"/feed."+f.name
		if hi != g.High {
			o.Self += "?before=" + strconv.FormatUint(hi+1, 10)
		}
		if next > 0 {
			o.Next = s.URL + path + "/feed." + f.name + "?before=" + strconv.FormatUint(next, 10)
		}
		if hi < g.High {
			prev, err := s.newer(r.Context(), g, hi)
			if err != nil {
				s.fail(w, err)
				return
			}
			o.Prev = s.URL + path + "/feed." + f.name + prev
		}
		s.send(w, f, o)
	}
}

func text(s string) string { return content.ToUTF8("utf-8", []byte(s)) }

// page returns the newest entries up to hi, newest first, and the number before
// which the next page begins (0: none).
func (s *Site) page(ctx context.Context, g spool.GroupInfo, hi uint64) (out []spool.Entry, next uint64, err error) {
	n := uint64(s.perPage())
	for step := n; hi >= g.Low && hi > 0; step *= 4 { // numbers may be sparse after expiry
		lo := g.Low
		if hi > step && hi-step >= lo {
			lo = hi - step + 1
		}
		out = out[:0]
		for e, err := range s.Spool.Range(ctx, g.Name, lo, hi) {
			if err != nil {
				return nil, 0, err
			}
			out = append(out, e)
			if len(out) > int(4*n) {
				out = out[len(out)-int(n):]
			}
		}
		if len(out) >= int(n) || lo == g.Low {
			if len(out) > int(n) {
				out = out[len(out)-int(n):]
				lo = g.Low + 1
			}
			if lo > g.Low && len(out) > 0 {
				next = numberIn(out[0], g.Name)
			}
			break
		}
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out, next, nil
}

// numberIn is an article's number in a group: crossposts have others elsewhere.
func numberIn(e spool.Entry, g article.Group) uint64 {
	for _, p := range e.Places {
		if p.Group == g {
			return p.Number
		}
	}
	return 0
}

// newer is the query of the page before the one that ends with number hi.
func (s *Site) newer(ctx context.Context, g spool.GroupInfo, hi uint64) (query string, err error) {
	n, last := 0, uint64(0)
	for e, err := range s.Spool.Range(ctx, g.Name, hi+1, g.High) {
		if err != nil {
			return "", err
		}
		last = numberIn(e, g.Name)
		if n++; n == s.perPage() {
			break
		}
	}
	if n < s.perPage() || last >= g.High {
		return "", nil
	}
	return "?before=" + strconv.FormatUint(last+1, 10), nil
}

// everything is the feed of all groups that anybody may read.
func (s *Site) everything(f format) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		newest := s.Spool.Last()
		last := newest
		if before, err := strconv.ParseUint(r.FormValue("before"), 10, 64); err == nil && before > 0 {
			last = min(last, spool.Seq(before-1))
		}
		if s.unchanged(w, r, fmt.Sprintf("%s-all-%d-%d", f.name, newest, last)) {
			return
		}
		var entries []spool.Entry
		after := spool.Seq(0)
		if back := spool.Seq(4 * s.perPage()); last > back {
			after = last - back
		}
		for e, err := range s.Spool.Since(r.Context(), after) {
			if err != nil {
				s.fail(w, err)
				return
			}
			if e.Seq > last {
				break
			}
			if s.readable(r, e) && e.Has&article.HasControl == 0 {
				entries = append(entries, e)
			}
		}
		older := after // where the next page ends
		if cut := len(entries) - s.perPage(); cut > 0 {
			older = entries[cut-1].Seq
		}
		entries = entries[max(0, len(entries)-s.perPage()):]
		for i, j := 0, len(entries)-1; i < j; i, j = i+1, j-1 {
			entries[i], entries[j] = entries[j], entries[i]
		}
		o := s.out(r.Context(), entries)
		o.ID, o.Title = "urn:litfass:all:"+url.PathEscape(s.Name), s.Name
		o.Page, o.Self = s.URL+"/", s.URL+"/feed."+f.name
		if last < newest {
			o.Self += "?before=" + strconv.FormatUint(uint64(last)+1, 10)
		}
		if older > 0 {
			o.Next = s.URL + "/feed." + f.name + "?before=" + strconv.FormatUint(uint64(older)+1, 10)
		}
		s.send(w, f, o)
	}
}

func (s *Site) readable(r *http.Request, e spool.Entry) bool {
	if s.MayRead == nil {
		return true
	}
	for _, p := range e.Places {
		if s.MayRead(r, p.Group) == nil {
			return true
		}
	}
	return false
}

func (s *Site) thread(f format) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name, root := article.Group(r.PathValue("group")), article.ID("<"+r.PathValue("root")+">")
		path := "/g/" + url.PathEscape(string(name)) + "/t/" + url.PathEscape(root.Bare())
		entries, stamp, err := s.More.Thread(r.Context(), name, root)
		s.listed(w, r, f, listing{entries, stamp, "urn:litfass:thread:" + url.PathEscape(root.Bare()), "", path, path + "/feed." + f.name}, err)
	}
}

func (s *Site) person(f format) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("identity")
		path := "/u/" + url.PathEscape(id) + "/"
		entries, stamp, err := s.More.Person(r.Context(), id, s.wanted(r))
		s.listed(w, r, f, listing{entries, stamp, "urn:litfass:person:" + url.PathEscape(id), "", path, path + "feed." + f.name}, err)
	}
}

func (s *Site) search(f format) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := r.FormValue("q")
		entries, stamp, err := s.More.Search(r.Context(), q, s.wanted(r))
		args := "?q=" + url.QueryEscape(q)
		s.listed(w, r, f, listing{entries, stamp, "urn:litfass:search:" + url.QueryEscape(q), q, "/search" + args, "/search/feed." + f.name + args}, err)
	}
}

type listing struct {
	entries              []spool.Entry
	stamp                string
	id, title, page, own string
}

// listed answers with a feed of entries that a Lister found.
func (s *Site) listed(w http.ResponseWriter, r *http.Request, f format, l listing, err error) {
	if err != nil {
		s.fail(w, err)
		return
	}
	n := pageNumber(r)
	if l.stamp != "" && s.unchanged(w, r, f.name+"-"+hash32(20, l.id, l.stamp, strconv.Itoa(n))) {
		return
	}
	var entries []spool.Entry
	for _, e := range l.entries {
		if s.readable(r, e) {
			entries = append(entries, e)
		}
	}
	from := min((n-1)*s.perPage(), len(entries))
	to := min(from+s.perPage(), len(entries))
	o := s.out(r.Context(), entries[from:to])
	o.ID, o.Title, o.Page = l.id, l.title, s.URL+l.page
	at := func(n int) string {
		switch {
		case n == 1:
			return s.URL + l.own
		case strings.Contains(l.own, "?"):
			return s.URL + l.own + "&page=" + strconv.Itoa(n)
		}
		return s.URL + l.own + "?page=" + strconv.Itoa(n)
	}
	if o.Self = at(n); n > 1 {
		o.Prev = at(n - 1)
	}
	if to < len(entries) && n < maxPages {
		o.Next = at(n + 1)
	}
	if o.Title == "" && len(o.Items) > 0 {
		o.Title = o.Items[len(o.Items)-1].Title
	}
	s.send(w, f, o)
}

// maxPages is how far back feeds of threads, people and searches go.
const maxPages = 20

// pageNumber is the page that is asked for, 1 the newest.
func pageNumber(r *http.Request) int {
	n, err := strconv.Atoi(r.FormValue("page"))
	if err != nil {
		return 1
	}
	return max(1, min(n, maxPages))
}

// wanted is how many entries tell a page and whether there is another.
func (s *Site) wanted(r *http.Request) int { return pageNumber(r)*s.perPage() + 1 }

// unchanged sets the validator and answers 304 if the client has it: RFC 9110
// §13.1.2; If-Modified-Since is not looked at where both come.
func (s *Site) unchanged(w http.ResponseWriter, r *http.Request, stamp string) bool {
	etag := `W/"` + stamp + `"`
	w.Header().Set("ETag", etag)
	w.Header().Set("Cache-Control", "max-age=60")
	for v := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if v = strings.TrimSpace(v); v == etag || "W/"+v == etag || v == "*" {
			w.WriteHeader(http.StatusNotModified)
			return true
		}
	}
	return false
}

func (s *Site) fail(w http.ResponseWriter, err error) {
	w.Header().Del("ETag")
	w.Header().Del("Cache-Control")
	if errors.Is(err, spool.ErrNotFound) {
		http.Error(w, "no such feed here", http.StatusNotFound)
		return
	}
	w.Header().Set("Retry-After", "60")
	http.Error(w, "this node has a trouble of its own, try again later", http.StatusServiceUnavailable)
}

func (s *Site) send(w http.ResponseWriter, f format, o *Out) {
	w.Header().Set("Content-Type", f.kind)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if !o.Updated.IsZero() {
		w.Header().Set("Last-Modified", o.Updated.UTC().Format(http.TimeFormat))
	}
	_ = f.write(o, w) // the client is gone
}

// out makes a feed of entries, newest first. What cannot be opened any more is
// left out.
func (s *Site) out(ctx context.Context, entries []spool.Entry) *Out {
	o := &Out{}
	for _, e := range entries {
		a, err := s.Spool.Open(ctx, e.Seq)
		if err != nil {
			continue
		}
		it := s.item(e, a)
		if o.Updated.Before(e.Arrived) {
			o.Updated = e.Arrived
		}
		for i := range it.Files {
			o.Podcast = o.Podcast || it.Files[i].played()
		}
		if o.Image == "" {
			o.Image = it.picture()
		}
		o.Items = append(o.Items, it)
	}
	if o.Updated.IsZero() {
		o.Updated = time.Unix(0, 0)
	}
	return o
}

func (s *Site) item(e spool.Entry, a *article.Article) OutItem {
	c := content.Of(a)
	name, _ := content.Author(e.From)
	it := OutItem{ID: "mid:" + url.PathEscape(e.ID.Bare()), Title: content.Header(e.Subject), Author: name,
		Page: s.URL + "/m/" + url.PathEscape(e.ID.Bare()), Date: e.Arrived, HTML: s.html(e, c)}
	if it.Title == "" {
		it.Title = "(no subject)"
	}
	if t, err := article.ParseDate(e.Date); err == nil && t.Before(e.Arrived) {
		it.Date = t
	}
	if refs := article.ParseReferences(e.References); len(refs) > 0 {
		it.InReplyTo = "mid:" + url.PathEscape(refs[len(refs)-1].Bare())
	}
	for k := range strings.SplitSeq(content.Header(a.Get("Keywords")), ",") {
		if k = strings.TrimSpace(k); k != "" && len(it.Categories) < 10 {
			it.Categories = append(it.Categories, k)
		}
	}
	for _, p := range c.Files() {
		it.Files = append(it.Files, s.file(e, p))
	}
	return it
}

// file is an attachment as an enclosure: over HTTP from this node, so that every
// podcast program can fetch it.
func (s *Site) file(e spool.Entry, p *content.Part) OutFile {
	f := OutFile{Type: p.Type, Name: p.Name, Length: p.Size()}
	if d := p.Detached; d != nil {
		f.URL, f.Magnet = s.URL+d.Path(), d.Magnet
		if s.Torrents {
			f.Torrent = s.URL + "/t/" + d.InfoHash + ".torrent"
		}
		return f
	}
	if p.Link != "" {
		f.URL = p.Link
		return f
	}
	f.URL = s.URL + "/m/" + url.PathEscape(e.ID.Bare()) + "/a/" + strconv.Itoa(p.Index)
	return f
}

// html writes an article's text for feed readers: HTML parts as they were made
// safe, text as paragraphs, quotes as quotes.
func (s *Site) html(e spool.Entry, c *content.Content) string {
	var out strings.Builder
	depth := 0
	level := func(to int) {
		for ; depth < to; depth++ {
			out.WriteString("<blockquote>")
		}
		for ; depth > to; depth-- {
			out.WriteString("</blockquote>")
		}
	}
	cid := func(p *content.Part) string {
		return s.URL + "/m/" + url.PathEscape(e.ID.Bare()) + "/a/" + strconv.Itoa(p.Index)
	}
	for _, b := range c.Blocks(cid) {
		level(min(b.Depth, 10))
		switch b.Kind {
		case content.HTML:
			out.WriteString(b.HTML)
		case content.Patch:
			out.WriteString("<pre>" + html.EscapeString(b.Text) + "</pre>")
		case content.Signature:
			out.WriteString("<p><small>" + lines(b.Text) + "</small></p>")
		default:
			for para := range strings.SplitSeq(strings.TrimSpace(b.Text), "\n\n") {
				if para = strings.TrimSpace(para); para != "" {
					out.WriteString("<p>" + lines(para) + "</p>")
				}
			}
		}
	}
	level(0)
	return out.String()
}

func lines(s string) string {
	return strings.ReplaceAll(html.EscapeString(strings.TrimSpace(s)), "\n", "<br>")
}
