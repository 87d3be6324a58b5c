package smtpd

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/emersion/go-smtp"
)

// lanes are the two protocol servers behind a door: one offers STARTTLS, the
// other does not. Which of them gets a connection is decided when it comes, so
// that a certificate that arrives later counts at once.
type lanes struct {
	offer       func() bool
	clear, safe *smtp.Server // safe is nil without TLS, clear where TLS is always offered
}

func (s *Server) lanes() lanes {
	switch {
	case s.cfg.TLS == nil:
		return lanes{clear: s.protocol(false)}
	case s.cfg.OfferTLS == nil:
		return lanes{safe: s.protocol(true)}
	}
	return lanes{offer: s.cfg.OfferTLS, clear: s.protocol(false), safe: s.protocol(true)}
}

// only is the server where there is just one, else nil.
func (n lanes) only() *smtp.Server {
	switch {
	case n.safe == nil:
		return n.clear
	case n.clear == nil:
		return n.safe
	}
	return nil
}

func (n lanes) serve(l net.Listener) error {
	if one := n.only(); one != nil {
		return one.Serve(l)
	}
	done := make(chan struct{})
	end := sync.OnceFunc(func() { close(done); _ = l.Close() })
	clear, safe := &lane{l, make(chan net.Conn), done, end}, &lane{l, make(chan net.Conn), done, end}
	var wg sync.WaitGroup
	wg.Go(func() { _ = n.clear.Serve(clear) })
	wg.Go(func() { _ = n.safe.Serve(safe) })
	defer wg.Wait()
	defer end()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		to := clear
		if n.offer() {
			to = safe
		}
		select {
		case to.conns <- c:
		case <-done:
			_ = c.Close()
		}
	}
}

func (n lanes) shutdown(ctx context.Context) error {
	var errs []error
	for _, s := range []*smtp.Server{n.clear, n.safe} {
		if s == nil {
			continue
		}
		if err := s.Shutdown(ctx); err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			_ = s.Close() // what is cut off was not acknowledged
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// lane is a listener whose connections another one accepted.
type lane struct {
	net.Listener
	conns chan net.Conn
	done  chan struct{}
	end   func()
}

func (l *lane) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *lane) Close() error { l.end(); return nil }
