//go:build interop

package interop

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/litfass/litfass/test/nodebox"
)

// built is where the binary lies once one test has asked for it.
var built struct {
	once sync.Once
	dir  string
	bin  string
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// litfass returns the path of the binary: $LITFASS_BIN, or built now.
func litfass(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		if built.bin = os.Getenv("LITFASS_BIN"); built.bin != "" {
			built.bin, built.err = filepath.Abs(built.bin)
			return
		}
		if built.dir, built.err = os.MkdirTemp("", "litfass-bin-"); built.err == nil {
			built.bin, built.err = nodebox.Build(context.Background(), built.dir)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.bin
}
