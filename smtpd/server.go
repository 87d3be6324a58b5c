package smtpd

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/members"
	"github.com/litfass/litfass/smtpd/dialog"
	"github.com/litfass/litfass/smtpd/letters"
	"github.com/litfass/litfass/spool"
)

// Injector is the slice of agent.Agent that this door uses.
type Injector interface {
	Inject(ctx context.Context, d *article.Draft, o agent.Origin) (agent.Result, error)
	May(ctx context.Context, o agent.Origin, act agent.Act, group article.Group) error
	Appraise(ctx context.Context, d *article.Draft) (result string, err error)
}

// Accounts is the slice of members.Book that this door uses.
type Accounts interface {
	Login(ctx context.Context, name, password string, addr netip.Addr) (members.Account, error)
	ByEmail(ctx context.Context, email string) (members.Account, error)
}

// Spool is the slice of spool.Store that this door uses.
type Spool interface {
	Group(ctx context.Context, g article.Group) (spool.GroupInfo, error)
	ByID(ctx context.Context, id article.ID) (spool.Entry, error)
}

// Mailer writes a letter of the node's own to somebody: confirmations, help. The local
// part is that of the address it comes from. smtpd/courier is one. It returns once the
// mail is in a queue on the disk.
type Mailer interface {
	Write(ctx context.Context, to, lang, letter string, f letters.Facts, local string) error
}

// Orders carries out what a mail to a one-time address or to group-subscribe asks
// for. Each token is good once. Answers are in lang, if it is one there is. Unsubscribe
// asks first if the order is not proven to be the address's own.
type Orders interface {
	Subscribe(ctx context.Context, g article.Group, address, mode, lang string) error
	Unsubscribe(ctx context.Context, g article.Group, address, lang string, proven bool) error
	Token(ctx context.Context, verb, token string) error
	Known(ctx context.Context, verb, token string) (bool, error)
}

// Config is what a Server is made of. Zero values mean what is said beside them.
type Config struct {
	Domain         string         // mail to GROUP@Domain posts
	Host           string         // the node's name, in HELO and made Message-IDs
	Anonymous      string         // none, confirm or post: from a sender without account
	Trusted        []netip.Prefix // hosts to whom Anonymous applies
	Front          []netip.Prefix // mail servers in front: judged is the sender, not the host
	MaxMessage     int64          // octets; 0: 64 MiB
	Cutoff         time.Duration  // Date fields older than this are replaced
	TempDir        string
	PostmasterFile string      // mbox for mail to postmaster; "": thrown away
	TLS            *tls.Config // nil: no STARTTLS
	OfferTLS       func() bool // whether a new connection is offered STARTTLS; nil: always
	LMTP           bool
	Submission     bool // every sender must log in
	MaxConns       int  // connections at a time, a quarter of them of one host that is not trusted; 0: 200

	Agent    Injector
	Accounts Accounts // nil: no AUTH
	Spool    Spool
	State    *state.DB // nil: nobody can confirm
	Mailer   Mailer    // nil: nobody can confirm, no help is sent
	Orders   Orders    // nil: no subscriptions
	HTMLText func(html, charset string) string
	Resolver *net.Resolver // for SPF, DKIM and DMARC; nil: the system's
	Now      func() time.Time
	Log      *slog.Logger
}

// Counts are what the server did since it began; read them by Server.Counts.
type Counts struct {
	Connections, Accepted, Refused, Deferred, Held int64
}

// Server is a mail door: SMTP, or LMTP, on any number of listeners.
type Server struct {
	cfg  Config
	smtp *dialog.Server
	conv converter
	held *holder

	silent silences
	live   atomic.Pointer[access]

	connections, accepted, refused, deferred, heldCount atomic.Int64
}

// access is what of Config may change while the server works.
type access struct {
	anonymous      string
	trusted, front []netip.Prefix
}

// SetAccess replaces Config.Anonymous, Trusted and Front at once.
func (s *Server) SetAccess(anonymous string, trusted, front []netip.Prefix) {
	s.live.Store(&access{anonymous, trusted, front})
}

// New makes a Server.
func New(cfg Config) *Server {
	if cfg.MaxMessage == 0 {
		cfg.MaxMessage = 64 << 20
	}
	if cfg.MaxConns == 0 {
		cfg.MaxConns = 200
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.HTMLText == nil {
		cfg.HTMLText = func(html, _ string) string { return html }
	}
	s := &Server{cfg: cfg}
	s.SetAccess(cfg.Anonymous, cfg.Trusted, cfg.Front)
	s.conv = converter{dir: cfg.TempDir, limit: cfg.MaxMessage, toText: cfg.HTMLText, now: cfg.Now, host: cfg.Host, cutoff: cfg.Cutoff}
	if cfg.State != nil && cfg.Mailer != nil {
		s.held = newHolder(cfg.State, cfg.Now)
	}
	s.smtp = dialog.New(dialog.Config{Host: cfg.Host, Domain: cfg.Domain, LMTP: cfg.LMTP, TLS: cfg.TLS, OfferTLS: cfg.OfferTLS, MaxMessage: cfg.MaxMessage,
		MaxRecipients: 100, // RFC 5321 §4.5.3.1.8
		MaxConns:      cfg.MaxConns,
		MaxPerHost:    max(cfg.MaxConns/4, 1),
		Free: func(a net.Addr) bool {
			l := s.live.Load()
			return contains(l.trusted, hostOf(a)) || contains(l.front, hostOf(a))
		},
		Wait: 5 * time.Minute, // RFC 5321 §4.5.3.2.7
		Open: s.open, Log: cfg.Log})
	return s
}

// Serve takes connections from l until Shutdown. It returns nil then.
func (s *Server) Serve(l net.Listener) error { return s.smtp.Serve(l) }

// Shutdown lets running transactions end until ctx is done, then cuts them off.
func (s *Server) Shutdown(ctx context.Context) error { return s.smtp.Shutdown(ctx) }

// Counts returns what the server did so far.
func (s *Server) Counts() Counts {
	return Counts{s.connections.Load(), s.accepted.Load(), s.refused.Load(), s.deferred.Load(), s.heldCount.Load()}
}

func (s *Server) open(p dialog.Peer) dialog.Session {
	s.connections.Add(1)
	return &session{srv: s, peer: p, addr: hostOf(p.RemoteAddr())}
}

func hostOf(a net.Addr) netip.Addr {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{} // a Unix socket
	}
	return ap.Addr().Unmap()
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
