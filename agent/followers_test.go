package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/spooltest"
)

// diary notes what it is told.
type diary struct {
	mu   sync.Mutex
	name string
	got  []spool.Seq
	fail func(spool.Seq) error
}

func (d *diary) Name() string { return d.name }

func (d *diary) Follow(_ context.Context, e spool.Entry) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		if err := d.fail(e.Seq); err != nil {
			return err
		}
	}
	d.got = append(d.got, e.Seq)
	return nil
}

func (d *diary) seen() []spool.Seq {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.got)
}

// log is a spool with n articles, of an agent that can add more.
func logOf(t *testing.T, n int) *Agent {
	t.Helper()
	mem := spooltest.NewMem()
	if err := mem.PutGroups(t.Context(), spool.GroupInfo{Name: "a.open", Status: spool.PostOpen}); err != nil {
		t.Fatal(err)
	}
	a := &Agent{Host: "here.example", Spool: mem, Peers: PeerList{{Name: "box8"}}, Now: func() time.Time { return testNow }}
	more(t, a, 1, n)
	return a
}

func more(t *testing.T, a *Agent, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		if _, err := a.Relay(t.Context(), wire(fmt.Sprintf("<%d@x>", i)), Origin{Door: "nntp", Peer: "box8"}); err != nil {
			t.Fatal(err)
		}
	}
}

func upTo(from, to spool.Seq) []spool.Seq {
	var out []spool.Seq
	for ; from <= to; from++ {
		out = append(out, from)
	}
	return out
}

func openState(t *testing.T) *state.DB {
	t.Helper()
	db, err := state.Open(filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// After a stop a follower goes on exactly behind the cursor, after a crash at the
// cursor that was saved last.
func TestFollowerResumes(t *testing.T) {
	db := openState(t)
	synctest.Test(t, func(t *testing.T) {
		a := logOf(t, 10)
		first := &diary{name: "d"}
		fs := &Followers{Spool: a.Spool, State: db}
		if err := fs.Start(t.Context(), first, AtBeginning); err != nil {
			t.Fatal(err)
		}
		if err := fs.Start(t.Context(), first, AtBeginning); err == nil {
			t.Error("started twice")
		}
		synctest.Wait()
		if got := first.seen(); !slices.Equal(got, upTo(1, 10)) {
			t.Errorf("%v", got)
		}
		time.Sleep(3 * time.Second) // the clock of the bubble: the cursor is saved
		synctest.Wait()
		if s := fs.Saved("d"); s != 10 {
			t.Errorf("saved %d", s)
		}
		more(t, a, 11, 12)
		synctest.Wait()
		if s := fs.Saved("d"); s != 10 {
			t.Errorf("saved %d before its time", s)
		}
		// A crash here: another runner, the same state.
		crashed := &diary{name: "d"}
		fs2 := &Followers{Spool: a.Spool, State: db}
		if err := fs2.Start(t.Context(), crashed, AtBeginning); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := crashed.seen(); !slices.Equal(got, upTo(11, 12)) {
			t.Errorf("after a crash: %v", got)
		}
		fs.StopAll()
		fs2.StopAll()
		more(t, a, 13, 14)
		stopped := &diary{name: "d"}
		fs3 := &Followers{Spool: a.Spool, State: db}
		if err := fs3.Start(t.Context(), stopped, AtBeginning); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := stopped.seen(); !slices.Equal(got, upTo(13, 14)) {
			t.Errorf("after a stop: %v", got)
		}
		fs3.StopAll()
	})
}

func TestFollowerOfAnotherLog(t *testing.T) {
	db := openState(t)
	synctest.Test(t, func(t *testing.T) {
		for round, c := range []struct {
			at   Start
			want []spool.Seq
		}{{AtBeginning, upTo(1, 3)}, {AtEnd, nil}, {AtBeginning, upTo(1, 3)}} {
			a := logOf(t, 3) // a new log each time
			fs := &Followers{Spool: a.Spool, State: db}
			d := &diary{name: "d"}
			if err := fs.Start(t.Context(), d, c.at); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if got := d.seen(); !slices.Equal(got, c.want) {
				t.Errorf("round %d: %v, want %v", round, got, c.want)
			}
			fs.StopAll()
		}
	})
}

func TestFollowerErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := logOf(t, 5)
		down := true
		d := &diary{name: "d"}
		d.fail = func(s spool.Seq) error {
			switch {
			case s == 2:
				return spool.Permanent(errors.New("not for me"))
			case s == 4 && down:
				return errors.New("server away")
			}
			return nil
		}
		other := &diary{name: "other"}
		fs := &Followers{Spool: a.Spool}
		for _, f := range []spool.Follower{d, other} {
			if err := fs.Start(t.Context(), f, AtBeginning); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if got := d.seen(); !slices.Equal(got, []spool.Seq{1, 3}) {
			t.Errorf("%v", got)
		}
		if got := other.seen(); !slices.Equal(got, upTo(1, 5)) {
			t.Errorf("the other one was held up: %v", got)
		}
		for _, l := range fs.Lags() {
			if l.Name == "d" && (l.Done != 3 || l.Behind != 2 || l.Error == "" || l.Skipped != 1) {
				t.Errorf("%+v", l)
			}
		}
		d.mu.Lock()
		down = false
		d.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := d.seen(); !slices.Equal(got, []spool.Seq{1, 3, 4, 5}) {
			t.Errorf("%v", got)
		}
		fs.Stop("d")
		for _, l := range fs.Lags() {
			if l.Name == "d" {
				t.Errorf("still there: %+v", l)
			}
		}
		fs.StopAll()
		if err := fs.Start(t.Context(), d, AtBeginning); err == nil {
			t.Error("started after the end")
		}
	})
}

// What was removed at the log's end must not make a follower spin or lag.
func TestFollowerPassesRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := logOf(t, 3)
		if err := a.Spool.Remove(t.Context(), 3, nil, testNow.Add(day)); err != nil {
			t.Fatal(err)
		}
		fs := &Followers{Spool: a.Spool}
		d := &diary{name: "d"}
		if err := fs.Start(t.Context(), d, AtBeginning); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // would not return if it spun
		if l := fs.Lags(); l[0].Done != 3 || l[0].Behind != 0 {
			t.Errorf("%+v", l)
		}
		fs.StopAll()
	})
}

// pipe has entries in work and forgets them when its line breaks.
type pipe struct {
	diary
	done spool.Seq
}

func (p *pipe) Done() spool.Seq {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

func TestFollowerPipelined(t *testing.T) {
	db := openState(t)
	synctest.Test(t, func(t *testing.T) {
		a := logOf(t, 6)
		p := &pipe{diary: diary{name: "p"}}
		broke := false
		p.fail = func(s spool.Seq) error {
			if s == 5 && !broke {
				broke, p.done = true, 2 // 3 and 4 were under way
				return errors.New("line broke")
			}
			return nil
		}
		fs := &Followers{Spool: a.Spool, State: db}
		if err := fs.Start(t.Context(), p, AtBeginning); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got, want := p.seen(), append(upTo(1, 4), upTo(3, 6)...); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		if s := fs.Saved("p"); s != 2 {
			t.Errorf("saved %d", s)
		}
		fs.StopAll()
	})
}

// All cursors that have risen are saved together, and a follower that was stopped
// and forgotten is not saved again.
func TestCursorsAreSavedTogether(t *testing.T) {
	db := openState(t)
	synctest.Test(t, func(t *testing.T) {
		a := logOf(t, 3)
		fs := &Followers{Spool: a.Spool, State: db}
		names := []string{"d1", "d2", "d3"}
		for _, n := range names {
			if err := fs.Start(t.Context(), &diary{name: n}, AtBeginning); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(3 * time.Second) // the clock of the bubble
		synctest.Wait()
		for _, n := range names {
			if s := fs.Saved(n); s != 3 {
				t.Errorf("%s: saved %d", n, s)
			}
		}
		more(t, a, 4, 40) // many at once: it gathers, and comes to the end all the same
		time.Sleep(time.Second)
		synctest.Wait()
		for _, l := range fs.Lags() {
			if l.Done != 40 || l.Behind != 0 {
				t.Errorf("%+v", l)
			}
		}
		fs.Stop("d2")
		if err := fs.Forget("d2"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		fs.StopAll()
		again := &Followers{Spool: a.Spool, State: db}
		for i, n := range names {
			seq, err := again.cursor(n, AtBeginning)
			if want := []spool.Seq{40, 0, 40}[i]; err != nil || seq != want {
				t.Errorf("%s: %d, %v", n, seq, err)
			}
		}
	})
}
