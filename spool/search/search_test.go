package search

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/spooltest"
)

func put(t testing.TB, m *spooltest.Mem, id, group, from, subject, date, body string) spool.Entry {
	t.Helper()
	text := fmt.Sprintf("Path: x!not-for-mail\nFrom: %s\nNewsgroups: %s\nSubject: %s\nDate: %s\nMessage-ID: <%s@x>\nContent-Type: text/plain; charset=utf-8\n\n%s\n", from, group, subject, date, id, body)
	wire, err := article.Normalize([]byte(text), article.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := article.Parse(wire, article.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := m.Add(context.Background(), a, spool.Arrival{Groups: []article.Group{article.Group(group)}, Via: spool.Via{How: spool.Injected}, At: time.Unix(1_800_000_000, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func mem(t testing.TB) *spooltest.Mem {
	t.Helper()
	m := spooltest.NewMem()
	if err := m.PutGroups(context.Background(), spool.GroupInfo{Name: "mesh.talk", Status: 'y'}, spool.GroupInfo{Name: "mesh.radio", Status: 'y'}); err != nil {
		t.Fatal(err)
	}
	return m
}

func grow(t testing.TB, dir string, m *spooltest.Mem) *Index {
	t.Helper()
	x, _, err := Open(dir, m)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range m.Since(context.Background(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if err := x.Follow(context.Background(), e); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

func TestSearch(t *testing.T) {
	m := mem(t)
	put(t, m, "1", "mesh.talk", "Alice <alice@a.example>", "Antennen auf dem Dach", "Mon, 02 Mar 2026 10:00:00 +0000", "Die Antennen sind nicht mit dem Mast und der Kiste verbunden, und das ist auch gut.")
	put(t, m, "2", "mesh.radio", "Bob <bob@b.example>", "Running radios", "Tue, 03 Mar 2026 10:00:00 +0000", "The routers were running all night and the red light was on.")
	put(t, m, "3", "mesh.talk", "Carol <carol@c.example>", "日本語", "Wed, 04 Mar 2026 10:00:00 +0000", "東京の天気はいいです。")
	put(t, m, "4", "mesh.talk", "Bob <bob@b.example>", "light red", "Sun, 01 Feb 2026 10:00:00 +0000", "a light, red, and the router")
	x := grow(t, filepath.Join(t.TempDir(), "search"), m)
	defer x.Close()
	if err := x.Flush(); err != nil {
		t.Fatal(err)
	}
	if x.Done() != m.Last() {
		t.Errorf("done %d of %d", x.Done(), m.Last())
	}
	for q, want := range map[string]string{
		"antenne": "1", "Antennen": "1", "router": "2 4", "run": "2", `"red light"`: "2", "天気": "3", "from:bob": "2 4", "from:alice antennen": "1",
		"group:mesh.radio": "2", "group:mesh.* from:bob": "2 4", "light -running": "4", "after:2026-03-03": "2 3", "before:2026-02": "4",
		"after:2026-03-02 before:2026-03-03": "1 2", "subject:light": "4", "nosuchword": "",
	} {
		ids, total, err := x.Search(context.Background(), q, 0, 10)
		if err != nil {
			t.Errorf("%s: %v", q, err)
			continue
		}
		got := map[string]bool{}
		for _, id := range ids {
			got[strings.TrimSuffix(id.Bare(), "@x")] = true
		}
		ok := len(got) == len(strings.Fields(want)) && total == len(got)
		for _, w := range strings.Fields(want) {
			ok = ok && got[w]
		}
		if !ok {
			t.Errorf("%s: %v, want %s", q, ids, want)
		}
	}
	var qe *QueryError
	for _, q := range []string{"", "  ", "after:yesterday", strings.Repeat("x ", 100), strings.Repeat("y", 600)} {
		if _, _, err := x.Search(context.Background(), q, 0, 10); !errors.As(err, &qe) {
			t.Errorf("%.30q: %v", q, err)
		}
	}
}

func TestReopenAndSweep(t *testing.T) {
	m, ctx := mem(t), context.Background()
	dir := filepath.Join(t.TempDir(), "search")
	for i := range 100 {
		put(t, m, fmt.Sprint(i), "mesh.talk", "a@a.example", "s", "Mon, 02 Mar 2026 10:00:00 +0000", fmt.Sprintf("the word number%d is here", i))
	}
	x := grow(t, dir, m)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x, fresh, err := Open(dir, m)
	if err != nil || fresh {
		t.Fatalf("open again: %v, fresh %v", err, fresh)
	}
	defer x.Close()
	if n, _ := x.Count(); n != 100 {
		t.Errorf("%d documents", n)
	}
	for e, err := range m.Since(ctx, 90) {
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Remove(ctx, e.Seq, nil, time.Unix(2_000_000_000, 0)); err != nil {
			t.Fatal(err)
		}
	}
	for at, first := 0, true; at > 0 || first; first = false {
		if at, err = x.Sweep(ctx, at, 30); err != nil {
			t.Fatal(err)
		}
	}
	if n, _ := x.Count(); n != 90 {
		t.Errorf("%d documents after the sweep", n)
	}
}

// TestLone: an article that comes alone waits for more, and is found all the same.
func TestLone(t *testing.T) {
	m, ctx := mem(t), context.Background()
	e := put(t, m, "1", "mesh.talk", "a@a.example", "s", "Mon, 02 Mar 2026 10:00:00 +0000", "antenna")
	x := grow(t, filepath.Join(t.TempDir(), "search"), m)
	defer x.Close()
	if x.Done() != 0 {
		t.Errorf("done %d before it is written", x.Done())
	}
	if ids, _, err := x.Search(ctx, "antenna", 0, 10); err != nil || len(ids) != 1 {
		t.Errorf("found %v, %v", ids, err)
	}
	if x.Done() != e.Seq {
		t.Errorf("done %d of %d", x.Done(), e.Seq)
	}
	e = put(t, m, "2", "mesh.talk", "a@a.example", "s", "Mon, 02 Mar 2026 10:00:00 +0000", "mast")
	if err := x.Follow(ctx, e); err != nil {
		t.Fatal(err)
	}
	x.late() // as if it had waited
	if x.Done() != e.Seq {
		t.Errorf("done %d of %d after the wait", x.Done(), e.Seq)
	}
	x.fail = errors.New("the disk is tired")
	e = put(t, m, "3", "mesh.talk", "a@a.example", "s", "Mon, 02 Mar 2026 10:00:00 +0000", "roof")
	if err := x.Follow(ctx, e); err == nil {
		t.Error("a late write that failed is not told")
	}
	if err := x.Follow(ctx, e); err != nil {
		t.Error(err)
	}
}

func TestRest(t *testing.T) {
	for _, c := range []struct {
		took     time.Duration
		n, grown int
		want     time.Duration
	}{
		{100 * time.Millisecond, 256, 0, 0},                      // catching up, nothing comes
		{100 * time.Millisecond, 256, 64, 75 * time.Millisecond}, // a trickle
		{100 * time.Millisecond, 256, 256, 300 * time.Millisecond},
		{100 * time.Millisecond, 256, 9000, 1200 * time.Millisecond}, // a burst
		{time.Second, 256, 9000, maxRest},
	} {
		if got := restAfter(c.took, c.n, c.grown); got != c.want {
			t.Errorf("%v for %d while %d came: %v, not %v", c.took, c.n, c.grown, got, c.want)
		}
	}
}

// FuzzParse states: a question is refused or has terms with text.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"a b", `from:x "a b" -c`, `"`, `-`, `from:"x`, "group:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		terms, err := parse(s)
		if err != nil {
			return
		}
		for _, x := range terms {
			if strings.TrimSpace(x.text) == "" {
				t.Fatalf("%q: an empty term", s)
			}
		}
		if _, _, err := build(terms); err != nil {
			var qe *QueryError
			if !errors.As(err, &qe) {
				t.Fatal(err)
			}
		}
	})
}

func zipf(m *spooltest.Mem, t testing.TB, n int) {
	r := rand.New(rand.NewPCG(1, 2))
	z := rand.NewZipf(r, 1.2, 10, 40000)
	for i := range n {
		var b strings.Builder
		for range 120 {
			fmt.Fprintf(&b, "w%dx ", z.Uint64())
		}
		put(t, m, fmt.Sprint(i), "mesh.talk", "a@a.example", "subject "+fmt.Sprint(i), "Mon, 02 Mar 2026 10:00:00 +0000", b.String())
	}
}

func BenchmarkIndexing(b *testing.B) {
	m := mem(b)
	zipf(m, b, 4000)
	var dir string
	begin := cpu(b)
	for b.Loop() {
		dir = filepath.Join(b.TempDir(), "search")
		x := grow(b, dir, m)
		x.Close()
	}
	b.ReportMetric(float64((cpu(b)-begin).Microseconds())/float64(4000*b.N), "cpu-us/article")
	b.ReportMetric(float64(size(b, dir))/4000, "index-B/article")
}

func cpu(t testing.TB) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func size(t testing.TB, dir string) (n int64) {
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		st, err := d.Info()
		n += st.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func BenchmarkQuery(b *testing.B) {
	m := mem(b)
	zipf(m, b, 10000)
	x := grow(b, filepath.Join(b.TempDir(), "search"), m)
	defer x.Close()
	for name, q := range map[string]string{"rare": "w39000x", "two": "w20x w300x", "phrase": `"w11x w12x"`} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := x.Search(context.Background(), q, 0, 20); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
