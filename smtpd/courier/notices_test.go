package courier

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// folk are accounts whose name is the local part of their address.
type folk struct {
	watches map[string][]string // root to names
	shut    map[string]bool     // who may not read
}

func (f *folk) Author(_ context.Context, e spool.Entry) (string, error) {
	if name, host, _ := strings.Cut(e.From, "@"); host == "home.example" {
		return name, nil
	}
	return "", nil
}

func (f *folk) Watchers(_ context.Context, ids ...string) (out []string, err error) {
	for _, id := range ids {
		out = append(out, f.watches[id]...)
	}
	return out, nil
}

func (f *folk) Wants(_ context.Context, account string, _ article.Group, _ spool.Entry) bool {
	return !f.shut[account]
}

func (f *folk) Moderates(_ context.Context, account string, _ []article.Group) bool {
	return account == "mona"
}

// write posts and follows an article.
func (d *desk) write(t *testing.T, n int, from, refs string) spool.Entry {
	t.Helper()
	h := [][2]string{{"From", from}, {"Newsgroups", "mesh.talk"}, {"Subject", fmt.Sprint("s", n)}, {"Message-ID", fmt.Sprintf("<w%d@a.example>", n)}}
	if refs != "" {
		h = append(h, [2]string{"References", refs})
	}
	r, err := d.agent.Inject(context.Background(), &article.Draft{Header: h, Body: strings.NewReader("x\r\n")}, agent.Origin{Door: "feed"})
	if err != nil {
		t.Fatal(err)
	}
	d.follow(t, r.Entry)
	return r.Entry
}

// TestNotices: each account hears of what it asked for, once, and of nothing else.
func TestNotices(t *testing.T) {
	h := newSmarthost(t)
	f := &folk{watches: map[string][]string{"<w1@a.example>": {"wim", "ann", "shy", "off"}}, shut: map[string]bool{"shy": true}}
	d := newDesk(t, h.addr, func(c *Config) { c.People = f })
	ctx := context.Background()
	for name, kinds := range map[string][]string{"ann": {NoticeReplies}, "wim": {NoticeWatched}, "bob": NoticeKinds(), "shy": NoticeKinds(), "mona": {NoticeReports}, "zoe": {NoticeReports}} {
		if err := d.SetNotices(ctx, name, name+"@home.example", kinds, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.SetNotices(ctx, "bob", "bob@home.example", nil, true); err != nil {
		t.Fatal(err)
	}
	d.run(t)
	d.write(t, 1, "ann@home.example", "")
	d.write(t, 2, "carl@x.example", "<w1@a.example>")                        // ann: an answer; wim: watched
	d.write(t, 3, "ann@home.example", "<w1@a.example> <w2@a.example>")       // wim
	d.write(t, 4, "wim@home.example", "<w1@a.example> <w3@a.example>")       // ann
	d.write(t, 5, "bob@home.example", "<w1@a.example> <w4@a.example>")       // wim
	d.write(t, 6, "carl@x.example", "<w1@a.example> <w5@a.example>")         // wim; bob wants nothing any more
	if err := d.Reported(ctx, "<w6@a.example>", "", "spam\nX"); err != nil { // mona
		t.Fatal(err)
	}
	want := []string{"ann w2", "ann w4", "mona report", "wim w2", "wim w3", "wim w5", "wim w6"}
	var got []string
	for range want {
		m := h.next(t)
		text := string(m.data)
		name, _, _ := strings.Cut(m.to, "@")
		what := "report"
		if !strings.Contains(text, "Subject: Reported in mesh.talk: s6\r\n") || !strings.Contains(text, "A guest reports") || !strings.Contains(text, "spam X") {
			_, what, _ = strings.Cut(text, "Message-ID: <")
			what, _, _ = strings.Cut(what, "@")
		}
		got = append(got, name+" "+what)
		if !strings.HasPrefix(m.from, "bounce+") || !strings.Contains(text, "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n") {
			t.Errorf("%s: from %s:\n%s", m.to, m.from, text)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	d.stop()
	if n := d.Counts().Queued; n != 0 || len(h.got) != 0 {
		t.Errorf("%d rows wait, %d more mails came", n, len(h.got))
	}
}

// TestNoticesConfirmed: an account says what it wants; its address is asked first, and
// the link in a mail ends it.
func TestNoticesConfirmed(t *testing.T) {
	h := newSmarthost(t)
	d := newDesk(t, h.addr, func(c *Config) { c.People = &folk{watches: map[string][]string{"<w1@a.example>": {"ann"}}} })
	d.run(t)
	mux := http.NewServeMux()
	d.Register(mux, nil)
	set := func(kind string) error {
		return d.SetNotices(context.Background(), "ann", "Ann@home.example", []string{kind}, false)
	}
	if err := set("all"); !errors.Is(err, ErrKind) {
		t.Errorf("no such kind: %v", err)
	}
	for range 2 { // asked once
		if err := set(NoticeWatched); err != nil {
			t.Error(err)
		}
		if n, err := d.NoticesOf("ann"); err != nil || n.State != "unconfirmed" {
			t.Errorf("%+v %v", n, err)
		}
	}
	ask := h.next(t)
	if ask.to != "ann@home.example" || !strings.Contains(string(ask.data), "Subject: Please confirm: notices for ann by mail\r\n") {
		t.Errorf("%s:\n%s", ask.to, ask.data)
	}
	d.write(t, 1, "carl@x.example", "")
	if err := d.Token(context.Background(), "confirm", tokenIn(t, ask.data, "confirm")); err != nil {
		t.Fatal(err)
	}
	if n, err := d.NoticesOf("ann"); err != nil || n.State != "ok" || n.Address != "ann@home.example" || !slices.Equal(n.Kinds, []string{NoticeWatched}) {
		t.Errorf("%+v %v", n, err)
	}
	d.write(t, 2, "carl@x.example", "<w1@a.example>")
	m := h.next(t)
	if !strings.Contains(string(m.data), "<w2@a.example>") {
		t.Errorf("the first after the confirmation is\n%s", m.data)
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("POST", leaveLink(t, string(m.data)), nil))
	if n, err := d.NoticesOf("ann"); err != nil || n.State != "" || !strings.Contains(w.Body.String(), "notices for the account <b>ann</b>") {
		t.Errorf("%+v %v %s", n, err, w.Body)
	}
}
