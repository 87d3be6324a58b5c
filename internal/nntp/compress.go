package nntp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/flate"
)

// ErrBomb: the other side sends what inflates beyond all measure.
var ErrBomb = errors.New("compressed input inflates beyond measure")

// What may inflate to how much: so much in all, and above it a hundred times of
// what came over the wire. Deflate could do 1,032 times.
const (
	bombFree  = 64 << 20
	bombTimes = 100
)

// Compressors lends the compressors of many connections, at most Most at one
// time, about 700 KiB each. A connection has one while an answer of more than
// 2 KiB is being written; without one it compresses worse, not at all slower.
// The zero value is ready.
type Compressors struct {
	Most int // default 8

	once sync.Once
	free chan *flate.Writer // nil entries: not made yet
}

// deflateLevel: of 300 KB of overview, level 1 leaves a 4.9th in 0.65 ms, level 5 a
// 5.4th in 2.2 ms.
const deflateLevel = 1

func (p *Compressors) init() {
	if p.Most == 0 {
		p.Most = 8
	}
	p.free = make(chan *flate.Writer, p.Most)
	for range p.Most {
		p.free <- nil
	}
}

// get returns a compressor that writes to w, or nil if all are lent.
func (p *Compressors) get(w io.Writer) *flate.Writer {
	p.once.Do(p.init)
	select {
	case f := <-p.free:
		if f == nil {
			f, _ = flate.NewWriter(w, deflateLevel) // fails for unknown levels only
		} else {
			f.Reset(w)
		}
		return f
	default:
		return nil
	}
}

func (p *Compressors) put(f *flate.Writer) {
	f.Reset(io.Discard)
	p.free <- f
}

// Deflate puts a layer of deflate (RFC 1951, RFC 8054 §2.2.2) over c: what is
// written is compressed, what is read was. It costs some 50 KiB for reading. What
// was written leaves with Flush of the Conn above it. Close it to end it.
func Deflate(c net.Conn, p *Compressors) net.Conn {
	near, far := net.Pipe()
	d := &deflated{Conn: c, in: near, pool: p, done: make(chan struct{})}
	go d.inflate(far)
	return d
}

// deflated reads through a goroutine: a decompressor cannot go on after a
// deadline that passed in the middle of a block, a pipe can.
type deflated struct {
	net.Conn
	in   net.Conn // what was inflated
	why  error    // why inflating ended; valid when done is closed
	done chan struct{}

	pool *Compressors
	w    *flate.Writer // lent while an answer is being written
	out  bytes.Buffer  // compressed, not sent yet
}

// sendAt is how much compressed output is sent at one time.
const sendAt = 16 << 10

// counted counts what came over the wire.
type counted struct {
	net.Conn
	n atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func (d *deflated) inflate(to net.Conn) {
	defer close(d.done)
	defer to.Close()
	wire := &counted{Conn: d.Conn}
	r := flate.NewReader(wire)
	defer r.Close()
	buf := make([]byte, 4<<10)
	for total := int64(0); ; {
		n, err := r.Read(buf)
		if total += int64(n); total > bombFree+bombTimes*wire.n.Load() {
			d.why = ErrBomb
			return
		}
		if n > 0 {
			if _, e := to.Write(buf[:n]); e != nil {
				d.why = net.ErrClosed
				return
			}
		}
		if err != nil {
			if d.why = err; errors.Is(err, io.ErrUnexpectedEOF) && n == 0 {
				d.why = io.EOF // the other side closed without ending the stream: all do
			}
			return
		}
	}
}

func (d *deflated) Read(p []byte) (int, error) {
	n, err := d.in.Read(p)
	if err == io.EOF || errors.Is(err, io.ErrClosedPipe) {
		<-d.done
		err = d.why
	}
	return n, err
}

// Write compresses; nothing need leave before flush.
func (d *deflated) Write(p []byte) (int, error) {
	if d.w == nil && len(p) > copyBelow {
		d.w = d.pool.get(&d.out)
	}
	var err error
	if d.w != nil {
		_, err = d.w.Write(p)
	} else {
		// Blocks that refer to nothing before them: no state is kept.
		err = flate.StatelessDeflate(&d.out, p, false, nil)
	}
	if err == nil && d.out.Len() >= sendAt {
		err = d.send()
	}
	return len(p), err
}

// flush sends all that was written and gives the compressor back.
func (d *deflated) flush() error {
	if d.w != nil {
		err := d.w.Flush()
		d.pool.put(d.w)
		d.w = nil
		if err != nil {
			return err
		}
	}
	return d.send()
}

func (d *deflated) send() error {
	_, err := d.Conn.Write(d.out.Bytes())
	if d.out.Reset(); d.out.Cap() > 4<<10 {
		d.out = bytes.Buffer{}
	}
	return err
}

// The deadline for reading is that of the pipe.
func (d *deflated) SetReadDeadline(t time.Time) error { return d.in.SetReadDeadline(t) }

func (d *deflated) SetDeadline(t time.Time) error {
	return errors.Join(d.in.SetReadDeadline(t), d.Conn.SetWriteDeadline(t))
}

// CloseWrite says that nothing more comes, where the connection below can.
func (d *deflated) CloseWrite() error {
	if h, ok := d.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close ends both directions and waits for the inflating goroutine.
func (d *deflated) Close() error {
	err := errors.Join(d.Conn.Close(), d.in.Close())
	<-d.done
	return err
}
