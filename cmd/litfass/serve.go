package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/litfass/litfass/smtpd/courier"
	"github.com/litfass/litfass/spool/threads"
)

// stopWithin is how long commands and feeds have to end: 10 s less the time to cut off
// what hangs (a second) and to close the data.
const stopWithin = 7 * time.Second

func cmdServe(c *call) error {
	level := c.fs.String("log", "", "`LEVEL` of the log: debug, info, warn, error; else the key log says")
	if err := c.parse(0, 0); err != nil {
		return err
	}
	var fixed slog.LevelVar
	if *level == "" {
		c.level = &fixed
	} else if err := fixed.UnmarshalText([]byte(*level)); err != nil {
		return usagef("serve: --log must be debug, info, warn or error")
	}
	log := slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: &fixed}))
	return c.serve(log, func(cfg config) (config, error) { return cfg, nil })
}

// serve runs a node until c.ctx ends.
func (c *call) serve(log *slog.Logger, adjust func(config) (config, error)) error {
	cfg, err := loadConfig(c.config, c.data)
	if err != nil {
		return err
	}
	if cfg, err = adjust(cfg); err != nil {
		return err
	}
	if c.level != nil {
		c.level.Set(cfg.level())
	}
	if n, err := reach(c.ctx, cfg.Data); err == nil {
		n.close()
		return fmt.Errorf("a node runs on %s already; stop it, or give this one its own folder and ports with --data and --config", cfg.Data)
	}
	k, err := openCore(c.ctx, cfg, log, c.getenv, 15*time.Second)
	if err != nil {
		return err
	}
	s := &server{core: k, call: c, log: log, notify: notifier{c.getenv("NOTIFY_SOCKET")}}
	return errors.Join(s.run(c.ctx), k.close())
}

// server is a running node: the core and its parts.
type server struct {
	core   *core
	call   *call
	log    *slog.Logger
	notify notifier

	mu        sync.Mutex
	parts     []*part // started, in order
	ready     bool
	metrics   []func(w *metricWriter)
	seen      func(peers []string)       // told whose a new connection may be
	forum     http.Handler               // nil: no browser door
	frame     courier.Frame              // of pages that mails lead to; nil: no browser door
	member    func(*http.Request) string // the account that a browser is logged in as, or ""; nil: no browser door
	threads   *threads.Index             // nil: no browser door
	setupCode string                     // for the first account from another machine; "": there is one
	reloads   []func(cfg config) error
	reloading sync.Mutex
	broken    chan error // a part that stopped working

	whenReady func() // or nil
}

// part is one piece of a node that runs: a door, the followers, the control socket.
type part struct {
	name   string
	addrs  []string                        // where it listens, for people
	secure []string                        // where it wants TLS from the first octet
	stop   func(ctx context.Context) error // drains until ctx ends, then cuts off
}

// run starts the parts in order, waits for the end, and stops them in reverse.
func (s *server) run(ctx context.Context) error {
	s.broken = make(chan error, 16)
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)

	err := s.start(ctx)
	if err == nil {
		s.mu.Lock()
		s.ready = true
		s.mu.Unlock()
		s.greet()
		if s.whenReady != nil {
			s.whenReady()
		}
		s.notify.send("READY=1")
		err = s.wait(ctx, hup)
	}
	s.notify.send("STOPPING=1")
	return errors.Join(err, s.stop())
}

// start is the list of a node's parts, in the order in which they start. A port
// accepts only once everything it needs is there.
func (s *server) start(ctx context.Context) error {
	for _, begin := range []func(context.Context) (*part, error){
		s.startMemory,    // how memory is used and given back
		s.startFollowers, // what happens because an article arrived
		s.startKeys,      // statements and our own keys
		s.startShares,    // what peers may hold of the disk
		s.startPeers,     // articles to neighbours
		s.startFeeds,     // articles from RSS and Atom
		s.startCourier,   // articles to mail subscribers
		s.startTorrents,  // attachments, and the tracker
		s.startNNTP,      // newsreaders and peers

		s.startSMTP,      // mail to groups
		s.startSearch,    // words for the browser
		s.startForum,     // threads for the browser
		s.startHTTP,      // browsers, feeds, metrics
		s.startACME,      // a certificate that everybody can check
		s.startExpiry,    // old articles
		s.startDiscovery, // nodes on the same link: after the doors it tells of
		s.startControl,   // commands: last, they see a node that is whole
	} {
		p, err := begin(ctx)
		if err != nil {
			return err
		}
		if p != nil {
			s.mu.Lock()
			s.parts = append(s.parts, p)
			s.mu.Unlock()
		}
	}
	return nil
}

func (s *server) wait(ctx context.Context, hup <-chan os.Signal) error {
	for {
		select {
		case <-ctx.Done():
			s.log.Info("stopping: running commands come to their end", "within", stopWithin)
			return nil
		case err := <-s.broken:
			return err
		case <-hup:
			s.notify.send("RELOADING=1")
			_, _ = s.reload() // the log has it
			s.notify.send("READY=1")
		}
	}
}

// stop ends the parts, last first; all of them share the time there is.
func (s *server) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	var errs []error
	for i := len(s.parts) - 1; i >= 0; i-- {
		p := s.parts[i]
		if err := p.stop(ctx); errors.Is(err, context.DeadlineExceeded) {
			s.log.Warn("cut off what did not end by itself", "part", p.name)
		} else if err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", p.name, err))
		}
	}
	s.log.Info("stopped")
	return errors.Join(errs...)
}

// listen opens the addresses of a door, all or none.
func listen(door string, addrs []string) ([]net.Listener, error) {
	var out []net.Listener
	for _, a := range addrs {
		l, err := net.Listen("tcp", a)
		if err != nil {
			for _, have := range out {
				have.Close()
			}
			return nil, fmt.Errorf("open %s: %w; choose another port with the key %s.listen", door, err, door)
		}
		out = append(out, l)
	}
	return out, nil
}

// serveOn runs fn on each listener and reports it if one ends with an error.
func (s *server) serveOn(door string, ls []net.Listener, fn func(net.Listener) error) (addrs []string, wait func()) {
	var wg sync.WaitGroup
	for _, l := range ls {
		addrs = append(addrs, l.Addr().String())
		wg.Go(func() {
			if err := fn(l); err != nil {
				select {
				case s.broken <- fmt.Errorf("%s: %w", door, err):
				default:
				}
			}
		})
	}
	return addrs, wg.Wait
}

// notifier tells systemd how the node is: sd_notify(3).
type notifier struct{ socket string }

func (n notifier) send(state string) {
	if n.socket == "" {
		return
	}
	conn, err := net.Dial("unixgram", n.socket)
	if err != nil {
		return // nobody listens: nothing to tell
	}
	defer conn.Close()
	if state == "RELOADING=1" {
		state += fmt.Sprintf("\nMONOTONIC_USEC=%d", monotonicMicros())
	}
	_, _ = conn.Write([]byte(state))
}
