package smtpd

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	gomessage "github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset"
)

// What docs/decisions/0009-go-message.md says is measured here.

// goMessage reads a mail with LF ends as read does an article.
func goMessage(raw []byte) (reading, error) {
	e, err := gomessage.Read(bytes.NewReader(bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))))
	if e == nil {
		return reading{}, err
	}
	r := reading{Texts: []string{}, Files: []string{}}
	r.Subject, r.From = tidy(fieldOf(e, "Subject")), tidy(fieldOf(e, "From"))
	return r, e.Walk(func(_ []int, e *gomessage.Entity, err error) error {
		if err != nil && !gomessage.IsUnknownCharset(err) && !gomessage.IsUnknownEncoding(err) {
			return err
		}
		kind, _, _ := e.Header.ContentType()
		if e.MultipartReader() != nil {
			return nil
		}
		r.Parts++
		b, err := io.ReadAll(e.Body)
		if err != nil {
			return err
		}
		switch {
		case strings.HasPrefix(kind, "message/"):
		case strings.HasPrefix(kind, "text/"):
			r.Texts = append(r.Texts, tidy(string(b)))
		default:
			sum := sha256.Sum256(bytes.TrimRight(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), "\n"))
			r.Files = append(r.Files, hex.EncodeToString(sum[:8]))
		}
		return nil
	})
}

func fieldOf(e *gomessage.Entity, name string) string {
	s, err := e.Header.Text(name)
	if err != nil {
		return e.Header.Get(name)
	}
	return s
}

// goMessageWrites says whether a mail that go-message read is written as it was, and
// whether writing it panics.
func goMessageWrites(raw []byte) (same, panics bool) {
	defer func() { panics = recover() != nil }()
	raw = bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))
	e, err := gomessage.Read(bytes.NewReader(raw))
	if err != nil {
		return false, false
	}
	var out bytes.Buffer
	return e.WriteTo(&out) == nil && bytes.Equal(out.Bytes(), raw), false
}

// TestGoMessageFolder compares go-message with Python, too, on the mails of
// TestMailFolder; it says only what it finds.
func TestGoMessageFolder(t *testing.T) {
	dir := os.Getenv("LITFASS_MAILS")
	if dir == "" {
		t.Skip("LITFASS_MAILS names no folder of mails")
	}
	py := newPython(t)
	n, unread, differ, changed, panicked := 0, 0, 0, 0, 0
	eachFile(t, dir, func(name string, b []byte) {
		for _, raw := range mailsIn(name, b) {
			n++
			same, panics := goMessageWrites(raw)
			if !same {
				changed++
			}
			if panics {
				panicked++
				t.Logf("%s: go-message panics when it writes what it has read", name)
			}
			got, err := goMessage(raw)
			if err != nil {
				unread++
				t.Logf("%s: go-message: %v", name, err)
				continue
			}
			if want := py.read(t, raw); want.Wrong == "" {
				if why := compare(got, want); len(why) > 0 {
					differ++
					t.Logf("%s: go-message: %.300q", name, why)
				}
			}
		}
	})
	t.Logf("go-message: of %d mails %d cannot be read, %d are read otherwise than Python does; %d are written otherwise than they were read, %d panic when written", n, unread, differ, changed, panicked)
}

// BenchmarkNestedGoMessage walks MIME parts as BenchmarkNested has them.
func BenchmarkNestedGoMessage(b *testing.B) {
	for _, depth := range []int{500, 1000, 2000, 4000} {
		b.Run(fmt.Sprint(depth), func(b *testing.B) {
			raw := nested(depth)
			for b.Loop() {
				parts := 0
				e, err := gomessage.Read(bytes.NewReader(raw))
				for ; err == nil && e.MultipartReader() != nil; parts++ {
					e, err = e.MultipartReader().NextPart()
				}
				if parts < depth {
					b.Fatalf("%d parts: %v", parts, err)
				}
			}
		})
	}
}

// nested is a mail of MIME parts nested so deep.
func nested(depth int) []byte {
	var text strings.Builder
	text.WriteString("From: a@a.example\nSubject: deep\nContent-Type: multipart/mixed; boundary=b0\n\n")
	for i := range depth {
		fmt.Fprintf(&text, "--b%d\nContent-Type: multipart/mixed; boundary=b%d\n\n", i, i+1)
	}
	return []byte(text.String())
}
