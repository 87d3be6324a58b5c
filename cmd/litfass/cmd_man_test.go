package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestManual: docs/litfass.1 is what the table of commands says.
func TestManual(t *testing.T) {
	if find(commands(), "torrent") == nil {
		t.Skip("built without torrent: the manual is that of the whole program")
	}
	var b bytes.Buffer
	printManual(&b)
	golden := filepath.Join("..", "..", "docs", "litfass.1")
	if want, err := os.ReadFile(golden); err != nil || !bytes.Equal(b.Bytes(), want) {
		t.Errorf("%s differs from the code (%v): go run ./cmd/litfass manual > docs/litfass.1", golden, err)
	}
}

func TestCompletion(t *testing.T) {
	var bash, fish bytes.Buffer
	completeBash(&bash)
	completeFish(&fish)
	for what, in := range map[string]string{"'peer add'*": bash.String(), "--key": bash.String(), "-a backup": fish.String()} {
		if !strings.Contains(in, what) {
			t.Errorf("no %q", what)
		}
	}
}
