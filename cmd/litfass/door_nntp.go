package main

import (
	"context"
	"net"

	"github.com/litfass/litfass/nntpd"
)

// startNNTP opens the door for newsreaders and peers.
func (s *server) startNNTP(context.Context) (*part, error) {
	k := s.core
	ls, err := listen("nntp", k.cfg.NNTP.Listen)
	if err != nil {
		return nil, err
	}
	secure, err := listen("nntp.tls", k.cfg.NNTP.TLS.Listen)
	if err != nil || len(ls)+len(secure) == 0 {
		for _, l := range ls {
			l.Close()
		}
		return nil, err
	}
	door := nntpd.New(nntpd.Config{
		Host: k.host, Spool: k.spool, Agent: k.agent, Accounts: k.members, Trusted: prefixes(k.cfg.NNTP.Trusted),
		TLS: k.tls.Server(), OfferTLS: k.tls.Configured,
		MaxArticle: int(k.cfg.NNTP.MaxArticle), MaxPost: int64(k.cfg.NNTP.MaxPost), TempDir: k.dir.path,
		Version: "litfass " + versionString(), Seen: s.seen, Signer: k.signerOf, Now: k.now, Log: s.log,
	})
	ctx, cancel := context.WithCancel(context.Background())
	addrs, wait := s.serveOn("nntp", ls, func(l net.Listener) error { return door.Serve(ctx, l) })
	tlsAddrs, tlsWait := s.serveOn("nntp.tls", secure, func(l net.Listener) error { return door.ServeTLS(ctx, l) })
	s.reloads = append(s.reloads, k.reloadTLS)
	s.metrics = append(s.metrics, func(w *metricWriter) {
		w.gauge("litfass_nntp_connections", "NNTP connections open now", float64(door.Open()))
		door.Counts.Each(func(name, help string, n uint64) { w.counter("litfass_"+name, help, float64(n)) })
	})
	return &part{name: "nntp", addrs: append(addrs, tlsAddrs...), stop: func(stop context.Context) error {
		err := door.Shutdown(stop)
		cancel()
		wait()
		tlsWait()
		return err
	}}, nil
}
