package webforum

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

var payloads = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `'><svg/onload=alert(1)>`, `</title></head><body onload=x>`, `javascript:alert(1)`,
	`</article></main></body>`, `<a href="javascript:alert(1)">x</a>`, `{{.T "x"}}`, "\u202eevil", `<!--`, `</textarea><script>x</script>`, `&lt;script&gt;`, `http://x/"onmouseover="y`,
	`<style>*{display:none}</style>`, `<base href=//evil>`, `<form action=//evil><input>`, `<iframe srcdoc="<script>x</script>">`, `magnet:?xt="><script>x</script>`,
}

func TestHostileText(t *testing.T) {
	w := newWorld(t)
	for i, p := range payloads {
		g := fmt.Sprintf("misc.x%d", i)
		if err := w.s.PutGroups(context.Background(), spool.GroupInfo{Name: article.Group(g), Status: spool.PostOpen, Description: p}); err != nil {
			t.Fatal(err)
		}
		for k, typ := range []string{"text/plain", "text/html"} {
			id := fmt.Sprintf("x%d.%d@a.example", i, k)
			e := w.must(fmt.Sprintf("Path: x\nFrom: %s <a@b>\nNewsgroups: misc.test\nSubject: %s\nMessage-ID: <%s>\nDate: %s\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: %s; charset=utf-8\n\n%s\n--b\nContent-Type: image/png\nContent-Disposition: attachment; filename*=UTF-8''%s\n\nx\n--b--\n",
				p, p, id, article.FormatDate(time.Now()), typ, p, url.PathEscape(p)))
			for _, path := range []string{messagePath(e.ID), messagePath(e.ID) + "?headers=all", threadPath("misc.test", e.ID), threadPath("misc.test", e.ID) + "?view=index", threadPath("misc.test", e.ID) + "?view=nested", messagePath(e.ID) + "/reply"} {
				inert(t, path, w.get(path).body)
			}
		}
		r := w.post("/g/misc.test/post", map[string]string{"name": p, "email": p, "subject": p, "body": p, "groups": p, "followup": p, "once": p, "preview": "1"})
		inert(t, "form "+p, r.body)
		inert(t, "search "+p, w.get("/search?q="+url.QueryEscape(p)).body)
		inert(t, "login "+p, w.post("/login", map[string]string{"name": p, "password": p, "next": p}).body)
		w.f.limits = limiter{}
	}
	inert(t, "front", w.get("/").body)
	inert(t, "group", w.get("/g/misc.test").body)
	inert(t, "group", w.get("/g/misc.x1").body)
}

// Every article of a folder named by the environment renders, inert, in each view.
func TestFolder(t *testing.T) {
	dir := os.Getenv("LITFASS_ARTICLES")
	if dir == "" {
		t.Skip("LITFASS_ARTICLES names no folder of articles")
	}
	w := newWorld(t)
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		e, err := w.add(string(b))
		if err != nil {
			return nil
		}
		if _, err := article.ParseID(string(e.ID)); err != nil { // no agent would have taken it
			return nil
		}
		n++
		start := time.Now()
		r := w.get(messagePath(e.ID))
		if d := time.Since(start); d > 200*time.Millisecond {
			t.Logf("%s: %v", path, d)
		}
		if r.StatusCode != 200 {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
		inert(t, path, r.body)
		w.f.limits = limiter{}
		return nil
	})
	t.Log(n, "articles", err)
}

// What is written as format=flowed is read as it was typed, but for blanks at line
// ends, blank lines around it, and how quotes are marked.
func FuzzFlowed(f *testing.F) {
	f.Add("Hello world\n\n> quote\n from\nFrom here\n-- \nsig")
	f.Add(strings.Repeat("word ", 100) + "\n>>x\n> > y")
	f.Fuzz(func(t *testing.T, s string) {
		out := flowed(s)
		for l := range strings.SplitSeq(out, "\r\n") {
			if len(l) > 998 || strings.ContainsAny(l, "\r\n") {
				t.Fatalf("line of %d octets", len(l))
			}
		}
		d := article.Draft{Header: [][2]string{{"Subject", "x"}}, Body: bytes.NewReader([]byte(out))}
		if _, err := d.Build(article.Limits{Article: 1 << 30, Line: 1 << 20}); err != nil {
			t.Fatalf("%q: %v", out, err)
		}
	})
}
