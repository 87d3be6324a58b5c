//go:build !notorrent

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTorrentQuota, on a whole node: what does not fit is refused with the numbers and
// leaves nothing; what was removed makes room for the next and does not come back,
// whether the node saw the article that names it before or after.
func TestTorrentQuota(t *testing.T) {
	for _, c := range []struct {
		name string
		seen bool
	}{{"removed at once", false}, {"removed after its article was seen", true}} {
		t.Run(c.name, func(t *testing.T) { quotaHolds(t, c.seen) })
	}
}

func quotaHolds(t *testing.T, seen bool) {
	n := startNode(t, "a", "quota = \"512KiB\"\n")
	write := func(name string, octets int) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, bytes.Repeat([]byte(name), octets/len(name)), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	first, second := write("first.ogg", 300000), write("zweite.ogg", 400000)
	if out, code := n.cmd("torrent", "add", "--group", "mesh.talk", first); code != 0 {
		t.Fatalf("add: %d %s", code, out)
	}
	if out, code := n.cmd("torrent", "add", "--group", "mesh.talk", second); code == 0 || !strings.Contains(out, "holds 299997 of 524288 octets, 400000 more do not fit") {
		t.Errorf("over the quota: %d %s", code, out)
	}
	l := n.torrents(t)
	if len(l) != 1 || l["first.ogg"].Class != "own" {
		t.Fatalf("%+v", l)
	}
	if seen {
		n.awaitTorrent(t, "first.ogg", func(l torrentJSON) bool { return l.Articles == 1 })
	}
	if out, code := n.cmd("torrent", "rm", l["first.ogg"].Infohash); code != 0 {
		t.Fatalf("rm: %s", out)
	}
	if out, code := n.cmd("torrent", "add", second); code != 0 {
		t.Fatalf("no room after rm: %d %s", code, out)
	}
	first1 := n.awaitTorrent(t, "first.ogg", func(l torrentJSON) bool { return l.Articles == 1 })
	if first1.State != "known" || first1.Have != 0 || first1.Class != "cache" {
		t.Errorf("removed, and yet %+v", first1)
	}
	if l := n.torrents(t)["zweite.ogg"]; !l.Pinned || l.State != "verified" {
		t.Errorf("%+v", l)
	}
}

// TestGroupRmFreesFiles: a file whose articles went with their group is cache at once,
// not only at the next round.
func TestGroupRmFreesFiles(t *testing.T) {
	n := startNode(t, "a", "")
	file := filepath.Join(t.TempDir(), "show.ogg")
	if err := os.WriteFile(file, make([]byte, 300000), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"group", "add", "mesh.radio"}, {"torrent", "add", "--group", "mesh.radio", file}} {
		if out, code := n.cmd(args...); code != 0 {
			t.Fatalf("%v: %d %s", args, code, out)
		}
	}
	n.awaitTorrent(t, "show.ogg", func(l torrentJSON) bool { return l.Articles == 1 && l.Class == "own" })
	if out, code := n.cmd("group", "rm", "mesh.radio"); code != 0 {
		t.Fatalf("group rm: %s", out)
	}
	n.awaitTorrent(t, "show.ogg", func(l torrentJSON) bool { return l.Articles == 0 && l.Class == "cache" })
}

// torrents is what "torrent list" shows, by name.
func (n testNode) torrents(t *testing.T) map[string]torrentJSON {
	t.Helper()
	var list []torrentJSON
	text, code := n.cmd("torrent", "list", "--json")
	if err := json.Unmarshal([]byte(text), &list); err != nil || code != 0 {
		t.Fatalf("list: %d %s %v", code, text, err)
	}
	out := map[string]torrentJSON{}
	for _, l := range list {
		out[l.Name] = l
	}
	return out
}

// awaitTorrent waits until a torrent is as it should be: followers and rounds are
// not waited for by commands.
func (n testNode) awaitTorrent(t *testing.T, name string, ok func(torrentJSON) bool) torrentJSON {
	t.Helper()
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		l, here := n.torrents(t)[name]
		if here && ok(l) {
			return l
		}
		if time.Now().After(until) {
			t.Fatalf("%s stays %+v", name, l)
		}
	}
}
