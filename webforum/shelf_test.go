package webforum

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/members"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/webforum/past"
)

// member makes the world's visitor a member called ann.
func (w *world) member() {
	w.t.Helper()
	if err := w.book.Add(context.Background(), members.Account{Name: "ann", Email: "ann@a.example"}, "correct horse"); err != nil {
		w.t.Fatal(err)
	}
	if r := w.post("/login", map[string]string{"name": "ann", "password": "correct horse"}); r.StatusCode != 303 {
		w.t.Fatal(r.Status)
	}
}

func (w *world) put(path string, fields map[string]string, header ...string) answer {
	w.t.Helper()
	return w.form("PUT", path, fields, header...)
}

// obey lets the control follower act on what came.
func (w *world) obey() {
	w.t.Helper()
	c := &agent.Control{Agent: w.a}
	for e, err := range w.s.Since(context.Background(), 0) {
		if err == nil {
			err = c.Follow(context.Background(), e)
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
	w.follow()
}

func has(t *testing.T, a answer, want string) {
	t.Helper()
	if !strings.Contains(a.body, want) {
		t.Errorf("%s: no %q in\n%s", a.Status, want, a.body)
	}
}

func hasNot(t *testing.T, a answer, no string) {
	t.Helper()
	if strings.Contains(a.body, no) {
		t.Errorf("there is %q in\n%s", no, a.body)
	}
}

func TestWatching(t *testing.T) {
	w := newWorld(t)
	w.must(simple(1, "One", ""))
	thread := "/g/misc.test/t/a1@a.example"
	if r := w.post(thread+"/watch", nil); r.StatusCode != http.StatusUnauthorized {
		t.Errorf("a guest watches: %s", r.Status)
	}
	hasNot(t, w.get(thread), "/watch")
	w.member()
	w.get("/g/misc.test")
	has(t, w.get(thread), ">Watch<")
	if r := w.post(thread+"/watch", map[string]string{"act": "watch"}); r.StatusCode != 303 {
		t.Fatal(r.Status)
	}
	has(t, w.get(thread), "Stop watching")
	has(t, w.get("/g/misc.test"), ">watched<")
	hasNot(t, w.get("/"), "thread has news")
	w.must(simple(2, "Re: One", "<a1@a.example>"))
	has(t, w.get("/"), "1 watched thread has news"[2:])
	has(t, w.get("/mine"), "1 new post<")
	r := w.get(thread)
	has(t, r, `<a class="new" href="#`)
	has(t, r, ">1 new post<")
	hasNot(t, w.get("/"), "has news")
	hasNot(t, w.get("/mine"), "new post")
	w.post(thread+"/watch", map[string]string{"act": "unwatch", "next": "/mine"})
	has(t, w.get("/mine"), "You watch no thread")
	if r := w.post("/g/misc.test/t/none@x/watch", nil); r.StatusCode != 404 {
		t.Errorf("of nothing: %s", r.Status)
	}
}

// What changed for a member elsewhere is seen at once: the page's tag knows.
func TestTagKnowsMembersMarks(t *testing.T) {
	w := newWorld(t)
	w.must(simple(1, "One", ""))
	w.member()
	w.get("/g/misc.test")
	tag := w.get("/g/misc.test").Header.Get("ETag")
	if r := w.get("/g/misc.test", "If-None-Match", tag); r.StatusCode != 304 {
		t.Errorf("unchanged: %s", r.Status)
	}
	if err := w.book.Mark(context.Background(), "ann", "misc.test", 1, 1, false); err != nil {
		t.Fatal(err)
	}
	if r := w.get("/g/misc.test", "If-None-Match", tag); r.StatusCode != 200 {
		t.Errorf("a newsreader marked: %s", r.Status)
	}
}

// Who is muted makes nothing new: neither a watched thread nor a list nor a thread
// tells of his posts, until somebody else writes.
func TestMutedMakesNoNews(t *testing.T) {
	w := newWorld(t)
	w.f.Trust = func(context.Context, spool.Entry) Trust { return Trust{Result: "none"} }
	troll, gate, thread := strings.Repeat("a", 52), strings.Repeat("b", 52), "/g/misc.test/t/a1@a.example"
	w.must(simple(1, "One", ""))
	w.member()
	w.get("/g/misc.test")
	w.post(thread+"/watch", map[string]string{"act": "watch"})
	w.get(thread)
	for _, id := range []string{troll, gate} {
		w.post("/u/"+id+"/mute", map[string]string{"act": "mute", "name": "Troll"})
	}
	has(t, w.get("/mine"), "announce no watched one")
	news := func(want bool, number string) {
		t.Helper()
		for path, text := range map[string]string{"/": "thread has news", "/mine": ">" + number + " new post", "/g/misc.test": "new=1"} {
			if r := w.get(path); strings.Contains(r.body, text) != want {
				t.Errorf("%s: %q is there: %v", path, text, !want)
			}
		}
	}
	news(false, "")
	w.signed(simple(2, "Re: One", "<a1@a.example>"), article.Proof{State: article.ProofHolds, Purpose: "post", Identity: troll})
	news(false, "")
	w.signed(simple(3, "Re: One", "<a1@a.example>"), article.Proof{State: article.ProofHolds, Purpose: "gate", Identity: gate}) // of a node, for a guest
	news(true, "1")
	w.must(simple(4, "Re: One", "<a1@a.example>"))
	news(true, "2")
	w.post("/u/"+troll+"/mute", map[string]string{"act": "unmute"})
	news(true, "3")
	w.post("/u/"+troll+"/mute", map[string]string{"act": "mute"})
	has(t, w.get(thread), ">2 new posts<")
	news(false, "")
}

func TestMuting(t *testing.T) {
	w := newWorld(t)
	id := strings.Repeat("a", 52)
	e := w.must(simple(1, "One", ""))
	w.must(simple(2, "Re: One", "<a1@a.example>"))
	w.f.Trust = func(context.Context, spool.Entry) Trust { return Trust{Result: "none"} }
	w.member()
	w.get("/g/misc.test")
	if r := w.post("/u/"+id+"/mute", map[string]string{"act": "mute", "name": "Troll <b>"}); r.StatusCode != 303 || r.Header.Get("Location") != "/mine#muted" {
		t.Fatal(r.Status, r.Header)
	}
	has(t, w.get("/mine"), "Troll &lt;b&gt;")
	v := &visitor{Forum: w.f, account: &Account{Name: "ann"}, ctx: context.Background()}
	e.Proof = article.Proof{State: article.ProofHolds, Identity: id, Purpose: "post"}
	if name, ok := v.muted(e); !ok || name != "Troll <b>" {
		t.Errorf("muted: %q %v", name, ok)
	}
	e.Proof.Purpose = "gate" // a node signed for a guest: it is not the person
	if _, ok := v.muted(e); ok {
		t.Error("a gate's key is muted")
	}
	pw := newPostWriter(&page{visitor: &visitor{Forum: w.f, tx: w.f.texts["en"]}}, false, false)
	if err := pw.post(&post{Anchor: "p1", Author: "X", Muted: true, MutedName: "Troll <b>", Body: "text"}); err != nil {
		t.Fatal(err)
	}
	out := pw.b.String()
	inert(t, "muted post", out)
	if !strings.HasPrefix(out, `<details class="post muted" id="p1"><summary>Muted: Troll &lt;b&gt; – show</summary>`) || !strings.Contains(out, "</article>\n</details>") {
		t.Errorf("%s", out)
	}
	w.post("/u/"+id+"/mute", map[string]string{"act": "unmute"})
	hasNot(t, w.get("/mine"), "Troll")
	if r := w.post("/u/short/mute", nil); r.StatusCode != 404 {
		t.Errorf("of nobody: %s", r.Status)
	}
}

func field(body, name string) string {
	m := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(body)
	if m == nil {
		return ""
	}
	return m[1]
}

func TestDrafts(t *testing.T) {
	w := newWorld(t)
	w.must(simple(1, "One", ""))
	guest := w.get("/g/misc.test/post")
	hasNot(t, guest, `name="keep"`)
	if r := w.put("/mine/drafts/"+field(guest.body, "once"), map[string]string{"body": "x"}); r.StatusCode != http.StatusUnauthorized {
		t.Errorf("a guest keeps a draft: %s", r.Status)
	}
	w.member()
	form := w.get("/m/a1@a.example/reply")
	once := field(form.body, "once")
	has(t, form, `data-draft="/mine/drafts/`+once+`"`)
	// by button
	r := w.post("/m/a1@a.example/reply", map[string]string{"once": once, "subject": "Re: One", "body": "half a thought", "keep": "1"})
	has(t, r, "Draft saved at")
	has(t, w.get("/mine"), "half a thought")
	has(t, w.get("/m/a1@a.example/reply"), "You have been writing this already")
	// by script
	if r := w.put("/mine/drafts/"+once, map[string]string{"action": "/m/a1@a.example/reply", "heading": "H", "subject": "Re: One", "body": "a whole thought"}); r.StatusCode != 200 || !strings.HasPrefix(r.body, "Draft saved") {
		t.Errorf("%s %s", r.Status, r.body)
	}
	// two tabs with one draft: the one that does not know of the other's text is told
	text := func(s string) map[string]string {
		return map[string]string{"action": "/m/a1@a.example/reply", "subject": "Re: One", "body": s}
	}
	_, seen, _ := strings.Cut(w.get("/m/a1@a.example/reply?draft="+once).body, `data-seen="`)
	seen, _, _ = strings.Cut(seen, `" `)
	seen = html.UnescapeString(seen)
	tab := w.put("/mine/drafts/"+once, text("of the first tab"), "If-Match", seen)
	if tab.StatusCode != 200 || tab.Header.Get("ETag") == seen || seen == "" {
		t.Errorf("%s, tag %s after %s", tab.Status, tab.Header.Get("ETag"), seen)
	}
	if r := w.put("/mine/drafts/"+once, text("of the second"), "If-Match", seen); r.StatusCode != 412 || !strings.Contains(r.body, "changed elsewhere at") {
		t.Errorf("%s %s", r.Status, r.body)
	}
	has(t, w.get("/mine"), "of the first tab")
	if r := w.put("/mine/drafts/"+once, text("a whole thought"), "If-Match", tab.Header.Get("ETag")); r.StatusCode != 200 {
		t.Errorf("%s %s", r.Status, r.body)
	}
	if r := w.put("/mine/drafts/"+once, map[string]string{"action": "/admin/groups", "body": "x"}); r.StatusCode != 400 {
		t.Errorf("another form: %s", r.Status)
	}
	r = w.get("/m/a1@a.example/reply?draft=" + once)
	has(t, r, "\na whole thought</textarea>")
	if field(r.body, "once") != once {
		t.Error("the draft got another name")
	}
	if r := w.get("/g/misc.test/post?draft=" + once); r.StatusCode != 404 {
		t.Errorf("a draft of another form: %s", r.Status)
	}
	// sent: it is gone, and what script sends late does not bring it back
	if r := w.post("/m/a1@a.example/reply", map[string]string{"once": once, "subject": "Re: One", "body": "a whole thought"}); r.StatusCode != 303 {
		t.Fatal(r.Status, r.body)
	}
	w.put("/mine/drafts/"+once, map[string]string{"action": "/m/a1@a.example/reply", "body": "late"})
	has(t, w.get("/mine"), "No draft is kept")
	// the same form with another text, out of a browser's cache, is another article
	first := w.post("/g/misc.test/post", map[string]string{"once": strings.Repeat("k", 24), "subject": "S", "body": "text"})
	same := w.post("/g/misc.test/post", map[string]string{"once": strings.Repeat("k", 24), "subject": "S", "body": "text"})
	other := w.post("/g/misc.test/post", map[string]string{"once": strings.Repeat("k", 24), "subject": "S", "body": "other text"})
	a, b, c := first.Header.Get("Location"), same.Header.Get("Location"), other.Header.Get("Location")
	if a != b || a == c || c == "" {
		t.Errorf("%s %s %s", a, b, c)
	}
	// bounded, and said
	w.f.limits = limiter{}
	for n := range members.MaxDrafts + 1 {
		r = w.put(fmt.Sprintf("/mine/drafts/%024d", n), map[string]string{"action": "/g/misc.test/post", "body": "text"})
	}
	if r.StatusCode != http.StatusInsufficientStorage {
		t.Errorf("%d drafts: %s", members.MaxDrafts+1, r.Status)
	}
	has(t, w.post("/g/misc.test/post", map[string]string{"once": strings.Repeat("z", 24), "subject": "S", "body": "text", "keep": "1"}), "no room for more")
	w.post(fmt.Sprintf("/mine/drafts/%024d", 0), nil)
	if r := w.get(fmt.Sprintf("/g/misc.test/post?draft=%024d", 0)); r.StatusCode != 404 {
		t.Errorf("thrown away: %s", r.Status)
	}
}

// A guest changes and deletes what he posted, with the secret in his cookie; what
// was changed can be read.
func TestGuestEdits(t *testing.T) {
	w := newWorld(t)
	w.f.Past = &past.Book{DB: w.f.State}
	w.a.Superseded = func(_ context.Context, old *article.Article, by article.ID) error {
		return w.f.Past.(*past.Book).Keep(old, by)
	}
	w.a.Withdrawn = func(_ context.Context, id article.ID) {
		if err := w.f.Threads.Forget(id); err != nil {
			t.Error(err)
		}
	}
	r := w.post("/g/misc.test/post", map[string]string{"name": "Gast", "subject": "Mine", "body": "first line\n\nbefore\n\nlast line"})
	first := r.Header.Get("Location")
	if len(w.jar[guestCookie]) != 43 {
		t.Fatalf("cookie %q", w.jar[guestCookie])
	}
	has(t, w.get(first), `href="`+first+`/edit"`)
	answerTo := w.post(first+"/reply", map[string]string{"name": "Gast", "subject": "Re: Mine", "body": "> before\n\nan answer"})
	secret := w.jar[guestCookie]
	w.jar[guestCookie] = strings.Repeat("x", 43)
	hasNot(t, w.get(first), "/edit")
	for _, act := range []string{"/edit", "/delete"} {
		if r := w.get(first + act); r.StatusCode != http.StatusForbidden {
			t.Errorf("somebody else: %s", r.Status)
		}
	}
	w.jar[guestCookie] = secret
	has(t, w.get(first+"/edit"), "\nfirst line\n\nbefore\n\nlast line")
	r = w.post(first+"/edit", map[string]string{"name": "Gast", "subject": "Mine", "body": "first line\n\nafter\n\nlast line"})
	second := r.Header.Get("Location")
	w.obey()
	if r := w.get(first); r.StatusCode != 404 {
		t.Errorf("the old version: %s", r.Status)
	}
	page := w.get(second)
	has(t, page, "after")
	has(t, page, second+"/history")
	hist := w.get(second + "/history")
	inert(t, "history", hist.body)
	has(t, hist, "<del>- before</del>\n<ins>+ after</ins>")
	// the new version stands where the old one stood: no ghost, the answer below it
	thread := w.get(w.get("/g/misc.test/t/" + strings.TrimPrefix(first, "/m/")).locationOr("/g/misc.test/t/" + strings.TrimPrefix(first, "/m/")))
	hasNot(t, thread, "ghost")
	if a, b := strings.Index(thread.body, "after"), strings.Index(thread.body, "an answer"); a < 0 || b < a {
		t.Errorf("order %d %d", a, b)
	}
	if list := w.get("/g/misc.test"); !strings.Contains(list.body, `<b>1</b> <span class="vhm">reply</span>`) {
		t.Errorf("list: %s", list.body)
	}
	has(t, w.get(second+"/delete"), "Delete this article?")
	if r := w.post(second+"/delete", nil); r.StatusCode != 303 {
		t.Fatal(r.Status, r.body)
	}
	w.obey()
	if r := w.get(second); r.StatusCode != 404 {
		t.Errorf("deleted: %s", r.Status)
	}
	if r := w.get(second + "/history"); r.StatusCode != 404 {
		t.Errorf("history of what was deleted: %s", r.Status)
	}
	if r := w.get(answerTo.Header.Get("Location")); r.StatusCode != 200 {
		t.Errorf("the answer: %s", r.Status)
	}
}

func (a answer) locationOr(path string) string {
	if l := a.Header.Get("Location"); l != "" {
		return strings.SplitN(l, "#", 2)[0]
	}
	return path
}

func (w *world) upload(path string, fields map[string]string, files map[string][]byte) string {
	w.t.Helper()
	t, ok := w.t.(*testing.T)
	if !ok {
		w.t.Fatal("upload needs a test")
	}
	body, typ := upload1(t, fields, files)
	r := httptest.NewRequest("POST", "http://"+w.host+path, body)
	r.Header.Set("Content-Type", typ)
	a := w.do(r)
	if a.StatusCode != 303 {
		t.Fatal(a.Status, a.body)
	}
	return a.Header.Get("Location")
}

// Files stay with an article that is edited, unless they are taken off.
func TestEditKeepsFiles(t *testing.T) {
	w := newWorld(t)
	first := w.upload("/g/misc.test/post", map[string]string{"name": "G", "subject": "Pictures", "body": "look"}, map[string][]byte{"a.txt": []byte("alpha"), "b.bin": []byte("beta")})
	form := w.get(first + "/edit")
	fields := regexp.MustCompile(`name="(keepfile\.\d+)" value="1" checked`).FindAllStringSubmatch(form.body, -1)
	if len(fields) != 2 {
		t.Fatalf("%v in %s", fields, form.body)
	}
	r := w.post(first+"/edit", map[string]string{"name": "G", "subject": "Pictures", "body": "look again", fields[0][1]: "1"})
	second := w.get(r.Header.Get("Location"))
	has(t, second, "look again")
	if n := strings.Count(second.body, `class="cap"`); n != 1 {
		t.Errorf("%d files in %s", n, second.body)
	}
	part := regexp.MustCompile(`/m/[^"]+/a/\d+`).FindString(second.body)
	if got := w.get(part); got.body != "alpha" && got.body != "beta" {
		t.Errorf("%s: %q", part, got.body)
	}
}

func TestMarkUnread(t *testing.T) {
	w := newWorld(t)
	for n := range 3 {
		w.must(simple(n+1, fmt.Sprint("Thread ", n+1), ""))
	}
	w.get("/g/misc.test")
	hasNot(t, w.get("/g/misc.test?order=unread"), "a2@a.example")
	if r := w.post("/m/a2@a.example/unread", nil); r.StatusCode != 303 || r.Header.Get("Location") != "/g/misc.test" {
		t.Fatal(r.Status, r.Header)
	}
	r := w.get("/g/misc.test?order=unread")
	has(t, r, "a2@a.example")
	hasNot(t, r, "a1@a.example")
	w.must(simple(9, "Re: Thread 1", "<a1@a.example>"))
	w.get("/g/misc.test/t/a1@a.example")
	w.post("/m/a1@a.example/unread", nil) // what came later is read: the thread is unread all the same
	has(t, w.get("/g/misc.test?order=unread"), "a1@a.example")
	if got := parseRanges("1-5,8").del(3).del(1).del(8).del(9).String(); got != "2,4-5" {
		t.Errorf("%s", got)
	}
}

// The small form at the end of a thread leads back to it; a line that comes twice
// at once is one article.
func TestQuickForm(t *testing.T) {
	w := newWorld(t)
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	w.f.Now = func() time.Time { return now }
	for n := range 30 {
		refs := ""
		if n > 0 {
			refs = "<a1@a.example>"
		}
		w.must(simple(n+1, "One", refs))
	}
	thread := "/g/misc.test/t/a1@a.example"
	hasNot(t, w.get(thread), `class="quick"`)
	has(t, w.get(thread+"?page=last"), `class="quick"`)
	line := map[string]string{"back": "thread", "hinted": "1", "body": "hello all", "name": "G"}
	r := w.post("/m/a1@a.example/reply", line)
	to := r.Header.Get("Location")
	if !strings.HasPrefix(to, thread+"?page=last#p") {
		t.Fatalf("%s %s", r.Status, to)
	}
	has(t, w.get(strings.SplitN(to, "#", 2)[0]), "hello all")
	w.post("/m/a1@a.example/reply", line)
	now = now.Add(20 * time.Second)
	w.post("/m/a1@a.example/reply", line)
	if n := strings.Count(w.get(thread+"?page=last").body, "hello all"); n != 2 {
		t.Errorf("%d times", n)
	}
	alone := w.get("/m/a2@a.example/post?g=misc.test&s=One")
	inert(t, "post alone", alone.body)
	if !strings.HasPrefix(alone.body, `<article class="post"`) || !strings.Contains(alone.body, "Text number 2.") {
		t.Errorf("%s", alone.body)
	}
	if r := w.get("/m/a2@a.example/post?g=misc.none"); r.StatusCode != 404 {
		t.Errorf("in no group: %s", r.Status)
	}
}
