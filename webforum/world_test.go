package webforum

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
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
	return w.signed(text, article.Proof{})
}

// signed is add for an article whose signature was judged so.
func (w *world) signed(text string, proof article.Proof) (spool.Entry, error) {
	lim := article.Limits{Article: 64 << 20, Line: 32 << 20, Header: 8 << 20, Field: 8 << 20, Groups: 1000}
	wire, err := article.Normalize([]byte(text), lim)
	if err != nil {
		return spool.Entry{}, err
	}
	a, err := article.Parse(wire, lim)
	if err != nil {
		return spool.Entry{}, err
	}
	e, err := w.s.Add(context.Background(), a, spool.Arrival{Groups: []article.Group{"misc.test"}, Via: spool.Via{How: spool.Imported}, At: time.Now(), Proof: proof})
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
	return w.form("POST", path, fields, header...)
}

// form sends one by a method.
func (w *world) form(method, path string, fields map[string]string, header ...string) answer {
	w.t.Helper()
	v := url.Values{}
	for k, s := range fields {
		v.Set(k, s)
	}
	r := httptest.NewRequest(method, "http://"+w.host+path, strings.NewReader(v.Encode()))
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

func gz(b string) int {
	var z bytes.Buffer
	w, _ := gzip.NewWriterLevel(&z, 5)
	_, _ = io.WriteString(w, b)
	w.Close()
	return z.Len()
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
