package dialog

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"strings"
	"time"
)

const (
	maxLine  = 2 << 10  // octets of a command: RFC 5321 §4.5.3.1.4 asks for 512, its extensions for more
	maxAuth  = 16 << 10 // octets of a line of AUTH: RFC 4954 §4 asks for 12,288
	maxWrong = 10       // commands that are none, until we hang up
)

// conn is one connection.
type conn struct {
	srv  *Server
	raw  net.Conn // as it was accepted
	nc   net.Conn // raw, or TLS over it
	r    *bufio.Reader
	w    *bufio.Writer
	sess Session

	hello  string
	mail   bool // a transaction is open
	utf8   bool // it may hold addresses that are not ASCII
	rcpts  int
	authed bool
	wrongs int
	over   bool
	idle   bool // waits for a command outside of a transaction; guarded by srv.mu
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{srv: s, raw: nc}
	c.use(nc)
	return c
}

// use goes on with nc, from nothing: RFC 3207 §4.2.
func (c *conn) use(nc net.Conn) {
	c.nc = nc
	c.r, c.w = bufio.NewReaderSize(flushing{c}, 8<<10), bufio.NewWriterSize(nc, 1<<10)
	c.hello, c.mail, c.utf8, c.rcpts, c.authed = "", false, false, 0, false
}

// flushing reads from a connection, and before it waits sends what was said: answers to
// commands that came together go together (RFC 2920 §3.2).
type flushing struct{ c *conn }

func (f flushing) Read(p []byte) (int, error) {
	if err := f.c.flush(); err != nil {
		return 0, err
	}
	f.c.wait()
	return f.c.nc.Read(p)
}

// wait sets a new deadline for the next octets, unless the server is closing down and
// nothing is lost by that.
func (c *conn) wait() {
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	if c.srv.closing && c.idle {
		return
	}
	_ = c.raw.SetReadDeadline(time.Now().Add(c.srv.Wait))
}

func (c *conn) flush() error {
	_ = c.raw.SetWriteDeadline(time.Now().Add(c.srv.Wait))
	return c.w.Flush()
}

// RemoteAddr, LocalAddr, Secure and Hello make a Peer of it.
func (c *conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

func (c *conn) LocalAddr() net.Addr { return c.raw.LocalAddr() }

func (c *conn) Secure() bool { _, ok := c.nc.(*tls.Conn); return ok }

func (c *conn) Hello() string { return c.hello }

// say answers; text begins with the enhanced code, where there is one. What can not be
// sent shows when the next command is read.
func (c *conn) say(code int, format string, args ...any) {
	fmt.Fprintf(c.w, "%d %s\r\n", code, fmt.Sprintf(format, args...))
}

// fail answers with what went wrong.
func (c *conn) fail(err error) {
	r := replyTo(err)
	_, _ = c.w.WriteString(r.line())
	c.over = c.over || r.Code == 421
}

// wrong answers to what is against the rules of the dialog; after some of it, we hang up.
func (c *conn) wrong(code int, text string) {
	c.say(code, "%s", text)
	if c.wrongs++; c.wrongs > maxWrong {
		c.fatal(421, "4.7.0 too many errors, good-bye")
	}
}

// fatal answers and hangs up.
func (c *conn) fatal(code int, text string) {
	c.say(code, "%s", text)
	c.over = true
}

func (c *conn) quit() { c.fatal(221, "2.0.0 good-bye") }

// turnAway answers to a connection too many: RFC 5321 §3.1.
func (c *conn) turnAway() {
	if _, secure := c.nc.(*tls.Conn); !secure {
		_ = c.raw.SetWriteDeadline(time.Now().Add(time.Second)) // an empty socket buffer: it does not block
		fmt.Fprintf(c.raw, "421 4.3.2 %s has too many connections, try later\r\n", c.srv.Host)
	}
	_ = c.raw.Close()
}

// serve is the dialog from the greeting to the end.
func (c *conn) serve() {
	defer c.raw.Close()
	defer func() {
		if p := recover(); p != nil {
			c.srv.Log.Error("smtp: bug, connection closed", "from", c.RemoteAddr(), "panic", p, "stack", string(debug.Stack()))
			c.fatal(421, "4.3.0 this node has a trouble of its own, try again later")
			_ = c.flush()
		}
	}()
	if t, ok := c.nc.(*tls.Conn); ok && c.shake(t) != nil {
		return
	}
	c.sess = c.srv.Open(c)
	protocol := "ESMTP"
	if c.srv.LMTP {
		protocol = "LMTP"
	}
	c.say(220, "%s %s", c.srv.Host, protocol)
	for !c.over {
		verb, arg, err := c.command()
		switch {
		case err != nil:
			c.end(err)
			return
		case verb != "":
			c.obey(verb, arg)
		}
	}
	c.bye()
}

// end is the end of a dialog that the client did not end.
func (c *conn) end(err error) {
	c.endTransaction()
	var n net.Error
	switch {
	case c.srv.stopping():
		c.fatal(421, "4.3.2 "+c.srv.Host+" is going down, good-bye")
	case errors.As(err, &n) && n.Timeout():
		c.fatal(421, "4.4.2 nothing came for too long, good-bye")
	default:
		return
	}
	c.bye()
}

// bye sends what is left to say. A client that still sends must not lose it to a reset
// of the connection: what comes is read for a moment.
func (c *conn) bye() {
	c.endTransaction()
	if c.flush() != nil {
		return
	}
	half, ok := c.raw.(interface{ CloseWrite() error })
	if t, secure := c.nc.(*tls.Conn); secure {
		_ = t.CloseWrite()
	}
	if ok && half.CloseWrite() == nil {
		_ = c.raw.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.CopyN(io.Discard, c.raw, 1<<20)
	}
}

// shake is the handshake of TLS.
func (c *conn) shake(t *tls.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := t.HandshakeContext(ctx)
	if err != nil {
		c.srv.Log.Debug("smtp: TLS", "from", c.RemoteAddr(), "err", err)
	}
	return err
}

// command reads the next one. A line that is none is answered here; verb is "" then.
func (c *conn) command() (verb, arg string, err error) {
	line, err := c.line(maxLine)
	switch {
	case errors.Is(err, errLong):
		c.wrong(500, "5.5.2 the line is too long")
		return "", "", nil
	case err != nil:
		return "", "", err
	case strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 127 }): // a CR among them
		c.wrong(500, "5.5.2 control characters make no command")
		return "", "", nil
	}
	verb, arg, _ = strings.Cut(strings.TrimRight(line, " \t"), " ")
	if verb == "" {
		c.wrong(500, "5.5.2 that is no command")
	}
	return strings.ToUpper(verb), strings.TrimLeft(arg, " "), nil
}

func (c *conn) setIdle(idle bool) {
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	c.idle = idle
	if idle && c.srv.closing { // Shutdown came while it was busy
		_ = c.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

var errLong = errors.New("line too long")

// line reads one, without its end. LF alone ends one, too: people type commands, and what
// a command is decides nothing about where a message ends.
func (c *conn) line(limit int) (string, error) {
	c.setIdle(!c.mail)
	defer c.setIdle(false)
	var line []byte
	long := false
	for {
		piece, err := c.r.ReadSlice('\n')
		if long = long || len(line)+len(piece) > limit; !long {
			line = append(line, piece...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return "", err
		case long:
			return "", errLong
		}
		text, _ := strings.CutSuffix(string(line), "\n")
		return strings.TrimSuffix(text, "\r"), nil
	}
}
