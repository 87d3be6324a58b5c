// Package alignment is what DMARC asks for a domain in From: its policy, that of its
// organisation if it has none, and whether another domain counts as the same (RFC 7489).
package alignment

import (
	"errors"
	"strings"

	"github.com/emersion/go-msgauth/dmarc"
	"golang.org/x/net/publicsuffix"
)

// Policy is what a domain asks of those who get mail in its name. The zero Policy asks
// for nothing and takes relaxed alignment.
type Policy struct {
	Reject, Quarantine    bool
	StrictDKIM, StrictSPF bool
}

// Lookup finds the policy for a domain: its own, else that for subdomains of its
// organisation (RFC 7489 §6.6.3). A record that cannot be read is none. temporary says
// that the DNS did not answer, and the Policy means nothing.
func Lookup(domain string, txt func(name string) ([]string, error)) (p Policy, temporary bool) {
	options := &dmarc.LookupOptions{LookupTXT: txt}
	rec, err := dmarc.LookupWithOptions(domain, options)
	if dmarc.IsTempFail(err) {
		return Policy{}, true
	}
	if err == nil {
		return policy(rec, rec.Policy), false
	}
	org, orgErr := publicsuffix.EffectiveTLDPlusOne(strings.ToLower(domain))
	if !errors.Is(err, dmarc.ErrNoPolicy) || orgErr != nil || strings.EqualFold(org, domain) {
		return Policy{}, false
	}
	rec, err = dmarc.LookupWithOptions(org, options)
	if dmarc.IsTempFail(err) {
		return Policy{}, true
	}
	if err != nil {
		return Policy{}, false
	}
	if rec.SubdomainPolicy != "" {
		return policy(rec, rec.SubdomainPolicy), false
	}
	return policy(rec, rec.Policy), false
}

func policy(rec *dmarc.Record, p dmarc.Policy) Policy {
	return Policy{Reject: p == dmarc.PolicyReject, Quarantine: p == dmarc.PolicyQuarantine,
		StrictDKIM: rec.DKIMAlignment == dmarc.AlignmentStrict, StrictSPF: rec.SPFAlignment == dmarc.AlignmentStrict}
}

// Same is alignment (RFC 7489 §3.1): equal, or, relaxed, of one organisation.
func Same(a, b string, strict bool) bool {
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
