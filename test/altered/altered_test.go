package altered

import "testing"

// TestAll: there are many, each with a name of its own, and none is both.
func TestAll(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range All() {
		if seen[a.Name] || a.Sound && a.Broken {
			t.Errorf("%s", a.Name)
		}
		seen[a.Name] = true
	}
	if len(seen) < 700 {
		t.Errorf("%d torrents", len(seen))
	}
}
