package members

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/internal/state"
)

func shelf(t *testing.T) *Book {
	t.Helper()
	db, err := state.Open(filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := &Book{DB: db, Now: func() time.Time { at = at.Add(time.Second); return at }}
	for _, n := range []string{"ann", "anna", "bob"} {
		if err := b.Add(context.Background(), Account{Name: n}, ""); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func TestWatch(t *testing.T) {
	ctx, b := context.Background(), shelf(t)
	for _, w := range [...][2]string{{"ann", "<a@x>"}, {"anna", "<a@x>"}, {"bob", "<b@x>"}, {"ann", "<b@x>"}, {"ann", "<a@x>"}} {
		if err := b.Watch(ctx, w[0], Watch{Root: w[1], Group: "misc.test", Subject: "S"}); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := b.Watches(ctx, "ann"); err != nil || len(list) != 2 {
		t.Errorf("ann watches %v, %v", list, err)
	}
	who, err := b.Watchers(ctx, "<a@x>", "<b@x>", "<c@x>")
	if want := []string{"ann", "anna", "bob"}; err != nil || !slices.Equal(who, want) {
		t.Errorf("watchers %v, %v; want %v", who, err, want)
	}
	if err := b.Unwatch(ctx, "ann", "<a@x>"); err != nil {
		t.Fatal(err)
	}
	if who, _ := b.Watchers(ctx, "<a@x>"); !slices.Equal(who, []string{"anna"}) {
		t.Errorf("after unwatch: %v", who)
	}
	if err := b.Watch(ctx, "carol", Watch{Root: "<a@x>"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("of nobody: %v", err)
	}
	if err := b.Watch(ctx, "ann", Watch{Root: "<a\x00@x>"}); err == nil {
		t.Error("NUL taken")
	}
	if err := b.Remove(ctx, "anna"); err != nil {
		t.Fatal(err)
	}
	if who, _ := b.Watchers(ctx, "<a@x>"); len(who) != 0 {
		t.Errorf("after the account went: %v", who)
	}
}

func TestShelfIsBounded(t *testing.T) {
	ctx, b := context.Background(), shelf(t)
	var err error
	n := 0
	for ; err == nil && n <= MaxDrafts; n++ {
		err = b.KeepDraft(ctx, "ann", Draft{ID: fmt.Sprint("d", n), Fields: map[string]string{"body": "x"}})
	}
	if !errors.Is(err, ErrFull) || n != MaxDrafts+1 {
		t.Errorf("after %d drafts: %v", n, err)
	}
	if err := b.KeepDraft(ctx, "ann", Draft{ID: "d0", Fields: map[string]string{"body": "again"}}); err != nil {
		t.Errorf("a new state of an old draft: %v", err)
	}
	big := map[string]string{"body": strings.Repeat("x", MaxDraft-100)}
	for n = 0; n < 20; n++ {
		if err = b.KeepDraft(ctx, "bob", Draft{ID: fmt.Sprint("d", n), Fields: big}); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrFull) || n > MaxDraftsAll/(MaxDraft-100) {
		t.Errorf("after %d large drafts: %v", n, err)
	}
	big["body"] += strings.Repeat("x", 200)
	if err := b.KeepDraft(ctx, "anna", Draft{ID: "d", Fields: big}); !errors.Is(err, ErrFull) {
		t.Errorf("a huge draft: %v", err)
	}
}

func TestDraftsAndMutes(t *testing.T) {
	ctx, b := context.Background(), shelf(t)
	for _, id := range []string{"one", "two"} {
		if err := b.KeepDraft(ctx, "ann", Draft{ID: id, Action: "/g/x/post", Fields: map[string]string{"body": id}}); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := b.Drafts(ctx, "ann"); err != nil || len(list) != 2 || list[0].ID != "two" {
		t.Errorf("drafts %v, %v", list, err)
	}
	if d, err := b.Draft(ctx, "ann", "one"); err != nil || d.Fields["body"] != "one" {
		t.Errorf("draft %v, %v", d, err)
	}
	if _, err := b.Draft(ctx, "anna", "one"); !errors.Is(err, ErrNotFound) {
		t.Errorf("somebody else's draft: %v", err)
	}
	for range 2 {
		if err := b.DropDraft(ctx, "ann", "one"); err != nil {
			t.Error(err)
		}
	}
	if err := b.Mute(ctx, "ann", Mute{Identity: "abc", Name: "Troll"}); err != nil {
		t.Fatal(err)
	}
	if list, err := b.Mutes(ctx, "ann"); err != nil || len(list) != 1 || list[0].Name != "Troll" {
		t.Errorf("mutes %v, %v", list, err)
	}
	if err := b.Unmute(ctx, "ann", "abc"); err != nil {
		t.Error(err)
	}
	if err := b.Mute(ctx, "ann", Mute{Identity: "abc"}); err != nil {
		t.Fatal(err)
	}
	if err := b.Remove(ctx, "ann"); err != nil {
		t.Fatal(err)
	}
	drafts, _ := b.Drafts(ctx, "ann")
	mutes, _ := b.Mutes(ctx, "ann")
	if len(drafts)+len(mutes) != 0 {
		t.Errorf("left behind: %v %v", drafts, mutes)
	}
}

func TestStamp(t *testing.T) {
	ctx, b := context.Background(), shelf(t)
	for name, change := range map[string]func() error{
		"read":    func() error { return b.Mark(ctx, "ann", "misc.test", 1, 5, true) },
		"watch":   func() error { return b.Watch(ctx, "ann", Watch{Root: "<a@x>"}) },
		"unwatch": func() error { return b.Unwatch(ctx, "ann", "<a@x>") },
		"mute":    func() error { return b.Mute(ctx, "ann", Mute{Identity: "abc"}) },
		"unmute":  func() error { return b.Unmute(ctx, "ann", "abc") },
	} {
		before, other := b.Stamp("ann"), b.Stamp("bob")
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if b.Stamp("ann") == before {
			t.Errorf("%s: the stamp stays", name)
		}
		if b.Stamp("bob") != other {
			t.Errorf("%s: bob's stamp changes", name)
		}
	}
}
