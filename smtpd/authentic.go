package smtpd

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"

	"blitiri.com.ar/go/spf"
	"github.com/emersion/go-msgauth/dkim"
	"github.com/emersion/go-msgauth/dmarc"
	"golang.org/x/net/publicsuffix"
)

// proof says whether a mail's From is what its domain vouches for.
type proof struct {
	aligned   bool // DKIM or SPF passes for the domain of From: RFC 7489 §3.1
	temporary bool // DNS did not answer
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
	strictDKIM, strictSPF := false, false
	rec, err := dmarc.LookupWithOptions(domain, &dmarc.LookupOptions{LookupTXT: txt})
	if dmarc.IsTempFail(err) {
		return proof{temporary: true}
	}
	if err == nil {
		strictDKIM, strictSPF = rec.DKIMAlignment == dmarc.AlignmentStrict, rec.SPFAlignment == dmarc.AlignmentStrict
	}
	var p proof
	sigs, err := dkim.VerifyWithOptions(m.octets(), &dkim.VerifyOptions{LookupTXT: txt, MaxVerifications: 5})
	if err != nil && !errors.Is(err, dkim.ErrTooManySignatures) {
		sigs = nil
	}
	for _, v := range sigs {
		if v.Err == nil && sameDomain(v.Domain, domain, strictDKIM) {
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
	case result == spf.Pass && ok && sameDomain(envDomain, domain, strictSPF):
		return proof{aligned: true}
	case result == spf.TempError:
		p.temporary = true
	}
	return p
}

// sameDomain is alignment: equal, or, relaxed, of one organisational domain.
func sameDomain(a, b string, strict bool) bool {
	if strings.EqualFold(a, b) {
		return true
	}
	if strict {
		return false
	}
	oa, err := publicsuffix.EffectiveTLDPlusOne(strings.ToLower(a))
	if err != nil {
		return false
	}
	ob, err := publicsuffix.EffectiveTLDPlusOne(strings.ToLower(b))
	return err == nil && oa == ob
}
