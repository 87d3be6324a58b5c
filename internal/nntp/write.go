package nntp

import (
	"strconv"
	"time"
)

// Output is gathered and leaves with Flush, in one write where the system can
// (writev): status line and body never go out apart.

// room makes sure that out can take n more octets, or as many as it ever can.
func (c *Conn) room(n int) {
	if c.obig == nil {
		c.obig = c.opt.Buffers.get()
		c.out, c.from = c.obig[:0], 0
	}
	if len(c.out)+n > cap(c.out) {
		c.push()
		if c.obig == nil {
			c.obig = c.opt.Buffers.get()
			c.out, c.from = c.obig[:0], 0
		}
	}
}

// Str adds a string to the output.
func (c *Conn) Str(s string) {
	for c.room(len(s)); len(s) > cap(c.out)-len(c.out); c.room(len(s)) {
		n := cap(c.out) - len(c.out)
		c.out = append(c.out, s[:n]...)
		s = s[n:]
	}
	c.out = append(c.out, s...)
}

// Strs adds several strings to the output.
func (c *Conn) Strs(ss ...string) {
	n := 0
	for _, s := range ss {
		n += len(s)
	}
	if c.room(n); n > cap(c.out)-len(c.out) {
		for _, s := range ss {
			c.Str(s)
		}
		return
	}
	out := c.out
	for _, s := range ss {
		out = append(out, s...)
	}
	c.out = out
}

// Write adds a copy of p to the output. It never fails: Flush does.
func (c *Conn) Write(p []byte) (int, error) {
	l := len(p)
	for c.room(len(p)); len(p) > cap(c.out)-len(c.out); c.room(len(p)) {
		n := cap(c.out) - len(c.out)
		c.out = append(c.out, p[:n]...)
		p = p[n:]
	}
	c.out = append(c.out, p...)
	return l, nil
}

// Int adds a decimal number.
func (c *Conn) Int(n uint64) {
	c.room(20)
	c.out = strconv.AppendUint(c.out, n, 10)
}

// CRLF ends a line of output.
func (c *Conn) CRLF() { c.Str("\r\n") }

// Ref adds p itself to the output, without a copy where that pays: p must not
// change before Flush.
func (c *Conn) Ref(p []byte) {
	if c.tcp == nil || len(p) < copyBelow {
		_, _ = c.Write(p)
		return
	}
	c.cut()
	c.vec = append(c.vec, p)
	c.refs += len(p)
	if c.refs > maxDrain || len(c.vec) > 64 {
		c.push()
	}
}

// cut turns what out holds into a piece of vec.
func (c *Conn) cut() {
	if len(c.out) > c.from {
		c.vec = append(c.vec, c.out[c.from:])
		c.refs += len(c.out) - c.from
		c.from = len(c.out)
	}
}

// Pending returns the octets of output not yet flushed.
func (c *Conn) Pending() int { return c.refs + len(c.out) - c.from }

// Flush writes all output and returns the first error of any write so far.
func (c *Conn) Flush() error {
	n := c.Pending()
	if d, ok := c.net.(*deflated); n == 0 && (!ok || d.w == nil) {
		return c.werr
	}
	if c.werr == nil {
		c.werr = c.flush(n)
	}
	c.dropOut()
	return c.werr
}

// push is what makes room in the middle of an answer: a layer that compresses
// may hold some of it back.
func (c *Conn) push() {
	if n := c.Pending(); n > 0 {
		if c.werr == nil {
			c.werr = c.flushTo(n)
		}
		c.dropOut()
	}
}

func (c *Conn) flush(n int) error {
	err := c.flushTo(n)
	if d, ok := c.net.(*deflated); ok && err == nil {
		err = d.flush()
	}
	return err
}

func (c *Conn) flushTo(n int) error {
	if err := c.armWrite(n); err != nil {
		return err
	}
	c.Out += int64(n)
	if n == 0 {
		return nil
	}
	if len(c.vec) == 0 {
		_, err := c.net.Write(c.out)
		return err
	}
	c.cut()
	v := c.vec
	_, err := v.WriteTo(c.net)
	return err
}

// dropOut forgets the output and gives its buffer back.
func (c *Conn) dropOut() {
	clear(c.vec)
	c.vec, c.refs = c.vec[:0], 0
	if cap(c.vec) > 8 {
		c.vec = nil
	}
	c.out, c.from = nil, 0
	if c.obig != nil {
		c.opt.Buffers.put(c.obig)
		c.obig = nil
	}
}

// armWrite gives a write its deadline: the timeout, and for long ones as much
// more as a slow link (4 KiB a second) needs.
func (c *Conn) armWrite(n int) error {
	d := c.opt.WriteTimeout + time.Duration(n)*(time.Second/4096)
	want := c.opt.Now().Add(d)
	if e := want.Sub(c.wdead); e >= 0 && e < d/8 {
		return nil
	}
	c.wdead = want
	return c.net.SetWriteDeadline(want)
}

// Status adds an answer line.
func (c *Conn) Status(code int, text string) {
	c.room(len(text) + 6)
	c.Int(uint64(code))
	if text != "" {
		c.Str(" ")
		c.Str(text)
	}
	c.Str("\r\n")
}

// Command adds a command line: its words with blanks between.
func (c *Conn) Command(words ...string) {
	for i, w := range words {
		if i > 0 {
			c.Str(" ")
		}
		c.Str(w)
	}
	c.Str("\r\n")
}

// End adds the line that ends a multi-line block.
func (c *Conn) End() { c.Str(".\r\n") }
