package syndicate

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestFeedFolder reads every document below LITFASS_FEEDS and says how many parse, which
// are refused and why, and how much heap the worst of them took. With LITFASS_FEEDS_OUT
// what was read is written there, a line of JSON each.
func TestFeedFolder(t *testing.T) {
	dir := os.Getenv("LITFASS_FEEDS")
	if dir == "" {
		t.Skip("LITFASS_FEEDS names no folder of feeds")
	}
	var out *json.Encoder
	if name := os.Getenv("LITFASS_FEEDS_OUT"); name != "" {
		w, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		out = json.NewEncoder(w)
	}
	read, refused, worst, worstName := 0, 0, uint64(0), ""
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".txt") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var f *Feed
		var refusal error
		heap := allocated(func() { f, refusal = Parse(b, "", Bounds{}) })
		if heap > worst {
			worst, worstName = heap, path
		}
		if refusal != nil {
			refused++
			t.Logf("%s: %v", path, refusal)
		} else {
			read++
		}
		if out == nil {
			return nil
		}
		return out.Encode(map[string]any{"path": path, "feed": f, "refused": refusal != nil})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d read, %d refused; the most memory, all of it garbage or not, took %s: %d KiB", read, refused, worstName, worst>>10)
}

// allocated is what f takes from the heap in all.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
