package dialog

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// FuzzDots: however a stream is cut into reads, and however small the buffer is, a
// message of DATA is what stands before the first CRLF "." CRLF, its lines without the
// dot that was put before them; what stands behind it is left alone.
func FuzzDots(f *testing.F) {
	for _, s := range []string{"", ".\r\n", "x\r\n.\r\nMAIL", "..\r\n.\r\n", ".x\r\n.\r\n", "x\n.\n\r\n.\r\n", "x\r.\r\r\n.\r\n", ".\rx\r\n.\r\n", "\r\n.\r", "\r\r\n.\r\nQUIT",
		strings.Repeat("x", 15) + "\r\n.\r\n", strings.Repeat("x", 14) + "\r\n.\r\nrest", strings.Repeat("x", 16) + ".\r\n\r\n.\r\n"} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, stream string, slow bool) {
		in := "\r\n" + stream
		i := strings.Index(in, "\r\n.\r\n")
		whole := i >= 0
		if !whole {
			i = len(in) - 2
		}
		var r io.Reader = strings.NewReader(stream)
		if slow {
			r = iotest.OneByteReader(r)
		}
		br := bufio.NewReaderSize(r, 16)
		got, err := io.ReadAll(newDots(br))
		if whole != (err == nil) {
			t.Fatalf("%q: %v", stream, err)
		}
		if !whole {
			return
		}
		want := strings.ReplaceAll(in[:i+2], "\r\n.", "\r\n")[2:]
		rest, err := io.ReadAll(br)
		if err != nil || string(got) != want || string(rest) != in[i+5:] {
			t.Fatalf("%q: read %q, want %q; left %q, want %q (%v)", stream, got, want, rest, in[i+5:], err)
		}
	})
}

// FuzzSound: a message is passed on as it is, and refused at its end if it holds CR or LF
// alone, or NUL.
func FuzzSound(f *testing.F) {
	for _, s := range []string{"", "a\r\nb", "a\r", "\n", "a\nb\r\n", "\r\r\n", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := io.ReadAll(&sound{r: iotest.DataErrReader(strings.NewReader(text))})
		bad := strings.ContainsAny(strings.ReplaceAll(text, "\r\n", ""), "\r\n\x00")
		if string(got) != text || bad != errors.Is(err, errLineEnd) || !bad && err != nil {
			t.Fatalf("%q: %q, %v", text, got, err)
		}
	})
}

func TestWithDomain(t *testing.T) {
	for to, want := range map[string]string{
		"TO:<postmaster>": "TO:<postmaster@b>", "to: <PostMaster> X": "TO:<postmaster@b> X", "TO:<postmaster@c>": "TO:<postmaster@c>",
		"TO:<xpostmaster>": "TO:<xpostmaster>", "TO:": "TO:", "": "",
	} {
		if got := withDomain(to, "b"); got != want {
			t.Errorf("%q: %q, want %q", to, got, want)
		}
	}
}

// TestLongLines: what does not end costs no more memory than a line may have.
func TestLongLines(t *testing.T) {
	c := newGate(&Server{}, nil, nil, false)
	c.r = bufio.NewReader(io.MultiReader(bytes.NewReader(bytes.Repeat([]byte("x"), 1<<20)), strings.NewReader("\r\nNOOP\r\n")))
	if _, err := c.line(maxLine); !errors.Is(err, errLong) {
		t.Errorf("a long line: %v", err)
	}
	if line, err := c.line(maxLine); err != nil || line != "NOOP" {
		t.Errorf("behind it: %q %v", line, err)
	}
}
