package batch

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// readAll returns the articles of a batch and what Next said of the rest.
func readAll(t testing.TB, batch []byte, max int) (texts []string, errs []string) {
	t.Helper()
	r, err := NewReader(bytes.NewReader(batch))
	if err != nil {
		return nil, []string{err.Error()}
	}
	r.Max = max
	for {
		text, err := r.Next()
		var ae *ArticleError
		switch {
		case err == io.EOF:
			return texts, errs
		case errors.As(err, &ae):
			errs = append(errs, err.Error())
		case err != nil:
			return texts, append(errs, err.Error())
		default:
			texts = append(texts, string(text))
		}
	}
}

func TestReader(t *testing.T) {
	tests := []struct {
		name, batch string
		max         int
		want        []string
		errs        []string // substrings
	}{
		{name: "empty"},
		{name: "two", batch: "#! rnews 4\na\nb\n#! rnews 2\nc\n", want: []string{"a\nb\n", "c\n"}},
		{name: "CRLF", batch: "#! rnews 3\r\na\r\n#! rnews 2 x\r\nc\n", want: []string{"a\r\n", "c\n"}},
		{name: "empty lines between", batch: "\n#! rnews 2\na\n\n\n#! rnews 2\nb\n", want: []string{"a\n", "b\n"}},
		{name: "a header inside an article", batch: "#! rnews 11\n#! rnews 2\n#! rnews 2\nb\n", want: []string{"#! rnews 2\n", "b\n"}},
		{name: "rubbish, then one", batch: "rubbish\nmore\n#! rnews 2\nb\n", want: []string{"b\n"}, errs: []string{`octet 0: found "rubbish"`}},
		{name: "too large", batch: "#! rnews 6\nabcde\n#! rnews 2\nb\n", max: 5, want: []string{"b\n"}, errs: []string{"octet 11: article of 6 octets, the limit is 5"}},
		{name: "cut", batch: "#! rnews 2\na\n#! rnews 9\nabc", want: []string{"a\n"}, errs: []string{"the batch ends 3 octets into an article of 9"}},
		{name: "cut, too large", batch: "#! rnews 9999999999\nabc", errs: []string{"ends 3 octets into"}},
		{name: "size of too many digits", batch: "#! rnews 99999999999\nabc\n", errs: []string{"found"}},
		{name: "size zero", batch: "#! rnews 0\n#! rnews 2\na\n", want: []string{"a\n"}, errs: []string{"found"}},
		{name: "size negative", batch: "#! rnews -3\n", errs: []string{"found"}},
		{name: "a line without end", batch: strings.Repeat("x", 100000) + "\n#! rnews 2\na\n", want: []string{"a\n"}, errs: []string{"found"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, errs := readAll(t, []byte(tt.batch), tt.max)
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("articles %q, want %q", got, tt.want)
			}
			if len(errs) != len(tt.errs) {
				t.Fatalf("errors %q, want %q", errs, tt.errs)
			}
			for i, e := range errs {
				if !strings.Contains(e, tt.errs[i]) {
					t.Errorf("error %q, want one with %q", e, tt.errs[i])
				}
			}
		})
	}
}

// TestPacked: batches as rnews scripts pack them. What cannot be read says how to.
func TestPacked(t *testing.T) {
	const plain = "#! rnews 2\na\n"
	zip := func(s string) string {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		_, _ = io.WriteString(w, s)
		_ = w.Close()
		return z.String()
	}
	bz2, err := hex.DecodeString("425a68393141592653590dfed71a000002d9800010680010002201188020003100d34d040343200460c8e34978bb9229c284806ff6b8d0")
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	zst := string(z.EncodeAll([]byte(plain), nil))
	for name, c := range map[string]struct{ text, err string }{
		"gzip": {zip(plain), ""}, "twice": {zip(zip(plain)), ""}, "bzip2": {string(bz2), ""}, "zstd": {zst, ""},
		"gunbatch": {"#! gunbatch\n" + zip(plain), ""}, "cunbatch of gzip": {"#! cunbatch\r\n" + zip(plain), ""}, "bunbatch": {"#! bunbatch\n" + string(bz2), ""},
		"layers":         {zip(zip(zip(zip(plain)))), "over 3 times"},
		"half a header":  {zip(plain)[:5], "EOF"},
		"cut off":        {zip(strings.Repeat(plain, 99))[:30], "EOF"},
		"compress":       {"#! cunbatch\n\x1f\x9d\x90abc", "gzip -dc"},
		"xz":             {"\xfd7zXZ\x00abc", "xz -dc"},
		"said, but none": {"#! gunbatch\n" + plain, "gunbatch"},
	} {
		got, errs := readAll(t, []byte(c.text), 0)
		if c.err == "" && (fmt.Sprint(got) != "[a\n]" || errs != nil) || c.err != "" && (len(errs) == 0 || !strings.Contains(errs[len(errs)-1], c.err)) {
			t.Errorf("%s: got %q, %q", name, got, errs)
		}
	}
}

// TestSingle: what is no batch but an article is one article.
func TestSingle(t *testing.T) {
	const text = "Subject: x\n\n#! rnews 2\na\n"
	if got, errs := readAll(t, []byte(text), 0); len(got) != 1 || got[0] != text || errs != nil {
		t.Errorf("got %q, %q", got, errs)
	}
	if got, errs := readAll(t, []byte(text), 10); len(got) != 0 || len(errs) != 1 {
		t.Errorf("too large: %q, %q", got, errs)
	}
}

// FuzzReader: what is read, written as a batch and read again is the same, and
// no article is larger than the batch.
func FuzzReader(f *testing.F) {
	f.Add([]byte("#! rnews 4\na\nb\n#! rnews 2\nc\n"))
	f.Add([]byte("Subject: x\n\n#! rnews 2\na\n"))
	f.Add([]byte("x\n#! rnews 3\r\na\r\n\n#! rnews 99\n"))
	f.Fuzz(func(t *testing.T, batch []byte) {
		got, _ := readAll(t, batch, 1000)
		var again bytes.Buffer
		sum := 0
		for _, text := range got {
			sum += len(text)
			fmt.Fprintf(&again, "#! rnews %d\n%s", len(text), text)
		}
		size := len(batch)
		if in, err := Unpack(bytes.NewReader(batch)); err == nil {
			all, _ := io.ReadAll(io.LimitReader(in, 1<<20))
			size = max(size, len(all))
		}
		if sum > size {
			t.Errorf("%d octets of articles in a batch of %d", sum, len(batch))
		}
		if more, errs := readAll(t, again.Bytes(), 1000); fmt.Sprint(more) != fmt.Sprint(got) || errs != nil {
			t.Errorf("read %q, read again %q, %q", got, more, errs)
		}
	})
}

func parse(t testing.TB, text string) *article.Article {
	t.Helper()
	wire, err := article.Normalize([]byte(text), article.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := article.Parse(wire, article.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// log is a spool of a few articles; a nil one went away.
type log []*article.Article

func (l log) Since(_ context.Context, after spool.Seq) iter.Seq2[spool.Entry, error] {
	return func(yield func(spool.Entry, error) bool) {
		for i := int(after); i < len(l); i++ {
			e := spool.Entry{Seq: spool.Seq(i + 1)}
			if l[i] != nil {
				e.Overview = l[i].Overview()
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (l log) Open(_ context.Context, seq spool.Seq) (*article.Article, error) {
	if a := l[seq-1]; a != nil {
		return a, nil
	}
	return nil, spool.ErrNotFound
}

func TestOut(t *testing.T) {
	text := func(n int) string {
		return fmt.Sprintf("Message-ID: <%d@x>\nSubject: s\n\n.dot\nbody %d\n", n, n)
	}
	l := log{parse(t, text(1)), nil, parse(t, text(3)), parse(t, text(4)), parse(t, text(5))}
	match := func(e *spool.Entry) bool { return e.ID != "<3@x>" }
	var w bytes.Buffer
	done, err := Out(context.Background(), l, 0, match, &w, int64(l[0].Overview().Bytes)*2+20)
	if err != nil || done.Upto != 4 || done.Articles != 2 || !done.Full || done.Octets != int64(w.Len()) {
		t.Fatalf("%+v, %v", done, err)
	}
	done, err = Out(context.Background(), l, done.Upto, match, &w, 1)
	if err != nil || done.Upto != 5 || done.Articles != 1 || done.Full {
		t.Fatalf("%+v, %v", done, err)
	}
	got, errs := readAll(t, w.Bytes(), 0)
	if want := []string{text(1), text(4), text(5)}; fmt.Sprint(got) != fmt.Sprint(want) || errs != nil {
		t.Errorf("batch holds %q, %q", got, errs)
	}
}

type relay map[article.ID]error

func (r relay) Relay(_ context.Context, raw []byte, o agent.Origin) (spool.Entry, error) {
	a, err := article.Parse(raw, article.Limits{})
	if err != nil {
		return spool.Entry{}, err
	}
	return spool.Entry{}, r[a.ID()]
}

func TestIn(t *testing.T) {
	var b bytes.Buffer
	for i := range 4 {
		text := fmt.Sprintf("Message-ID: <%d@x>\n\n.dot\n", i)
		fmt.Fprintf(&b, "#! rnews %d\n%s", len(text), text)
	}
	b.WriteString("#! rnews 4\na\rb\n") // a bare CR
	to := relay{
		"<1@x>": &agent.Refusal{Reason: agent.Duplicate},
		"<2@x>": &agent.Refusal{Reason: agent.Unwanted, Code: "too-old"},
		"<3@x>": errors.New("disk on fire"),
	}
	var said []string
	rep, err := In(context.Background(), &b, to, agent.Origin{Door: "batch", Peer: "p"}, article.Limits{}, func(at int64, err error) {
		said = append(said, fmt.Sprint(at, " ", err))
	})
	if want := (Report{Taken: 1, Duplicates: 1, Refused: 2, Deferred: 1}); err != nil || rep != want || rep.Read() != 5 {
		t.Errorf("%+v, %v, want %+v", rep, err, want)
	}
	if len(said) != 3 || !strings.Contains(said[0], "too-old") || !strings.Contains(said[1], "fire") || !strings.Contains(said[2], "CR") {
		t.Errorf("said %q", said)
	}
}
