package threads

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// hash names an article in the tables.
type hash [16]byte

func hashOf(id article.ID) hash { return id.Hash() }

// art is a row of threads.art.
type art struct {
	id      article.ID
	seq     spool.Seq // 0: a ghost, known from References only
	root    hash
	parent  hash // zero: none
	when    int64
	from    string
	subject string
	signer  string
	places  []spool.Place
}

// info is a row of threads.info.
type info struct {
	root     article.ID
	subject  string // of the root, or of the oldest article if that is a ghost
	from     string
	first    int64
	last     int64
	lastFrom string
	lastID   article.ID
	posts    uint64
	groups   []inGroup
}

// inGroup is a thread's share of a group, and under which times it stands in
// threads.group and threads.born.
type inGroup struct {
	group      article.Group
	posts      uint64
	last, born int64
	high       uint64 // highest number
}

var errRow = errors.New("a row of the thread index cannot be read")

type writer []byte

func (w *writer) num(n uint64) { *w = binary.AppendUvarint(*w, n) }
func (w *writer) time(t int64) { *w = binary.AppendVarint(*w, t) }
func (w *writer) str(s string) { w.num(uint64(len(s))); *w = append(*w, s...) }
func (w *writer) hash(h hash)  { *w = append(*w, h[:]...) }

type reader struct {
	b   []byte
	bad bool
}

func (r *reader) num() uint64 {
	n, k := binary.Uvarint(r.b)
	if k <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[k:]
	return n
}

func (r *reader) time() int64 {
	n, k := binary.Varint(r.b)
	if k <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[k:]
	return n
}

func (r *reader) str() string {
	n := r.num()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *reader) hash() (h hash) {
	if len(r.b) < len(h) {
		r.bad, r.b = true, nil
		return h
	}
	copy(h[:], r.b)
	r.b = r.b[len(h):]
	return h
}

func (a *art) encode() []byte {
	var w writer
	w.str(string(a.id))
	w.num(uint64(a.seq))
	w.hash(a.root)
	w.hash(a.parent)
	if a.seq == 0 {
		return w
	}
	w.time(a.when)
	w.str(a.from)
	w.str(a.subject)
	w.str(a.signer)
	w.num(uint64(len(a.places)))
	for _, p := range a.places {
		w.str(string(p.Group))
		w.num(p.Number)
	}
	return w
}

func decodeArt(b []byte) (*art, error) {
	r := reader{b: b}
	a := &art{id: article.ID(r.str()), seq: spool.Seq(r.num()), root: r.hash(), parent: r.hash()}
	if a.seq != 0 {
		a.when, a.from, a.subject, a.signer = r.time(), r.str(), r.str(), r.str()
		for n := r.num(); n > 0 && !r.bad; n-- {
			a.places = append(a.places, spool.Place{Group: article.Group(r.str()), Number: r.num()})
		}
	}
	if r.bad {
		return nil, errRow
	}
	return a, nil
}

func (t *info) encode() []byte {
	var w writer
	w.str(string(t.root))
	w.str(t.subject)
	w.str(t.from)
	w.time(t.first)
	w.time(t.last)
	w.str(t.lastFrom)
	w.str(string(t.lastID))
	w.num(t.posts)
	w.num(uint64(len(t.groups)))
	for _, g := range t.groups {
		w.str(string(g.group))
		w.num(g.posts)
		w.time(g.last)
		w.time(g.born)
		w.num(g.high)
	}
	return w
}

func decodeInfo(b []byte) (*info, error) {
	r := reader{b: b}
	t := &info{root: article.ID(r.str()), subject: r.str(), from: r.str(), first: r.time(), last: r.time(), lastFrom: r.str(), lastID: article.ID(r.str()), posts: r.num()}
	for n := r.num(); n > 0 && !r.bad; n-- {
		t.groups = append(t.groups, inGroup{group: article.Group(r.str()), posts: r.num(), last: r.time(), born: r.time(), high: r.num()})
	}
	if r.bad {
		return nil, errRow
	}
	return t, nil
}

func (t *info) in(g article.Group) *inGroup {
	for i := range t.groups {
		if t.groups[i].group == g {
			return &t.groups[i]
		}
	}
	t.groups = append(t.groups, inGroup{group: g})
	return &t.groups[len(t.groups)-1]
}

// listKey orders a group's threads, the latest first.
func listKey(g article.Group, when int64, root hash) string {
	b := append([]byte(g), 0)
	b = binary.BigEndian.AppendUint64(b, ^uint64(when+1<<62))
	return string(append(b, root[:]...))
}

func listRow(key string, g article.Group) (when int64, root hash, ok bool) {
	k := key[min(len(g)+1, len(key)):]
	if len(k) != 8+len(root) {
		return 0, root, false
	}
	when = int64(^binary.BigEndian.Uint64([]byte(k[:8]))) - 1<<62
	copy(root[:], k[8:])
	return when, root, true
}

func postKey(root hash, seq spool.Seq) string {
	return string(binary.BigEndian.AppendUint64(root[:], uint64(seq)))
}

func signerKey(identity string, when int64, seq spool.Seq) string {
	b := binary.BigEndian.AppendUint64([]byte(identity+"\x00"), ^uint64(when+1<<62))
	return string(binary.BigEndian.AppendUint64(b, uint64(seq)))
}

// when is the time by which an article is sorted: its Date, but not later than it
// came, so that nothing stays on top by a wrong clock.
func when(e spool.Entry) int64 {
	at := e.Arrived.Unix()
	if d, err := article.ParseDate(e.Date); err == nil && d.Unix() < at && d.Unix() > 0 {
		return d.Unix()
	}
	return max(at, 0)
}

func unix(t int64) time.Time { return time.Unix(t, 0).UTC() }
