package smtpd

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"blitiri.com.ar/go/spf"
	"github.com/emersion/go-msgauth/dkim"

	"github.com/litfass/litfass/smtpd/alignment"
)

// proof says whether a mail's From is what its domain vouches for.
type proof struct {
	aligned   bool // DKIM or SPF passes for the domain of From: RFC 7489 §3.1
	temporary bool // DNS did not answer
	forged    bool // its domain wants such mail refused: RFC 7489 §6.3, p=reject
}

// authenticate asks DKIM (RFC 6376), SPF (RFC 7208) and DMARC's alignment
// (RFC 7489) about the domain of from. helo and envelope are SMTP's.
func (s *Server) authenticate(ctx context.Context, m *message, addr netip.Addr, helo, envelope, from string) proof {
	resolver := s.cfg.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	txt := func(name string) ([]string, error) { return resolver.LookupTXT(ctx, name) }
	_, domain, _ := splitAddress(from)
	policy, temporary := alignment.Lookup(domain, txt)
	if temporary {
		return proof{temporary: true}
	}
	var p proof
	sigs, err := dkim.VerifyWithOptions(m.octets(), &dkim.VerifyOptions{LookupTXT: txt, MaxVerifications: 5})
	if err != nil && !errors.Is(err, dkim.ErrTooManySignatures) {
		sigs = nil
	}
	for _, v := range sigs {
		if v.Err == nil && alignment.Same(v.Domain, domain, policy.StrictDKIM) {
			return proof{aligned: true}
		}
		p.temporary = p.temporary || dkim.IsTempFail(v.Err)
	}
	if contains(s.live.Load().front, addr) || !addr.IsValid() {
		return p // the host is a mail server of ours: SPF says nothing about it
	}
	result, _ := spf.CheckHostWithSender(addr.AsSlice(), helo, envelope, spf.WithContext(ctx), spf.WithResolver(resolver))
	_, envDomain, ok := splitAddress(envelope)
	switch {
	case result == spf.Pass && ok && alignment.Same(envDomain, domain, policy.StrictSPF):
		return proof{aligned: true}
	case result == spf.TempError:
		p.temporary = true
	}
	p.forged = policy.Reject && !p.temporary
	return p
}

// silences remembers for a minute which domains' DNS did not answer.
type silences struct {
	mu    sync.Mutex
	until map[string]time.Time
}

func (s *silences) is(domain string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Before(s.until[strings.ToLower(domain)])
}

func (s *silences) note(domain string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until == nil || len(s.until) > 1000 {
		s.until = map[string]time.Time{}
	}
	s.until[strings.ToLower(domain)] = now.Add(time.Minute)
}
