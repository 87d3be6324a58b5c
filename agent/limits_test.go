package agent

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/members"
)

func TestLimits(t *testing.T) {
	a := node(t)
	now := testNow
	clock := func() time.Time { return now }
	a.Now = clock
	ban := &Banned{}
	ban.Set([]string{"Viagra", ""}, []string{"spammer@evil.example"})
	quota := &PeerQuota{Peers: PeerList{{Name: "box8", Day: Usage{Articles: 3}}, {Name: "box9"}}, Now: clock}
	daily := &DayQuota{Most: Usage{Octets: 2000}, Members: a.Members, Now: clock}
	a.Filters = []Filter{ban, Crossposts{3}, &PostRate{PerHour: 60, Burst: 3, Now: clock}, daily, quota}
	if err := a.Members.Change(t.Context(), "mod", func(m *members.Account) error { m.ArticlesDay = 2; return nil }); err != nil {
		t.Fatal(err)
	}
	away := Origin{Door: "nntp", Trusted: true, Addr: netip.MustParseAddr("2001:db8::1")}
	near := Origin{Door: "nntp", Trusted: true, Addr: netip.MustParseAddr("2001:db8::2")}
	post := func(o Origin, text string) string {
		_, err := a.Inject(t.Context(), draft(t, text), o)
		return code(err)
	}
	for i, c := range []struct {
		o    Origin
		text string
		want string
		wait time.Duration
	}{
		{reader, strings.Replace(plain, "hello", "buy VIAGRA", 1), "banned-word", 0},
		{reader, plain + "cheap viagra\n", "banned-word", 0},
		{reader, strings.Replace(plain, "ann@home", "Spammer@evil", 1), "banned-poster", 0},
		{reader, strings.Replace(plain, "a.open", "a.open,a.two,b.a,b.b", 1), "crosspost", 0},
		{away, plain, "ok", 0}, {away, plain, "ok", 0}, {near, plain, "ok", 0},
		{near, plain, "post-rate", 0}, // the same /64
		{near, plain, "ok", 61 * time.Second},
		{reader, plain, "ok", 0}, {reader, plain, "ok", 0}, {reader, plain, "ok", 0}, {reader, plain, "ok", 0}, {reader, plain, "ok", 0}, // loopback
		{as("mod"), plain, "ok", 0}, {as("mod"), plain, "ok", 0}, {as("mod"), plain, "day-quota", 0},
		{as("mod"), plain, "ok", day},
		{as("ann"), plain + strings.Repeat("long line of words\n", 120), "ok", 0}, // loopback
		{Origin{Door: "nntp", Account: "ann", Addr: away.Addr}, plain + strings.Repeat("long line of words\n", 120), "day-quota", 0},
	} {
		now = now.Add(c.wait)
		if got := post(c.o, c.text); got != c.want {
			t.Errorf("%d: %s, want %s", i, got, c.want)
		}
	}
	if u := daily.Used("mod"); u.Articles != 1 || u.Octets == 0 {
		t.Errorf("%+v", u)
	}
	for i, want := range []string{"ok", "ok", "ok", "peer-quota"} {
		if _, err := a.Relay(t.Context(), wire(fmt.Sprintf("<q%d@x>", i)), box8); code(err) != want {
			t.Errorf("%d: %v, want %s", i, err, want)
		}
	}
	if err := a.Want(t.Context(), "<q3@x>", box8); err != nil {
		t.Errorf("over the quota: not welcome tomorrow: %v", err)
	}
	if u := quota.Used("box8"); u.Articles != 3 {
		t.Errorf("%+v", u)
	}
	if n := a.Stats()[Count{"inject", "banned-word"}]; n != 2 {
		t.Errorf("counted %d", n)
	}
	if got := post(Origin{Door: "nntp", Trusted: true, Peer: "box8", Addr: reader.Addr}, plain); got != "ok" {
		t.Errorf("a peer that posts: %s", got)
	}
}
