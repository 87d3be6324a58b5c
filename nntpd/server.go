package nntpd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/nntp"
	"github.com/litfass/litfass/spool"
)

// Agent is what the door asks of *agent.Agent.
type Agent interface {
	Inject(ctx context.Context, d *article.Draft, o agent.Origin) (agent.Result, error)
	Want(ctx context.Context, id article.ID, o agent.Origin) error
	Release(id article.ID, o agent.Origin)
	ReleaseAll(o agent.Origin)
	Relay(ctx context.Context, wire []byte, o agent.Origin) (spool.Entry, error)
	Access(ctx context.Context, o agent.Origin) (*agent.Access, error)
	Whose(ctx context.Context, o agent.Origin) []string
}

// Lists are what LIST says beside the groups: RFC 6048, RFC 3977 §7.6.5. What is
// nil is not kept: 503, and not announced.
type Lists struct {
	Motd          []byte   // lines with LF
	Subscriptions []string // group names
	Distributions []string // lines name, TAB, description
	DistribPats   []string // lines weight:pattern:value
	Moderators    []string // lines pattern:address, with %s for the group
}

// SetLists changes them while the server runs.
func (s *Server) SetLists(l Lists) { s.lists.Store(&l) }

// Config of a Server. Spool, Agent and Host are needed; every other field may be
// left zero and takes the default named there.
type Config struct {
	Host     string // path identity: in the Xref lines
	Spool    spool.Reader
	Agent    Agent
	Accounts Accounts // nil: nobody can log in
	Marks    Marks    // nil: nothing is marked as read

	// Seen is told whose a new connection may be: a peer that shows itself can
	// be fed at once. It must not wait. nil: nobody asks.
	Seen func(peers []string)

	TLS      *tls.Config // for STARTTLS and ServeTLS; nil: neither
	OfferTLS func() bool // whether CAPABILITIES lists STARTTLS; nil: always

	// Join makes an invited node a peer and returns our path identity. An error's
	// text is told to it. nil: nobody is invited here.
	Join func(ctx context.Context, j Join) (host string, err error)

	Trusted []netip.Prefix // clients to whom the `anonymous` setting applies, and who may send passwords in the clear

	MaxArticle   int           // octets of an article from a peer; default 1 MiB
	MaxPost      int64         // octets of a POST; default 64 MiB
	PostMemory   int           // octets of a POST kept in memory, more goes to a file; default 1 MiB
	TempDir      string        // for such files; default: the system's
	MaxSpilled   int           // such files at one time; default 8
	MaxConns     int           // connections in all; default 4,096
	MaxPerAddr   int           // connections of one address that is not trusted; default 64
	Window       int           // articles of one connection being stored at one time; default 64
	WindowOctets int           // and their octets; default 4 MiB
	ServerOctets int           // octets of articles being stored, all connections; default 32 MiB
	IdleTimeout  time.Duration // wait for a command; default 15 min
	ReadTimeout  time.Duration // wait inside a command or an article; default 2 min
	WriteTimeout time.Duration // wait for a client that does not read; default 2 min
	MaxBadLogins int           // wrong passwords before the connection is closed; default 3
	Lists        Lists         // what LIST says beside the groups
	Version      string        // for CAPABILITIES and the greeting; default "litfass"

	// Signer is the metadata item :signer of HDR: who signed an article and what
	// that is worth, in words, on one line. nil: there is no such item.
	Signer func(ctx context.Context, e spool.Entry) (string, error)

	MaxCompressed int // connections compressed at one time, some 60 KiB each; default 512, under 0: none

	Nonce func() string    // for SCRAM; default: rand.Text
	Now   func() time.Time // default time.Now
	Log   *slog.Logger     // default: silent
}

func (c Config) orDefault() Config {
	def := func(p *int, n int) {
		if *p == 0 {
			*p = n
		}
	}
	wait := func(p *time.Duration, d time.Duration) {
		if *p == 0 {
			*p = d
		}
	}
	def(&c.MaxArticle, 1<<20)
	def(&c.PostMemory, 1<<20)
	def(&c.MaxSpilled, 8)
	def(&c.MaxConns, 4096)
	def(&c.MaxPerAddr, 64)
	def(&c.Window, 64)
	def(&c.WindowOctets, 4<<20)
	def(&c.ServerOctets, 32<<20)
	def(&c.MaxBadLogins, 3)
	def(&c.MaxCompressed, 512)
	wait(&c.IdleTimeout, 15*time.Minute)
	wait(&c.ReadTimeout, 2*time.Minute)
	wait(&c.WriteTimeout, 2*time.Minute)
	if c.MaxPost == 0 {
		c.MaxPost = 64 << 20
	}
	if c.Version == "" {
		c.Version = "litfass"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Server serves NNTP on any number of listeners.
type Server struct {
	cfg    Config
	Counts Counts

	ctx     context.Context // of all commands; ends when Shutdown loses its patience
	cancel  context.CancelFunc
	buffers nntp.Buffers

	compressors nntp.Compressors
	compressed  atomic.Int64  // connections
	octets      budget        // of articles being stored
	spilled     chan struct{} // a token for each POST in a file

	lists   atomic.Pointer[Lists]
	trusted atomic.Pointer[[]netip.Prefix]

	mu       sync.Mutex
	draining bool
	sessions map[*session]struct{}
	perAddr  map[netip.Addr]int
	serving  map[net.Listener]struct{}
	wg       sync.WaitGroup // sessions
}

// New makes a Server.
func New(cfg Config) *Server {
	cfg = cfg.orDefault()
	s := &Server{
		cfg:      cfg,
		octets:   budget{room: cfg.ServerOctets},
		spilled:  make(chan struct{}, cfg.MaxSpilled),
		sessions: make(map[*session]struct{}),
		perAddr:  make(map[netip.Addr]int),
		serving:  make(map[net.Listener]struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.SetLists(cfg.Lists)
	s.SetTrusted(cfg.Trusted)
	return s
}

// SetTrusted replaces Config.Trusted, for connections that come from now on.
func (s *Server) SetTrusted(clients []netip.Prefix) { s.trusted.Store(&clients) }

// Serve accepts connections until ctx ends, Shutdown is called or l fails, and
// closes l. It does not wait for the connections: Shutdown does.
func (s *Server) Serve(ctx context.Context, l net.Listener) error { return s.serve(ctx, l, false) }

func (s *Server) serve(ctx context.Context, l net.Listener, implicit bool) error {
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		_ = l.Close()
		return nil
	}
	s.serving[l] = struct{}{}
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	defer func() {
		_ = l.Close()
		s.mu.Lock()
		delete(s.serving, l)
		s.mu.Unlock()
	}()
	for {
		c, err := l.Accept()
		if err == nil {
			s.take(c, implicit)
			continue
		}
		if ctx.Err() != nil || s.stopping() {
			return nil
		}
		if !passing(err) {
			return fmt.Errorf("accept NNTP connections on %s: %w", l.Addr(), err)
		}
		// Out of descriptors or memory: connections that end make room.
		s.cfg.Log.Warn("nntp: cannot accept", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// passing says whether Accept may work again later.
func passing(err error) bool {
	var n net.Error
	return !errors.Is(err, net.ErrClosed) && errors.As(err, &n)
}

// ServeConn serves one connection and returns when it has ended.
func (s *Server) ServeConn(c net.Conn) {
	if x := s.admit(c, false); x != nil {
		x.run()
	}
}

func (s *Server) take(c net.Conn, implicit bool) {
	if x := s.admit(c, implicit); x != nil {
		go x.run()
	}
}

// admit makes a session of c, or turns it away.
func (s *Server) admit(c net.Conn, implicit bool) *session {
	addr := addrOf(c)
	trusted := contains(*s.trusted.Load(), addr)
	s.mu.Lock()
	why := ""
	switch {
	case s.draining:
		why = "this server is going down, try later"
	case len(s.sessions) >= s.cfg.MaxConns:
		why = "too many connections, try later"
	case !trusted && addr.IsValid() && s.perAddr[addr] >= s.cfg.MaxPerAddr:
		why = "too many connections from your address"
	}
	if why != "" {
		s.mu.Unlock()
		s.Counts.TurnedAway.Add(1)
		if !implicit {
			_ = c.SetWriteDeadline(time.Now().Add(time.Second)) // an empty socket buffer: it does not block
			_, _ = fmt.Fprintf(c, "%d %s\r\n", nntp.CodeUnavailable, why)
		}
		_ = c.Close()
		return nil
	}
	x := &session{
		srv: s, implicit: implicit,
		c: nntp.NewConn(c, nntp.Options{
			Buffers: &s.buffers, ReadTimeout: s.cfg.ReadTimeout, WriteTimeout: s.cfg.WriteTimeout,
		}),
		o: agent.Origin{Door: "nntp", Addr: addr, Trusted: trusted},
	}
	s.sessions[x] = struct{}{}
	if addr.IsValid() {
		s.perAddr[addr]++
	}
	s.wg.Add(1)
	s.mu.Unlock()
	s.Counts.Connections.Add(1)
	return x
}

// forget is the end of a session.
func (s *Server) forget(x *session) {
	s.mu.Lock()
	delete(s.sessions, x)
	if a := x.o.Addr; a.IsValid() {
		if s.perAddr[a]--; s.perAddr[a] <= 0 {
			delete(s.perAddr, a)
		}
	}
	s.mu.Unlock()
	s.wg.Done()
}

func (s *Server) stopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// Open returns the number of connections now.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// Shutdown stops listening, closes waiting connections with 400 at once, lets
// running commands, and articles that are being sent, come to their end, and returns
// when all connections are closed. When ctx ends, what is left is told 400, whatever
// it is at, and cut off lastWords later; ctx's error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	for l := range s.serving {
		_ = l.Close()
	}
	for x := range s.sessions {
		if x.c.Interrupt(); x.shaking.Load() {
			_ = x.c.Close() // nothing was said yet
		}
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	defer s.cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.cancel()
	s.each(func(c *nntp.Conn) { c.Abort() })
	select {
	case <-done:
	case <-time.After(lastWords):
		s.each(func(c *nntp.Conn) { _ = c.Close() })
		<-done
	}
	return ctx.Err()
}

// lastWords is how long connections have to say 400 when Shutdown has lost its patience.
const lastWords = farewell / 2

// each calls f for the connections there are.
func (s *Server) each(f func(*nntp.Conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for x := range s.sessions {
		f(x.c)
	}
}

func addrOf(c net.Conn) netip.Addr {
	if t, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

func contains(all []netip.Prefix, a netip.Addr) bool {
	for _, p := range all {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// budget bounds octets in flight. One request larger than all of it is let
// through alone, so that nobody waits for ever.
type budget struct {
	mu   sync.Mutex
	used int
	room int
	wake chan struct{} // closed when something is given back; nil: nobody waits
}

func (b *budget) take(ctx context.Context, n int) error {
	for {
		b.mu.Lock()
		if b.used == 0 || b.used+n <= b.room {
			b.used += n
			b.mu.Unlock()
			return nil
		}
		if b.wake == nil {
			b.wake = make(chan struct{})
		}
		wake := b.wake
		b.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *budget) give(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	if b.wake != nil {
		close(b.wake)
		b.wake = nil
	}
}
