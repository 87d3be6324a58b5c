package discover

import (
	"bytes"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// Times to live: RFC 6762 §10.
const (
	ttlHost  = 120  // s, of what names a host: SRV, A, AAAA
	ttlOther = 4500 // s, of PTR and TXT
	ttlOld   = 10   // s, most in an answer to a resolver that is no mDNS one (§6.7)
)

// flush is the top bit of a class: in an answer "forget what else you know of this
// name" (RFC 6762 §10.2), in a question "answer me alone" (§5.4).
const flush = 1 << 15

// maxText is what TXT strings may weigh together (docs/spec/torrent.md §9).
const maxText = 400

// Service is one door of this node.
type Service struct {
	Type    string // "_nntp._tcp"
	Subtype string // "_p2pstorage", or ""
	Label   string // what the node's name is followed by: "box7 news"
	Port    uint16
	Text    []string // "key=value", each at most 255 octets, together at most 400
	// On is the address it listens on: on a link without that address it is not
	// offered. Unspecified: on all.
	On netip.Addr
}

// names are how the services of a node are called; n counts the conflicts so far.
type names struct {
	node string // a single label: "box7"
	n    int
}

func (m names) host() string {
	return cut(m.node, 63-len(tail("-", m.n, ""))) + tail("-", m.n, "") + ".local."
}

func (m names) instance(s Service) string {
	end := " " + s.Label + tail(" (", m.n, ")")
	return cut(m.node, 63-len(end)) + end + "." + s.Type + ".local."
}

func tail(before string, n int, after string) string {
	if n == 0 {
		return ""
	}
	return before + strconv.Itoa(n+1) + after
}

// cut shortens a label to most octets, between characters.
func cut(s string, most int) string {
	for len(s) > most {
		r := []rune(s)
		s = string(r[:len(r)-1])
	}
	return s
}

// Label makes one DNS label of a host name: what stands before the first dot,
// without what a label may not hold.
func Label(host string) string {
	host, _, _ = strings.Cut(host, ".")
	keep := func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\\' {
			return -1
		}
		return r
	}
	if host = cut(strings.Map(keep, strings.ToValidUTF8(host, "")), 40); host == "" {
		return "litfass"
	}
	return host
}

// record is one of ours.
type record struct {
	dnsmessage.Resource
	target string // of PTR and SRV: whose records go along (RFC 6763 §12)
}

func (r record) unique() bool { return r.Header.Class&flush != 0 }

// ours are the records that hold on a link with these addresses.
func ours(m names, services []Service, addrs []netip.Addr) (out []record) {
	add := func(name string, class dnsmessage.Class, ttl uint32, typ dnsmessage.Type, body dnsmessage.ResourceBody, target string) {
		out = append(out, record{dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Type: typ, Class: class, TTL: ttl}, Body: body,
		}, target})
	}
	const shared, alone = dnsmessage.ClassINET, dnsmessage.ClassINET | flush
	pointer := func(name, to string) {
		add(name, shared, ttlOther, dnsmessage.TypePTR, &dnsmessage.PTRResource{PTR: dnsmessage.MustNewName(to)}, to)
	}
	for _, s := range services {
		if !s.offered(addrs) {
			continue
		}
		instance := m.instance(s)
		pointer("_services._dns-sd._udp.local.", s.Type+".local.") // RFC 6763 §9
		pointer(s.Type+".local.", instance)
		if s.Subtype != "" {
			pointer(s.Subtype+"._sub."+s.Type+".local.", instance)
		}
		add(instance, alone, ttlHost, dnsmessage.TypeSRV, &dnsmessage.SRVResource{Target: dnsmessage.MustNewName(m.host()), Port: s.Port}, m.host())
		add(instance, alone, ttlOther, dnsmessage.TypeTXT, &dnsmessage.TXTResource{TXT: s.Text}, "")
	}
	if len(out) == 0 {
		return nil
	}
	for _, a := range addrs {
		if a.Is4() {
			add(m.host(), alone, ttlHost, dnsmessage.TypeA, &dnsmessage.AResource{A: a.As4()}, "")
		} else {
			add(m.host(), alone, ttlHost, dnsmessage.TypeAAAA, &dnsmessage.AAAAResource{AAAA: a.As16()}, "")
		}
	}
	return out
}

func (s Service) offered(addrs []netip.Addr) bool {
	if !s.On.IsValid() || s.On.IsUnspecified() {
		return true
	}
	for _, a := range addrs {
		if a.WithZone("") == s.On.WithZone("") {
			return true
		}
	}
	return false
}

// sameName compares names as DNS does.
func sameName(a, b dnsmessage.Name) bool { return strings.EqualFold(a.String(), b.String()) }

// sameData says whether two records say the same of a name.
func sameData(a, b dnsmessage.ResourceBody) bool {
	switch a := a.(type) {
	case *dnsmessage.PTRResource:
		b, ok := b.(*dnsmessage.PTRResource)
		return ok && sameName(a.PTR, b.PTR)
	case *dnsmessage.SRVResource:
		b, ok := b.(*dnsmessage.SRVResource)
		return ok && sameName(a.Target, b.Target) && a.Port == b.Port && a.Priority == b.Priority && a.Weight == b.Weight
	case *dnsmessage.TXTResource:
		b, ok := b.(*dnsmessage.TXTResource)
		return ok && strings.Join(a.TXT, "\x00") == strings.Join(b.TXT, "\x00")
	case *dnsmessage.AResource:
		b, ok := b.(*dnsmessage.AResource)
		return ok && a.A == b.A
	case *dnsmessage.AAAAResource:
		b, ok := b.(*dnsmessage.AAAAResource)
		return ok && a.AAAA == b.AAAA
	}
	return false
}

// sooner orders two SRV records as RFC 6762 §8.2 does: the later one wins a tie
// of probes. Targets are compared as text, which is the order of their octets but
// for labels of different lengths; both sides only have to agree.
func sooner(a, b *dnsmessage.SRVResource) bool {
	key := func(s *dnsmessage.SRVResource) []byte {
		n := s.Target.String()
		return append([]byte{byte(s.Priority >> 8), byte(s.Priority), byte(s.Weight >> 8), byte(s.Weight), byte(s.Port >> 8), byte(s.Port)}, n...)
	}
	return bytes.Compare(key(a), key(b)) < 0
}

// pack makes messages of at most 1,400 octets with these records; what goes along
// is left out where there is no room.
func pack(h dnsmessage.Header, q []dnsmessage.Question, answers, along []record) [][]byte {
	m := dnsmessage.Message{Header: h, Questions: q}
	for _, r := range answers {
		m.Answers = append(m.Answers, r.Resource)
	}
	for _, r := range along {
		m.Additionals = append(m.Additionals, r.Resource)
	}
	b, err := m.Pack()
	switch {
	case err == nil && len(b) <= 1400:
		return [][]byte{b}
	case len(along) > 0:
		return pack(h, q, answers, nil)
	case len(answers) > 1:
		half := len(answers) / 2
		return append(pack(h, q, answers[:half], nil), pack(h, nil, answers[half:], nil)...)
	}
	return nil // a single record that cannot be sent
}
