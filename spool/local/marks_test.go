package local

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/litfass/litfass/spool"
)

// A restored meta log alone keeps every number from being given again.
func TestNoteMarksOutliveTheLog(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	s, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.PutGroups(ctx, spool.GroupInfo{Name: "a.b"}); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		mustPut(t, s, i, "a.b")
	}
	if err := s.NoteMarks(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Name() != "meta.log" {
			if err := os.RemoveAll(filepath.Join(dir, f.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	if s, err = Open(Config{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if g, err := s.Group(ctx, "a.b"); err != nil || g.High != 3 || g.Count != 0 {
		t.Errorf("%+v, %v", g, err)
	}
	if e := mustPut(t, s, 9, "a.b"); e.Places[0].Number != 4 {
		t.Errorf("number %d given after 3", e.Places[0].Number)
	}
}
