package agent

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/members"
	"github.com/litfass/litfass/spool"
)

func TestLimits(t *testing.T) {
	a := node(t)
	now := testNow
	clock := func() time.Time { return now }
	a.Now = clock
	ban := &Banned{}
	ban.Set([]string{"Viagra", ""}, []string{"spammer@evil.example"})
	ledger, err := OpenLedger(a.State, clock)
	if err != nil {
		t.Fatal(err)
	}
	quota := &PeerQuota{Peers: PeerList{{Name: "box8", Day: Usage{Articles: 3}}, {Name: "box9"}}, Ledger: ledger}
	daily := &DayQuota{Most: Usage{Octets: 2000}, Members: a.Members, Ledger: ledger}
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
	if u := ledger.Today("account mod"); u.Articles != 1 || u.Octets == 0 {
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
	if u := ledger.Today("peer box8"); u.Articles != 3 {
		t.Errorf("%+v", u)
	}
	if n := a.Stats()[Count{"inject", "banned-word"}]; n != 2 {
		t.Errorf("counted %d", n)
	}
	if got := post(Origin{Door: "nntp", Trusted: true, Peer: "box8", Addr: reader.Addr}, plain); got != "ok" {
		t.Errorf("a peer that posts: %s", got)
	}
}

// kept is an article that was stored.
func kept(at time.Time, octets int) spool.Entry {
	return spool.Entry{Arrived: at, Overview: article.Overview{Bytes: octets}}
}

func TestLedger(t *testing.T) {
	db := node(t).State
	now := testNow
	open := func() *Ledger {
		l, err := OpenLedger(db, func() time.Time { return now })
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := open()
	first := now
	for range 3 {
		for _, who := range []string{"peer box8", "account ann", "address 192.0.2.1"} {
			if !l.add(who, 100, Usage{}) {
				t.Fatal(who)
			}
		}
		l.Kept("box8", kept(now, 100))
		now = now.Add(day)
	}
	now = now.Add(-day)
	l.add("peer box8", 50, Usage{})
	l.add("peer box8", 5000, Usage{}) // refused for another reason: brought, not kept
	l.Kept("box8", kept(now, 50))
	again := func(want Usage) {
		t.Helper()
		if err := l.Save(); err != nil {
			t.Fatal(err)
		}
		for _, x := range []*Ledger{l, open()} {
			if got := x.Held("box8"); got != want {
				t.Errorf("box8 holds %+v, want %+v", got, want)
			}
		}
	}
	again(Usage{4, 350})
	l = open() // a restart
	if u := l.Today("peer box8"); u != (Usage{3, 5150}) {
		t.Errorf("today %+v", u)
	}
	if u := l.Today("account ann"); u != (Usage{1, 100}) {
		t.Errorf("ann today %+v", u)
	}
	if u := l.Today("address 192.0.2.1"); u != (Usage{}) {
		t.Errorf("an address is kept on the disk: %+v", u)
	}
	if l.add("account ann", 1, Usage{Articles: 1}) {
		t.Error("a restart forgives")
	}
	l.Gone("box8", now, 50)
	again(Usage{3, 300})
	if u := l.Today("peer box8"); u != (Usage{3, 5150}) {
		t.Errorf("what went still counts as brought: %+v", u)
	}
	l.Forget(first.Add(day))
	again(Usage{2, 200})
	l.Forget(now.Add(400 * day)) // nothing is left; today is kept
	again(Usage{1, 100})
}

func TestPeerShare(t *testing.T) {
	a := node(t)
	l, err := OpenLedger(nil, a.Now)
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	quota := &PeerQuota{Peers: PeerList{{Name: "box8", Share: 10000}}, Ledger: l, Over: func(string) { told++ }}
	a.Filters, a.Kept = []Filter{quota}, l.Kept
	relay := func(i int) string {
		_, err := a.Relay(t.Context(), wire(fmt.Sprintf("<s%d@x>", i)), box8)
		return code(err)
	}
	l.Kept("box8", kept(a.Now(), 10001))
	if got := relay(1); got != "ok" || told != 1 {
		t.Errorf("a little over its share: %s, told %d times", got, told)
	}
	if _, err := a.Relay(t.Context(), wire("<mod@x>", "Newsgroups", "a.mod"), box8); code(err) != "unapproved" || l.Held("box8").Articles != 2 {
		t.Errorf("refused, but held: %v, %+v", err, l.Held("box8"))
	}
	l.Kept("box8", kept(a.Now(), 600))
	if got := relay(2); got != "peer-share" {
		t.Errorf("far over its share: %s", got)
	}
	l.Gone("box8", a.Now(), 10001)
	if got := relay(2); got != "ok" {
		t.Errorf("with room again: %s", got)
	}
}

func TestBannedIsReadAsPeopleDo(t *testing.T) {
	f := &Banned{}
	f.Set([]string{"Viagra", "Grüße"}, []string{"Spämmer"})
	check := func(fields ...string) string {
		body := "text\r\n"
		if len(fields)%2 == 1 {
			body, fields = fields[len(fields)-1], fields[:len(fields)-1]
		}
		w := strings.Replace(string(wire("<b@x>", fields...)), "body\r\n..dot\r\n", body, 1)
		a, err := article.Parse([]byte(w), article.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		return code(f.Check(t.Context(), a, reader))
	}
	mime := []string{"MIME-Version", "1.0", "Content-Type", "text/plain; charset=utf-8", "Content-Transfer-Encoding"}
	for _, c := range []struct {
		got, want string
	}{
		{check("Subject", "=?utf-8?B?VmlhZ3Jh?="), "banned-word"},
		{check("Subject", "=?iso-8859-1?Q?Viele_Gr=FC=DFe?="), "banned-word"},
		{check("From", "=?utf-8?Q?Sp=C3=A4mmer?= <x@y.example>"), "banned-poster"},
		{check("Subject", "Via gra"), "ok"},
		{check(append(mime, "base64", "Y2hlYXAgVklBR1JBIQo=\r\n")...), "banned-word"},
		{check(append(mime, "quoted-printable", "cheap Via=\r\ngra\r\n")...), "banned-word"},
		{check("MIME-Version", "1.0", "Content-Type", "text/html; charset=utf-8", "<p>Vi<b>agra</b></p>\r\n"), "banned-word"},
		{check(append(mime, "base64", "Y2hlYXAgdGVhCg==\r\n")...), "ok"},
	} {
		if c.got != c.want {
			t.Errorf("%s, want %s", c.got, c.want)
		}
	}
}
