package search

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync/atomic"
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
		"after:2026-03-02 before:2026-03-03": "1 2", "subject:light": "4", "nosuchword": "", "der antennen": "1", "the running": "2", `"routers were running"`: "2", `"red light was on"`: "2", "京": "3",
		`"antennen nicht mast"`: "", "東京の天気": "3", "天東": "", "-antenne": "2 3 4", "before:2026": "1 2 3 4", "before:2025": "", "after:2026": "1 2 3 4", "after:2027": "", "before:2027 after:2026-02-15 router": "2",
		"from:b.example": "2 4", "from:bob@b.example": "2 4", "from:example.b": "2 4", "-the router": "2 4",
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
	for _, q := range []string{`"to be or not to be"`, "the was", "und oder", "to be from:nobody"} {
		if _, _, err := x.Search(context.Background(), q, 0, 10); !errors.As(err, &qe) || qe.Code != "common" {
			t.Errorf("%s: %v", q, err)
		}
	}
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

// TestPlaces: of a word that stands everywhere in an article few places are kept, so that
// a phrase of it is found and costs little.
func TestPlaces(t *testing.T) {
	m, ctx := mem(t), context.Background()
	e := put(t, m, "1", "mesh.talk", "a@a.example", "s", "Mon, 02 Mar 2026 10:00:00 +0000", strings.Repeat("xx\n", 20000)+"yy zz")
	x := grow(t, filepath.Join(t.TempDir(), "search"), m)
	defer x.Close()
	a, err := m.Open(ctx, e.Seq)
	if err != nil {
		t.Fatal(err)
	}
	doc, _ := x.writer.document(e, a)
	for _, f := range doc.Fields {
		for _, tf := range f.AnalyzedTokenFrequencies() {
			if len(tf.Locations) > maxPlaces {
				t.Errorf("%s: %d places of %s", f.Name(), len(tf.Locations), tf.Term)
			}
		}
	}
	for q, want := range map[string]int{`"xx xx xx xx xx xx xx xx"`: 1, "xx": 1, `"yy zz"`: 1, `"zz yy"`: 0} {
		if ids, _, err := x.Search(ctx, q, 0, 10); err != nil || len(ids) != want {
			t.Errorf("%s: %v, %v", q, ids, err)
		}
	}
	if err := x.Follow(ctx, put(t, m, "2", "mesh.talk", "a@a.example", "s", "Mon, 02 Mar 2026 10:00:00 +0000", strings.Repeat("xx ", 300)+"yy zz")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(x.Flush(), x.tidy(ctx)); err != nil { // and two such are merged
		t.Fatal(err)
	}
	for _, q := range []string{`"xx xx xx xx xx xx xx xx"`, `"yy zz"`, "xx"} {
		if ids, _, err := x.Search(ctx, q, 0, 10); err != nil || len(ids) != 2 {
			t.Errorf("%s, merged: %v, %v", q, ids, err)
		}
	}
}

// TestTidy: once no more articles come, small segments are merged.
func TestTidy(t *testing.T) {
	m := newMade(8 * batchSize)
	x := m.index(t, filepath.Join(t.TempDir(), "search"))
	segments := func() uint64 {
		s, err := x.index.Advanced()
		if err != nil {
			t.Fatal(err)
		}
		return s.StatsMap()["num_root_filesegments"].(uint64)
	}
	if n := segments(); n < 4 {
		t.Fatalf("%d segments before", n)
	}
	x.late()
	x.tasks.Wait()
	if n := segments(); n != 1 {
		t.Errorf("%d segments at rest", n)
	}
	if n, _ := x.Count(); n != uint64(m.n) {
		t.Errorf("%d documents of %d", n, m.n)
	}
	if x.untidy = m.n/tidyPart - 1; x.fail != nil {
		t.Error(x.fail)
	}
	x.late()
	if x.tidying != nil {
		t.Error("few articles are no reason to merge all")
	}
	x.untidy = m.n
	x.late() // and it is stopped by the end
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	x.late()
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
	for lang, l := range x.writer.lexica {
		if len(l.known) > 0 {
			t.Errorf("at rest it remembers %d words of %q", len(l.known), lang)
		}
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
// TestWide: a beginning that stands for very many groups or pairs of signs is refused
// with a word of what to do; all groups are no such question.
func TestWide(t *testing.T) {
	m := mem(t)
	groups := []spool.GroupInfo{}
	for i := range maxBegun {
		groups = append(groups, spool.GroupInfo{Name: article.Group(fmt.Sprintf("wide%d.g%d", i%2, i)), Status: 'y'})
	}
	if err := m.PutGroups(t.Context(), groups...); err != nil {
		t.Fatal(err)
	}
	for i, g := range groups {
		put(t, m, fmt.Sprint("w", i), string(g.Name), "a@b.example", "wide", "Mon, 02 Jan 2006 15:04:05 +0000", fmt.Sprintf("水%c 水%c", 0x3400+i, 0xac00+i%1000))
	}
	x := grow(t, filepath.Join(t.TempDir(), "search"), m)
	defer x.Close()
	for q, want := range map[string]int{"group:*": maxBegun, "-group:*": 0, "group:* -group:wide0.*": maxBegun / 2, "group:wide1.* wide": maxBegun / 2, "group:none*": 0} {
		if _, n, err := x.Search(t.Context(), q, 0, 5); err != nil || n != want {
			t.Errorf("%s: %d, %v", q, n, err)
		}
	}
	for _, q := range []string{"group:w*", "wide -group:wide*", "水", "水 wide"} {
		var wrong *QueryError
		if _, _, err := x.Search(t.Context(), q, 0, 5); !errors.As(err, &wrong) || wrong.Code != "wide" {
			t.Errorf("%s: %v", q, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"a b", `from:x "a b" -c`, `"`, `-`, `from:"x`, "group:"} {
		f.Add(s)
	}
	w := newWriter()
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
		if _, _, _, err := w.build(terms); err != nil {
			var qe *QueryError
			if !errors.As(err, &qe) {
				t.Fatal(err)
			}
		}
	})
}

// made is a spool of n articles that are made when they are asked for, of words as
// frequent and as long as those of a language: half are German, half English.
type made struct {
	n      int
	rank   *rand.Zipf
	lib    [2][]string
	octets int // of the texts made
}

func newMade(n int) *made {
	m := &made{n: n}
	r := rand.New(rand.NewPCG(7, 7))
	m.rank = rand.NewZipf(r, 1.2, 6, 60000)
	syllables := strings.Fields("ba be bo da de do fe fi ga ge gu ha he hi ka ke ko la le li lo ma me mo na ne ni no pa pe ra re ri ro sa se si so ta te ti to va ve wa we za zu ein er en an st ach tion")
	for lang, name := range languages {
		for w := range newLexicon(name).stop {
			m.lib[lang] = append(m.lib[lang], w)
		}
		slices.Sort(m.lib[lang])
		for len(m.lib[lang]) < 60001 {
			var w strings.Builder
			for range 2 + r.IntN(2+len(m.lib[lang])/20000) {
				w.WriteString(syllables[r.IntN(len(syllables))])
			}
			m.lib[lang] = append(m.lib[lang], w.String())
		}
	}
	return m
}

func (m *made) Last() spool.Seq { return spool.Seq(m.n) }
func (m *made) Lookup(context.Context, article.ID) (spool.State, error) {
	return spool.Stored, nil
}

func (m *made) Open(_ context.Context, seq spool.Seq) (*article.Article, error) {
	r := rand.New(rand.NewPCG(uint64(seq), 3))
	lang := int(seq % 2)
	var b strings.Builder
	word := func() string { return m.lib[lang][m.rank.Uint64()] }
	fmt.Fprintf(&b, "Path: x!not-for-mail\r\nFrom: %s %s <u%d@box%d.example>\r\nNewsgroups: mesh.g%d\r\nSubject: %s %s %s\r\nDate: %s\r\nMessage-ID: <m%d.%x@box%d.example>\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n",
		word(), word(), seq%500, seq%9, seq%20, word(), word(), word(), article.FormatDate(m.when(seq)), seq, r.Uint64(), seq%9)
	head := b.Len()
	line := 0
	for range 60 + r.IntN(400) {
		w := word()
		if line += len(w) + 1; line > 70 {
			b.WriteString("\r\n")
			line = len(w) + 1
		}
		b.WriteString(w)
		b.WriteByte(' ')
	}
	m.octets += b.Len() - head
	b.WriteString("\r\n.\r\n")
	return article.Parse([]byte(b.String()), article.Limits{})
}

func (m *made) when(seq spool.Seq) time.Time {
	return time.Unix(1_700_000_000, 0).Add(time.Duration(seq) * 5 * time.Minute)
}

// entry is what a follower is told of an article.
func (m *made) entry(t testing.TB, seq spool.Seq) spool.Entry {
	a, err := m.Open(context.Background(), seq)
	if err != nil {
		t.Fatal(err)
	}
	return spool.Entry{Seq: seq, Arrived: m.when(seq).Add(time.Minute), Overview: a.Overview(), Places: []spool.Place{{Group: article.Group(fmt.Sprintf("mesh.g%d", seq%20)), Number: uint64(seq)}}}
}

// index follows all articles; without the rests that a node takes while articles
// come in.
func (m *made) index(t testing.TB, dir string) *Index {
	x, _, err := Open(dir, m)
	if err != nil {
		t.Fatal(err)
	}
	for seq := spool.Seq(1); seq <= spool.Seq(m.n); seq++ {
		if _, err := x.follow(context.Background(), m.entry(t, seq)); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.Flush(); err != nil {
		t.Fatal(err)
	}
	return x
}

// making is what it costs to make the articles, which a node has on disk.
func (m *made) making(t testing.TB) (wall, work time.Duration) {
	began, worked := time.Now(), cpu(t)
	for seq := spool.Seq(1); seq <= spool.Seq(m.n); seq++ {
		m.entry(t, seq)
		if _, err := m.Open(context.Background(), seq); err != nil {
			t.Fatal(err)
		}
	}
	return time.Since(began), cpu(t) - worked
}

// BenchmarkIndexing indexes 20,000 articles of 1.7 kB of text and closes the index,
// merges included. The text is what is indexed: subjects and bodies.
func BenchmarkIndexing(b *testing.B) {
	m := newMade(20000)
	wall, work := m.making(b)
	for b.Loop() {
		m.octets = 0
		dir := filepath.Join(b.TempDir(), "search")
		runtime.GC()
		var before, peak peaks
		before.look()
		stop := peak.watch()
		began, worked := time.Now(), cpu(b)
		x := m.index(b, dir)
		b.ReportMetric(float64(m.n)/(time.Since(began)-wall).Seconds(), "articles/s")
		b.ReportMetric(float64((cpu(b)-worked-work).Microseconds())/float64(m.n), "cpu-us/article")
		worked = cpu(b)
		if err := x.tidy(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64((cpu(b)-worked).Microseconds())/float64(m.n), "tidy-us/article")
		text := float64(m.octets / 2) // each is made twice
		b.ReportMetric(float64(atRest(b, dir))/text, "index/text")
		if err := x.Close(); err != nil {
			b.Fatal(err)
		}
		stop()
		b.ReportMetric(float64(peak.heap.Load()-before.heap.Load())/(1<<20), "heap-MiB")
	}
}

// peaks is the most memory of the heap at a time.
type peaks struct{ heap atomic.Uint64 }

func (p *peaks) look() {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}}
	metrics.Read(s)
	p.heap.Store(max(p.heap.Load(), s[0].Value.Uint64()+s[1].Value.Uint64()))
}

func (p *peaks) watch() (stop func()) {
	end, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			p.look()
			select {
			case <-tick.C:
			case <-end:
				return
			}
		}
	}()
	return func() { close(end); <-over }
}

func cpu(t testing.TB) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// atRest is the size of an index once the files that merging replaced are gone.
func atRest(t testing.TB, dir string) int64 {
	last, since := size(t, dir), time.Now()
	for time.Since(since) < time.Second {
		time.Sleep(20 * time.Millisecond)
		if n := size(t, dir); n != last {
			last, since = n, time.Now()
		}
	}
	return last
}

func size(t testing.TB, dir string) (n int64) {
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		st, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) { // merged into another meanwhile
			return nil
		} else if err == nil {
			n += st.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// BenchmarkQuery asks an index of 100,000 articles: a rare word, two words, a phrase
// of two that stand in that order somewhere, a common word. Each asks for others
// every time; p50 and p95 are over all of a run.
func BenchmarkQuery(b *testing.B) {
	m := newMade(100000)
	x := m.index(b, filepath.Join(b.TempDir(), "search"))
	if err := x.tidy(b.Context()); err != nil { // as a node at rest
		b.Fatal(err)
	}
	defer x.Close()
	r := rand.New(rand.NewPCG(5, 5))
	pick := func(lo, hi int) string { return m.lib[1][lo+r.IntN(hi-lo)] }
	phrase := func() string {
		for {
			a, err := m.Open(context.Background(), spool.Seq(1+2*r.IntN(m.n/2)))
			if err != nil {
				b.Fatal(err)
			}
			if w := strings.Fields(string(a.Body())); len(w) > 20 {
				at := r.IntN(len(w) - 2)
				if stop := x.writer.lexica["en"].stop; !stop[w[at]] && !stop[w[at+1]] {
					return `"` + w[at] + " " + w[at+1] + `"`
				}
			}
		}
	}
	for _, q := range []struct {
		name string
		make func() string
	}{
		{"rare", func() string { return pick(20000, 60000) }}, {"two", func() string { return pick(250, 800) + " " + pick(800, 5000) }},
		{"phrase", phrase}, {"common", func() string { return pick(240, 400) }},
		{"group", func() string { return "group:mesh.g3 " + pick(500, 5000) }}, {"days", func() string { return "after:2023-12 before:2024-03-05 " + pick(250, 800) }},
	} {
		b.Run(q.name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				ask := q.make()
				began := time.Now()
				if _, _, err := x.Search(context.Background(), ask, 0, 25); err != nil {
					b.Fatal(ask, err)
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
		})
	}
}
