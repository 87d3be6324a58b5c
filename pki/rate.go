package pki

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/litfass/litfass/article"
)

// introduced is how many times his own rate the articles of all whom somebody
// introduced may take together (§6.3).
const introduced = 10

// maxCounted bounds what rates remember of one day: arrows used, articles counted.
const maxCounted = 50000

// ErrRate: the signer, or who introduced him, has used up the rate of an arrow.
var ErrRate = errors.New("the signer's rate is used up (rate= in the arrow that lets him post, or that of who introduced him): it is taken as verified again tomorrow")

// ParseRate reads "rate=N/day" or "rate=N/hour" out of a param (§3.4, §6.3). It
// returns the number and the window in seconds; ok is false if there is none.
func ParseRate(param string) (n, window int64, ok bool, err error) {
	for v := range strings.SplitSeq(param, ",") {
		text, is := strings.CutPrefix(v, "rate=")
		if !is {
			continue
		}
		number, per, _ := strings.Cut(text, "/")
		n, err := strconv.ParseInt(number, 10, 32)
		window := map[string]int64{"day": day, "hour": 3600}[per]
		if err != nil || n < 0 || window == 0 {
			return 0, 0, false, fmt.Errorf("param %q is no rate: write it like rate=50/day or rate=5/hour", v)
		}
		return n, window, true, nil
	}
	return 0, 0, false, nil
}

// slot names an arrow among those that rates count.
type rateSlot struct {
	issuer, subject, scope uint32
	purpose                uint32
}

// rates count what arrows with rate= let in, in memory: a restart forgives.
type rates struct {
	mu      sync.Mutex
	day     int64
	used    map[rateSlot]*rateUse
	counted map[Digest]bool // each article once, however often it is judged
}

type rateUse struct{ window, n int64 }

// charge is one arrow that an article counts against.
type charge struct {
	slot   rateSlot
	most   int64
	window int64
}

// within takes from groups those whose path has something left of its rates, and
// counts the article against the paths of these. l.mu is held.
func (l *Ledger) within(c claim, groups []article.Group) []article.Group {
	if !l.g.rated || c.use != UsePost && c.use != UseGate || len(groups) == 0 {
		return groups
	}
	r, now := &l.rates, l.now().Unix()
	r.mu.Lock()
	defer r.mu.Unlock()
	if today := now / day; r.day != today || r.used == nil || len(r.used) > maxCounted || len(r.counted) > maxCounted {
		r.day, r.used, r.counted = today, map[rateSlot]*rateUse{}, map[Digest]bool{}
	}
	if r.counted[c.digest] {
		return groups
	}
	var out []article.Group
	due := map[rateSlot]charge{}
	for _, g := range groups {
		path := l.chargesFor(c, string(g))
		if r.full(path, now) {
			continue
		}
		out = append(out, g)
		for _, ch := range path {
			due[ch.slot] = ch
		}
	}
	if len(out) == 0 {
		return nil
	}
	for _, ch := range due {
		r.use(ch, now).n++
	}
	if len(due) > 0 {
		r.counted[c.digest] = true
	}
	return out
}

// use is what a slot has used in the window that now lies in.
func (r *rates) use(ch charge, now int64) *rateUse {
	u := r.used[ch.slot]
	if u == nil {
		u = &rateUse{}
		r.used[ch.slot] = u
	}
	if w := now / ch.window; u.window != w {
		u.window, u.n = w, 0
	}
	return u
}

func (r *rates) full(path []charge, now int64) bool {
	for _, ch := range path {
		if r.use(ch, now).n >= ch.most {
			return true
		}
	}
	return false
}

// chargesFor are the arrows with a rate on the shortest path that lets the
// claim's signer post: his device's and his own with their rate, those of who
// introduced him with ten times theirs.
func (l *Ledger) chargesFor(c claim, group string) (out []charge) {
	identity, device := rightsFor(c.use, c.verb)
	if issuer, ok := l.g.find(c.id.Subject()); ok {
		if key, ok := l.g.find(c.key.Subject()); ok && len(device) > 0 {
			q := l.g.query(nil, device[0], group, c.time, c.arrived)
			for at := l.g.nodes.at(key).in; at != 0 && q.known; {
				e := l.g.edges.at(at - 1)
				at = e.nextIn
				if e.issuer == issuer && q.counts(e) {
					out = l.g.charge(out, e, 1)
					break
				}
			}
		}
		q := l.g.query(l.anchors, identity[0], group, c.time, c.arrived)
		times := int64(1)
		for _, at := range q.path(issuer) {
			out = l.g.charge(out, l.g.edges.at(at), times)
			times = introduced
		}
	}
	return out
}

// charge adds an arrow if it has a rate.
func (g *graph) charge(out []charge, e *edge, times int64) []charge {
	n, window, ok, err := ParseRate(g.names[e.param])
	if !ok || err != nil {
		return out
	}
	return append(out, charge{rateSlot{e.issuer, e.subject, e.scope, e.purpose}, n * times, window})
}

// path returns the edges of a shortest path that gives a node the right, from the
// node back to an anchor; nil if there is none, or none is needed.
func (q *query) path(subject uint32) []uint32 {
	if !q.known {
		return nil
	}
	type step struct {
		need
		edge uint32
		from int
	}
	var anchors []need
	q.start(func(n uint32, l int8) { anchors = append(anchors, need{n, l}) })
	seen := map[uint32]bool{subject: true}
	todo := []step{{need: need{subject, 0}, from: -1}}
	for i := 0; i < len(todo); i++ {
		at := todo[i]
		for _, a := range anchors {
			if a.node != at.node || a.left < at.left {
				continue
			}
			var out []uint32
			for k := i; todo[k].from >= 0; k = todo[k].from {
				out = append(out, todo[k].edge)
			}
			for a, b := 0, len(out)-1; a < b; a, b = a+1, b-1 {
				out[a], out[b] = out[b], out[a]
			}
			return out
		}
		for n := q.g.nodes.at(at.node).in; n != 0 && at.left < maxDepth; {
			e := q.g.edges.at(n - 1)
			if int8(e.depth) >= at.left && !seen[e.issuer] && q.counts(e) {
				seen[e.issuer] = true
				todo = append(todo, step{need{e.issuer, at.left + 1}, n - 1, i})
			}
			n = e.nextIn
		}
	}
	return nil
}
