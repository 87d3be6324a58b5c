package smtpd

import (
	"bytes"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
)

// wire is a connection in the clear on which two things are mended that go-smtp's parser
// hides: "RCPT TO:<postmaster>", without a domain, is a recipient (RFC 5321 §4.5.1); and
// a CR that stands alone behind a leading dot, which it drops, is noticed. It follows the
// dialog as go-smtp does: commands are lines, DATA goes on to CRLF "." CRLF, BDAT counts.
// After STARTTLS it sees nothing more.
type wire struct {
	net.Conn
	domain string
	stray  atomic.Bool // a CR behind a leading dot stood alone

	phase phase
	skip  int64  // octets of a chunk to come
	state int    // of DATA: how much of CRLF "." CRLF has been read
	line  []byte // of a command, as far as it has come
	out   []byte // for the reader
	err   error
	buf   [4 << 10]byte
}

type phase uint8

const (
	inCommands phase = iota
	inData
	inChunk
	past // long lines, and what is none of ours
)

// maxCommand is how much of a line is looked at, in octets: RFC 5321 §4.5.3.1.4.
const maxCommand = 512

func (w *wire) Read(p []byte) (int, error) {
	for len(w.out) == 0 {
		if w.err != nil {
			return 0, w.err
		}
		n, err := w.Conn.Read(w.buf[:])
		w.out = w.out[:0]
		w.follow(w.buf[:n])
		if w.err = err; err != nil {
			w.flush()
			if ne, ok := err.(net.Error); ok && ne.Timeout() {
				w.err = nil // a deadline may be set anew
				return 0, err
			}
		}
	}
	n := copy(p, w.out)
	w.out = w.out[n:]
	return n, nil
}

func (w *wire) flush() {
	w.out = append(w.out, w.line...)
	w.line = w.line[:0]
}

// follow passes b on to out.
func (w *wire) follow(b []byte) {
	for len(b) > 0 {
		n := len(b)
		switch w.phase {
		case inCommands:
			n = w.command(b)
		case inData:
			n = w.data(b)
			w.out = append(w.out, b[:n]...)
		case inChunk:
			n = int(min(int64(n), w.skip))
			w.out = append(w.out, b[:n]...)
			if w.skip -= int64(n); w.skip == 0 {
				w.phase = inCommands
			}
		case past:
			w.out = append(w.out, b...)
		}
		b = b[n:]
	}
}

// command takes octets up to the end of a line, and looks at the line once it is whole.
func (w *wire) command(b []byte) int {
	n := bytes.IndexByte(b, '\n') + 1
	if n == 0 {
		n = len(b)
	}
	w.line = append(w.line, b[:n]...)
	if w.line[len(w.line)-1] != '\n' {
		if len(w.line) > maxCommand {
			w.flush()
			w.phase = past // go-smtp answers to such a line, and hangs up soon
		}
		return n
	}
	text := strings.ToUpper(strings.TrimSpace(string(w.line)))
	verb, arg, _ := strings.Cut(text, " ")
	switch verb {
	case "DATA":
		w.phase, w.state = inData, 2
	case "BDAT":
		size, _, _ := strings.Cut(arg, " ")
		if k, err := strconv.ParseInt(size, 10, 64); err == nil && k > 0 {
			w.phase, w.skip = inChunk, k
		}
	case "STARTTLS":
		w.phase = past
	case "RCPT":
		if strings.ReplaceAll(arg, " ", "") == "TO:<POSTMASTER>" {
			w.line = append(w.line[:0], "RCPT TO:<postmaster@"+w.domain+">\r\n"...)
		}
	}
	w.flush()
	return n
}

// data takes octets of a message, up to its end or all of them.
func (w *wire) data(b []byte) int {
	const end = "\r\n.\r\n"
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch {
		case c == end[w.state]:
			if w.state++; w.state == len(end) {
				w.phase = inCommands
				return i + 1
			}
			continue
		case w.state == 4:
			w.stray.Store(true)
		case w.state == 2 && c == '\r': // an empty line
			w.state = 1
			continue
		}
		if w.state = 0; c != '\r' {
			k := bytes.IndexByte(b[i:], '\r')
			if k < 0 {
				return len(b)
			}
			i += k - 1
		} // else go-smtp takes a CR behind a CR for text
	}
	return len(b)
}

// wires is a listener of such connections.
type wires struct {
	net.Listener
	domain string
}

func (l wires) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &wire{Conn: c, domain: l.domain}, nil
}

// strayCR says whether the message just read from c lost a CR.
func strayCR(c net.Conn) bool {
	w, ok := c.(*wire)
	return ok && w.stray.Swap(false)
}
