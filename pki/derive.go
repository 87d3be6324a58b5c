package pki

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/litfass/litfass/internal/state"
)

// derived is what the ledger knows of one identity besides its texts: the answer
// of Evaluate in short, and the arrows that count. It can be made again from the
// texts; bState keeps it so that a start need not read them all.
type derived struct {
	key    Key
	status Status
	chain  bool
	arrows []counting

	evidence []*Statement // of a fork or a second recovery; not kept
}

// counting is an arrow that counts, and when that lapses (0: with its until).
type counting struct {
	*Statement
	lapse int64
}

// slotOf names an arrow's slot within its issuer (§3.4).
func slotOf(s *Statement) string {
	h := sha256.Sum256([]byte(s.Purpose + "\n" + s.Subject.String() + "\n" + s.Scope))
	return string(h[:16])
}

// derive evaluates one identity from its rows.
func derive(id ID, events, arrows []Row) (derived, bool) {
	set := make([]*Statement, len(events))
	arrived := make(map[Digest]int64, len(events))
	for i, r := range events {
		set[i], arrived[r.Digest()] = r.Statement, r.Arrived
	}
	st := Evaluate(id, set)
	if st.Status == Unheard {
		return derived{}, false
	}
	d := derived{key: st.Key(), status: st.Status, chain: st.Terms[0].Event.Chain, evidence: st.Evidence}
	if d.chain || st.Status == Dead || st.Status == Retired {
		return d, true
	}
	slots := map[string][]Row{}
	for _, a := range arrows {
		slots[slotOf(a.Statement)] = append(slots[slotOf(a.Statement)], a)
	}
	for _, slot := range slots {
		if c, ok := winner(&st, arrived, slot); ok {
			d.arrows = append(d.arrows, c)
		}
	}
	slices.SortFunc(d.arrows, func(a, b counting) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), byDigest(a.Statement, b.Statement))
	})
	return d, true
}

// winner finds the arrow that counts in a slot (§3.4): by the current key, else,
// for 30 days, by a key that was rotated without bad-since.
func winner(st *State, arrived map[Digest]int64, slot []Row) (counting, bool) {
	latest := frozenAt(st, arrived) // an arrow must have arrived by then; 0: any time
	var lapse int64
	for i := len(st.Terms) - 1; i >= 0; i-- {
		t := st.Terms[i]
		if t.Undone {
			continue
		}
		if t.Ended != nil {
			if t.Ended.Type != TypeRotate || t.Ended.BadSince != nil {
				return counting{}, false
			}
			latest = arrived[t.Ended.Digest()]
			lapse = latest + arrowGrace
		}
		if s, any := newest(slot, t.Event.Key, latest); any {
			return counting{s, lapse}, s != nil
		}
	}
	return counting{}, false
}

// frozenAt is when the evidence of a fork was complete here, 0 if there is none.
func frozenAt(st *State, arrived map[Digest]int64) (at int64) {
	if st.Status != Frozen {
		return 0
	}
	for _, e := range st.Evidence {
		at = max(at, arrived[e.Digest()])
	}
	if st.Missing != nil {
		at = max(at, arrived[st.Missing.Digest()])
	}
	return at
}

// newest returns the arrow with the highest version by one key, nil if two differ
// there (the slot is empty), and whether that key signed any.
func newest(slot []Row, key Key, latest int64) (best *Statement, any bool) {
	tie := false
	for _, r := range slot {
		switch {
		case r.Sigs[0].Key != key || latest != 0 && r.Arrived > latest:
		case best == nil || r.Version > best.Version:
			best, tie = r.Statement, false
		case r.Version == best.Version && r.digest != best.digest:
			tie = true
		}
	}
	if tie {
		return nil, true
	}
	return best, best != nil
}

// bytes writes derived down for bState.
func (d *derived) bytes() []byte {
	b := append([]byte{1, byte(d.status), bit(d.chain)}, d.key[:]...)
	str := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	for _, c := range d.arrows {
		b = append(append(b, byte(c.Subject.Kind), c.Subject.Len), c.Subject.Hash[:]...)
		str(c.Purpose)
		str(c.Scope)
		str(c.Param)
		b = append(b, byte(min(c.Depth, maxDepth)), bit(c.Revoked), bit(c.BadSince != nil))
		bad := int64(0)
		if c.BadSince != nil {
			bad = *c.BadSince
		}
		for _, t := range [...]int64{c.From, c.Until, c.lapse, bad} {
			b = binary.AppendVarint(b, t)
		}
	}
	return b
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// cursor reads what derived.bytes wrote.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.bad = true
		return make([]byte, max(n, 0)&0xffff)
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) str() []byte {
	n, k := binary.Uvarint(c.b)
	if k <= 0 || n > uint64(len(c.b)) {
		c.bad = true
		return nil
	}
	c.b = c.b[k:]
	return c.take(int(n))
}

func (c *cursor) varint() int64 {
	n, k := binary.Varint(c.b)
	if k <= 0 {
		c.bad = true
		return 0
	}
	c.b = c.b[k:]
	return n
}

var errDerived = errors.New("a derived record is damaged")

// loadDerived puts one record of bState into the graph.
func (l *Ledger) loadDerived(id ID, raw []byte) error {
	c := &cursor{b: raw}
	if head := c.take(3 + 32); c.bad || head[0] != 1 {
		return errDerived
	} else {
		l.g.setKey(id, Key(head[3:]), Status(head[1]))
		if head[2] == 1 {
			l.chains[id] = true
		}
	}
	issuer := l.g.node(id.Subject())
	for len(c.b) > 0 && !c.bad {
		h := c.take(2 + 32)
		if c.bad {
			break
		}
		e := edge{issuer: issuer}
		sub := Subject{Kind: SubjectKind(h[0]), Len: h[1], Hash: [32]byte(h[2:])}
		e.purpose, e.scope, e.param = l.g.nameBytes(c.str()), l.g.nameBytes(c.str()), l.g.nameBytes(c.str())
		flags := c.take(3)
		if c.bad {
			break
		}
		e.depth, e.revoked, e.hasBad = flags[0], flags[1] == 1, flags[2] == 1
		var lapse, bad int64
		e.from, e.until, lapse, bad = c.varint(), c.varint(), c.varint(), c.varint()
		if lapse != 0 {
			e.until = min(e.until, lapse)
		}
		if e.hasBad {
			e.from = bad
		}
		e.subject = l.g.node(sub)
		l.g.add(e)
	}
	if c.bad {
		return errDerived
	}
	return nil
}

func (g *graph) nameBytes(b []byte) uint32 {
	if n, ok := g.nameOf[string(b)]; ok {
		return n
	}
	return g.name(string(b))
}

// load reads anchors and derived records.
func (l *Ledger) load() error {
	anchors, err := l.anchorTable().Get("list")
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		return err
	}
	l.anchors = anchors
	for _, a := range anchors {
		l.g.node(a.ID.Subject())
	}
	return l.db.View(func(tx *state.Tx) error {
		var err error
		tx.Each(bState, "", "", func(key string, raw []byte) bool {
			err = l.loadDerived(ID([]byte(key)), raw)
			return err == nil
		})
		return err
	})
}

// settle derives identities again within a transaction and writes what follows.
// When one that is reached comes to be frozen or dead, what conflicts is queued
// for posting: nobody can show one half here and the other half there (§3.3).
func settle(tx *state.Tx, ids map[ID]bool, reached func(ID) bool) (map[ID]*derived, error) {
	out := make(map[ID]*derived, len(ids))
	for id := range ids {
		events, err := rowsIn(tx, string(id[:])+"e")
		if err != nil {
			return nil, err
		}
		arrows, err := rowsIn(tx, string(id[:])+"a")
		if err != nil {
			return nil, err
		}
		d, ok := derive(id, events, arrows)
		if !ok {
			continue
		}
		was := tx.Get(bState, string(id[:]))
		if err := tx.Put(bState, string(id[:]), d.bytes()); err != nil {
			return nil, err
		}
		if len(d.evidence) > 0 && (len(was) < 2 || Status(was[1]) != d.status) && reached(id) {
			for _, s := range d.evidence {
				if err := tx.Put(bOut, string(tx.Get(bDigest, string(s.digest[:]))), []byte{1}); err != nil {
					return nil, err
				}
			}
		}
		out[id] = &d
	}
	return out, nil
}

// place puts what was derived into the graph.
func (l *Ledger) place(id ID, d *derived) {
	l.g.setKey(id, d.key, d.status)
	if d.chain {
		l.chains[id] = true
	}
	l.g.clear(l.g.node(id.Subject()))
	for _, c := range d.arrows {
		l.g.add(l.g.arrowEdge(c.Statement, c.lapse))
	}
}
