//go:build !notorrent

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTorrentQuota, on a whole node: what does not fit is refused with the numbers and
// leaves nothing; what was removed makes room for the next.
func TestTorrentQuota(t *testing.T) {
	n := startNode(t, "a", "quota = \"512KiB\"\n")
	write := func(name string, octets int) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, bytes.Repeat([]byte(name), octets/len(name)), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	list := func() (out []torrentJSON) {
		text, code := n.cmd("torrent", "list", "--json")
		if err := json.Unmarshal([]byte(text), &out); err != nil || code != 0 {
			t.Fatalf("list: %d %s %v", code, text, err)
		}
		return out
	}
	first, second := write("first.ogg", 300000), write("zweite.ogg", 400000)
	if out, code := n.cmd("torrent", "add", "--group", "mesh.talk", first); code != 0 {
		t.Fatalf("add: %d %s", code, out)
	}
	if out, code := n.cmd("torrent", "add", "--group", "mesh.talk", second); code == 0 || !strings.Contains(out, "holds 299997 of 524288 octets, 400000 more do not fit") {
		t.Errorf("over the quota: %d %s", code, out)
	}
	if l := list(); len(l) != 1 || l[0].Class != "own" {
		t.Errorf("%+v", l)
	}
	if out, code := n.cmd("torrent", "rm", list()[0].Infohash); code != 0 {
		t.Fatalf("rm: %s", out)
	}
	if out, code := n.cmd("torrent", "add", second); code != 0 {
		t.Fatalf("no room after rm: %d %s", code, out)
	}
	if l := list(); len(l) == 0 || l[0].Name != "zweite.ogg" || !l[0].Pinned {
		t.Errorf("%+v", l)
	}
}
