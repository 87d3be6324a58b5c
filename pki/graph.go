package pki

import (
	"hash/maphash"
	"strings"
)

// graph holds what decides about rights, and nothing else, in little memory:
// about 90 octets per identity and 50 per arrow. Texts stay on disk.
type graph struct {
	nodes chunks[node]
	keys  chunks[Key] // of identities, by node.ident
	edges chunks[edge]
	free  uint32 // first free edge, linked by nextOut

	table []uint32 // open addressing: node number + 1
	seed  maphash.Seed

	names  []string // purposes, scopes and params, each once
	rated  bool     // some param holds a rate
	nameOf map[string]uint32
}

// node is an identity or anything else that an arrow points to.
type node struct {
	sub     Subject
	status  Status
	reached bool
	ident   uint32 // index+1 into keys, 0 if no inception is known
	out, in uint32 // first edge, +1
}

// edge is one slot (§3.4) with the arrow that counts in it.
type edge struct {
	from, until     int64
	issuer, subject uint32
	nextOut, nextIn uint32 // +1
	purpose         uint32
	scope, param    uint32
	depth           uint8
	revoked, hasBad bool
	toID            bool // the subject is an identity
}

// maxDepth is what greater depths count as: no chain of trust is longer.
const maxDepth = 100

const chunk = 1 << 12

// chunks is a slice that grows without being copied.
type chunks[T any] struct {
	part []*[chunk]T
	n    uint32
}

func (c *chunks[T]) at(i uint32) *T { return &c.part[i/chunk][i%chunk] }

func (c *chunks[T]) add(v T) uint32 {
	if int(c.n/chunk) == len(c.part) {
		c.part = append(c.part, new([chunk]T))
	}
	*c.at(c.n) = v
	c.n++
	return c.n - 1
}

func newGraph() *graph {
	return &graph{table: make([]uint32, 1<<10), seed: maphash.MakeSeed(), nameOf: map[string]uint32{}}
}

func (g *graph) name(s string) uint32 {
	if n, ok := g.nameOf[s]; ok {
		return n
	}
	n := uint32(len(g.names))
	g.names = append(g.names, s)
	g.rated = g.rated || strings.Contains(s, "rate=")
	g.nameOf[s] = n
	return n
}

func (g *graph) slot(sub Subject) uint32 {
	mask := uint32(len(g.table) - 1)
	h := uint32(maphash.Bytes(g.seed, sub.Hash[:])) + uint32(sub.Kind)
	for i := h & mask; ; i = (i + 1) & mask {
		n := g.table[i]
		if n == 0 || g.nodes.at(n-1).sub == sub {
			return i
		}
	}
}

// find returns the node of sub, if there is one.
func (g *graph) find(sub Subject) (uint32, bool) {
	n := g.table[g.slot(sub)]
	return n - 1, n != 0
}

// node returns the node of sub, made if need be.
func (g *graph) node(sub Subject) uint32 {
	i := g.slot(sub)
	if n := g.table[i]; n != 0 {
		return n - 1
	}
	n := g.nodes.add(node{sub: sub})
	g.table[i] = n + 1
	if int(g.nodes.n)*4 > len(g.table)*3 {
		g.table = make([]uint32, 2*len(g.table))
		for k := range g.nodes.n {
			g.table[g.slot(g.nodes.at(k).sub)] = k + 1
		}
	}
	return n
}

// setKey notes how an identity stands.
func (g *graph) setKey(id ID, key Key, status Status) {
	n := g.nodes.at(g.node(id.Subject()))
	if n.status = status; n.ident == 0 {
		n.ident = g.keys.add(key) + 1
		return
	}
	*g.keys.at(n.ident - 1) = key
}

// clear removes all edges of an issuer.
func (g *graph) clear(issuer uint32) {
	n := g.nodes.at(issuer)
	for at := n.out; at != 0; {
		e := g.edges.at(at - 1)
		for p := &g.nodes.at(e.subject).in; *p != 0; p = &g.edges.at(*p - 1).nextIn {
			if *p == at {
				*p = e.nextIn
				break
			}
		}
		next := e.nextOut
		*e = edge{nextOut: g.free}
		g.free = at
		at = next
	}
	n.out = 0
}

// add adds an edge; its links are set here.
func (g *graph) add(e edge) {
	from, to := g.nodes.at(e.issuer), g.nodes.at(e.subject)
	e.toID = to.sub.Kind == SubjectID
	e.nextOut, e.nextIn = from.out, to.in
	var at uint32
	if at = g.free; at != 0 {
		g.free = g.edges.at(at - 1).nextOut
		*g.edges.at(at - 1) = e
	} else {
		at = g.edges.add(e) + 1
	}
	from.out, to.in = at, at
}

// arrowEdge turns an arrow into an edge; lapse bounds its interval (0: not).
func (g *graph) arrowEdge(s *Statement, lapse int64) edge {
	e := edge{
		from: s.From, until: s.Until, issuer: g.node(s.ID.Subject()), subject: g.node(s.Subject),
		purpose: g.name(s.Purpose), scope: g.name(s.Scope), param: g.name(s.Param),
		depth: uint8(min(s.Depth, maxDepth)), revoked: s.Revoked,
	}
	if lapse != 0 {
		e.until = min(e.until, lapse)
	}
	if s.Revoked && s.BadSince != nil {
		e.hasBad, e.from = true, *s.BadSince // a revoked arrow's interval means nothing more
	}
	return e
}

// query asks for one purpose in one group at one time.
type query struct {
	g       *graph
	name    string // the purpose
	purpose uint32
	known   bool // the purpose stands on some arrow
	group   string
	at      int64 // T: the time of use
	alive   int64 // until must be after it (§5.7)
	anchors []Anchor
	in      []int8 // by scope: 1 contains group, -1 does not, 0 not asked yet; nil: not kept
}

func (g *graph) query(anchors []Anchor, purpose, group string, at, arrived int64) *query {
	q := &query{g: g, group: group, at: at, alive: arrived - 7*day, anchors: anchors, name: purpose}
	q.purpose, q.known = g.nameOf[purpose]
	return q
}

// counts says whether an edge gives the right asked for.
func (q *query) counts(e *edge) bool {
	if e.purpose != q.purpose || e.revoked || q.at < e.from || q.at >= e.until || e.until <= q.alive {
		return false
	}
	if q.in == nil {
		return InScope(q.g.names[e.scope], q.group)
	}
	if q.in[e.scope] == 0 {
		q.in[e.scope] = -1
		if InScope(q.g.names[e.scope], q.group) {
			q.in[e.scope] = 1
		}
	}
	return q.in[e.scope] > 0
}

// start yields the anchors that hold here, as nodes with their left.
func (q *query) start(yield func(n uint32, left int8)) {
	for _, a := range q.anchors {
		if (a.Purpose == q.name || a.Purpose == "*") && InScope(a.Scope, q.group) {
			if n, ok := q.g.find(a.ID.Subject()); ok {
				yield(n, int8(min(a.Depth, maxDepth)))
			}
		}
	}
}

// all returns the left of every node: -1 where the right is not (§6.2).
func (q *query) all() []int8 {
	best := make([]int8, q.g.nodes.n)
	for i := range best {
		best[i] = -1
	}
	q.in = make([]int8, len(q.g.names))
	var queue [maxDepth + 1][]uint32
	set := func(n uint32, left int8) {
		if left > best[n] {
			best[n] = left
			queue[left] = append(queue[left], n)
		}
	}
	q.start(set)
	for left := int8(maxDepth); left >= 0 && q.known; left-- {
		for i := 0; i < len(queue[left]); i++ {
			n := queue[left][i]
			if best[n] != left {
				continue // reached with more meanwhile
			}
			for at := q.g.nodes.at(n).out; at != 0; {
				e := q.g.edges.at(at - 1)
				at = e.nextOut
				if !q.counts(e) {
					continue
				}
				to, l := e.subject, int8(0)
				if e.toID {
					if left == 0 {
						continue
					}
					l = min(left-1, int8(e.depth))
				}
				if l > best[to] {
					best[to] = l
					queue[l] = append(queue[l], to)
				}
			}
		}
	}
	return best
}

// left returns the left of one node, or -1.
func (q *query) left(subject uint32) int8 {
	left := int8(-1)
	for left < maxDepth && q.has(subject, left+1) {
		left++
	}
	return left
}

// need is a node that must have at least so much left for the subject to have the right.
type need struct {
	node uint32
	left int8
}

// has says whether a node has the right with at least so much left. It goes
// backwards, nearest first: who is met with a small need is never met with a
// smaller one, so each is looked at once, and arrows of too little depth end the
// search. Where trust has the shape of a tree that is a handful of nodes.
func (q *query) has(subject uint32, left int8) bool {
	anchors := make([]need, 0, 4)
	q.start(func(n uint32, l int8) { anchors = append(anchors, need{n, l}) })
	seen := map[uint32]bool{subject: true}
	for todo := []need{{subject, left}}; len(todo) > 0; todo = todo[1:] {
		at := todo[0]
		for _, a := range anchors {
			if a.node == at.node && a.left >= at.left {
				return true
			}
		}
		if !q.known || at.left > maxDepth-1 {
			continue
		}
		isID := q.g.nodes.at(at.node).sub.Kind == SubjectID
		for i := q.g.nodes.at(at.node).in; i != 0; {
			e := q.g.edges.at(i - 1)
			i = e.nextIn
			if int8(e.depth) < at.left || seen[e.issuer] || !q.counts(e) {
				continue
			}
			seen[e.issuer] = true
			more := need{e.issuer, at.left + 1}
			if !isID { // a step to a key needs nothing left
				if at.left > 0 {
					continue
				}
				more.left = 0
			}
			todo = append(todo, more)
		}
	}
	return false
}
