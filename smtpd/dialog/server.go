package dialog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Session is what one connection may do. Its calls come one after the other. An error
// that is no *Reply is answered with "try again later".
type Session interface {
	// Mail begins a transaction; "" is the null sender.
	Mail(from string) error
	// Rcpt names a recipient. <postmaster> alone has the server's domain.
	Rcpt(to string) error
	// Message reads a message to its end and delivers it to the recipients that Rcpt
	// took. It returns one error for all of them; in LMTP one for each, in order. What
	// has none is on the disk.
	Message(r io.Reader) []error
	// Reset ends a transaction.
	Reset()
	// Mechanisms are the names of what AUTH takes now; none: it takes nothing.
	Mechanisms() []string
	// Auth begins one of them.
	Auth(mechanism string) (sasl.Server, error)
}

// Peer is the other side of a connection, as far as a Session asks.
type Peer interface {
	RemoteAddr() net.Addr
	LocalAddr() net.Addr
	Secure() bool  // by TLS
	Hello() string // how it calls itself
}

// Config says what a Server is.
type Config struct {
	Host          string // how it calls itself
	Domain        string // of <postmaster> alone
	LMTP          bool
	TLS           *tls.Config         // nil: no STARTTLS
	OfferTLS      func() bool         // whether STARTTLS is offered now; nil: always
	MaxMessage    int64               // octets
	MaxRecipients int                 // of one message
	MaxConns      int                 // at a time
	MaxPerHost    int                 // of one address at a time
	Free          func(net.Addr) bool // whether an address may have more
	Wait          time.Duration       // for the next octets, and for ours to be taken
	Open          func(Peer) Session
	Log           *slog.Logger
}

// Server serves any number of listeners.
type Server struct {
	Config
	smtp  *smtp.Server
	turns turns

	mu        sync.Mutex
	closing   bool
	listeners map[net.Listener]struct{}
	gates     map[*gate]struct{}
	hosts     map[string]int // gates by address
	open      sync.WaitGroup // of gates
	start     sync.Once
	served    sync.WaitGroup // go-smtp's loop
}

// New makes a Server.
func New(c Config) *Server {
	s := &Server{Config: c, turns: turns{make(chan *gate), make(chan struct{}), new(sync.Once)},
		listeners: map[net.Listener]struct{}{}, gates: map[*gate]struct{}{}, hosts: map[string]int{}}
	p := smtp.NewServer(smtp.BackendFunc(s.session))
	p.Domain, p.LMTP = c.Host, c.LMTP                                  // LMTP: RFC 2033 §4.1
	p.EnableSMTPUTF8 = true                                            // RFC 6531; BODY=8BITMIME is taken always: RFC 6152 §2
	p.MaxMessageBytes, p.MaxRecipients = c.MaxMessage, c.MaxRecipients // offered as SIZE (RFC 1870 §6) and LIMITS (RFC 9422 §2)
	p.MaxLineLength = 0                                                // a gate has bounds of its own
	p.AllowInsecureAuth = true                                         // Session.Mechanisms decides
	p.ErrorLog = complaints{c.Log}
	s.smtp = p
	return s
}

func (s *Server) session(c *smtp.Conn) (smtp.Session, error) {
	w := &wrapped{gate: c.Conn().(*gate), conn: c}
	w.s = s.Open(w)
	return w, nil
}

// complaints takes those of go-smtp about connections, everyday things, and about bugs.
type complaints struct{ log *slog.Logger }

func (c complaints) Printf(f string, v ...any) {
	if text := fmt.Sprintf(f, v...); strings.HasPrefix(text, "panic") {
		c.log.Error("smtp: bug, connection closed", "what", text)
	} else {
		c.log.Debug("smtp: " + text)
	}
}

func (c complaints) Println(v ...any) { c.log.Debug("smtp: " + fmt.Sprint(v...)) }

// turns is the listener from which go-smtp has its connections.
type turns struct {
	gates chan *gate
	done  chan struct{}
	once  *sync.Once
}

func (t turns) Accept() (net.Conn, error) {
	select {
	case g := <-t.gates:
		return g, nil
	case <-t.done:
		return nil, net.ErrClosed
	}
}

func (t turns) Close() error   { t.once.Do(func() { close(t.done) }); return nil }
func (t turns) Addr() net.Addr { return &net.UnixAddr{Name: "turns", Net: "unix"} }

// pass gives g to go-smtp, or closes it.
func (t turns) pass(g *gate) {
	select {
	case t.gates <- g:
	case <-t.done:
		_ = g.Close()
	}
}

// Serve takes connections from l until Shutdown, and returns nil then. It closes l.
func (s *Server) Serve(l net.Listener) error {
	if !s.listen(l) {
		return l.Close()
	}
	defer s.unlisten(l)
	for {
		nc, err := l.Accept()
		if err == nil {
			s.admit(nc)
			continue
		}
		var n net.Error
		if s.stopping() {
			return nil
		}
		if errors.Is(err, net.ErrClosed) || !errors.As(err, &n) {
			return err
		}
		s.Log.Warn("smtp: cannot accept", "err", err) // out of descriptors: connections that end make room
		time.Sleep(200 * time.Millisecond)
	}
}

func (s *Server) listen(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.listeners[l] = struct{}{}
	s.start.Do(func() { s.served.Go(func() { _ = s.smtp.Serve(s.turns) }) })
	return true
}

func (s *Server) unlisten(l net.Listener) {
	_ = l.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

func (s *Server) stopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// admit serves a connection, or turns it away.
func (s *Server) admit(nc net.Conn) {
	g := newGate(s, nc, nc, false)
	if host, _, err := net.SplitHostPort(nc.RemoteAddr().String()); err == nil && !s.Free(nc.RemoteAddr()) { // no Unix socket
		g.host = host
	}
	if !s.count(g) {
		go g.turnAway()
		return
	}
	s.turns.pass(g)
}

func (s *Server) count(g *gate) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing || len(s.gates) >= s.MaxConns || g.host != "" && s.hosts[g.host] >= s.MaxPerHost {
		return false
	}
	s.gates[g] = struct{}{}
	if g.host != "" {
		s.hosts[g.host]++
	}
	s.open.Add(1)
	return true
}

// replace gives the connection of old to g.
func (s *Server) replace(old, g *gate) {
	g.host = old.host
	s.mu.Lock()
	delete(s.gates, old)
	s.gates[g] = struct{}{}
	s.mu.Unlock()
	old.shut()
	s.turns.pass(g)
}

func (s *Server) forget(g *gate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.gates, g)
	if s.hosts[g.host]--; s.hosts[g.host] <= 0 {
		delete(s.hosts, g.host)
	}
	s.open.Done()
}

// extend sets a new deadline for the next octets of g, unless the server is closing down
// and nothing is lost by that.
func (s *Server) extend(g *gate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing && g.idle {
		return
	}
	_ = g.raw.SetReadDeadline(time.Now().Add(s.Wait))
}

func (s *Server) setIdle(g *gate, idle bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g.idle = idle
	if idle && s.closing { // Shutdown came while it was busy
		_ = g.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// Shutdown takes no more connections, says good-bye to those that wait, lets the others
// end their transactions, and returns when all are closed. When ctx ends, what is left is
// cut off, without having been acknowledged, and ctx's error returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.close()
	done := make(chan struct{})
	go func() { s.open.Wait(); close(done) }()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
		s.cutOff()
	}
	_ = s.turns.Close()
	s.served.Wait()
	return err
}

func (s *Server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	for l := range s.listeners {
		_ = l.Close()
	}
	for g := range s.gates {
		if g.idle {
			_ = g.raw.SetReadDeadline(time.Unix(1, 0))
		}
	}
}

func (s *Server) cutOff() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for g := range s.gates {
		_ = g.raw.Close()
	}
}
