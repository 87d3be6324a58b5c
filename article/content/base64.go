package content

import (
	"encoding/base64"
	"io"
)

// base64Line is how many octets a line of base64 has: RFC 2045 §6.8.
const base64Line = 76

// Base64 writes what it is given as base64 in lines of 76 octets, each with CRLF, the
// last one as well; nothing becomes nothing. It must be closed.
type Base64 struct {
	enc   io.WriteCloser
	lines base64Lines
}

// NewBase64 writes to w.
func NewBase64(w io.Writer) *Base64 {
	b := &Base64{lines: base64Lines{w: w}}
	b.enc = base64.NewEncoder(base64.StdEncoding, &b.lines)
	return b
}

// Write encodes p.
func (b *Base64) Write(p []byte) (int, error) { return b.enc.Write(p) }

// Close writes what is left and ends the last line. It does not close the writer below.
func (b *Base64) Close() error {
	if err := b.enc.Close(); err != nil || b.lines.col == 0 {
		return err
	}
	b.lines.col = 0
	_, err := io.WriteString(b.lines.w, "\r\n")
	return err
}

// CopyBase64 writes all of r to w like Base64.
func CopyBase64(w io.Writer, r io.Reader) error {
	b := NewBase64(w)
	if _, err := io.Copy(b, r); err != nil {
		return err
	}
	return b.Close()
}

// base64Lines breaks lines. Each piece it gets leaves in one.
type base64Lines struct {
	w   io.Writer
	col int
	out []byte
}

func (l *base64Lines) Write(p []byte) (int, error) {
	l.out = l.out[:0]
	for rest := p; len(rest) > 0; {
		n := min(base64Line-l.col, len(rest))
		l.out, rest = append(l.out, rest[:n]...), rest[n:]
		if l.col += n; l.col == base64Line {
			l.out, l.col = append(l.out, '\r', '\n'), 0
		}
	}
	if _, err := l.w.Write(l.out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Base64Only keeps what of an encoded text is in the alphabet of base64, up to the padding
// that ends it: RFC 2045 §6.8. What a list wrote below that is no part of it.
type Base64Only struct {
	Ended bool
	quad  int // characters of the last four
	pads  int // signs of padding behind them
}

// Append appends to dst what it keeps of the next piece; dst may be src[:0].
func (o *Base64Only) Append(dst, src []byte) []byte {
	for _, c := range src {
		switch {
		case o.Ended:
			return dst
		case c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/':
			o.quad, o.pads = (o.quad+1)%4, 0
			dst = append(dst, c)
		case c == '=':
			o.pads++
			o.Ended = o.quad >= 2 && o.quad+o.pads >= 4
		}
	}
	return dst
}
