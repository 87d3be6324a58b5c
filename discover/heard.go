package discover

import (
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	maxHeard = 128 // neighbours kept
	maxAddrs = 8   // of one host
)

// Neighbour is another node on a link of ours, as it describes itself: a hint,
// nothing of it is proved.
type Neighbour struct {
	Name    string // of the instance: "box8 news"
	Host    string // its path identity
	ID      string // its key identity, or ""
	Key     string // its TLS key, spki:sha256:B64, or ""
	Version string
	Peering string           // open, ask or no
	Groups  string           // wildmat of what it offers
	Link    string           // the interface it was heard on
	Addrs   []netip.AddrPort // where it can be reached, best first
	Since   time.Time
}

// instance is what is known of a service that answered.
type instance struct {
	name       dnsmessage.Name
	link       string
	since      time.Time
	until      time.Time // of the PTR
	srv        *dnsmessage.SRVResource
	srvUntil   time.Time
	text       []string
	hasText    bool
	told       bool
	askedAgain time.Time
}

// address is one address of a host, and how long it holds.
type address struct {
	addr  netip.Addr
	heard time.Time
	until time.Time
}

// heard is what the link said of services of one kind, bounded.
type heard struct {
	service string // "_p2pstorage._sub._nntp._tcp.local."
	entries map[string]*instance
	hosts   map[string][]address // by "link host"
}

func newHeard(service string) *heard {
	return &heard{service: service, entries: map[string]*instance{}, hosts: map[string][]address{}}
}

func fold(n dnsmessage.Name) string { return strings.ToLower(n.String()) }

// take learns from one record of an answer that came in on link.
func (h *heard) take(r dnsmessage.Resource, link string, now time.Time) {
	until := now.Add(time.Duration(min(r.Header.TTL, ttlOther)) * time.Second)
	if r.Header.TTL == 0 {
		until = now.Add(time.Second) // a goodbye (RFC 6762 §10.1)
	}
	switch b := r.Body.(type) {
	case *dnsmessage.PTRResource:
		if !strings.EqualFold(r.Header.Name.String(), h.service) {
			return
		}
		e := h.entries[link+" "+fold(b.PTR)]
		if e == nil {
			if r.Header.TTL == 0 || len(h.entries) >= maxHeard {
				return
			}
			e = &instance{name: b.PTR, link: link, since: now}
			h.entries[link+" "+fold(b.PTR)] = e
		}
		e.until = until
	case *dnsmessage.SRVResource:
		if e := h.entries[link+" "+fold(r.Header.Name)]; e != nil {
			e.srv, e.srvUntil = b, until
		}
	case *dnsmessage.TXTResource:
		if e := h.entries[link+" "+fold(r.Header.Name)]; e != nil {
			e.text, e.hasText = b.TXT, true
		}
	case *dnsmessage.AResource:
		h.address(r.Header, link, netip.AddrFrom4(b.A), now, until)
	case *dnsmessage.AAAAResource:
		h.address(r.Header, link, netip.AddrFrom16(b.AAAA), now, until)
	}
}

// address learns where a host is. Only hosts that a known service names are kept.
func (h *heard) address(rh dnsmessage.ResourceHeader, link string, a netip.Addr, now, until time.Time) {
	wanted := false
	for _, e := range h.entries {
		wanted = wanted || e.link == link && e.srv != nil && sameName(e.srv.Target, rh.Name)
	}
	if !wanted || a.IsMulticast() || a.IsUnspecified() {
		return
	}
	if a.IsLinkLocalUnicast() && a.Is6() {
		a = a.WithZone(link)
	}
	key := link + " " + fold(rh.Name)
	list := slices.DeleteFunc(h.hosts[key], func(have address) bool {
		old := rh.Class&flush != 0 && now.Sub(have.heard) > time.Second // RFC 6762 §10.2
		return have.addr == a || old
	})
	if len(list) < maxAddrs {
		list = append(list, address{a, now, until})
	}
	h.hosts[key] = list
}

// message learns from a whole answer: pointers first, so that the order within
// the message does not matter.
func (h *heard) message(m dnsmessage.Message, link string, now time.Time) {
	all := slices.Concat(m.Answers, m.Additionals)
	for _, typ := range []dnsmessage.Type{dnsmessage.TypePTR, dnsmessage.TypeSRV, 0} {
		for _, r := range all {
			first := r.Header.Type == dnsmessage.TypePTR || r.Header.Type == dnsmessage.TypeSRV
			if r.Header.Type == typ || typ == 0 && !first {
				h.take(r, link, now)
			}
		}
	}
}

// forget drops what is too old.
func (h *heard) forget(now time.Time) {
	for key, e := range h.entries {
		if e.srv != nil && now.After(e.srvUntil) {
			e.srv = nil
		}
		if now.After(e.until) {
			delete(h.entries, key)
		}
	}
	for key, list := range h.hosts {
		if list = slices.DeleteFunc(list, func(a address) bool { return now.After(a.until) }); len(list) == 0 {
			delete(h.hosts, key)
		} else {
			h.hosts[key] = list
		}
	}
}

// missing are the questions whose answers would complete what is known, or keep
// it from ending; each is asked at most every 20 s.
func (h *heard) missing(link string, now time.Time) (out []dnsmessage.Question) {
	for _, e := range h.entries {
		if e.link != link || now.Sub(e.askedAgain) < 20*time.Second {
			continue
		}
		ask := func(n dnsmessage.Name, t dnsmessage.Type) {
			e.askedAgain = now
			out = append(out, dnsmessage.Question{Name: n, Type: t, Class: dnsmessage.ClassINET})
		}
		// RFC 6762 §5.2: asked anew when a fifth of the time is left.
		if e.srv == nil || e.srvUntil.Sub(now) < ttlHost/5*time.Second {
			ask(e.name, dnsmessage.TypeSRV)
		}
		if !e.hasText {
			ask(e.name, dnsmessage.TypeTXT)
		}
		if e.srv != nil && len(h.fresh(link, e.srv.Target, now)) == 0 {
			ask(e.srv.Target, dnsmessage.TypeA)
			ask(e.srv.Target, dnsmessage.TypeAAAA)
		}
	}
	return out
}

func (h *heard) fresh(link string, host dnsmessage.Name, now time.Time) (out []netip.Addr) {
	for _, a := range h.hosts[link+" "+fold(host)] {
		if a.until.Sub(now) > ttlHost/5*time.Second {
			out = append(out, a.addr)
		}
	}
	return out
}

// known are our known answers (RFC 6762 §7.1): what need not be said again.
func (h *heard) known(link string, now time.Time) (out []record) {
	for _, e := range h.entries {
		left := e.until.Sub(now)
		if e.link != link || left < ttlOther/2*time.Second || len(out) >= 32 {
			continue
		}
		out = append(out, record{dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(h.service), Type: dnsmessage.TypePTR, Class: dnsmessage.ClassINET, TTL: uint32(left / time.Second)},
			Body:   &dnsmessage.PTRResource{PTR: e.name},
		}, ""})
	}
	return out
}

// neighbour is what an entry says, if it is whole and of sound words.
func (h *heard) neighbour(e *instance) (Neighbour, bool) {
	if e.srv == nil || !e.hasText || e.srv.Port == 0 {
		return Neighbour{}, false
	}
	name, _, _ := strings.Cut(e.name.String(), "._")
	n := Neighbour{Name: name, Link: e.link, Since: e.since}
	seen := map[string]bool{}
	total := 0
	for _, s := range e.text {
		total += len(s)
		key, value, _ := strings.Cut(s, "=")
		key = strings.ToLower(key)
		if seen[key] { // RFC 6763 §6.4: the first counts
			continue
		}
		seen[key] = true
		switch key {
		case "id":
			n.ID = value
		case "key":
			n.Key = value
		case "host":
			n.Host = value
		case "v":
			n.Version = value
		case "peer":
			n.Peering = value
		case "g":
			n.Groups = value
		}
	}
	for _, s := range []string{n.Name, n.ID, n.Key, n.Host, n.Version, n.Peering, n.Groups} {
		if !plain(s) {
			return Neighbour{}, false
		}
	}
	for _, a := range h.hosts[e.link+" "+fold(e.srv.Target)] {
		n.Addrs = append(n.Addrs, netip.AddrPortFrom(a.addr, e.srv.Port))
	}
	slices.SortStableFunc(n.Addrs, func(a, b netip.AddrPort) int { return rank(a.Addr()) - rank(b.Addr()) })
	return n, total <= maxText && n.Host != "" && len(n.Addrs) > 0
}

// rank prefers addresses that hold on other links too.
func rank(a netip.Addr) int {
	switch {
	case a.Is6() && a.IsLinkLocalUnicast():
		return 3
	case a.IsLinkLocalUnicast():
		return 2
	case a.Is4():
		return 1
	}
	return 0
}

// plain says whether s may be shown to a person and put into a command.
func plain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == '\'' || r == unicode.ReplacementChar })
}
