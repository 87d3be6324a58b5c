package smtpd

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/members"
	"github.com/litfass/litfass/smtpd/letters"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/spooltest"
)

// post office: a real agent over a spool in memory, and this door.
type office struct {
	*Server
	addr  string
	store *spooltest.Mem
	sent  *outbox
	book  *members.Book
}

// outbox holds to whom letters went, from which address of ours, and which.
type outbox struct{ mails chan [3]string }

func (o *outbox) Write(_ context.Context, to, _, letter string, _ letters.Facts, local string) error {
	o.mails <- [3]string{to, local + "@box.example", letter}
	return nil
}

func open(t *testing.T, change func(*Config)) *office {
	t.Helper()
	store := spooltest.NewMem()
	ctx := context.Background()
	if err := store.PutGroups(ctx, spool.GroupInfo{Name: "mesh.talk", Status: spool.PostOpen}, spool.GroupInfo{Name: "mesh.radio", Status: spool.PostOpen}); err != nil {
		t.Fatal(err)
	}
	db, err := state.Open(filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	book := &members.Book{DB: db}
	o := &office{store: store, sent: &outbox{make(chan [3]string, 10)}, book: book}
	cfg := Config{Domain: "box.example", Host: "box.example", Anonymous: "post", Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Accounts: book, Spool: store, State: db, Mailer: o.sent, HTMLText: content.TextOfHTML, Cutoff: 90 * 24 * time.Hour,
		PostmasterFile: filepath.Join(t.TempDir(), "postmaster.mbox"), MaxMessage: 1 << 20}
	if change != nil {
		change(&cfg)
	}
	var keys agent.Keys
	if a, ok := cfg.Agent.(*agent.Agent); ok {
		keys = a.Keys
	}
	cfg.Agent = &agent.Agent{Host: "box.example", Spool: store, State: db, Members: book, Keys: keys,
		Policy: agent.Policy{Anonymous: map[string]string{"smtp": cfg.Anonymous, "web": "read"}, Cutoff: 90 * 24 * time.Hour}}
	o.Server = New(cfg)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.addr = l.Addr().String()
	done := make(chan error, 1)
	go func() { done <- o.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := o.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return o
}

func (o *office) send(from string, to []string, text string) error {
	c, err := smtp.Dial(o.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.SendMail(from, to, strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n")))
}

func (o *office) articles(t *testing.T) (all []*article.Article) {
	t.Helper()
	for e, err := range o.store.Since(context.Background(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		a, err := o.store.Open(context.Background(), e.Seq)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	return all
}

const plainMail = "From: Alice <alice@a.example>\nTo: mesh.talk@box.example\nSubject: Hallo\nMessage-ID: <1@a.example>\nIn-Reply-To: <0@a.example>\nControl: newgroup x\nApproved: me\nPath: evil\nDate: %s\n\nText\n.dot\n"

func dated(s string) string { return fmt.Sprintf(s, article.FormatDate(time.Now())) }

func TestMailBecomesArticle(t *testing.T) {
	o := open(t, nil)
	if err := o.send("alice@a.example", []string{"mesh.talk@box.example", "Mesh.Radio@BOX.example"}, dated(plainMail)); err != nil {
		t.Fatal(err)
	}
	all := o.articles(t)
	if len(all) != 1 {
		t.Fatalf("%d articles", len(all))
	}
	a := all[0]
	if a.Overview().Newsgroups != "mesh.talk,mesh.radio" || a.ID() != "<1@a.example>" || a.Overview().References != "<0@a.example>" {
		t.Errorf("header:\n%s", a.Head())
	}
	if a.Has(article.HasControl) || a.Has(article.HasApproved) || bytes.Contains(a.Head(), []byte("evil")) {
		t.Errorf("a mail gave orders:\n%s", a.Head())
	}
	if string(a.Body()) != "Text\r\n.dot\r\n" || !strings.Contains(a.Get("Received"), "by box.example") {
		t.Errorf("%s", a.Octets())
	}
	if err := o.send("alice@a.example", []string{"mesh.talk@box.example"}, dated(plainMail)); err != nil {
		t.Errorf("the same again: %v", err)
	}
	if n := len(o.articles(t)); n != 1 {
		t.Errorf("%d articles after the same mail came again", n)
	}
}

// TestOddMail: an id that mail knows stays, so that answers find it; a date that news
// does not know is written anew.
func TestOddMail(t *testing.T) {
	o := open(t, nil)
	when := time.Now().UTC().Truncate(time.Second)
	mail := strings.Replace(plainMail, "<1@a.example>", "<1@list@a.example>", 1)
	if err := o.send("alice@a.example", []string{"mesh.talk@box.example"}, fmt.Sprintf(mail, when.Format(time.RFC3339))); err != nil {
		t.Fatal(err)
	}
	a := o.articles(t)[0]
	if a.ID() != "<1@list@a.example>" || a.Get("Date") != article.FormatDate(when) || a.Get("Original-Date") != when.Format(time.RFC3339) {
		t.Errorf("%s", a.Head())
	}
}

func TestRefusedAtRcpt(t *testing.T) {
	o := open(t, nil)
	for to, code := range map[string]int{"mesh.none@box.example": 550, "somebody@elsewhere.example": 550, "mesh.talk@elsewhere.example": 550,
		"mesh.talk%elsewhere.example@box.example": 550, "postmaster@box.example": 0, "mesh.talk-subscribe@box.example": 550, "../x@box.example": 550} {
		err := o.send("a@a.example", []string{to}, dated(plainMail))
		if got := codeOf(err); got != code {
			t.Errorf("%s: %v", to, err)
		}
	}
	if n := len(o.articles(t)); n != 0 {
		t.Errorf("%d articles", n)
	}
}

func codeOf(err error) int {
	if e, ok := err.(*smtp.SMTPError); ok {
		return e.Code
	}
	if err != nil {
		return -1
	}
	return 0
}

func TestAutomaticMailIsNoArticle(t *testing.T) {
	o := open(t, nil)
	cases := map[string]string{
		"Auto-Submitted: auto-replied\n": "a@a.example", "": "", "Content-Type: multipart/report; boundary=x\n": "a@a.example",
		strings.Repeat("Received: x\n", 101): "a@a.example", "Precedence: junk\n": "a@a.example",
	}
	for field, from := range cases {
		if err := o.send(from, []string{"mesh.talk@box.example"}, field+dated(plainMail)); codeOf(err) != 550 {
			t.Errorf("%.40q from %q: %v", field, from, err)
		}
	}
	if n := len(o.articles(t)); n != 0 {
		t.Errorf("%d articles", n)
	}
}

func TestConfirmOnce(t *testing.T) {
	o := open(t, func(c *Config) { c.Trusted = nil })
	if err := o.send("alice@a.example", []string{"mesh.talk@box.example"}, dated(plainMail)); err != nil {
		t.Fatal(err)
	}
	if n := len(o.articles(t)); n != 0 {
		t.Fatalf("%d articles before confirming", n)
	}
	asked := <-o.sent.mails
	if asked[0] != "alice@a.example" || !strings.HasPrefix(asked[1], "confirm+") {
		t.Fatalf("asked %v", asked)
	}
	if err := o.send("alice@a.example", []string{asked[1]}, "From: alice@a.example\nAuto-Submitted: no\nSubject: Re\n\nyes\n"); err != nil {
		t.Fatal(err)
	}
	if n := len(o.articles(t)); n != 1 {
		t.Fatalf("%d articles after confirming", n)
	}
	if err := o.send("alice@a.example", []string{asked[1]}, "From: alice@a.example\nSubject: Re\n\nyes\n"); codeOf(err) != 550 {
		t.Errorf("a token is good once: %v", err)
	}
}

func TestLogin(t *testing.T) {
	o := open(t, func(c *Config) { c.Anonymous = "none" })
	if err := o.book.Add(context.Background(), members.Account{Name: "alice"}, "correct horse"); err != nil {
		t.Fatal(err)
	}
	if err := o.send("a@a.example", []string{"mesh.talk@box.example"}, dated(plainMail)); codeOf(err) != 550 {
		t.Errorf("without login: %v", err)
	}
	c, err := smtp.Dial(o.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Auth(sasl.NewPlainClient("", "alice", "wrong")); err == nil {
		t.Error("a wrong password is taken")
	}
	if err := c.Auth(sasl.NewLoginClient("alice", "correct horse")); err != nil {
		t.Fatal(err)
	}
	if err := c.SendMail("a@a.example", []string{"mesh.talk@box.example"}, strings.NewReader(strings.ReplaceAll(dated(plainMail), "\n", "\r\n"))); err != nil {
		t.Error(err)
	}
	if n := len(o.articles(t)); n != 1 {
		t.Errorf("%d articles", n)
	}
}

func TestHTMLOnlyAndLongLines(t *testing.T) {
	o := open(t, nil)
	long := strings.Repeat("ü", 2000)
	mails := []string{
		"Content-Type: text/html; charset=utf-8\n" + dated(plainMail),
		"Content-Type: multipart/mixed; boundary=b\n" + strings.Replace(strings.Replace(dated(plainMail), "<1@", "<2@", 1), "Text", "--b\nContent-Type: text/plain; charset=utf-8\n\n"+long+"\n--b\nContent-Type: application/x; name=f\n\n"+long+"\n--b--", 1),
	}
	for _, m := range mails {
		if err := o.send("a@a.example", []string{"mesh.talk@box.example"}, m); err != nil {
			t.Fatal(err)
		}
	}
	all := o.articles(t)
	if c := content.Of(all[0]); len(c.Parts) != 2 || c.Parts[0].Type != "text/plain" || c.Parts[1].Type != "text/html" {
		t.Errorf("HTML only:\n%s", all[0].Octets())
	}
	c := content.Of(all[1])
	if len(c.Parts) != 2 || strings.TrimSpace(string(c.Parts[0].Bytes())) != long || strings.TrimSpace(string(c.Parts[1].Bytes())) != long {
		t.Errorf("long lines:\n%.3000s", all[1].Octets())
	}
	for line := range bytes.Lines(all[1].Octets()) {
		if len(line) > 1000 {
			t.Errorf("a line of %d octets", len(line))
		}
	}
}

func TestDeepNestingIsRefusedSoon(t *testing.T) {
	o := open(t, nil)
	var b strings.Builder
	b.WriteString("From: a@a.example\nSubject: deep\nContent-Type: multipart/mixed; boundary=b0\n\n")
	for i := range 5000 {
		fmt.Fprintf(&b, "--b%d\nContent-Type: multipart/mixed; boundary=b%d\n\n", i, i+1)
	}
	if err := o.send("a@a.example", []string{"mesh.talk@box.example"}, b.String()); codeOf(err) != 550 {
		t.Error(err)
	}
}

// TestOwnListMailIsNoArticle: what our lists send out does not come in again, so that
// two groups that are subscribed to each other do not mail for ever.
func TestOwnListMailIsNoArticle(t *testing.T) {
	o := open(t, nil)
	if err := o.send("a@a.example", []string{"mesh.talk@box.example"}, dated(plainMail)); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]int{"Größe <mesh.talk.box.example>": 0, "<mesh.talk.BOX.example>": 0, "mesh.talk.box.example": 0, "<talk.other.example>": 0} {
		if err := o.send("a@a.example", []string{"mesh.radio@box.example"}, "List-Id: "+id+"\n"+dated(plainMail)); codeOf(err) != want {
			t.Errorf("%s, the id is here: %v", id, err)
		}
	}
	if n := len(o.articles(t)); n != 2 {
		t.Errorf("%d articles, want the first and that of another list", n)
	}
	changed := strings.Replace(dated(plainMail), "<1@a.example>", "<2@a.example>", 1)
	if err := o.send("a@a.example", []string{"mesh.radio@box.example"}, "List-Id: <mesh.talk.box.example>\n"+changed); codeOf(err) != 550 {
		t.Errorf("under another id: %v", err)
	}
	if n := len(o.articles(t)); n != 2 {
		t.Errorf("%d articles after a mail that came back under another id", n)
	}
}
