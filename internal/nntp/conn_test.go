package nntp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// script is a connection whose input comes in pieces of the given sizes and
// whose output is kept.
type script struct {
	in   []byte
	cut  []byte // sizes of reads, over and over; none: all at once
	n    int
	out  bytes.Buffer
	fail error
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.in) == 0 {
		return 0, io.EOF
	}
	n := len(p)
	if len(s.cut) > 0 {
		n = int(s.cut[s.n%len(s.cut)])%64 + 1
		s.n++
	}
	n = copy(p[:min(n, len(p))], s.in)
	s.in = s.in[n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error) {
	if s.fail != nil {
		return 0, s.fail
	}
	return s.out.Write(p)
}
func (*script) Close() error                     { return nil }
func (*script) LocalAddr() net.Addr              { return nil }
func (*script) RemoteAddr() net.Addr             { return nil }
func (*script) SetDeadline(time.Time) error      { return nil }
func (*script) SetReadDeadline(time.Time) error  { return nil }
func (*script) SetWriteDeadline(time.Time) error { return nil }

func TestLine(t *testing.T) {
	long := strings.Repeat("x", 600)
	huge := strings.Repeat("y", 100_000)
	tests := []struct {
		in   string
		want []string // lines, or errors' texts
	}{
		{"DATE\r\nQUIT\r\n", []string{"DATE", "QUIT", "EOF"}},
		{"\r\nx\r\n", []string{"", "x", "EOF"}},
		{"half", []string{"unexpected EOF"}},
		{"a\nb\r\n", []string{ErrBareLF.Error()}},
		{"\n", []string{ErrBareLF.Error()}},
		{"a\rb\r\nc\r\n", []string{ErrControl.Error(), "c", "EOF"}},
		{"a\x00b\r\nc\r\n", []string{ErrControl.Error(), "c", "EOF"}},
		{long + "\r\nc\r\n", []string{ErrTooLong.Error(), "c", "EOF"}},
		{huge + "\r\nc\r\n", []string{ErrTooLong.Error(), "c", "EOF"}},
		{huge + "\nc\r\n", []string{ErrBareLF.Error()}},
		{strings.Repeat("z", 2<<20), []string{io.ErrShortBuffer.Error()}},
		{strings.Repeat("w", 510) + "\r\nc\r\n", []string{strings.Repeat("w", 510), "c", "EOF"}},
	}
	for _, tc := range tests {
		for _, cut := range [][]byte{nil, {0}, {6, 40}} {
			c := NewConn(&script{in: []byte(tc.in), cut: cut}, Options{})
			for i, want := range tc.want {
				l, err := c.Line(MaxCommand)
				got := string(l)
				if err != nil {
					got = err.Error()
				}
				if got != want {
					t.Errorf("%.20q cut %v, line %d: %.40q, want %.40q", tc.in, cut, i, got, want)
				}
				c.Rest()
			}
		}
	}
}

func TestBlockTooLarge(t *testing.T) {
	in := strings.Repeat("0123456789\r\n", 10_000) + ".\r\nDATE\r\n"
	for _, to := range []bool{false, true} {
		c := NewConn(&script{in: []byte(in)}, Options{})
		var err error
		if to {
			_, err = c.BlockTo(io.Discard, 1000)
		} else {
			_, err = c.Block(1000)
		}
		if !errors.Is(err, ErrTooLarge) {
			t.Fatalf("error %v", err)
		}
		if l, err := c.Line(MaxCommand); err != nil || string(l) != "DATE" {
			t.Errorf("after it: %q, %v", l, err)
		}
	}
}

func TestAnswer(t *testing.T) {
	c := NewConn(&script{in: []byte("200  hello\r\n205\r\n20x no\r\n2000 no\r\n\r\n")}, Options{})
	for i, want := range []int{200, 205, 0, 0, 0} {
		code, _, err := c.Answer()
		if code != want || (err == nil) != (want > 0) {
			t.Errorf("answer %d: %d, %v", i, code, err)
		}
	}
}

func TestLines(t *testing.T) {
	long := strings.Repeat("l", 100_000)
	c := NewConn(&script{in: []byte("a\r\n..b\r\n\r\n" + long + "\r\n.\r\nDATE\r\n"), cut: []byte{63, 1}}, Options{})
	var got []string
	if err := c.Lines(func(l []byte) error { got = append(got, string(l)); return nil }); err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", ".b", "", long}; strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("got %.80q", got)
	}
	if l, _ := c.Line(MaxCommand); string(l) != "DATE" {
		t.Errorf("after it: %q", l)
	}
}

func TestWriter(t *testing.T) {
	s := &script{}
	c := NewConn(s, Options{})
	var want strings.Builder
	for i := range 3000 {
		c.Status(220, "x")
		c.Int(uint64(i))
		c.CRLF()
		c.Ref(bytes.Repeat([]byte("r"), i))
		want.WriteString("220 x\r\n" + itoa(i) + "\r\n" + strings.Repeat("r", i))
	}
	if err := c.Flush(); err != nil || s.out.String() != want.String() {
		t.Errorf("%v, %d octets, want %d", err, s.out.Len(), want.Len())
	}
	s.fail = io.ErrClosedPipe
	c.Str("more")
	if err := c.Flush(); err != io.ErrClosedPipe {
		t.Errorf("error %v", err)
	}
}

func itoa(i int) string {
	if i < 10 {
		return string(rune('0' + i))
	}
	return itoa(i/10) + itoa(i%10)
}

// TestWritev sends through a real socket, where references go by writev.
func TestWritev(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan []byte)
	go func() {
		n, err := l.Accept()
		if err != nil {
			return
		}
		defer n.Close()
		b, _ := io.ReadAll(n)
		got <- b
	}()
	n, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := NewConn(n, Options{})
	var want []byte
	body := bytes.Repeat([]byte("0123456789abcdef"), 1000)
	for range 300 {
		c.Status(220, "0 <a@b>")
		c.Ref(body)
		c.End()
		want = append(append(append(want, "220 0 <a@b>\r\n"...), body...), ".\r\n"...)
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if b := <-got; !bytes.Equal(b, want) {
		t.Errorf("%d octets, want %d", len(b), len(want))
	}
}

// naive finds the end of a block the slow way.
func naive(in []byte) int {
	if bytes.HasPrefix(in, []byte(".\r\n")) {
		return 3
	}
	if i := bytes.Index(in, []byte("\r\n.\r\n")); i >= 0 {
		return i + 5
	}
	return -1
}

// FuzzConn's law: however input is cut into reads, a line is what stands before
// the first LF if that is CRLF, a block is what stands before the first CRLF dot
// CRLF, with every octet as it came, and what follows is untouched.
func FuzzConn(f *testing.F) {
	f.Add([]byte("POST\r\na\r\n.\r\nDATE\r\n"), []byte{3}, false)
	f.Add([]byte("x\n.\n\r\r\n.\r\r\n.\r\n.\r\n"), []byte{0, 9}, true)
	f.Add([]byte(".\r\n\r\n.\r.\r\n.\r\n"), []byte{1}, true)
	f.Fuzz(func(t *testing.T, in, cut []byte, block bool) {
		c := NewConn(&script{in: bytes.Clone(in), cut: cut}, Options{})
		for rest := in; ; {
			var end int
			var err error
			var got []byte
			if block {
				end = naive(rest)
				got, err = c.Block(1 << 20)
				if err == nil && (end < 0 || !bytes.Equal(got, rest[:end])) {
					t.Fatalf("block %q of %q", got, rest)
				}
			} else {
				end = bytes.IndexByte(rest, '\n') + 1
				got, err = c.Line(MaxCommand)
				if err == nil && (end < 2 || string(got)+"\r\n" != string(rest[:end])) {
					t.Fatalf("line %q of %q", got, rest)
				}
				if err == nil && bytes.ContainsAny(got, "\r\n\x00") {
					t.Fatalf("line %q", got)
				}
			}
			switch {
			case err == nil, errors.Is(err, ErrControl), errors.Is(err, ErrTooLong):
				rest = rest[end:]
			case end > 0 && block:
				t.Fatalf("no block in %q: %v", rest, err)
			default:
				return
			}
			c.Rest()
			block = !block
		}
	})
}

func BenchmarkBlock(b *testing.B) {
	art := []byte(strings.Repeat("a line of seventy octets or so, as people write them in their news...\r\n", 35) + ".\r\n")
	in := bytes.Repeat(art, 13)
	s := &script{}
	c := NewConn(s, Options{})
	b.SetBytes(int64(len(art)))
	b.ReportAllocs()
	for b.Loop() {
		if len(s.in) == 0 && c.Buffered() == 0 {
			s.in = in
		}
		if _, err := c.Block(1 << 20); err != nil {
			b.Fatal(err)
		}
	}
}
