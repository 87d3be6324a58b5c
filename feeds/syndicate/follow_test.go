package syndicate

import (
	"context"
	"fmt"
	"testing"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// brought is an entry of a feed, as a neighbour's article.
func brought(c *clock, address string, seq int) spool.Entry {
	id := messageID(entryKey(address, fmt.Sprint(seq)), "aaaaaaaa", feedKey(address))
	return spool.Entry{Seq: spool.Seq(seq), Overview: article.Overview{ID: id}, Arrived: c.now(), Via: spool.Via{How: spool.Relayed}}
}

// ended is a spool whose log ends somewhere.
type ended struct {
	spool.Store
	last spool.Seq
}

func (e ended) Last() spool.Seq { return e.last }

// follows is a node with one feed, whose log will end at last.
func follows(t testing.TB, last spool.Seq) (n *node, c *clock, feed string) {
	t.Helper()
	c, feed = &clock{}, "http://o.example/feed.xml"
	c.at.Store(1_800_000_000)
	n = newNode(t, c, "n")
	if err := n.polls.add(map[string]Poll{feed: {URL: feed, Group: "mesh.news", Every: defaultInterval, Next: c.now()}}); err != nil {
		t.Fatal(err)
	}
	n.learn(feed)
	n.cfg.Spool = ended{n.store, last}
	return n, c, feed
}

// TestHeardTogether: entries that come in a row are written down together, count before
// that, and the cursor stays behind what is only in memory.
func TestHeardTogether(t *testing.T) {
	const end = maxHeard + 10
	n, c, feed := follows(t, end)
	key := func(seq int) string { return feedKey(feed) + "/" + entryKey(feed, fmt.Sprint(seq)) }
	for seq := 1; seq <= end; seq++ {
		if err := n.Follow(t.Context(), brought(c, feed, seq)); err != nil {
			t.Fatal(err)
		}
		if _, err := n.seen.Get(key(1)); (err == nil) != (seq >= maxHeard) {
			t.Fatalf("after %d: %v", seq, err)
		}
		if _, known, err := n.known(key(seq), nil); !known || err != nil {
			t.Fatalf("entry %d is not known: %v", seq, err)
		}
		done := spool.Seq(0)
		switch {
		case seq == end:
			done = end
		case seq >= maxHeard:
			done = maxHeard
		}
		if got := n.Done(); got != done {
			t.Fatalf("after %d: done %d, want %d", seq, got, done)
		}
	}
	if v, _ := n.polls.get(feed); !v.Next.After(c.now()) {
		t.Error("the poll is not put off")
	}
}

// TestHeardIsOlder: what our own poll saw meanwhile is not written over, and Flush
// leaves nothing.
func TestHeardIsOlder(t *testing.T) {
	n, c, feed := follows(t, 9)
	for seq := 1; seq <= 2; seq++ {
		if err := n.Follow(t.Context(), brought(c, feed, seq)); err != nil {
			t.Fatal(err)
		}
	}
	key := feedKey(feed) + "/" + entryKey(feed, "1")
	if err := n.remember(marks{key: {Version: "bbbbbbbb"}}); err != nil {
		t.Fatal(err)
	}
	if err := n.Flush(); err != nil {
		t.Fatal(err)
	}
	if s, err := n.seen.Get(key); err != nil || s.Version != "bbbbbbbb" {
		t.Errorf("%+v, %v", s, err)
	}
	if n.Done() != 2 {
		t.Errorf("done %d after Flush", n.Done())
	}
}

// BenchmarkFollow is a thousand entries of one feed that come from a neighbour at once.
func BenchmarkFollow(b *testing.B) {
	n, c, feed := follows(b, 1000)
	for b.Loop() {
		for seq := 1; seq <= 1000; seq++ {
			if err := n.Follow(context.Background(), brought(c, feed, seq)); err != nil {
				b.Fatal(err)
			}
		}
	}
}
