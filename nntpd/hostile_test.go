package nntpd

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// TestHostile sends byte streams made to confuse. The law: the server answers
// QUIT or closes, and stores no article that the client did not end with CRLF
// dot CRLF.
func TestHostile(t *testing.T) {
	files, err := filepath.Glob("testdata/hostile/*.raw")
	if err != nil || len(files) == 0 {
		t.Fatal("no streams", err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			n := start(t, nodeConfig{peer: true})
			law(t, n, raw)
		})
	}
}

// TestHostileLarge does the same with streams that would be too large to keep.
func TestHostileLarge(t *testing.T) {
	n := start(t, nodeConfig{peer: true})
	for name, raw := range map[string]string{
		"long command":  strings.Repeat("A", 100_000) + "\r\nQUIT\r\n",
		"endless line":  strings.Repeat("A", 3<<20),
		"long article":  "TAKETHIS <a@b>\r\n" + strings.Repeat("B", 3<<20) + "\r\n.\r\nQUIT\r\n",
		"check flood":   strings.Repeat("CHECK <flood@mesh.example>\r\n", 20_000) + "QUIT\r\n",
		"zeros":         strings.Repeat("\x00", 100_000) + "\r\nQUIT\r\n",
		"empty lines":   strings.Repeat("\r\n", 50_000) + "QUIT\r\n",
		"TLS hello":     "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x01", 500),
		"half article":  "TAKETHIS <a@b>\r\nSubject: x\r\n",
		"half and dead": "IHAVE <half@mesh.example>\r\nSubject: x\r\n\r\nx",
	} {
		t.Run(name, func(t *testing.T) { law(t, n, []byte(raw)) })
	}
}

func law(t *testing.T, n *node, raw []byte) {
	t.Helper()
	before := n.spool.Last()
	c := n.dial(t).(*net.TCPConn)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = c.Write(raw) // the server may close before the end
		_ = c.CloseWrite()
	}()
	out, err := io.ReadAll(c)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Fatalf("not closed after %.300q", out)
	}
	<-sent
	smuggled(t, n, before, raw)
}

// smuggled fails if an article was stored that does not stand in raw, or if
// there are more of them than ends of blocks. (A dot that should have been
// doubled is taken off all the same in a POST: RFC 3977 §3.1.1.)
func smuggled(t *testing.T, n *node, before spool.Seq, raw []byte) {
	t.Helper()
	ends := bytes.Count(raw, []byte("\r\n.\r\n"))
	for e, err := range n.spool.Since(t.Context(), before) {
		if err != nil {
			t.Fatal(err)
		}
		a, err := n.spool.Open(t.Context(), e.Seq)
		if err != nil {
			t.Fatal(err)
		}
		ends--
		if whole := "\r\n\r\n" + string(a.Body()) + "\r\n"; ends < 0 || !bytes.Contains(article.Unstuff(raw), []byte(whole)) {
			t.Errorf("stored %q, sent %q", a.Wire(), raw)
		}
	}
}

// pipeConn is a net.Pipe that looks like loopback.
type pipeConn struct{ net.Conn }

func (pipeConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9} }

// FuzzServer sends anything to a live server, by reads of any size.
func FuzzServer(f *testing.F) {
	files, _ := filepath.Glob("testdata/hostile/*.raw")
	for _, name := range files {
		if raw, err := os.ReadFile(name); err == nil && len(raw) < 1000 {
			f.Add(raw)
		}
	}
	f.Add([]byte("GROUP mesh.test\r\nOVER 1-\r\nHDR Subject 1-\r\nNEXT\r\nLAST\r\nXPAT Subject 1- *a*\r\nLIST COUNTS\r\n"))
	f.Add([]byte("TAKETHIS <f@mesh.example>\r\nPath: a!b\r\nFrom: a@b.example\r\nNewsgroups: mesh.test\r\nSubject: s\r\n" +
		"Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <f@mesh.example>\r\n\r\n..x\r\n.\r\nCHECK <f@mesh.example>\r\nSTAT <f@mesh.example>\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 1<<16 {
			return
		}
		n := start(t, nodeConfig{peer: true})
		before := n.spool.Last()
		mine, its := net.Pipe()
		ended := make(chan struct{})
		go func() { n.ServeConn(pipeConn{its}); close(ended) }()
		raw = append(bytes.Clone(raw), "\r\n.\r\n.\r\nQUIT\r\n"...)
		go func() {
			_, _ = mine.Write(raw) // the server may close before the end
			_ = mine.SetWriteDeadline(time.Unix(1, 0))
		}()
		_ = mine.SetReadDeadline(time.Now().Add(20 * time.Second))
		out, err := io.ReadAll(mine)
		if err != nil {
			t.Fatalf("%v after %q", err, out)
		}
		<-ended
		_ = mine.Close()
		for l := range bytes.Lines(out) {
			if !bytes.HasSuffix(l, []byte("\r\n")) {
				t.Fatalf("answer with a line that ends otherwise: %q", l)
			}
		}
		smuggled(t, n, before, raw)
	})
}
