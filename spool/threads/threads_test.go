package threads

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/spool"
)

// log is a spool of overview lines.
type log struct{ all []spool.Entry }

func (l *log) ByID(_ context.Context, id article.ID) (spool.Entry, error) {
	for _, e := range l.all {
		if e.ID == id {
			return e, nil
		}
	}
	return spool.Entry{}, spool.ErrNotFound
}

func (l *log) Since(_ context.Context, after spool.Seq) iter.Seq2[spool.Entry, error] {
	return func(yield func(spool.Entry, error) bool) {
		for _, e := range l.all {
			if e.Seq > after && !yield(e, nil) {
				return
			}
		}
	}
}

func (l *log) SpoolID() string { return "test" }

func (l *log) Last() spool.Seq {
	if len(l.all) == 0 {
		return 0
	}
	return l.all[len(l.all)-1].Seq
}

var base = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// add stores an article "id subject refs..." in groups.
func (l *log) add(id, subject, groups string, refs ...string) spool.Entry {
	n := len(l.all) + 1
	e := spool.Entry{Seq: spool.Seq(n), Arrived: base.Add(time.Duration(n) * time.Minute)}
	e.ID, e.Subject, e.From = article.ID("<"+id+"@x>"), subject, id+" <"+id+"@x>"
	e.Date = article.FormatDate(e.Arrived)
	for _, g := range strings.Fields(groups) {
		e.Places = append(e.Places, spool.Place{Group: article.Group(g), Number: uint64(n)})
	}
	var rs []string
	for _, r := range refs {
		rs = append(rs, "<"+r+"@x>")
	}
	e.References = strings.Join(rs, " ")
	l.all = append(l.all, e)
	return e
}

func open(t testing.TB, dir string, l *log) (*Index, *state.DB) {
	t.Helper()
	db, _, err := state.OpenCache(filepath.Join(dir, "cache.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	x, err := Open(db, l)
	if err != nil {
		t.Fatal(err)
	}
	return x, db
}

func feed(t testing.TB, x *Index, es ...spool.Entry) {
	t.Helper()
	for _, e := range es {
		if err := x.Follow(context.Background(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// threads writes a group's list as "root(count)", and a thread as its tree.
func threadsOf(t *testing.T, x *Index, g article.Group) string {
	t.Helper()
	list, _, err := x.List(context.Background(), g, Active, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, th := range list {
		_, posts, err := x.Thread(context.Background(), th.Root)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%d:%s", th.Posts, draw(Tree(posts))))
	}
	return strings.Join(out, " ")
}

func draw(ns []*Node) string {
	var out []string
	for _, n := range ns {
		s := strings.TrimSuffix(n.ID.Bare(), "@x")
		if n.Seq == 0 {
			s = "?" + s
		}
		if len(n.Kids) > 0 {
			s += "(" + draw(n.Kids) + ")"
		}
		out = append(out, s)
	}
	return strings.Join(out, ",")
}

func TestJoining(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(l *log)
		want string
	}{
		{"a chain", func(l *log) { l.add("a", "s", "g"); l.add("b", "Re: s", "g", "a"); l.add("c", "Re: s", "g", "a", "b") }, "3:a(b(c))"},
		{"two, the latest first", func(l *log) { l.add("a", "s", "g"); l.add("b", "t", "g"); l.add("c", "Re: s", "g", "a") }, "2:a(c) 1:b"},
		{"a ghost root", func(l *log) { l.add("b", "Re: s", "g", "a"); l.add("c", "Re: s", "g", "a") }, "2:?a(b,c)"},
		{"a ghost with one answer is not shown", func(l *log) { l.add("b", "Re: s", "g", "a") }, "1:b"},
		{"the root comes late", func(l *log) { l.add("b", "Re: s", "g", "a"); l.add("a", "s", "g") }, "2:a(b)"},
		{"a ghost in the middle", func(l *log) {
			l.add("a", "s", "g")
			l.add("c", "Re: s", "g", "a", "b")
			l.add("d", "Re: s", "g", "a", "b")
		}, "3:a(?b(c,d))"},
		{"the middle comes late and joins", func(l *log) { l.add("a", "s", "g"); l.add("c", "x", "g", "b"); l.add("b", "Re: s", "g", "a") }, "3:a(b(c))"},
		{"a longer chain joins", func(l *log) { l.add("c", "x", "g", "b"); l.add("d", "x", "g", "a", "b", "c") }, "2:c(d)"},
		{"by subject without references", func(l *log) { l.add("a", "Hello  World", "g"); l.add("b", "Re: hello world", "g") }, "2:a(b)"},
		{"the same subject is no answer", func(l *log) { l.add("a", "s", "g"); l.add("b", "s", "g") }, "1:b 1:a"},
		{"each answers the other", func(l *log) { l.add("a", "s", "g", "b"); l.add("b", "s", "g", "a") }, "2:?"},
		{"itself", func(l *log) { l.add("a", "s", "g", "a") }, "1:a"},
		{"other groups", func(l *log) { l.add("a", "s", "g h"); l.add("b", "Re: s", "h", "a") }, "2:a(b)"},
	} {
		l := &log{}
		c.do(l)
		x, _ := open(t, t.TempDir(), l)
		feed(t, x, l.all...)
		got := threadsOf(t, x, "g")
		if c.want == "2:?" {
			if !strings.HasPrefix(got, "2:") || strings.Count(got, "a") != 1 || strings.Count(got, "b") != 1 {
				t.Errorf("%s: %s", c.name, got)
			}
			continue
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestPagesAndOrders(t *testing.T) {
	l := &log{}
	for i := range 25 {
		l.add(fmt.Sprint("a", i), "s", "g")
	}
	l.add("late", "Re: s", "g", "a3")
	x, _ := open(t, t.TempDir(), l)
	feed(t, x, l.all...)
	for o, first := range map[Order]string{Active: "<a3@x>", Newest: "<a24@x>"} {
		var all []article.ID
		from := ""
		for pages := 0; pages < 10; pages++ {
			list, next, err := x.List(context.Background(), "g", o, from, 10)
			if err != nil {
				t.Fatal(err)
			}
			for _, th := range list {
				all = append(all, th.Root)
			}
			if from = next; next == "" {
				break
			}
		}
		if len(all) != 25 || string(all[0]) != first {
			t.Errorf("order %d: %d threads, first %s", o, len(all), all[0])
		}
		slices.Sort(all)
		if len(slices.Compact(all)) != 25 {
			t.Errorf("order %d: threads on two pages", o)
		}
	}
	if _, _, err := x.List(context.Background(), "g", Active, "zz", 10); err != ErrPage {
		t.Error(err)
	}
	if list, _, err := x.List(context.Background(), "none", Active, "", 10); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
}

func TestCrashAndRebuild(t *testing.T) {
	l := &log{}
	for i := range 10 {
		l.add(fmt.Sprint("a", i), "s", "g")
	}
	dir := t.TempDir()
	x, db := open(t, dir, l)
	feed(t, x, l.all[:4]...)
	if err := x.Flush(); err != nil {
		t.Fatal(err)
	}
	feed(t, x, l.all[4:8]...) // lost: not written down
	db.Close()
	x, db = open(t, dir, l)
	if x.Done() != 4 {
		t.Fatalf("done is %d", x.Done())
	}
	feed(t, x, l.all[8], l.all[9], l.all[2], l.all[9]) // the follower's cursor had passed 8; repeats do nothing
	if list, _, err := x.List(context.Background(), "g", Active, "", 100); err != nil || len(list) != 10 {
		t.Errorf("%d threads, %v", len(list), err)
	}
	db.Close()
	other := &log{all: l.all[:2]} // the spool was made anew: the index begins again
	x, _ = open(t, dir, other)
	if x.Done() != 0 {
		t.Errorf("done is %d", x.Done())
	}
}

func TestGone(t *testing.T) {
	l := &log{}
	l.add("a", "spam", "g")
	l.add("b", "s", "g")
	l.add("c", "Re: s", "g", "b")
	x, _ := open(t, t.TempDir(), l)
	feed(t, x, l.all...)
	l.all = []spool.Entry{l.all[2]} // a and b were cancelled
	if got := threadsOf(t, x, "g"); got != "2:b(c)" {
		t.Errorf("%s", got)
	}
	list, _, _ := x.List(context.Background(), "g", Active, "", 10)
	if len(list) != 1 || list[0].Subject != "Re: s" {
		t.Errorf("%+v", list)
	}
	if n, err := x.Sweep(context.Background()); err != nil || n != 2 {
		t.Errorf("%d %v", n, err)
	}
	if got := threadsOf(t, x, "g"); got != "1:c" {
		t.Errorf("%s", got)
	}
}

func TestFindAndForget(t *testing.T) {
	l := &log{}
	l.add("a", "s", "g")
	l.add("b", "Re: s", "g h", "a")
	l.add("c", "Re: s", "g", "b")
	x, _ := open(t, t.TempDir(), l)
	feed(t, x, l.all...)
	for _, id := range []article.ID{"<a@x>", "<c@x>"} {
		row, err := x.Find(context.Background(), "h", id)
		if err != nil || row.Root != "<a@x>" || row.Posts != 3 || row.High != 2 {
			t.Errorf("%s: %+v %v", id, row, err)
		}
	}
	if _, err := x.Find(context.Background(), "g", "<none@x>"); !errors.Is(err, spool.ErrNotFound) {
		t.Errorf("of none: %v", err)
	}
	l.all = l.all[1:]
	for range 2 {
		if err := x.Forget("<a@x>"); err != nil {
			t.Fatal(err)
		}
	}
	if row, err := x.Find(context.Background(), "g", "<c@x>"); err != nil || row.Posts != 2 || row.Root != "<a@x>" {
		t.Errorf("%+v %v", row, err)
	}
	if err := x.Forget("<none@x>"); err != nil {
		t.Error(err)
	}
}

// TestStamp: it changes with whatever happens to a thread, and only then.
func TestStamp(t *testing.T) {
	l := &log{}
	l.add("a", "s", "g")
	l.add("b", "Re: s", "g h", "a")
	x, _ := open(t, t.TempDir(), l)
	feed(t, x, l.all...)
	last := ""
	look := func(id article.ID, changed bool) {
		t.Helper()
		for range 2 { // looked up, and remembered
			root, stamp, err := x.Stamp(id)
			if err != nil || root != "<a@x>" || changed == (stamp == last) {
				t.Fatalf("%s: %s, %q after %q, %v", id, root, stamp, last, err)
			}
			last, changed = stamp, false
		}
	}
	look("<a@x>", true)
	look("<b@x>", false)
	l.add("other", "elsewhere", "g")
	feed(t, x, l.all[2])
	look("<b@x>", false)
	l.add("c", "Re: s", "g", "b")
	feed(t, x, l.all[3])
	look("<a@x>", true)
	l.all = l.all[:3]
	if err := x.Forget("<c@x>"); err != nil {
		t.Fatal(err)
	}
	look("<b@x>", true)
	if _, _, err := x.Stamp("<none@x>"); !errors.Is(err, spool.ErrNotFound) {
		t.Errorf("of none: %v", err)
	}
}

func TestHurry(t *testing.T) {
	l := &log{}
	for i := range 10 {
		l.add(fmt.Sprint("a", i), "s", "g")
	}
	x, _ := open(t, t.TempDir(), l)
	if err := x.Hurry(context.Background(), 10, 5); err != nil || x.Mark() != 0 {
		t.Errorf("too far ahead: %d %v", x.Mark(), err)
	}
	if err := x.Hurry(context.Background(), 4, 5); err != nil || x.Mark() != 4 {
		t.Errorf("%d %v", x.Mark(), err)
	}
	feed(t, x, l.all...) // the follower comes later and repeats
	if list, _, err := x.List(context.Background(), "g", Active, "", 100); err != nil || len(list) != 10 {
		t.Errorf("%d threads, %v", len(list), err)
	}
}

func TestBySigner(t *testing.T) {
	l := &log{}
	for i := range 5 {
		l.add(fmt.Sprint("a", i), "s", "g")
		l.all[i].Proof = article.Proof{State: article.ProofHolds, Identity: "me"}
	}
	l.all[4].Proof.State = article.ProofInvalid
	x, _ := open(t, t.TempDir(), l)
	feed(t, x, l.all...)
	list, next, err := x.BySigner(context.Background(), "me", "", 3)
	if err != nil || len(list) != 3 || list[0].ID != "<a3@x>" {
		t.Fatalf("%v %v", list, err)
	}
	if list, next, err = x.BySigner(context.Background(), "me", next, 3); err != nil || len(list) != 1 || next != "" {
		t.Errorf("%v %q %v", list, next, err)
	}
}

// Whatever the references, in whatever order articles come: each is in exactly
// one thread, and its thread holds it.
// Loops are cut and lose nobody; a thread of one long chain is no more work than others.
func TestTree(t *testing.T) {
	for _, parents := range []string{"0", "1", "21", "231", "2342", "011", "5432", "2143"} { // of posts 1, 2, 3, ...
		var list []Post
		for i, parent := range parents {
			p := Post{ID: article.ID(fmt.Sprint(i + 1)), Seq: spool.Seq(i + 1), When: time.Unix(int64(i), 0)}
			if parent != '0' {
				p.Parent = article.ID(string(parent))
			}
			list = append(list, p)
		}
		tree := Tree(list)
		if n := len(Walk(tree)); n != len(list) {
			t.Errorf("%s: %d of %d are in the tree", parents, n, len(list))
		}
		seen := map[*Node]bool{}
		for _, n := range Walk(tree) {
			if seen[n] {
				t.Errorf("%s: %s twice", parents, n.ID)
			}
			seen[n] = true
		}
	}
	chain := make([]Post, 100_000)
	for i := range chain {
		chain[i] = Post{ID: article.ID(fmt.Sprint(i + 1)), Parent: article.ID(fmt.Sprint(i)), Seq: spool.Seq(i + 1), When: time.Unix(int64(i), 0)}
	}
	for i, n := range Walk(Tree(chain)) {
		if n.Depth != i || n.Seq != spool.Seq(i+1) {
			t.Fatalf("place %d: %s at depth %d", i, n.ID, n.Depth)
		}
	}
}

func FuzzJoining(f *testing.F) {
	f.Add([]byte{1, 0x20, 0x31, 0x12, 0x43})
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 40 {
			return
		}
		l := &log{}
		for i, b := range in {
			refs := []string{}
			for k := range int(b >> 6) {
				refs = append(refs, fmt.Sprint((int(b)>>uint(k*2))%max(1, len(in))))
			}
			l.add(fmt.Sprint(i*7%len(in), map[bool]string{true: "", false: "d"}[len(in)%7 != 0], i/len(in)), "s", "g", refs...)
			l.all[i].ID = article.ID(fmt.Sprintf("<%d@x>", (i*7+int(b))%251*1000+i))
			if i%3 > 0 {
				l.all[i].ID = article.ID(fmt.Sprintf("<%d@x>", len(in)-i))
			}
		}
		seen := map[article.ID]bool{}
		kept := l.all[:0]
		for _, e := range l.all {
			if !seen[e.ID] {
				seen[e.ID] = true
				kept = append(kept, e)
			}
		}
		l.all = kept
		x, _ := open(t, t.TempDir(), l)
		feed(t, x, l.all...)
		count := map[article.ID]int{}
		list, _, err := x.List(context.Background(), "g", Active, "", 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, th := range list {
			_, posts, err := x.Thread(context.Background(), th.Root)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, node := range Walk(Tree(posts)) {
				if node.Seq != 0 {
					n++
					count[node.ID]++
				}
			}
			if n != th.Posts {
				t.Fatalf("thread %s says %d, holds %d", th.Root, th.Posts, n)
			}
		}
		for _, e := range l.all {
			if count[e.ID] != 1 {
				t.Fatalf("%s is shown %d times", e.ID, count[e.ID])
			}
		}
	})
}
