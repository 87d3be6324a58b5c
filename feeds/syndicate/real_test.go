package syndicate

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/real/*.golden anew")

// TestRealDocuments: documents as others' parsers are tested with (feedparser, BSD;
// gofeed, MIT) give what stands beside them.
func TestRealDocuments(t *testing.T) {
	files, err := filepath.Glob("testdata/real/*.*")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range files {
		if strings.HasSuffix(file, ".golden") {
			continue
		}
		n++
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Parse(b, "", Bounds{})
		got := struct {
			Error string `json:",omitempty"`
			Feed  *Feed  `json:",omitempty"`
		}{Feed: f}
		if err != nil {
			got.Error = err.Error()
		}
		text, err := json.MarshalIndent(got, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, '\n')
		golden := file + ".golden"
		if *update {
			if err := os.WriteFile(golden, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(golden); err != nil || !bytes.Equal(want, text) {
			t.Errorf("%s (%v):\n%s", file, err, text)
		}
	}
	if n < 12 {
		t.Errorf("%d documents", n)
	}
}
