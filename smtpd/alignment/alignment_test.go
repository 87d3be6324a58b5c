package alignment

import (
	"net"
	"testing"
)

func TestLookup(t *testing.T) {
	zone := map[string]string{
		"_dmarc.reject.example": "v=DMARC1; p=reject; adkim=s", "_dmarc.parted.example": "v=DMARC1; p=reject; sp=none; aspf=s",
		"_dmarc.own.reject.example": "v=DMARC1; p=none", "_dmarc.q.example": "v=DMARC1; p=quarantine", "_dmarc.broken.example": "v=DMARC1; q=1",
	}
	txt := func(name string) ([]string, error) {
		if name == "_dmarc.slow.example" {
			return nil, &net.DNSError{Err: "no answer", Name: name, IsTemporary: true}
		}
		if r, ok := zone[name]; ok {
			return []string{r}, nil
		}
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	for domain, want := range map[string]Policy{
		"reject.example": {Reject: true, StrictDKIM: true}, "a.b.reject.example": {Reject: true, StrictDKIM: true}, "own.reject.example": {},
		"parted.example": {Reject: true, StrictSPF: true}, "sub.parted.example": {StrictSPF: true}, "q.example": {Quarantine: true},
		"none.example": {}, "broken.example": {}, "example": {}, "": {},
	} {
		if got, temporary := Lookup(domain, txt); got != want || temporary {
			t.Errorf("%s: %+v %v, want %+v", domain, got, temporary, want)
		}
	}
	for _, domain := range []string{"slow.example", "sub.slow.example"} {
		if _, temporary := Lookup(domain, txt); !temporary {
			t.Errorf("%s: no answer is taken for none", domain)
		}
	}
}

func TestSame(t *testing.T) {
	for _, c := range []struct {
		a, b            string
		relaxed, strict bool
	}{
		{"a.example", "A.example", true, true}, {"x.a.example", "a.example", true, false}, {"x.a.example", "y.a.example", true, false},
		{"a.example", "b.example", false, false}, {"a.co.uk", "b.co.uk", false, false}, {"co.uk", "x.co.uk", false, false}, {"", "a.example", false, false},
	} {
		if Same(c.a, c.b, false) != c.relaxed || Same(c.a, c.b, true) != c.strict {
			t.Errorf("%+v", c)
		}
	}
}
