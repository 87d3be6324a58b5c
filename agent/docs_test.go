package agent

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every reason code that the sources can say stands in docs/agent.md.
func TestCodesAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/agent.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	said := regexp.MustCompile(`(?:Code: |malformed\()"([a-z-]+)"`)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range said.FindAllSubmatch(src, -1) {
			want := "`" + string(m[1])
			if !strings.HasSuffix(want, "-") {
				want += "`"
			}
			if !strings.Contains(string(doc), want) {
				t.Errorf("%s: code %s is not in docs/agent.md", file, m[1])
			}
		}
	}
}
