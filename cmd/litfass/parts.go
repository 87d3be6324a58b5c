package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func monotonicMicros() int64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
		return 0
	}
	return ts.Nano() / 1000
}

// startControl opens DATA/control.sock.
func (s *server) startControl(context.Context) (*part, error) {
	l, err := s.core.dir.listenControl()
	if err != nil {
		return nil, err
	}
	h := newControl(s.core)
	s.serverActs(h)
	hs := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	_, wait := s.serveOn("control socket", []net.Listener{l}, func(l net.Listener) error { return orClosed(hs.Serve(l)) })
	return &part{name: "control", stop: func(ctx context.Context) error {
		s.core.dir.removeControl()
		err := hs.Shutdown(ctx)
		if err != nil {
			hs.Close()
		}
		wait()
		return err
	}}, nil
}

func orClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// startHTTP opens the door for browsers and for those who watch the node. Rooms
// add their paths in mux.
func (s *server) startHTTP(context.Context) (*part, error) {
	k := s.core
	ls, err := listen("http", k.cfg.HTTP.Listen)
	if err != nil {
		return nil, err
	}
	secure, err := listen("http.tls", k.cfg.HTTP.TLS.Listen)
	if err != nil || len(ls)+len(secure) == 0 {
		for _, l := range ls {
			l.Close()
		}
		return nil, err
	}
	hs := &http.Server{Handler: s.mux(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		TLSConfig: k.webTLS(), ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
	addrs, wait := s.serveOn("http", ls, func(l net.Listener) error { return orClosed(hs.Serve(l)) })
	tlsAddrs, tlsWait := s.serveOn("http.tls", secure, func(l net.Listener) error { return orClosed(hs.ServeTLS(l, "", "")) })
	return &part{name: "http", addrs: addrs, secure: tlsAddrs, stop: func(ctx context.Context) error {
		short, cancel := context.WithTimeout(ctx, 2*time.Second) // browsers keep connections open; nothing is lost
		defer cancel()
		if hs.Shutdown(short) != nil {
			hs.Close()
		}
		wait()
		tlsWait()
		return nil
	}}, nil
}

// greet says where to point a newsreader, a browser and so on.
func (s *server) greet() {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s is ready (litfass %s, data in %s)\n\n", s.core.host, versionString(), s.core.dir.path)
	for _, p := range s.parts {
		for _, a := range p.addrs {
			host, port, _ := net.SplitHostPort(a)
			switch p.name {
			case "nntp":
				fmt.Fprintf(&b, "  newsreader    news://%s   for example: NNTPSERVER=%s tin -r -p %s (y: all groups), or slrn -h %s:%s\n", a, host, port, host, port)
			case "http":
				fmt.Fprintf(&b, "  browser       http://%s/\n  feed reader   http://%[1]s/g/%s/feed.atom\n", a, firstGroups[0][0])
			case "smtp":
				fmt.Fprintf(&b, "  mail          smtp://%s   group.name@%s posts to a group\n", a, s.core.host)
			}
		}
	}
	if s.setupCode != "" {
		fmt.Fprintf(&b, "\n  There is no account yet. Make the administrator's at /start in the browser (from another\n"+
			"  machine it asks for the code %s), or with litfass user add NAME --admin --password-stdin.\n", s.setupCode)
	}
	fmt.Fprintf(&b, "\n  litfass --data %s status   shows how it is doing; Ctrl-C or SIGTERM stops it\n\n", s.core.dir.path)
	fmt.Fprint(s.call.out, b.String())
}
