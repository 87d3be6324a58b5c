package syndicate

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

func filled(t testing.TB, n int) (*node, http.Handler) {
	t.Helper()
	c := &clock{}
	c.at.Store(1_800_000_000)
	nd := newNode(t, c, "a.example")
	for i := range n {
		d := &article.Draft{Header: [][2]string{{"From", "Alice <a@a.example>"}, {"Newsgroups", "mesh.news"}, {"Subject", fmt.Sprintf("article %d", i+1)}},
			Body: strings.NewReader("> quoted\r\n\r\nown <b>\r\n")}
		if _, err := nd.agent.Inject(context.Background(), d, agent.Origin{Door: "feed"}); err != nil {
			t.Fatal(err)
		}
	}
	mux := http.NewServeMux()
	(&Site{URL: "http://n.example", Name: "n", Spool: nd.store}).Register(mux)
	return nd, mux
}

func get(h http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestGroupFeeds(t *testing.T) {
	n, h := filled(t, 70)
	ids := map[string]bool{}
	for path, pages := "/g/mesh.news/feed.atom", 0; path != ""; pages++ {
		w := get(h, path)
		f, err := Parse(w.Body.Bytes(), w.Header().Get("Content-Type"), Bounds{})
		if err != nil || w.Code != 200 {
			t.Fatalf("%s: %d %v", path, w.Code, err)
		}
		for _, e := range f.Entries {
			ids[e.ID] = true
		}
		if pages == 0 && (f.Entries[0].Title != "article 70" || !strings.Contains(f.Entries[0].HTML, "<blockquote><p>quoted</p></blockquote><p>own &lt;b&gt;</p>")) {
			t.Errorf("%+v", f.Entries[0])
		}
		_, rest, more := strings.Cut(w.Body.String(), `rel="next" type="application/atom+xml" href="http://n.example`)
		if path = ""; more {
			path, _, _ = strings.Cut(rest, `"`)
		}
		if pages > 5 {
			t.Fatal("paging does not end")
		}
	}
	if len(ids) != 70 {
		t.Errorf("the pages hold %d of 70 articles", len(ids))
	}
	for _, path := range []string{"/g/mesh.news/feed.rss", "/g/mesh.news/feed.json", "/feed.atom"} {
		w := get(h, path)
		if f, err := Parse(w.Body.Bytes(), "", Bounds{}); err != nil || len(f.Entries) != 30 {
			t.Errorf("%s: %v", path, err)
		}
		etag := w.Header().Get("ETag")
		if w := get(h, path, "If-None-Match", etag); w.Code != 304 || w.Body.Len() != 0 {
			t.Errorf("%s unchanged: %d", path, w.Code)
		}
		d := &article.Draft{Header: [][2]string{{"From", "a@a.example"}, {"Newsgroups", "mesh.news"}, {"Subject", "new"}}, Body: strings.NewReader("x\r\n")}
		if _, err := n.agent.Inject(context.Background(), d, agent.Origin{Door: "feed"}); err != nil {
			t.Fatal(err)
		}
		if w := get(h, path, "If-None-Match", etag); w.Code != 200 {
			t.Errorf("%s changed: %d", path, w.Code)
		}
	}
	if w := get(h, "/g/no.such/feed.atom"); w.Code != 404 {
		t.Errorf("no such group: %d", w.Code)
	}
}

// lists is a Lister of everything.
type lists struct{ n *node }

func (l lists) all(limit int) (out []spool.Entry, stamp string, err error) {
	for e, err := range l.n.store.Since(context.Background(), 0) {
		if err != nil {
			return nil, "", err
		}
		out = append(out, e)
	}
	slices.Reverse(out)
	return out[:min(len(out), limit)], "1", nil
}

func (l lists) Thread(context.Context, article.Group, article.ID) ([]spool.Entry, string, error) {
	return l.all(1000)
}
func (l lists) Person(_ context.Context, _ string, limit int) ([]spool.Entry, string, error) {
	return l.all(limit)
}
func (l lists) Search(_ context.Context, _ string, limit int) ([]spool.Entry, string, error) {
	return l.all(limit)
}

// TestPaging: every feed holds all its articles, each once, over its pages (RFC 5005 §3),
// and there is a way back from each; crossposts have other numbers in the other group.
func TestPaging(t *testing.T) {
	n, _ := filled(t, 0)
	ctx := context.Background()
	if err := n.store.PutGroups(ctx, spool.GroupInfo{Name: "a.first", Status: spool.PostOpen}); err != nil {
		t.Fatal(err)
	}
	for i := range 75 {
		groups := "mesh.news"
		if i%2 == 0 {
			groups = "a.first,mesh.news"
		}
		d := &article.Draft{Header: [][2]string{{"From", "a@a.example"}, {"Newsgroups", groups}, {"Subject", fmt.Sprint(i)}}, Body: strings.NewReader("x\r\n")}
		if _, err := n.agent.Inject(ctx, d, agent.Origin{Door: "feed"}); err != nil {
			t.Fatal(err)
		}
	}
	mux := http.NewServeMux()
	(&Site{URL: "http://n.example", Name: "n", Spool: n.store, More: lists{n}}).Register(mux)
	link := func(body, rel string) string {
		_, rest, ok := strings.Cut(body, `rel="`+rel+`" type="application/atom+xml" href="http://n.example`)
		href, _, _ := strings.Cut(rest, `"`)
		if !ok {
			return ""
		}
		return strings.ReplaceAll(href, "&amp;", "&")
	}
	for _, path := range []string{"/g/mesh.news/feed.atom", "/feed.atom", "/g/mesh.news/t/x@y/feed.atom", "/u/abc/feed.atom", "/search/feed.atom?q=x+y"} {
		ids, back, etags := map[string]bool{}, "", map[string]bool{}
		for at := path; at != ""; {
			w := get(mux, at)
			f, err := Parse(w.Body.Bytes(), "", Bounds{})
			if err != nil || w.Code != 200 {
				t.Fatalf("%s: %d %v", at, w.Code, err)
			}
			body := w.Body.String()
			if self := link(body, "self"); self != at && path == at[:min(len(path), len(at))] {
				t.Errorf("%s says it is %s", at, self)
			}
			if prev := link(body, "previous"); path != "/feed.atom" && prev != back {
				t.Errorf("%s: before it comes %q, not %q", at, prev, back)
			}
			for _, e := range f.Entries {
				if ids[e.ID] {
					t.Errorf("%s: %s twice", at, e.Title)
				}
				ids[e.ID] = true
			}
			if etag := w.Header().Get("ETag"); etags[etag] {
				t.Errorf("%s: the validator of another page", at)
			} else {
				etags[etag] = true
			}
			back, at = at, link(body, "next")
			if len(etags) > 9 {
				t.Fatalf("%s: paging does not end", path)
			}
		}
		if len(ids) != 75 {
			t.Errorf("%s: %d of 75 articles", path, len(ids))
		}
	}
}

func BenchmarkUnchangedFeed(b *testing.B) {
	_, h := filled(b, 3)
	etag := get(h, "/g/mesh.news/feed.atom").Header().Get("ETag")
	for b.Loop() {
		if w := get(h, "/g/mesh.news/feed.atom", "If-None-Match", etag); w.Code != 304 {
			b.Fatal(w.Code)
		}
	}
}

func BenchmarkFeedOf30(b *testing.B) {
	_, h := filled(b, 40)
	for b.Loop() {
		get(h, "/g/mesh.news/feed.atom")
	}
}

// BenchmarkFirstRefresh is one feed of a hundred entries, parsed.
func BenchmarkFirstRefresh(b *testing.B) {
	var doc strings.Builder
	doc.WriteString(`<feed xmlns="http://www.w3.org/2005/Atom"><title>t</title>`)
	for i := range 100 {
		fmt.Fprintf(&doc, `<entry><id>urn:%d</id><title>entry %d</title><updated>2026-11-23T10:00:00Z</updated><link href="http://x.example/%d"/><content type="html">%s</content></entry>`,
			i, i, i, strings.Repeat("&lt;p&gt;some words of a paragraph&lt;/p&gt;", 30))
	}
	doc.WriteString("</feed>")
	b.ReportAllocs()
	for b.Loop() {
		if f, err := Parse([]byte(doc.String()), "", Bounds{}); err != nil || len(f.Entries) != 100 {
			b.Fatal(err)
		}
	}
}
