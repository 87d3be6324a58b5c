package torrent

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/spool"
)

func newStore(t testing.TB, change func(*Config)) *Store {
	t.Helper()
	dir := t.TempDir()
	db, err := state.Open(filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	cfg := Config{Dir: filepath.Join(dir, "torrents"), URL: "http://nas1.mesh.example", MinFree: -1}
	cfg.MinFree = 1
	if change != nil {
		change(&cfg)
	}
	s, err := Open(db, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wrap64(b []byte) string {
	s := base64.StdEncoding.EncodeToString(b)
	var out strings.Builder
	for len(s) > 76 {
		out.WriteString(s[:76] + "\r\n")
		s = s[76:]
	}
	return out.String() + s + "\r\n"
}

// draft makes a draft of a header and body given as one text with LF line ends.
func draft(text string) *article.Draft {
	head, body, _ := strings.Cut(strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n"), "\r\n\r\n")
	return &article.Draft{Header: parseMIMEHeader([]byte(head)), Body: strings.NewReader(body)}
}

func bodyOf(t *testing.T, d *article.Draft) string {
	t.Helper()
	d.Body.Seek(0, io.SeekStart)
	b, err := io.ReadAll(d.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// attachments reads them back as a follower does.
func attachments(t *testing.T, d *article.Draft) []Attachment {
	t.Helper()
	return findAttachments([]byte(bodyOf(t, d)), d.Header)
}

func TestVectorDetach(t *testing.T) {
	v := readVectors(t).Detached
	want, _ := base64.StdEncoding.DecodeString(v.Article)
	_, wantBody, _ := strings.Cut(string(want), "\r\n\r\n")
	d := draft("From: Anna <anna@nas1.mesh.example>\nContent-Type: multipart/mixed; boundary=\"=_d\"\n\n--=_d\n" +
		"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nHier die Aufnahme.\n" +
		"--=_d\nContent-Type: application/octet-stream; name=\"=?utf-8?q?Gr=C3=BC=C3=9Fe.bin?=\"\n" +
		"Content-Transfer-Encoding: base64\nContent-Disposition: attachment; filename*=UTF-8''Gr%C3%BC%C3%9Fe.bin\n\n" +
		wrap64(content(300000)) + "--=_d--\n")
	s := newStore(t, nil)
	if err := (&Detacher{Store: s}).Detach(context.Background(), d, nil); err != nil {
		t.Fatal(err)
	}
	if got := bodyOf(t, d); got != wantBody {
		t.Errorf("body\n%s\nwant\n%s", got, wantBody)
	}
	a := attachments(t, d)
	if len(a) != 1 || a[0].Magnet != v.Attachments[0].Magnet || a[0].Sum.String() != v.Attachments[0].Sha256 {
		t.Fatalf("attachments %+v", a)
	}
	f, err := s.OpenFile(a[0].Hash, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, _ := io.ReadAll(f); !bytes.Equal(b, content(300000)) {
		t.Error("the store holds other octets")
	}
}

func uuencode(name string, b []byte) string {
	var out strings.Builder
	fmt.Fprintf(&out, "begin 644 %s\n", name)
	c := func(v byte) byte {
		if v &= 63; v == 0 {
			return '`'
		}
		return v + ' '
	}
	for len(b) > 0 {
		n := min(len(b), 45)
		out.WriteByte(byte(n) + ' ')
		for i := 0; i < n; i += 3 {
			var g [3]byte
			copy(g[:], b[i:n])
			out.Write([]byte{c(g[0] >> 2), c(g[0]<<4 | g[1]>>4), c(g[1]<<2 | g[2]>>6), c(g[2])})
		}
		out.WriteByte('\n')
		b = b[n:]
	}
	return out.String() + "`\nend\n"
}

func yencode(name string, b []byte) string {
	var out strings.Builder
	fmt.Fprintf(&out, "=ybegin line=128 size=%d name=%s\n", len(b), name)
	for i, c := range b {
		if i > 0 && i%128 == 0 {
			out.WriteByte('\n')
		}
		switch c += 42; c {
		case 0, '\n', '\r', '=':
			out.Write([]byte{'=', c + 64})
		default:
			out.WriteByte(c)
		}
	}
	return out.String() + fmt.Sprintf("\n=yend size=%d\n", len(b))
}

func TestDetachShapes(t *testing.T) {
	big := content(300000)
	part := func(typ, more string, b []byte) string {
		return "Content-Type: " + typ + "\nContent-Transfer-Encoding: base64\n" + more + "\n" + wrap64(b)
	}
	for _, c := range []struct {
		name, text string
		files      []string // names, in order
		root       string   // media type afterwards
		text1      string   // what the first text part begins with
	}{
		{"single part", "From: a@b\n" + part("image/jpeg", "Content-Disposition: inline; filename=a.jpg\nContent-ID: <x@y>\n", big),
			[]string{"a.jpg"}, "multipart/mixed", "-- detached attachment 1 of 1 --"},
		{"uuencode in a plain article", "From: a@b\n\nhello\n" + uuencode("x y.bin", big) + "bye\n",
			[]string{"x y.bin"}, "multipart/mixed", "hello\r\nbye\r\n\r\n-- detached"},
		{"yEnc in a plain article", "From: a@b\n\nhello\n" + yencode("v.bin", big),
			[]string{"v.bin"}, "multipart/mixed", "hello\r\n\r\n-- detached"},
		{"two of one name, no text", "Content-Type: multipart/mixed; boundary=b\n\n--b\n" + part("image/png; name=p.png", "", big) +
			"--b\n" + part("image/png; name=P.png", "", append(big, 1)) + "--b--\n",
			[]string{"p.png", "P-2.png"}, "multipart/mixed", "-- detached attachment 1 of 2 --"},
		{"related", "Content-Type: multipart/related; boundary=b\n\n--b\nContent-Type: text/html\n\n<img src=cid:x>\n--b\n" +
			part("image/png; name=p.png", "Content-ID: <x>\n", big) + "--b--\n",
			[]string{"p.png"}, "multipart/mixed", "-- detached attachment 1 of 1 --"},
		{"latin1", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe\n--b\n" +
			part("image/png", "Content-Disposition: attachment; filename*=utf-8''%C3%A4.png\n", big) + "--b--\n",
			[]string{"ä.png"}, "multipart/mixed", "Gr\xfc\xdfe\r\n\r\n-- detached attachment 1 of 1 --\r\nName:   %C3%A4.png"},
		{"signed is left alone", "Content-Type: multipart/signed; boundary=b\n\n--b\n" + part("image/png; name=p.png", "", big) + "--b--\n",
			nil, "multipart/signed", ""},
		{"message is left alone", "Content-Type: multipart/mixed; boundary=b\n\n--b\n" + part("message/rfc822", "", big) + "--b--\n",
			nil, "multipart/mixed", ""},
		{"broken base64 is left alone", "Content-Type: multipart/mixed; boundary=b\n\n--b\n" +
			strings.Replace(part("image/png", "", big), "\n\n", "\n\nA=A=", 1) + "--b--\n", nil, "multipart/mixed", ""},
		{"small is left alone", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n" + strings.Repeat("text\n", 60000) + "--b\n" +
			part("image/png; name=p.png", "", content(1000)) + "--b--\n", nil, "multipart/mixed", ""},
		{"never closed", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nhi\n--b\n" + part("image/png; name=p.png", "", big),
			[]string{"p.png"}, "multipart/mixed", "hi\r\n\r\n-- detached"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := draft(c.text)
			before := bodyOf(t, d)
			s := newStore(t, nil)
			if err := (&Detacher{Store: s}).Detach(context.Background(), d, []article.Group{"a.b"}); err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, a := range attachments(t, d) {
				names = append(names, a.Name)
				if !s.Has(a.Hash) {
					t.Errorf("%s is not in the store", a.Name)
				}
			}
			if fmt.Sprint(names) != fmt.Sprint(c.files) {
				t.Errorf("files %q, want %q", names, c.files)
			}
			typ, params, _ := mime.ParseMediaType(d.Get("Content-Type"))
			if typ != c.root {
				t.Errorf("root is %s, want %s", typ, c.root)
			}
			if c.files == nil {
				if bodyOf(t, d) != before || len(s.List()) != 0 {
					t.Error("the draft or the store was changed")
				}
				return
			}
			if got := firstPart(t, bodyOf(t, d), params["boundary"]); !strings.HasPrefix(got, c.text1) {
				t.Errorf("first text\n%s\nwant\n%s", got, c.text1)
			}
			if d.Get("MIME-Version") == "" && !strings.Contains(c.text, "boundary=b") {
				t.Error("MIME-Version is missing")
			}
		})
	}
}

// TestTextPart: what a newsreader that knows no MIME shows is the lines themselves, if
// they can stand in an article so.
func TestTextPart(t *testing.T) {
	t.Parallel()
	for text, raw := range map[string]bool{
		"Get: http://a/t/" + strings.Repeat("0", 900) + "\r\n": true, "a=b\r\n\r\n": true, "": true,
		strings.Repeat("x", 999) + "\r\n": false, "Gr\u00fc\u00dfe\r\n": false, "blank \r\n": false, "a\n": false, "a\rb\r\n": false, "end": false, "nul\x00\r\n": false,
	} {
		got := string(textPart(mimeHeader{{"Content-Type", "text/plain"}}, []byte(text)))
		if strings.Contains(got, "7bit") != raw || raw && !strings.HasSuffix(got, "\r\n\r\n"+text) {
			t.Errorf("%.40q became %.200q", text, got)
		}
	}
}

// firstPart reads the first part with the standard library, to have a second opinion.
func firstPart(t *testing.T, body, boundary string) string {
	t.Helper()
	p, err := multipart.NewReader(strings.NewReader(body), boundary).NextRawPart()
	if err != nil {
		t.Fatal(err)
	}
	var r io.Reader = p
	if p.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
		r = quotedprintable.NewReader(p)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

type groupsStub map[article.Group]spool.GroupInfo

func (g groupsStub) Group(_ context.Context, n article.Group) (spool.GroupInfo, error) {
	if i, ok := g[n]; ok {
		return i, nil
	}
	return spool.GroupInfo{}, spool.ErrNotFound
}

func TestDetachRules(t *testing.T) {
	text := "From: Anna <Anna@b>\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nhi\n--b\nContent-Type: image/png; name=p.png\nContent-Transfer-Encoding: base64\n\n" +
		wrap64(content(300000)) + "--b--\n"
	ctx := context.Background()
	s := newStore(t, func(c *Config) { c.AuthorDaily = 500000 })
	dt := &Detacher{Store: s, Groups: groupsStub{"no.files": {Detach: "never"}}}
	d := draft(text)
	if err := dt.Detach(ctx, d, []article.Group{"yes", "no.files"}); err != nil || len(attachments(t, d)) != 0 {
		t.Errorf("detach=never: %v", err)
	}
	d = draft("Article-Signature: x\n" + text)
	if err := dt.Detach(ctx, d, nil); err != nil || len(attachments(t, d)) != 0 {
		t.Errorf("a signed one: %v", err)
	}
	if err := dt.Detach(ctx, draft(text), []article.Group{"yes"}); err != nil {
		t.Fatal(err)
	}
	other := strings.Replace(text, "name=p.png", "name=q.png", 1)
	var refused *Refused
	if err := dt.Detach(ctx, draft(other), []article.Group{"yes"}); !errors.As(err, &refused) || refused.TooLarge || !strings.Contains(err.Error(), "500000") {
		t.Errorf("over the author's quota: %v", err)
	}
	d = draft(strings.Replace(other, "\nhi\n", "\n"+strings.Repeat("x", 1<<20)+"\n", 1))
	s.cfg.AuthorDaily = 1 << 40
	if err := dt.Detach(ctx, d, nil); !errors.As(err, &refused) || !refused.TooLarge {
		t.Errorf("text too large: %v", err)
	}
}

// zeroes is a body of n octets made as it is read: header, base64, end.
func TestDetachMemory(t *testing.T) {
	const size = 48 << 20
	line := strings.Repeat("QUJD", 19) + "\r\n"
	text := "--b\r\nContent-Type: image/png; name=p.png\r\nContent-Transfer-Encoding: base64\r\n\r\n" + strings.Repeat(line, size/57) + "--b--\r\n"
	d := &article.Draft{Header: [][2]string{{"Content-Type", "multipart/mixed; boundary=b"}}, Body: strings.NewReader(text)}
	s := newStore(t, nil)
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	stop, peak := make(chan struct{}), make(chan uint64)
	go func() {
		var top uint64
		for tick := time.NewTicker(10 * time.Millisecond); ; {
			select {
			case <-stop:
				peak <- top
				return
			case <-tick.C:
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				top = max(top, m.HeapAlloc)
			}
		}
	}()
	err := (&Detacher{Store: s}).Detach(context.Background(), d, nil)
	close(stop)
	top := <-peak
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&now)
	if alloc := now.TotalAlloc - before.TotalAlloc; alloc > 8<<20 {
		t.Errorf("allocated %d KiB for a post of %d MiB", alloc>>10, len(text)>>20)
	} else {
		t.Logf("allocated %d KiB in all for a post of %d MiB; heap grew by %d KiB at most", alloc>>10, len(text)>>20, (int64(top)-int64(before.HeapAlloc))>>10)
	}
}

// FuzzDetach: what comes out is still a MIME article, every file it names is in
// the store with the octets' right sum, and doing it again changes nothing.
func FuzzDetach(f *testing.F) {
	f.Add("multipart/mixed; boundary=b", "--b\r\n\r\nhi\r\n--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n"+wrap64(content(200))+"--b--\r\n")
	f.Add("text/plain", "x\r\n"+strings.ReplaceAll(uuencode("a", content(200)), "\n", "\r\n"))
	f.Add("text/plain", "x\r\n"+strings.ReplaceAll(yencode("a", content(200)), "\n", "\r\n"))
	f.Add("multipart/related; boundary=b", "--b\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n--b\r\nContent-Type: a/b\r\n\r\n"+strings.Repeat("y", 120)+"\r\n--b--")
	s := newStore(f, func(c *Config) { c.Threshold = 100; c.MaxArticle = 1 << 16 })
	f.Fuzz(func(t *testing.T, typ, body string) {
		d := &article.Draft{Header: [][2]string{{"Content-Type", typ}}, Body: strings.NewReader(body)}
		dt := &Detacher{Store: s}
		if err := dt.Detach(context.Background(), d, nil); err != nil {
			var r *Refused
			if !errors.As(err, &r) {
				t.Fatal(err)
			}
			return
		}
		once := bodyOf(t, d)
		for _, a := range attachments(t, d) {
			if sums, err := s.Sums(a.Hash); err == nil && sums[0] != a.Sum {
				t.Fatalf("%+v", a)
			}
		}
		if once == body {
			return
		}
		if err := dt.Detach(context.Background(), d, nil); err == nil && bodyOf(t, d) != once && len(once) < 100 {
			t.Fatalf("%q then %q", once, bodyOf(t, d))
		}
	})
}
