package past

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
)

func book(t *testing.T) *Book {
	t.Helper()
	db, err := state.Open(filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return &Book{DB: db, Now: func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }}
}

func make1(t *testing.T, id, body string) *article.Article {
	t.Helper()
	wire, err := article.Normalize([]byte("Path: x\nFrom: a@b.example\nNewsgroups: a.b\nSubject: s\nMessage-ID: "+id+"\nDate: Mon, 05 Jan 2026 10:00:00 +0000\n\n"+body+"\n"), article.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := article.Parse(wire, article.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestVersions(t *testing.T) {
	b := book(t)
	if list, err := b.Before("<v3@x>"); err != nil || list != nil {
		t.Errorf("of nothing: %v %v", list, err)
	}
	for range 2 { // again does no harm
		if err := b.Keep(make1(t, "<v1@x>", "one"), "<v2@x>"); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Keep(make1(t, "<v2@x>", strings.Repeat("two ", MaxSize/20)+"\n"+strings.Repeat(strings.Repeat("x", 70)+"\n", MaxSize/60)), "<v3@x>"); err != nil {
		t.Fatal(err)
	}
	list, err := b.Before("<v3@x>")
	if err != nil || len(list) != 2 || list[0].ID != "<v2@x>" || list[1].ID != "<v1@x>" {
		t.Fatalf("versions %v, %v", list, err)
	}
	if list[0].Wire != nil || !strings.Contains(string(list[1].Wire), "\r\none\r\n") || list[1].Date.Day() != 5 {
		t.Errorf("kept %q", list)
	}
	if m, err := b.Replaced([]article.ID{"<v3@x>", "<v2@x>", "<v1@x>"}); err != nil || len(m) != 2 || len(m["<v3@x>"]) != 2 || m["<v2@x>"][0].ID != "<v1@x>" {
		t.Errorf("replaced %v, %v", m, err)
	}
	if err := b.Keep(make1(t, "<l@x>", "loop"), "<l@x>"); err != nil {
		t.Fatal(err)
	}
	if list, err := b.Before("<l@x>"); err != nil || len(list) != Deepest {
		t.Errorf("a loop: %d, %v", len(list), err)
	}
}

func TestBounded(t *testing.T) {
	b := book(t)
	a := make1(t, "<o@x>", "old")
	err := b.DB.Update(func(tx *state.Tx) error { // as if Most-1 had been kept
		for n := range Most - 1 {
			k, err := tx.Next(order)
			if err != nil {
				return err
			}
			id := fmt.Sprintf("<n%d@x>", n)
			if err := tx.Put(order, number(k), []byte(id)); err != nil {
				return err
			}
			if err := b.table().PutIn(tx, id, Version{ID: "<o@x>"}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if err := b.Keep(a, article.ID(fmt.Sprintf("<late%d@x>", n))); err != nil {
			t.Fatal(err)
		}
	}
	keys, _, err := b.table().List("")
	if err != nil || len(keys) != Most {
		t.Errorf("%d are kept, %v; want %d", len(keys), err, Most)
	}
	if list, _ := b.Before("<n0@x>"); list != nil {
		t.Error("the oldest is still there")
	}
}
