//go:build !notorrent

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/torrent"
	"github.com/litfass/litfass/torrent/tracker"
	"github.com/litfass/litfass/torrent/web"
	"github.com/litfass/litfass/webforum"
)

// torrentRoom is the node's attachments. The engine runs in a node; a command
// without one starts it when it fetches.
type torrentRoom struct {
	store   *torrent.Store
	engine  *torrent.Engine
	tracker *tracker.Tracker
	pages   http.Handler
	lost    chan struct{} // holds one when articles went that a sweep need not wait for
}

// articlesGone has the files of articles that just went looked at soon.
func (r *torrentRoom) articlesGone() {
	select {
	case r.lost <- struct{}{}:
	default:
	}
}

// tracks says whether /announce is answered.
func (r *torrentRoom) tracks() bool { return r.tracker != nil }

// torrentFigures adds what torrents take to the administrators' page.
func (k *core) torrentFigures(o *webforum.Overview) {
	o.TorrentQuota = max(0, int64(k.cfg.Torrent.Quota))
	for _, r := range k.torrents.store.List() {
		o.Torrents++
		if r.Complete() {
			o.TorrentOctets += r.Length
		}
	}
}

// openTorrents opens the store and lets the agent detach into it.
func (k *core) openTorrents(context.Context) error {
	c := k.cfg.Torrent
	s, err := torrent.Open(k.state, torrent.Config{
		Dir: k.dir.join("torrents"), URL: strings.TrimSuffix(k.cfg.HTTP.URL, "/"), Threshold: noLimit(c.Threshold), Quota: noLimit(c.Quota),
		MaxArticle: noLimit(k.cfg.NNTP.MaxArticle), MaxSize: noLimit(c.MaxSize), MaxAuto: noLimit(c.MaxAuto), Now: k.now,
	})
	if err != nil {
		return err
	}
	k.torrents.store, k.torrents.lost = s, make(chan struct{}, 1)
	k.agent.Detach = detacher{&torrent.Detacher{Store: s, Groups: k.spool}}
	k.shut = append(k.shut, func() error {
		if k.torrents.engine == nil {
			return nil
		}
		return k.torrents.engine.Close()
	})
	return nil
}

// noLimit turns "0", no limit, into what torrent.Config calls none.
func noLimit(n size) int64 {
	if n == 0 {
		return -1
	}
	return int64(n)
}

// detacher gives the torrent room's refusals the agent's form.
type detacher struct{ d *torrent.Detacher }

func (d detacher) Detach(ctx context.Context, draft *article.Draft, groups []article.Group) error {
	err := d.d.Detach(ctx, draft, groups)
	var r *torrent.Refused
	if errors.As(err, &r) {
		if r.TooLarge {
			return &agent.Refusal{Reason: agent.TooLarge, Code: "attachment", Text: r.Text, Err: r.Err}
		}
		return &agent.Refusal{Reason: agent.Busy, Code: "attachment-room", Text: r.Text, Err: r.Err}
	}
	return err
}

// torrentEngine starts the engine, once. listen "" takes no peers.
func (k *core) torrentEngine(listen string) (*torrent.Engine, error) {
	k.lazy.Lock()
	defer k.lazy.Unlock()
	if k.torrents.engine != nil {
		return k.torrents.engine, nil
	}
	c := k.cfg.Torrent
	cfg := torrent.EngineConfig{Listen: listen, Up: int64(c.Up), Down: int64(c.Down), LSD: c.LSD, Trackers: c.Trackers, Log: k.log}
	if t := k.torrents.tracker; t != nil {
		cfg.Peers = func(h torrent.Infohash) []netip.AddrPort { return t.Known(h) }
	}
	e, err := torrent.NewEngine(k.torrents.store, cfg)
	if errors.Is(err, syscall.EADDRINUSE) && listen == defaults().Torrent.Listen { // a second node on this machine
		k.log.Warn("the usual port for torrents is taken: using another one; the key torrent.listen sets it for good", "taken", listen)
		cfg.Listen = "127.0.0.1:0"
		e, err = torrent.NewEngine(k.torrents.store, cfg)
	}
	if err != nil {
		return nil, fmt.Errorf("%w; choose another address with the key torrent.listen", err)
	}
	k.torrents.engine = e
	return e, nil
}

// startTorrents runs the engine, the tracker, the follower that notes which articles
// name which torrents, and the sweep that forgets what none names any more.
func (s *server) startTorrents(context.Context) (*part, error) {
	k := s.core
	room := &k.torrents
	peerAddr, _ := netip.ParseAddrPort(k.cfg.Torrent.Listen)
	room.tracker = tracker.New(tracker.Config{
		Present: func(h tracker.Hash) (bool, bool) { return room.store.Present(h) },
		Wanted: func(h tracker.Hash, from netip.AddrPort) {
			k.lazy.Lock()
			e := room.engine
			k.lazy.Unlock()
			if e != nil {
				e.Ring(h, from)
			}
		},
		PeerAddr: peerAddr, Proxies: prefixes(k.cfg.HTTP.Proxies), Now: k.now,
	})
	e, err := k.torrentEngine(k.cfg.Torrent.Listen)
	if err != nil {
		return nil, err
	}
	room.pages, err = web.New(web.Config{Store: room.store, Engine: e, URL: strings.TrimSuffix(k.cfg.HTTP.URL, "/"),
		Trackers: k.cfg.Torrent.Trackers, MayFetch: s.mayFetch, Log: s.log})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &torrent.Follower{Store: room.store, Engine: e, Spool: k.spool, Believe: func(e spool.Entry) bool { return k.believed(ctx, e) },
		Seeds: func(h torrent.Infohash) int { return room.tracker.Seeds(h) }}
	if err := k.followers.Start(ctx, f, agent.AtBeginning); err != nil {
		cancel()
		return nil, err
	}
	addrs, wait, err := s.serveTracker(ctx)
	if err != nil {
		cancel()
		k.followers.Stop(f.Name())
		return nil, err
	}
	e.Resume()
	swept := make(chan struct{})
	go func() { defer close(swept); s.sweepTorrents(ctx) }()
	s.metrics = append(s.metrics, s.torrentMetrics)
	if a := e.Addr(); a != nil {
		addrs = append(addrs, a.String())
	}
	return &part{name: "torrent", addrs: addrs, stop: func(context.Context) error {
		cancel()
		k.followers.Stop(f.Name())
		<-swept
		err := wait()
		k.lazy.Lock()
		defer k.lazy.Unlock()
		room.engine = nil
		return errors.Join(err, e.Close())
	}}, nil
}

// believed: nothing is fetched unasked unless its author signed it and is known here
// (spec §4).
func (k *core) believed(ctx context.Context, e spool.Entry) bool {
	if e.Proof.State != article.ProofHolds || e.Proof.Purpose == "gate" {
		return false
	}
	groups, _ := article.LenientGroups(e.Newsgroups, 0)
	result, err := k.keys.Judge(ctx, e.Proof, e.Arrived, groups)
	if err != nil {
		k.log.Warn("torrents: judge a signature", "id", e.ID, "error", err)
	}
	return err == nil && result == agent.Verified
}

// serveTracker opens the UDP tracker and livesync, where they are configured.
func (s *server) serveTracker(ctx context.Context) (addrs []string, wait func() error, err error) {
	k, t := s.core, s.core.torrents.tracker
	var running []chan error
	run := func(fn func() error) {
		done := make(chan error, 1)
		running = append(running, done)
		go func() { done <- fn() }()
	}
	wait = func() error {
		var errs []error
		for _, d := range running {
			errs = append(errs, <-d)
		}
		return errors.Join(errs...)
	}
	if a := k.cfg.Torrent.Tracker; a != "" {
		at, err := net.ResolveUDPAddr("udp", a)
		if err != nil {
			return nil, wait, fmt.Errorf("torrent.tracker: %w", err)
		}
		c, err := net.ListenUDP("udp", at)
		if err != nil {
			return nil, wait, fmt.Errorf("open the UDP tracker: %w; choose another address with the key torrent.tracker", err)
		}
		addrs = append(addrs, c.LocalAddr().String())
		run(func() error { return t.ServeUDP(ctx, c) })
	}
	cfg, listen, on, err := k.cfg.Tracker.sync()
	if err != nil || !on {
		return addrs, wait, err
	}
	c, err := tracker.ListenSync(cfg, listen)
	if err != nil {
		return addrs, wait, err
	}
	var id [4]byte
	copy(id[:], k.spool.SpoolID())
	sync := tracker.NewSync(t, c, id, cfg)
	run(func() error { return sync.Run(ctx) })
	return addrs, wait, nil
}

// sync turns the section into what the tracker wants.
func (c trackerSection) sync() (cfg tracker.SyncConfig, listen string, on bool, err error) {
	cfg = tracker.SyncConfig{Layout: tracker.V4, Interface: c.Livesync, TTL: c.LivesyncTTL, From: prefixes(c.LivesyncFrom), Mesh: prefixes(c.Mesh)}
	if c.LivesyncLayout == "v6" {
		cfg.Layout = tracker.V6
	}
	for _, a := range c.LivesyncTo {
		ap, err := netip.ParseAddrPort(a)
		if err != nil {
			return cfg, "", false, fmt.Errorf("tracker.livesync_to: %w", err)
		}
		cfg.To = append(cfg.To, ap)
	}
	return cfg, or(c.LivesyncListen, ":9696"), c.Livesync != "" || len(cfg.To) > 0 || c.LivesyncListen != "", nil
}

// mayFetch: members who are logged in, wherever they are; this machine, http.trusted,
// and not somebody behind a proxy.
func (s *server) mayFetch(r *http.Request) bool {
	if s.member != nil && s.member(r) != "" {
		return true
	}
	if s.core.conf().HTTP.Anonymous == "none" {
		return false
	}
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	a := ap.Addr().Unmap()
	for _, p := range prefixes(s.core.conf().HTTP.Proxies) {
		if p.Contains(a) && r.Header.Get("X-Forwarded-For") != "" {
			return false
		}
	}
	for _, p := range prefixes(s.core.conf().HTTP.Trusted) {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Rounds over all torrents: now and then, and soon after articles went.
const (
	sweepTorrentsEvery = 10 * time.Minute
	sweepTorrentsPause = 10 * time.Second // many may go one by one
)

// sweepTorrents asks the spool now and then what is still there.
func (s *server) sweepTorrents(ctx context.Context) {
	room := &s.core.torrents
	tick := time.NewTicker(sweepTorrentsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-room.lost:
		}
		if err := room.store.Sweep(ctx, s.core.stored); err != nil && ctx.Err() == nil {
			s.log.Warn("torrents: sweep", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(sweepTorrentsPause):
		}
	}
}

func (k *core) stored(ctx context.Context, id string) (bool, error) {
	st, err := k.spool.Lookup(ctx, article.ID(id))
	return st == spool.Stored, err
}

// torrentRoutes puts /t/, /magnet and the tracker in front of the mux, which would
// clean paths: in a torrent, /t/HASH/../x is simply not there.
func (s *server) torrentRoutes(next http.Handler) http.Handler {
	room := &s.core.torrents
	if room.tracker == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch p := r.URL.Path; {
		case p == "/announce" || p == "/announce.php":
			room.tracker.Announce(w, r)
		case p == "/scrape" || p == "/scrape.php":
			room.tracker.Scrape(w, r)
		case p == "/magnet" || strings.HasPrefix(p, "/t/"):
			room.pages.ServeHTTP(w, r)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// forumFiles tells the forum where an attachment is.
func (k *core) forumFiles() func(string) webforum.FileState {
	return func(hash string) webforum.FileState {
		h, err := torrent.ParseInfohash(hash)
		if err != nil || k.torrents.tracker == nil {
			return webforum.FileState{Nodes: -1}
		}
		return webforum.FileState{Here: k.torrents.store.Has(h), Nodes: len(k.torrents.tracker.Known(h))}
	}
}

func (s *server) torrentMetrics(w *metricWriter) {
	room := &s.core.torrents
	used, quota := room.store.Usage()
	w.gauge("litfass_torrent_octets", "what torrents take on the disk", float64(used))
	w.gauge("litfass_torrent_quota_octets", "what they may take", float64(quota))
	w.gauge("litfass_torrents_active", "torrents in the engine", float64(room.engine.ActiveCount()))
	c := &room.tracker.Counts
	w.counter("litfass_tracker_http_announces_total", "announces over HTTP", float64(c.HTTPAnnounces.Load()))
	w.counter("litfass_tracker_udp_announces_total", "announces over UDP", float64(c.UDPAnnounces.Load()))
	w.counter("litfass_tracker_refused_total", "announces refused", float64(c.Refused.Load()))
	w.counter("litfass_tracker_unknown_total", "announces of torrents that are not here", float64(c.Unknown.Load()))
	w.gauge("litfass_tracker_swarms", "swarms the tracker knows", float64(c.Swarms.Load()))
}
