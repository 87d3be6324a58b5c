package smtpd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/spooltest"
)

// reading is what a person sees of a mail: what Python's email parser says of the
// mail stands in testdata/mails/*.json, made by testdata/mails/read.py.
type reading struct {
	Parts   int      `json:"parts"` // that are no multipart: none may get lost
	Subject string   `json:"subject"`
	From    string   `json:"from"`
	Texts   []string `json:"texts"` // of the parts that are text, in order
	Files   []string `json:"files"` // sums of the other parts, decoded, with LF, without those at the end
}

// desk takes mails in as the door does, but without a connection.
type desk struct {
	srv   *Server
	store *spooltest.Mem
}

func newDesk(t testing.TB) *desk {
	t.Helper()
	store := spooltest.NewMem()
	if err := store.PutGroups(context.Background(), spool.GroupInfo{Name: "mesh.talk", Status: spool.PostOpen}); err != nil {
		t.Fatal(err)
	}
	a := &agent.Agent{Host: "box.example", Spool: store, Policy: agent.Policy{Anonymous: map[string]string{"smtp": "post"}}}
	return &desk{New(Config{Domain: "box.example", Host: "box.example", Agent: a, Spool: store, HTMLText: content.TextOfHTML,
		Cutoff: 90 * 24 * time.Hour, TempDir: t.TempDir()}), store}
}

func (r reading) String() string {
	return fmt.Sprintf("%d %+q", r.Parts, [][]string{{r.Subject, r.From}, r.Texts, r.Files})
}

var errDuplicate = errors.New("a duplicate")

// take files a mail whose lines end with LF and returns the article it became.
func (d *desk) take(raw []byte) (*article.Article, error) {
	raw = bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))
	m, err := readMessage(bytes.NewReader(raw), d.srv.cfg.TempDir, 64<<20)
	if err != nil {
		return nil, err
	}
	defer m.body.Close()
	if err := m.automatic(); err != nil {
		return nil, err
	}
	ctx := context.Background()
	before := d.store.Last()
	if err := d.srv.injectAs(ctx, m, []article.Group{"mesh.talk"}, agent.Origin{Door: "smtp", Trusted: true}, "mx.example"); err != nil {
		return nil, err
	}
	if d.store.Last() == before {
		return nil, errDuplicate
	}
	return d.store.Open(ctx, d.store.Last())
}

var ours = regexp.MustCompile(`boundary="=_alt[0-9a-f]{24}"`)

// read returns what a reader of the article sees, but for a text that was made of
// HTML on the way in.
func read(a *article.Article) reading {
	added := ours.Match(a.Octets())
	r := reading{Subject: tidy(content.Header(a.Get("Subject"))), From: tidy(content.Header(a.Get("From"))), Texts: []string{}, Files: []string{}}
	parts := content.Of(a).Parts
	if r.Parts = len(parts); added {
		r.Parts--
	}
	for i, p := range parts {
		if p.Detached != nil || p.Link != "" || strings.HasPrefix(p.Type, "message/") {
			continue
		}
		if !strings.HasPrefix(p.Type, "text/") && !strings.HasPrefix(p.Type, "multipart/") {
			sum := sha256.Sum256(bytes.TrimRight(bytes.ReplaceAll(p.Bytes(), []byte("\r\n"), []byte("\n")), "\n"))
			r.Files = append(r.Files, hex.EncodeToString(sum[:8]))
			continue
		}
		if added && i+1 < len(parts) && parts[i+1].Type == "text/html" && tidy(p.UTF8()) == tidy(content.TextOfHTML(parts[i+1].UTF8(), "")) {
			added = false
			continue
		}
		r.Texts = append(r.Texts, tidy(p.UTF8()))
	}
	return r
}

// tidy leaves out what no reader sees: kinds of blanks, and controls.
func tidy(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// TestRealMails: mails in many charsets and encodings say as articles what Python's
// email parser reads in the mails.
func TestRealMails(t *testing.T) {
	files, err := filepath.Glob("testdata/mails/*.eml")
	if err != nil || len(files) < 20 {
		t.Fatal(len(files), err)
	}
	d := newDesk(t)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		golden, err := os.ReadFile(strings.TrimSuffix(file, ".eml") + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var want reading
		if err := json.Unmarshal(golden, &want); err != nil {
			t.Fatal(err)
		}
		a, err := d.take(raw)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		got := read(a)
		if g, w := got.String(), want.String(); g != w {
			t.Errorf("%s:\n got %s\nwant %s", file, g, w)
		}
	}
}
