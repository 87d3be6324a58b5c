package pki

import (
	"hash/maphash"
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
	live            bool
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
	e.live = true
	from, to := g.nodes.at(e.issuer), g.nodes.at(e.subject)
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
	purpose uint32
	known   bool // the purpose stands on some arrow
	group   string
	at      int64 // T: the time of use
	alive   int64 // until must be after it (§5.7)
	anchors []Anchor
	in      map[uint32]bool // scopes that contain group
	name    string
}

func (g *graph) query(anchors []Anchor, purpose, group string, at, arrived int64) *query {
	q := &query{g: g, group: group, at: at, alive: arrived - 7*day, anchors: anchors, in: map[uint32]bool{}, name: purpose}
	q.purpose, q.known = g.nameOf[purpose]
	return q
}

// counts says whether an edge gives the right asked for.
func (q *query) counts(e *edge) bool {
	if e.purpose != q.purpose || e.revoked || q.at < e.from || q.at >= e.until || e.until <= q.alive {
		return false
	}
	in, ok := q.in[e.scope]
	if !ok {
		in = InScope(q.g.names[e.scope], q.group)
		q.in[e.scope] = in
	}
	return in
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
				if q.g.nodes.at(e.subject).sub.Kind != SubjectID {
					set(e.subject, 0)
				} else if left > 0 {
					set(e.subject, min(left-1, int8(e.depth)))
				}
			}
		}
	}
	return best
}

// step is an arrow from a node to another that was found going backwards.
type step struct {
	to    uint32
	depth int8
	key   bool
}

// left returns the left of one node, or -1. It goes backwards from the subject
// over those that could have given it the right, which are few where trust has
// the shape of a tree, then forwards in falling order of left.
func (q *query) left(subject uint32) int8 {
	best := map[uint32]int8{}
	var queue [maxDepth + 1][]uint32
	steps := map[uint32][]step{}
	for todo := []uint32{subject}; len(todo) > 0; todo = todo[1:] {
		n := todo[0]
		best[n] = -1
		key := q.g.nodes.at(n).sub.Kind != SubjectID
		for at := q.g.nodes.at(n).in; at != 0 && q.known; {
			e := q.g.edges.at(at - 1)
			at = e.nextIn
			if !q.counts(e) {
				continue
			}
			if _, seen := steps[e.issuer]; !seen && e.issuer != subject {
				todo = append(todo, e.issuer)
			}
			steps[e.issuer] = append(steps[e.issuer], step{n, int8(e.depth), key})
		}
	}
	set := func(n uint32, left int8) {
		if old, in := best[n]; in && left > old {
			best[n] = left
			queue[left] = append(queue[left], n)
		}
	}
	q.start(set)
	for left := int8(maxDepth); left >= 0; left-- {
		for i := 0; i < len(queue[left]); i++ {
			n := queue[left][i]
			if best[n] != left {
				continue
			}
			for _, s := range steps[n] {
				if s.key {
					set(s.to, 0)
				} else if left > 0 {
					set(s.to, min(left-1, s.depth))
				}
			}
		}
	}
	return best[subject]
}
