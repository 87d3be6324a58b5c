package webforum

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/html"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/members"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/spooltest"
	"github.com/litfass/litfass/spool/threads"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a forum on a spool in memory, with the real agent and members.
type world struct {
	t    testing.TB
	f    *Forum
	s    spool.Store
	a    *agent.Agent
	book *members.Book
	h    http.Handler
	from string // the client's address
	host string // by which it calls us
	jar  map[string]string
}

type testAgent struct{ *agent.Agent }

func (a testAgent) Readable(ctx context.Context, o agent.Origin) (func(article.Group) bool, error) {
	acc, err := a.Access(ctx, o)
	if err != nil {
		return nil, err
	}
	return func(g article.Group) bool { return acc.May(ctx, agent.Read, g) == nil }, nil
}

func (a testAgent) Postable(ctx context.Context, o agent.Origin, g spool.GroupInfo) error {
	acc, err := a.Access(ctx, o)
	if err != nil {
		return err
	}
	return acc.MayPost(ctx, g)
}

type testAccounts struct{ *members.Book }

func (b testAccounts) Login(ctx context.Context, name, password string, from netip.Addr) (Account, error) {
	a, err := b.Book.Login(ctx, name, password, from)
	return Account{Name: a.Name, Email: a.Email, Admin: a.Admin, Created: a.Created}, err
}
func (b testAccounts) Get(ctx context.Context, name string) (Account, error) {
	a, err := b.Book.Get(ctx, name)
	return Account{Name: a.Name, Email: a.Email, Admin: a.Admin, Created: a.Created}, err
}
func (b testAccounts) Empty(ctx context.Context) (bool, error) {
	all, err := b.List(ctx)
	return len(all) == 0, err
}
func (b testAccounts) First(ctx context.Context, name, email, password string) (string, error) {
	return "one two three", b.Add(ctx, members.Account{Name: name, Email: email, Admin: true}, password)
}
func (b testAccounts) Read(ctx context.Context, account string, g article.Group) (string, error) {
	r, err := b.ReadIn(ctx, account, string(g))
	return r.String(), err
}
func (b testAccounts) SetRead(ctx context.Context, account string, g article.Group, s string) error {
	r, err := members.ParseRanges(s)
	if err != nil {
		return err
	}
	return b.Book.SetRead(ctx, account, string(g), r)
}

func newWorld(t testing.TB, change ...func(*Forum)) *world {
	t.Helper()
	dir := t.TempDir()
	db, err := state.Open(filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	cache, _, err := state.OpenCache(filepath.Join(dir, "cache.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close(); cache.Close() })
	w := &world{t: t, s: spooltest.NewMem(), from: "127.0.0.1:4000", host: "localhost:8080", jar: map[string]string{}}
	x, err := threads.Open(cache, w.s)
	if err != nil {
		t.Fatal(err)
	}
	w.book = &members.Book{DB: db}
	w.a = &agent.Agent{Host: "box.example", Spool: w.s, State: db, Members: w.book, Policy: agent.Policy{Anonymous: map[string]string{"web": "post"}}}
	w.f = &Forum{Host: "box.example", URL: "http://box.example", Spool: w.s, Threads: x, Agent: testAgent{w.a}, Accounts: testAccounts{w.book}, State: db, Shelf: w.book,
		Anonymous: "post", Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Temp: dir, Zone: time.UTC, MaxPost: 4 << 20}
	for _, c := range change {
		c(w.f)
	}
	if w.h, err = w.f.Handler(); err != nil {
		t.Fatal(err)
	}
	w.groups("misc.test", "misc.talk", "de.comp.lang")
	return w
}

func (w *world) groups(names ...string) {
	w.t.Helper()
	for _, n := range names {
		err := w.s.PutGroups(context.Background(), spool.GroupInfo{Name: article.Group(n), Status: spool.PostOpen, Description: "About " + n})
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// add files an article as if imported and lets the thread index follow.
func (w *world) add(text string) (spool.Entry, error) {
	lim := article.Limits{Article: 64 << 20, Line: 32 << 20, Header: 8 << 20, Field: 8 << 20, Groups: 1000}
	wire, err := article.Normalize([]byte(text), lim)
	if err != nil {
		return spool.Entry{}, err
	}
	a, err := article.Parse(wire, lim)
	if err != nil {
		return spool.Entry{}, err
	}
	e, err := w.s.Add(context.Background(), a, spool.Arrival{Groups: []article.Group{"misc.test"}, Via: spool.Via{How: spool.Imported}, At: time.Now()})
	if err == nil {
		w.follow()
	}
	return e, err
}

func (w *world) follow() {
	for e, err := range w.s.Since(context.Background(), w.f.Threads.Done()) {
		if err != nil {
			w.t.Fatal(err)
		}
		if err := w.f.Threads.Follow(context.Background(), e); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) must(text string) spool.Entry {
	w.t.Helper()
	e, err := w.add(text)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

func simple(n int, subject, refs string) string {
	if refs != "" {
		refs = "References: " + refs + "\n"
	}
	return fmt.Sprintf("Path: x!not-for-mail\nFrom: Ann %d <ann%d@a.example>\nNewsgroups: misc.test\nSubject: %s\nMessage-ID: <a%d@a.example>\nDate: %s\n%s\nText number %d.\n\n> quoted\n\nMore.\n-- \nAnn\n",
		n, n%7, subject, n, article.FormatDate(time.Now().Add(-time.Hour).Add(time.Duration(n)*time.Second)), refs, n)
}

type answer struct {
	*http.Response
	body string
}

func (w *world) do(r *http.Request) answer {
	w.t.Helper()
	r.RemoteAddr = w.from
	for k, v := range w.jar {
		r.AddCookie(&http.Cookie{Name: k, Value: v})
	}
	rec := httptest.NewRecorder()
	w.h.ServeHTTP(rec, r)
	res := rec.Result()
	for _, c := range res.Cookies() {
		if c.MaxAge < 0 {
			delete(w.jar, c.Name)
		} else {
			w.jar[c.Name] = c.Value
		}
		if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode {
			w.t.Errorf("cookie %s is not hardened", c.Name)
		}
	}
	w.follow()
	return answer{res, rec.Body.String()}
}

func (w *world) get(path string, header ...string) answer {
	w.t.Helper()
	r := httptest.NewRequest("GET", "http://"+w.host+path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return w.do(r)
}

func (w *world) post(path string, fields map[string]string, header ...string) answer {
	w.t.Helper()
	v := url.Values{}
	for k, s := range fields {
		v.Set(k, s)
	}
	r := httptest.NewRequest("POST", "http://"+w.host+path, strings.NewReader(v.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return w.do(r)
}

// inert checks that a page holds nothing that runs, loads from elsewhere or breaks
// out of its place.
func inert(t testing.TB, where, page string) {
	t.Helper()
	z := html.NewTokenizer(strings.NewReader(page))
	scripts := 0
	var open []string
	for {
		switch z.Next() {
		case html.ErrorToken:
			if len(open) > 0 {
				t.Errorf("%s: left open: %v", where, open)
			}
			return
		case html.EndTagToken:
			tok := z.Token()
			if len(open) == 0 || open[len(open)-1] != tok.Data {
				t.Errorf("%s: closes %s, open are %v", where, tok.Data, open)
				return
			}
			open = open[:len(open)-1]
		case html.StartTagToken, html.SelfClosingTagToken:
			tok := z.Token()
			switch tok.Data {
			case "script":
				scripts++
				if scripts > 1 {
					t.Errorf("%s: a second script", where)
				}
			case "style", "iframe", "object", "embed", "base", "svg", "math", "template":
				t.Errorf("%s: element %s", where, tok.Data)
			}
			switch tok.Data {
			case "meta", "link", "img", "br", "hr", "input", "wbr":
			default:
				open = append(open, tok.Data)
			}
			for _, a := range tok.Attr {
				v := strings.ToLower(strings.TrimSpace(a.Val))
				switch {
				case strings.HasPrefix(a.Key, "on"), a.Key == "style", a.Key == "srcdoc", a.Key == "srcset":
					t.Errorf("%s: attribute %s", where, a.Key)
				case a.Key == "src" && !strings.HasPrefix(v, "/"), a.Key == "src" && strings.HasPrefix(v, "//"):
					t.Errorf("%s: loads %s", where, a.Val)
				case a.Key == "action" && (!strings.HasPrefix(v, "/") || strings.HasPrefix(v, "//")):
					t.Errorf("%s: sends to %s", where, a.Val)
				case a.Key == "href" && tok.Data == "link" && (!strings.HasPrefix(v, "/") && !strings.HasPrefix(v, "feed")):
					t.Errorf("%s: loads %s", where, a.Val)
				case a.Key == "href" && (strings.HasPrefix(v, "javascript") || strings.HasPrefix(v, "data:") || strings.HasPrefix(v, "vbscript")):
					t.Errorf("%s: link to %s", where, a.Val)
				}
			}
		}
	}
}

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

func TestPosting(t *testing.T) {
	w := newWorld(t)
	r := w.post("/g/misc.test/post", map[string]string{"name": "Jürgen \"J\" Ü", "email": "j@x.example", "subject": "Grüße", "body": "Hallo <b>Welt</b>\nzweite Zeile\n\na    b    c\nd    e    f\n\n> zitiert\n.Punkt\nFrom hier\n" + strings.Repeat("lang ", 60)})
	to := r.Header.Get("Location")
	if r.StatusCode != 303 || !strings.HasPrefix(to, "/m/") {
		t.Fatalf("%d %s %s", r.StatusCode, to, r.body)
	}
	page := w.get(to)
	for _, s := range []string{"Grüße", "<p class=\"l\" dir=\"auto\">Hallo &lt;b&gt;Welt&lt;/b&gt;\nzweite Zeile</p>", "\">a    b    c\nd    e    f</pre>", "Jürgen &#34;J&#34; Ü", ".Punkt", "From hier"} {
		if !strings.Contains(page.body, s) {
			t.Errorf("no %q in %s", s, page.body)
		}
	}
	raw := w.get(to + "/raw").body
	for l := range strings.SplitSeq(raw, "\r\n") {
		if len(l) > 90 && !strings.HasPrefix(l, "Article-Signature") && !strings.HasPrefix(l, "Injection-Info") && !strings.Contains(l, "Cancel-") {
			t.Errorf("long line %q", l)
		}
	}
	r = w.post(to+"/reply", map[string]string{"name": "B", "body": "antwort"})
	if r.StatusCode != 303 {
		t.Fatalf("reply: %d %s", r.StatusCode, r.body)
	}
	raw = w.get(r.Header.Get("Location") + "/raw").body
	if !strings.Contains(raw, "References: <") || !strings.Contains(raw, "Subject: =?UTF-8?B?") {
		t.Errorf("reply: %s", raw)
	}
	if r := w.get("/g/misc.test"); !strings.Contains(r.body, "<b>1</b>") {
		t.Error("the thread does not count the reply")
	}
}

// Where an answer goes is said before it is written.
func TestFollowupTo(t *testing.T) {
	w := newWorld(t)
	for i, c := range []struct{ header, groups, says string }{
		{"", "misc.test", ""},
		{"Followup-To: misc.talk\n", "misc.talk", "asks for answers in: <b>misc.talk</b>"},
		{"Followup-To: misc.talk,misc.test\n", "misc.talk,misc.test", "asks for answers in: <b>misc.talk</b> <b>misc.test</b>"},
		{"Followup-To: poster\n", "misc.test", `by mail, not in the group: <a href="mailto:ann@a.example">`},
		{"Followup-To: POSTER\nReply-To: Ann at home <home@a.example>\n", "misc.test", `<a href="mailto:home@a.example">`},
		{"Followup-To: ,,,\n", "misc.test", ""},
		{"Followup-To: poster\nReply-To: \"><script>x</script>\n", "misc.test", "by mail, not in the group:"},
	} {
		e := w.must(fmt.Sprintf("Path: x!not-for-mail\nFrom: Ann <ann@a.example>\nNewsgroups: misc.test\nSubject: s\nMessage-ID: <fu%d@a.example>\nDate: %s\n%s\nText\n", i, article.FormatDate(time.Now()), c.header))
		page := w.get(messagePath(e.ID) + "/reply").body
		inert(t, c.header, page)
		if !strings.Contains(page, `name="groups" value="`+c.groups+`"`) || !strings.Contains(page, c.says) {
			t.Errorf("%q: not %s, %s in %s", c.header, c.groups, c.says, page)
		}
		if c.says == "" && (strings.Contains(page, "asks for answers") || strings.Contains(page, "reply goes to")) {
			t.Errorf("%q: says where the answer goes", c.header)
		}
		if thread := w.get(threadPath("misc.test", e.ID)).body; !strings.Contains(thread, `class="quick"`) || !strings.Contains(thread, c.says) || c.says == "" && strings.Contains(thread, "asks for answers") {
			t.Errorf("%q: the form under the thread says something else: %s", c.header, thread)
		}
	}
}

// Groups that programs write stand apart from those that people read.
func TestGroupsForPrograms(t *testing.T) {
	w := newWorld(t)
	has(t, w.get("/"), ">3 groups")
	hasNot(t, w.get("/"), "Groups for programs")
	w.f.groups.forget()
	w.groups("control", "control.cancel", "junk", "mesh.admin.pki.keys", "mesh.admin.news", "controlled.burning", "junk.mail")
	people, programs, found := strings.Cut(w.get("/").body, "<summary>Groups for programs</summary>")
	if !found {
		t.Fatal("nothing is folded away")
	}
	for name, folded := range map[string]bool{"control": true, "control.cancel": true, "junk": true, "mesh.admin.pki.keys": true, "mesh.admin.news": false, "controlled.burning": false, "junk.mail": false, "misc.test": false} {
		link := `href="/g/` + name + `"`
		if strings.Contains(programs, link) != folded || strings.Contains(people, link) == folded {
			t.Errorf("%s: folded away %v, want %v", name, !folded, folded)
		}
	}
	has(t, w.get("/?under=control"), `href="/g/control.cancel"`) // who asks for them gets them
	has(t, w.get("/?find=PKI"), `href="/g/mesh.admin.pki.keys"`)
}

// A list of very many groups is cut into pages, and names are found in it.
func TestManyGroups(t *testing.T) {
	w := newWorld(t)
	var names []string
	for i := range 700 {
		names = append(names, fmt.Sprintf("h%03d.talk", i), fmt.Sprintf("h%03d.c++.moderated", i))
	}
	w.groups(names...)
	first := w.get("/")
	has(t, first, ">1403 groups")
	has(t, first, `"/?under=h000"`)
	has(t, first, `href="?page=2" rel="next"`)
	has(t, first, "Busiest groups")
	hasNot(t, first, `"/?under=h699"`)
	last := w.get("/?page=3")
	has(t, last, `"/?under=h699"`)
	has(t, last, `"/?under=misc"`)
	has(t, last, `href="?page=2" rel="prev"`)
	hasNot(t, last, `"/?under=h000"`)
	hasNot(t, last, `rel="next"`)
	found := w.get("/?find=C%2B%2B&page=2")
	has(t, found, ">700 groups")
	has(t, found, `href="/g/h060.c&#43;&#43;.moderated"`)
	has(t, found, `href="?find=C%2B%2B&amp;page=3"`)
	hasNot(t, found, `/g/h060.talk"`)
	hasNot(t, found, "/g/h059.c")
	has(t, w.get("/?find=nowhere"), "No group’s name")
	for _, page := range []string{"0", "-1", "99", "x", "9223372036854775807"} {
		has(t, w.get("/?page="+page), `"/?under=h000"`)
	}
}

// TestHugeList: with very many groups nobody waits for the list that is made anew.
func TestHugeList(t *testing.T) {
	w := newWorld(t)
	var clock atomic.Int64
	clock.Store(time.Now().Unix())
	w.f.Now = func() time.Time { return time.Unix(clock.Load(), 0) }
	many(w, hugeGroups)
	count := func() string {
		_, rest, _ := strings.Cut(w.get("/").body, `<p class="dim">`)
		n, _, _ := strings.Cut(rest, " ")
		return n
	}
	if n := count(); n != "5003" {
		t.Fatal(n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- w.f.Run(ctx) }()
	w.groups("one.more")
	clock.Add(int64(hugeAge/time.Second) + 1)
	if n := count(); n != "5003" { // the old one, once more
		t.Errorf("%s groups at once", n)
	}
	for end := time.Now().Add(20 * time.Second); count() != "5004"; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the list stays old")
		}
	}
	cancel()
	if err := <-over; err != nil {
		t.Error(err)
	}
	w.groups("one.more.still")
	clock.Add(int64(hugeMost/time.Second) + 1)
	if n := count(); n != "5005" { // too old to be shown
		t.Errorf("%s groups", n)
	}
}

// TestManyForPrograms: what is folded away is cut into pages, too.
func TestManyForPrograms(t *testing.T) {
	w := newWorld(t)
	var names []string
	for i := range cloudPage + 5 {
		names = append(names, fmt.Sprintf("control.c%03d", i))
	}
	w.groups(names...)
	has(t, w.get("/"), `<a href="/?programs=1">`)
	first := w.get("/?programs=1")
	has(t, first, "<h1>Groups for programs</h1>")
	has(t, first, ">305 groups")
	has(t, first, `href="?page=2&amp;programs=1" rel="next"`)
	has(t, first, `href="/g/control.c299"`)
	hasNot(t, first, "misc.test")
	last := w.get("/?programs=1&page=2")
	has(t, last, `href="/g/control.c304"`)
	hasNot(t, last, `href="/g/control.c299"`)
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

func TestFormErrorsKeepTheText(t *testing.T) {
	w := newWorld(t)
	for field, f := range map[string]map[string]string{
		"subject": {"body": "my long text", "subject": " "},
		"email":   {"body": "my long text", "subject": "s", "email": "no address"},
		"groups":  {"body": "my long text", "subject": "s", "groups": "a b,c"},
	} {
		r := w.post("/g/misc.test/post", f)
		if r.StatusCode != 422 || !strings.Contains(r.body, "my long text") || !strings.Contains(r.body, `role="alert"`) {
			t.Errorf("%s: %d", field, r.StatusCode)
		}
		inert(t, field, r.body)
	}
	r := w.post("/g/misc.test/post", map[string]string{"body": "Text <i>\n\n> a", "subject": "s", "preview": "1"})
	if r.StatusCode != 200 || !strings.Contains(r.body, "Text &lt;i&gt;") || !strings.Contains(r.body, "<blockquote>") {
		t.Errorf("preview: %d %s", r.StatusCode, r.body)
	}
	if w.s.Last() != 0 {
		t.Error("something was posted")
	}
}

func TestTwiceIsOnce(t *testing.T) {
	w := newWorld(t)
	once := regexp.MustCompile(`name="once" value="([a-z2-7]{24})"`).FindStringSubmatch(w.get("/g/misc.test/post").body)
	if once == nil {
		t.Fatal("the form has no mark")
	}
	f := map[string]string{"name": "a", "subject": "s", "body": "b", "once": once[1]}
	a, b := w.post("/g/misc.test/post", f), w.post("/g/misc.test/post", f)
	if a.StatusCode != 303 || b.StatusCode != 303 || a.Header.Get("Location") != b.Header.Get("Location") || w.s.Last() != 1 {
		t.Errorf("%d %s, %d %s, %d articles", a.StatusCode, a.Header.Get("Location"), b.StatusCode, b.Header.Get("Location"), w.s.Last())
	}
}

func upload1(t *testing.T, fields map[string]string, files map[string][]byte) (body *bytes.Buffer, typ string) {
	t.Helper()
	body = &bytes.Buffer{}
	m := multipart.NewWriter(body)
	for k, v := range fields {
		if err := m.WriteField(k, v); err != nil {
			t.Fatal(err)
		}
	}
	for name, data := range files {
		p, err := m.CreateFormFile("file", name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	m.Close()
	return body, m.FormDataContentType()
}

func TestAttachments(t *testing.T) {
	w := newWorld(t)
	png := append([]byte("\x89PNG\r\n\x1a\n"), bytes.Repeat([]byte{0, 1, 254, 13, 10}, 3000)...)
	body, typ := upload1(t, map[string]string{"name": "a", "subject": "picture", "body": "see"}, map[string][]byte{"../Grüße <b>.png": png})
	r := httptest.NewRequest("POST", "http://box.example/g/misc.test/post", body)
	r.Header.Set("Content-Type", typ)
	a := w.do(r)
	if a.StatusCode != 303 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	page := w.get(a.Header.Get("Location"))
	inert(t, "attachment", page.body)
	img := regexp.MustCompile(`<img src="([^"]+)" alt="Grüße _b_.png"`).FindStringSubmatch(page.body)
	if img == nil {
		t.Fatalf("no picture: %s", page.body)
	}
	got := w.get(html.UnescapeString(img[1]))
	if got.body != string(png) || got.Header.Get("Content-Type") != "image/png" || !strings.Contains(got.Header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("%d octets of %d, %v", len(got.body), len(png), got.Header)
	}
	if part := w.get(html.UnescapeString(img[1]), "Range", "bytes=0-3"); part.StatusCode != 206 || part.body != "\x89PNG" {
		t.Errorf("range: %d %q", part.StatusCode, part.body)
	}
	body, typ = upload1(t, map[string]string{"name": "a", "subject": "page", "body": "see"}, map[string][]byte{"x.html": []byte("<script>alert(1)</script>"), "y.svg": []byte("<svg onload=x>")})
	r = httptest.NewRequest("POST", "http://box.example/g/misc.test/post", body)
	r.Header.Set("Content-Type", typ)
	to := w.do(r).Header.Get("Location")
	for i := 1; i <= 2; i++ {
		got := w.get(fmt.Sprintf("%s/a/%d", to, i))
		if got.Header.Get("Content-Type") != "application/octet-stream" || !strings.HasPrefix(got.Header.Get("Content-Disposition"), "attachment") {
			t.Errorf("part %d: %v", i, got.Header)
		}
	}
	body, typ = upload1(t, map[string]string{"name": "a", "subject": "big", "body": "see"}, map[string][]byte{"big.bin": make([]byte, 5<<20)})
	r = httptest.NewRequest("POST", "http://box.example/g/misc.test/post", body)
	r.Header.Set("Content-Type", typ)
	if a := w.do(r); a.StatusCode != 413 {
		t.Errorf("over the limit: %d", a.StatusCode)
	}
	left, _ := filepath.Glob(filepath.Join(w.f.Temp, "*.part"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestCrossOrigin(t *testing.T) {
	w := newWorld(t)
	f := map[string]string{"name": "a", "subject": "s", "body": "b"}
	for _, h := range [][]string{{"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "null"}} {
		for _, path := range []string{"/g/misc.test/post", "/login", "/logout", "/settings", "/start", "/g/misc.test/read"} {
			if r := w.post(path, f, h...); r.StatusCode != 403 {
				t.Errorf("%s %v: %d", path, h, r.StatusCode)
			}
		}
	}
	if w.s.Last() != 0 {
		t.Error("something was posted")
	}
	if r := w.post("/g/misc.test/post", f, "Origin", "http://box.example"); r.StatusCode != 303 {
		t.Errorf("own origin: %d", r.StatusCode)
	}
}

func TestCaptcha(t *testing.T) {
	w := newWorld(t)
	w.from = "192.0.2.1:999"
	numbers := strings.Fields("zero one two three four five six seven eight nine")
	form := w.get("/g/misc.test/post").body
	m := regexp.MustCompile(`how much is (\w+) plus (\w+)\?`).FindStringSubmatch(form)
	tok := regexp.MustCompile(`name="captcha" value="([^"]+)"`).FindStringSubmatch(form)
	if m == nil || tok == nil {
		t.Fatal("no question")
	}
	sum := 0
	for i, n := range numbers {
		for _, x := range m[1:] {
			if x == n {
				sum += i
			}
		}
	}
	f := map[string]string{"name": "a", "subject": "s", "body": "my text", "captcha": tok[1]}
	if r := w.post("/g/misc.test/post", f); r.StatusCode != 422 || !strings.Contains(r.body, "my text") {
		t.Errorf("without an answer: %d", r.StatusCode)
	}
	f["captcha"] = regexp.MustCompile(`name="captcha" value="([^"]+)"`).FindStringSubmatch(w.get("/g/misc.test/post").body)[1]
	f["answer"] = "3"
	if r := w.post("/g/misc.test/post", f); r.StatusCode != 422 { // 4 is the least
		t.Errorf("wrong answer: %d", r.StatusCode)
	}
	c := &w.f.captcha
	token, a, b := c.question(time.Now())
	f["captcha"], f["answer"] = token, fmt.Sprint(a+b)
	if r := w.post("/g/misc.test/post", f); r.StatusCode != 303 {
		t.Errorf("right answer: %d %s", r.StatusCode, r.body)
	}
	if c.check(token, fmt.Sprint(a+b), time.Now()) {
		t.Error("a token holds twice")
	}
	token, a, b = c.question(time.Now())
	forged := "x" + token[1:]
	if forged == token {
		forged = "y" + token[1:]
	}
	if c.check(token, fmt.Sprint(a+b), time.Now().Add(3*time.Hour)) || c.check(forged, fmt.Sprint(a+b), time.Now()) || sum == 0 {
		t.Error("an old or forged token holds")
	}
}

func TestMembers(t *testing.T) {
	w := newWorld(t, func(f *Forum) { f.Anonymous = "read" })
	w.a.Policy.Anonymous["web"] = "read"
	if r := w.get("/g/misc.test"); strings.Contains(r.body, "/g/misc.test/post") || !strings.Contains(r.body, "Log in to write") {
		t.Error("a guest who may only read sees a form")
	}
	if r := w.post("/g/misc.test/post", map[string]string{"subject": "s", "body": "b"}); r.StatusCode != 401 {
		t.Errorf("guest posts: %d", r.StatusCode)
	}
	if r := w.post("/start", map[string]string{"name": "ann", "password": "short"}); r.StatusCode != 422 {
		t.Errorf("short password: %d", r.StatusCode)
	}
	r := w.post("/start", map[string]string{"name": "ann", "email": "ann@a.example", "password": "long enough"})
	if r.StatusCode != 200 || !strings.Contains(r.body, "one two three") {
		t.Fatalf("start: %d %s", r.StatusCode, r.body)
	}
	if r := w.get("/start"); r.StatusCode != 404 {
		t.Errorf("a second first account: %d", r.StatusCode)
	}
	if r := w.get("/g/misc.test"); !strings.Contains(r.body, ">ann</a>") {
		t.Error("not logged in")
	}
	w.post("/logout", nil)
	if r := w.get("/"); strings.Contains(r.body, "<b>ann</b>") {
		t.Error("still logged in")
	}
	if r := w.post("/login", map[string]string{"name": "ann", "password": "wrong"}); r.StatusCode != 401 {
		t.Errorf("wrong password: %d", r.StatusCode)
	}
	r = w.post("/login", map[string]string{"name": "ann", "password": "long enough", "next": "//evil.example"})
	if r.StatusCode != 303 || r.Header.Get("Location") != "/" {
		t.Errorf("login: %d %s", r.StatusCode, r.Header.Get("Location"))
	}
	r = w.post("/g/misc.test/post", map[string]string{"subject": "s", "body": "b"})
	if r.StatusCode != 303 {
		t.Fatalf("member posts: %d %s", r.StatusCode, r.body)
	}
	w.get("/g/misc.test/t/" + strings.TrimPrefix(r.Header.Get("Location"), "/m/"))
	if got, err := w.book.ReadIn(context.Background(), "ann", "misc.test"); err != nil || !got.Has(1) {
		t.Errorf("a newsreader would not see it as read: %v %v", got, err)
	}
	ctx := context.Background()
	if err := w.book.Remove(ctx, "ann"); err != nil {
		t.Fatal(err)
	}
	w.book.Now = func() time.Time { return time.Now().Add(2 * time.Second) }
	if err := w.book.Add(ctx, members.Account{Name: "ann"}, "somebody else's"); err != nil {
		t.Fatal(err)
	}
	if r := w.get("/g/misc.test"); strings.Contains(r.body, ">ann</a>") {
		t.Error("the session of an account that was removed opens a new one of its name")
	}
}

func TestStartFromAfar(t *testing.T) {
	for _, c := range []struct {
		name, from, host, header string
		proxies                  []netip.Prefix
		near                     bool
	}{
		{"this machine", "127.0.0.1:9", "localhost:8080", "", nil, true},
		{"this machine, IPv6", "[::1]:9", "[::1]:8080", "", nil, true},
		{"afar", "192.0.2.1:9", "localhost:8080", "", nil, false},
		{"by a page that calls its own name ours", "127.0.0.1:9", "evil.example", "", nil, false},
		{"through a proxy here that we do not know", "127.0.0.1:9", "127.0.0.1:8080", "X-Forwarded-For", nil, false},
		{"the same, of another make", "127.0.0.1:9", "127.0.0.1:8080", "Forwarded", nil, false},
		{"through a known proxy here that says nothing", "127.0.0.1:9", "127.0.0.1:8080", "", []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, func(f *Forum) { f.SetupCode, f.Proxies = "SECRET7", c.proxies })
			w.from, w.host = c.from, c.host
			header := []string{}
			if c.header != "" {
				header = []string{c.header, "127.0.0.1"}
			}
			if r := w.get("/start", header...); strings.Contains(r.body, `name="code"`) == c.near {
				t.Error("asks for a code:", !c.near)
			}
			f := map[string]string{"name": "ann", "password": "long enough"}
			if !c.near {
				if r := w.post("/start", f, header...); r.StatusCode != 403 {
					t.Errorf("without code: %d", r.StatusCode)
				}
				f["code"] = " secret7 "
			}
			if r := w.post("/start", f, header...); r.StatusCode != 200 {
				t.Errorf("in the end: %d", r.StatusCode)
			}
		})
	}
}

func TestModerated(t *testing.T) {
	w := newWorld(t)
	err := w.s.PutGroups(context.Background(), spool.GroupInfo{Name: "misc.mod", Status: spool.Moderated, Moderator: "m@x.example"})
	if err != nil {
		t.Fatal(err)
	}
	r := w.post("/g/misc.mod/post", map[string]string{"name": "a", "subject": "s", "body": "b"})
	if r.StatusCode != 202 || !strings.Contains(r.body, "waits for a moderator") {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

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

func gz(b string) int {
	var z bytes.Buffer
	w, _ := gzip.NewWriterLevel(&z, 5)
	_, _ = io.WriteString(w, b)
	w.Close()
	return z.Len()
}

// The weight of pages: docs/forum.md says these figures.
func TestWeight(t *testing.T) {
	w := newWorld(t)
	fill(w, 130, 60)
	for path, limit := range map[string]int{"/": 6 << 10, "/g/misc.test": 8 << 10, "/m/b5@a.example": 3 << 10, "/g/misc.test/t/b0@a.example": 18 << 10, w.f.css: 8 << 10, w.f.js: 12 << 10} {
		if n := gz(w.get(path).body); n > limit {
			t.Errorf("%s: %d octets compressed, at most %d", path, n, limit)
		} else {
			t.Logf("%s: %d octets compressed", path, n)
		}
	}
}

// fill makes a thread of posts of an ordinary length, and more threads.
func fill(w *world, posts, more int) {
	words := strings.Fields(loremDE)
	text := func(n int) string {
		var b strings.Builder
		for i := range 130 {
			b.WriteString(words[(n*31+i*i*7+i)%len(words)])
			if i%11 == 10 {
				b.WriteByte('\n')
			} else {
				b.WriteByte(' ')
			}
		}
		return b.String()
	}
	for i := range posts {
		refs := ""
		if i > 0 {
			refs = fmt.Sprintf("References: <b0@a.example> <b%d@a.example>\n", i/2)
		}
		w.must(fmt.Sprintf("Path: x!not-for-mail\nFrom: Person %d <p%d@a.example>\nNewsgroups: misc.test\nSubject: Re: Ein Thema mit %d Wörtern\nMessage-ID: <b%d@a.example>\nDate: %s\nContent-Type: text/plain; charset=utf-8\nMIME-Version: 1.0\n%s\nPerson %d schrieb:\n> %s\n\n%s\n-- \nPerson %d, http://a.example/%d\n",
			i%9, i%9, 5, i, article.FormatDate(time.Now().Add(-time.Duration(posts-i)*time.Minute)), refs, i/2, strings.ReplaceAll(text(i / 2)[:200], "\n", "\n> "), text(i), i%9, i))
	}
	for i := range more {
		w.must(simple(1000+i, fmt.Sprintf("Noch ein Thema %d: %s", i, text(i)[:40]), ""))
	}
}

const loremDE = `Der Knoten am Rathaus ist wieder da seit gestern Abend läuft die Strecke zum Turm ohne Ausfall und wer mag kann die Antenne
am Samstag mit ausrichten helfen wir brauchen noch jemanden mit Leiter und einem Messgerät für die Dämpfung das alte Kabel war gebrochen
deshalb die vielen Paketverluste im letzten Monat danke an alle die geduldig geblieben sind und weiter berichtet haben bitte schreibt
hier hinein was euch auffällt auch Kleinigkeiten zählen denn Geschwindigkeitsmessungen allein sagen wenig über Regen Laub und Nachbarn`

func TestLive(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- w.f.Run(ctx) }()
	srv := httptest.NewServer(w.h)
	defer srv.Close()
	res, err := http.Get(srv.URL + "/events?g=misc.test")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	buf := make([]byte, 4096)
	n, _ := res.Body.Read(buf)
	if !strings.HasPrefix(string(buf[:n]), "retry:") || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%q", buf[:n])
	}
	w.must(simple(1, "Hello", ""))
	n, err = res.Body.Read(buf)
	if err != nil || string(buf[:n]) != "id: 1\ndata: {\"id\":\"a1@a.example\",\"group\":\"misc.test\"}\n\n" {
		t.Errorf("%q %v", buf[:n], err)
	}
	cancel()
	if err := <-over; err != nil {
		t.Error(err)
	}
	if _, err := io.ReadAll(res.Body); err != nil { // the connection ends with the forum
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestTexts(t *testing.T) {
	all, err := loadTexts()
	if err != nil {
		t.Fatal(err)
	}
	en := all["en"].words
	for lang, x := range all {
		for k, s := range en {
			if _, ok := x.words[k]; !ok {
				t.Errorf("%s: no text for %s", lang, k)
			} else if strings.Count(s, "%") != strings.Count(x.words[k], "%") {
				t.Errorf("%s: %s fills in other things", lang, k)
			}
		}
		for k := range x.words {
			if _, ok := en[k]; !ok {
				t.Errorf("%s: %s is not in en", lang, k)
			}
		}
	}
	var code strings.Builder
	for _, pat := range []string{"*.go", "templates/*.html"} {
		files, _ := filepath.Glob(pat)
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(f, "_test.go") {
				code.Write(b)
			}
		}
	}
	used := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?:\.T|\.N|errPage\([^,]+,|fail\([^,]+,|bad\("[a-z]*",) ?\(?(?:printf )?"([a-z.]+)(?:%s)?"`).FindAllStringSubmatch(code.String(), -1) {
		used[m[1]] = true
		if en[m[1]] == "" && en[m[1]+".one"] == "" && !strings.HasSuffix(m[1], ".") {
			t.Errorf("%s is used and has no text", m[1])
		}
	}
	part := func(k string) bool { // T("log." + act) uses all of log.
		i := strings.LastIndexByte(k, '.')
		return i > 0 && used[k[:i+1]]
	}
	for k := range en {
		base := strings.TrimSuffix(strings.TrimSuffix(k, ".one"), ".other")
		if !used[k] && !used[base] && !part(k) && !strings.HasPrefix(k, "trust.why.") && !strings.HasPrefix(k, "view.") && !strings.HasPrefix(k, "date.") && !strings.HasPrefix(k, "refusal.") {
			t.Errorf("%s is used nowhere", k)
		}
	}
}

func FuzzRanges(f *testing.F) {
	f.Add("1-5,8,10-12")
	f.Fuzz(func(t *testing.T, s string) {
		r := parseRanges(s)
		if back := parseRanges(r.String()); back.String() != r.String() {
			t.Fatalf("%q: %q, then %q", s, r.String(), back.String())
		}
		for i, x := range r {
			if x[0] > x[1] || i > 0 && x[0] <= r[i-1][1] {
				t.Fatalf("%q: %v", s, r)
			}
		}
	})
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

func TestMarksFitTheCookie(t *testing.T) {
	w := newWorld(t)
	rec := httptest.NewRecorder()
	v, err := w.f.visitor(rec, httptest.NewRequest("GET", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		var r ranges
		for k := range 200 {
			n := uint64(k*k*7 + i)
			r = r.add(n+1, n+1)
		}
		v.marks.set(article.Group(fmt.Sprintf("some.group.with.a.name.%d", i)), r)
	}
	v.marks.save()
	c := rec.Result().Cookies()
	if len(c) != 1 || len(c[0].Value) > maxCookie || len(c[0].Value) < 500 {
		t.Fatalf("%d cookies", len(c))
	}
}

func BenchmarkPages(b *testing.B) {
	w := newWorld(b)
	fill(w, 130, 60)
	w.jar = map[string]string{}
	for name, path := range map[string]string{"front": "/", "group": "/g/misc.test", "message": "/m/b5@a.example", "thread25": "/g/misc.test/t/b0@a.example", "nested50": "/g/misc.test/t/b0@a.example?view=nested"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			size, start := 0, cpuTime()
			for range b.N {
				w.f.limits = limiter{}
				r := httptest.NewRequest("GET", "http://"+w.host+path, nil)
				r.RemoteAddr = w.from
				r.Header.Set("Accept-Encoding", "gzip")
				rec := httptest.NewRecorder()
				w.h.ServeHTTP(rec, r)
				if rec.Code != 200 {
					b.Fatal(rec.Code)
				}
				size = rec.Body.Len()
			}
			cpu(b, start)
			b.ReportMetric(float64(size), "gzip-octets")
		})
	}
	b.Run("unchanged", func(b *testing.B) {
		r := httptest.NewRequest("GET", "http://box.example/g/misc.test/t/b0@a.example", nil)
		r.RemoteAddr = w.from
		rec := httptest.NewRecorder()
		w.h.ServeHTTP(rec, r)
		r.Header.Set("If-None-Match", rec.Header().Get("ETag"))
		b.ReportAllocs()
		start := cpuTime()
		defer func() { cpu(b, start) }()
		for range b.N {
			w.f.limits = limiter{}
			rec := httptest.NewRecorder()
			w.h.ServeHTTP(rec, r)
			if rec.Code != 304 {
				b.Fatal(rec.Code)
			}
		}
	})
}

// cpuTime is the processor time of this process: on a busy machine it says more
// than the clock.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func cpu(b *testing.B, start time.Duration) {
	b.ReportMetric(float64((cpuTime()-start).Microseconds())/float64(b.N), "cpu-µs/op")
}

func TestOwnArticles(t *testing.T) {
	w := newWorld(t)
	me := strings.Repeat("a", 52)
	w.f.Accounts = ownAccounts{w.f.Accounts, me}
	w.post("/start", map[string]string{"name": "ann", "password": "long enough"})
	text := simple(1, "Mine", "")
	wire, _ := article.Normalize([]byte(text), article.Limits{})
	a, _ := article.Parse(wire, article.Limits{})
	_, err := w.s.Add(context.Background(), a, spool.Arrival{Groups: []article.Group{"misc.test"}, At: time.Now(), Proof: article.Proof{State: article.ProofHolds, Purpose: "post", Identity: me}})
	if err != nil {
		t.Fatal(err)
	}
	w.must(simple(2, "Others", ""))
	if r := w.get("/m/a1@a.example"); !strings.Contains(r.body, "/m/a1@a.example/edit") || !strings.Contains(r.body, "/m/a1@a.example/delete") {
		t.Error("the own article has no links")
	}
	for _, path := range []string{"/m/a2@a.example/edit", "/m/a2@a.example/delete"} {
		if r := w.get(path); r.StatusCode != 403 {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
		if r := w.post(path, map[string]string{"subject": "s", "body": "b"}); r.StatusCode != 403 {
			t.Errorf("POST %s: %d", path, r.StatusCode)
		}
	}
	if r := w.get("/m/a1@a.example/edit"); r.StatusCode != 200 || !strings.Contains(r.body, "&gt; quoted") || !strings.Contains(r.body, "-- \nAnn") {
		t.Errorf("edit: %d %s", r.StatusCode, r.body)
	}
	r := w.post("/m/a1@a.example/edit", map[string]string{"name": "ann", "subject": "Mine, again", "body": "new"})
	if r.StatusCode != 303 {
		t.Fatalf("edit: %d %s", r.StatusCode, r.body)
	}
	if raw := w.get(r.Header.Get("Location") + "/raw").body; !strings.Contains(raw, "Supersedes: <a1@a.example>\r\n") || !strings.Contains(raw, "References: <a1@a.example>\r\n") {
		t.Errorf("edit: %s", raw)
	}
	if r := w.get("/m/a1@a.example/delete"); r.StatusCode != 200 || !strings.Contains(r.body, "Text number 1.") {
		t.Errorf("delete: %d", r.StatusCode)
	}
	inert(t, "delete", w.get("/m/a1@a.example/delete").body)
	if r := w.post("/m/a1@a.example/delete", nil); r.StatusCode != 303 {
		t.Errorf("delete: %d %s", r.StatusCode, r.body)
	}
}

type ownAccounts struct {
	Accounts
	id string
}

func (o ownAccounts) Get(ctx context.Context, name string) (Account, error) {
	a, err := o.Accounts.Get(ctx, name)
	a.Identity = o.id
	return a, err
}

// queue is the waiting room for who is logged in.
type queue struct{ a *agent.Agent }

func (q queue) Queue(ctx context.Context, o agent.Origin) ([]agent.Held, error) {
	return q.a.Waiting(ctx)
}
func (q queue) Held(ctx context.Context, key string, o agent.Origin) (agent.Held, *article.Article, error) {
	return q.a.Held(ctx, key)
}
func (q queue) Approve(ctx context.Context, key string, o agent.Origin) error {
	_, err := q.a.Approve(ctx, key, o, "")
	return err
}
func (q queue) Reject(ctx context.Context, key string, o agent.Origin) error {
	_, _, err := q.a.Reject(ctx, key, o, "")
	return err
}

func (q queue) May(context.Context, agent.Origin, []article.Group) bool { return false }

func TestQueue(t *testing.T) {
	w := newWorld(t)
	w.f.Moderation = queue{w.a}
	err := w.s.PutGroups(context.Background(), spool.GroupInfo{Name: "misc.mod", Status: spool.Moderated, Moderator: "m@x.example"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		w.post("/g/misc.mod/post", map[string]string{"name": "a <b>", "subject": fmt.Sprint("Please <i> ", i), "body": "b"})
	}
	if r := w.get("/moderate"); r.StatusCode != 401 {
		t.Errorf("a guest sees the queue: %d", r.StatusCode)
	}
	w.post("/start", map[string]string{"name": "ann", "password": "long enough"})
	r := w.get("/moderate")
	inert(t, "queue", r.body)
	keys := regexp.MustCompile(`name="key" value="([0-9a-f]+)"`).FindAllStringSubmatch(r.body, -1)
	if len(keys) != 2 || !strings.Contains(r.body, "Please &lt;i&gt; 0") || !strings.Contains(w.get("/").body, `href="/moderate"`) {
		t.Fatalf("%d submissions: %s", len(keys), r.body)
	}
	if r := w.post("/moderate", map[string]string{"key": keys[0][1], "act": "approve"}); r.StatusCode != 303 {
		t.Errorf("approve: %d %s", r.StatusCode, r.body)
	}
	if r := w.post("/moderate", map[string]string{"key": keys[1][1], "act": "reject"}); r.StatusCode != 303 {
		t.Errorf("reject: %d %s", r.StatusCode, r.body)
	}
	if r := w.post("/moderate", map[string]string{"key": keys[1][1], "act": "reject"}); r.StatusCode != 404 {
		t.Errorf("reject again: %d %s", r.StatusCode, r.body)
	}
	if r := w.get("/g/misc.mod"); !strings.Contains(r.body, "Please &lt;i&gt; 0") || strings.Contains(r.body, "Please &lt;i&gt; 1") {
		t.Error("what was approved is not there, or what was rejected is")
	}
}
