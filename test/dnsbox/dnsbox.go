// Package dnsbox is a DNS server on loopback with records that a test gives it: SPF,
// DKIM, DMARC and MX are tested against it and against nothing else.
package dnsbox

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// Zone holds records by lower-case name without the final dot.
type Zone struct {
	TXT map[string][]string
	MX  map[string][]string // host names, best first; "." is a null MX
	A   map[string]string
	// Fail names get SERVFAIL.
	Fail map[string]bool
}

// Serve answers from z until the test ends. The resolver it returns asks nobody else.
func Serve(t testing.TB, z Zone) *net.Resolver {
	t.Helper()
	addr := Listen(t, z)
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", addr)
	}}
}

// Count says how often r asks from now on.
func Count(r *net.Resolver) *atomic.Int64 {
	asked, dial := new(atomic.Int64), r.Dial
	r.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		asked.Add(1)
		return dial(ctx, network, address)
	}
	return asked
}

// Listen is Serve for other programs: it returns the server's UDP address.
func Listen(t testing.TB, z Zone) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { pc.Close(); wg.Wait() })
	wg.Go(func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			if out := z.answer(buf[:n]); out != nil {
				_, _ = pc.WriteTo(out, from)
			}
		}
	})
	return pc.LocalAddr().String()
}

func (z Zone) answer(query []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	out := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true, RecursionAvailable: true}, Questions: m.Questions}
	add := func(body dnsmessage.ResourceBody) {
		out.Answers = append(out.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 60}, Body: body})
	}
	switch q.Type {
	case dnsmessage.TypeTXT:
		for _, text := range z.TXT[name] {
			var parts []string
			for len(text) > 255 {
				parts, text = append(parts, text[:255]), text[255:]
			}
			add(&dnsmessage.TXTResource{TXT: append(parts, text)})
		}
	case dnsmessage.TypeMX:
		for i, host := range z.MX[name] {
			if mx, err := dnsmessage.NewName(strings.TrimSuffix(host, ".") + "."); err == nil {
				add(&dnsmessage.MXResource{Pref: uint16(10 * i), MX: mx})
			}
		}
	case dnsmessage.TypeA:
		if ip := net.ParseIP(z.A[name]).To4(); ip != nil {
			add(&dnsmessage.AResource{A: [4]byte(ip)})
		}
	}
	switch {
	case z.Fail[name]:
		out.RCode, out.Answers = dnsmessage.RCodeServerFailure, nil
	case len(out.Answers) == 0 && len(z.TXT[name])+len(z.MX[name])+len(z.A[name]) == 0:
		out.RCode = dnsmessage.RCodeNameError
	}
	packed, err := out.Pack()
	if err != nil {
		return nil
	}
	return packed
}
