package local

import (
	"bytes"
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// all reads the log after a Seq, and each article.
func all(t *testing.T, s *Spool, after spool.Seq) (es []spool.Entry, wires [][]byte) {
	t.Helper()
	for e, err := range s.Since(context.Background(), after) {
		if err != nil {
			t.Fatal(err)
		}
		a, err := s.Open(context.Background(), e.Seq)
		if err != nil {
			t.Fatal(err)
		}
		es, wires = append(es, e), append(wires, bytes.Clone(a.Wire()))
	}
	return es, wires
}

// What is remembered of the last commits is what the log says, also when some of it
// was removed.
func TestRecentIsTheLog(t *testing.T) {
	s, ctx := open(t, Config{Dir: t.TempDir()}), context.Background()
	if err := s.PutGroups(ctx, spool.GroupInfo{Name: "a.b"}, spool.GroupInfo{Name: "a.c"}); err != nil {
		t.Fatal(err)
	}
	same := func(after spool.Seq) {
		t.Helper()
		es, wires := all(t, s, after)
		if err := s.exclusive(ctx, s.freezeRest); err != nil {
			t.Fatal(err)
		}
		if len(s.recent.commits) > 0 {
			t.Fatal("recent was not let go of")
		}
		wantEs, wantWires := all(t, s, after)
		if !reflect.DeepEqual(es, wantEs) || !reflect.DeepEqual(wires, wantWires) {
			t.Errorf("after %d: %+v, the log says %+v", after, es, wantEs)
		}
	}
	for i := range 20 {
		mustPut(t, s, i, "a.b", "a.c")
	}
	if es, ok := s.recent.since(5); !ok || es[0].Seq != 6 {
		t.Errorf("%v, %v", es, ok)
	}
	same(0)
	for i := range 20 {
		mustPut(t, s, 20+i, "a.c")
	}
	if _, ok := s.recent.since(10); ok {
		t.Error("has what it let go of")
	}
	same(10) // partly of the log
	mustPut(t, s, 40, "a.b", "a.c")
	if err := s.Remove(ctx, 41, []article.Group{"a.b"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, 41, "a.b", "a.c")
	same(38)
	mustPut(t, s, 42, "a.b", "a.c")
	if err := s.DropGroup(ctx, "a.c"); err != nil {
		t.Fatal(err)
	}
	same(0)
}

// It stays within its bound, and without gaps.
func TestRecentIsBounded(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	if err := s.PutGroups(context.Background(), spool.GroupInfo{Name: "a.b"}); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		mustPut(t, s, i, "a.b")
		if s.recent.octets > recentOctets {
			t.Fatalf("%d octets", s.recent.octets)
		}
		if i == 30 {
			s.recent.octets += recentOctets - 3*entryOctets
		}
	}
	n := 0
	for at := s.recent.commits[0].first() - 1; at < 40; n++ {
		es, ok := s.recent.since(at)
		if !ok {
			t.Fatalf("nothing after %d", at)
		}
		at = es[len(es)-1].Seq
	}
	if n == 0 || n > 10 {
		t.Errorf("%d commits kept", n)
	}
}
