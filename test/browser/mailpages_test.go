//go:build interop

package browser

import (
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// letterbox is a mail server that takes everything.
type letterbox struct {
	addr  string
	mails chan string
}

func newLetterbox(t *testing.T) *letterbox {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &letterbox{l.Addr().String(), make(chan string, 16)}
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return letters{b.mails}, nil }))
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return b
}

// letters is one connection to it.
type letters struct{ to chan<- string }

func (letters) Reset()                               {}
func (letters) Logout() error                        { return nil }
func (letters) Mail(string, *smtp.MailOptions) error { return nil }
func (letters) Rcpt(string, *smtp.RcptOptions) error { return nil }

func (s letters) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err == nil {
		s.to <- string(text)
	}
	return err
}

// wait takes mails until one has what re finds.
func (b *letterbox) wait(t *testing.T, re *regexp.Regexp) string {
	t.Helper()
	for end := time.After(30 * time.Second); ; {
		select {
		case text := <-b.mails:
			text = strings.NewReplacer("=\r\n", "", "=3D", "=").Replace(text)
			if found := re.FindString(text); found != "" {
				return found
			}
		case <-end:
			t.Fatalf("no mail with %s came within 30 s", re)
		}
	}
}

// mailPages is a node that has sent an article to a subscriber and a submission to a
// moderator: the pages that these two mails lead to.
func mailPages(t *testing.T, bin string) (leave, decide string) {
	t.Helper()
	box, b := newLetterbox(t), newBox(t, bin)
	conf, err := os.ReadFile(b.conf)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(conf), "[smtp]\n", "[smtp]\nsmarthost = \""+box.addr+"\"\n", 1)
	text = strings.Replace(text, "[http]\n", "[http]\nurl = \"http://"+b.web+"\"\n", 1)
	if err := os.WriteFile(b.conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b.run("", "group", "add", "test.open")
	b.run("", "group", "add", "test.judged", "--moderated", "judge@people.example")
	b.run("", "mail", "add", "test.open", "ann@people.example")
	b.serve("")
	post := func(group, subject string) {
		b.run("From: "+payloads[0]+" <eve@evil.example>\nNewsgroups: "+group+"\nSubject: "+subject+"\n\n> "+payloads[1]+"\n\n"+payloads[6]+"\n"+strings.Repeat("long", 200)+"\n", "post")
	}
	post("test.open", "an article")
	leave = box.wait(t, regexp.MustCompile(`http://[^ >\r\n]+/mail/leave\?t=[\w-]+`))
	post("test.judged", payloads[4])
	decide = box.wait(t, regexp.MustCompile(`http://[^ >\r\n]+/mail/decide\?t=[\w-]+`))
	return leave, decide
}
