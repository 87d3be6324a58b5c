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
