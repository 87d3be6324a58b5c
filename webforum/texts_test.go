package webforum

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestTexts(t *testing.T) {
	all, err := loadTexts()
	if err != nil {
		t.Fatal(err)
	}
	en := all["en"].words
	for lang, x := range all {
		for k, s := range en {
			if _, ok := x.words[k]; !ok {
				t.Errorf("%s: no text for %s", lang, k)
			} else if strings.Count(s, "%") != strings.Count(x.words[k], "%") {
				t.Errorf("%s: %s fills in other things", lang, k)
			}
		}
		for k := range x.words {
			if _, ok := en[k]; !ok {
				t.Errorf("%s: %s is not in en", lang, k)
			}
		}
	}
	var code strings.Builder
	for _, pat := range []string{"*.go", "templates/*.html"} {
		files, _ := filepath.Glob(pat)
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(f, "_test.go") {
				code.Write(b)
			}
		}
	}
	used := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?:\.T|\.N|errPage\([^,]+,|fail\([^,]+,|bad\("[a-z]*",) ?\(?(?:printf )?"([a-z.]+)(?:%s)?"`).FindAllStringSubmatch(code.String(), -1) {
		used[m[1]] = true
		if en[m[1]] == "" && en[m[1]+".one"] == "" && !strings.HasSuffix(m[1], ".") {
			t.Errorf("%s is used and has no text", m[1])
		}
	}
	part := func(k string) bool { // T("log." + act) uses all of log.
		i := strings.LastIndexByte(k, '.')
		return i > 0 && used[k[:i+1]]
	}
	for k := range en {
		base := strings.TrimSuffix(strings.TrimSuffix(k, ".one"), ".other")
		if !used[k] && !used[base] && !part(k) && !strings.HasPrefix(k, "trust.why.") && !strings.HasPrefix(k, "view.") && !strings.HasPrefix(k, "date.") && !strings.HasPrefix(k, "refusal.") {
			t.Errorf("%s is used nowhere", k)
		}
	}
}
