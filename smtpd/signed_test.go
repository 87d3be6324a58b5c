package smtpd

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/pki"
	"github.com/litfass/litfass/smtpd/courier"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/spooltest"
	"github.com/litfass/litfass/test/dnsbox"
)

func keyring(t *testing.T) *pki.Keyring {
	t.Helper()
	db, err := state.Open(filepath.Join(t.TempDir(), "pki.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	l, err := pki.Open(db, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	kr, err := pki.OpenKeyring(filepath.Join(t.TempDir(), "keys"), l)
	if err != nil {
		t.Fatal(err)
	}
	return kr
}

// trust lets one keyring believe in another one's node.
func trust(t *testing.T, here, there *pki.Keyring) {
	t.Helper()
	list, err := there.Ledger.ByIdentity(there.NodeID())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := here.Ledger.Apply("", list); err != nil {
		t.Fatal(err)
	}
	if err := here.Ledger.Trust(pki.Anchor{ID: there.NodeID(), Purpose: "*", Scope: "*", Depth: 2}); err != nil {
		t.Fatal(err)
	}
}

// sender is another node, whose courier mails its articles to an office.
type sender struct {
	agent *agent.Agent
	keys  *pki.Keyring
	store *spooltest.Mem
	mail  *courier.Courier
}

func newSender(t *testing.T, to string, subscriber string) *sender {
	t.Helper()
	db, err := state.Open(filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s := &sender{keys: keyring(t), store: spooltest.NewMem()}
	if err := s.store.PutGroups(context.Background(), spool.GroupInfo{Name: "mesh.talk", Status: spool.PostOpen}); err != nil {
		t.Fatal(err)
	}
	s.agent = &agent.Agent{Host: "far.example", Spool: s.store, State: db, Keys: s.keys, Policy: agent.Policy{Anonymous: map[string]string{"nntp": "post"}}}
	resolver := dnsbox.Serve(t, dnsbox.Zone{TXT: map[string][]string{"_dmarc.strict.example": {"v=DMARC1; p=reject"}}})
	s.mail = courier.New(courier.Config{Domain: "far.example", Host: "far.example", Smarthost: to, State: db, Spool: s.store, Resolver: resolver,
		Settled: func() spool.Seq { return 1 << 40 }})
	if err := s.mail.Add(context.Background(), "mesh.talk", subscriber, courier.All); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.mail.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// post posts and mails one article, and waits until the office has another one.
func (s *sender) post(t *testing.T, o *office, text string) *article.Article {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	head, body, _ := strings.Cut(strings.ReplaceAll(text, "\n", "\r\n"), "\r\n\r\n")
	d := &article.Draft{Body: strings.NewReader(body)}
	for _, l := range strings.Split(head, "\r\n") {
		name, value, _ := strings.Cut(l, ": ")
		d.Header = append(d.Header, [2]string{name, value})
	}
	res, err := s.agent.Inject(ctx, d, agent.Origin{Door: "nntp", Trusted: true})
	if err != nil {
		t.Fatal(err)
	}
	before := spool.Seq(len(o.articles(t)))
	if err := s.mail.Follow(ctx, res.Entry); err != nil {
		t.Fatal(err)
	}
	if err := o.store.Wait(ctx, before); err != nil {
		t.Fatal("no article came:", err)
	}
	a, err := s.store.Open(ctx, res.Entry.Seq)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

const postTo = "Newsgroups: mesh.talk\nSubject: %s\nFrom: %s\n\n%s"

// TestSignedArticleByMail: a signed article that goes out by mail comes in at
// another node as the article that was signed, whatever its octets are, once.
func TestSignedArticleByMail(t *testing.T) {
	kr := keyring(t)
	o := open(t, func(c *Config) { c.Trusted, c.Anonymous, c.Agent = nil, "confirm", &agent.Agent{Keys: kr} })
	far := newSender(t, o.addr, "mesh.talk@box.example")
	trust(t, kr, far.keys)
	for i, c := range []struct{ name, subject, from, body string }{
		{"plain", "plain", "A <a@far.example>", "Text\n.dots\n..\nFrom here on \n\n\n"},
		{"8 bit body", "body", "A <a@far.example>", "Grüße, 你好\n"},
		{"8 bit header", "Grüße", "A <a@far.example>", "Text\n"},
		{"DMARC", "strict", "A <a@strict.example>", "Größe\n"},
		{"a program", "feed", "Feed <noreply@far.example>", "News\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sent := far.post(t, o, fmt.Sprintf(postTo, c.subject, c.from, c.body))
			all := o.articles(t)
			if len(all) != i+1 {
				t.Fatalf("%d articles, want %d; asked to confirm: %d", len(all), i+1, len(o.sent.mails))
			}
			sameSigned(t, sent, all[i])
			if p, result, _, err := kr.Verify(context.Background(), all[i], time.Now(), false); result != agent.Verified || err != nil || p.Identity != far.keys.NodeID().String() {
				t.Errorf("%s %v", result, err)
			}
			if e, err := o.store.ByID(context.Background(), sent.ID()); err != nil || e.Proof.State != article.ProofHolds {
				t.Errorf("stored with %+v, %v", e.Proof, err)
			}
		})
	}
	a := o.articles(t)[0] // the same again: as a mail of somebody else
	if err := o.send("x@y.example", []string{"mesh.talk@box.example"}, strings.ReplaceAll(string(a.Octets()), "\r\n", "\n")); err != nil {
		t.Error("a copy is not dropped but refused:", err)
	}
	if n := len(o.articles(t)); n != 5 {
		t.Errorf("%d articles after a copy", n)
	}
	if n := len(o.sent.mails); n != 0 {
		t.Errorf("%d people were asked to confirm", n)
	}
}

// sameSigned compares all that a signature covers, octet for octet.
func sameSigned(t *testing.T, a, b *article.Article) {
	t.Helper()
	if string(a.Body()) != string(b.Body()) {
		t.Errorf("body %q became %q", a.Body(), b.Body())
	}
	ra, rb := pki.Examine(a), pki.Examine(b)
	if string(ra.Input) != string(rb.Input) || ra.Err != nil || rb.Err != nil {
		t.Errorf("signed was %q (%v), now %q (%v)", ra.Input, ra.Err, rb.Input, rb.Err)
	}
	for _, name := range []string{"Received", "List-Id", "Precedence"} {
		if b.Get(name) != "" {
			t.Errorf("%s stands in the article: %s", name, b.Get(name))
		}
	}
}

// TestSignedMailOfOthers: a signing client's mail is taken as what it signed, or
// not at all; who is not known confirms like everybody.
func TestSignedMailOfOthers(t *testing.T) {
	kr := keyring(t)
	o := open(t, func(c *Config) { c.Trusted, c.Anonymous, c.Agent = nil, "confirm", &agent.Agent{Keys: kr} })
	client := keyring(t) // nobody vouches for it
	sign := func(groups, subject string) string {
		d := &article.Draft{Body: strings.NewReader("signed\r\n"), Header: [][2]string{{"From", "C <c@c.example>"}, {"Newsgroups", groups}, {"Subject", subject},
			{"Date", article.FormatDate(time.Now())}, {"Message-ID", "<" + strings.ReplaceAll(subject, " ", ".") + "@c.example>"}}}
		if err := client.SignDraft(context.Background(), d, "", pki.UseGate); err != nil {
			t.Fatal(err)
		}
		a, err := d.Build(article.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(string(a.Octets()), "\r\n", "\n")
	}
	to := []string{"mesh.talk@box.example"}
	for _, c := range []struct {
		name, text string
		code       int
		say        string
	}{
		{"another group", sign("mesh.radio", "for radio"), 550, "signed for mesh.radio"},
		{"a changed body", strings.Replace(sign("mesh.talk", "spoilt"), "\nsigned\n", "\nsigmed\n", 1), 550, "signature does not hold"},
		{"a changed subject", strings.Replace(sign("mesh.talk", "one"), "Subject: one", "Subject: two", 1), 550, "signature does not hold"},
		{"Reply-To added", "Reply-To: list@x.example\n" + sign("mesh.talk", "reply"), 550, "signature does not hold"},
		{"no signature at all", "Article-Signature: nonsense\n" + dated(plainMail), 550, "not for mesh.talk"},
	} {
		if err := o.send("c@c.example", to, c.text); codeOf(err) != c.code || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	text := sign("mesh.talk", "hello")
	if err := o.send("c@c.example", to, text); err != nil {
		t.Fatal(err)
	}
	if n := len(o.articles(t)); n != 0 {
		t.Fatal("posted without confirmation")
	}
	asked := <-o.sent.mails
	if err := o.send("c@c.example", []string{asked[1]}, "From: c@c.example\nSubject: Re\n\nyes\n"); err != nil {
		t.Fatal(err)
	}
	all := o.articles(t)
	if len(all) != 1 || pki.Examine(all[0]).Proof.State != article.ProofHolds {
		t.Fatalf("%d articles after confirming", len(all))
	}
	// Somebody passes it on as an attachment and says something about it: his own mail.
	fwd := "From: d@d.example\nSubject: look\nMessage-ID: <fwd@d.example>\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nlook at this\n--b\nContent-Type: message/rfc822\n\n" + sign("mesh.talk", "other") + "\n--b--\n"
	if err := o.send("d@d.example", to, fwd); err != nil {
		t.Fatal(err)
	}
	if asked := <-o.sent.mails; asked[0] != "d@d.example" {
		t.Error("asked", asked)
	}
}
