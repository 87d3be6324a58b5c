package nntpd

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/litfass/litfass/internal/nntp"
	"github.com/litfass/litfass/internal/tlsid"
)

// handshakeIn bounds a TLS handshake.
const handshakeIn = 30 * time.Second

// ServeTLS is Serve for connections that begin with TLS (RFC 8143 §3). Config.TLS
// must be set.
func (s *Server) ServeTLS(ctx context.Context, l net.Listener) error { return s.serve(ctx, l, true) }

// handshake puts TLS over the connection and learns whose key the client has.
func (x *session) handshake() error {
	x.shaking.Store(true)
	defer x.shaking.Store(false)
	if x.c.Stopped() {
		return nntp.ErrStopped
	}
	ctx, cancel := context.WithTimeout(x.srv.ctx, handshakeIn)
	defer cancel()
	tc := tls.Server(x.c.NetConn(), x.srv.cfg.TLS)
	if err := tc.HandshakeContext(ctx); err != nil {
		x.srv.Counts.BadHandshakes.Add(1)
		return fmt.Errorf("TLS handshake: %w", err)
	}
	if tc.ConnectionState().NegotiatedProtocol == tlsid.ALPNChallenge {
		return errClosed // RFC 8737 §3: an authority looked at the certificate, nothing follows
	}
	if err := x.c.Upgrade(tc); err != nil {
		return err
	}
	x.srv.Counts.Handshakes.Add(1)
	x.o.TLS, x.o.Cert = true, tlsid.ClientPin(tc.ConnectionState())
	return nil
}

// listsTLS says whether CAPABILITIES lists STARTTLS: only where it works, and with
// a certificate that strangers may be able to check. Peers with a pin say it unlisted.
func (x *session) listsTLS() bool {
	c := x.srv.cfg
	return c.TLS != nil && (c.OfferTLS == nil || c.OfferTLS()) && !x.o.TLS && !x.compressed && x.o.Account == ""
}

// doStartTLS: RFC 4642 §2.2.
func (x *session) doStartTLS() error {
	switch {
	case x.srv.cfg.TLS == nil:
		x.c.Status(nntp.CodeTLSNo, "there is no TLS here")
		return nil
	case x.o.TLS || x.compressed || x.o.Account != "": // §2.2.1; RFC 8054 §2.2.2
		x.c.Status(nntp.CodeDenied, "STARTTLS comes before logging in and compressing, and once only")
		return nil
	case x.c.Buffered() > 0:
		return x.injected("STARTTLS")
	}
	x.c.Status(nntp.CodeStartTLS, "go on with the handshake")
	if err := x.c.Flush(); err != nil {
		return err
	}
	if err := x.handshake(); err != nil {
		return err
	}
	// §2.2.2: nothing that was said before counts.
	x.user, x.group, x.cur, x.access = "", "", 0, nil
	x.whose()
	return nil
}

// injected refuses commands that came in one piece with STARTTLS or COMPRESS: RFC
// 4642 §2.2.1 and RFC 8054 §2.2.1 forbid it, so they may be somebody else's.
func (x *session) injected(verb string) error {
	x.log().Warn("nntp: commands behind "+verb+" refused", "octets", x.c.Buffered())
	x.bad(nntp.CodeSyntax, "nothing may follow "+verb+" before its answer; good-bye")
	x.quit = true
	return nil
}

// mayCompress says whether CAPABILITIES lists COMPRESS.
func (x *session) mayCompress() bool { return !x.compressed && x.srv.cfg.MaxCompressed > 0 }

// doCompress: RFC 8054 §2.2.
func (x *session) doCompress() error {
	switch {
	case !upperIs(x.args[0], "DEFLATE"):
		x.bad(nntp.CodeNotSupported, "only DEFLATE is known here")
		return nil
	case x.compressed:
		x.c.Status(nntp.CodeDenied, "it is compressed already")
		return nil
	case x.c.Buffered() > 0:
		return x.injected("COMPRESS")
	case !x.srv.compressMore():
		x.c.Status(nntp.CodeInternal, "too many compressed connections, go on without or try later")
		return nil
	}
	x.compressed = true
	x.c.Status(nntp.CodeCompress, "compression active")
	if err := x.c.Flush(); err != nil {
		return err
	}
	return x.c.Upgrade(nntp.Deflate(x.c.NetConn(), &x.srv.compressors))
}

func (s *Server) compressMore() bool {
	if s.compressed.Add(1) > int64(s.cfg.MaxCompressed) {
		s.compressed.Add(-1)
		return false
	}
	return true
}

// upperIs compares a word with one in upper case.
func upperIs(s, want string) bool {
	if len(s) != len(want) {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != want[i] {
			return false
		}
	}
	return true
}
