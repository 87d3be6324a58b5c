package torrent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	bt "github.com/anacrolix/torrent"
	pp "github.com/anacrolix/torrent/peer_protocol"
	"github.com/anacrolix/torrent/types/infohash"
	"golang.org/x/time/rate"
)

// EngineConfig is what the BitTorrent engine needs to know. Zero fields take the
// default named there.
type EngineConfig struct {
	Listen   string   // TCP address for peers; "" takes none, and only fetches
	Up, Down int64    // octets a second; 0: no limit
	Active   int      // torrents in the engine at a time; default 500
	Conns    int      // connections taken in all; default 200
	LSD      string   // network interface for local service discovery (BEP 14); "": off
	Trackers []string // the mesh's announce URLs, asked for every fetch

	// Peers returns the peers that this node's own tracker knows; nil: none.
	Peers func(Infohash) []netip.AddrPort

	Idle     time.Duration // out of the engine after that long unused; default 15 min
	Stall    time.Duration // a peer that gives nothing for that long goes; default 30 s
	Patience time.Duration // without progress for that long, web seeds are used; default 60 s
	Metadata time.Duration // how long a reader waits for metadata; default 10 s
	Log      *slog.Logger

	// RingAfter is how long a peer that announced its wish may take to come by
	// itself before it is called; default 2.5 s, for aria2 dials a second after it asked.
	RingAfter time.Duration

	crossed          time.Duration // a peer may have two connections that long; default 5 s
	handshake        time.Duration // a stranger has that long for it; default 4 s
	demandEncryption bool          // tests: outgoing connections are encrypted or fail
}

func (c EngineConfig) orDefault() EngineConfig {
	set := func(p *time.Duration, d time.Duration) {
		if *p == 0 {
			*p = d
		}
	}
	set(&c.Idle, 15*time.Minute)
	set(&c.Stall, 30*time.Second)
	set(&c.Patience, 60*time.Second)
	set(&c.Metadata, 10*time.Second)
	set(&c.RingAfter, 2500*time.Millisecond)
	set(&c.crossed, 5*time.Second)
	set(&c.handshake, 4*time.Second)
	if c.Active == 0 {
		c.Active = 500
	}
	if c.Conns == 0 {
		c.Conns = 200
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Engine speaks BitTorrent for a Store: it serves what is there and fetches what
// is wanted. Torrents enter it when a peer's handshake names them or somebody
// here wants them, and leave it when idle; the index stays in the store.
type Engine struct {
	cfg    EngineConfig
	store  *Store
	cl     *bt.Client
	listen *cappedListener
	caller *caller
	web    *http.Client

	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	unread   sync.Map   // Infohash to *gathered, of what is fetched without metadata yet
	starting sync.Mutex // one fetch of a torrent at a time begins

	mu       sync.Mutex
	active   map[Infohash]*active
	wishes   []wish // what policies want here
	granting int    // goroutines that see to it
}

// active is a torrent in the engine.
type active struct {
	t    *bt.Torrent
	used time.Time
	job  *job // that fetches it, or nil
}

// NewEngine starts the engine. Close ends it.
func NewEngine(s *Store, cfg EngineConfig) (*Engine, error) {
	cfg = cfg.orDefault()
	e := &Engine{cfg: cfg, store: s, active: map[Infohash]*active{}, caller: newCaller()}
	e.ctx, e.stop = context.WithCancel(context.Background())
	e.web = &http.Client{Transport: e.transport()}
	if cfg.Listen != "" {
		l, err := net.Listen("tcp", cfg.Listen)
		if err != nil {
			return nil, fmt.Errorf("torrent.listen: %w", err)
		}
		e.listen = &cappedListener{Listener: l, free: make(chan struct{}, cfg.Conns)}
	}
	cl, err := bt.NewClient(e.clientConfig())
	if err != nil {
		if e.listen != nil {
			e.listen.Close()
		}
		return nil, fmt.Errorf("start the torrent engine: %w", err)
	}
	e.cl = cl
	cl.AddDialer(bt.NetworkDialer{Network: "tcp", Dialer: &net.Dialer{Timeout: 10 * time.Second}})
	if e.listen != nil {
		cl.AddListener(e.listen)
	}
	s.OnDrop(e.drop)
	e.wg.Add(2)
	go e.idle()
	go e.ring()
	return e, nil
}

// clientConfig: BEP 3, 6, 9, 10, 11 (PEX), 14 (LSD) and 19; no DHT, no uTP, no
// port forwarding, no WebTorrent, no STUN; no memory-mapped files.
func (e *Engine) clientConfig() *bt.ClientConfig {
	c := bt.NewDefaultClientConfig()
	c.NoDHT, c.DisableUTP, c.DisableTCP = true, true, true // our own listener and dialer do TCP
	c.NoDefaultPortForwarding, c.DisableWebtorrent = true, true
	c.DisableTrackers = true // announce.go asks them
	c.Seed = true
	c.AlwaysWantConns = true
	c.EstablishedConnsPerTorrent = 4 // enter raises it: the engine makes room at once for twice as many
	c.HalfOpenConnsPerTorrent, c.TotalHalfOpenConns = 20, 20
	c.DialRateLimiter = rate.NewLimiter(50, 50)
	c.HeaderObfuscationPolicy = bt.HeaderObfuscationPolicy{Preferred: e.cfg.demandEncryption, RequirePreferred: e.cfg.demandEncryption}
	c.DropDuplicatePeerIds = false // see settle: two programs that each close one of two connections are left with none
	c.HandshakesTimeout = e.cfg.handshake
	c.MaxUnverifiedBytes = 16 << 20
	c.DefaultStorage = &pieceStore{e.store}
	c.Slogger = e.cfg.Log
	c.WebTransport = e.web.Transport
	c.HTTPUserAgent = webSeedAgent
	if e.cfg.Up > 0 {
		c.UploadRateLimiter = rate.NewLimiter(rate.Limit(e.cfg.Up), max(int(e.cfg.Up/4), 64<<10))
	}
	if e.cfg.Down > 0 {
		c.DownloadRateLimiter = rate.NewLimiter(rate.Limit(e.cfg.Down), max(int(e.cfg.Down/4), 64<<10))
	}
	if e.cfg.LSD != "" {
		c.LocalServiceDiscovery = &bt.LocalServiceDiscoveryConfig{Ifi: e.cfg.LSD, Ip6: true}
	}
	c.Callbacks.CompletedHandshake = func(_ *bt.PeerConn, ih infohash.T) { e.wake(Infohash(ih)) }
	c.Callbacks.ReceiveEncryptedHandshakeSkeys = e.secretKeys
	c.Callbacks.ReadMessage = e.quarantine
	c.Callbacks.PeerConnReadExtensionMessage = append(c.Callbacks.PeerConnReadExtensionMessage, e.gather)
	return c
}

// webSeedAgent marks requests of an engine, so that a node never starts fetching
// because another one asked it as a web seed.
const webSeedAgent = "litfass web seed"

// FromEngine says whether an HTTP request comes from another node's engine.
func FromEngine(r *http.Request) bool {
	return strings.HasPrefix(r.UserAgent(), webSeedAgent)
}

// dialer dials web seeds and trackers. Addresses come from articles, that is from
// anybody: see mayDial.
func (e *Engine) dialer() *net.Dialer {
	return &net.Dialer{Timeout: 10 * time.Second, ControlContext: barAddresses(e.atLoopback())}
}

// atLoopback says whether this node is itself reached at loopback.
func (e *Engine) atLoopback() bool {
	u, err := url.Parse(e.store.cfg.URL)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

func (e *Engine) transport() http.RoundTripper {
	return &http.Transport{DialContext: e.dialer().DialContext, MaxConnsPerHost: 4, ResponseHeaderTimeout: 30 * time.Second,
		IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 16 << 10}
}

// Addr returns where peers are taken, or nil.
func (e *Engine) Addr() net.Addr {
	if e.listen == nil {
		return nil
	}
	return e.listen.Addr()
}

// Close stops all transfers and waits for what it started.
func (e *Engine) Close() error {
	e.stop()
	e.wg.Wait()
	errs := e.cl.Close()
	if e.listen != nil {
		e.listen.Close() // after the client: it would ask a closed listener again and again
	}
	e.web.CloseIdleConnections()
	return errors.Join(errs...)
}

// wake puts a torrent that is here into the engine because a peer wants it. It is
// called with no lock held, before the engine looks the infohash up.
func (e *Engine) wake(h Infohash) {
	if e.touch(h) || !e.store.Has(h) {
		return
	}
	in, err := e.store.Info(h)
	if err != nil {
		e.cfg.Log.Warn("torrent: info of a torrent that is here", "infohash", h, "error", err)
		return
	}
	e.enter(h, bt.AddTorrentOpts{InfoHash: infohash.T(h), InfoBytes: in.Raw, DisableInitialPieceCheck: true}, nil)
}

// quarantine keeps messages about blocks from the engine until the metadata was
// checked here. The engine takes metadata from a peer at once, and v1.62.0 ends the
// process when a block of a hybrid torrent with an empty file arrives. It is called
// with the engine's lock held: nothing but the index may be asked.
func (e *Engine) quarantine(pc *bt.PeerConn, m *pp.Message) {
	if m.Keepalive {
		return
	}
	switch m.Type {
	case pp.Choke, pp.Unchoke, pp.Interested, pp.NotInterested, pp.Have, pp.Bitfield, pp.HaveAll, pp.HaveNone, pp.Extended:
		return
	}
	if !e.store.accepted(Infohash(pc.Torrent().InfoHash())) {
		*m = pp.Message{Keepalive: true}
	}
}

func (e *Engine) touch(h Infohash) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	a, ok := e.active[h]
	if ok {
		a.used = time.Now()
	}
	return ok
}

const connsPerTorrent = 50 // spec §5

// enter adds a torrent to the engine and makes room for it.
func (e *Engine) enter(h Infohash, opts bt.AddTorrentOpts, j *job) *bt.Torrent {
	t, fresh := e.cl.AddTorrentOpt(opts)
	if fresh {
		t.SetMaxEstablishedConns(connsPerTorrent)
	}
	e.mu.Lock()
	a, ok := e.active[h]
	if !ok {
		a = &active{t: t}
		e.active[h] = a
	}
	a.used = time.Now()
	if j != nil {
		a.job = j
	}
	over := e.oldest(len(e.active) - e.cfg.Active)
	e.mu.Unlock()
	for _, o := range over {
		o.Drop()
	}
	return t
}

// oldest takes n torrents that nobody fetches out of active, least recently used first.
func (e *Engine) oldest(n int) (out []*bt.Torrent) {
	for ; n > 0; n-- {
		var pick Infohash
		var best *active
		for h, a := range e.active {
			if a.job == nil && (best == nil || a.used.Before(best.used)) {
				pick, best = h, a
			}
		}
		if best == nil {
			break
		}
		delete(e.active, pick)
		out = append(out, best.t)
	}
	return out
}

// drop takes a torrent out of the engine, and ends its fetching.
func (e *Engine) drop(h Infohash) {
	e.mu.Lock()
	a, ok := e.active[h]
	delete(e.active, h)
	e.mu.Unlock()
	if !ok {
		return
	}
	if a.job != nil {
		a.job.cancel()
	}
	a.t.Drop()
}

// idle takes torrents out that nobody used for a while.
func (e *Engine) idle() {
	defer e.wg.Done()
	tick := time.NewTicker(max(e.cfg.Idle/15, time.Second))
	defer tick.Stop()
	for {
		select {
		case <-e.ctx.Done():
			return
		case now := <-tick.C:
			for _, t := range e.unused(now) {
				t.Drop()
			}
		}
	}
}

func (e *Engine) unused(now time.Time) (out []*bt.Torrent) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for h, a := range e.active {
		if a.job != nil {
			continue
		}
		if len(a.t.PeerConns()) > 0 {
			a.used = now
		} else if now.Sub(a.used) > e.cfg.Idle {
			delete(e.active, h)
			out = append(out, a.t)
		}
	}
	return out
}

// secretKeys offers every infohash here to an encrypted handshake (the message
// stream encryption names a torrent only by a hash of its infohash).
func (e *Engine) secretKeys(yield func([]byte) bool) {
	for _, h := range e.store.hashes() {
		if !yield(h[:]) {
			return
		}
	}
}

// Status is what a page or a command shows of a torrent.
type Status struct {
	Record
	Have     int64 // octets that are here
	Peers    int   // connected now
	Fetching bool
	Active   bool // in the engine
	WebInUse int  // web seeds in use
	Err      string
}

// Status returns what is known of a torrent now.
func (e *Engine) Status(h Infohash) (Status, error) {
	r, err := e.store.Record(h)
	if err != nil {
		return Status{}, err
	}
	st := Status{Record: r}
	if r.Complete() {
		st.Have = r.Length
	}
	e.mu.Lock()
	a, ok := e.active[h]
	e.mu.Unlock()
	if !ok {
		return st, nil
	}
	st.Active, st.Peers, st.WebInUse = true, len(a.t.PeerConns()), len(a.t.WebseedPeerConns())
	if a.job != nil {
		st.Fetching = true
	}
	if r.State == Partial && a.t.Info() != nil {
		st.Have = a.t.BytesCompleted()
	}
	return st, nil
}

// ActiveCount returns how many torrents are in the engine.
func (e *Engine) ActiveCount() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.active)
}

// cappedListener takes a bounded number of connections at a time; more are closed
// at once. A thousand peers that connect and say nothing cost no more than that.
type cappedListener struct {
	net.Listener
	free chan struct{}
}

func (l *cappedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.free <- struct{}{}:
			return &cappedConn{Conn: c, free: l.free}, nil
		default:
			c.Close()
		}
	}
}

type cappedConn struct {
	net.Conn
	once sync.Once
	free chan struct{}
}

func (c *cappedConn) Close() error {
	c.once.Do(func() { <-c.free })
	return c.Conn.Close()
}

var _ io.Closer = (*Engine)(nil)
