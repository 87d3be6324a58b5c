package ward

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/internal/state"
)

func open(t *testing.T) (*Ward, *state.DB) {
	t.Helper()
	db, err := state.Open(filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	w, err := New(db, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return w, db
}

func TestDecisions(t *testing.T) {
	w, db := open(t)
	if err := w.Do(Hide, "<a@b>", " \n ", "ann"); !errors.Is(err, ErrReason) {
		t.Errorf("without reason: %v", err)
	}
	if err := w.Do(UnbanKey, "k", "", "ann"); !errors.Is(err, ErrNotFound) {
		t.Errorf("undo of nothing: %v", err)
	}
	before := w.Stamp()
	for _, d := range [][2]string{{Hide, "<a@b>"}, {BanKey, "key"}, {BanAccount, "bob"}} {
		if err := w.Do(d[0], d[1], "because\nof it", "ann"); err != nil {
			t.Fatal(err)
		}
	}
	if w.Stamp() == before {
		t.Error("the stamp did not change")
	}
	again, err := New(db, time.Now) // as after a restart
	if err != nil {
		t.Fatal(err)
	}
	if n, ok := again.Hidden("<a@b>", ""); !ok || n.Reason != "because of it" || n.By != "ann" {
		t.Errorf("hidden: %v %v", n, ok)
	}
	if _, ok := again.Hidden("<c@d>", "key"); !ok {
		t.Error("an article of a barred key is shown")
	}
	if err := w.Do(Show, "<a@b>", "", "ann"); err != nil {
		t.Fatal(err)
	}
	if err := w.Do(UnbanKey, "key", "", "ann"); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.Hidden("<a@b>", "key"); ok {
		t.Error("still hidden")
	}
	first, next, err := w.Log("", 3)
	if err != nil || len(first) != 3 || first[0].Act != UnbanKey || next == "" {
		t.Fatalf("log: %v %q %v", first, next, err)
	}
	rest, next, err := w.Log(next, 3)
	if err != nil || len(rest) != 2 || rest[1].Act != Hide || next != "" {
		t.Errorf("the rest: %v %q %v", rest, next, err)
	}
}

func TestReports(t *testing.T) {
	w, _ := open(t)
	for range eachMost + 5 {
		if err := w.Report("<a@b>", strings.Repeat("ä", ReasonMost), "ann"); err != nil {
			t.Fatal(err)
		}
	}
	list, err := w.Reports()
	if err != nil || len(list) != 1 || len(list[0].Notes) != eachMost || len(list[0].Notes[0].Reason) > ReasonMost {
		t.Fatalf("%d %v", len(list), err)
	}
	if err := w.Dismiss("<a@b>"); err != nil {
		t.Fatal(err)
	}
	if list, _ := w.Reports(); len(list) != 0 {
		t.Error("still there")
	}
}
