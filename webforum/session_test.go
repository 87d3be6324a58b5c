package webforum

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/members"
)

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
