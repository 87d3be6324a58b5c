package nntpd

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/litfass/litfass/internal/nntp"
)

// Join is what an invited node says of itself.
type Join struct {
	Secret  string // of the invitation
	Host    string // its path identity
	Address string // where it can be reached, or ""
	Key     string // spki:sha256:B64 of its TLS key, which the handshake has proved
}

// ErrJoin is wrapped by Config.Join where the invited node is to blame; other
// errors are temporary.
var ErrJoin = errors.New("you cannot join here")

// mayJoin: an invitation binds two keys, so the client must have shown one.
func (x *session) mayJoin() bool { return x.srv.cfg.Join != nil && x.o.Cert != "" }

// doXjoin makes the client a peer that shows an invitation's secret: a private
// command (RFC 3977 §3.3) with codes for private use (§3.2). A wrong secret costs
// the connection, as does a right one: whose it is has changed.
func (x *session) doXjoin() error {
	if !x.mayJoin() {
		x.c.Status(nntp.CodeSecureRequired, "STARTTLS with a certificate comes first")
		return nil
	}
	j := Join{Secret: x.args[0], Host: x.args[1], Address: x.reach(x.args[2]), Key: x.o.Cert}
	x.quit = true
	host, err := x.srv.cfg.Join(context.WithoutCancel(x.srv.ctx), j)
	switch {
	case errors.Is(err, ErrJoin):
		x.srv.Counts.BadLogins.Add(1)
		x.log().Warn("nntp: a node that wants to join is refused", "host", oneLine(j.Host), "error", err)
		x.c.Status(nntp.CodeJoinNo, oneLine(err.Error()))
	case err != nil:
		x.log().Error("nntp: a node cannot join", "host", oneLine(j.Host), "error", err)
		x.c.Status(nntp.CodeInternal, "not now, try again later")
	default:
		x.log().Info("nntp: a node has joined", "host", oneLine(j.Host), "address", oneLine(j.Address), "key", j.Key)
		x.c.Status(nntp.CodeJoined, host)
	}
	return nil
}

// reach completes an address without host by that of the client; "-" is none.
func (x *session) reach(address string) string {
	if address == "-" {
		return ""
	}
	scheme := ""
	if rest, ok := strings.CutPrefix(address, "nntps://"); ok {
		scheme, address = "nntps://", rest
	}
	if port, ok := strings.CutPrefix(address, ":"); ok && x.o.Addr.IsValid() {
		address = net.JoinHostPort(x.o.Addr.String(), port)
	}
	return scheme + address
}
