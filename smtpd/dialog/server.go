package dialog

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
)

// Session is what one connection may do. Its calls come one after the other. An error
// that is no *Reply is answered with "try again later".
type Session interface {
	// Mail begins a transaction; "" is the null sender.
	Mail(from string) error
	// Rcpt names a recipient: an address, or "postmaster" alone.
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

// Server serves any number of listeners. Its fields are set before Serve.
type Server struct {
	Host          string // how it calls itself
	LMTP          bool
	TLS           *tls.Config         // nil: no STARTTLS
	OfferTLS      func() bool         // whether STARTTLS is offered now; nil: always
	MaxMessage    int64               // octets
	MaxRecipients int                 // of one message
	MaxConns      int                 // at a time
	Wait          time.Duration       // for the next octets, and for ours to be taken
	MaxPerHost    int                 // connections of one address at a time
	Free          func(net.Addr) bool // whether an address may have more
	Open          func(Peer) Session
	Log           *slog.Logger

	mu        sync.Mutex
	closing   bool
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	hosts     map[string]int // connections by address
	wg        sync.WaitGroup // of conns
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
	if s.listeners == nil {
		s.listeners, s.conns, s.hosts = map[net.Listener]struct{}{}, map[*conn]struct{}{}, map[string]int{}
	}
	s.listeners[l] = struct{}{}
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
	c := newConn(s, nc)
	host, _, err := net.SplitHostPort(nc.RemoteAddr().String())
	counts := err == nil && !s.Free(nc.RemoteAddr()) // no Unix socket
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing || len(s.conns) >= s.MaxConns || counts && s.hosts[host] >= s.MaxPerHost {
		go c.turnAway()
		return
	}
	s.conns[c] = struct{}{}
	if counts {
		s.hosts[host]++
	}
	s.wg.Go(func() {
		c.serve()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
		if !counts {
			return
		}
		if s.hosts[host]--; s.hosts[host] == 0 {
			delete(s.hosts, host)
		}
	})
}

// Shutdown takes no more connections, says good-bye to those that wait, lets the others
// end their transactions, and returns when all are closed. When ctx ends, what is left is
// cut off, without having been acknowledged, and ctx's error returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	for l := range s.listeners {
		_ = l.Close()
	}
	for c := range s.conns {
		if c.idle {
			_ = c.raw.SetReadDeadline(time.Unix(1, 0))
		}
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.raw.Close()
	}
	return ctx.Err()
}
