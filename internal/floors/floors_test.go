package floors

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/litfass/litfass/"

// floor says on which floor a package stands: docs/architecture.md §3. A package
// may import those of lower floors only.
var floor = map[string]int{
	"cmd/litfass": 4,

	"nntpd": 3, "smtpd": 3, "smtpd/courier": 3, "webforum": 3,
	"feeds": 3, "feeds/peer": 3, "feeds/syndicate": 3, "feeds/batch": 3,
	"discover": 3, "pki/directory": 3, "torrent/web": 3, "torrent/tracker": 3,

	"agent": 2, "spool/local": 2, "spool/search": 2, "spool/threads": 2, "spool/spooltest": 2, "torrent": 2, "webforum/ward": 2,

	"spool": 1, "pki": 1, "members": 1, "webforum/past": 1, "feeds/peer/invite": 1, "article/content": 1, "internal/nntp": 1, "smtpd/letters": 1, "smtpd/alignment": 1, "smtpd/dialog": 1,

	"article": 0, "internal/wildmat": 0, "internal/disk": 0, "internal/state": 0,
	"internal/tlsid": 0, "internal/spill": 0,

	"internal/floors": 0, // this test
}

// owner says who may import a heavy module.
var owner = map[string][]string{
	"github.com/anacrolix/":              {"torrent", "torrent/tracker"},
	"github.com/blevesearch/bleve":       {"spool/search"},
	"go.etcd.io/bbolt":                   {"spool/local", "internal/state"},
	"github.com/emersion/go-smtp":        {"smtpd/dialog", "smtpd/courier"},
	"github.com/emersion/go-msgauth":     {"smtpd", "smtpd/alignment"},
	"github.com/emersion/go-message":     {"smtpd/courier"},
	"github.com/microcosm-cc/bluemonday": {"article/content"},
	"github.com/mmcdole/gofeed":          {"feeds/syndicate"},
	"github.com/BurntSushi/toml":         {"cmd/litfass"},
	"github.com/oasisprotocol/":          {"pki"},
}

// doors never import these: cmd/litfass hands them in, or nil.
var notInDoors = []string{"torrent", "spool/search"}

func TestImportsPointDown(t *testing.T) {
	for _, tags := range []string{"", "notorrent,nosearch"} {
		out := goList(t, "-tags", tags, "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, "./...")
		for line := range strings.Lines(out) {
			words := strings.Fields(line)
			checkPackage(t, strings.TrimPrefix(words[0], module), words[1:])
		}
	}
}

func checkPackage(t *testing.T, pkg string, imports []string) {
	if pkg == "test" || strings.HasPrefix(pkg, "test/") || pkg == "bench" || strings.HasPrefix(pkg, "bench/") {
		return // tests may import what they like
	}
	mine, known := floor[pkg]
	if !known {
		t.Errorf("%s: no floor is known for it; give it one in docs/architecture.md and here", pkg)
		return
	}
	for _, imp := range imports {
		for heavy, owners := range owner {
			if strings.HasPrefix(imp, heavy) && !contains(owners, pkg) {
				t.Errorf("%s imports %s, which belongs to %s", pkg, imp, strings.Join(owners, " and "))
			}
		}
		other, ours := strings.CutPrefix(imp, module)
		if !ours {
			continue
		}
		if theirs, ok := floor[other]; !ok || theirs >= mine {
			t.Errorf("%s (floor %d) imports %s (floor %d): imports point strictly down", pkg, mine, other, floor[other])
		}
		if mine == 3 && contains(notInDoors, other) && !strings.HasPrefix(pkg, other+"/") {
			t.Errorf("%s imports %s: declare the small interface it uses, cmd/litfass hands it in", pkg, other)
		}
	}
}

// TestPackageComments: a package says in its doc.go what it is for.
func TestPackageComments(t *testing.T) {
	for line := range strings.Lines(goList(t, "-f", `{{.ImportPath}}|{{.Doc}}`, "./...")) {
		pkg, doc, _ := strings.Cut(strings.TrimSpace(line), "|")
		if doc == "" && !strings.Contains(pkg, "/test/") {
			t.Errorf("%s has no package comment", pkg)
		}
	}
}

// TestFloorsAreDocumented: each room of the table stands in docs/architecture.md.
func TestFloorsAreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range floor {
		if !strings.Contains(string(text), "`"+pkg+"/`") {
			t.Errorf("docs/architecture.md does not name the room `%s/`", pkg)
		}
	}
}

func goList(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return string(out)
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
