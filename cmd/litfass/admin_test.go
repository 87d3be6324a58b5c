//go:build !notorrent

package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// admin is an administrator's browser at a node.
type admin struct {
	t    *testing.T
	base string
	http.Client
}

func newAdminAt(t *testing.T, n testNode) *admin {
	t.Helper()
	n.says(t, "long enough\n", "user", "add", "root", "--admin", "--password-stdin")
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	a := &admin{t, "http://" + n.http, http.Client{Jar: jar}}
	res, err := a.PostForm(a.base+"/login", url.Values{"name": {"root"}, "password": {"long enough"}})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return a
}

func (a *admin) page(res *http.Response, err error) (int, string) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

var formToken = regexp.MustCompile(`name="token" value="([^"]+)"`)

// act sends a form of /admin/TAB and returns the page that follows.
func (a *admin) act(tab string, fields ...string) (int, string) {
	a.t.Helper()
	_, page := a.page(a.Get(a.base + "/admin/" + tab))
	m := formToken.FindStringSubmatch(page)
	if m == nil {
		a.t.Fatalf("no form at %s: %s", tab, page)
	}
	form := url.Values{"token": {m[1]}}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return a.page(a.PostForm(a.base+"/admin/"+tab, form))
}

// must is act that is expected to be done, and to be seen on the page that follows.
func (a *admin) must(want, tab string, fields ...string) string {
	a.t.Helper()
	code, page := a.act(tab, fields...)
	if code != 200 || !strings.Contains(page, want) {
		a.t.Fatalf("%s %v: %d, no %q on %s", tab, fields, code, want, page)
	}
	return page
}

// TestAdminInBrowser does in the browser what has a command, and looks with the
// command whether it is done; and the other way round.
func TestAdminInBrowser(t *testing.T) {
	feed := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<rss version="2.0"><channel><title>News &lt;b&gt;</title><item><guid isPermaLink="false">1</guid><title>an entry</title><description>text</description></item></channel></rss>`)
	}))
	defer feed.Close()
	n := startNode(t, "a", "[feeds]\nallow = [\"127.0.0.0/8\"]\n[[peer]]\nname = \"filed.example\"\n")
	a := newAdminAt(t, n)
	shows := func(want string, args ...string) {
		t.Helper()
		out, code := n.cmd(args...)
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("%v: %d, no %q in %s", args, code, want, out)
		}
	}

	a.must("b.example", "peers", "act", "add", "name", "b.example", "address", "127.0.0.1:1", "send", "mesh.*", "take", "*", "articles", "7", "size", "2MiB", "share", "30", "from", "10.0.0.0/8, 10.1.0.1/32")
	shows("0/7 art., 0 octets/2.0 MiB", "peer", "list")
	a.must("Done.", "peers", "act", "set", "name", "b.example", "address", "127.0.0.1:2", "send", "mesh.*", "take", "*")
	shows("127.0.0.1:2", "peer", "list")
	a.must("paused", "peers", "act", "pause", "name", "filed.example")
	shows("PAUSED: litfass peer resume filed.example", "peer", "list")
	n.says(t, "", "peer", "resume", "filed.example")
	if _, page := a.page(a.Get(a.base + "/admin/peers")); strings.Contains(page, ">paused<") {
		t.Error("the page does not know what the command did")
	}
	if code, page := a.act("peers", "act", "set", "name", "filed.example", "send", "*", "take", "*"); code != 422 || !strings.Contains(page, "configuration file") {
		t.Errorf("a peer of the file is changed: %d", code)
	}
	a.must("Done.", "peers", "act", "remove", "name", "b.example")
	if out, _ := n.cmd("peer", "list"); strings.Contains(out, "b.example") {
		t.Errorf("still there: %s", out)
	}

	if code, page := a.act("feeds", "act", "add", "url", feed.URL+"/", "group", "no.such"); code != 422 || !strings.Contains(page, `value="no.such"`) {
		t.Errorf("a feed into no group: %d", code)
	}
	a.must(">News<", "feeds", "act", "add", "url", feed.URL+"/", "group", "mesh.talk", "fetch", "1")
	shows(feed.URL, "feed", "list")
	a.must("paused", "feeds", "act", "pause", "url", feed.URL+"/")
	shows("paused", "feed", "list")
	a.must("in order", "feeds", "act", "resume", "url", feed.URL+"/")
	a.must("Done.", "feeds", "act", "refresh", "url", feed.URL+"/")
	a.must("No feeds yet", "feeds", "act", "remove", "url", feed.URL+"/")

	a.must("reads mesh.*", "accounts", "act", "set", "name", "root", "read", "mesh.*", "articles", "9", "size", "3MiB", "admin", "1")

	a.must("Done.", "groups", "act", "add", "name", "mesh.brief", "post", "open")
	shows("mesh.brief", "group", "list")
	a.must("Done.", "groups", "act", "remove", "name", "mesh.brief")
	if out, _ := n.cmd("group", "list"); strings.Contains(out, "mesh.brief") {
		t.Errorf("still there: %s", out)
	}
	n.says(t, "long enough\n", "user", "add", "eve", "--password-stdin")
	a.must("Its identity is still sealed", "accounts", "act", "password", "name", "eve", "password", "quite another")
	a.must("Done.", "accounts", "act", "remove", "name", "eve")
	if out, _ := n.cmd("user", "list"); strings.Contains(out, "eve") {
		t.Errorf("still there: %s", out)
	}

	file := filepath.Join(t.TempDir(), "film.bin")
	if err := os.WriteFile(file, make([]byte, 300<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	out := n.says(t, "", "torrent", "add", file)
	hash := regexp.MustCompile(`btih:([0-9a-f]{40})`).FindStringSubmatch(out)
	if hash == nil {
		t.Fatal(out)
	}
	a.must("film.bin", "torrents", "act", "unpin", "hash", hash[1])
	if out, _ := n.cmd("torrent", "list"); strings.Contains(out, "pinned") {
		t.Errorf("still pinned: %s", out)
	}
	n.says(t, "", "torrent", "pin", hash[1])
	shows("pinned", "torrent", "list")
	a.must("not lawful here", "torrents", "act", "deny", "hash", "magnet:?xt=urn:btih:"+hash[1], "reason", "not lawful here")
	shows("not lawful here", "moderate", "log")
	if code, page := a.page(a.Get(a.base + "/log")); code != 200 || !strings.Contains(page, "file barred") {
		t.Errorf("the public log does not say it: %s", page)
	}
	if out, code := n.cmd("torrent", "get", "magnet:?xt=urn:btih:"+hash[1]); code == 0 {
		t.Errorf("fetched what is denied: %s", out)
	}
	a.must("Nothing is refused for good", "torrents", "act", "allow", "hash", hash[1], "reason", "a mistake")
	shows("a mistake", "moderate", "log")
	if out, code := n.cmd("torrent", "allow", hash[1]); code == 0 {
		t.Errorf("allowed twice: %s", out)
	}
}

// TestInviteInBrowser: a code made in the browser of one node makes it a neighbour of
// another, whose administrator pastes it there.
func TestInviteInBrowser(t *testing.T) {
	na, nb := startNode(t, "a", ""), startNode(t, "b", "")
	a, b := newAdminAt(t, na), newAdminAt(t, nb)
	page := a.must("Hand this code over", "peers", "act", "invite", "send", "mesh.*", "take", "*", "for", "1d")
	code := regexp.MustCompile(`<code>([^<]+)</code>`).FindStringSubmatch(page)
	if code == nil {
		t.Fatal(page)
	}
	b.must("a.example", "peers", "act", "join", "code", " "+code[1]+"\r\n", "send", "*", "take", "*")
	if out, _ := na.cmd("peer", "list"); !strings.Contains(out, "b.example") {
		t.Errorf("the other side: %s", out)
	}
	if code, page := b.act("peers", "act", "join", "code", code[1]+"x"); code != 422 || !strings.Contains(page, "litfass1.") {
		t.Errorf("a spoilt code: %d", code)
	}
	a.must("Done.", "peers", "act", "forget")
}
