package dialog

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
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
	g      *gate
	left   int64 // octets of this chunk
	total  int64 // octets of all chunks so far, with this one
	last   bool
	wrongs int   // commands that are out of place
	err    error // why there will be no more of it
}

// errGivenUp ends a message whose client gave it up; it has its answer.
var errGivenUp = Refuse(451, 4, 3, 0, "the message was given up")

func (k *chunks) Read(p []byte) (int, error) {
	for k.left == 0 {
		if k.err == nil && k.last {
			k.err = io.EOF
		}
		if k.err == nil {
			k.err = k.next()
		}
		if k.err != nil {
			return 0, k.err
		}
	}
	if k.total > k.g.srv.MaxMessage {
		k.err = Refuse(552, 5, 3, 4, "the limit is %d octets", k.g.srv.MaxMessage)
		return 0, k.err
	}
	n, err := k.g.r.Read(p[:min(int64(len(p)), k.left)])
	k.left -= int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	k.err = err
	return n, err
}

// next answers to a chunk that has been read, and goes on to the following one.
func (k *chunks) next() error {
	k.g.say(250, "2.0.0 %d octets so far", k.total)
	for {
		verb, arg, err := k.g.command()
		if err != nil {
			return err
		}
		switch verb {
		case "BDAT":
			if !k.begin(arg) {
				return k.giveUp()
			}
			return nil
		case "NOOP":
			k.g.say(250, "2.0.0 fine")
		case "RSET":
			k.g.say(250, "2.0.0 forgotten")
			return k.giveUp()
		case "QUIT":
			k.g.hangUp("221 2.0.0 good-bye")
			return k.giveUp()
		default:
			if k.wrongs++; k.wrongs > maxWrong {
				k.g.hangUp("421 4.7.0 too many errors, good-bye")
				return k.giveUp()
			}
			k.g.say(503, "5.5.1 BDAT goes on, or RSET ends it")
		}
	}
}

func (k *chunks) giveUp() error {
	k.g.giveUp()
	return errGivenUp
}

// begin reads the argument of BDAT. If it is none, or out of all measure, it is not known
// where the next command begins: the connection ends.
func (k *chunks) begin(arg string) bool {
	size, last, ok := chunkSize(arg)
	switch {
	case !ok:
		k.g.hangUp("501 5.5.4 BDAT SIZE [LAST]")
	case size > 2*k.g.srv.MaxMessage:
		k.g.hangUp(fmt.Sprintf("552 5.3.4 the limit is %d octets", k.g.srv.MaxMessage))
		ok = false
	}
	k.left, k.last = size, last
	k.total += size
	return ok
}

// skip reads what is left of a chunk.
func (k *chunks) skip() error {
	_, err := io.CopyN(io.Discard, k.g.r, k.left)
	k.left = 0
	return err
}

// chunkSize reads the argument of BDAT.
func chunkSize(arg string) (size int64, last, ok bool) {
	words := strings.Fields(arg)
	switch len(words) {
	case 2:
		if !strings.EqualFold(words[1], "LAST") {
			return 0, false, false
		}
		last = true
	case 1:
	default:
		return 0, false, false
	}
	n, err := strconv.ParseUint(words[0], 10, 40)
	return int64(n), last, err == nil
}

// errLineEnd refuses a message whose lines do not all end with CRLF, or that holds NUL:
// RFC 5321 §2.3.8 and §4.1.1.4. What another server may take for the end of a message must
// not travel inside one. And who let such a message through may have ended it where we
// did not, or not where we did: what follows on the connection is not known to be his.
var errLineEnd = Refuse(550, 5, 6, 0, "lines must end with CRLF, and NUL is not allowed (RFC 5321, 2.3.8); good-bye")

// sound passes a message on and ends it with errLineEnd where a CR does not stand before
// an LF, an LF not behind a CR, or an octet is NUL.
type sound struct {
	r     io.Reader
	last  byte
	bad   bool
	whole bool // the end was read
}

func (s *sound) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	for _, c := range p[:n] {
		if c == 0 || (c == '\n') != (s.last == '\r') {
			s.bad = true
		}
		s.last = c
	}
	s.whole = s.whole || err == io.EOF
	if s.bad = s.bad || s.whole && s.last == '\r'; s.bad && err == io.EOF {
		err = errLineEnd
	}
	return n, err
}
