package agent

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/spooltest"
)

var update = flag.Bool("update", false, "write the golden files again")

// Each hostile article meets a known answer, as a peer's and as an import, and
// leaves nothing behind but itself: no group, and no order that acts.
func TestHostile(t *testing.T) {
	now := time.Date(2026, 9, 22, 13, 0, 0, 0, time.UTC)
	files, err := filepath.Glob("testdata/hostile/*.art")
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	var got strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		mem := spooltest.NewMem()
		if err := mem.PutGroups(t.Context(), spool.GroupInfo{Name: "mesh.test", Status: spool.PostOpen}); err != nil {
			t.Fatal(err)
		}
		a := &Agent{Host: "self.mesh.example", Spool: mem, Peers: PeerList{{Name: "peer", Path: "peer.mesh.example"}},
			Policy: Policy{Cutoff: 90 * day}, Now: func() time.Time { return now }}
		fmt.Fprintf(&got, "%s\t%s\t%s\n", strings.TrimSuffix(filepath.Base(file), ".art"),
			hostile(t, a, text, spool.Relayed), hostile(t, a, text, spool.Imported))
		groups := 0
		for g, err := range mem.Groups(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if g.Name != "mesh.test" && !strings.HasPrefix(string(g.Name), "control") {
				t.Errorf("%s made group %q", file, g.Name)
			}
			groups++
		}
	}
	golden := "testdata/hostile/answers.tsv"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(got.String(), "\n") {
		if w := strings.Split(string(want), "\n"); i >= len(w) || w[i] != line {
			t.Errorf("%s, want %s", line, w[min(i, len(w)-1)])
		}
	}
}

func hostile(t *testing.T, a *Agent, text []byte, how spool.How) string {
	t.Helper()
	wire, err := article.Normalize(bytes.Clone(text), article.Limits{})
	if err != nil {
		return code(syntaxRefusal(err))
	}
	var e spool.Entry
	if how == spool.Imported {
		e, err = a.Import(t.Context(), wire, Origin{Door: "import"})
	} else {
		e, err = a.Relay(t.Context(), wire, Origin{Door: "nntp", Peer: "peer"})
	}
	if err != nil {
		return code(err)
	}
	if err := (&Control{a}).Follow(t.Context(), e); err != nil {
		t.Error(err)
	}
	if n := strings.Count(string(open(t, a, e.ID).Head()), "\nPath: self.mesh.example!"); n > 1 {
		t.Errorf("%s: %d Path fields of ours", e.ID, n)
	}
	return "ok"
}
