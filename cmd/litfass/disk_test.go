//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFullDisk: a real file system without room is "try later" for peers and
// posters; what was acknowledged is read on, and with more room all goes on.
func TestFullDisk(t *testing.T) {
	n := newNode(t, "node", badPeer)
	data := filepath.Join(n.dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", data, "tmpfs", 0, "size=12m"); err != nil {
		t.Skipf("a small file system to fill cannot be mounted (run as root): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(data, 0); err != nil {
			t.Error(err)
		}
	})
	stop := n.start(t, "")
	kept := acknowledged{}
	body := strings.TrimSuffix(strings.Repeat(strings.Repeat("d", 70)+"\r\n", 2000), "\r\n")
	full := false
	for i := 0; i < 200 && !full; i++ {
		id := fmt.Sprintf("<full-%d@bad.example>", i)
		l := bringOnce(t, n, id, body)
		switch {
		case strings.HasPrefix(l, "239 "):
			kept[id] = body
		case strings.HasPrefix(l, "400 "), l == "":
			full = true
		default:
			t.Fatalf("with a full disk TAKETHIS is answered %q", l)
		}
	}
	if !full || len(kept) == 0 {
		t.Fatalf("12 MiB took %d articles of 144 KB", len(kept))
	}
	w := dialNode(t, n.nntp)
	w.say("IHAVE <full-ihave@bad.example>\r\n")
	if l := w.line(); strings.HasPrefix(l, "335") {
		w.say("%s.\r\n", goodArticle("<full-ihave@bad.example>", body))
		w.want("436")
	} else if !strings.HasPrefix(l, "436") {
		t.Errorf("with a full disk IHAVE is answered %q", l)
	}
	w.say("POST\r\n")
	if l := w.line(); strings.HasPrefix(l, "340") {
		w.say("From: a@a.example\r\nNewsgroups: mesh.test\r\nSubject: full\r\n\r\n%s\r\n.\r\n", body)
		if l = w.want("441"); !strings.Contains(l, "later") {
			t.Errorf("with a full disk POST is answered %q", l)
		}
	}
	kept.verify(t, n)
	stop()
	stop = n.start(t, "") // it starts on a full disk, and serves
	kept.verify(t, n)
	if err := syscall.Mount("tmpfs", data, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	kept.bring(dialNode(t, n.nntp), "room-again")
	kept.verify(t, n)
	stop()
}

// bringOnce sends one article on a connection of its own; "" if that was closed.
func bringOnce(t *testing.T, n testNode, id, body string) string {
	t.Helper()
	w := dialNode(t, n.nntp)
	defer w.c.Close()
	w.say("TAKETHIS %s\r\n%s.\r\n", id, goodArticle(id, body))
	var b [512]byte
	k, _ := w.c.Read(b[:])
	return string(b[:k])
}
