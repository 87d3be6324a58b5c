package agent

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// obeyAll lets the control follower go through the whole log, twice: it must be
// idempotent.
func obeyAll(t *testing.T, a *Agent) {
	t.Helper()
	c := &Control{a}
	for range 2 {
		for e, err := range a.Spool.Since(t.Context(), 0) {
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Follow(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func relay(t *testing.T, a *Agent, w []byte) spool.Entry {
	t.Helper()
	e, err := a.Relay(t.Context(), w, box8)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func here(t *testing.T, a *Agent, id article.ID) bool {
	t.Helper()
	st, err := a.Spool.Lookup(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return st == spool.Stored
}

const (
	key  = "cGFzc3dvcmQ="
	key2 = "b3RoZXI="
)

var (
	lock256 = "sha256:" + lockOf("sha256", key)
	lock1   = "SHA1:" + lockOf("sha1", key)
)

func TestCancelLocks(t *testing.T) {
	for _, c := range []struct {
		name, lock, key string
		gone            bool
	}{
		{"sha256", lock256, "sha256:" + key, true},
		{"scheme in another case", lock256, "SHA256:" + key, true},
		{"sha1", lock1, "sha1:" + key, true},
		{"one of several", "sha256:AAAA " + lock1 + " " + lock256, "md5:x sha256:" + key2 + " sha256:" + key, true},
		{"wrong key", lock256, "sha256:" + key2, false},
		{"wrong scheme", lock256, "sha1:" + key, false},
		{"the lock is no key", lock256, lock256, false},
		{"no key", lock256, "", false},
		{"no lock", "", "sha256:" + key, false},
		{"unknown scheme", "plain:" + key, "plain:" + key, false},
		{"empty", "sha256:", "sha256:", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, first := range []string{"target", "cancel"} {
				for _, way := range []string{"cancel", "supersedes"} {
					a := node(t)
					target := wire("<t@x>", "Cancel-Lock", c.lock)
					order := wire("<c@x>", "Control", "cancel <t@x>", "Cancel-Key", c.key)
					if way == "supersedes" {
						order = wire("<c@x>", "Supersedes", "<t@x>", "Cancel-Key", c.key)
					}
					if first == "target" {
						relay(t, a, target)
						relay(t, a, order)
					} else {
						relay(t, a, order)
						obeyAll(t, a)
						_, err := a.Relay(t.Context(), target, box8)
						if want := map[bool]string{true: "cancelled", false: "ok"}[c.gone]; code(err) != want {
							t.Errorf("%s, cancel first: %v, want %s", way, err, want)
						}
					}
					obeyAll(t, a)
					if here(t, a, "<t@x>") == c.gone {
						t.Errorf("%s, %s first: gone should be %v", way, first, c.gone)
					}
					if !here(t, a, "<c@x>") {
						t.Error("the order itself is gone")
					}
				}
			}
		})
	}
}

// The two were stored in the same moment: the cancel before its target, but the
// follower saw the cancel when the target was in the log already.
func TestCancelKeptAcrossRestart(t *testing.T) {
	a := node(t)
	relay(t, a, wire("<c@x>", "Control", "cancel <t@x>", "Cancel-Key", "sha256:"+key))
	obeyAll(t, a)
	b := &Agent{Host: a.Host, Spool: a.Spool, State: a.State, Peers: a.Peers, Policy: a.Policy, Now: a.Now}
	if _, err := b.Relay(t.Context(), wire("<t@x>", "Cancel-Lock", lock256), box8); code(err) != "cancelled" {
		t.Fatal(err)
	}
	if err := b.Want(t.Context(), "<t@x>", box9); code(err) != "duplicate" {
		t.Errorf("offered again: %v", err)
	}
}

func TestCancelSlipsPast(t *testing.T) {
	a := node(t)
	e := relay(t, a, wire("<t@x>", "Cancel-Lock", lock256))
	if err := a.keepCancel("<t@x>", cancelOrder{ID: "<c@x>", Keys: "sha256:" + key, Until: testNow.Add(day)}); err != nil {
		t.Fatal(err)
	}
	if err := (&Control{a}).Follow(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if here(t, a, "<t@x>") {
		t.Error("still here")
	}
}

func TestKeptCancelsAreBounded(t *testing.T) {
	a := node(t)
	a.State = nil
	for i := range 40 {
		o := cancelOrder{ID: article.ID(fmt.Sprintf("<%d@x>", i)), Keys: "sha256:k", Until: testNow.Add(time.Duration(i) * time.Hour)}
		if err := a.keepCancel("<t@x>", o); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(a.pending.m["<t@x>"]); n != maxPendingFor {
		t.Errorf("%d kept", n)
	}
	a.Now = func() time.Time { return testNow.Add(30 * day) }
	if err := a.sweepCancels(); err != nil || len(a.pending.m) != 0 {
		t.Errorf("%v, %d left", err, len(a.pending.m))
	}
}

func TestOwnCancel(t *testing.T) {
	a := node(t)
	r, err := a.Inject(t.Context(), draft(t, plain), as("ann"))
	if err != nil {
		t.Fatal(err)
	}
	cancel := with("Control: cancel " + string(r.ID))
	for _, c := range []struct {
		who  string
		gone bool
	}{{"few", false}, {"", false}, {"ann", true}} {
		text := cancel
		if c.who == "few" {
			text = strings.Replace(text, "a.open", "a.two", 1)
		}
		if _, err := a.Inject(t.Context(), draft(t, text), as(c.who)); err != nil {
			t.Fatal(err)
		}
		obeyAll(t, a)
		if here(t, a, r.ID) == c.gone {
			t.Errorf("cancel by %q: gone should be %v", c.who, c.gone)
		}
	}
	if _, err := a.Relay(t.Context(), wire(string(r.ID)), box8); code(err) != "duplicate" {
		t.Errorf("comes back: %v", err)
	}
}

func TestImportedNeverActs(t *testing.T) {
	a := node(t)
	relay(t, a, wire("<t@x>", "Cancel-Lock", lock256))
	for i, f := range [][2]string{{"Control", "cancel <t@x>"}, {"Supersedes", "<t@x>"}} {
		w := wire(fmt.Sprintf("<c%d@x>", i), f[0], f[1], "Cancel-Key", "sha256:"+key)
		if _, err := a.Import(t.Context(), w, Origin{Door: "import"}); err != nil {
			t.Fatal(err)
		}
	}
	obeyAll(t, a)
	if !here(t, a, "<t@x>") {
		t.Error("an imported order acted")
	}
}

func groupOf(t *testing.T, a *Agent, g article.Group) (spool.GroupInfo, bool) {
	t.Helper()
	info, err := a.Spool.Group(t.Context(), g)
	return info, err == nil
}

func TestGroupOrders(t *testing.T) {
	a := node(t)
	a.Policy.Obey = func(from, peer, verb string, g article.Group) bool {
		return peer == "box8" && from == "Far <far@far.example>" && strings.HasPrefix(string(g), "b.")
	}
	body := func(w []byte, text string) []byte {
		return []byte(strings.Replace(string(w), "body\r\n..dot\r\n", text, 1))
	}
	relay(t, a, body(wire("<1@x>", "Newsgroups", "b.new", "Control", "newgroup b.new moderated", "Approved", "x@y"),
		"For your newsgroups file:\r\nb.new\t\tAll that is new (Moderated)\r\n"))
	obeyAll(t, a)
	if g, ok := groupOf(t, a, "b.new"); !ok || g.Status != spool.Moderated || g.Description != "All that is new" {
		t.Errorf("newgroup: %+v %v", g, ok)
	}
	relay(t, a, body(wire("<2@x>", "Newsgroups", "b.new", "Control", "checkgroups"),
		"b.new\tNow for all\r\nb.more\tMore (Moderated)\r\nc.other\tNo\r\nexample.x\tNo\r\n"))
	obeyAll(t, a)
	if g, _ := groupOf(t, a, "b.new"); g.Status != spool.PostOpen || g.Description != "Now for all" {
		t.Errorf("checkgroups: %+v", g)
	}
	if g, ok := groupOf(t, a, "b.more"); !ok || g.Status != spool.Moderated {
		t.Errorf("checkgroups: %+v %v", g, ok)
	}
	if _, ok := groupOf(t, a, "c.other"); ok {
		t.Error("checkgroups beyond its hierarchy")
	}
	// What a list leaves out is marked, within its scope and its sender's right.
	for _, g := range []article.Group{"b.a", "b.b", "b.x.y"} {
		if err := a.Spool.PutGroups(t.Context(), spool.GroupInfo{Name: g, Status: spool.PostOpen}); err != nil {
			t.Fatal(err)
		}
	}
	follow := func(e spool.Entry) {
		t.Helper()
		if err := (&Control{a}).Follow(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	follow(relay(t, a, body(wire("<2b@x>", "Newsgroups", "b.new", "Control", "checkgroups b a !b.x # 7"), "b.more\tStill more\r\na.open\tNot yours\r\n")))
	left, err := a.LeftOut(t.Context())
	var names []string
	for _, l := range left {
		names = append(names, string(l.Group))
	}
	if got := strings.Join(names, " "); err != nil || got != "b.a b.b b.new" {
		t.Errorf("left out: %q %v", got, err)
	}
	if g, _ := groupOf(t, a, "a.open"); g.Description == "Not yours" {
		t.Error("a list describes a group that its sender has no right to")
	}
	follow(relay(t, a, body(wire("<2c@x>", "Newsgroups", "b.new", "Control", "checkgroups b a !b.x #6"), "b.more\tOlder\r\n")))
	a.Policy.DropLeftOut = true
	follow(relay(t, a, body(wire("<2d@x>", "Newsgroups", "b.new", "Control", "checkgroups b !b.a !b.b !b.x"), "b.more\tStill more\r\n")))
	if g, _ := groupOf(t, a, "b.more"); g.Description != "Still more" {
		t.Errorf("a list with an older serial number counts: %+v", g)
	}
	if _, ok := groupOf(t, a, "b.new"); ok {
		t.Error("what is left out is to be removed, and is not")
	}
	if _, ok := groupOf(t, a, "b.a"); !ok {
		t.Error("what is beyond the scope is removed")
	}
	a.Policy.DropLeftOut = false
	if _, err := a.Relay(t.Context(), wire("<3@x>", "Control", "rmgroup a.open"), box8); code(err) != "control-no-right" {
		t.Error(err)
	}
	relay(t, a, wire("<4@x>", "Newsgroups", "b.more", "Control", "rmgroup b.more"))
	obeyAll(t, a)
	if _, ok := groupOf(t, a, "b.more"); ok {
		t.Error("rmgroup did nothing")
	}
	e, err := a.Spool.ByID(t.Context(), "<4@x>")
	in := func(g article.Group) bool { return Concerns(&e, func(x article.Group) bool { return x == g }) }
	if err != nil || e.Places[0].Group != "control.rmgroup" || !in("b.more") || in("control.rmgroup") {
		t.Errorf("filed %+v, %v", e.Places, err)
	}
}

func TestAdminOrders(t *testing.T) {
	a := node(t)
	for i, verb := range []string{"newgroup b.here", "rmgroup a.two"} {
		text := strings.Replace(with("Control: "+verb), "hello", fmt.Sprint(i), 1)
		if _, err := a.Inject(t.Context(), draft(t, text), as("root")); err != nil {
			t.Fatal(err)
		}
	}
	obeyAll(t, a)
	if _, ok := groupOf(t, a, "b.here"); !ok {
		t.Error("newgroup by an administrator did nothing")
	}
	if _, ok := groupOf(t, a, "a.two"); ok {
		t.Error("rmgroup by an administrator did nothing")
	}
}

func TestWithdraw(t *testing.T) {
	a := node(t)
	if _, err := a.Import(t.Context(), wire("<1@x>", "Newsgroups", "a.open,a.mod"), Origin{Door: "import"}); err != nil {
		t.Fatal(err)
	}
	if err := a.Withdraw(t.Context(), "<1@x>", as("ann")); code(err) != "no-moderate" {
		t.Error(err)
	}
	if err := a.Withdraw(t.Context(), "<1@x>", as("mod")); err != nil {
		t.Error(err)
	}
	if e, err := a.Spool.ByID(t.Context(), "<1@x>"); err != nil || len(e.Places) != 1 || e.Places[0].Group != "a.open" {
		t.Errorf("%+v %v", e.Places, err)
	}
	if err := a.Withdraw(t.Context(), "<1@x>", as("root")); err != nil || here(t, a, "<1@x>") {
		t.Error(err)
	}
	if err := a.Withdraw(t.Context(), "<1@x>", as("root")); code(err) != "no-article" {
		t.Error(err)
	}
}

func TestWaitingRoom(t *testing.T) {
	a := node(t)
	ctx := t.Context()
	text := strings.Replace(plain, "a.open", "a.open,a.mod", 1)
	submit := func(id string) {
		t.Helper()
		r, err := a.Inject(ctx, draft(t, "Message-ID: "+id+"\n"+text), as("ann"))
		if err != nil || !r.Waiting || r.Entry.Seq != 0 {
			t.Fatalf("%+v %v", r, err)
		}
	}
	submit("<1@x>")
	submit("<2@x>")
	submit("<3@x>")
	if here(t, a, "<1@x>") {
		t.Fatal("readable before its approval")
	}
	if err := a.Want(ctx, "<1@x>", box8); code(err) != "duplicate" {
		t.Errorf("a submission bars its id: %v", err)
	}
	if _, err := a.Inject(ctx, draft(t, "Message-ID: <1@x>\n"+text), as("ann")); code(err) != "duplicate" {
		t.Errorf("submitted twice: %v", err)
	}
	a = &Agent{Host: a.Host, Spool: a.Spool, State: a.State, Members: a.Members, Peers: a.Peers, Policy: a.Policy, Now: a.Now} // restart
	all, err := a.Waiting(ctx, "a.mod")
	if err != nil || len(all) != 3 || all[0].ID != "<1@x>" || fmt.Sprint(all[0].Needs) != "[a.mod]" || all[0].Account != "ann" {
		t.Fatalf("%+v %v", all, err)
	}
	if none, _ := a.Waiting(ctx, "a.two"); len(none) != 0 {
		t.Errorf("%+v", none)
	}
	if _, err := a.Approve(ctx, all[0].Key, as("ann"), ""); code(err) != "no-moderate" {
		t.Error(err)
	}
	changed := a.WaitingChanged()
	r, err := a.Approve(ctx, all[0].Key, as("mod"), "")
	if err != nil || len(r.Entry.Places) != 2 {
		t.Fatalf("%+v %v", r, err)
	}
	select {
	case <-changed:
	default:
		t.Error("nobody was told of the change")
	}
	art := open(t, a, "<1@x>")
	for name, want := range map[string]string{
		"Approved": "mod@here.example", "Path": "here.example!.POSTED.127.0.0.1!not-for-mail",
		"Injection-Info": `here.example; posting-account="ann"; posting-host="127.0.0.1"`,
	} {
		if got := art.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if len(strings.Fields(art.Get("Cancel-Lock"))) != 1 {
		t.Errorf("Cancel-Lock: %q", art.Get("Cancel-Lock"))
	}
	if _, err := a.Approve(ctx, all[0].Key, as("mod"), ""); code(err) != "not-waiting" {
		t.Error(err)
	}
	if err := a.Told(ctx, all[1].Key); err != nil {
		t.Error(err)
	}
	h, err := a.ByToken(ctx, all[1].Token)
	if err != nil || h.ID != "<2@x>" || !h.Told {
		t.Errorf("%+v %v", h, err)
	}
	if _, _, err := a.Reject(ctx, h.Key, Origin{Door: "smtp"}, "wrong"); code(err) != "login" {
		t.Error(err)
	}
	if h, art, err := a.Reject(ctx, h.Key, Origin{Door: "smtp"}, h.Token); err != nil || h.Account != "ann" || art.ID() != "<2@x>" {
		t.Error(err)
	}
	submit("<2@x>") // rejected: may be submitted again
	a.Now = func() time.Time { return testNow.Add(31 * day) }
	if err := a.Reconsider(ctx); err != nil {
		t.Error(err)
	}
	if left, _ := a.Waiting(ctx); len(left) != 0 || a.room.octets != 0 || len(a.room.ids) != 0 || len(a.room.shares) != 0 {
		t.Errorf("left: %+v, %d octets", left, a.room.octets)
	}
}

func TestWaitingRoomQuota(t *testing.T) {
	a := node(t)
	a.Policy.WaitPeerOctets = 300
	text := strings.Replace(plain, "a.open", "a.mod", 1)
	got := map[string]int{}
	for range 5 {
		_, err := a.Inject(t.Context(), draft(t, text), as("ann"))
		got[code(err)]++
	}
	if got["ok"] != 1 || got["waiting-full"] != 4 {
		t.Errorf("%v", got)
	}
	if _, err := a.Inject(t.Context(), draft(t, text), as("mod")); err != nil {
		t.Errorf("another account: %v", err)
	}
	a.State = nil
	if _, err := a.Inject(t.Context(), draft(t, text), as("ann")); code(err) != "no-waiting-room" {
		t.Error(err)
	}
}

// fakeKeys judges by the field X-Test of an article.
type fakeKeys struct {
	Keys
	result map[article.ID]string
	hold   time.Time
}

func (k *fakeKeys) Verify(_ context.Context, a *article.Article, now time.Time, _ bool) (article.Proof, string, time.Time, error) {
	res := k.result[a.ID()]
	if res == "" {
		res = Unsigned
	}
	if res == Invalid {
		return article.Proof{}, res, time.Time{}, fmt.Errorf("body was changed")
	}
	if a.Get("X-Signed-Long-Ago") != "" {
		now = now.AddDate(-1, 0, 0)
	}
	return article.Proof{State: article.ProofHolds, Identity: a.Get("X-Identity"), Purpose: a.Get("X-Purpose"), Time: now.Unix()}, res, k.hold, nil
}

func (k *fakeKeys) Judge(context.Context, article.Proof, time.Time, []article.Group) (string, error) {
	return Verified, nil
}

func (k *fakeKeys) SignerMay(_ context.Context, p article.Proof, purpose string, g []article.Group) ([]article.Group, error) {
	if p.Identity == "moderator" && purpose == PurposeModerate {
		return g[:min(len(g), 1)], nil
	}
	return nil, nil
}

func (k *fakeKeys) Withdraws(_ context.Context, _ article.Proof, _ time.Time, g []article.Group) ([]article.Group, error) {
	return g, nil
}

func TestKnownSignersDemanded(t *testing.T) {
	a := node(t)
	k := &fakeKeys{result: map[article.ID]string{"<good@x>": Verified, "<unknown@x>": UnknownKey, "<right@x>": NoRight, "<bad@x>": Invalid, "<both@x>": UnknownKey}}
	a.Keys = k
	a.Policy.Require = "known"
	if err := a.Spool.PutGroups(t.Context(), spool.GroupInfo{Name: "a.free", Status: spool.PostOpen, Require: "none"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		id, groups, want string
		stored           bool
	}{
		{"<good@x>", "a.open", "ok", true},
		{"<plain@x>", "a.open", "require-none", false},
		{"<right@x>", "a.open", "require-no-right", false},
		{"<bad@x>", "a.free", "invalid", false},
		{"<unknown@x>", "a.open", "ok", false},
		{"<both@x>", "a.open,a.free", "ok", true},
		{"<plain@x>", "a.free", "refused-before", false},
	} {
		_, err := a.Relay(t.Context(), wire(c.id, "Newsgroups", c.groups), box8)
		if code(err) != c.want || here(t, a, article.ID(c.id)) != c.stored {
			t.Errorf("%s in %s: %v, want %s; stored %v", c.id, c.groups, err, c.want, !c.stored)
		}
	}
	if err := a.Want(t.Context(), "<unknown@x>", box8); code(err) != "duplicate" {
		t.Errorf("waits, from the same peer: %v", err)
	}
	if err := a.Want(t.Context(), "<unknown@x>", box9); err != nil {
		t.Errorf("waits, from another peer: %v", err)
	}
	k.result["<unknown@x>"] = Verified
	if err := a.Reconsider(t.Context()); err != nil || !here(t, a, "<unknown@x>") {
		t.Errorf("key known by now: %v", err)
	}
}

func TestEarlyWaits(t *testing.T) {
	a := node(t)
	k := &fakeKeys{result: map[article.ID]string{"<e@x>": Verified}, hold: testNow.Add(2 * day)}
	a.Keys = k
	if e, err := a.Relay(t.Context(), wire("<e@x>"), box8); err != nil || e.Seq != 0 {
		t.Fatalf("%+v %v", e, err)
	}
	if err := a.Reconsider(t.Context()); err != nil || here(t, a, "<e@x>") {
		t.Fatalf("too early: %v", err)
	}
	a.Now = func() time.Time { return testNow.Add(2*day + time.Hour) }
	k.hold = time.Time{}
	if err := a.Reconsider(t.Context()); err != nil || !here(t, a, "<e@x>") {
		t.Errorf("its time has come: %v", err)
	}
}

func TestSignedCancel(t *testing.T) {
	for _, c := range []struct {
		name, targetPurpose, order, by string
		left                           string
	}{
		{"author", "post", "control", "ann", ""},
		{"somebody else", "post", "control", "bob", "a.open a.two"},
		{"author, as a post", "post", "post", "ann", "a.open a.two"},
		{"moderator of one group", "post", "control", "moderator", "a.two"},
		{"key for a signed article", "post", "none", "", "a.open a.two"},
		{"key for a gate article", "gate", "none", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := node(t)
			a.Keys = &fakeKeys{}
			relay(t, a, wire("<t@x>", "Newsgroups", "a.open,a.two", "X-Identity", "ann", "X-Purpose", c.targetPurpose, "Cancel-Lock", lock256))
			relay(t, a, wire("<c@x>", "Newsgroups", "a.open,a.two", "Control", "cancel <t@x>", "X-Identity", c.by, "X-Purpose", c.order, "Cancel-Key", "sha256:"+key))
			obeyOnce(t, a)
			var left []string
			if e, err := a.Spool.ByID(t.Context(), "<t@x>"); err == nil {
				for _, p := range e.Places {
					left = append(left, string(p.Group))
				}
			}
			if got := strings.Join(left, " "); got != c.left {
				t.Errorf("left in %q, want %q", got, c.left)
			}
		})
	}
}

// obeyOnce goes through the log once: fakeKeys gives a moderator the first group
// he is asked about.
func obeyOnce(t *testing.T, a *Agent) {
	t.Helper()
	for e, err := range a.Spool.Since(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if err := (&Control{a}).Follow(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

func (k *fakeKeys) Signer(_ context.Context, account, purpose string) (string, string, error) {
	if account == "" && purpose == PurposeControl {
		return "", "", nil
	}
	if account == "" {
		purpose = PurposeGate
	}
	return "abcdefghijklmnopqrst", purpose, nil
}

func (k *fakeKeys) SignDraft(_ context.Context, d *article.Draft, account, purpose string) error {
	for _, name := range []string{"Message-ID", "Date", "Newsgroups"} {
		if d.Get(name) == "" {
			return fmt.Errorf("signed without %s", name)
		}
	}
	if d.Get("Path") != "" || d.Get("Injection-Info") != "" {
		return fmt.Errorf("signed after it was traced")
	}
	d.Header = append(d.Header, [2]string{"Article-Signature", "u=" + purpose + "; i=" + account})
	return nil
}

func (k *fakeKeys) AccountMay(_ context.Context, account, purpose string, g article.Group) (bool, error) {
	return account == "ann" && purpose == PurposeModerate && g == "a.mod", nil
}

func signatures(art *article.Article) (out []string) {
	for n, v := range art.Fields() {
		if n == "Article-Signature" {
			out = append(out, string(v))
		}
	}
	return out
}

func TestInjectSigns(t *testing.T) {
	for _, c := range []struct {
		name, text string
		o          Origin
		want       string // signatures
		bound      bool   // the id promises one
	}{
		{"account", plain, as("ann"), "[ u=post; i=ann]", true},
		{"guest", plain, reader, "[ u=gate; i=]", true},
		{"cancel of an account", with("Control: cancel <x@y>"), as("ann"), "[ u=control; i=ann]", true},
		{"cancel of a guest", with("Control: cancel <x@y>"), reader, "[]", false},
		{"own id", with("Message-ID: <a@b>"), as("ann"), "[ u=post; i=ann]", false},
		{"moderator by right", strings.Replace(with("Approved: a@b"), "a.open", "a.mod", 1), as("ann"), "[ u=post; i=ann  u=approve; i=ann]", true},
		{"came signed", with("Article-Signature: mine\nMessage-ID: <a@b>\nDate: Mon, 23 Nov 2026 11:00:00 +0000"), as("ann"), "[ mine]", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := node(t)
			a.Keys = &fakeKeys{}
			r, err := a.Inject(t.Context(), draft(t, c.text), c.o)
			if err != nil {
				t.Fatal(err)
			}
			art := open(t, a, r.ID)
			if got := fmt.Sprint(signatures(art)); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if strings.Contains(string(r.ID), ".sig-abcdefghijklmnopqrst@here.example>") != c.bound {
				t.Errorf("id %s", r.ID)
			}
		})
	}
	a := node(t)
	k := &fakeKeys{result: map[article.ID]string{"<u@x>": UnknownKey, "<v@x>": Verified, "<i@x>": Invalid}}
	a.Keys, a.Policy.Require = k, "known"
	for id, want := range map[string]string{"<u@x>": "require-unknown-key", "<v@x>": "ok", "<i@x>": "invalid"} {
		if _, err := a.Inject(t.Context(), draft(t, with("Message-ID: "+id)), as("ann")); code(err) != want {
			t.Errorf("%s: %v, want %s", id, err, want)
		}
	}
	k.result["<old@x>"] = Verified
	if _, err := a.Inject(t.Context(), draft(t, with("Message-ID: <old@x>\nX-Signed-Long-Ago: yes")), as("ann")); code(err) != "too-old" {
		t.Error("a signature of last year:", err)
	}
	if _, err := a.Inject(t.Context(), draft(t, with("Article-Signature: mine")), as("ann")); code(err) != "signed-without" {
		t.Error(err)
	}
}

func TestApprovalIsSigned(t *testing.T) {
	a := node(t)
	a.Keys = &fakeKeys{}
	r, err := a.Inject(t.Context(), draft(t, strings.Replace(plain, "a.open", "a.mod", 1)), reader)
	if err != nil || !r.Waiting {
		t.Fatal(r, err)
	}
	all, err := a.Waiting(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	if _, err := a.Approve(t.Context(), all[0].Key, Origin{Door: "smtp"}, all[0].Token); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(signatures(open(t, a, r.ID))); got != "[ u=gate; i=  u=approve; i=]" {
		t.Error(got)
	}
}

// fakeDetacher puts every body into a torrent.
type fakeDetacher struct{ asked int }

func (b *fakeDetacher) Detach(_ context.Context, d *article.Draft, groups []article.Group) error {
	b.asked++
	d.Body = strings.NewReader("see the magnet link\r\n")
	return nil
}

func TestDetachBeforeSigning(t *testing.T) {
	a := node(t)
	b := &fakeDetacher{}
	a.Detach = b
	if err := a.Spool.PutGroups(t.Context(), spool.GroupInfo{Name: "a.whole", Status: spool.PostOpen, Detach: "never"}); err != nil {
		t.Fatal(err)
	}
	big := plain + strings.Repeat("many lines\n", 200_000)
	r, err := a.Inject(t.Context(), draft(t, big), as("ann"))
	if err != nil || b.asked != 1 || string(open(t, a, r.ID).Body()) != "see the magnet link\r\n" {
		t.Fatalf("%v, asked %d", err, b.asked)
	}
	if _, err := a.Inject(t.Context(), draft(t, strings.Replace(big, "a.open", "a.whole", 1)), as("ann")); code(err) != "too-large" || b.asked != 1 {
		t.Errorf("%v, asked %d", err, b.asked)
	}
	signed := with("Article-Signature: mine\nMessage-ID: <a@b>\nDate: Mon, 23 Nov 2026 11:00:00 +0000")
	a.Filters = []Filter{Crossposts{5}}
	if _, err := a.Inject(t.Context(), draft(t, signed), as("ann")); err != nil || b.asked != 1 {
		t.Errorf("a signed article was detached: %v, asked %d", err, b.asked)
	}
	a.Policy.MaxPost = 1000
	if _, err := a.Inject(t.Context(), draft(t, big), as("ann")); code(err) != "too-large" {
		t.Error(err)
	}
}
