package spooltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// Random does steps random things, chosen by seed, to a spool and to a Mem, and
// compares what they answer. now and then reopen is called; it returns the spool
// to go on with, which must hold the same. The spool must be empty.
func Random(t testing.TB, seed uint64, steps int, s spool.Store, reopen func(spool.Store) spool.Store) {
	t.Helper()
	w := &world{rnd: rand.New(rand.NewPCG(seed, 7)), mem: NewMem(), s: s, base: Base()}
	for i := range steps {
		if err := w.step(); err != nil {
			t.Fatalf("seed %d, step %d: %v", seed, i, err)
		}
		if reopen != nil && w.rnd.IntN(60) == 0 {
			w.s = reopen(w.s)
			if err := Same(w.mem, w.s); err != nil {
				t.Fatalf("seed %d, step %d, opened again: %v", seed, i, err)
			}
		}
	}
	if reopen != nil {
		w.s = reopen(w.s)
	}
	if err := Same(w.mem, w.s); err != nil {
		t.Fatalf("seed %d, at the end: %v", seed, err)
	}
	if err := w.s.Close(); err != nil {
		t.Fatal(err)
	}
}

type world struct {
	rnd  *rand.Rand
	mem  *Mem
	s    spool.Store
	base time.Time
	n    int
}

func (w *world) group() article.Group { return article.Group(fmt.Sprintf("g.%d", w.rnd.IntN(5))) }

func (w *world) step() error {
	ctx := context.Background()
	until := time.Now().Add(time.Hour * time.Duration(1+w.rnd.IntN(100))).Truncate(time.Second)
	switch k := w.rnd.IntN(100); {
	case k < 55:
		return w.add()
	case k < 63:
		g := spool.GroupInfo{Name: w.group(), Status: spool.Moderated, Description: fmt.Sprint("d", w.rnd.IntN(9)), Created: w.base, Creator: "c",
			Keep: time.Duration(w.rnd.IntN(3)*w.rnd.IntN(9)) * 240 * time.Hour} // a spool may put those kept long elsewhere
		return w.both("PutGroups", func(s spool.Store) error { return s.PutGroups(ctx, g) })
	case k < 66:
		g := w.group()
		return w.both("DropGroup", func(s spool.Store) error { return s.DropGroup(ctx, g) })
	case k < 80:
		seq := spool.Seq(1 + w.rnd.IntN(int(w.mem.Last())+2))
		var from []article.Group
		for range w.rnd.IntN(3) {
			from = append(from, w.group())
		}
		return w.both("Remove", func(s spool.Store) error { return s.Remove(ctx, seq, from, until) })
	case k < 85:
		id := w.id()
		return w.both("Recall", func(s spool.Store) error { return s.Recall(ctx, id, until) })
	case k < 92:
		return w.look()
	}
	return nil
}

func (w *world) id() article.ID {
	return article.ID(fmt.Sprintf("<%d@test.example>", w.rnd.IntN(w.n+3)))
}

func (w *world) add() error {
	w.n++
	n := w.n
	if w.rnd.IntN(8) == 0 {
		n = w.rnd.IntN(w.n + 5) // often a duplicate
	}
	gs := []article.Group{w.group()}
	for w.rnd.IntN(3) == 0 {
		gs = append(gs, w.group())
	}
	in := spool.Arrival{Groups: gs, Via: spool.Via{How: spool.Relayed, Peer: "p"}, At: w.base.Add(time.Duration(w.n) * time.Second)}
	a := Article(n, 200+w.rnd.IntN(1500), gs...)
	var es []spool.Entry
	err := w.both("Add", func(s spool.Store) error {
		e, err := s.Add(context.Background(), a, in)
		es = append(es, e)
		return err
	})
	if err == nil && !reflect.DeepEqual(es[0], es[1]) {
		err = fmt.Errorf("added as %+v, the model says %+v", es[1], es[0])
	}
	return err
}

// both does it to the model, then to the spool.
func (w *world) both(what string, do func(spool.Store) error) error {
	want, got := do(w.mem), do(w.s)
	for _, e := range []error{spool.ErrDuplicate, spool.ErrNotFound} {
		if errors.Is(want, e) != errors.Is(got, e) {
			return fmt.Errorf("%s: %v, the model says %v", what, got, want)
		}
	}
	if (want == nil) != (got == nil) {
		return fmt.Errorf("%s: %v, the model says %v", what, got, want)
	}
	return nil
}

func (w *world) look() error {
	ctx := context.Background()
	id := w.id()
	a, _ := w.mem.Lookup(ctx, id)
	b, err := w.s.Lookup(ctx, id)
	if a != b || err != nil {
		return fmt.Errorf("Lookup %s: %v %v, the model says %v", id, b, err, a)
	}
	at := w.base.Add(time.Duration(w.rnd.IntN(w.n+2)) * time.Second)
	x, _ := w.mem.SeqAt(ctx, at)
	y, err := w.s.SeqAt(ctx, at)
	if err != nil || len(after(w.mem, x)) != len(after(w.s, y)) {
		return fmt.Errorf("SeqAt %v: %d %v, the model says %d", at, y, err, x)
	}
	lo := uint64(w.rnd.IntN(20))
	return sameRange(w.mem, w.s, w.group(), lo, lo+uint64(w.rnd.IntN(20)))
}

// after returns what came after seq. Where the articles around it are gone, spools
// may say different Seqs that mean the same.
func after(s spool.Store, seq spool.Seq) []pair[spool.Entry] {
	return collect(s.Since(context.Background(), seq))
}

// Same says where two spools differ, nil if nowhere: groups, ranges, logs,
// entries, octets, history.
func Same(a, b spool.Store) error {
	ctx := context.Background()
	ga, gb := collect(a.Groups(ctx)), collect(b.Groups(ctx))
	if !reflect.DeepEqual(ga, gb) {
		return fmt.Errorf("groups are %+v, want %+v", gb, ga)
	}
	for _, g := range ga {
		if err := sameRange(a, b, g.v.Name, 0, 1<<62); err != nil {
			return err
		}
	}
	la, lb := collect(a.Since(ctx, 0)), collect(b.Since(ctx, 0))
	if len(la) != len(lb) {
		return fmt.Errorf("the log holds %d articles, want %d", len(lb), len(la))
	}
	for i := range la {
		if !reflect.DeepEqual(la[i], lb[i]) {
			return fmt.Errorf("in the log: %+v, want %+v", lb[i], la[i])
		}
		if err := sameArticle(a, b, la[i].v); err != nil {
			return err
		}
	}
	if m, ok := a.(*Mem); ok {
		return m.sameHistory(b)
	}
	return nil
}

func (m *Mem) sameHistory(b spool.Store) error {
	m.mu.Lock()
	want := map[article.ID]spool.State{}
	for id := range m.ids {
		want[id] = m.state(id)
	}
	m.mu.Unlock()
	for id, st := range want {
		if got, err := b.Lookup(context.Background(), id); got != st || err != nil {
			return fmt.Errorf("history of %s: %v %v, want %v", id, got, err, st)
		}
	}
	return nil
}

func sameArticle(a, b spool.Store, e spool.Entry) error {
	ctx := context.Background()
	x, err := a.Open(ctx, e.Seq)
	if err != nil {
		return err
	}
	y, err := b.Open(ctx, e.Seq)
	if err != nil {
		return fmt.Errorf("open %d: %w", e.Seq, err)
	}
	if !bytes.Equal(x.Wire(), y.Wire()) || x.Overview() != y.Overview() || x.HeadLen() != y.HeadLen() {
		return fmt.Errorf("article %d differs", e.Seq)
	}
	for _, get := range []func(spool.Store) (spool.Entry, error){
		func(s spool.Store) (spool.Entry, error) { return s.ByID(ctx, e.ID) },
		func(s spool.Store) (spool.Entry, error) { return s.ByNumber(ctx, e.Places[len(e.Places)-1]) },
	} {
		p, _ := get(a)
		q, err := get(b)
		if err != nil || !reflect.DeepEqual(p, q) {
			return fmt.Errorf("entry %+v (%v), want %+v", q, err, p)
		}
	}
	return nil
}

func sameRange(a, b spool.Store, g article.Group, lo, hi uint64) error {
	ctx := context.Background()
	x, y := collect(a.Range(ctx, g, lo, hi)), collect(b.Range(ctx, g, lo, hi))
	if !slices.EqualFunc(x, y, func(p, q pair[spool.Entry]) bool {
		return reflect.DeepEqual(p.v, q.v) && (p.err == nil) == (q.err == nil)
	}) {
		return fmt.Errorf("range %s %d-%d:\n%+v, want\n%+v", g, lo, hi, y, x)
	}
	n, m := collect(a.Numbers(ctx, g, lo, hi)), collect(b.Numbers(ctx, g, lo, hi))
	if !slices.EqualFunc(n, m, func(p, q pair[uint64]) bool { return p.v == q.v && (p.err == nil) == (q.err == nil) }) {
		return fmt.Errorf("numbers %s %d-%d: %v, want %v", g, lo, hi, m, n)
	}
	k, l := collect(a.List(ctx, g, lo, hi)), collect(b.List(ctx, g, lo, hi))
	if !slices.EqualFunc(k, l, func(p, q pair[spool.Listed]) bool {
		more := q.v.Crossposted && !p.v.Crossposted // it may say so of what was removed elsewhere
		p.v.Crossposted = p.v.Crossposted || more
		return p.v == q.v && (p.err == nil) == (q.err == nil)
	}) {
		return fmt.Errorf("list %s %d-%d:\n%+v, want\n%+v", g, lo, hi, l, k)
	}
	return nil
}

type pair[T any] struct {
	v   T
	err error
}

func collect[T any](seq func(func(T, error) bool)) (out []pair[T]) {
	for v, err := range seq {
		out = append(out, pair[T]{v, err})
	}
	return out
}
