package dialog

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

const (
	maxLine = 2 << 10  // octets of a command: RFC 5321 §4.5.3.1.4 asks for 512, its extensions for more
	maxAuth = 16 << 10 // octets of a line of AUTH: RFC 4954 §4 asks for 12,288
)

// gate is a connection as go-smtp sees it. It lets in one command at a time, and the
// next one when that has been answered; so all that go-smtp has read when it says 354
// (send the message), or 334 (go on with AUTH), is that command, and what follows is what
// it asked for. Messages do not go through go-smtp: a Session has them from here (see dots
// and chunks), and go-smtp sees DATA, and an empty one.
//
// go-smtp reads and writes in one goroutine, but for LMTP, where the one that delivers
// reads while the other writes.
type gate struct {
	net.Conn // TLS where there is TLS
	raw      net.Conn
	srv      *Server
	host     string // by which it counts, or ""
	r        *bufio.Reader
	out      []byte // for go-smtp, not read yet

	mu     sync.Mutex // guards what follows
	w      *bufio.Writer
	mute   bool      // what go-smtp says before it reads the next command is not sent
	begun  bool      // a greeting there was
	login  bool      // the next line is no command but belongs to AUTH
	text   io.Reader // the message that may come now
	chunks *chunks   // the message that a BDAT begins
	open   bool      // a transaction is
	over   bool      // nothing more is read
	last   string
	closed bool // or another gate has the connection
	idle   bool // waits for a command outside of a transaction; guarded by srv.mu
}

func newGate(s *Server, raw, nc net.Conn, again bool) *gate {
	g := &gate{Conn: nc, raw: raw, srv: s, mute: again}
	g.r, g.w = bufio.NewReaderSize(waiting{g}, 8<<10), bufio.NewWriterSize(nc, 1<<10)
	return g
}

func (g *gate) secure() bool { _, ok := g.Conn.(*tls.Conn); return ok }

// SetDeadline and its like do nothing: a gate has its own, for the next octets.
func (g *gate) SetDeadline(time.Time) error      { return nil }
func (g *gate) SetReadDeadline(time.Time) error  { return nil }
func (g *gate) SetWriteDeadline(time.Time) error { return nil }

// waiting reads from the connection, and before it waits sends what was said: answers to
// commands that came together go together (RFC 2920 §3.2).
type waiting struct{ g *gate }

func (w waiting) Read(p []byte) (int, error) {
	if err := w.g.flush(); err != nil {
		return 0, err
	}
	w.g.srv.extend(w.g)
	return w.g.Conn.Read(p)
}

func (g *gate) flush() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	_ = g.raw.SetWriteDeadline(time.Now().Add(g.srv.Wait))
	return g.w.Flush()
}

// Write takes one line of an answer; so textproto writes.
func (g *gate) Write(p []byte) (int, error) {
	if err := g.greet(); err != nil {
		return 0, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	code, _, _ := strings.Cut(string(p), " ")
	if code == "354" && g.chunks != nil {
		g.text = g.chunks
		return len(p), nil
	}
	if g.mute {
		return len(p), nil
	}
	n, err := g.w.Write(p)
	switch code {
	case "334":
		g.login = true
	case "354":
		g.text = newDots(g.r)
		_ = g.w.Flush() // what fails shows when it is read
	}
	if strings.HasPrefix(string(p), "250-PIPELINING") && g.canTLS() {
		_, _ = g.w.WriteString("250-STARTTLS\r\n")
	}
	return n, err
}

// greet is what comes before the greeting: the handshake of TLS.
func (g *gate) greet() error {
	if g.begun {
		return nil
	}
	g.begun = true
	t, ok := g.Conn.(*tls.Conn)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := t.HandshakeContext(ctx)
	if err != nil {
		g.srv.Log.Debug("smtp: TLS", "from", g.RemoteAddr(), "err", err)
		g.hangUp("")
	}
	return err
}

func (g *gate) canTLS() bool {
	return g.srv.TLS != nil && !g.secure() && (g.srv.OfferTLS == nil || g.srv.OfferTLS())
}

// say is an answer of the gate's own.
func (g *gate) say(code int, format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	fmt.Fprintf(g.w, "%d %s\r\n", code, fmt.Sprintf(format, args...))
}

// hangUp lets nothing more in. What was not answered is; last is said then, if it is not
// "".
func (g *gate) hangUp(last string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.over {
		g.over, g.last = true, last
	}
}

// message is what comes after DATA or BDAT.
func (g *gate) message() io.Reader {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.text
}

// Read gives go-smtp the rest of a command, or else the next command.
func (g *gate) Read(p []byte) (int, error) {
	for len(g.out) == 0 {
		if err := g.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, g.out)
	g.out = g.out[n:]
	return n, nil
}

// next finds something to give to go-smtp, or an error.
func (g *gate) next() error {
	if g.endText() {
		return nil
	}
	if err := g.skip(); err != nil {
		return err
	}
	if g.ended() {
		return io.EOF
	}
	if g.turn() {
		return g.answer()
	}
	verb, arg, err := g.command()
	if err != nil {
		return g.end(err)
	}
	g.obey(verb, arg)
	return nil
}

// answer gives go-smtp a line of AUTH.
func (g *gate) answer() error {
	line, err := g.line(maxAuth)
	if errors.Is(err, errLong) {
		line, err = "?", nil // no base64: refused
	}
	if err != nil {
		return g.end(err)
	}
	g.give(line)
	return nil
}

// skip reads the rest of a chunk, which comes whatever is thought of it: RFC 3030 §2.
func (g *gate) skip() error {
	if g.chunks == nil {
		return nil
	}
	err := g.chunks.skip()
	g.chunks = nil
	return err
}

func (g *gate) give(line string) { g.out = append(g.out[:0], line+"\r\n"...) }

// endText is the end of data, for go-smtp: the message has been read.
func (g *gate) endText() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.text == nil {
		return false
	}
	g.text = nil
	g.out = append(g.out[:0], ".\r\n"...)
	return true
}

func (g *gate) ended() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over && g.last != "" {
		fmt.Fprintf(g.w, "%s\r\n", g.last)
		g.last = ""
	}
	return g.over
}

// turn is where go-smtp has said all it had to. It says whether a line of AUTH comes.
func (g *gate) turn() (login bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	login, g.login, g.mute = g.login, false, false
	return login
}

// giveUp ends a message that has its answer: what go-smtp says of it nobody hears.
func (g *gate) giveUp() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mute = true
}

// end is the end of a dialog that the client did not end. go-smtp has its own word for a
// silence.
func (g *gate) end(err error) error {
	var n net.Error
	if errors.As(err, &n) && n.Timeout() && g.srv.stopping() {
		g.say(421, "4.3.2 %s is going down, good-bye", g.srv.Host)
		return io.EOF
	}
	return err
}

// command reads the next one. A line that is none is "".
func (g *gate) command() (verb, arg string, err error) {
	line, err := g.line(maxLine)
	switch {
	case errors.Is(err, errLong):
		return "", "", nil
	case err != nil:
		return "", "", err
	case strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 127 }): // a CR among them
		return "", "", nil
	}
	verb, arg, _ = strings.Cut(strings.TrimRight(line, " \t"), " ")
	return strings.ToUpper(verb), strings.TrimSpace(arg), nil
}

// obey does what is the gate's own affair; go-smtp has an answer to the rest.
func (g *gate) obey(verb, arg string) {
	switch {
	case verb == "BDAT":
		g.bdat(arg)
	case verb == "STARTTLS":
		g.startTLS(arg)
	case (verb == "MAIL" || verb == "AUTH") && g.openNow(): // RFC 5321 §4.1.4, RFC 4954 §4
		g.say(503, "5.5.1 a mail was begun already: RSET forgets it")
	case verb == "RCPT":
		g.give(verb + " " + withDomain(arg, g.srv.Domain))
	default:
		g.give(strings.TrimRight(verb+" "+arg, " "))
	}
}

// withDomain completes <postmaster>, which go-smtp does not take for a recipient:
// RFC 5321 §4.5.1.
func withDomain(to, domain string) string {
	const short = "TO:<POSTMASTER>"
	bare := strings.Replace(to, " ", "", 1) // blanks behind the colon are forgiven
	if len(bare) < len(short) || !strings.EqualFold(bare[:len(short)], short) {
		return to
	}
	return "TO:<postmaster@" + domain + ">" + bare[len(short):]
}

// bdat begins a message of chunks, if go-smtp would take one: RFC 3030.
func (g *gate) bdat(arg string) {
	k := &chunks{g: g}
	if k.begin(arg) {
		g.chunks = k
		g.give("DATA")
	}
}

// setOpen notes whether there is a transaction.
func (g *gate) setOpen(b bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = b
}

func (g *gate) openNow() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open
}

// startTLS goes on under TLS with another gate and a go-smtp that knows nothing of what
// was said before: RFC 3207 §4.2.
func (g *gate) startTLS(arg string) {
	switch {
	case arg != "":
		g.say(501, "5.5.4 STARTTLS, and nothing more")
	case !g.canTLS():
		g.say(502, "5.5.1 there is no TLS to start")
	case g.r.Buffered() > 0: // somebody in between put it there
		g.hangUp("501 5.5.1 nothing may follow STARTTLS before TLS, good-bye")
	default:
		g.say(220, "2.0.0 go on")
		if g.flush() != nil {
			g.hangUp("")
			return
		}
		g.srv.replace(g, newGate(g.srv, g.raw, tls.Server(g.raw, g.srv.TLS), true))
	}
}

// Close sends what is left to say. A client that still sends must not lose it to a reset
// of the connection: what comes is read for a moment.
func (g *gate) Close() error {
	if !g.shut() {
		return nil
	}
	defer g.srv.forget(g)
	defer g.raw.Close()
	if g.flush() != nil {
		return nil
	}
	half, ok := g.raw.(interface{ CloseWrite() error })
	if t, secure := g.Conn.(*tls.Conn); secure {
		_ = t.CloseWrite()
	}
	if ok && half.CloseWrite() == nil {
		_ = g.raw.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.CopyN(io.Discard, g.raw, 1<<20)
	}
	return nil
}

// turnAway answers to a connection too many: RFC 5321 §3.1.
func (g *gate) turnAway() {
	if !g.secure() {
		_ = g.raw.SetWriteDeadline(time.Now().Add(time.Second)) // an empty socket buffer: it does not block
		fmt.Fprintf(g.raw, "421 4.3.2 %s has too many connections, try later\r\n", g.srv.Host)
	}
	_ = g.raw.Close()
}

// shut ends g's part. It says whether the connection was still g's.
func (g *gate) shut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	mine := !g.closed
	g.closed, g.over = true, true
	return mine
}

var errLong = errors.New("line too long")

// line reads one, without its end. LF alone ends one, too: people type commands, and what
// a command is decides nothing about where a message ends.
func (g *gate) line(limit int) (string, error) {
	g.srv.setIdle(g, !g.openNow())
	defer g.srv.setIdle(g, false)
	var line []byte
	long := false
	for {
		piece, err := g.r.ReadSlice('\n')
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
