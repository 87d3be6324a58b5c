package webforum

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// drawing is all that a chart may be made of.
var drawing = regexp.MustCompile(`<svg class="chart" viewBox="[0-9 ]+" role="img" aria-label="[^"<>]+" preserveAspectRatio="none"><path d="M0 [0-9]+H[0-9]+"/><polygon points="[0-9., ]+"/><polyline points="[0-9., ]+"/></svg>`)

// testAdmin notes what it is asked to do.
type testAdmin struct {
	acts []string
	fail error
}

func (a *testAdmin) note(format string, args ...any) error {
	if a.fail == nil {
		a.acts = append(a.acts, strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
	return a.fail
}

func (a *testAdmin) Overview(context.Context) (Overview, error) {
	o := Overview{Version: "1", Warnings: []string{"hot <b>"}, TorrentQuota: 1 << 30,
		Peers: []PeerState{{PeerChange: PeerChange{Name: "north", Address: "n.example:119", Send: "*", Take: "mesh.*"}, LastError: "refused <b>", TodayMost: 10}, {PeerChange: PeerChange{Name: "filed"}, File: true, Paused: true}},
		Feeds: []FeedState{{URL: "http://x.example/?a=<i>", State: "failing", LastError: "404 <i>", Polled: time.Unix(1, 0), Files: "fetch"}, {URL: "http://y.example/", State: "paused"}}}
	for i := range 10 {
		o.Samples = append(o.Samples, Sample{At: time.Unix(int64(i)*900, 0), Arrived: uint64(i * i), Used: int64(i) << 20, Lag: uint64(i % 3)})
	}
	return o, nil
}
func (a *testAdmin) Members(ctx context.Context) ([]Member, error) {
	return []Member{{Name: "ann", AccountChange: AccountChange{Admin: true}}, {Name: "bob", BanReason: "rude", Today: 3, AccountChange: AccountChange{Post: "mesh.*", DayArticles: 5}}, {Name: "eve"}}, nil
}
func (a *testAdmin) AddAccount(_ context.Context, name, email, password string, admin bool) (string, error) {
	return "one two <three>", a.note("account %s %s %v", name, email, admin)
}
func (a *testAdmin) SetAccount(_ context.Context, name string, ch AccountChange) error {
	return a.note("set %s %+v", name, ch)
}
func (a *testAdmin) SetPassword(_ context.Context, name, password string) (bool, error) {
	return name == "bob", a.note("password %s %s", name, password)
}
func (a *testAdmin) RemoveAccount(_ context.Context, name string) error {
	return a.note("unaccount %s", name)
}
func (a *testAdmin) RemoveGroup(_ context.Context, name string) error {
	return a.note("ungroup %s", name)
}
func (a *testAdmin) PutGroup(_ context.Context, add bool, g GroupChange) error {
	return a.note("group %v %+v", add, g)
}
func (a *testAdmin) BanAccount(_ context.Context, name string, lift bool, reason, by string) error {
	return a.note("ban %s %v %s %s", name, lift, reason, by)
}
func (a *testAdmin) PutPeer(_ context.Context, add bool, p PeerChange) error {
	return a.note("peer %v %+v", add, p)
}
func (a *testAdmin) RemovePeer(_ context.Context, name string) error {
	return a.note("remove %s", name)
}
func (a *testAdmin) PausePeer(_ context.Context, name string, pause bool) error {
	return a.note("pause %s %v", name, pause)
}
func (a *testAdmin) Invite(_ context.Context, t Terms) (Invitation, error) {
	return Invitation{Code: "litfass1.<CODE>", Addresses: "a.example:119", Until: time.Unix(0, 0)}, a.note("invite %+v", t)
}
func (a *testAdmin) ForgetInvitations(context.Context) error { return a.note("forget") }
func (a *testAdmin) Join(_ context.Context, code string, t Terms) (string, error) {
	return "south", a.note("join %s %+v", code, t)
}
func (a *testAdmin) AddFeed(_ context.Context, url, group, files string) error {
	return a.note("feed %s %s %s", url, group, files)
}
func (a *testAdmin) RemoveFeed(_ context.Context, url string) error { return a.note("unfeed %s", url) }
func (a *testAdmin) PauseFeed(_ context.Context, url string, pause bool) error {
	return a.note("pausefeed %s %v", url, pause)
}
func (a *testAdmin) RefreshFeed(_ context.Context, url string) error {
	return a.note("refresh %s", url)
}
func (a *testAdmin) Torrents(context.Context) (list []TorrentState, denied []DeniedFile, err error) {
	for i := range 250 {
		list = append(list, TorrentState{Hash: fmt.Sprintf("%040x", i), Name: fmt.Sprintf("file <%d>", i), State: []string{"known", "partial", "here", "verified"}[i%4], Class: []string{"cache", "mirror", "own"}[i%3], Pinned: i%2 == 0})
	}
	return list, []DeniedFile{{strings.Repeat("f", 40), "illegal <b>"}}, nil
}
func (a *testAdmin) PinTorrent(_ context.Context, hash string, pin bool) error {
	return a.note("pin %s %v", hash, pin)
}
func (a *testAdmin) RemoveTorrent(_ context.Context, hash string) error {
	return a.note("drop %s", hash)
}
func (a *testAdmin) DenyFile(_ context.Context, hash string, lift bool, reason, by string) error {
	return a.note("deny %s %v %s %s", hash, lift, reason, by)
}

var adminPages = []string{"/admin", "/admin/groups", "/admin/accounts", "/admin/peers", "/admin/feeds", "/admin/torrents"}

// newAdmin is a world whose visitor ann administers it.
func newAdmin(t *testing.T) (*world, *testAdmin) {
	w, a := newJudged(t), &testAdmin{}
	w.f.Admin = a
	for _, p := range adminPages {
		if r := w.get(p); r.StatusCode != 403 {
			t.Errorf("a guest sees %s: %d", p, r.StatusCode)
		}
		if r := w.post(p, map[string]string{"act": "add"}); p != "/admin" && r.StatusCode != 403 {
			t.Errorf("a guest acts at %s: %d", p, r.StatusCode)
		}
	}
	w.post("/start", map[string]string{"name": "ann", "password": "long enough"})
	return w, a
}

var tokenField = regexp.MustCompile(`name="token" value="([^"]+)"`)

// act sends a form of the administration as its page has it.
func (w *world) act(path string, fields ...string) answer {
	w.t.Helper()
	m := tokenField.FindStringSubmatch(w.get(path).body)
	if m == nil {
		w.t.Fatalf("%s has no form", path)
	}
	form := map[string]string{"token": m[1]}
	for i := 0; i+1 < len(fields); i += 2 {
		form[fields[i]] = fields[i+1]
	}
	return w.post(path, form)
}

func TestAdmin(t *testing.T) {
	w, a := newAdmin(t)
	for p, want := range map[string]string{
		"/admin": "<polyline", "/admin/groups": "misc.talk", "/admin/groups?name=misc.talk": "Change misc.talk", "/admin/accounts": "rude", "/admin/peers": "refused &lt;b&gt;",
		"/admin/peers?name=north": `value="n.example:119"`, "/admin/peers?name=filed": "Add a neighbour", "/admin/feeds": "404 &lt;i&gt;", "/admin/torrents": "illegal &lt;b&gt;", "/admin/torrents?page=3": "file &lt;249&gt;",
	} {
		r := w.get(p)
		inert(t, p, drawing.ReplaceAllString(r.body, ""))
		if r.StatusCode != 200 || !strings.Contains(r.body, want) {
			t.Errorf("%s: %d %s", p, r.StatusCode, r.body)
		}
	}
	for _, x := range []struct {
		path, form, want string // want: what the node is asked to do; a number: the status of the refusal
	}{
		{"groups", "act=add&name=misc.new&post=open&moderator=m@x.example", "group true {Name:misc.new Description: Moderator:m@x.example Post:open}"},
		{"groups", "act=remove&name=misc.talk", "ungroup misc.talk"},
		{"accounts", "act=password&name=eve&password=long enough", "password eve long enough"},
		{"accounts", "act=password&name=eve&password=short", "422"},
		{"accounts", "act=remove&name=eve", "unaccount eve"},
		{"accounts", "act=remove&name=ann", "422"},
		{"accounts", "act=ban&name=eve&reason=spam", "ban eve false spam ann"},
		{"accounts", "act=lift&name=bob", "ban bob true  ann"},
		{"accounts", "act=ban&name=ann&reason=x", "422"},
		{"accounts", "act=ban&name=eve&reason=", "422"},
		{"accounts", "act=set&name=ann", "422"},
		{"accounts", "act=add&name=new&password=short", "422"},
		{"accounts", "act=set&name=bob&moderate=mesh.*&articles=30&size=4MiB", "set bob {Email: Admin:false Read: Post: Moderate:mesh.* DayArticles:30 DaySize:4MiB}"},
		{"accounts", "act=set&name=bob&articles=many", "422"},
		{"accounts", "act=set&name=bob&articles=-1", "422"},
		{"accounts", "act=nonsense&name=bob", "422"},
		{"peers", "act=add&name=east&address=e.example:119&send=*&take=mesh.*&pull=1&articles=9&size=1GiB&share=20&from=10.0.0.1/32", "peer true {Name:east Address:e.example:119 Path: Send:* Take:mesh.* Distributions: Key: User: Password: From:10.0.0.1/32 Pull:true Old:false DayArticles:9 Share:20 DaySize:1GiB}"},
		{"peers", "act=set&name=north&share=all", "422"},
		{"peers", "act=pause&name=north", "pause north true"},
		{"peers", "act=resume&name=filed", "pause filed false"},
		{"peers", "act=remove&name=north", "remove north"},
		{"peers", "act=forget", "forget"},
		{"peers", "act=join&code= litfass1.X  Y &address=a.example:119", "join litfass1.X Y {Address:a.example:119 Send: Take: For: Old:false}"},
		{"feeds", "act=add&url=http://f.example/&group=misc.talk&fetch=1", "feed http://f.example/ misc.talk fetch"},
		{"feeds", "act=pause&url=http://f.example/", "pausefeed http://f.example/ true"},
		{"feeds", "act=resume&url=http://f.example/", "pausefeed http://f.example/ false"},
		{"feeds", "act=refresh&url=http://f.example/", "refresh http://f.example/"},
		{"feeds", "act=remove&url=http://f.example/", "unfeed http://f.example/"},
		{"torrents", "act=pin&hash=aa", "pin aa true"},
		{"torrents", "act=unpin&hash=aa", "pin aa false"},
		{"torrents", "act=remove&hash=aa", "drop aa"},
		{"torrents", "act=deny&hash=aa&reason=", "422"},
		{"torrents", "act=deny&hash=aa&reason=illegal", "deny aa false illegal ann"},
		{"torrents", "act=allow&hash=aa&reason=mistake", "deny aa true mistake ann"},
	} {
		a.acts = nil
		var fields []string
		for _, f := range strings.Split(x.form, "&") {
			k, v, _ := strings.Cut(f, "=")
			fields = append(fields, k, v)
		}
		r := w.act("/admin/"+x.path, fields...)
		if got := strings.Join(a.acts, ";"); x.want != "422" && (r.StatusCode != 303 || got != x.want) || x.want == "422" && (r.StatusCode != 422 || got != "") {
			t.Errorf("%s: %d, the node is asked for %q", x.form, r.StatusCode, got)
		}
	}
	if r := w.act("/admin/accounts", "act", "password", "name", "bob", "password", "long enough"); r.StatusCode != 200 || !strings.Contains(r.body, "The password of bob is set. Its identity") {
		t.Errorf("an identity that stays behind is not spoken of: %d", r.StatusCode)
	}
	for path, want := range map[string]string{"/admin/accounts": "one two &lt;three&gt;", "/admin/peers": "litfass1.&lt;CODE&gt;"} {
		act := map[string]string{"/admin/accounts": "add", "/admin/peers": "invite"}[path]
		r := w.act(path, "act", act, "name", "new", "email", "n@x.example", "password", "long enough")
		inert(t, path, r.body)
		if r.StatusCode != 200 || !strings.Contains(r.body, want) {
			t.Errorf("%s does not show what was made: %d", path, r.StatusCode)
		}
	}
}

// TestAdminRefusals: what the node refuses comes back in the form with its reason.
func TestAdminRefusals(t *testing.T) {
	w, a := newAdmin(t)
	a.fail = errors.New("no <such> thing")
	for path, form := range map[string][]string{
		"/admin/peers": {"act", "add", "name", "east<", "address", "e.example:119"}, "/admin/feeds": {"act", "add", "url", "http://east</", "group", "x"}, "/admin/torrents": {"act", "deny", "hash", "east<", "reason", "r"}, "/admin/accounts": {"act", "add", "name", "east<", "password", "long enough"},
	} {
		r := w.act(path, form...)
		inert(t, path, r.body)
		if r.StatusCode != 422 || !strings.Contains(r.body, "no &lt;such&gt; thing") || !strings.Contains(r.body, "east&lt;") {
			t.Errorf("%s: %d %s", path, r.StatusCode, r.body)
		}
	}
	if len(a.acts) > 0 {
		t.Error(a.acts)
	}
}

// TestAdminToken: a form without the token of its session does nothing, nor does one
// with that of another session, nor one from another origin.
func TestAdminToken(t *testing.T) {
	w, a := newAdmin(t)
	token := tokenField.FindStringSubmatch(w.get("/admin/peers").body)[1]
	form := map[string]string{"act": "remove", "name": "north"}
	for _, p := range adminPages[1:] {
		for _, wrong := range []string{"", token + "x", "0"} {
			form["token"] = wrong
			if r := w.post(p, form); r.StatusCode != 403 {
				t.Errorf("%s with the token %q: %d", p, wrong, r.StatusCode)
			}
		}
	}
	form["token"] = token
	if r := w.post("/admin/peers", form, "Sec-Fetch-Site", "cross-site"); r.StatusCode != 403 {
		t.Errorf("from another site: %d", r.StatusCode)
	}
	if r := w.post("/admin/peers", form, "Origin", "http://evil.example"); r.StatusCode != 403 {
		t.Errorf("from another origin: %d", r.StatusCode)
	}
	w.jar = map[string]string{}
	if _, err := w.f.Accounts.Get(context.Background(), "ann"); err != nil {
		t.Fatal(err)
	}
	if r := w.post("/login", map[string]string{"name": "ann", "password": "long enough"}); r.StatusCode != 303 {
		t.Fatalf("log in again: %d", r.StatusCode)
	}
	if r := w.post("/admin/peers", form); r.StatusCode != 403 {
		t.Errorf("with the token of another session: %d", r.StatusCode)
	}
	if len(a.acts) > 0 {
		t.Errorf("done all the same: %v", a.acts)
	}
}

func TestAdminOfManyGroups(t *testing.T) {
	w, _ := newAdmin(t)
	var names []string
	for i := range 250 {
		names = append(names, fmt.Sprintf("alt.h%03d.c++", i))
	}
	w.groups(names...)
	has(t, w.get("/admin/groups"), `href="?page=2" rel="next"`)
	hasNot(t, w.get("/admin/groups"), "h100.<wbr>c")
	has(t, w.get("/admin/groups?page=3"), "h249.<wbr>c")
	has(t, w.get("/admin/groups?find=H24&done=1"), `href="/admin/groups?name=alt.h249.c%2B%2B#form"`)
	hasNot(t, w.get("/admin/groups?find=H24"), "h100.<wbr>c")
	has(t, w.get("/admin/groups?name=alt.h249.c%2B%2B"), "Change alt.h249.c") // of another page
	has(t, w.get("/admin/groups?name=not.here"), "New group")
}
