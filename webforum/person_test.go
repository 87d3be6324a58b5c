package webforum

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/members"
)

// testPeople knows one person and notes what is asked of it.
type testPeople struct {
	p    Person
	did  []string
	fail error
	book *members.Book
}

func (t *testPeople) Person(context.Context, string) (Person, error) { return t.p, nil }
func (t *testPeople) Vouch(_ context.Context, v Vouch) error {
	t.did = append(t.did, fmt.Sprintf("vouch %q %s %s %s %d", v.Account, v.Identity[:1], v.Purpose, v.Scope, v.Depth))
	return t.fail
}
func (t *testPeople) TakeBack(_ context.Context, account, _, identity string) (int, error) {
	t.did = append(t.did, fmt.Sprintf("back %q %s", account, identity[:1]))
	return 1, t.fail
}
func (t *testPeople) Passwd(ctx context.Context, account, _, password string) error {
	t.did = append(t.did, "passwd "+account)
	if t.fail != nil {
		return t.fail
	}
	return t.book.Passwd(ctx, account, password)
}

// withIdentity gives every account the identity "aaa...".
type withIdentity struct{ testAccounts }

func (b withIdentity) Get(ctx context.Context, name string) (Account, error) {
	a, err := b.testAccounts.Get(ctx, name)
	a.Identity = strings.Repeat("a", 52)
	return a, err
}

func TestPersonPage(t *testing.T) {
	people := &testPeople{p: Person{Name: "bob <b>", Status: "frozen", Since: time.Unix(1_700_000_000, 0),
		Keys:    []PersonKey{{Key: "KEY2", Since: time.Unix(1_750_000_000, 0)}, {Key: "KEY1", Since: time.Unix(1_700_000_000, 0), Ended: time.Unix(1_750_000_000, 0), Bad: true}},
		Devices: []Right{{Key: "key:ed25519:DEV", Purpose: "post", Scope: "*"}},
		By:      []Right{{Identity: strings.Repeat("c", 52), Name: "box8 <i>", Status: "live", Purpose: "post", Scope: "mesh.<u>", Depth: 1, Until: time.Unix(1_900_000_000, 0)}, {Identity: strings.Repeat("c", 52), Name: "box8 <i>", Status: "live", Purpose: "moderate", Scope: "*"}},
		For:     []Right{{Identity: strings.Repeat("d", 52), Status: "dead", Purpose: "app.x<s>", Follow: []Right{{Identity: strings.Repeat("e", 52), Name: "eve", Purpose: "post", Scope: "*"}}}}, MoreFor: 3,
		Believed: []Right{{Purpose: "*", Scope: "*", Name: "box"}}}}
	w := newWorld(t, func(f *Forum) { f.People, f.Accounts = people, withIdentity{f.Accounts.(testAccounts)} })
	people.book = w.book
	bob := "/u/" + strings.Repeat("b", 52) + "/"
	r := w.get(bob)
	inert(t, "person", r.body)
	for _, s := range []string{"bob &lt;b&gt;", "Frozen", "bbbb bbbb", "KEY2", "in wrong hands", "DEV", "box8 &lt;i&gt;", "may post in mesh.&lt;u&gt;, and may pass that on; may moderate", "until", "Dead", "app.x&lt;s&gt;", "eve", "and 3 more", "everything", "14 Nov 2023"} {
		if !strings.Contains(r.body, s) {
			t.Errorf("the page does not say %q", s)
		}
	}
	if strings.Contains(r.body, "/vouch") || w.get(bob+"vouch").StatusCode != 401 {
		t.Error("a guest may vouch")
	}
	if de := w.get(bob, "Accept-Language", "de"); !strings.Contains(de.body, "Eingefroren") || !strings.Contains(de.body, "darf schreiben in") {
		t.Error("not in German")
	}
	w.post("/start", map[string]string{"name": "ann", "password": "long enough"})
	for _, p := range []string{bob, bob + "vouch", "/password"} {
		r := w.get(p)
		if r.StatusCode != 200 || p == bob && !strings.Contains(r.body, bob+"vouch") {
			t.Errorf("%s: %d", p, r.StatusCode)
		}
		inert(t, p, r.body)
	}
	if r := w.get("/u/" + strings.Repeat("a", 52) + "/vouch"); r.StatusCode != 403 {
		t.Errorf("vouches for itself: %d", r.StatusCode)
	}
	say := func(want int, fields ...string) string {
		t.Helper()
		m := map[string]string{}
		for i := 0; i < len(fields); i += 2 {
			m[fields[i]] = fields[i+1]
		}
		r := w.post(bob+"vouch", m)
		if r.StatusCode != want {
			t.Errorf("%v: %d", fields, r.StatusCode)
		}
		return r.body
	}
	say(422, "act", "give", "password", "wrong", "purpose", "post")
	say(303, "act", "give", "password", "long enough", "purpose", "post", "scope", "mesh.*", "depth", "1")
	say(303, "act", "give", "password", "long enough", "purpose", "moderate", "as", "node")
	say(303, "act", "give", "password", "long enough", "purpose", "create")
	say(303, "act", "back", "password", "long enough")
	people.fail = fmt.Errorf("open: %w", ErrSealed)
	if body := say(422, "act", "give", "password", "long enough"); !strings.Contains(body, "An operator set your password") {
		t.Error("a sealed identity is not explained")
	}
	want := `vouch "ann" b post mesh.* 1;vouch "" b moderate  0;vouch "ann" b post  0;back "ann" b;vouch "ann" b post  0`
	if got := strings.Join(people.did, ";"); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestPassword(t *testing.T) {
	people := &testPeople{}
	w := newWorld(t, func(f *Forum) { f.People = people })
	people.book = w.book
	w.post("/start", map[string]string{"name": "ann", "password": "long enough"})
	here := w.jar
	w.jar = map[string]string{}
	w.post("/login", map[string]string{"name": "ann", "password": "long enough"})
	elsewhere := w.jar
	w.jar = here
	for _, bad := range [][3]string{{"wrong", "longer still", "longer still"}, {"long enough", "short", "short"}, {"long enough", "longer still", "another one"}} {
		if r := w.post("/password", map[string]string{"old": bad[0], "password": bad[1], "again": bad[2]}); r.StatusCode != 422 {
			t.Errorf("%v: %d", bad, r.StatusCode)
		}
	}
	r := w.post("/password", map[string]string{"old": "long enough", "password": "longer still", "again": "longer still"})
	if r.StatusCode != 200 || !strings.Contains(r.body, "One other session was ended") {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := w.get("/password"); r.StatusCode != 200 {
		t.Errorf("this session ended: %d", r.StatusCode)
	}
	w.jar = elsewhere
	if r := w.get("/password"); r.StatusCode != 401 {
		t.Errorf("the other session goes on: %d", r.StatusCode)
	}
	w.jar = map[string]string{}
	if r := w.post("/login", map[string]string{"name": "ann", "password": "longer still"}); r.StatusCode != 303 {
		t.Errorf("the new password: %d", r.StatusCode)
	}
}
