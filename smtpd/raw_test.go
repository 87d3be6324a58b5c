package smtpd

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	for name, d := range doors(t) {
		t.Run(name, func(t *testing.T) { hostileStreams(t, d, streams) })
	}
}

func hostileStreams(t *testing.T, d door, streams map[string][]byte) {
	o := d.open(t)
	for name, b := range streams {
		before := len(o.articles(t))
		b = bytes.ReplaceAll(b, []byte("user@mesh.example"), []byte("mesh.talk@box.example"))
		b = bytes.ReplaceAll(b, []byte("mesh.test@mesh.example"), []byte("mesh.talk@box.example"))
		b = bytes.ReplaceAll(b, []byte("@mesh.example"), []byte("@box.example"))
		hello, rest, _ := bytes.Cut(b, []byte("\r\n"))
		if bytes.HasPrefix(hello, []byte("EHLO")) {
			b = append([]byte(d.hello), rest...)
		}
		said := playPieces(t, d.enter(t, o), []string{string(b)}, false)
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
	honest := begin + "DATA\r\n" + strings.ReplaceAll(dated(plainMail), "\n", "\r\n") + ".\r\nQUIT\r\n"
	said := playPieces(t, d.enter(t, o), []string{d.hello + honest}, false)
	last := o.articles(t)
	if len(last) == 0 || last[len(last)-1].ID() != article.ID("<1@a.example>") {
		t.Errorf("the last article is not the honest one:\n%s", said)
	}
}
