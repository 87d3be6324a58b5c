package torrent

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"strings"
)

// decoder undoes a Content-Transfer-Encoding (RFC 2045 §6), streaming. ok is
// false for an encoding that nobody here knows.
func decoder(encoding string, r io.Reader) (io.Reader, bool) {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "7bit", "8bit", "binary":
		return r, true
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, &alphabet{r: r}), true
	case "quoted-printable":
		return quotedprintable.NewReader(r), true
	}
	return nil, false
}

// alphabet passes only what base64 is made of: RFC 2045 §6.8 wants all other
// octets ignored.
type alphabet struct{ r io.Reader }

func (a *alphabet) Read(p []byte) (int, error) {
	for {
		n, err := a.r.Read(p)
		kept := 0
		for _, c := range p[:n] {
			if c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '=' {
				p[kept] = c
				kept++
			}
		}
		if kept > 0 || err != nil {
			return kept, err
		}
	}
}

var errEmbedded = errors.New("embedded file")

// lineDecoder gives the octets of a uuencoded or yEnc file, line by line.
type lineDecoder struct {
	r       *bufio.Reader
	line    func(dst, line []byte) ([]byte, error) // io.EOF at the last line
	pending []byte
	buf     []byte
	err     error
}

func (d *lineDecoder) Read(p []byte) (int, error) {
	for len(d.pending) == 0 {
		if d.err != nil {
			return 0, d.err
		}
		line, err := d.r.ReadSlice('\n')
		if err != nil && (err != io.EOF || len(line) == 0) {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			d.err = fmt.Errorf("%w: %w", errEmbedded, err)
			continue
		}
		d.buf, d.err = d.line(d.buf[:0], bytes.TrimRight(line, "\r\n"))
		d.pending = d.buf
	}
	n := copy(p, d.pending)
	d.pending = d.pending[n:]
	return n, nil
}

// decodeEmbedded reads the file e from its lines.
func decodeEmbedded(e embedded, r io.Reader) io.Reader {
	d := &lineDecoder{r: bufio.NewReaderSize(r, 16<<10), line: uuLine}
	if e.yenc {
		d.line = (&yDecoder{left: e.size}).line
	}
	return d
}

// uuLine decodes one line of uuencode (POSIX uuencode, historical algorithm).
func uuLine(dst, line []byte) ([]byte, error) {
	if len(line) == 0 || bytes.HasPrefix(line, []byte("begin ")) {
		return dst, nil
	}
	if string(line) == "end" {
		return dst, io.EOF
	}
	n := int(line[0]-' ') & 63
	at := func(i int) byte {
		if i < len(line) {
			return (line[i] - ' ') & 63
		}
		return 0 // trailing blanks that somebody cut off
	}
	for i := 1; n > 0; i += 4 {
		a, b, c, d := at(i), at(i+1), at(i+2), at(i+3)
		three := [3]byte{a<<2 | b>>4, b<<4 | c>>2, c<<6 | d}
		dst = append(dst, three[:min(n, 3)]...)
		n -= 3
	}
	return dst, nil
}

// yDecoder decodes yEnc (yenc-draft.1.3) and checks the size it promised.
type yDecoder struct {
	left    int64
	begun   bool
	escaped bool
}

func (y *yDecoder) line(dst, line []byte) ([]byte, error) {
	if !y.begun {
		y.begun = true
		return dst, nil
	}
	if bytes.HasPrefix(line, []byte("=yend ")) {
		if y.left != 0 {
			return dst, fmt.Errorf("%w: yEnc: %d octets fewer than said", errEmbedded, y.left)
		}
		return dst, io.EOF
	}
	for _, c := range line {
		switch {
		case y.escaped:
			dst, y.escaped = append(dst, c-64-42), false
		case c == '=':
			y.escaped = true
		default:
			dst = append(dst, c-42)
		}
	}
	y.left -= int64(len(dst))
	return dst, nil
}
