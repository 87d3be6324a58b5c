package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/litfass/litfass/article"
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
	lists, err := k.cfg.NNTP.lists()
	if err != nil {
		return nil, err
	}
	door := nntpd.New(nntpd.Config{
		Host: k.host, Spool: k.shown, Agent: k.agent, Accounts: k.members, Marks: k.members, Trusted: prefixes(k.cfg.NNTP.Trusted),
		TLS: k.tls.Server(), Lists: lists, OfferTLS: k.tls.Configured, Join: k.letIn,
		MaxArticle: int(k.cfg.NNTP.MaxArticle), MaxPost: int64(k.cfg.NNTP.MaxPost), TempDir: k.dir.path,
		Version: "litfass " + versionString(), Seen: s.seen, Signer: k.signerOf, Now: k.now, Log: s.log,
	})
	ctx, cancel := context.WithCancel(context.Background())
	addrs, wait := s.serveOn("nntp", ls, func(l net.Listener) error { return door.Serve(ctx, l) })
	tlsAddrs, tlsWait := s.serveOn("nntp.tls", secure, func(l net.Listener) error { return door.ServeTLS(ctx, l) })
	s.reloads = append(s.reloads, func(cfg config) error {
		door.SetTrusted(prefixes(cfg.NNTP.Trusted))
		l, err := cfg.NNTP.lists()
		if err == nil {
			door.SetLists(l)
		}
		return err
	})
	s.metrics = append(s.metrics, func(w *metricWriter) {
		w.gauge("litfass_nntp_connections", "NNTP connections open now", float64(door.Open()))
		door.Counts.Each(func(name, help string, n uint64) { w.counter("litfass_"+name, help, float64(n)) })
	})
	return &part{name: "nntp", addrs: addrs, secure: tlsAddrs, stop: func(stop context.Context) error {
		err := door.Shutdown(stop)
		cancel()
		wait()
		tlsWait()
		return err
	}}, nil
}

// lists is what LIST says beside the groups.
func (n nntpSection) lists() (l nntpd.Lists, err error) {
	kept := func(list []string) []string { return append([]string(nil), list...) } // none: nil, not kept
	l = nntpd.Lists{Subscriptions: kept(n.Subscriptions), DistribPats: kept(n.DistribPats), Moderators: kept(n.Moderators)}
	for _, d := range n.Distributions {
		name, text, _ := strings.Cut(d, " ")
		l.Distributions = append(l.Distributions, name+"\t"+strings.TrimSpace(text))
	}
	if file, ok := strings.CutPrefix(n.Motd, "file:"); ok {
		if l.Motd, err = os.ReadFile(file); err != nil {
			return l, fmt.Errorf("read nntp.motd: %w", err)
		}
	} else if n.Motd != "" {
		l.Motd = []byte(n.Motd)
	}
	if !utf8.Valid(l.Motd) { // RFC 6048 §2.5.2
		return l, errors.New("nntp.motd: the text is not UTF-8")
	}
	return l, nil
}

// checkLists says which lines are not as RFC 6048 and RFC 3977 §7.6.5 want them.
func (n nntpSection) checkLists(say func(key, format string, args ...any)) {
	for _, l := range n.Moderators {
		if pattern, addr, ok := strings.Cut(l, ":"); !ok || pattern == "" || !strings.Contains(addr, "@") {
			say("nntp.moderators", "%q is not of the form pattern:address", l)
		}
	}
	for _, l := range n.DistribPats {
		f := strings.Split(l, ":")
		if len(f) != 3 || !number(f[0]) || f[1] == "" {
			say("nntp.distrib_pats", "%q is not of the form weight:pattern:distribution", l)
		}
	}
	for _, g := range n.Subscriptions {
		if _, err := article.ParseGroup(g); err != nil {
			say("nntp.subscriptions", "%v", err)
		}
	}
}
