package smtpd

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
)

// TestHostileStreams plays what hostile clients send, octet for octet; the groups'
// domain and names stand where the streams name theirs. At most one article comes of
// a stream, none of them smuggled, and the next client is served.
func TestHostileStreams(t *testing.T) {
	files, err := filepath.Glob("testdata/raw/*.raw")
	if err != nil || len(files) < 15 {
		t.Fatal(len(files), err)
	}
	streams := map[string][]byte{
		"a line of 100 kB":   []byte("EHLO a\r\nMAIL FROM:<" + strings.Repeat("a", 100_000) + "@b>\r\nQUIT\r\n"),
		"5,000 recipients":   []byte("EHLO a\r\nMAIL FROM:<a@b>\r\n" + strings.Repeat("RCPT TO:<user@mesh.example>\r\n", 5000) + "QUIT\r\n"),
		"SIZE too small":     []byte("EHLO a\r\nMAIL FROM:<a@b> SIZE=1\r\nRCPT TO:<user@mesh.example>\r\nDATA\r\nFrom: a@b\r\n\r\n" + strings.Repeat("x\r\n", 20_000) + ".\r\nQUIT\r\n"),
		"AUTH of 100 kB":     []byte("EHLO a\r\nAUTH PLAIN " + strings.Repeat("A", 100_000) + "\r\nQUIT\r\n"),
		"BDAT without end":   []byte("EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<user@mesh.example>\r\nBDAT 99999999999999999999\r\nx"),
		"BDAT cut in a line": []byte("EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<user@mesh.example>\r\nBDAT 5\r\nFrom:BDAT 7 LAST\r\n a@b\r\n\n\r\nQUIT\r\n"),
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		streams[filepath.Base(f)] = b
	}
	o := open(t, nil)
	for name, b := range streams {
		before := len(o.articles(t))
		b = bytes.ReplaceAll(b, []byte("user@mesh.example"), []byte("mesh.talk@box.example"))
		b = bytes.ReplaceAll(b, []byte("mesh.test@mesh.example"), []byte("mesh.talk@box.example"))
		b = bytes.ReplaceAll(b, []byte("@mesh.example"), []byte("@box.example"))
		said := play(t, o.addr, b)
		all := o.articles(t)
		if len(all) > before+1 {
			t.Errorf("%s: %d articles; answers:\n%s", name, len(all)-before, said)
		}
		for _, a := range all[before:] {
			if strings.Contains(a.Get("Subject"), "smuggled") || strings.HasPrefix(name, "bounce") {
				t.Errorf("%s: %q became an article; answers:\n%s", name, a.Get("Subject"), said)
			}
		}
		if strings.Contains(said, "elsewhere") && strings.Contains(name, "relay") && strings.Count(said, "250 2.0.0") > 2 {
			t.Errorf("%s: relayed? %s", name, said)
		}
	}
	err = o.send("a@a.example", []string{"mesh.talk@box.example"}, dated(plainMail))
	if err != nil {
		t.Errorf("after all that: %v", err)
	}
	last := o.articles(t)
	if len(last) == 0 || last[len(last)-1].ID() != article.ID("<1@a.example>") {
		t.Errorf("the last article is not the honest one")
	}
}

// play sends b and returns all that is answered until the server, or we, close.
func play(t *testing.T, addr string, b []byte) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = conn.Write(b) // the server may hang up before the end
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	said, _ := io.ReadAll(conn)
	conn.Close()
	<-sent
	return string(said)
}
