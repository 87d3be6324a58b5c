package smtpd

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/spool"
)

// TestLMTPAnswersEach: each recipient of one mail has its own answer, RFC 2033 §4.2,
// and what can be done is done.
func TestLMTPAnswersEach(t *testing.T) {
	var box string
	o := open(t, func(c *Config) {
		c.LMTP, c.Front, box = true, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, c.PostmasterFile
		c.Orders = &orders{err: &agent.Refusal{Reason: agent.Absent, Text: "used meanwhile"}}
	})
	if err := o.store.PutGroups(context.Background(), spool.GroupInfo{Name: "mesh.shut", Status: spool.PostNone}); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", o.addr)
	if err != nil {
		t.Fatal(err)
	}
	c := smtp.NewClientLMTP(conn)
	defer c.Close()
	if err := c.Mail("alice@a.example", nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Rcpt("mesh.shut@box.example", nil); err == nil {
		t.Error("a group without posts takes mail")
	}
	if err := c.Rcpt("leave+nosuch@box.example", nil); err == nil {
		t.Error("a one-time address that is none takes mail")
	}
	to := []string{"mesh.talk@box.example", "leave+x@box.example", "postmaster@box.example", "mesh.talk-help@box.example"}
	for _, a := range to {
		if err := c.Rcpt(a, nil); err != nil {
			t.Fatalf("%s: %v", a, err)
		}
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(strings.ReplaceAll(dated(plainMail), "\n", "\r\n"))); err != nil {
		t.Fatal(err)
	}
	_, err = w.CloseWithLMTPResponse()
	var each smtp.LMTPDataError
	if !errors.As(err, &each) {
		t.Fatalf("%T %v", err, err)
	}
	var refused []string
	for a, e := range each {
		refused = append(refused, a)
		if e.Code != 550 {
			t.Errorf("%s: %v", a, e)
		}
	}
	slices.Sort(refused)
	if want := []string{to[1]}; !slices.Equal(refused, want) {
		t.Errorf("refused %q, want %q", refused, want)
	}
	asked := map[string]bool{}
	for range 2 { // the sender is asked to confirm, and gets the help
		m := <-o.sent.mails
		asked[m[1]] = true
	}
	if text, err := os.ReadFile(box); err != nil || !strings.Contains(string(text), "Subject: Hallo") || len(asked) != 2 {
		t.Errorf("postmaster has %q (%v), mails %v", text, err, asked)
	}
	if n := o.heldCount.Load(); n != 1 {
		t.Errorf("%d mails wait to be confirmed", n)
	}
}
