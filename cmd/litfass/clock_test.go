package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestClockOff: a node whose clock is two days off, then right again, loses nothing
// that it acknowledged, numbers on, and says what is wrong with dates.
func TestClockOff(t *testing.T) {
	n := newNode(t, "node", badPeer)
	kept := acknowledged{}
	for i, offset := range []string{"", "48h", "", "-48h", ""} {
		stop := n.start(t, offset)
		w := dialNode(t, n.nntp)
		if offset == "-48h" { // what others write now lies ahead for it
			id := "<early@bad.example>"
			w.say("TAKETHIS %s\r\n%s.\r\n", id, goodArticle(id, "body of early"))
			if l := w.want("439"); !strings.Contains(l, "clock") && !strings.Contains(l, "ahead") && !strings.Contains(l, "future") {
				t.Errorf("clock %s: %q does not say that the date lies ahead", offset, l)
			}
		} else {
			kept.bring(w, fmt.Sprintf("clock-%d", i))
		}
		nntpPost(t, n.nntp, fmt.Sprintf("From: a@a.example\r\nNewsgroups: mesh.test\r\nSubject: clock %d\r\nMessage-ID: <own-%d@bad.example>\r\n\r\nown\r\n", i, i))
		kept[fmt.Sprintf("<own-%d@bad.example>", i)] = "own"
		if out, code := n.cmd("spool", "expire"); code != 0 {
			t.Errorf("spool expire: %s", out)
		}
		kept.verify(t, n)
		stop()
	}
	n.start(t, "")
	w := dialNode(t, n.nntp)
	kept.bring(w, "early") // it was refused for its date alone: it may come now
	kept.verify(t, n)
	w.say("GROUP mesh.test\r\n")
	if l := w.want("211"); !strings.HasPrefix(l, "211 10 1 10 ") {
		t.Errorf("GROUP says %q", l)
	}
	w.say("NEWNEWS mesh.test %s GMT\r\n", time.Now().Add(-time.Hour).UTC().Format("20060102 150405"))
	w.want("230")
	if list := w.block(); !strings.Contains(list, "<clock-4@bad.example>") || !strings.Contains(list, "<early@bad.example>") {
		t.Errorf("NEWNEWS of the last hour lists %q", list)
	}
}
