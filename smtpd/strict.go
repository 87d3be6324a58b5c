package smtpd

import (
	"errors"
	"io"
)

// errLineEnd refuses a message whose lines do not all end with CRLF, or that holds
// NUL: RFC 5321 §2.3.8 and §4.1.1.4. What another server may take for the end of
// the message must not travel inside one.
var errLineEnd = errors.New("message holds CR or LF alone, or NUL")

// strictReader passes on what r reads and remembers whether every CR stands
// before an LF, every LF behind a CR, and no octet is NUL. It goes on reading to
// the end, so that the session stays in step.
type strictReader struct {
	r    io.Reader
	last byte
	bad  bool
}

func (s *strictReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	for _, c := range p[:n] {
		if c == 0 || (c == '\n') != (s.last == '\r') {
			s.bad = true
		}
		s.last = c
	}
	return n, err
}

// Err says whether what was read so far is sound; call it at the end.
func (s *strictReader) Err() error {
	if s.bad || s.last == '\r' {
		return errLineEnd
	}
	return nil
}
