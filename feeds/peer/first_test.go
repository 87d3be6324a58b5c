package peer

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// inGroup is a Config.First: what is filed in c.d.
func inGroup(n node) func(context.Context, spool.Seq) ([]spool.Entry, error) {
	return func(ctx context.Context, after spool.Seq) (out []spool.Entry, err error) {
		for e, err := range n.Since(ctx, after) {
			if err != nil {
				return nil, err
			}
			if slices.ContainsFunc(e.Places, func(p spool.Place) bool { return p.Group == "c.d" }) {
				out = append(out, e)
			}
		}
		return out, nil
	}
}

// TestFirst: to a peer that was away goes what overtakes the rest, and nothing else
// until it was answered; then all the rest, each once.
func TestFirst(t *testing.T) {
	for _, stream := range []bool{true, false} {
		t.Run(fmt.Sprint("stream ", stream), func(t *testing.T) {
			n, to, st := newNode(t), newNeighbour(t), &memory{}
			to.noStream = !stream
			var mu sync.Mutex
			var order []string
			answers := 0
			to.answer = func(verb, id string) string {
				mu.Lock()
				defer mu.Unlock()
				if verb == "TAKETHIS" || verb == "IHAVE" {
					order = append(order, id)
				}
				if answers++; answers == 4 {
					return "DROP" // while they are on their way: they come again, first
				}
				return ""
			}
			for i := range 400 {
				group := "a.b"
				if i == 3 || i == 200 || i == 399 { // in the queue, behind it, at the end
					group = "c.d"
				}
				n.add(i, "here!not-for-mail", article.Group(group))
			}
			f := New(Config{Spool: n, State: st, First: inGroup(n), RetryMin: time.Millisecond, RetryMax: 10 * time.Millisecond,
				DeferMin: time.Millisecond, DeferMax: time.Millisecond, SaveEvery: time.Millisecond, Farewell: 200 * time.Millisecond})
			if err := f.Set([]Peer{{Name: "p", Address: to.addr, Window: 8}}); err != nil {
				t.Fatal(err)
			}
			defer f.Stop()
			to.waitFor(400)
			f.Stop()
			mu.Lock()
			defer mu.Unlock()
			firsts := map[string]bool{"<3@x>": true, "<200@x>": true, "<399@x>": true}
			seen := map[string]bool{}
			for _, id := range order {
				if seen[id] = true; !firsts[id] && (!seen["<3@x>"] || !seen["<200@x>"] || !seen["<399@x>"]) {
					t.Fatalf("%s went before what goes first: %v", id, order[:8])
				}
			}
			if to.twice != 0 {
				t.Errorf("%d articles came twice", to.twice)
			}
			if c, _, err := loadCursor(st, "p", n); err != nil || c.Seq != 400 || len(c.Deferred) != 0 {
				t.Errorf("cursor %+v, %v", c, err)
			}
		})
	}
}

// TestFirstWhileOpen: what overtakes does so over a connection that is open already,
// with a backlog.
func TestFirstWhileOpen(t *testing.T) {
	const all, at = 600, 20
	n, to, st := newNode(t), newNeighbour(t), &memory{}
	n.addMany(0, all)
	late := fmt.Sprintf("<%d@x>", all)
	found := make(chan struct{})
	var once sync.Once
	first := func(ctx context.Context, after spool.Seq) ([]spool.Entry, error) {
		list, err := inGroup(n)(ctx, after)
		if len(list) > 0 {
			once.Do(func() { close(found) })
		}
		return list, err
	}
	var mu sync.Mutex
	var order []string
	to.answer = func(verb, id string) string {
		if verb != "TAKETHIS" {
			return ""
		}
		mu.Lock()
		order = append(order, id)
		now := len(order)
		mu.Unlock()
		if now == at { // it comes in the middle, and is looked for while this one waits
			n.add(all, "here!not-for-mail", "c.d")
			select {
			case <-found:
			case <-time.After(20 * time.Second):
				t.Error("it was not looked for")
			}
		}
		return ""
	}
	f := New(Config{Spool: n, State: st, First: first, SaveEvery: time.Millisecond, Farewell: 200 * time.Millisecond})
	if err := f.Set([]Peer{{Name: "p", Address: to.addr, Window: 8}}); err != nil {
		t.Fatal(err)
	}
	defer f.Stop()
	to.waitFor(all + 1)
	f.Stop()
	mu.Lock()
	defer mu.Unlock()
	if i := slices.Index(order, late); i < 0 || i > all/2 { // only what was on its way goes before
		t.Errorf("it went as number %d of %d", i, len(order))
	}
	if to.twice != 0 {
		t.Errorf("%d articles came twice", to.twice)
	}
	if c, _, err := loadCursor(st, "p", n); err != nil || c.Seq != all+1 || len(c.Deferred) != 0 {
		t.Errorf("cursor %+v, %v", c, err)
	}
}
