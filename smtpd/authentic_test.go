package smtpd

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"github.com/litfass/litfass/members"
	"github.com/litfass/litfass/test/dnsbox"
)

// TestWhoVouches: an address that has confirmed once is believed where DKIM or SPF
// speaks for its domain, is asked again where not, and waits where DNS fails.
func TestWhoVouches(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key := "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public)
	resolver := dnsbox.Serve(t, dnsbox.Zone{
		TXT: map[string][]string{
			"s._domainkey.signed.example": {key}, "s._domainkey.sub.strict.example": {key}, "s._domainkey.other.example": {key},
			"_dmarc.strict.example": {"v=DMARC1; p=reject; adkim=s; aspf=s"}, "_dmarc.signed.example": {"v=DMARC1; p=none"},
			"spf.example": {"v=spf1 ip4:127.0.0.1 -all"}, "nospf.example": {"v=spf1 ip4:192.0.2.1 -all"},
			"sub.spf.example": {"v=spf1 ip4:127.0.0.1 -all"}, "strict.example": {"v=spf1 -all"},
		},
		Fail: map[string]bool{"_dmarc.broken.example": true, "broken.example": true, "slow.example": true},
	})
	sign := func(mail, domain string) string {
		var out bytes.Buffer
		err := dkim.Sign(&out, strings.NewReader(strings.ReplaceAll(mail, "\n", "\r\n")), &dkim.SignOptions{Domain: domain, Selector: "s", Signer: private, HeaderKeys: []string{"From", "Subject"}})
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(out.String(), "\r\n", "\n")
	}
	for _, c := range []struct {
		name, from, envelope, signer string
		front                        bool
		spoil, unknown               bool
		want                         string // posted, asked, later
	}{
		{name: "DKIM of the domain", from: "a@signed.example", envelope: "x@bulk.example", signer: "signed.example", want: "posted"},
		{name: "DKIM, in front", from: "a@signed.example", envelope: "x@bulk.example", signer: "signed.example", front: true, want: "posted"},
		{name: "DKIM spoilt", from: "a@signed.example", envelope: "x@bulk.example", signer: "signed.example", spoil: true, want: "asked"},
		{name: "DKIM of another", from: "a@signed.example", envelope: "x@bulk.example", signer: "other.example", want: "asked"},
		{name: "DKIM of a subdomain, strict", from: "a@strict.example", envelope: "a@strict.example", signer: "sub.strict.example", want: "refused"},
		{name: "the same through the host in front", from: "a@strict.example", envelope: "a@strict.example", signer: "sub.strict.example", front: true, want: "asked"},
		{name: "a subdomain of a strict domain", from: "a@deep.strict.example", envelope: "a@strict.example", signer: "sub.strict.example", want: "refused"},
		{name: "unknown, its domain wants forgeries refused", from: "a@strict.example", envelope: "a@strict.example", unknown: true, want: "refused"},
		{name: "unknown, vouched for", from: "a@spf.example", envelope: "a@spf.example", unknown: true, want: "asked"},
		{name: "unknown, DNS fails", from: "a@broken.example", envelope: "a@broken.example", unknown: true, want: "asked"},
		{name: "SPF", from: "a@spf.example", envelope: "a@spf.example", want: "posted"},
		{name: "SPF, relaxed", from: "a@spf.example", envelope: "a@sub.spf.example", want: "posted"},
		{name: "SPF, of the host in front", from: "a@spf.example", envelope: "a@spf.example", front: true, want: "asked"},
		{name: "SPF fails", from: "a@nospf.example", envelope: "a@nospf.example", want: "asked"},
		{name: "SPF of another", from: "a@nospf.example", envelope: "a@spf.example", want: "asked"},
		{name: "nothing", from: "a@plain.example", envelope: "a@plain.example", want: "asked"},
		{name: "DNS fails", from: "a@broken.example", envelope: "a@broken.example", want: "later"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := open(t, func(cfg *Config) {
				cfg.Trusted, cfg.Resolver = nil, resolver
				if c.front {
					cfg.Front = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
				}
			})
			if !c.unknown {
				if err := o.held.done(heldMail{From: c.from, Token: "x"}); err != nil { // has confirmed before
					t.Fatal(err)
				}
			}
			mail := strings.Replace(dated(plainMail), "Alice <alice@a.example>", c.from, 1)
			if c.signer != "" {
				mail = sign(mail, c.signer)
			}
			if c.spoil {
				mail = strings.Replace(mail, "\nText\n", "\nOther text\n", 1)
			}
			err := o.send(c.envelope, []string{"mesh.talk@box.example"}, mail)
			got := "?"
			switch posted, asked := len(o.articles(t)), len(o.sent.mails); {
			case err == nil && posted == 1:
				got = "posted"
			case err == nil && asked == 1:
				got = "asked"
			case codeOf(err) == 451:
				got = "later"
			case codeOf(err) == 550 && posted+asked == 0:
				got = "refused"
			}
			if got != c.want {
				t.Errorf("%s (%v), want %s", got, err, c.want)
			}
		})
	}
}

// TestWhoMayLeave: a mail that nobody vouches for ends no subscription without asking,
// and one that its domain calls forged does nothing.
func TestWhoMayLeave(t *testing.T) {
	resolver := dnsbox.Serve(t, dnsbox.Zone{TXT: map[string][]string{
		"spf.example": {"v=spf1 ip4:127.0.0.1 -all"}, "strict.example": {"v=spf1 -all"}, "_dmarc.strict.example": {"v=DMARC1; p=reject"},
	}})
	asked := &orders{}
	o := open(t, func(cfg *Config) { cfg.Trusted, cfg.Resolver, cfg.Orders = nil, resolver, asked })
	if err := o.book.Add(context.Background(), members.Account{Name: "alice", Email: "alice@plain.example"}, "correct horse"); err != nil {
		t.Fatal(err)
	}
	for who, want := range map[string]bool{"alice@plain.example": true, "bob@plain.example": false} {
		if s := (&session{srv: o.Server, account: "alice"}); s.proven(context.Background(), nil, who).aligned != want {
			t.Errorf("alice, logged in, as %s: want %v", who, want)
		}
	}
	for from, want := range map[string]string{"a@spf.example": "true", "alice@plain.example": "false", "a@strict.example": ""} {
		asked.said = nil
		err := o.send(from, []string{"mesh.talk-unsubscribe@box.example"}, "From: "+from+"\nSubject: x\n\n\n")
		switch {
		case want == "" && codeOf(err) == 550 && len(asked.said) == 0:
		case want != "" && err == nil && len(asked.said) == 1 && strings.HasSuffix(asked.said[0], want):
		default:
			t.Errorf("%s: %v, %v, want %q", from, err, asked.said, want)
		}
	}
}

// TestSilentDNSIsAskedOnce: who is not known is asked in any case, so the second of a
// domain whose DNS does not answer does not wait for it.
func TestSilentDNSIsAskedOnce(t *testing.T) {
	resolver := dnsbox.Serve(t, dnsbox.Zone{Fail: map[string]bool{"_dmarc.broken.example": true}})
	asked := dnsbox.Count(resolver)
	o := open(t, func(cfg *Config) { cfg.Trusted, cfg.Resolver = nil, resolver })
	var first int64
	for i, from := range []string{"a@broken.example", "b@Broken.example"} {
		mail := strings.Replace(dated(plainMail), "Alice <alice@a.example>", from, 1)
		mail = strings.Replace(mail, "Message-ID: <", fmt.Sprintf("Message-ID: <%d.", i), 1)
		if err := o.send(from, []string{"mesh.talk@box.example"}, mail); err != nil || len(o.sent.mails) != i+1 {
			t.Fatalf("%s: %v, %d were asked", from, err, len(o.sent.mails))
		}
		if i == 0 {
			first = asked.Load()
		}
	}
	if first == 0 || asked.Load() != first {
		t.Errorf("the DNS was asked %d times for the first mail, %d for both", first, asked.Load())
	}
}
