package nntp

import (
	"bytes"
	"io"
	"time"
)

// Buffered returns how many octets can be read without waiting.
func (c *Conn) Buffered() int { return c.w - c.r }

// Wait reads until there is at least one octet of input, at most for idle. It
// is how a server waits for the next command; Interrupt ends it with ErrStopped.
func (c *Conn) Wait(idle time.Duration) error {
	if c.Buffered() > 0 {
		return nil
	}
	if err := c.startWait(idle); err != nil {
		return err
	}
	err := c.readMore()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = false
	c.idle = c.opt.ReadTimeout
	if err != nil && c.stopped {
		return ErrStopped
	}
	return err
}

// startWait sets the deadline before Interrupt can move it.
func (c *Conn) startWait(idle time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return ErrStopped
	}
	c.waiting = true
	c.idle = idle
	return c.armRead()
}

// fill reads once, after making room.
func (c *Conn) fill() error {
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	if c.w == len(c.in) {
		if c.big == nil {
			c.big = c.opt.Buffers.get()
			c.w = copy(c.big[:], c.in[c.r:c.w])
			c.in, c.r = c.big[:], 0
		} else if c.r > 0 {
			c.w = copy(c.in, c.in[c.r:c.w])
			c.r = 0
		} else {
			return ErrTooLong
		}
	}
	if err := c.startFill(); err != nil {
		return err
	}
	err := c.readMore()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && c.aborted {
		return ErrStopped
	}
	return err
}

// startFill sets the deadline before Abort can move it.
func (c *Conn) startFill() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.aborted {
		return ErrStopped
	}
	return c.armRead()
}

// readMore reads once; there is room.
func (c *Conn) readMore() error {
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	n, err := c.net.Read(c.in[c.w:])
	c.w += n
	c.In += int64(n)
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// armRead moves the deadline, but not for less than an eighth of the wait: a
// timer costs more than many a command.
func (c *Conn) armRead() error {
	now := c.opt.Now()
	want := now.Add(c.idle)
	if !c.until.IsZero() && want.After(c.until) {
		want = c.until
	}
	if d := want.Sub(c.rdead); d >= 0 && d < c.idle/8 {
		return nil
	}
	c.rdead = want
	return c.net.SetReadDeadline(want)
}

// Line reads one line and returns it without CRLF; it is valid until the next
// read. max bounds its octets with CRLF, at most 32 KiB.
func (c *Conn) Line(max int) ([]byte, error) {
	l, err := c.line(min(max, bigBuf))
	c.until = time.Time{}
	return l, err
}

// bound sets the time by which what has begun must be whole: the timeout, and
// as much more as a slow link (4 KiB a second) needs for n octets. So nobody
// holds a buffer for ever by sending an octet now and then.
func (c *Conn) bound(n int64) {
	if c.until.IsZero() {
		c.until = c.opt.Now().Add(c.opt.ReadTimeout + time.Duration(min(n, 1<<40))*(time.Second/4096))
	}
}

func (c *Conn) line(max int) ([]byte, error) {
	for seen := 0; ; {
		b := c.in[c.r:c.w]
		if i := bytes.IndexByte(b[seen:], '\n'); i >= 0 {
			i += seen
			if i == 0 || b[i-1] != '\r' {
				return nil, ErrBareLF
			}
			c.r += i + 1
			if i+1 > max {
				return nil, ErrTooLong
			}
			line := b[:i-1]
			if bytes.IndexByte(line, '\r') >= 0 || bytes.IndexByte(line, 0) >= 0 {
				return nil, ErrControl
			}
			return line, nil
		}
		if seen = len(b); seen >= max {
			return nil, c.drainLine()
		}
		if seen > 0 {
			c.bound(0)
		}
		if err := c.fill(); err != nil {
			return nil, unexpected(err, seen)
		}
	}
}

// unexpected turns the end of input in the middle of something into an error of
// its own.
func unexpected(err error, got int) error {
	if err == io.EOF && got > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

// drainLine drops the rest of a line that is too long.
func (c *Conn) drainLine() error {
	cr := false
	for n := 0; n < maxDrain; {
		b := c.in[c.r:c.w]
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			if i > 0 {
				cr = b[i-1] == '\r'
			}
			c.r += i + 1
			if !cr {
				return ErrBareLF
			}
			return ErrTooLong
		}
		if len(b) > 0 {
			cr = b[len(b)-1] == '\r'
		}
		n += len(b)
		c.r = c.w
		if err := c.fill(); err != nil {
			return unexpected(err, 1)
		}
	}
	return io.ErrShortBuffer
}

var blockEnd = []byte("\r\n.\r\n")

// blockScan finds the end of a block that comes in pieces: how many octets of
// blockEnd the input so far ends with. A block begins as if behind a CRLF.
type blockScan int

const blockStart blockScan = 2

// step is the automaton of blockEnd.
func (s blockScan) step(b byte) blockScan {
	switch {
	case b == '\r' && s == 3:
		return 4
	case b == '\r':
		return 1
	case b == '\n' && (s == 1 || s == 4), b == '.' && s == 2:
		return s + 1
	}
	return 0
}

// feed takes the next piece and returns how many of its octets belong to the
// block, and whether it is complete.
func (s *blockScan) feed(p []byte) (int, bool) {
	i := 0
	for ; *s > 0 && i < len(p); i++ {
		if *s = s.step(p[i]); *s == 5 {
			return i + 1, true
		}
	}
	if j := bytes.Index(p[i:], blockEnd); j >= 0 {
		return i + j + len(blockEnd), true
	}
	for _, b := range p[max(i, len(p)-4):] {
		*s = s.step(b)
	}
	return len(p), false
}

// Block reads a multi-line block and returns it as it stands on the wire,
// dot-stuffed, final ".\r\n" included, in a slice of its own. A block of more
// than max octets is read to its end and dropped: ErrTooLarge.
func (c *Conn) Block(max int) ([]byte, error) {
	b, err := c.block(max)
	c.until = time.Time{}
	return b, err
}

func (c *Conn) block(max int) ([]byte, error) {
	var got []byte
	s, total := blockStart, 0
	for {
		if c.r < c.w {
			p := c.in[c.r:c.w]
			n, done := s.feed(p)
			c.r += n
			if total += n; total <= max {
				if got == nil && done {
					got = make([]byte, 0, n) // the common case: one piece, one allocation
				}
				got = append(got, p[:n]...)
			} else {
				got = nil
			}
			switch {
			case done && total > max:
				return nil, ErrTooLarge
			case done:
				return got, nil
			}
		}
		c.bound(int64(max))
		if err := c.fillBig(); err != nil {
			return nil, unexpected(err, 1)
		}
	}
}

// fillBig is fill with a large buffer: a block is coming.
func (c *Conn) fillBig() error {
	if c.big == nil {
		c.big = c.opt.Buffers.get()
		c.w = copy(c.big[:], c.in[c.r:c.w])
		c.in, c.r = c.big[:], 0
	}
	return c.fill()
}

// BlockTo is Block that writes the octets to w as they come. If w fails, the
// block is read to its end all the same and w's error returned; over max octets
// it is ErrTooLarge and w has had at most max of them. It returns the octets of
// the block.
func (c *Conn) BlockTo(w io.Writer, max int64) (int64, error) {
	n, err := c.blockTo(w, max)
	c.until = time.Time{}
	return n, err
}

func (c *Conn) blockTo(w io.Writer, max int64) (int64, error) {
	s, total := blockStart, int64(0)
	var failed error
	for {
		if c.r < c.w {
			p := c.in[c.r:c.w]
			n, done := s.feed(p)
			c.r += n
			total += int64(n)
			if total > max {
				failed = ErrTooLarge
			}
			if failed == nil {
				_, failed = w.Write(p[:n])
			}
			if done {
				return total, failed
			}
		}
		c.bound(max)
		if err := c.fillBig(); err != nil {
			return total, unexpected(err, 1)
		}
	}
}

// Lines reads a multi-line block and calls fn with each line, dots undone,
// without CRLF, valid during the call only. Lines over MaxLine octets and an
// error of fn stop the calls; the block is read to its end and the error
// returned. Bare CR and LF are handed to fn as they are.
func (c *Conn) Lines(fn func(line []byte) error) error {
	var long []byte // a line that did not fit
	var failed error
	for {
		p := c.in[c.r:c.w]
		i := bytes.Index(p, crlf)
		if i < 0 {
			keep := 0 // a CR at the end may be half a CRLF
			if len(p) > 0 && p[len(p)-1] == '\r' {
				keep = 1
			}
			if len(p)-keep >= bigBuf/2 {
				if len(long)+len(p) > MaxLine {
					failed = ErrTooLong
				} else {
					long = append(long, p[:len(p)-keep]...)
				}
				c.r = c.w - keep
			}
			if err := c.fillBig(); err != nil {
				return unexpected(err, 1)
			}
			continue
		}
		line := p[:i]
		c.r += i + 2
		if long != nil {
			line, long = append(long, line...), nil
		}
		if len(line) > 0 && line[0] == '.' {
			if len(line) == 1 {
				return failed
			}
			line = line[1:]
		}
		if failed == nil {
			failed = fn(line)
		}
	}
}

var crlf = []byte("\r\n")

// Answer reads an answer line: its code and its text, which is valid until the
// next read.
func (c *Conn) Answer() (int, []byte, error) {
	l, err := c.Line(MaxAnswer)
	if err != nil {
		return 0, nil, err
	}
	code := 0
	if len(l) < 3 || len(l) > 3 && l[3] != ' ' {
		return 0, nil, ErrAnswer
	}
	for _, d := range l[:3] {
		if d < '0' || d > '9' {
			return 0, nil, ErrAnswer
		}
		code = code*10 + int(d-'0')
	}
	if code < 100 {
		return 0, nil, ErrAnswer
	}
	return code, bytes.TrimLeft(l[3:], " "), nil
}
