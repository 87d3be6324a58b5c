package smtpd

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
)

// FuzzDraft: what is made of a mail has no line over 998 octets, a text to be read where
// there is HTML, and all its parts.
func FuzzDraft(f *testing.F) {
	long := strings.Repeat("long ", 300)
	for _, s := range []string{"Subject: x\n\n" + long, "Content-Type: text/html\n\n<p>" + long, "Content-Type: multipart/mixed; boundary=b\n\n--b\nX: " + long + "\n\n" + long + "\n--b--\n",
		"Content-Type: message/rfc822\n\nSubject: " + long + "\n\n" + long, "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: in\n\n" + long + "\n--b--\n",
		"Content-Type: multipart/mixed; boundary=\"b\" ;; x=y\n\n--b\n\n" + long + "\n--b\nContent-Transfer-Encoding: base64\n\n" + strings.Repeat("QUJD", 500) + "\n--b--"} {
		f.Add([]byte(s))
	}
	c := converter{dir: f.TempDir(), limit: 1 << 20, toText: content.TextOfHTML, now: time.Now, host: "box.example"}
	f.Fuzz(func(t *testing.T, raw []byte) {
		raw = bytes.ReplaceAll(append([]byte("From: a@a.example\nMessage-ID: <1@a.example>\n"), raw...), []byte("\n"), []byte("\r\n"))
		m, err := readMessage(bytes.NewReader(raw), c.dir, 1<<20)
		if err != nil {
			return
		}
		before, err := surveyMail(m.body, m.header)
		if err != nil {
			m.body.Close()
			return
		}
		d, done, err := c.draft(m, []article.Group{"mesh.talk"}, "from a")
		defer done()
		if err != nil {
			t.Skip(err)
		}
		body := d.Body.(io.ReadSeeker)
		after, err := surveyMail(body, d.Header)
		if err != nil || !after.sound() {
			t.Fatalf("%v, long %v, junk %v, text %v:\n%q", err, after.long, after.junk, after.text, raw)
		}
		if n, want := len(after.leaves), len(before.leaves); n != want && (before.text || n != want+1) {
			t.Fatalf("%d parts, before %d:\n%q", n, want, raw)
		}
	})
}

// TestLongLinesInside: a mail inside a mail stays one (RFC 2046 §5.2.1 knows no encoded
// one); its own parts are encoded.
func TestLongLinesInside(t *testing.T) {
	d := newDesk(t)
	long := strings.Repeat("Grüße ", 300)
	for name, mail := range map[string]string{
		"attached": "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nsee below\n--b\nContent-Type: message/rfc822\n\nSubject: inner\nX-Long: " + strings.Repeat("word ", 300) +
			"\nContent-Type: text/plain; charset=utf-8\n\n" + long + "\n--b--\n",
		"alone":  "Content-Type: message/rfc822\n\nSubject: inner\nContent-Type: text/plain; charset=utf-8\n\n" + long + "\n",
		"digest": "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: inner\nContent-Type: text/plain; charset=utf-8\n\n" + long + "\n--b--\n",
	} {
		a, err := d.take([]byte("From: a@a.example\nSubject: outer\n" + mail))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		parts := content.Of(a).Parts
		if last := parts[len(parts)-1]; strings.TrimSpace(last.UTF8()) != strings.TrimSpace(long) {
			t.Errorf("%s: %d parts, the last %q", name, len(parts), last.UTF8())
		}
		if bytes.Contains(a.Octets(), []byte("message/rfc822\r\nContent-Transfer-Encoding: quoted")) {
			t.Errorf("%s: the mail inside is encoded as a whole", name)
		}
	}
}

// TestBadEncodings: a part whose encoding is broken and whose lines are too long loses
// nothing when it is encoded anew; what stands below the end of base64 is none.
func TestBadEncodings(t *testing.T) {
	d := newDesk(t)
	words, abc := strings.Repeat("abc ", 300), strings.Repeat("QUJD", 300)
	for coding, c := range map[string][2]string{
		"quoted-printable": {"Gr=C3=BC=ZZ =\n" + words + "=\nend=1", "Grü=ZZ " + words + "end=1"},
		"base64":           {"R=3LDvEEh\n" + abc + "-*\nRQ==\nFooter of a list\nR3LDvA==", "GrüA!" + strings.Repeat("ABC", 300) + "E"},
	} {
		for _, kind := range []string{"plain", "html"} {
			a, err := d.take([]byte("From: a@a.example\nSubject: " + coding + kind + "\nContent-Type: text/" + kind + "; charset=utf-8\nContent-Transfer-Encoding: " + coding + "\n\n" + c[0] + "\n"))
			if err != nil {
				t.Errorf("%s: %v", coding, err)
				continue
			}
			parts := content.Of(a).Parts
			if got := strings.TrimSpace(parts[len(parts)-1].UTF8()); got != c[1] {
				t.Errorf("%s, %s: %.40q ... %q", coding, kind, got, got[max(0, len(got)-40):])
			}
		}
	}
}
