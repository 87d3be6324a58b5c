package smtpd

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
)

const report = "From: Mail <mailer-daemon@m.example>\nSubject: Undelivered Mail\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n" +
	"--b\n\nwhat a person reads\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; m.example\n\nFinal-Recipient: rfc822; a@m.example\n"

// TestUndelivered: only what says that a mail is lost counts against a subscription.
func TestUndelivered(t *testing.T) {
	cases := []struct {
		name, mail string
		want       bool
	}{
		{"failed", report + "Action: failed\nStatus: 5.1.1\n--b--\n", true},
		{"one of two failed", report + "Action: delivered\n\nFinal-Recipient: rfc822; c@m.example\nAction: FAILED (no such user)\n--b--\n", true},
		{"delayed", report + "Action: delayed\nStatus: 4.4.1\n--b--\n", false},
		{"passed on", report + "Action: relayed\nStatus: 2.1.9\n--b--\n", false},
		{"no action, 5.x", report + "Status: 5.7.1\n--b--\n", true},
		{"no action, 4.x", report + "Status: 4.7.1\n--b--\n", false},
		{"qmail", "From: MAILER-DAEMON@m.example\nSubject: failure notice\n\nHi. This is the qmail-send program\n", true},
		{"exim", "From: Mail Delivery System <Mailer-Daemon@m.example>\nX-Failed-Recipients: a@m.example\nAuto-Submitted: auto-replied\nSubject: Mail delivery failed: returning message to sender\n\nx\n", true},
		{"exim waits", "From: Mail Delivery System <Mailer-Daemon@m.example>\nAuto-Submitted: auto-replied\nSubject: Warning: message 1a delayed 24 hours\n\nx\n", false},
		{"sendmail waits", "From: Mail Delivery Subsystem <MAILER-DAEMON@m.example>\nSubject: Warning: could not send message for past 4 hours\n\nx\n", false},
		{"away", "From: a@m.example\nAuto-Submitted: auto-replied (vacation)\nSubject: Away: [talk]\n\nx\n", false},
		{"away, German", "From: a@m.example\nSubject: Automatische Antwort: Hallo\n\nx\n", false},
		{"receipt", "From: a@m.example\nSubject: Read: Hallo\nContent-Type: multipart/report; report-type=disposition-notification; boundary=b\n\n--b\nContent-Type: message/disposition-notification\n\nDisposition: manual-action/MDN-sent-manually; displayed\n--b--\n", false},
		{"a person", "From: a@m.example\nSubject: Re: Hallo\n\nwhy do I get this?\n", false},
	}
	c := converter{dir: t.TempDir()}
	for _, tc := range cases {
		m, err := readMessage(strings.NewReader(strings.ReplaceAll(tc.mail, "\n", "\r\n")), c.dir, 1<<20)
		if err != nil {
			t.Fatal(tc.name, err)
		}
		if got := m.undelivered(); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
		m.body.Close()
	}
}

// orders notes what one-time addresses were asked.
type orders struct {
	said []string
	err  error // of Token
}

func (o *orders) Subscribe(_ context.Context, g article.Group, address, mode, lang string) error {
	o.said = append(o.said, fmt.Sprintf("%s for %s, %q, %q", g, address, mode, lang))
	return nil
}
func (o *orders) Unsubscribe(_ context.Context, g article.Group, address, lang string, proven bool) error {
	o.said = append(o.said, fmt.Sprintf("%s not for %s, %q, %v", g, address, lang, proven))
	return nil
}
func (*orders) Known(_ context.Context, _, token string) (bool, error) { return token == "x", nil }
func (o *orders) Token(_ context.Context, verb, token string) error {
	o.said = append(o.said, verb+"+"+token)
	return o.err
}

// TestProgramsConfirmNothing: an absent person's program answers a question, but nobody
// has read it; what says a mail is lost counts, an automatic answer does not.
func TestProgramsConfirmNothing(t *testing.T) {
	asked := &orders{}
	o := open(t, func(c *Config) { c.Orders = asked })
	away := "From: a@a.example\nAuto-Submitted: auto-replied\nSubject: away\n\nx\n"
	for _, verb := range []string{"confirm", "approve", "reject"} {
		for from, text := range map[string]string{"a@a.example": away, "": "From: a@a.example\nSubject: x\n\nx\n"} {
			if err := o.send(from, []string{verb + "+x@box.example"}, text); codeOf(err) != 550 {
				t.Errorf("%s from %q: %v", verb, from, err)
			}
		}
	}
	for _, text := range []string{away, report + "Action: failed\n--b--\n"} {
		if err := o.send("", []string{"bounce+x@box.example"}, text); err != nil {
			t.Error(err)
		}
	}
	if len(asked.said) != 1 || asked.said[0] != "bounce+x" {
		t.Errorf("carried out: %v", asked.said)
	}
}

// TestOrdersByMail: what the addresses of a group do, for who stands in From, and in his
// language.
func TestOrdersByMail(t *testing.T) {
	asked := &orders{}
	o := open(t, func(c *Config) { c.Orders = asked })
	for _, c := range []struct{ to, field, want string }{
		{"mesh.talk-subscribe", "", `mesh.talk for bob@b.example, "", ""`},
		{"mesh.talk-JOIN", "Content-Language: en-US\n", `mesh.talk for bob@b.example, "", "en"`},
		{"mesh.talk-subscribe-digest", "Accept-Language: de-DE, en\nContent-Language: en\n", `mesh.talk for bob@b.example, "digest", "de"`},
		{"mesh.talk-unsubscribe", "", `mesh.talk not for bob@b.example, "", true`},
		{"mesh.talk-leave", "", `mesh.talk not for bob@b.example, "", true`},
	} {
		asked.said = nil
		if err := o.send("prvs=1234abcd=bob@b.example", []string{c.to + "@box.example"}, "From: Bob <Bob@b.example>\n"+c.field+"Subject: x\n\n\n"); err != nil {
			t.Error(c.to, err)
		}
		if len(asked.said) != 1 || asked.said[0] != c.want {
			t.Errorf("%s: %v, want %s", c.to, asked.said, c.want)
		}
	}
	for _, to := range []string{"mesh.talk-help", "mesh.talk-request"} {
		if err := o.send("bob@b.example", []string{to + "@box.example"}, "From: bob@b.example\nSubject: x\n\n\n"); err != nil {
			t.Error(err)
		} else if got := <-o.sent.mails; got[0] != "bob@b.example" || got[2] != "help" {
			t.Errorf("%s: %v", to, got)
		}
	}
	// Who may not read the group does not get it by mail, and may leave all the same.
	asked.said = nil
	o.cfg.Agent.(*agent.Agent).SetPolicy(agent.Policy{Anonymous: map[string]string{"smtp": "post", "web": "read"}, GuestRead: "*,!mesh.talk"})
	err := o.send("bob@b.example", []string{"mesh.talk-subscribe@box.example"}, "From: bob@b.example\nSubject: x\n\n\n")
	if err == nil || !strings.Contains(err.Error(), "550") || len(asked.said) != 0 {
		t.Errorf("subscribed to what guests may not read: %v, %v", err, asked.said)
	}
	if err := o.send("bob@b.example", []string{"mesh.talk-unsubscribe@box.example"}, "From: bob@b.example\nSubject: x\n\n\n"); err != nil || len(asked.said) != 1 {
		t.Errorf("cannot leave: %v, %v", err, asked.said)
	}
}
