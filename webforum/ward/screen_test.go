package ward

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/spooltest"
)

// filed are articles 0 to 9; odd ones are signed, by "eve" if divisible by three.
func filed(t *testing.T) (*spooltest.Mem, []spool.Entry) {
	t.Helper()
	m, ctx := spooltest.NewMem(), t.Context()
	if err := m.PutGroups(ctx, spool.GroupInfo{Name: "a.b", Status: 'y'}, spool.GroupInfo{Name: "a.c", Status: 'y'}); err != nil {
		t.Fatal(err)
	}
	var out []spool.Entry
	for i := range 10 {
		signature, who := "", ""
		if i%2 == 1 {
			signature, who = "Article-Signature: v=1\n", "ann"
			if i%3 == 0 {
				who = "eve"
			}
		}
		text := fmt.Sprintf("Path: x\nFrom: a@b.example\nNewsgroups: a.b,a.c\nSubject: s\n%sMessage-ID: <%d@x>\n\ntext\n", signature, i)
		wire, err := article.Normalize([]byte(text), article.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		a, err := article.Parse(wire, article.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		e, err := m.Add(ctx, a, spool.Arrival{Groups: []article.Group{"a.b", "a.c"}, At: time.Unix(1_800_000_000, 0), Proof: article.Proof{Identity: who}})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return m, out
}

// bare leaves the signer out of ranges, as a spool on disk does.
type bare struct{ *spooltest.Mem }

func (b bare) Range(ctx context.Context, g article.Group, lo, hi uint64) iter.Seq2[spool.Entry, error] {
	return func(yield func(spool.Entry, error) bool) {
		for e, err := range b.Mem.Range(ctx, g, lo, hi) {
			e.Proof = article.Proof{}
			if !yield(e, err) {
				return
			}
		}
	}
}

// seen is what each way of reading shows: it must be the same articles each way.
func seen(t *testing.T, s spool.Reader, all []spool.Entry) string {
	t.Helper()
	ctx := context.Background()
	ways := map[string][]string{}
	note := func(way string, id article.ID, err error) {
		if err == nil {
			ways[way] = append(ways[way], string(id[1:2]))
		} else if !errors.Is(err, spool.ErrNotFound) {
			t.Fatal(way, err)
		}
	}
	for _, e := range all {
		got, err := s.ByID(ctx, e.ID)
		note("ByID", got.ID, err)
		got, err = s.ByNumber(ctx, e.Places[0])
		note("ByNumber", got.ID, err)
		_, err = s.Open(ctx, e.Seq)
		note("Open", e.ID, err)
	}
	for e, err := range s.Range(ctx, "a.b", 1, 100) {
		note("Range", e.ID, err)
	}
	for e, err := range s.Since(ctx, 0) {
		note("Since", e.ID, err)
	}
	for one, err := range s.List(ctx, "a.b", 1, 100) {
		note("List", one.ID, err)
	}
	for n, err := range s.Numbers(ctx, "a.c", 1, 100) {
		note("Numbers", all[n-1].ID, err)
	}
	want := strings.Join(ways["ByID"], "")
	for way, list := range ways {
		if strings.Join(list, "") != want {
			t.Errorf("%s shows %v, ByID %s", way, list, want)
		}
	}
	return want
}

func TestScreen(t *testing.T) {
	m, all := filed(t)
	w, _ := open(t)
	s := NewScreen(bare{m}, w)
	do := func(act, what string) {
		t.Helper()
		if err := w.Do(act, what, "because", "mod"); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct{ act, what, want string }{
		{"", "", "0123456789"}, {Hide, "<4@x>", "012356789"}, {BanKey, "eve", "0125678"}, {Hide, "<5@x>", "012678"},
		{Show, "<4@x>", "0124678"}, {UnbanKey, "eve", "012346789"}, {Show, "<5@x>", "0123456789"},
	} {
		if step.act != "" {
			do(step.act, step.what)
		}
		for range 2 { // the second time from memory
			if got := seen(t, s, all); got != step.want {
				t.Errorf("after %s %s: %s, want %s", step.act, step.what, got, step.want)
			}
		}
	}
	do(Hide, "<4@x>")
	if g, err := s.Group(t.Context(), "a.b"); err != nil || g.Count != 9 || g.High != 10 {
		t.Errorf("group: %+v %v", g, err)
	}
	if st, err := s.Lookup(t.Context(), "<4@x>"); err != nil || st != spool.Stored {
		t.Errorf("history: %v %v", st, err)
	}
}

// TestScreenIsWhole: a way of reading that is added to spool.Reader shows hidden
// articles until it is thought of here.
func TestScreenIsWhole(t *testing.T) {
	known := []string{"ByID", "ByNumber", "Group", "Groups", "Last", "List", "Numbers", "Open", "Range", "SeqAt", "Since"}
	r := reflect.TypeFor[spool.Reader]()
	for i := range r.NumMethod() {
		if name := r.Method(i).Name; !slices.Contains(known, name) {
			t.Errorf("spool.Reader.%s is not screened", name)
		}
	}
}

// TestStampStays: a page kept by a browser is not taken for current after a restart.
func TestStampStays(t *testing.T) {
	w, db := open(t)
	for _, id := range []string{"<a@b>", "<b@b>"} {
		if err := w.Do(Hide, id, "because", "mod"); err != nil {
			t.Fatal(err)
		}
	}
	again, err := New(db, time.Now)
	if err != nil || again.Stamp() != w.Stamp() || w.Stamp() != 2 {
		t.Errorf("%d, after a restart %d: %v", w.Stamp(), again.Stamp(), err)
	}
}
