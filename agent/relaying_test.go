package agent

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/spooltest"
)

func TestRelayRules(t *testing.T) {
	old := article.FormatDate(testNow.Add(-91 * day))
	recent := article.FormatDate(testNow.Add(-time.Hour))
	for _, c := range []struct {
		name string
		wire []byte
		o    Origin
		want string
		path string // prefix of Path when taken
		keep bool   // the refusal is remembered
	}{
		{"plain", wire("<1@x>"), box8, "ok", "here.example!!box8.example!far", false},
		{"other head", wire("<1@x>", "Path", "far.example!nfm"), box8, "ok", "here.example!.MISMATCH.box8.example!far.example!", false},
		{"head after diagnosis", wire("<1@x>", "Path", "!.SEEN.x!box8.example!nfm"), box8, "ok", "here.example!!!.SEEN.x!", false},
		{"offered", wire("<1@x>"), offer(box8, "<1@x>"), "ok", "here.example!!", false},
		{"id mismatch", wire("<1@x>"), offer(box8, "<2@x>"), "bad-message-id", "", false},
		{"reader", wire("<1@x>"), reader, "no-peer", "", false},
		{"account that feeds nothing", wire("<1@x>"), as("ann"), "no-peer", "", false},
		{"no id", wire(""), box8, "bad-message-id", "", false},
		{"bad id", wire("<a b@x>"), box8, "bad-message-id", "", false},
		{"no path", wire("<1@x>", "Path", ""), box8, "bad-path", "", false},
		{"loop", wire("<1@x>", "Path", "box8.example!HERE.example!nfm"), box8, "path-loop", "", false},
		{"tail is no loop", wire("<1@x>", "Path", "box8.example!here.example"), box8, "ok", "", false},
		{"part of a name is no loop", wire("<1@x>", "Path", "box8.example!there.example!here.example.org!nfm"), box8, "ok", "", false},
		{"no date", wire("<1@x>", "Date", ""), box8, "syntax", "", false},
		{"bad date", wire("<1@x>", "Date", "x"), box8, "date", "", false},
		{"old", wire("<1@x>", "Date", old), box8, "too-old", "", true},
		{"old, injected late", wire("<1@x>", "Date", old, "Injection-Date", recent), box8, "ok", "", false},
		{"dated late, injected of old", wire("<1@x>", "Injection-Date", old), box8, "too-old", "", true},
		{"old allowed", wire("<1@x>", "Date", old), box9, "ok", "", false},
		{"ahead", wire("<1@x>", "Date", article.FormatDate(testNow.Add(25*time.Hour))), box9, "ahead", "", false},
		{"injected ahead", wire("<1@x>", "Injection-Date", article.FormatDate(testNow.Add(25*time.Hour))), box9, "ahead", "", false},
		{"no groups", wire("<1@x>", "Newsgroups", ""), box8, "syntax", "", false},
		{"unknown group", wire("<1@x>", "Newsgroups", "a.absent"), box8, "no-group", "", true},
		{"one known", wire("<1@x>", "Newsgroups", "a.absent,a.open"), box8, "ok", "", false},
		{"not taken", wire("<1@x>", "Newsgroups", "local.x"), box8, "not-taken", "", false},
		{"no local posts", wire("<1@x>", "Newsgroups", "a.none"), box8, "ok", "", false},
		{"unapproved", wire("<1@x>", "Newsgroups", "a.mod"), box8, "unapproved", "", false},
		{"crosspost unapproved", wire("<1@x>", "Newsgroups", "a.open,a.mod"), box8, "unapproved", "", false},
		{"approved without signature", wire("<1@x>", "Newsgroups", "a.mod", "Approved", "m@x.example"), box8, "unapproved", "", false},
		{"approved by custom", wire("<1@x>", "Newsgroups", "a.field", "Approved", "m@x.example"), box8, "ok", "", false},
		{"newgroup", wire("<1@x>", "Newsgroups", "a.new", "Control", "newgroup a.new"), box8, "control-no-right", "", false},
		{"rmgroup", wire("<1@x>", "Control", "rmgroup a.open"), box8, "control-no-right", "", false},
		{"checkgroups", wire("<1@x>", "Control", "checkgroups"), box8, "control-no-right", "", false},
		{"newgroup of nothing", wire("<1@x>", "Control", "newgroup"), box8, "control", "", false},
		{"cancel", wire("<1@x>", "Control", "cancel <2@x>"), box8, "ok", "", false},
		{"sendsys", wire("<1@x>", "Control", "sendsys"), box8, "ok", "", false},
		{"batch", wire("<1@x>", "Date", old), Origin{Door: "batch"}, "ok", "here.example!box8", false},
		{"bare lf", []byte(strings.Replace(string(wire("<1@x>")), "body\r\n", "body\n", 1)), box8, "syntax", "", false},
		{"nul", []byte(strings.Replace(string(wire("<1@x>")), "body", "bo\x00dy", 1)), box8, "syntax", "", false},
		{"empty", []byte(".\r\n"), box8, "syntax", "", false},
		{"large", wire("<1@x>", "X-A", strings.Repeat("a", 9000), "X-B", strings.Repeat("b\r\n ", 40_000)), box8, "too-large", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := node(t)
			e, err := a.Relay(t.Context(), c.wire, c.o)
			if got := code(err); got != c.want {
				t.Fatalf("%s (%v), want %s", got, err, c.want)
			}
			if err != nil {
				if err := a.Want(t.Context(), "<1@x>", box9); (code(err) == "refused-before") != c.keep {
					t.Errorf("offered again: %v, remembered should be %v", err, c.keep)
				}
				return
			}
			if p := open(t, a, e.ID).Get("Path"); !strings.HasPrefix(p, c.path) {
				t.Errorf("Path %q, want %q...", p, c.path)
			}
		})
	}
}

func offer(o Origin, id article.ID) Origin {
	o.Offered = id
	return o
}

// Of a relayed article only Path and Xref change: RFC 5537 §3.6.
func TestRelayKeepsOctets(t *testing.T) {
	a := node(t)
	in := wire("<1@x>", "X-Odd", "\t8-bit \xff\xfe folded\r\n\tmore", "path-x", "y", "Xref", "far a.open:7\r\n b:8", "organization", "  blanks  ")
	if _, err := a.Relay(t.Context(), bytes.Clone(in), box8); err != nil {
		t.Fatal(err)
	}
	want := bytes.Replace(in, []byte("Path: "), []byte("Path: here.example!!"), 1)
	want = bytes.Replace(want, []byte("Xref: far a.open:7\r\n b:8\r\n"), nil, 1)
	if got := open(t, a, "<1@x>").Wire(); !bytes.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func FuzzRelayKeepsOctets(f *testing.F) {
	f.Add("X-A", " b", "body\r\n")
	f.Add("xref", "z", "..\r\n")
	f.Fuzz(func(t *testing.T, name, value, body string) {
		in := []byte("Path: box8.example!nfm\r\nFrom: a@b\r\nNewsgroups: a.open\r\nSubject:\r\n x\r\nMessage-ID: <f@x>\r\nDate: Mon, 23 Nov 2026 11:00:00 +0000\r\n" +
			name + ": " + value + "\r\n\r\n" + body + ".\r\n")
		art, err := article.Parse(bytes.Clone(in), article.Limits{})
		if err != nil {
			return
		}
		a := &Agent{Host: "here.example"}
		r := &relaying{Agent: a, art: art, path: art.Get("Path"), how: spool.Relayed}
		out := r.stamped()
		if again, err := article.Parse(out.Wire(), article.Limits{Article: 2 << 20, Header: 1 << 20, Field: 1 << 20}); err != nil || again.Overview() != out.Overview() {
			t.Fatalf("%+v, read again %+v (%v)", out.Overview(), again, err)
		}
		rest := out.Wire()
		for n, v := range art.Fields() {
			if strings.EqualFold(n, "Xref") {
				continue
			}
			line := fmt.Sprintf("%s:%s\r\n", n, v)
			if line[0] == '.' {
				line = "." + line
			}
			if strings.EqualFold(n, "Path") {
				line = fmt.Sprintf("%s: here.example!%s\r\n", n, bytes.TrimLeft(v, " \t"))
			}
			if !bytes.HasPrefix(rest, []byte(line)) {
				t.Fatalf("%q does not begin with %q", rest, line)
			}
			rest = rest[len(line):]
		}
		if want := append([]byte("\r\n"), append(bytes.Clone(art.WireBody()), ".\r\n"...)...); !bytes.Equal(rest, want) {
			t.Fatalf("rest %q, want %q", rest, want)
		}
	})
}

func TestRelayRace(t *testing.T) {
	a := node(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[string]int{}
	for i := range 4 {
		wg.Go(func() {
			o := box9
			o.Conn = new(Conn)
			_, err := a.Relay(context.Background(), wire("<race@x>", "Path", fmt.Sprintf("p%d!nfm", i)), o)
			mu.Lock()
			defer mu.Unlock()
			got[code(err)]++
		})
	}
	wg.Wait()
	if got["ok"] != 1 || got["duplicate"] != 3 {
		t.Errorf("%v", got)
	}
}

func TestWant(t *testing.T) {
	a := node(t)
	now := testNow
	a.Now = func() time.Time { return now }
	one, two := box9, box9
	one.Conn, two.Conn = new(Conn), new(Conn)
	step := func(what string, err error, want string) {
		t.Helper()
		if code(err) != want {
			t.Errorf("%s: %v, want %s", what, err, want)
		}
	}
	step("first", a.Want(t.Context(), "<1@x>", one), "ok")
	step("again", a.Want(t.Context(), "<1@x>", one), "ok")
	step("other", a.Want(t.Context(), "<1@x>", two), "reserved")
	a.Release("<1@x>", two)
	step("not his to release", a.Want(t.Context(), "<1@x>", two), "reserved")
	a.ReleaseAll(one)
	step("released", a.Want(t.Context(), "<1@x>", two), "ok")
	now = now.Add(31 * time.Second)
	step("lapsed", a.Want(t.Context(), "<1@x>", one), "ok")
	_, err := a.Relay(t.Context(), wire("<1@x>"), offer(one, "<1@x>"))
	step("brought", err, "ok")
	step("is here", a.Want(t.Context(), "<1@x>", two), "duplicate")
	step("bad", a.Want(t.Context(), "x", two), "bad-id")
	if n := len(a.wants.new) + len(a.wants.old); n != 0 {
		t.Errorf("%d reservations left", n)
	}
	for i := range maxWants + 10 {
		step("flood", a.Want(t.Context(), article.ID(fmt.Sprintf("<f%d@x>", i)), one), "ok")
	}
	now = now.Add(wantFor)
	step("next generation", a.Want(t.Context(), "<n@x>", one), "ok")
	if n, o := len(a.wants.new), len(a.wants.old); n != 1 || o != maxWants {
		t.Errorf("%d and %d reserved", n, o)
	}
	now = now.Add(wantFor)
	step("the one after", a.Want(t.Context(), "<n@x>", one), "ok")
	if n, o := len(a.wants.new), len(a.wants.old); n != 1 || o != 0 {
		t.Errorf("%d and %d reserved", n, o)
	}
}

func TestBadCopyBarsOnlyItsPeer(t *testing.T) {
	const bound = "<unique.sig-abcdefghijklmnopqrst@x>"
	for _, c := range []struct {
		id   article.ID
		wire []byte
		want string
	}{
		{"<1@x>", wire("<1@x>", "Newsgroups", "a.mod"), "unapproved"},
		{"<1@x>", wire("<1@x>", "Date", "never"), "date"},
		{"<1@x>", []byte("rubbish\r\n.\r\n"), "syntax"},
		{bound, wire(bound, "Date", "Sun, 6 Nov 1994 08:49:37 GMT"), "too-old"},
	} {
		a := node(t)
		if _, err := a.Relay(t.Context(), c.wire, offer(box8, c.id)); code(err) != c.want {
			t.Fatal(err)
		}
		if err := a.Want(t.Context(), c.id, box8); code(err) != "refused-before" {
			t.Errorf("%s, same peer: %v", c.want, err)
		}
		if err := a.Want(t.Context(), c.id, box9); err != nil {
			t.Errorf("%s, another peer: %v", c.want, err)
		}
	}
}

func TestGroupMadeForgetsRefusals(t *testing.T) {
	a := node(t)
	w := wire("<1@x>", "Newsgroups", "a.late")
	if _, err := a.Relay(t.Context(), w, box8); code(err) != "no-group" {
		t.Fatal(err)
	}
	if err := a.Spool.PutGroups(t.Context(), spool.GroupInfo{Name: "a.late", Status: spool.PostOpen}); err != nil {
		t.Fatal(err)
	}
	a.GroupsChanged()
	if _, err := a.Relay(t.Context(), w, box8); err != nil {
		t.Error(err)
	}
}

func TestImport(t *testing.T) {
	a := node(t)
	o := Origin{Door: "import"}
	e, err := a.Import(t.Context(), wire("<1@x>", "Date", "Sun, 6 Nov 1994 08:49:37 GMT", "Newsgroups", "a.mod,a.absent", "Path", "here.example!x"), o)
	if err != nil || e.Via.How != spool.Imported || len(e.Places) != 1 {
		t.Fatalf("%+v %v", e, err)
	}
	if _, err := a.Import(t.Context(), wire("<1@x>"), o); code(err) != "duplicate" {
		t.Error(err)
	}
	if _, err := a.Import(t.Context(), wire("<2@x>", "Newsgroups", "a.absent"), o); code(err) != "no-group" {
		t.Error(err)
	}
	e, err = a.Import(t.Context(), wire("<2@x>", "Newsgroups", "a.absent"), o, "a.two")
	if err != nil || e.Places[0].Group != "a.two" {
		t.Errorf("into a group: %+v %v", e, err)
	}
	e, err = a.Import(t.Context(), wire("<3@x>", "Control", "newgroup a.evil", "Expires", "Mon, 1 Jan 1990 00:00:00 GMT"), o)
	if err != nil || e.Places[0].Group != "a.open" {
		t.Errorf("control: %+v %v", e, err)
	}
}

func TestWhose(t *testing.T) {
	a := node(t)
	a.Peers = PeerList{
		{Name: "wide", From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		{Name: "n1", Path: "n1.example", From: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}},
		{Name: "n2", Path: "n2.example", From: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}},
		{Name: "box9", Key: "spki:sha256:K"},
	}
	for _, c := range []struct {
		o    Origin
		want string
	}{
		{Origin{Addr: netip.MustParseAddr("10.2.3.4")}, "[wide]"},
		{Origin{Addr: netip.MustParseAddr("::ffff:10.1.3.4")}, "[n1 n2]"},
		{Origin{Addr: netip.MustParseAddr("192.0.2.1")}, "[]"},
		{Origin{Addr: netip.MustParseAddr("10.1.3.4"), Cert: "spki:sha256:K"}, "[box9]"},
		{Origin{Addr: netip.MustParseAddr("10.1.3.4"), Account: "feeder"}, "[box9]"},
		{Origin{Addr: netip.MustParseAddr("10.1.3.4"), Account: "ann"}, "[n1 n2]"},
	} {
		if got := fmt.Sprint(a.Whose(t.Context(), c.o)); got != c.want {
			t.Errorf("%+v: %s, want %s", c.o, got, c.want)
		}
	}
	o := Origin{Door: "nntp", Peer: "n1", Addr: netip.MustParseAddr("10.1.3.4")}
	e, err := a.Relay(t.Context(), wire("<1@x>", "Path", "n2.example!nfm"), o)
	if err != nil || e.Via.Peer != "n2" {
		t.Errorf("told by Path: %+v %v", e.Via, err)
	}
}

// newgroup and the first post come in one breath: ARCHITECTURE §4 rule 5.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := spooltest.NewMem()
		a := &Agent{Host: "here.example", Spool: mem, Peers: PeerList{{Name: "box8"}},
			Policy: Policy{Obey: func(_, peer, verb string, g article.Group) bool { return verb == "newgroup" && g == "b.new" }},
			Now:    func() time.Time { return testNow }}
		fs := &Followers{Spool: mem}
		if err := fs.Start(t.Context(), &Control{a}, AtBeginning); err != nil {
			t.Fatal(err)
		}
		defer fs.StopAll()
		conn := new(Conn)
		o := Origin{Door: "nntp", Peer: "box8", Conn: conn}
		first, second, third := o, o, o
		first.Turn, second.Turn, third.Turn = conn.Next(), conn.Next(), conn.Next()
		res := make(chan error, 1)
		go func() { // the post is looked at before its group's newgroup
			_, err := a.Relay(t.Context(), wire("<2@x>", "Newsgroups", "b.new"), second)
			res <- err
		}()
		synctest.Wait()
		if _, err := a.Relay(t.Context(), wire("<1@x>", "Newsgroups", "b.new", "Control", "newgroup b.new"), first); err != nil {
			t.Fatal(err)
		}
		if err := <-res; err != nil {
			t.Errorf("first post: %v", err)
		}
		begin := time.Now()
		conn.Next() // a turn that does not end
		fifth := o
		fifth.Turn = conn.Next()
		if _, err := a.Relay(t.Context(), wire("<3@x>", "Newsgroups", "b.never"), fifth); code(err) != "no-group" {
			t.Error(err)
		}
		if d := time.Since(begin); d != maxPatience {
			t.Errorf("waited %v", d)
		}
	})
}

func BenchmarkRelay(b *testing.B) {
	mem := spooltest.NewMem()
	if err := mem.PutGroups(context.Background(), spool.GroupInfo{Name: "a.open", Status: spool.PostOpen}); err != nil {
		b.Fatal(err)
	}
	a := &Agent{Host: "here.example", Spool: nullAdd{mem}, Peers: PeerList{{Name: "box8", Path: "box8.example"}}, Policy: Policy{Cutoff: 90 * day},
		Now: func() time.Time { return testNow }}
	body := strings.Repeat("A line of text as people write them, of some seventy octets or so.\r\n", 30)
	text := bytes.Replace(wire("<bench@x>", "References", "<a@b> <c@d>", "Organization", "Private", "User-Agent", "tin/2.6", "MIME-Version", "1.0",
		"Content-Type", "text/plain; charset=UTF-8", "Content-Transfer-Encoding", "8bit", "Injection-Date", article.FormatDate(testNow.Add(-time.Hour)),
		"Injection-Info", "far.example; posting-host=\"192.0.2.1\""), []byte("body\r\n"), []byte(body), 1)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	conn := new(Conn)
	begin := cpu(b)
	for b.Loop() {
		o := Origin{Door: "nntp", Peer: "box8", Conn: conn, Turn: conn.Next(), Offered: "<bench@x>"}
		if err := a.Want(context.Background(), o.Offered, o); err != nil {
			b.Fatal(err)
		}
		if _, err := a.Relay(context.Background(), text, o); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpu(b)-begin).Nanoseconds())/float64(b.N)/1000, "cpu-us/op")
}

// cpu is what this process used: the machine may be busy with other things.
func cpu(b *testing.B) time.Duration {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		b.Fatal(err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// nullAdd is a spool whose Add does nothing.
type nullAdd struct{ spool.Store }

func (nullAdd) Add(_ context.Context, a *article.Article, _ spool.Arrival) (spool.Entry, error) {
	return spool.Entry{Seq: 1, Overview: a.Overview()}, nil
}
