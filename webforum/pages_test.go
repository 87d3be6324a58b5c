package webforum

import (
	"io/fs"
	"path"
	"strings"
	"testing"
)

// TestPagesParse: since a page is made when it is first shown, none may wait for a
// visitor with a mistake in it.
func TestPagesParse(t *testing.T) {
	all, err := loadTexts()
	if err != nil {
		t.Fatal(err)
	}
	names, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil || len(names) < 10 {
		t.Fatalf("%d templates, %v", len(names), err)
	}
	for lang, tx := range all {
		for _, n := range names {
			name := strings.TrimSuffix(path.Base(n), ".html")
			if name == "base" || name == "parts" {
				continue
			}
			first, err := tx.page(name)
			if err != nil {
				t.Errorf("%s: %v", lang, err)
				continue
			}
			if again, err := tx.page(name); err != nil || again != first {
				t.Errorf("%s: %s is made twice (%v)", lang, name, err)
			}
		}
		if _, err := tx.page("no-such-page"); err == nil {
			t.Error("a page without a template")
		}
	}
}
