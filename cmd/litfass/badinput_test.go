package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
)

const badPeer = `[[peer]]
name = "bad.example"
from = ["127.0.0.0/8"]
old = true
`

// wire is a connection to a node's NNTP port.
type wire struct {
	t  *testing.T
	c  net.Conn
	in *bytes.Buffer
}

func dialNode(t *testing.T, addr string) *wire {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	t.Cleanup(func() { c.Close() })
	w := &wire{t: t, c: c, in: new(bytes.Buffer)}
	w.want("200")
	return w
}

// line reads one line of an answer, with its end.
func (w *wire) line() string {
	w.t.Helper()
	for {
		if i := bytes.IndexByte(w.in.Bytes(), '\n'); i >= 0 {
			return string(w.in.Next(i + 1))
		}
		var b [4096]byte
		n, err := w.c.Read(b[:])
		w.in.Write(b[:n])
		if n == 0 && err != nil {
			w.t.Fatalf("the node said %q and then %v", w.in, err)
		}
	}
}

func (w *wire) want(code string) string {
	w.t.Helper()
	l := w.line()
	if !strings.HasPrefix(l, code) {
		w.t.Fatalf("the node says %q instead of %s", l, code)
	}
	return l
}

// block reads the lines of an answer up to the single dot.
func (w *wire) block() string {
	w.t.Helper()
	var b strings.Builder
	for {
		l := w.line()
		b.WriteString(l)
		if l == ".\r\n" {
			return b.String()
		}
	}
}

func (w *wire) say(format string, args ...any) {
	if _, err := fmt.Fprintf(w.c, format, args...); err != nil {
		w.t.Fatal(err)
	}
}

// acknowledged is what a node said it had stored: bodies by id.
type acknowledged map[string]string

func (a acknowledged) bring(w *wire, name string) {
	w.t.Helper()
	id := "<" + name + "@bad.example>"
	w.say("TAKETHIS %s\r\n%s.\r\n", id, goodArticle(id, "body of "+name))
	w.want("239 " + id)
	a[id] = "body of " + name
}

func goodArticle(id, body string) string {
	return "Path: bad.example!not-for-mail\r\nFrom: a@a.example\r\nNewsgroups: mesh.test\r\nSubject: good\r\nDate: " +
		article.FormatDate(time.Now()) + "\r\nMessage-ID: " + id + "\r\n\r\n" + body + "\r\n"
}

// verify reads every acknowledged article back.
func (a acknowledged) verify(t *testing.T, n testNode) {
	t.Helper()
	w := dialNode(t, n.nntp)
	for id, body := range a {
		w.say("BODY %s\r\n", id)
		w.want("222")
		if got := w.block(); got != body+"\r\n.\r\n" {
			t.Fatalf("the body of %s is %q, it was %q", id, got, body)
		}
	}
	if out, code := n.cmd("spool", "check"); code != 0 {
		t.Fatalf("spool check: %s", out)
	}
}

// TestBadInput: whatever a whole node is sent, it answers in words, goes on, and
// loses nothing of what it acknowledged before and meanwhile.
func TestBadInput(t *testing.T) {
	n := startNode(t, "node", badPeer)
	kept := acknowledged{}
	for _, c := range []struct {
		name string
		run  func(*testing.T, testNode, acknowledged)
	}{
		{"articles", badArticles}, {"shapes", badShapes}, {"streams", badStreams}, {"cut", cutStreams}, {"garbage", garbageOnPorts}, {"crowd", crowd},
	} {
		kept.bring(dialNode(t, n.nntp), "before-"+c.name)
		ok := t.Run(c.name, func(t *testing.T) { c.run(t, n, kept) })
		kept.bring(dialNode(t, n.nntp), "after-"+c.name)
		kept.verify(t, n)
		if !ok {
			return
		}
	}
}

// asWire makes a file into what goes over the wire: CRLF, dots doubled.
func asWire(text []byte) []byte {
	text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
	text = bytes.ReplaceAll(text, []byte("\n."), []byte("\n.."))
	if bytes.HasPrefix(text, []byte(".")) {
		text = append([]byte("."), text...)
	}
	if !bytes.HasSuffix(text, []byte("\r\n")) {
		text = append(text, "\r\n"...)
	}
	return append(text, ".\r\n"...)
}

// inWords: an answer to an article names it and says why.
var inWords = regexp.MustCompile(`^(239 \S+|439 \S+ \S.{5,}|240 .*|4(41|80) \S.{5,})\r\n$`)

// badArticles brings each article of the hostile corpus as a peer and as a poster.
func badArticles(t *testing.T, n testNode, _ acknowledged) {
	files, err := filepath.Glob("../../agent/testdata/hostile/*.art")
	if err != nil || len(files) < 50 {
		t.Fatal("the hostile articles are not there", len(files), err)
	}
	w := dialNode(t, n.nntp)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		w.say("TAKETHIS <%s@hostile.example>\r\n%s", filepath.Base(file), asWire(text))
		if l := w.line(); !inWords.MatchString(l) {
			t.Errorf("%s: TAKETHIS is answered %q", file, l)
		}
		w.say("POST\r\n")
		w.want("340")
		w.say("%s", asWire(text))
		if l := w.line(); !inWords.MatchString(l) {
			t.Errorf("%s: POST is answered %q", file, l)
		}
	}
}

// badShapes brings what is wrong by its size or by single octets.
func badShapes(t *testing.T, n testNode, _ acknowledged) {
	head := "Path: bad.example!x\r\nFrom: a@a.example\r\nSubject: s\r\nDate: " + article.FormatDate(time.Now()) + "\r\n"
	var groups strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&groups, ",\r\n g.n%d", i)
	}
	for name, c := range map[string]struct{ text, says string }{
		"10,000 groups":      {head + "Newsgroups: mesh.test" + groups.String() + "\r\nMessage-ID: %s\r\n\r\nx\r\n", "header|groups"},
		"1 MiB of header":    {head + "Newsgroups: mesh.test\r\nMessage-ID: %s\r\n" + strings.Repeat("X-Fill: "+strings.Repeat("f", 500)+"\r\n", 2000) + "\r\nx\r\n", "header|octets"},
		"one field of 1 MiB": {head + "Newsgroups: mesh.test\r\nMessage-ID: %s\r\nX-Fill: " + strings.Repeat("f", 1<<20-2000) + "\r\n\r\nx\r\n", "header|octets|line"},
		"over a mebibyte":    {head + "Newsgroups: mesh.test\r\nMessage-ID: %s\r\n\r\n" + strings.Repeat(strings.Repeat("b", 70)+"\r\n", 16_000), "octets|large"},
		"NUL":                {head + "Newsgroups: mesh.test\r\nMessage-ID: %s\r\n\r\nnul \x00 nul\r\n", "NUL"},
		"NUL in the header":  {head + "Newsgroups: mesh.test\r\nMessage-ID: %s\r\nX: \x00\r\n\r\nx\r\n", "NUL"},
		"bare CR":            {head + "Newsgroups: mesh.test\r\nMessage-ID: %s\r\n\r\na\rb\r\n", "CR"},
		"bare LF":            {head + "Newsgroups: mesh.test\r\nMessage-ID: %s\r\n\r\na\nb\r\n", "LF"},
		"another id":         {head + "Newsgroups: mesh.test\r\nMessage-ID: <other@bad.example>\r\n\r\n%s\r\n", "Message-ID"},
		"our name in Path":   {"Path: bad.example!node.example!x\r\nFrom: a@a.example\r\nSubject: s\r\nDate: " + article.FormatDate(time.Now()) + "\r\nNewsgroups: mesh.test\r\nMessage-ID: %s\r\n\r\nx\r\n", "Path"},
		"no such group":      {head + "Newsgroups: no.such.group\r\nMessage-ID: %s\r\n\r\nx\r\n", "group"},
		"no blank line":      {head + "Newsgroups: mesh.test\r\nMessage-ID: %s\r\n", "."},
	} {
		w := dialNode(t, n.nntp)
		id := fmt.Sprintf("<%x@shape.example>", name)
		w.say("TAKETHIS %s\r\n%s.\r\n", id, strings.Replace(c.text, "%s", id, 1))
		if l := w.line(); !strings.HasPrefix(l, "439 "+id+" ") || !regexp.MustCompile(c.says).MatchString(l[len(id)+5:]) {
			t.Errorf("%s: answered %q, that should be 439 and name %s", name, l, c.says)
		}
		w.say("STAT %s\r\n", id)
		w.want("430")
	}
	// A line over 998 octets is no reason to break the chain of relays; nobody may post one.
	w := dialNode(t, n.nntp)
	long := "Newsgroups: mesh.test\r\nMessage-ID: <long@shape.example>\r\n\r\n" + strings.Repeat("l", 5000) + "\r\n.\r\n"
	w.say("POST\r\n")
	w.want("340")
	w.say("From: a@a.example\r\nSubject: s\r\n%s", long)
	if l := w.want("441"); !strings.Contains(l, "line") {
		t.Errorf("an over-long line: %q", l)
	}
}

// badStreams sends the octet streams of the hostile corpus: the node answers or
// closes, and never waits for ever.
func badStreams(t *testing.T, n testNode, _ acknowledged) {
	files, err := filepath.Glob("../../nntpd/testdata/hostile/*.raw")
	if err != nil || len(files) < 20 {
		t.Fatal("the hostile streams are not there", len(files), err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		swallow(t, n.nntp, raw)
	}
}

// swallow sends octets, ends, and reads until the other side ends too.
func swallow(t *testing.T, addr string, raw []byte) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = c.Write(raw) // it may close before the end
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(io.Discard, c)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Errorf("%.60q: the connection stays open", raw)
	}
	<-sent
}

// cutStreams ends an article at many places: it is not there then, and is taken
// when it comes whole.
func cutStreams(t *testing.T, n testNode, kept acknowledged) {
	whole := "TAKETHIS <cut@bad.example>\r\n" + goodArticle("<cut@bad.example>", "body of cut") + ".\r\n"
	for at := 1; at < len(whole); at += 13 {
		swallow(t, n.nntp, []byte(whole[:at]))
	}
	swallow(t, n.nntp, []byte(whole[:len(whole)-1]))
	w := dialNode(t, n.nntp)
	w.say("STAT <cut@bad.example>\r\n")
	w.want("430")
	kept.bring(w, "cut")
}

// garbageOnPorts sends what no client would say to every port.
func garbageOnPorts(t *testing.T, n testNode, _ acknowledged) {
	rnd := rand.NewChaCha8([32]byte{7})
	noise := make([]byte, 100_000)
	_, _ = rnd.Read(noise)
	for _, addr := range []string{n.nntp, n.http, n.smtp} {
		for _, raw := range [][]byte{
			noise, make([]byte, 50_000), []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaa"), []byte("GET / HTTP/1.1\r\n\r\n"),
			[]byte("\x13BitTorrent protocol" + strings.Repeat("\x00", 48)), []byte("EHLO x\r\nMAIL FROM:<>\r\n"), nil,
			bytes.Repeat([]byte("\r\n"), 1000), bytes.Repeat([]byte{0xff}, 9000),
		} {
			swallow(t, addr, raw)
		}
	}
}

// crowd opens 2,000 connections that say nothing, stop in the middle, come drop by
// drop, or do not read; somebody who behaves is served all the same.
func crowd(t *testing.T, n testNode, kept acknowledged) {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil || lim.Cur < 4500 {
		t.Skipf("2,000 connections need 4,500 open files here, %d are allowed (ulimit -n): %v", lim.Cur, err)
	}
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for i := range 2000 {
		c, err := net.Dial("tcp", n.nntp)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		conns = append(conns, c)
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		if i%20 != 0 {
			continue
		}
		say := "TAKETHIS <slow" + fmt.Sprint(i) + "@bad.example>\r\nPath: x\r\nFrom"
		switch i / 20 % 4 {
		case 1:
			say = "LISTGROUP mes"
		case 2:
			say = strings.Repeat("LIST ACTIVE\r\nOVER 1-\r\n", 200) // and nobody reads the answers
		case 3:
			say = "POST\r\nFrom: x@y"
		}
		if _, err := c.Write([]byte(say)); err != nil {
			t.Fatal(err)
		}
	}
	kept.bring(dialNode(t, n.nntp), "in-the-crowd")
	nntpPost(t, n.nntp, "From: a@a.example\r\nNewsgroups: mesh.test\r\nSubject: in the crowd\r\n\r\nx\r\n")
	for _, c := range conns {
		if _, err := c.Write([]byte("d")); err != nil { // drop by drop
			t.Fatal(err)
		}
	}
	w := dialNode(t, n.nntp)
	w.say("GROUP mesh.test\r\n")
	w.want("211")
	if out, code := n.cmd("status"); code != 0 {
		t.Errorf("status in the crowd: %s", out)
	}
}
