package spooltest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// Article makes an article with this number in its Message-ID, of about size octets.
func Article(n, size int, groups ...article.Group) *article.Article {
	return ArticleID(fmt.Sprintf("<%d@test.example>", n), size, groups...)
}

// ArticleID is Article with a Message-ID of one's own.
func ArticleID(id string, size int, groups ...article.Group) *article.Article {
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = string(g)
	}
	head := "Path: a.example!b.example!not-for-mail\r\nFrom: T <t@test.example>\r\nNewsgroups: " + strings.Join(names, ",") +
		"\r\nSubject: test " + id[1:len(id)-1] + "\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: " + id +
		"\r\nReferences: <parent@test.example>\r\n\r\n"
	var b bytes.Buffer
	b.WriteString(head)
	for line := 0; b.Len() < size; line++ {
		fmt.Fprintf(&b, "line %d of %s, and something more to fill it up\r\n", line, id)
	}
	b.WriteString("..a line that begins with a dot\r\n.\r\n")
	a, err := article.Parse(b.Bytes(), article.Limits{Article: 16 << 20})
	if err != nil {
		panic("spooltest: " + err.Error())
	}
	return a
}

// Base is the time at which articles of the suite begin to arrive.
func Base() time.Time { return time.Now().Add(-2 * time.Hour).Truncate(time.Second).UTC() }

// Run checks that what open returns, an empty spool each time, keeps the
// contract of spool.Store. The suite closes it.
func Run(t *testing.T, open func() spool.Store) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, spool.Store)
	}{
		{"add", testAdd}, {"duplicates", testDuplicates}, {"crosspost", testCrosspost}, {"remove", testRemove},
		{"recall", testRecall}, {"groups", testGroups}, {"regrown group", testRegrown}, {"ranges", testRanges},
		{"since", testSince}, {"seqat", testSeqAt}, {"wait", testWait}, {"proof", testProof},
		{"racing", testRacing}, {"racing same id", testRacingSame}, {"order", testOrder}, {"closed", testClosed},
		{"removed in loop", testRemovedInLoop},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open()
			defer s.Close()
			c.run(t, s)
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func groups(t testing.TB, s spool.Store, names ...article.Group) {
	t.Helper()
	for _, g := range names {
		must(t, s.PutGroups(context.Background(), spool.GroupInfo{Name: g, Status: spool.PostOpen}))
	}
}

func add(t testing.TB, s spool.Store, n int, gs ...article.Group) spool.Entry {
	t.Helper()
	e, err := s.Add(context.Background(), Article(n, 600, gs...), spool.Arrival{Groups: gs,
		Via: spool.Via{How: spool.Relayed, Peer: "p"}, At: Base().Add(time.Duration(n) * time.Second)})
	must(t, err)
	return e
}

func numbers(t testing.TB, s spool.Store, g article.Group) (out []uint64) {
	t.Helper()
	for n, err := range s.Numbers(context.Background(), g, 0, 1<<63) {
		must(t, err)
		out = append(out, n)
	}
	return out
}

func testAdd(t *testing.T, s spool.Store) {
	ctx := context.Background()
	groups(t, s, "a.b")
	if s.Last() != 0 {
		t.Errorf("Last of an empty spool: %d", s.Last())
	}
	for n := 1; n <= 5; n++ {
		a := Article(n, 600, "a.b")
		e := add(t, s, n, "a.b")
		want := []spool.Place{{Group: "a.b", Number: uint64(n)}}
		if !slices.Equal(e.Places, want) || e.Overview != a.Overview() || !slices.Equal(e.Path, []string{"a.example", "b.example"}) ||
			e.Via.Peer != "p" || s.Last() != e.Seq {
			t.Fatalf("entry %+v", e)
		}
		for name, get := range map[string]func() (spool.Entry, error){
			"ByID":     func() (spool.Entry, error) { return s.ByID(ctx, a.ID()) },
			"ByNumber": func() (spool.Entry, error) { return s.ByNumber(ctx, want[0]) },
		} {
			got, err := get()
			must(t, err)
			if !reflect.DeepEqual(got, e) {
				t.Fatalf("%s: %+v, added as %+v", name, got, e)
			}
		}
		o, err := s.Open(ctx, e.Seq)
		must(t, err)
		if !bytes.Equal(o.Wire(), a.Wire()) || o.HeadLen() != a.HeadLen() || o.Overview() != a.Overview() {
			t.Fatalf("Open: %q", o.Wire())
		}
	}
	for _, err := range []error{
		second(s.ByID(ctx, "<none@x>")), second(s.ByNumber(ctx, spool.Place{Group: "a.b", Number: 6})),
		second(s.ByNumber(ctx, spool.Place{Group: "no", Number: 1})), second(s.Open(ctx, 6)), second(s.Open(ctx, 0)), second(s.Group(ctx, "no")),
		second(s.Add(ctx, Article(9, 10, "no"), spool.Arrival{Groups: []article.Group{"no"}, At: Base()})),
	} {
		if !errors.Is(err, spool.ErrNotFound) {
			t.Errorf("want ErrNotFound, got %v", err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func testDuplicates(t *testing.T, s spool.Store) {
	groups(t, s, "a", "b")
	add(t, s, 1, "a")
	for range 3 {
		_, err := s.Add(context.Background(), Article(1, 900, "b"), spool.Arrival{Groups: []article.Group{"b"}, At: Base()})
		if !errors.Is(err, spool.ErrDuplicate) {
			t.Fatal("want ErrDuplicate, got", err)
		}
	}
	// A failed Add burns no number, neither here nor in a group that is there.
	_, err := s.Add(context.Background(), Article(2, 900, "a", "no"), spool.Arrival{Groups: []article.Group{"a", "no"}, At: Base()})
	if !errors.Is(err, spool.ErrNotFound) {
		t.Fatal("want ErrNotFound, got", err)
	}
	if st, err := s.Lookup(context.Background(), "<2@test.example>"); st != spool.Unknown || err != nil {
		t.Fatal("a refused article is known:", st, err)
	}
	if e := add(t, s, 2, "a", "b"); e.Places[0].Number != 2 || e.Places[1].Number != 1 || e.Seq != 2 {
		t.Fatalf("numbers burnt: %+v", e)
	}
}

func testCrosspost(t *testing.T, s spool.Store) {
	ctx := context.Background()
	groups(t, s, "x", "y", "z")
	add(t, s, 1, "y")
	e := add(t, s, 2, "x", "y", "z")
	want := []spool.Place{{Group: "x", Number: 1}, {Group: "y", Number: 2}, {Group: "z", Number: 1}}
	if !slices.Equal(e.Places, want) {
		t.Fatalf("places %v", e.Places)
	}
	for _, p := range want {
		for r, err := range s.Range(ctx, p.Group, p.Number, p.Number) {
			must(t, err)
			if r.Places[0] != p || len(r.Places) != 3 || r.Overview != e.Overview || r.Seq != e.Seq || !r.Arrived.Equal(e.Arrived) {
				t.Fatalf("range in %s: %+v", p.Group, r)
			}
		}
	}
	must(t, s.Remove(ctx, e.Seq, []article.Group{"y"}, Base().Add(time.Hour*24)))
	left := []spool.Place{want[0], want[2]}
	got, err := s.ByID(ctx, e.ID)
	must(t, err)
	if !slices.Equal(got.Places, left) {
		t.Fatalf("places after removal from one group: %v", got.Places)
	}
	for r, err := range s.Range(ctx, "z", 1, 9) {
		must(t, err)
		if !slices.Equal(r.Places, []spool.Place{want[2], want[0]}) {
			t.Fatalf("range after removal: %v", r.Places)
		}
	}
	if n := numbers(t, s, "y"); !slices.Equal(n, []uint64{1}) {
		t.Fatalf("y holds %v", n)
	}
	must(t, s.Remove(ctx, e.Seq, []article.Group{"x", "z"}, time.Now().Add(time.Hour*24)))
	if st, _ := s.Lookup(ctx, e.ID); st != spool.Recalled {
		t.Fatal("removed from all its groups, but", st)
	}
}

func testRemove(t *testing.T, s spool.Store) {
	ctx := context.Background()
	groups(t, s, "g")
	for n := 1; n <= 6; n++ {
		add(t, s, n, "g")
	}
	until := time.Now().Add(24 * time.Hour)
	check := func(low, high, count uint64, want ...uint64) {
		t.Helper()
		g, err := s.Group(ctx, "g")
		must(t, err)
		if g.Low != low || g.High != high || g.Count != count || !slices.Equal(numbers(t, s, "g"), want) {
			t.Fatalf("low %d high %d count %d numbers %v; want %d %d %d %v", g.Low, g.High, g.Count, numbers(t, s, "g"), low, high, count, want)
		}
	}
	check(1, 6, 6, 1, 2, 3, 4, 5, 6)
	must(t, s.Remove(ctx, 2, nil, until))
	check(1, 6, 5, 1, 3, 4, 5, 6)
	must(t, s.Remove(ctx, 2, nil, until)) // again: no error
	must(t, s.Remove(ctx, 99, nil, until))
	must(t, s.Remove(ctx, 1, nil, until))
	check(3, 6, 4, 3, 4, 5, 6)
	must(t, s.Remove(ctx, 6, []article.Group{"g"}, until))
	check(3, 6, 3, 3, 4, 5)
	for _, seq := range []spool.Seq{1, 2, 6} {
		if _, err := s.Open(ctx, seq); !errors.Is(err, spool.ErrNotFound) {
			t.Errorf("open %d: %v", seq, err)
		}
	}
	if _, err := s.ByID(ctx, "<2@test.example>"); !errors.Is(err, spool.ErrNotFound) {
		t.Error(err)
	}
	if _, err := s.Add(ctx, Article(2, 50, "g"), spool.Arrival{Groups: []article.Group{"g"}, At: Base()}); !errors.Is(err, spool.ErrDuplicate) {
		t.Error("removed article comes again:", err)
	}
	for _, seq := range []spool.Seq{3, 4, 5} {
		must(t, s.Remove(ctx, seq, nil, until))
	}
	check(7, 6, 0)
	add(t, s, 7, "g")
	check(7, 7, 1, 7)
}

func testRecall(t *testing.T, s spool.Store) {
	ctx := context.Background()
	groups(t, s, "g")
	must(t, s.Recall(ctx, "<1@test.example>", time.Now().Add(time.Hour)))
	must(t, s.Recall(ctx, "<2@test.example>", time.Now().Add(-time.Hour)))
	if st, err := s.Lookup(ctx, "<1@test.example>"); st != spool.Recalled || err != nil {
		t.Fatal(st, err)
	}
	if _, err := s.Add(ctx, Article(1, 50, "g"), spool.Arrival{Groups: []article.Group{"g"}, At: Base()}); !errors.Is(err, spool.ErrDuplicate) {
		t.Fatal(err)
	}
	if st, _ := s.Lookup(ctx, "<2@test.example>"); st != spool.Unknown {
		t.Fatal("recall that is over:", st)
	}
	add(t, s, 2, "g")
	must(t, s.Recall(ctx, "<2@test.example>", time.Now().Add(time.Hour)))
	if st, _ := s.Lookup(ctx, "<2@test.example>"); st != spool.Stored {
		t.Fatal("Recall of a stored article:", st)
	}
}

func testGroups(t *testing.T, s spool.Store) {
	ctx := context.Background()
	in := spool.GroupInfo{Name: "b.mod", Status: spool.Moderated, Description: "K\xf6ln", Moderator: "m@x.example", Require: "known",
		Approved: "field", Keep: 24 * time.Hour, Detach: "never", Fetch: "mirror", Created: Base(), Creator: "me"}
	must(t, s.PutGroups(ctx, spool.GroupInfo{Name: "c"}, in, spool.GroupInfo{Name: "a"}))
	got, err := s.Group(ctx, "b.mod")
	must(t, err)
	in.Low = 1
	if got != in {
		t.Fatalf("got  %+v\nwant %+v", got, in)
	}
	var names []string
	for g, err := range s.Groups(ctx) {
		must(t, err)
		names = append(names, string(g.Name))
	}
	if !slices.Equal(names, []string{"a", "b.mod", "c"}) {
		t.Fatal(names)
	}
	add(t, s, 1, "b.mod")
	must(t, s.PutGroups(ctx, spool.GroupInfo{Name: "b.mod", Status: spool.PostNone, High: 77, Low: 3, Count: 9}))
	got, err = s.Group(ctx, "b.mod")
	must(t, err)
	if got.Status != spool.PostNone || got.High != 1 || got.Low != 1 || got.Count != 1 || !got.Created.Equal(in.Created) || got.Description != "" {
		t.Fatalf("after a change: %+v", got)
	}
}

func testRegrown(t *testing.T, s spool.Store) {
	ctx := context.Background()
	groups(t, s, "g", "h")
	add(t, s, 1, "g")
	add(t, s, 2, "g", "h")
	add(t, s, 3, "h")
	must(t, s.DropGroup(ctx, "g"))
	if err := s.DropGroup(ctx, "g"); !errors.Is(err, spool.ErrNotFound) {
		t.Fatal(err)
	}
	if _, err := s.ByID(ctx, "<1@test.example>"); !errors.Is(err, spool.ErrNotFound) {
		t.Fatal(err)
	}
	e, err := s.ByID(ctx, "<2@test.example>")
	must(t, err)
	if !slices.Equal(e.Places, []spool.Place{{Group: "h", Number: 1}}) {
		t.Fatal(e.Places)
	}
	groups(t, s, "g")
	if e := add(t, s, 4, "g"); e.Places[0].Number != 3 {
		t.Fatalf("a group made again goes on at %d", e.Places[0].Number)
	}
	if n := numbers(t, s, "g"); !slices.Equal(n, []uint64{3}) {
		t.Fatal("old articles return:", n)
	}
	g, err := s.Group(ctx, "g")
	must(t, err)
	if g.Low != 3 || g.High != 3 || g.Count != 1 {
		t.Fatalf("%+v", g)
	}
	if st, _ := s.Lookup(ctx, "<1@test.example>"); st != spool.Recalled {
		t.Fatal("article of a removed group:", st)
	}
}

func testRanges(t *testing.T, s spool.Store) {
	ctx := context.Background()
	groups(t, s, "g", "h")
	for n := 1; n <= 700; n++ {
		if n%3 == 0 {
			add(t, s, n, "h", "g")
		} else {
			add(t, s, n, "g")
		}
	}
	for _, c := range []struct{ lo, hi, first, count uint64 }{{1, 700, 1, 700}, {0, 1 << 62, 1, 700}, {300, 302, 300, 3}, {5, 4, 0, 0}, {699, 900, 699, 2}, {701, 900, 0, 0}} {
		next, count := c.first, uint64(0)
		for e, err := range s.Range(ctx, "g", c.lo, c.hi) {
			must(t, err)
			if e.Places[0] != (spool.Place{Group: "g", Number: next}) || string(e.ID) != fmt.Sprintf("<%d@test.example>", next) {
				t.Fatalf("range %d-%d: %+v, want number %d", c.lo, c.hi, e, next)
			}
			next++
			count++
		}
		if count != c.count {
			t.Errorf("range %d-%d: %d entries, want %d", c.lo, c.hi, count, c.count)
		}
	}
	for range s.Range(ctx, "g", 1, 700) {
		break
	}
	for _, err := range s.Range(ctx, "no", 1, 2) {
		if !errors.Is(err, spool.ErrNotFound) {
			t.Error(err)
		}
	}
}

func testSince(t *testing.T, s spool.Store) {
	ctx := context.Background()
	groups(t, s, "g", "h")
	var want []spool.Entry
	for n := 1; n <= 300; n++ {
		want = append(want, add(t, s, n, "g", "h"))
	}
	must(t, s.Remove(ctx, 7, nil, time.Now().Add(time.Hour)))
	must(t, s.Remove(ctx, 9, []article.Group{"g"}, time.Now().Add(time.Hour)))
	want[8].Places = want[8].Places[1:]
	want = slices.Delete(want, 6, 7)
	for _, after := range []spool.Seq{0, 5, 6, 7, 299, 300, 301} {
		i, _ := slices.BinarySearchFunc(want, after+1, func(e spool.Entry, q spool.Seq) int { return int(e.Seq) - int(q) })
		for e, err := range s.Since(ctx, after) {
			must(t, err)
			if i >= len(want) || !reflect.DeepEqual(e, want[i]) {
				t.Fatalf("since %d: got %+v", after, e)
			}
			i++
		}
		if i != len(want) {
			t.Fatalf("since %d: ends at %d", after, i)
		}
	}
}

func testSeqAt(t *testing.T, s spool.Store) {
	ctx := context.Background()
	groups(t, s, "g")
	base := Base()
	for n, sec := range []int{10, 20, 20, 30, 25, 40} { // the clock goes back once
		_, err := s.Add(ctx, Article(n, 50, "g"), spool.Arrival{Groups: []article.Group{"g"}, At: base.Add(time.Duration(sec) * time.Second)})
		must(t, err)
	}
	for sec, want := range map[int]spool.Seq{0: 0, 10: 0, 11: 1, 20: 1, 21: 3, 30: 3, 31: 5, 40: 5, 41: 6} {
		if got, err := s.SeqAt(ctx, base.Add(time.Duration(sec)*time.Second)); err != nil || got != want {
			t.Errorf("SeqAt +%d s: %d, want %d (%v)", sec, got, want, err)
		}
	}
}

func testWait(t *testing.T, s spool.Store) {
	groups(t, s, "g")
	done := make(chan error, 2)
	go func() { done <- s.Wait(context.Background(), 0) }()
	add(t, s, 1, "g")
	must(t, <-done)
	must(t, s.Wait(context.Background(), 0))
	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- s.Wait(ctx, 1) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	go func() { done <- s.Wait(context.Background(), 1) }()
	must(t, s.Close())
	if err := <-done; !errors.Is(err, spool.ErrClosed) {
		t.Fatal(err)
	}
}

func testProof(t *testing.T, s spool.Store) {
	ctx := context.Background()
	groups(t, s, "g")
	in := spool.Arrival{Groups: []article.Group{"g", "g"}, At: Base(), Expires: Base().Add(90 * time.Hour), Via: spool.Via{How: spool.Injected, Peer: "web"},
		Proof: article.Proof{State: article.ProofHolds, Purpose: "post", Identity: strings.Repeat("i", 52), Key: [32]byte{1, 2, 31: 9}, Time: 1234567890, Q: 1 << 40,
			Digest: [32]byte{7}, Right: []article.Group{"g"}, Approve: []article.Approval{{Identity: "x", Key: [32]byte{5}, Time: -3, Right: []article.Group{"g", "h"}}}}}
	e, err := s.Add(ctx, Article(1, 50, "g"), in)
	must(t, err)
	if len(e.Places) != 1 || !reflect.DeepEqual(e.Proof, in.Proof) || e.Via != in.Via {
		t.Fatalf("%+v", e)
	}
	got, err := s.ByID(ctx, e.ID)
	must(t, err)
	if !reflect.DeepEqual(got, e) {
		t.Fatalf("%+v", got)
	}
}

func testRacing(t *testing.T, s spool.Store) {
	ctx := context.Background()
	gs := []article.Group{"g0", "g1", "g2"}
	groups(t, s, gs...)
	var wg sync.WaitGroup
	const workers, each = 8, 60
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				n := w*each + i
				in := spool.Arrival{Groups: []article.Group{gs[n%3], gs[(n+1)%3]}, At: Base()}
				if _, err := s.Add(ctx, Article(n, 300, in.Groups...), in); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, g := range gs {
		if n := numbers(t, s, g); len(n) != workers*each*2/3 || n[len(n)-1] != uint64(len(n)) {
			t.Errorf("%s: %d numbers, not without gap", g, len(n))
		}
	}
}

func testRacingSame(t *testing.T, s spool.Store) {
	ctx := context.Background()
	groups(t, s, "g")
	for n := range 40 {
		var wg sync.WaitGroup
		var mu sync.Mutex
		ok := 0
		for range 6 {
			wg.Go(func() {
				_, err := s.Add(ctx, Article(n, 100, "g"), spool.Arrival{Groups: []article.Group{"g"}, At: Base()})
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					ok++
				} else if !errors.Is(err, spool.ErrDuplicate) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if ok != 1 {
			t.Fatalf("article %d was taken %d times", n, ok)
		}
	}
	if n := numbers(t, s, "g"); len(n) != 40 || n[39] != 40 {
		t.Fatal("numbers burnt:", n)
	}
}

// testOrder reads the log while it grows: who has seen n never finds less later.
func testOrder(t *testing.T, s spool.Store) {
	ctx := context.Background()
	groups(t, s, "g")
	const total = 400
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range total / 4 {
				if _, err := s.Add(ctx, Article(w*1000+i, 200, "g"), spool.Arrival{Groups: []article.Group{"g"}, At: Base()}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var seen spool.Seq
	count := 0
	for count < total && !t.Failed() {
		must(t, s.Wait(ctx, seen))
		for e, err := range s.Since(ctx, seen) {
			must(t, err)
			if e.Seq <= seen {
				t.Fatalf("seq %d after %d", e.Seq, seen)
			}
			if e.Seq != seen+1 {
				t.Fatalf("seq %d was passed over", seen+1)
			}
			seen = e.Seq
			count++
			if _, err := s.Open(ctx, e.Seq); err != nil {
				t.Fatal(err)
			}
			if st, err := s.Lookup(ctx, e.ID); st != spool.Stored || err != nil {
				t.Fatal("visible in the log, but not known:", st, err)
			}
		}
	}
	wg.Wait()
}

func testClosed(t *testing.T, s spool.Store) {
	ctx := context.Background()
	groups(t, s, "g")
	add(t, s, 1, "g")
	id := s.SpoolID()
	must(t, s.Close())
	must(t, s.Close())
	if id == "" {
		t.Error("no SpoolID")
	}
	_, errAdd := s.Add(ctx, Article(2, 10, "g"), spool.Arrival{Groups: []article.Group{"g"}, At: Base()})
	errs := []error{errAdd, second(s.Lookup(ctx, "<a@b>")), s.Recall(ctx, "<a@b>", time.Now()), s.Remove(ctx, 1, nil, time.Now()), s.PutGroups(ctx, spool.GroupInfo{Name: "n"}),
		s.DropGroup(ctx, "g"), second(s.ByID(ctx, "<1@test.example>")), second(s.ByNumber(ctx, spool.Place{Group: "g", Number: 1})), second(s.Open(ctx, 1)),
		second(s.SeqAt(ctx, time.Now())), second(s.Group(ctx, "g")), s.Wait(ctx, 1)}
	for _, err := range s.Range(ctx, "g", 1, 1) {
		errs = append(errs, err)
	}
	for _, err := range s.Numbers(ctx, "g", 1, 1) {
		errs = append(errs, err)
	}
	for _, err := range s.List(ctx, "g", 1, 1) {
		errs = append(errs, err)
	}
	for _, err := range s.Since(ctx, 0) {
		errs = append(errs, err)
	}
	for _, err := range s.Groups(ctx) {
		errs = append(errs, err)
	}
	for i, err := range errs {
		if !errors.Is(err, spool.ErrClosed) {
			t.Errorf("method %d after Close: %v", i, err)
		}
	}
	if len(errs) != 17 {
		t.Errorf("an iterator yielded nothing, or twice: %d", len(errs))
	}
}

func testRemovedInLoop(t *testing.T, s spool.Store) {
	ctx := context.Background()
	groups(t, s, "g")
	for n := 1; n <= 50; n++ {
		add(t, s, n, "g")
	}
	count := 0
	for e, err := range s.Range(ctx, "g", 1, 50) { // the body may change the spool
		must(t, err)
		must(t, s.Remove(ctx, e.Seq, nil, time.Now().Add(time.Hour)))
		count++
	}
	if g, _ := s.Group(ctx, "g"); count != 50 || g.Count != 0 || g.Low != 51 {
		t.Fatalf("%d seen, %+v", count, g)
	}
}
