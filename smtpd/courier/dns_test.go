package courier

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/test/dnsbox"
)

// TestDirectDelivery: without a smarthost mail goes to the domain's own servers, the
// next one where the first is dead; a null MX and an unknown domain are final.
func TestDirectDelivery(t *testing.T) {
	h := newSmarthost(t)
	_, port, _ := net.SplitHostPort(h.addr)
	d := newDesk(t, "mx", func(c *Config) {
		c.Port = port
		c.Resolver = dnsbox.Serve(t, dnsbox.Zone{
			MX: map[string][]string{"two.example": {"dead.example", "mx.example"}, "null.example": {"."}},
			A:  map[string]string{"mx.example": "127.0.0.1", "plain.example": "127.0.0.1"},
		})
	})
	ctx := context.Background()
	for _, a := range []string{"a@two.example", "b@plain.example", "c@null.example", "d@absent.example"} {
		if err := d.Add(ctx, "mesh.talk", a, All); err != nil {
			t.Fatal(err)
		}
	}
	d.run(t)
	d.follow(t, d.post(t, "mesh.talk", "direct"))
	got := map[string]bool{h.next(t).to: true, h.next(t).to: true}
	if !got["a@two.example"] || !got["b@plain.example"] {
		t.Errorf("delivered to %v", got)
	}
	for end := time.Now().Add(20 * time.Second); d.Counts().Bounced < 2 || d.Counts().Queued > 0; <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%+v", d.Counts())
		}
	}
	d.stop()
	all, err := d.List("mesh.talk")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if final := strings.HasPrefix(s.Address, "c@") || strings.HasPrefix(s.Address, "d@"); final != (s.Bounces == 1) {
			t.Errorf("%s has %d bounces", s.Address, s.Bounces)
		}
	}
}

// TestFromIsRewrittenWhereDMARCForcesIt: p=reject and p=quarantine, and nowhere else.
func TestFromIsRewrittenWhereDMARCForcesIt(t *testing.T) {
	d := newDesk(t, "127.0.0.1:1", func(c *Config) {
		c.Resolver = dnsbox.Serve(t, dnsbox.Zone{TXT: map[string][]string{
			"_dmarc.reject.example": {"v=DMARC1; p=reject"}, "_dmarc.quarantine.example": {"v=DMARC1; p=quarantine"}, "_dmarc.none.example": {"v=DMARC1; p=none"},
		}})
	})
	for domain, want := range map[string]bool{"reject.example": true, "quarantine.example": true, "sub.reject.example": true, "none.example": false, "absent.example": false, "x.invalid": false, "box.example": false} {
		a, err := article.Parse([]byte("From: =?utf-8?q?J=C3=B6rg?= <j@"+domain+">\r\nSubject: x\r\nMessage-ID: <1@a.example>\r\nNewsgroups: mesh.talk\r\n\r\nx\r\n.\r\n"), article.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		head := string(d.compose(context.Background(), a, spool.GroupInfo{Name: "mesh.talk"}).head)
		rewritten := strings.Contains(head, "<mesh.talk@box.example>\r\n") && strings.Contains(head, "Reply-To: =?utf-8?q?J=C3=B6rg?= <j@"+domain+">\r\n") && !strings.Contains(head, "From: =?utf-8?q?J=C3=B6rg?= <j@")
		if rewritten != want {
			t.Errorf("%s: rewritten %v:\n%s", domain, rewritten, head)
		}
	}
}

// TestSilentDNSIsAskedOnce: From is rewritten where the DNS does not say whether it must
// be, and the next article does not wait for it again.
func TestSilentDNSIsAskedOnce(t *testing.T) {
	resolver := dnsbox.Serve(t, dnsbox.Zone{Fail: map[string]bool{"_dmarc.broken.example": true}})
	asked := dnsbox.Count(resolver)
	d := newDesk(t, "127.0.0.1:1", func(c *Config) { c.Resolver = resolver })
	ctx := context.Background()
	first := d.mustRewrite(ctx, "a@broken.example")
	once := asked.Load()
	if second := d.mustRewrite(ctx, "b@broken.example"); !first || !second || once == 0 || asked.Load() != once {
		t.Errorf("rewritten %v and %v, asked %d and %d times", first, second, once, asked.Load())
	}
	d.clock.Add(61)
	if !d.mustRewrite(ctx, "a@broken.example") || asked.Load() == once {
		t.Error("a minute later it is not asked again")
	}
}
