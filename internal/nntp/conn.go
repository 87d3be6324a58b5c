package nntp

import (
	"errors"
	"net"
	"sync"
	"time"
)

// Errors of reading. After ErrTooLong, ErrTooLarge and ErrControl the
// connection is still in step: what was too much has been read and dropped.
// After any other error it is not, and must be closed.
var (
	ErrTooLong  = errors.New("line is too long")
	ErrTooLarge = errors.New("block is too large")
	ErrControl  = errors.New("line holds NUL or CR")
	// ErrBareLF: a line with LF alone. What follows cannot be trusted to be
	// what the client means.
	ErrBareLF = errors.New("line ends with LF alone, CRLF is asked for")
	// ErrAnswer: the other side's answer does not begin with a code.
	ErrAnswer = errors.New("answer does not begin with a three-digit code")
	// ErrInjected: octets came before a change of the connection's layer.
	ErrInjected = errors.New("commands were sent before the handshake")
	// ErrStopped: Interrupt or Abort was called.
	ErrStopped = errors.New("connection is being closed")
)

const (
	smallBuf  = 512      // what a waiting connection keeps for input
	bigBuf    = 32 << 10 // borrowed for blocks, long lines and output
	copyBelow = 2 << 10  // references shorter than this are copied: cheaper than an iovec
	maxDrain  = 1 << 20  // octets of a too long line that are read before giving up
)

// Buffers lends the large buffers of many connections. The zero value is ready.
type Buffers struct{ pool sync.Pool }

func (p *Buffers) get() *[bigBuf]byte {
	if b, ok := p.pool.Get().(*[bigBuf]byte); ok {
		return b
	}
	return new([bigBuf]byte)
}

func (p *Buffers) put(b *[bigBuf]byte) { p.pool.Put(b) }

// Options of a connection. A zero field takes the default named there.
type Options struct {
	Buffers      *Buffers         // shared by the connections of a server; default: one of its own
	ReadTimeout  time.Duration    // longest wait for input in the middle of something; default 2 min
	WriteTimeout time.Duration    // longest wait for a write, besides 4 KiB a second; default 2 min
	Now          func() time.Time // default time.Now
}

// Conn is one NNTP connection, seen from either end. One goroutine may read
// while another writes; more than one of each may not.
type Conn struct {
	net net.Conn // changed by its reading goroutine, under mu
	opt Options
	tcp *net.TCPConn // nil: no writev below, so references are copied

	// Input: in is small or big, in[r:w] is unread.
	in   []byte
	r, w int
	big  *[bigBuf]byte

	rdead, wdead time.Time // deadlines as set last
	idle         time.Duration
	until        time.Time // what is being read must be whole by then; zero: no bound

	mu      sync.Mutex // guards what Interrupt, Abort and reading share
	waiting bool
	stopped bool // Wait ends
	aborted bool // all reading ends

	out  []byte // out[from:] is not in vec yet
	from int
	obig *[bigBuf]byte
	vec  net.Buffers
	refs int // octets in vec
	werr error

	In, Out int64 // octets read and written so far; each belongs to its side's goroutine
	small   [smallBuf]byte
}

// NewConn wraps c. On TCP it sets TCP_NODELAY: every write is a whole answer.
func NewConn(c net.Conn, o Options) *Conn {
	if o.Buffers == nil {
		o.Buffers = new(Buffers)
	}
	if o.ReadTimeout == 0 {
		o.ReadTimeout = 2 * time.Minute
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 2 * time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	x := &Conn{opt: o, idle: o.ReadTimeout}
	x.in = x.small[:]
	x.attach(c)
	return x
}

func (c *Conn) attach(n net.Conn) {
	c.mu.Lock()
	c.net = n
	c.mu.Unlock()
	c.tcp, _ = n.(*net.TCPConn)
	if c.tcp != nil {
		_ = c.tcp.SetNoDelay(true) // the default; a failure shows at the first write
	}
	c.rdead, c.wdead = time.Time{}, time.Time{}
}

// NetConn returns the connection below.
func (c *Conn) NetConn() net.Conn { return c.net }

// Upgrade goes on over n, a layer on top of the connection below, as after
// STARTTLS. Input that came before it is refused with ErrInjected: RFC 4642
// §2.2.2 wants it discarded, and a client that sent it is not to be trusted.
func (c *Conn) Upgrade(n net.Conn) error {
	if c.Buffered() > 0 {
		return ErrInjected
	}
	if err := c.Flush(); err != nil {
		return err
	}
	c.attach(n)
	return nil
}

// Close closes the connection below; output not flushed is lost. Any goroutine
// may call it.
func (c *Conn) Close() error {
	c.mu.Lock()
	n := c.net
	c.mu.Unlock()
	return n.Close()
}

// Interrupt makes Wait, now and from now on, return ErrStopped; reading in the
// middle of something goes on. It may be called by any goroutine.
func (c *Conn) Interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	if c.waiting {
		_ = c.net.SetReadDeadline(time.Unix(1, 0)) // it is closed next, whether this works or not
	}
}

// Abort is Interrupt that also ends reading in the middle of something: there, too,
// the reading side gets ErrStopped, and can still say why. What is being written goes on.
func (c *Conn) Abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped, c.aborted = true, true
	_ = c.net.SetReadDeadline(time.Unix(1, 0)) // it is closed next, whether this works or not
}

// Stopped says whether Interrupt or Abort was called.
func (c *Conn) Stopped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopped
}

// CloseWrite flushes and tells the other side that nothing more comes, where the
// connection below can do that.
func (c *Conn) CloseWrite() error {
	err := c.Flush()
	if h, ok := c.net.(interface{ CloseWrite() error }); ok && err == nil {
		err = h.CloseWrite()
	}
	return err
}

// Linger is Close that first gives the other side d to read what was sent: a
// socket closed with input unread makes the system throw away output, too. It
// reads and drops up to 1 MiB until the other side closes.
func (c *Conn) Linger(d time.Duration) error {
	if _, ok := c.net.(interface{ CloseWrite() error }); ok && c.CloseWrite() == nil {
		c.r, c.w = 0, 0
		if c.net.SetReadDeadline(c.opt.Now().Add(d)) == nil {
			for n := 0; n < maxDrain; {
				k, err := c.net.Read(c.in)
				if n += k; err != nil {
					break
				}
			}
		}
	}
	return c.Close()
}

// Rest gives back the large buffers that are not in use. A server calls it
// before it waits for the next command.
func (c *Conn) Rest() {
	if c.big != nil && c.w-c.r <= smallBuf {
		c.w = copy(c.small[:], c.in[c.r:c.w])
		c.r = 0
		c.in = c.small[:]
		c.opt.Buffers.put(c.big)
		c.big = nil
	}
}

// Forget gives back all buffers; the connection cannot be used any more.
func (c *Conn) Forget() {
	c.r, c.w = 0, 0
	c.Rest()
	c.dropOut()
}
