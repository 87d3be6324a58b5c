package courier

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/emersion/go-smtp"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/spooltest"
)

// smarthost is a real SMTP server that keeps what it gets.
type smarthost struct {
	addr string
	got  chan delivery
	deny func(to string) error // set before mail comes; called by several at a time
}

type delivery struct {
	from, to string
	data     []byte
}

type hostSession struct {
	h        *smarthost
	from, to string
}

func (s *hostSession) Reset()                                      {}
func (s *hostSession) Logout() error                               { return nil }
func (s *hostSession) Mail(from string, _ *smtp.MailOptions) error { s.from = from; return nil }
func (s *hostSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = to
	if s.h.deny != nil {
		return s.h.deny(to)
	}
	return nil
}
func (s *hostSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	s.h.got <- delivery{s.from, s.to, b}
	return err
}

func newSmarthost(t testing.TB) *smarthost {
	h := &smarthost{got: make(chan delivery, 20000)}
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &hostSession{h: h}, nil }))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = l.Addr().String()
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return h
}

func (h *smarthost) next(t testing.TB) delivery {
	t.Helper()
	select {
	case d := <-h.got:
		return d
	case <-time.After(10 * time.Second):
		t.Fatal("no mail came")
		return delivery{}
	}
}

type desk struct {
	*Courier
	store *spooltest.Mem
	agent *agent.Agent
	clock atomic.Int64
	stop  func()
}

func newDesk(t testing.TB, host string, change func(*Config)) *desk {
	t.Helper()
	d := &desk{store: spooltest.NewMem()}
	d.clock.Store(1_800_000_000)
	now := func() time.Time { return time.Unix(d.clock.Load(), 0) }
	ctx := context.Background()
	err := d.store.PutGroups(ctx, spool.GroupInfo{Name: "mesh.talk", Status: spool.PostOpen, Description: "Größe <x>"},
		spool.GroupInfo{Name: "mesh.mod", Status: spool.Moderated, Moderator: "mod@m.example"})
	if err != nil {
		t.Fatal(err)
	}
	db, err := state.Open(filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	d.agent = &agent.Agent{Host: "box.example", Spool: d.store, State: db, Now: now}
	cfg := Config{Domain: "box.example", Host: "box.example", URL: "http://box.example:8080", Smarthost: host, State: db, Spool: d.store, Waiting: d.agent, Language: "en", Now: now}
	if change != nil {
		change(&cfg)
	}
	d.Courier = New(cfg)
	return d
}

func (d *desk) run(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	var once sync.Once
	d.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(d.stop)
}

func (d *desk) post(t testing.TB, group, subject string) spool.Entry {
	t.Helper()
	dr := &article.Draft{Header: [][2]string{{"From", "Alice <alice@nodmarc.invalid>"}, {"Newsgroups", group}, {"Subject", subject}, {"Message-ID", "<" + strings.ReplaceAll(subject, " ", ".") + "@a.example>"}},
		Body: strings.NewReader("Hallo\r\n.dot\r\n")}
	r, err := d.agent.Inject(context.Background(), dr, agent.Origin{Door: "feed"})
	if err != nil {
		t.Fatal(err)
	}
	return r.Entry
}

func (d *desk) follow(t testing.TB, e spool.Entry) {
	t.Helper()
	if err := d.Follow(context.Background(), e); err != nil {
		t.Fatal(err)
	}
}

func TestArticleGoesToSubscribers(t *testing.T) {
	h := newSmarthost(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	d := newDesk(t, h.addr, func(c *Config) { c.DKIM = Seal{key, "litfass"} })
	ctx := context.Background()
	if err := d.Add(ctx, "mesh.talk", "Bob@B.example", All); err != nil {
		t.Fatal(err)
	}
	e := d.post(t, "mesh.talk", "first one")
	d.follow(t, e)
	d.follow(t, e) // at least once: the same rows
	d.run(t)
	got := h.next(t)
	head := string(got.data)
	if got.to != "bob@b.example" || !strings.HasPrefix(got.from, "bounce+") {
		t.Errorf("envelope %s to %s", got.from, got.to)
	}
	for _, want := range []string{"Message-ID: <first.one@a.example>", "List-Id: ", "<mesh.talk.box.example>", "List-Post: <mailto:mesh.talk@box.example>",
		"List-Unsubscribe-Post: List-Unsubscribe=One-Click", "Archived-At: <http://box.example:8080/m/first.one@a.example>", "DKIM-Signature: ", "\r\n\r\nHallo\r\n.dot\r\n"} {
		if !strings.Contains(head, want) {
			t.Errorf("no %q in\n%s", want, head)
		}
	}
	if strings.Contains(head, "\nPath:") || strings.Contains(head, "Injection-") {
		t.Errorf("fields of news travel:\n%s", head)
	}
	d.stop()
	if n := d.Counts().Queued; n != 0 || len(h.got) != 0 {
		t.Errorf("%d rows left, %d more mails", n, len(h.got))
	}
	sigs, err := dkim.VerifyWithOptions(bytes.NewReader(got.data), &dkim.VerifyOptions{LookupTXT: published(t, key)})
	if err != nil || len(sigs) != 1 || sigs[0].Domain != "box.example" || sigs[0].Err != nil {
		t.Errorf("DKIM: %+v %v", sigs, err)
	} else if keys := strings.Join(sigs[0].HeaderKeys, ":"); !strings.HasSuffix(keys, "List-Unsubscribe:List-Unsubscribe-Post") { // RFC 8058 §4
		t.Errorf("DKIM covers %s", keys)
	}
	leave := leaveLink(t, head)
	mux := http.NewServeMux()
	d.Register(mux, nil)
	for i, want := range []int{200, 200, 404} {
		w := httptest.NewRecorder()
		method := "POST"
		if i == 0 {
			method = "GET"
		}
		mux.ServeHTTP(w, httptest.NewRequest(method, leave, strings.NewReader("List-Unsubscribe=One-Click")))
		if w.Code != want {
			t.Errorf("%s %s: %d", method, leave, w.Code)
		}
	}
	if subs, _ := d.List("mesh.talk"); len(subs) != 0 {
		t.Errorf("still subscribed: %v", subs)
	}
}

// tokenIn is the token of the one-time address of this kind in a mail.
func tokenIn(t *testing.T, mail []byte, verb string) string {
	t.Helper()
	m := regexp.MustCompile(verb + `\+([a-z0-9]{20,})@`).FindSubmatch(mail)
	if m == nil {
		t.Fatalf("no %s address in\n%s", verb, mail)
	}
	return string(m[1])
}

func leaveLink(t *testing.T, head string) string {
	_, rest, ok := strings.Cut(head, "http://box.example:8080/mail/leave")
	if !ok {
		t.Fatal("no link to leave")
	}
	link, _, _ := strings.Cut(rest, ">")
	return "/mail/leave" + link
}

// TestLeavingIsConfirmed: who cannot show that an address is his does not end what it
// gets; the address is asked, once.
func TestLeavingIsConfirmed(t *testing.T) {
	h := newSmarthost(t)
	d := newDesk(t, h.addr, nil)
	d.run(t)
	ctx := context.Background()
	if err := d.Add(ctx, "mesh.talk", "bob@b.example", All); err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"stranger@b.example", "Bob@b.example", "bob@b.example"} {
		if err := d.Unsubscribe(ctx, "mesh.talk", who, "en", false); err != nil {
			t.Fatal(err)
		}
	}
	asked := h.next(t)
	if subs, _ := d.List(""); len(subs) != 1 || asked.to != "bob@b.example" || !bytes.Contains(asked.data, []byte("Please confirm: no more mail of mesh.talk")) {
		t.Fatalf("%v, asked %s:\n%s", subs, asked.to, asked.data)
	}
	token := tokenIn(t, asked.data, "confirm")
	if err := d.Token(ctx, "confirm", token); err != nil {
		t.Fatal(err)
	}
	if bye := h.next(t); !bytes.Contains(bye.data, []byte("You get no more mail of mesh.talk")) {
		t.Errorf("%s", bye.data)
	}
	var r *agent.Refusal
	if err := d.Token(ctx, "confirm", token); !errors.As(err, &r) {
		t.Errorf("a token is good once: %v", err)
	}
	if subs, _ := d.List(""); len(subs) != 0 || len(h.got) != 0 {
		t.Errorf("%v, %d more mails", subs, len(h.got))
	}
}

func TestConfirmedOptIn(t *testing.T) {
	h := newSmarthost(t)
	d := newDesk(t, h.addr, nil)
	d.run(t)
	ctx := context.Background()
	for range 3 { // asking again sends nothing more
		if err := d.Subscribe(ctx, "mesh.talk", "bob@b.example", "digest", "de"); err != nil {
			t.Fatal(err)
		}
	}
	got := h.next(t)
	token := tokenIn(t, got.data, "confirm")
	if subs, _ := d.List(""); len(subs) != 0 || got.from != "" {
		t.Fatalf("subscribed without a yes: %v, from %q", subs, got.from)
	}
	if err := d.Token(ctx, "confirm", token); err != nil {
		t.Fatal(err)
	}
	var r *agent.Refusal
	if err := d.Token(ctx, "confirm", token); !errors.As(err, &r) {
		t.Errorf("a token is good once: %v", err)
	}
	if subs, _ := d.List("mesh.talk"); len(subs) != 1 || subs[0].Mode != Digest {
		t.Errorf("%v", subs)
	}
	if got := h.next(t); got.to != "bob@b.example" || !strings.Contains(string(got.data), "\r\nSubject: Willkommen in mesh.talk\r\n") || !strings.Contains(string(got.data), "mesh.talk-unsubscribe@box.example") {
		t.Errorf("welcomed %s with\n%s", got.to, got.data)
	}
	if len(h.got) != 0 {
		t.Errorf("%d more mails", len(h.got))
	}
}

func TestRetriesAndBounces(t *testing.T) {
	h := newSmarthost(t)
	h.deny = func(to string) error {
		switch {
		case strings.HasPrefix(to, "busy"):
			return &smtp.SMTPError{Code: 451, Message: "later"}
		case strings.HasPrefix(to, "gone"):
			return &smtp.SMTPError{Code: 550, Message: "no such user"}
		}
		return nil
	}
	d := newDesk(t, h.addr, nil)
	ctx := context.Background()
	for _, a := range []string{"busy@b.example", "gone@b.example", "good@b.example"} {
		if err := d.Add(ctx, "mesh.talk", a, All); err != nil {
			t.Fatal(err)
		}
	}
	work := func() { // what is due, without the loop
		rows, _, err := d.due(100)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if err := d.work(ctx, r); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range bouncesToPause {
		d.follow(t, d.post(t, "mesh.talk", fmt.Sprint("article ", i)))
		work()
		if got := h.next(t); got.to != "good@b.example" {
			t.Errorf("to %s", got.to)
		}
		d.clock.Add(int64(24 * time.Hour / time.Second))
	}
	subs, _ := d.List("mesh.talk")
	for _, s := range subs {
		if paused := strings.HasPrefix(s.Address, "gone"); s.Paused != paused {
			t.Errorf("%+v", s)
		}
	}
	rows, _, _ := d.due(100)
	for _, r := range rows {
		if r.Seq != 0 && (len(r.To) != 1 || r.To[0] != "busy@b.example" || r.Tries == 0) {
			t.Errorf("in the queue: %+v", r)
		}
	}
	d.clock.Add(int64(6 * 24 * time.Hour / time.Second))
	work()
	if n := d.Counts().Queued; n != 0 {
		t.Errorf("after 5 days %d rows are left", n)
	}
}

func TestModerationByMail(t *testing.T) {
	h := newSmarthost(t)
	d := newDesk(t, h.addr, nil)
	d.run(t)
	ctx := context.Background()
	tokens := map[string]string{}
	for _, subject := range []string{"good", "bad"} {
		d.post(t, "mesh.mod", subject)
		got := h.next(t)
		if got.to != "mod@m.example" {
			t.Fatalf("told %s", got.to)
		}
		if !strings.Contains(string(got.data), "\r\n> Hallo\r\n") {
			t.Errorf("the moderator does not see the text: %s", got.data)
		}
		tokens[subject] = tokenIn(t, got.data, "approve")
	}
	if err := d.Token(ctx, "reject", tokens["bad"]); err != nil {
		t.Fatal(err)
	}
	if err := d.Token(ctx, "approve", tokens["good"]); err != nil {
		t.Fatal(err)
	}
	var r *agent.Refusal
	if err := d.Token(ctx, "approve", tokens["bad"]); !errors.As(err, &r) {
		t.Errorf("decided twice: %v", err)
	}
	g, err := d.store.Group(ctx, "mesh.mod")
	if err != nil || g.Count != 1 {
		t.Errorf("%d articles, %v", g.Count, err)
	}
}

// TestModerationByLink: the link in a moderator's mail shows what waits; looking at it
// decides nothing, a button does, once.
func TestModerationByLink(t *testing.T) {
	h := newSmarthost(t)
	d := newDesk(t, h.addr, nil)
	d.run(t)
	mux := http.NewServeMux()
	d.Register(mux, nil)
	ask := func(method, link, form, lang string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, link, strings.NewReader(form))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Accept-Language", lang)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w
	}
	for i, verb := range []string{"approve", "reject"} {
		d.post(t, "mesh.mod", verb)
		link := "/mail/decide?t=" + tokenIn(t, h.next(t).data, "approve")
		for _, c := range [][2]string{{"en", "Let it in"}, {"de-DE,de", "Freigeben"}} {
			if w := ask("GET", link, "", c[0]); w.Code != 200 || !strings.Contains(w.Body.String(), c[1]) || !strings.Contains(w.Body.String(), "Hallo") {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		}
		if w := ask("POST", link, "do=", ""); w.Code != 400 || !strings.Contains(w.Body.String(), "Press one of the two buttons") || !strings.Contains(w.Body.String(), "Let it in") {
			t.Errorf("no button: %d %s", w.Code, w.Body)
		}
		if all, err := d.agent.Waiting(context.Background()); err != nil || len(all) != 1 {
			t.Fatalf("%d wait after a look, %v", len(all), err)
		}
		for _, want := range []int{200, 404} {
			if w := ask("POST", link, "do="+verb, ""); w.Code != want {
				t.Errorf("%s: %d, want %d: %s", verb, w.Code, want, w.Body)
			}
		}
		if w := ask("GET", link, "", ""); w.Code != 404 {
			t.Errorf("looked at when decided: %d", w.Code)
		}
		if g, err := d.store.Group(context.Background(), "mesh.mod"); err != nil || g.Count != 1 {
			t.Errorf("%d: %d articles, %v", i, g.Count, err)
		}
	}
	if w := ask("GET", "/mail/decide", "", ""); w.Code != 404 {
		t.Errorf("without a token: %d", w.Code)
	}
}

func TestReplies(t *testing.T) {
	h := newSmarthost(t)
	d := newDesk(t, h.addr, nil)
	ctx := context.Background()
	for _, a := range []string{"alice@nodmarc.invalid", "bob@x.example"} {
		if err := d.Add(ctx, "mesh.talk", a, Replies); err != nil {
			t.Fatal(err)
		}
	}
	d.run(t)
	first := d.post(t, "mesh.talk", "question")
	d.follow(t, first)
	for i, from := range []string{"carl@x.example", "Alice@nodmarc.invalid"} { // an answer, and her own afterword
		r, err := d.agent.Inject(ctx, &article.Draft{Header: [][2]string{{"From", from}, {"Newsgroups", "mesh.talk"}, {"Subject", "Re: question"},
			{"Message-ID", fmt.Sprintf("<answer%d@a.example>", i)}, {"References", string(first.ID)}}, Body: strings.NewReader("x\r\n")}, agent.Origin{Door: "feed"})
		if err != nil {
			t.Fatal(err)
		}
		d.follow(t, r.Entry)
	}
	if got := h.next(t); got.to != "alice@nodmarc.invalid" || !strings.Contains(string(got.data), "<answer0@a.example>") {
		t.Errorf("%s got\n%s", got.to, got.data)
	}
	d.stop()
	if n := d.Counts().Queued; n != 0 || len(h.got) != 0 {
		t.Errorf("%d rows wait, %d more mails came", n, len(h.got))
	}
}

// BenchmarkQueue10000 queues one article for 10,000 subscribers: one operation is
// one subscriber.
func BenchmarkQueue10000(b *testing.B) {
	d := newDesk(b, "127.0.0.1:1", nil)
	err := d.subs.DB.Update(func(tx *state.Tx) error {
		for i := range 10_000 {
			s := Subscription{Group: "mesh.talk", Address: fmt.Sprintf("subscriber.%d@provider%d.example", i, i%50), Mode: All, Token: fmt.Sprintf("%026d", i)}
			if err := d.subs.PutIn(tx, subKey(s.Group, s.Address), s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	e := d.post(b, "mesh.talk", "x")
	var before, after runtime.MemStats
	rounds := 0
	runtime.ReadMemStats(&before)
	for b.Loop() {
		rounds++
		if err := d.Follow(context.Background(), e); err != nil {
			b.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(rounds)/10_000, "ns/subscriber")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(rounds)/(1<<20), "MiB-in-all")
}

func TestDigest(t *testing.T) {
	h := newSmarthost(t)
	d := newDesk(t, h.addr, nil)
	ctx := context.Background()
	if err := d.Add(ctx, "mesh.talk", "bob@b.example", Digest); err != nil {
		t.Fatal(err)
	}
	if err := d.digests(ctx); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		d.follow(t, d.post(t, "mesh.talk", fmt.Sprint("article ", i)))
	}
	d.clock.Add(int64(25 * time.Hour / time.Second))
	d.run(t)
	got := h.next(t)
	if n := strings.Count(string(got.data), "Content-Type: message/rfc822"); n != 3 || got.to != "bob@b.example" {
		t.Errorf("%d articles to %s:\n%s", n, got.to, got.data)
	}
	d.stop()
	if len(h.got) != 0 {
		t.Errorf("%d more mails", len(h.got))
	}
}

// BenchmarkExpand is one short article for 10,000 subscribers, row by row, up to the
// finished mails, signatures included. It reports the CPU that one of them takes, how much
// memory the heap held at most over what it held before, looked at after each row, garbage
// included (Go's collector comes at 4 MiB, later on a busy machine), and what of it was
// in use at the end.
func BenchmarkExpand(b *testing.B) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	for _, kind := range []struct {
		name string
		key  crypto.Signer
		once crypto.Signer
	}{{"unsigned", nil, nil}, {"ed25519", edKey, nil}, {"both", edKey, rsaKey}, {"rsa2048", rsaKey, nil}} {
		b.Run(kind.name, func(b *testing.B) {
			d := newDesk(b, "127.0.0.1:1", func(c *Config) { c.DKIM.Key, c.Common.Key = kind.key, kind.once })
			e := d.post(b, "mesh.talk", "x")
			tokens := make([]string, perRow)
			for i := range tokens {
				tokens[i] = fmt.Sprintf("%026d", i)
			}
			var peak uint64
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			rest, live, began := m.HeapInuse, m.HeapAlloc, cpuTime(b)
			for b.Loop() {
				for range 10_000 / perRow {
					l, _, err := d.letterOf(context.Background(), row{Seq: e.Seq, Group: "mesh.talk"})
					if err != nil {
						b.Fatal(err)
					}
					for _, token := range tokens {
						mail, err := d.finish(&l, d.leaveFields(token))
						if err == nil {
							_, err = io.Copy(io.Discard, mail)
						}
						if err != nil {
							b.Fatal(err)
						}
					}
					runtime.ReadMemStats(&m)
					peak = max(peak, m.HeapInuse)
				}
			}
			used := cpuTime(b) - began
			runtime.GC()
			runtime.ReadMemStats(&m)
			b.ReportMetric(used.Seconds()*1e6/float64(b.N)/10_000, "cpu-us/subscriber")
			b.ReportMetric(float64(peak-min(peak, rest))/(1<<20), "MiB-peak")
			b.ReportMetric(float64(m.HeapAlloc-min(m.HeapAlloc, live))/(1<<20), "MiB-live")
		})
	}
	b.Run("signature alone", func(b *testing.B) {
		sum, began := make([]byte, 32), cpuTime(b)
		for range 1000 {
			if _, err := rsaKey.Sign(rand.Reader, sum, crypto.SHA256); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64((cpuTime(b)-began).Microseconds())/1000, "cpu-us/subscriber")
	})
}

// cpuTime is what the process has used.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
