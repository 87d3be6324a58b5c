package dialog

import (
	"bufio"
	"errors"
	"io"
)

// dots reads a message of DATA, up to CRLF "." CRLF, and takes the first dot off each
// line that begins with one: RFC 5321 §4.5.2. A line ends with CRLF; CR and LF alone are
// text like any other.
type dots struct {
	r     *bufio.Reader
	piece []byte // of a line, not read yet
	fresh bool   // the next piece begins a line
	cr    bool   // the last piece ended with CR
	err   error
}

func newDots(r *bufio.Reader) *dots { return &dots{r: r, fresh: true} }

func (d *dots) Read(p []byte) (int, error) {
	for len(d.piece) == 0 {
		if d.err != nil {
			return 0, d.err
		}
		d.next()
	}
	n := copy(p, d.piece)
	d.piece = d.piece[n:]
	return n, nil
}

// next takes a line, or as much of it as the reader holds.
func (d *dots) next() {
	piece, err := d.r.ReadSlice('\n')
	if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
		d.err = err
		if err == io.EOF {
			d.err = io.ErrUnexpectedEOF
		}
		return
	}
	if d.fresh && piece[0] == '.' {
		if string(piece) == ".\r\n" {
			d.err = io.EOF
			return
		}
		d.piece = piece[1:]
	} else {
		d.piece = piece
	}
	n := len(piece)
	d.fresh = piece[n-1] == '\n' && (n > 1 && piece[n-2] == '\r' || n == 1 && d.cr)
	d.cr = piece[n-1] == '\r'
}

// chunks reads a message of BDAT commands (RFC 3030 §2): the octets of a chunk, then the
// commands up to the next one.
type chunks struct {
	c     *conn
	left  int64 // octets of this chunk
	total int64 // octets of all chunks so far, with this one
	last  bool
	err   error // why there will be no more of it
}

// errGivenUp ends a message whose client gave it up; it has its answer.
var errGivenUp = errors.New("the message was given up")

func (k *chunks) Read(p []byte) (int, error) {
	for k.left == 0 {
		if k.err == nil && k.last {
			k.err = io.EOF
		}
		if k.err != nil {
			return 0, k.err
		}
		k.err = k.next()
	}
	n, err := k.c.r.Read(p[:min(int64(len(p)), k.left)])
	k.left -= int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		k.err = err
	}
	return n, err
}

// next answers to a chunk that has been read, and goes on to the following one.
func (k *chunks) next() error {
	k.c.say(250, "2.0.0 %d octets so far", k.total)
	for {
		verb, arg, err := k.c.command()
		if err != nil {
			return err
		}
		switch verb {
		case "BDAT":
			if err := k.begin(arg); err != nil {
				return err
			}
			return nil
		case "NOOP":
			k.c.say(250, "2.0.0 fine")
		case "RSET":
			k.c.say(250, "2.0.0 forgotten")
			return errGivenUp
		case "QUIT":
			k.c.quit()
			return errGivenUp
		default:
			k.c.wrong(503, "5.5.1 BDAT goes on, or RSET ends it")
		}
		if k.c.over {
			return errGivenUp
		}
	}
}

// begin reads the argument of BDAT.
func (k *chunks) begin(arg string) error {
	size, last, ok := chunkSize(arg)
	if !ok { // it is not known where the next command begins
		k.c.fatal(501, "5.5.4 BDAT SIZE [LAST]")
		return errGivenUp
	}
	k.left, k.last = size, last
	if k.total += size; k.total > k.c.srv.MaxMessage {
		return errTooLarge(k.c.srv.MaxMessage)
	}
	return nil
}

func errTooLarge(limit int64) *Reply {
	return Refuse(552, 5, 3, 4, "the limit is %d octets", limit)
}

// errLineEnd refuses a message whose lines do not all end with CRLF, or that holds NUL:
// RFC 5321 §2.3.8 and §4.1.1.4. What another server may take for the end of a message must
// not travel inside one. And who let such a message through may have ended it where we
// did not, or not where we did: what follows on the connection is not known to be his.
var errLineEnd = Refuse(550, 5, 6, 0, "lines must end with CRLF, and NUL is not allowed (RFC 5321, 2.3.8); good-bye")

// sound passes a message on and ends it with errLineEnd where a CR does not stand before
// an LF, an LF not behind a CR, or an octet is NUL.
type sound struct {
	r    io.Reader
	last byte
	bad  bool
}

func (s *sound) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	for _, c := range p[:n] {
		if c == 0 || (c == '\n') != (s.last == '\r') {
			s.bad = true
		}
		s.last = c
	}
	if s.bad = s.bad || err == io.EOF && s.last == '\r'; s.bad && err == io.EOF {
		err = errLineEnd
	}
	return n, err
}
