package webforum

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

func TestReading(t *testing.T) {
	w := newWorld(t)
	w.must(simple(1, "Hello", ""))
	w.must(simple(2, "Re: Hello", "<a1@a.example>"))
	for path, want := range map[string][]string{
		"/":                           {"misc.<wbr>test", "About misc.test", "Hello", "/start"},
		"/g/misc.test":                {"Hello", "Ann 1", "/g/misc.test/t/a1@a.example", "/g/misc.test/post"},
		"/g/misc.talk":                {"Nobody has written here yet"},
		"/g/misc.test/t/a1@a.example": {"Text number 1.", "Text number 2.", "<blockquote>", `class="sig"`},
		"/g/misc.test/t/a1@a.example?view=nested": {"Text number 2.", "d1"},
		"/g/misc.test/t/a1@a.example?view=index":  {"/m/a2@a.example", "Ann 2"},
		"/m/a2@a.example":                         {"Text number 2.", "/m/a1@a.example", "/m/a2@a.example/raw"},
		"/m/a2@a.example?headers=all":             {"not-for-mail"},
		"/m/a2@a.example/reply":                   {"Re: Hello", "Ann 2 wrote:", "&gt; Text number 2."},
		"/g/misc.test/post":                       {`name="subject"`, `name="file"`},
		"/search?q=x":                             {"no search"},
		"/login":                                  {`name="password"`},
		"/settings":                               {"Deutsch"},
		"/start":                                  {`name="password"`},
		"/help":                                   {"<kbd>j</kbd>"},
		"/u/" + strings.Repeat("a", 52) + "/":     {"no article with this signature"},
	} {
		w.jar = map[string]string{} // the view is kept in a cookie
		r := w.get(path)
		if r.StatusCode != 200 {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
		for _, s := range want {
			if !strings.Contains(r.body, s) {
				t.Errorf("%s: no %q", path, s)
			}
		}
		if h := r.Header; !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") || strings.Contains(h.Get("Content-Security-Policy"), "unsafe") || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, h)
		}
		inert(t, path, r.body)
		de := w.get(path, "Accept-Language", "fr, de-AT;q=0.8, en;q=0.5")
		if !strings.Contains(de.body, `<html lang="de"`) {
			t.Errorf("%s: not in German", path)
		}
	}
	if r := w.get("/m/a1@a.example/raw"); !strings.HasPrefix(r.Header.Get("Content-Type"), "text/plain") || !strings.Contains(r.body, "\r\n\r\nText number 1.\r\n") {
		t.Errorf("raw: %q", r.body)
	}
	for _, path := range []string{"/g/none.such", "/m/none@such", "/g/misc.test/t/none@such", "/nothing", "/g/misc.test?from=zz", "/m/a1@a.example/a/9", "/u/x/", "/-/x.css"} {
		if r := w.get(path); r.StatusCode != 404 {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
	}
	if r := w.get("/g/misc.test/t/a2@a.example"); r.StatusCode != 303 || !strings.HasPrefix(r.Header.Get("Location"), "/g/misc.test/t/a1@a.example#p") {
		t.Errorf("a post that is no root: %d %s", r.StatusCode, r.Header.Get("Location"))
	}
}

func TestUnchanged(t *testing.T) {
	w := newWorld(t)
	w.must(simple(1, "Hello", ""))
	for _, path := range []string{"/", "/g/misc.test", "/g/misc.test/t/a1@a.example", "/m/a1@a.example"} {
		w.get(path) // marks are set
		tag := w.get(path).Header.Get("ETag")
		if r := w.get(path, "If-None-Match", tag); r.StatusCode != 304 || r.body != "" {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
		if r := w.get(path, "If-None-Match", tag, "Accept-Language", "de"); r.StatusCode != 200 {
			t.Errorf("%s in another language: %d", path, r.StatusCode)
		}
	}
	tag := w.get("/g/misc.test/t/a1@a.example").Header.Get("ETag")
	w.must(simple(2, "Re: Hello", "<a1@a.example>"))
	if r := w.get("/g/misc.test/t/a1@a.example", "If-None-Match", tag); r.StatusCode != 200 {
		t.Errorf("changed: %d", r.StatusCode)
	}
}

// TestUnchangedTrust: a page that says what a signature is worth is new when the keys
// that the node knows are, and one that says where a torrent is by now always.
func TestUnchangedTrust(t *testing.T) {
	keys, here := uint64(1), false
	w := newWorld(t, func(f *Forum) {
		f.TrustStamp = func() uint64 { return keys }
		f.Files = func(string) FileState { return FileState{Here: here} }
	})
	w.must(simple(1, "Hello", ""))
	detached, err := os.ReadFile("../article/content/testdata/detached.eml")
	if err != nil {
		t.Fatal(err)
	}
	file := "/m/" + w.must(string(detached)).ID.Bare()
	for _, path := range []string{"/g/misc.test/t/a1@a.example", "/m/a1@a.example"} {
		w.get(path)
		r := w.get(path)
		if r.Header.Get("Content-Security-Policy") == "" {
			t.Errorf("%s: without a policy", path)
		}
		tag := r.Header.Get("ETag")
		keys++
		if r := w.get(path, "If-None-Match", tag); r.StatusCode != 200 || r.Header.Get("ETag") == tag {
			t.Errorf("%s: %d after a statement came", path, r.StatusCode)
		}
	}
	if r := w.get(file); r.StatusCode != 200 || r.Header.Get("ETag") != "" {
		t.Errorf("a torrent that is not here: %d %s", r.StatusCode, r.Header.Get("ETag"))
	}
	here = true
	if r := w.get(file); r.StatusCode != 200 || r.Header.Get("ETag") == "" {
		t.Errorf("a torrent that is here: %d", r.StatusCode)
	}
}

func TestUnread(t *testing.T) {
	w := newWorld(t)
	for i := 1; i <= 3; i++ {
		w.must(simple(i, fmt.Sprint("Thread ", i), ""))
	}
	if r := w.get("/g/misc.test"); strings.Contains(r.body, `class="unread"`) {
		t.Error("the first visit shows unread threads")
	}
	w.must(simple(4, "Re: Thread 1", "<a1@a.example>"))
	if r := w.get("/g/misc.test"); strings.Count(r.body, `class="unread"`) != 1 {
		t.Errorf("unread: %s", r.body)
	}
	if r := w.get("/g/misc.test?order=unread"); strings.Count(r.body, "/t/a") != 2 { // thread, and its first unread
		t.Errorf("unread list: %s", r.body)
	}
	if r := w.get("/"); !strings.Contains(r.body, "1 new") {
		t.Error("front page counts nothing")
	}
	if r := w.get("/g/misc.test/t/a1@a.example"); !strings.Contains(r.body, "post unread") || strings.Count(r.body, "post unread") != 1 {
		t.Error("the thread does not mark it")
	}
	if r := w.get("/g/misc.test?order=unread"); !strings.Contains(r.body, "read everything") {
		t.Error("reading does not mark as read")
	}
	w.must(simple(5, "new", ""))
	r := w.post("/g/misc.test/read", nil)
	if r.StatusCode != 303 || strings.Contains(w.get("/g/misc.test?order=active").body, `class="unread"`) {
		t.Error("mark all")
	}
	w.post("/g/misc.test/read", map[string]string{"undo": "1-4"})
	if !strings.Contains(w.get("/g/misc.test").body, `class="unread"`) {
		t.Error("undo")
	}
}

func TestThreadLinkAtOnce(t *testing.T) {
	w := newWorld(t)
	a, _ := article.Normalize([]byte(simple(1, "Hello", "")), article.Limits{})
	x, _ := article.Parse(a, article.Limits{})
	if _, err := w.s.Add(context.Background(), x, spool.Arrival{Groups: []article.Group{"misc.test"}, At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if r := w.get("/m/a1@a.example"); !strings.Contains(r.body, `href="/g/misc.test/t/a1@a.example#`) { // no follower ran yet
		t.Error("an article that came this moment has no link to its thread")
	}
}
