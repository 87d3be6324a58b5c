package smtpd

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
)

// python is a process that reads mails with Python's email parser.
type python struct {
	in  io.WriteCloser
	out *bufio.Reader
}

// pyReading is a reading in which Python is not sure of everything.
type pyReading struct {
	Parts   int      `json:"parts"`
	Subject pyText   `json:"subject"`
	From    pyText   `json:"from"`
	Texts   []pyText `json:"texts"`
	Files   []string `json:"files"`
	Wrong   string   `json:"wrong"` // why Python cannot read the mail at all
}

// pyText is a text as Python reads it.
type pyText struct {
	Text  string
	Wrong string `json:"wrong"` // what is wrong with it, or ""
	ASCII string `json:"ascii"` // if wrong: its characters below 128
	UTF8  string `json:"utf8"`  // if its label says Latin-1, but it is UTF-8
	Lost  int    `json:"lost"`  // characters that Python replaced
}

// UnmarshalJSON takes a string where nothing is wrong.
func (p *pyText) UnmarshalJSON(b []byte) error {
	type plain pyText
	if json.Unmarshal(b, &p.Text) == nil {
		return nil
	}
	return json.Unmarshal(b, (*plain)(p))
}

// differ says where got is not what Python reads, "" if nowhere.
func (p *pyText) differ(what, got string) string {
	want := p.Text
	switch {
	case p.UTF8 != "":
		want = p.UTF8
	case p.Wrong != "":
		what, want = what+", "+p.Wrong, p.ASCII
		lost := p.Lost // and as many ASCII octets may be halves of characters
		got = tidy(strings.Map(func(r rune) rune {
			if r >= 128 {
				lost++
				return -1
			}
			return r
		}, got))
		if extra := len(want) - len(got); within(got, want) && extra <= lost || within(want, got) && -extra <= lost {
			return ""
		}
	}
	if got == want {
		return ""
	}
	n := 0
	for n < min(len(got), len(want)) && got[n] == want[n] {
		n++
	}
	at := max(0, n-20)
	return fmt.Sprintf("%s, octet %d: got %+.200q want %+.200q", what, n, got[at:], want[at:])
}

// within says whether long is short and something in between.
func within(short, long string) bool {
	for i := 0; i < len(long) && short != ""; i++ {
		if long[i] == short[0] {
			short = short[1:]
		}
	}
	return short == ""
}

func newPython(t *testing.T) *python {
	t.Helper()
	cmd := exec.Command("python3", "testdata/mails/read.py")
	cmd.Stderr = os.Stderr
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skip("SKIP: no python3 here:", err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	return &python{in, bufio.NewReaderSize(out, 1<<20)}
}

func (p *python) read(t *testing.T, raw []byte) (r pyReading) {
	t.Helper()
	if _, err := fmt.Fprintf(p.in, "%d\n%s", len(raw), raw); err != nil {
		t.Fatal(err)
	}
	line, err := p.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// fromLine begins a mail in an mbox, the first name of its header behind it.
var fromLine = regexp.MustCompile(`(?m)^From .*\n[A-Z]`)

// inText begins a file in a text.
var inText = regexp.MustCompile(`(?m)^(=ybegin |begin [0-7]{3} )`)

// mailsIn returns the mails of a file with LF at the ends of lines: those of an mbox,
// or the file itself, as .eml always is; none if it is no mail.
func mailsIn(name string, raw []byte) (mails [][]byte) {
	raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
	if bytes.Count(raw, []byte("\r")) > bytes.Count(raw, []byte("\n")) { // of a Mac
		raw = bytes.ReplaceAll(raw, []byte("\r"), []byte("\n"))
	}
	if !bytes.HasPrefix(raw, []byte("From ")) {
		mails = [][]byte{raw}
	} else {
		at := fromLine.FindAllIndex(raw, -1) // and the first octet of the first field
		if filepath.Ext(name) == ".eml" {
			at = at[:min(len(at), 1)]
		}
		for i, begin := range at {
			end := len(raw)
			if i+1 < len(at) {
				end = at[i+1][0]
			}
			mails = append(mails, raw[begin[1]-1:end])
		}
	}
	return slices.DeleteFunc(mails, func(m []byte) bool {
		line, _, _ := bytes.Cut(m, []byte("\n"))
		name, _, ok := bytes.Cut(line, []byte(":"))
		return !ok || len(name) == 0 || bytes.ContainsAny(name, " \t<(")
	})
}

// sameReading says whether Python reads the same; raw octets in a header become UTF-8.
func sameReading(a, b pyReading) bool {
	if b.Subject.Wrong != "" {
		a.Subject = b.Subject
	}
	if b.From.Wrong != "" {
		a.From = b.From
	}
	return fmt.Sprint(a) == fmt.Sprint(b)
}

// compare says where a reading differs from Python's.
func compare(got reading, want pyReading) (why []string) {
	if got.Parts != want.Parts || len(got.Texts) != len(want.Texts) {
		return []string{fmt.Sprintf("%d parts, %d texts; want %d, %d", got.Parts, len(got.Texts), want.Parts, len(want.Texts))}
	}
	why = append(why, want.Subject.differ("subject", got.Subject), want.From.differ("from", got.From))
	for i := range want.Texts {
		why = append(why, want.Texts[i].differ(fmt.Sprint("text ", i), got.Texts[i]))
	}
	if g, w := fmt.Sprint(got.Files), fmt.Sprint(want.Files); g != w {
		why = append(why, fmt.Sprintf("files %s, want %s", g, w))
	}
	return slices.DeleteFunc(why, func(s string) bool { return s == "" })
}

// TestMailFolder: the mails of a folder named by the environment say as articles what
// Python's email parser reads in the mails; and each file, carried as an attachment, comes
// out as it went in.
func TestMailFolder(t *testing.T) {
	dir := os.Getenv("LITFASS_MAILS")
	if dir == "" {
		t.Skip("LITFASS_MAILS names no folder of mails")
	}
	py := newPython(t)
	d := newDesk(t)
	taken, refused, differ, unsure, files := 0, 0, 0, 0, 0
	take := func(raw []byte) (*article.Article, error) {
		if taken%200 == 199 {
			d = newDesk(t)
		}
		a, err := d.take(raw)
		if errors.Is(err, errDuplicate) {
			d = newDesk(t)
			a, err = d.take(raw)
		}
		return a, err
	}
	eachFile(t, dir, func(name string, b []byte) {
		for i, raw := range mailsIn(name, b) {
			a, err := take(raw)
			if err != nil {
				refused++
				t.Logf("%s#%d: refused: %v", name, i, err)
				continue
			}
			taken++
			want := py.read(t, raw)
			if want.Wrong != "" {
				unsure++
				t.Logf("%s#%d: Python: %s", name, i, want.Wrong)
				continue
			}
			got := read(a)
			if n := len(inText.FindAll(raw, -1)); n > 0 && got.Parts == want.Parts+n { // files in a text, which Python leaves there
				continue
			}
			why := compare(got, want)
			if octets := a.Octets(); !ours.Match(octets) { // Python reads the article as it read the mail
				if again := py.read(t, bytes.ReplaceAll(octets, []byte("\r\n"), []byte("\n"))); !sameReading(again, want) {
					why = append(why, fmt.Sprintf("Python: article %+v\nmail %+v", again, want))
				}
			}
			if len(why) > 0 {
				differ++
				t.Errorf("%s#%d: %s", name, i, strings.Join(why, "\n"))
			}
		}
		if len(b) > 600<<10 {
			return // more than an article may have here
		}
		files++
		a, err := take(attach(files, b))
		if err != nil {
			t.Errorf("%s as an attachment: %v", name, err)
		} else if p := content.Of(a).Files(); len(p) != 1 || !bytes.Equal(p[0].Bytes(), b) {
			t.Errorf("%s as an attachment: %d files, another one", name, len(p))
		}
	})
	t.Logf("%d mails became articles, %d differ from what Python reads, it could not read %d; %d are refused. %d files went in and came out", taken, differ, unsure, refused, files)
}

// attach makes a mail of any file.
func attach(n int, b []byte) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "From: a@a.example\nSubject: file %d\nMessage-ID: <file.%d@a.example>\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nhere it is\n"+
		"--b\nContent-Type: application/octet-stream; name=x.bin\nContent-Disposition: attachment\nContent-Transfer-Encoding: base64\n\n", n, n)
	_ = content.CopyBase64(&out, bytes.NewReader(b)) // into memory
	out.WriteString("\n--b--\n")
	return bytes.ReplaceAll(out.Bytes(), []byte("\r\n"), []byte("\n"))
}

// TestBounceFolder: of the bounces, reports and automatic answers in a folder named by
// the environment none becomes an article; what a person passes on does.
func TestBounceFolder(t *testing.T) {
	dir := os.Getenv("LITFASS_BOUNCES")
	if dir == "" {
		t.Skip("LITFASS_BOUNCES names no folder of bounces")
	}
	d := newDesk(t)
	n, none, lost, why := 0, 0, 0, map[string]int{}
	eachFile(t, dir, func(name string, b []byte) {
		mails := mailsIn(name, b)
		if len(mails) == 0 {
			none++
			t.Logf("%s holds no mail", name)
		}
		for i, raw := range mails {
			n++
			if m, err := readMessage(bytes.NewReader(bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))), d.srv.conv.dir, 16<<20); err == nil {
				if m.undelivered() {
					lost++
				} else {
					t.Logf("%s#%d: no failure: %s", name, i, m.get("Subject"))
				}
				m.body.Close()
			}
			_, err := d.take(raw)
			person := strings.HasPrefix(filepath.Base(name), "is-not-bounce") || bytes.Contains(raw, []byte("\nSubject: Fwd: "))
			switch became := err == nil || errors.Is(err, errDuplicate); {
			case became != person:
				t.Errorf("%s#%d: an article: %v, %v:\n%.1500s", name, i, became, err, raw)
			case !became:
				why[err.Error()]++
			}
		}
	})
	t.Logf("%d mails, %d of them of something undelivered, %d files without any; why they are refused: %v", n, lost, none, why)
}

// eachFile reads the files of a folder.
func eachFile(t *testing.T, dir string, f func(name string, b []byte)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil {
			f(path, b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
