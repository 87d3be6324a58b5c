package agent

import (
	"testing"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/members"
)

func TestMay(t *testing.T) {
	a := node(t)
	a.Keys = &fakeKeys{} // gives ann the right to moderate a.mod
	a.Policy.Anonymous["smtp"] = "confirm"
	if err := a.Members.Add(t.Context(), members.Account{Name: "barred", Bans: members.Forever}, ""); err != nil {
		t.Fatal(err)
	}
	stranger := Origin{Door: "nntp"}
	for _, c := range []struct {
		name  string
		o     Origin
		act   Act
		group article.Group
		want  string
	}{
		{"guest reads", reader, Read, "a.open", "ok"},
		{"guest posts", reader, Post, "a.open", "ok"},
		{"guest moderates", reader, Moderate, "a.mod", "login"},
		{"guest administers", reader, Admin, "", "login"},
		{"guest feeds", reader, Feed, "", "no-peer"},
		{"stranger reads", stranger, Read, "a.open", "login"},
		{"guest of the web reads", Origin{Door: "web", Trusted: true}, Read, "a.open", "ok"},
		{"guest of the web posts", Origin{Door: "web", Trusted: true}, Post, "a.open", "login"},
		{"confirmed sender posts", Origin{Door: "smtp", Trusted: true}, Post, "a.open", "ok"},
		{"unconfirmed sender posts", Origin{Door: "smtp"}, Post, "a.open", "login"},
		{"a sender of mail subscribes to what guests read elsewhere", Origin{Door: "smtp"}, Read, "a.open", "ok"},
		{"a door without setting", Origin{Door: "gopher", Trusted: true}, Read, "a.open", "login"},
		{"account reads", Origin{Door: "web", Account: "ann"}, Read, "local.x", "ok"},
		{"pattern for reading", as("few"), Read, "local.x", "no-read"},
		{"pattern for posting", as("few"), Post, "a.open", "no-post"},
		{"posting at all", as("few"), Post, "", "ok"},
		{"moderator by pattern", as("mod"), Moderate, "a.mod", "ok"},
		{"moderator elsewhere", as("mod"), Moderate, "a.open", "no-moderate"},
		{"moderator by arrow", as("ann"), Moderate, "a.mod", "ok"},
		{"by arrow elsewhere", as("ann"), Moderate, "a.field", "no-moderate"},
		{"account makes groups", as("ann"), Create, "a.new", "no-create"},
		{"account administers", as("ann"), Admin, "", "no-admin"},
		{"administrator", as("root"), Admin, "", "ok"},
		{"administrator moderates", as("root"), Moderate, "a.mod", "ok"},
		{"administrator feeds", as("root"), Feed, "", "no-peer"},
		{"operator", Origin{Door: "control"}, Admin, "", "ok"},
		{"gateway posts", Origin{Door: "feed"}, Post, "a.open", "ok"},
		{"gateway moderates", Origin{Door: "feed"}, Moderate, "a.mod", "login"},
		{"barred", as("barred"), Read, "a.open", "banned"},
		{"gone", as("ghost"), Read, "a.open", "no-account"},
		{"peer feeds", box8, Feed, "", "ok"},
		{"peer feeds what is taken", box8, Feed, "a.open", "ok"},
		{"peer feeds what is not", box8, Feed, "local.x", "not-taken"},
		{"peer is no reader by itself", box8, Read, "a.open", "login"},
		{"a peer of no list", Origin{Door: "nntp", Peer: "box7"}, Feed, "", "no-peer"},
		{"account that feeds", Origin{Door: "nntp", Account: "feeder", Peer: "box9"}, Feed, "", "ok"},
		{"account that feeds nothing", as("ann"), Feed, "", "no-peer"},
	} {
		err := a.May(t.Context(), c.o, c.act, c.group)
		if got := code(err); got != c.want {
			t.Errorf("%s: %s (%v), want %s", c.name, got, err, c.want)
		}
		if r, ok := err.(*Refusal); ok && (r.Reason == Login) != (c.o.Account == "" || c.want == "no-account") && c.want != "not-taken" && c.want != "no-peer" {
			t.Errorf("%s: reason %d", c.name, r.Reason)
		}
	}
	a.Members = nil
	if err := a.May(t.Context(), as("ann"), Read, "a.open"); code(err) != "no-account" {
		t.Errorf("without accounts: %v", err)
	}
}

// A list of 100,000 groups is gone through with one look at the account.
func BenchmarkMay(b *testing.B) {
	a := node(b)
	acc, err := a.Access(b.Context(), as("few"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := acc.May(b.Context(), Read, "a.some.group"); err != nil {
			b.Fatal(err)
		}
	}
}

// What guests read and post to is bounded by patterns, at every door; accounts and
// the operator are not.
func TestGuests(t *testing.T) {
	a := node(t)
	p := *a.policy()
	p.GuestRead, p.GuestPost = "*,!club.*", "a.*"
	a.SetPolicy(p)
	account := Origin{Door: "nntp", Account: "ann"}
	for _, c := range []struct {
		o     Origin
		act   Act
		group article.Group
		want  string
	}{
		{reader, Read, "a.open", "ok"},
		{reader, Read, "club.x", "login"},
		{reader, Read, "", "ok"},
		{reader, Post, "a.open", "ok"},
		{reader, Post, "b.open", "login"},
		{Origin{Door: "web", Trusted: true}, Read, "club.x", "login"},
		{Origin{Door: "smtp", Trusted: true}, Read, "club.x", "login"},
		{Origin{Door: "smtp", Trusted: true}, Read, "a.open", "ok"},
		{Origin{Door: "smtp", Trusted: true}, Post, "b.open", "login"},
		{account, Read, "club.x", "ok"},
		{account, Post, "b.open", "ok"},
		{Origin{Door: "control"}, Read, "club.x", "ok"},
		{Origin{Door: "feed"}, Post, "b.open", "ok"},
	} {
		if got := code(a.May(t.Context(), c.o, c.act, c.group)); got != c.want {
			t.Errorf("%s at %s in %q: %s, want %s", c.act, c.o.Door, c.group, got, c.want)
		}
	}
	p.Anonymous = map[string]string{"smtp": "post"}
	a.SetPolicy(p)
	if err := a.May(t.Context(), Origin{Door: "smtp"}, Read, "a.open"); code(err) != "login" {
		t.Errorf("mail leads out of a closed node: %v", err)
	}
}
