package discover

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// answer is one that waits to be sent to the group.
type answer struct {
	to   netip.AddrPort // who asked
	list []record
}

const maxWaiting = 64 // answers to different askers on one link; more askers wait for their next try

// receive deals with one packet: a question, or what others answered.
func (n *Node) receive(p packet) {
	if !n.open(p.link) || !p.link.near(p.from.Addr()) {
		return
	}
	m, ok := parse(p.data)
	if !ok {
		return
	}
	if m.Response {
		if p.from.Port() != p.link.Group().Port() { // RFC 6762 §6
			return
		}
		n.conflicts(p.link, m)
		m.Answers = slices.DeleteFunc(m.Answers, n.mineAnywhere) // our own voice
		m.Additionals = slices.DeleteFunc(m.Additionals, n.mineAnywhere)
		n.heard.message(m, p.link.Interface(), time.Now())
		n.publish()
		n.after(200*time.Millisecond, func() { n.complete(p.link) })
		return
	}
	n.question(p, m)
}

// near says whether an address is on this link: others are not answered (RFC 6762 §11).
func (l *link) near(a netip.Addr) bool {
	a = a.Unmap()
	if a.Is6() && a.IsLinkLocalUnicast() {
		return true
	}
	for _, p := range l.Prefixes() {
		if p.Masked().Contains(a.WithZone("")) {
			return true
		}
	}
	return false
}

// parse reads a message of at most 64 questions and 256 records; names with dots
// inside a label are beyond the parser and make the message unreadable.
func parse(b []byte) (m dnsmessage.Message, ok bool) {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil || h.OpCode != 0 || h.RCode != 0 { // RFC 6762 §18.3, §18.11
		return m, false
	}
	m.Header = h
	for {
		q, err := p.Question()
		if err == dnsmessage.ErrSectionDone {
			break
		}
		if err != nil || len(m.Questions) >= 64 {
			return m, false
		}
		m.Questions = append(m.Questions, q)
	}
	left := 256
	for _, s := range []struct {
		next func() (dnsmessage.Resource, error)
		into *[]dnsmessage.Resource
	}{{p.Answer, &m.Answers}, {p.Authority, &m.Authorities}, {p.Additional, &m.Additionals}} {
		for {
			r, err := s.next()
			if err == dnsmessage.ErrSectionDone {
				break
			}
			if left--; err != nil || left < 0 {
				return m, false
			}
			*s.into = append(*s.into, r)
		}
	}
	return m, true
}

// conflicts looks whether somebody else claims a name of ours (RFC 6762 §9).
func (n *Node) conflicts(l *link, m dnsmessage.Message) {
	mine := n.records(l)
	for _, r := range slices.Concat(m.Answers, m.Additionals) {
		if r.Header.TTL == 0 {
			continue
		}
		for _, o := range mine {
			if o.unique() && o.Header.Type == r.Header.Type && sameName(o.Header.Name, r.Header.Name) && !n.mineAnywhere(r) {
				n.rename(o.Header.Name.String())
				return
			}
		}
	}
}

// mineAnywhere says whether a record is ours, on whatever link.
func (n *Node) mineAnywhere(r dnsmessage.Resource) bool {
	for _, l := range n.links {
		for _, o := range n.records(l) {
			if sameName(o.Header.Name, r.Header.Name) && sameData(o.Body, r.Body) {
				return true
			}
		}
	}
	return false
}

// tie gives way to a probe for our name that began at the same time and wins.
func (n *Node) tie(l *link, m dnsmessage.Message) bool {
	for _, r := range m.Authorities {
		theirs, ok := r.Body.(*dnsmessage.SRVResource)
		if !ok || n.mineAnywhere(r) {
			continue
		}
		for _, o := range n.records(l) {
			if mine, ok := o.Body.(*dnsmessage.SRVResource); ok && sameName(o.Header.Name, r.Header.Name) && sooner(mine, theirs) {
				n.rename(o.Header.Name.String())
				return true
			}
		}
	}
	return false
}

// question answers what we can.
func (n *Node) question(p packet, m dnsmessage.Message) {
	l := p.link
	if l.state == probing {
		n.tie(l, m)
		return
	}
	n.suppress(l, p.from, m)
	mine := n.records(l)
	var list []record
	alone := false
	for _, q := range m.Questions {
		alone = alone || q.Class&flush != 0
		for _, r := range mine {
			if r.answers(q) && !isKnown(r, m.Answers) && !slices.ContainsFunc(list, r.equal) {
				list = append(list, r)
			}
		}
	}
	if len(list) == 0 {
		return
	}
	if p.from.Port() != l.Group().Port() {
		n.unicast(p, m, list, mine, true)
		return
	}
	if alone && n.fresh(l, list) {
		n.unicast(p, m, list, mine, false)
		return
	}
	n.later(l, p.from, list, m)
}

func (r record) answers(q dnsmessage.Question) bool {
	class := q.Class &^ flush
	return (q.Type == r.Header.Type || q.Type == dnsmessage.TypeALL) &&
		(class == dnsmessage.ClassINET || class == dnsmessage.ClassANY) && sameName(q.Name, r.Header.Name)
}

func (r record) equal(o record) bool {
	return r.Header.Type == o.Header.Type && sameName(r.Header.Name, o.Header.Name) && sameData(r.Body, o.Body)
}

// isKnown says whether the asker has r already, for at least half its time (RFC 6762 §7.1).
func isKnown(r record, answers []dnsmessage.Resource) bool {
	return slices.ContainsFunc(answers, func(a dnsmessage.Resource) bool {
		return a.Header.TTL >= r.Header.TTL/2 && r.equal(record{Resource: a})
	})
}

// fresh says whether all of list went to the group in the last quarter of its
// time: only then may an answer go to one alone (RFC 6762 §5.4).
func (n *Node) fresh(l *link, list []record) bool {
	for _, r := range list {
		if time.Since(l.said[sayKey(r)]) > time.Duration(r.Header.TTL)*time.Second/4 {
			return false
		}
	}
	return true
}

// unicast answers one alone; old ones are resolvers that know nothing of mDNS (§6.7).
func (n *Node) unicast(p packet, m dnsmessage.Message, list, mine []record, old bool) {
	h := dnsmessage.Header{Response: true, Authoritative: true}
	along := goAlong(list, mine)
	var q []dnsmessage.Question
	if old {
		h.ID, q = m.ID, m.Questions
		for i := range list {
			list[i] = list[i].forOld()
		}
		for i := range along {
			along[i] = along[i].forOld()
		}
	}
	for _, b := range pack(h, q, list, along) {
		n.send(p.link, b, p.from)
	}
}

func (r record) forOld() record {
	r.Header.TTL = min(r.Header.TTL, ttlOld)
	r.Header.Class &^= flush
	return r
}

// goAlong are the records that an asker will want next (RFC 6763 §12).
func goAlong(list, mine []record) (out []record) {
	for i := 0; i < len(list)+len(out); i++ {
		r := record{}
		if i < len(list) {
			r = list[i]
		} else {
			r = out[i-len(list)]
		}
		for _, o := range mine {
			if r.target != "" && strings.EqualFold(o.Header.Name.String(), r.target) && !slices.ContainsFunc(list, o.equal) && !slices.ContainsFunc(out, o.equal) {
				out = append(out, o)
			}
		}
	}
	return out
}

// later sends an answer to the group: at once if all of it is ours alone, else
// after a random while (RFC 6762 §6), longer if more known answers follow (§7.2).
func (n *Node) later(l *link, to netip.AddrPort, list []record, m dnsmessage.Message) {
	if len(l.waiting) >= maxWaiting {
		return
	}
	wait := time.Duration(0)
	if slices.ContainsFunc(list, func(r record) bool { return !r.unique() }) {
		wait = 20*time.Millisecond + rand.N(100*time.Millisecond)
	}
	if m.Truncated {
		wait += 400 * time.Millisecond
	}
	least := time.Second // between two of the same to the group
	if len(m.Authorities) > 0 {
		least = 250 * time.Millisecond // a probe is fended off at once
	}
	a := &answer{to: to, list: list}
	l.waiting = append(l.waiting, a)
	n.after(wait, func() {
		l.waiting = slices.DeleteFunc(l.waiting, func(o *answer) bool { return o == a })
		if l.state != announced || !n.open(l) {
			return
		}
		a.list = slices.DeleteFunc(a.list, func(r record) bool { return time.Since(l.said[sayKey(r)]) < least })
		if len(a.list) > 0 {
			n.say(l, a.list, goAlong(a.list, n.records(l)))
		}
	})
}

// suppress takes out of waiting answers what their asker says it knows, in a
// further packet of its question (RFC 6762 §7.2).
func (n *Node) suppress(l *link, from netip.AddrPort, m dnsmessage.Message) {
	if len(m.Answers) == 0 {
		return
	}
	for _, a := range l.waiting {
		if a.to == from {
			a.list = slices.DeleteFunc(a.list, func(r record) bool { return isKnown(r, m.Answers) })
		}
	}
}
