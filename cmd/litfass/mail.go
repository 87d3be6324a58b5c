package main

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/smtpd"
	"github.com/litfass/litfass/smtpd/courier"
	"github.com/litfass/litfass/spool"
)

func (c config) mailDomain(host string) string {
	if c.SMTP.Domain != "" {
		return c.SMTP.Domain
	}
	return host
}

// mails makes the courier, which keeps subscriptions and the queue, once.
func (k *core) mails() (*courier.Courier, error) {
	k.lazy.Lock()
	defer k.lazy.Unlock()
	if k.courier != nil {
		return k.courier, nil
	}
	password, err := readPassword(k.cfg.SMTP.Password)
	if err != nil {
		return nil, fmt.Errorf("smtp.password: %w", err)
	}
	each, common, err := readSeals(k.cfg.SMTP.DKIM, k.cfg.SMTP.Selector)
	if err != nil {
		return nil, fmt.Errorf("smtp.dkim: %w", err)
	}
	cfg := courier.Config{Domain: k.cfg.mailDomain(k.host), Host: k.host, URL: strings.TrimSuffix(k.cfg.HTTP.URL, "/"),
		Smarthost: k.cfg.SMTP.Smarthost, User: k.cfg.SMTP.User, Password: password, DKIM: each, Common: common, Language: k.cfg.SMTP.Language, State: k.state, Spool: k.shown, Waiting: k.agent, People: people{k}, Now: k.now, Log: k.log}
	if k.followers != nil {
		cfg.Settled = func() spool.Seq { return k.followers.Saved("courier") }
	}
	k.courier = courier.New(cfg)
	return k.courier, nil
}

// readSeals reads the private keys of a PEM file: one signs each mail. Of two, an RSA and
// an Ed25519 key, RSA signs once what all subscribers get alike, and Ed25519, whose public
// half stands at SELECTOR-ed25519, each mail. No file: none.
func readSeals(file, selector string) (each, common courier.Seal, err error) {
	if file == "" {
		return each, common, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return each, common, fmt.Errorf("read the key: %w", err)
	}
	var keys []crypto.Signer
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		key, err := parseSigner(block.Bytes)
		if err != nil {
			return each, common, fmt.Errorf("%s: %w", file, err)
		}
		keys = append(keys, key)
	}
	switch len(keys) {
	case 0:
		return each, common, fmt.Errorf("%s holds no PEM block; \"litfass mail dkim FILE\" makes a file of keys", file)
	case 1:
		return courier.Seal{Key: keys[0], Selector: selector}, common, nil
	}
	slices.SortFunc(keys, func(a, b crypto.Signer) int { return rank(a) - rank(b) })
	if len(keys) > 2 || rank(keys[0]) == rank(keys[1]) {
		return each, common, fmt.Errorf("%s holds %d keys; DKIM takes one, or an RSA and an Ed25519 key", file, len(keys))
	}
	return courier.Seal{Key: keys[1], Selector: selector + "-ed25519"}, courier.Seal{Key: keys[0], Selector: selector}, nil
}

func rank(key crypto.Signer) int {
	if _, ok := key.(ed25519.PrivateKey); ok {
		return 1
	}
	return 0
}

// parseSigner takes PKCS #8 (RFC 5958), or PKCS #1 of older programs.
func parseSigner(der []byte) (crypto.Signer, error) {
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		return key, nil
	case ed25519.PrivateKey:
		return key, nil
	}
	return nil, fmt.Errorf("DKIM knows RSA and Ed25519 keys, this is a %T", key)
}

// startCourier sends mail to subscribers and moderators.
func (s *server) startCourier(context.Context) (*part, error) {
	c, err := s.core.mails()
	if err != nil {
		return nil, err
	}
	s.core.tellOfReports(c)
	ctx, cancel := context.WithCancel(context.Background())
	if err := s.core.followers.Start(ctx, c, agent.AtEnd); err != nil {
		cancel()
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	s.metrics = append(s.metrics, func(w *metricWriter) {
		n := c.Counts()
		w.counter("litfass_mail_sent_total", "mails a server took", float64(n.Sent))
		w.counter("litfass_mail_deferred_total", "mails put off", float64(n.Deferred))
		w.counter("litfass_mail_bounced_total", "mails that came back", float64(n.Bounced))
		w.gauge("litfass_mail_queue", "rows of the mail queue", float64(n.Queued))
	})
	return &part{name: "courier", stop: func(ctx context.Context) error {
		cancel()
		s.core.followers.Stop(c.Name())
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}}, nil
}

// startSMTP opens the mail doors: for other servers, for members, and LMTP.
func (s *server) startSMTP(context.Context) (*part, error) {
	k := s.core
	if len(k.cfg.SMTP.LMTP) > 0 && len(k.cfg.SMTP.Front) == 0 {
		s.log.Warn("smtp.lmtp is open, but smtp.front names no mail server: what comes from smtp.trusted is posted whoever sent it")
	}
	cfg, err := s.smtpConfig()
	if err != nil {
		return nil, err
	}
	member, local := cfg, cfg
	member.Submission, local.LMTP = true, true
	d := &mailDoors{s: s}
	for _, door := range []struct {
		name  string
		addrs []string
		cfg   smtpd.Config
	}{
		{"smtp", k.cfg.SMTP.Listen, cfg},
		{"smtp.submission", k.cfg.SMTP.Submission, member},
		{"smtp.lmtp", k.cfg.SMTP.LMTP, local},
	} {
		if err := d.open(door.name, door.addrs, door.cfg); err != nil {
			_ = d.close(context.Background())
			return nil, err
		}
	}
	if len(d.stops) == 0 {
		return nil, nil
	}
	return &part{name: "smtp", addrs: d.addrs, stop: d.close}, nil
}

// smtpConfig is what all mail doors have in common.
func (s *server) smtpConfig() (smtpd.Config, error) {
	k := s.core
	cfg := smtpd.Config{
		TLS: k.tls.Server(), OfferTLS: k.tls.Configured, // a certificate of our own making would frighten mail programs
		Domain: k.cfg.mailDomain(k.host), Host: k.host, Anonymous: k.cfg.SMTP.Anonymous, Trusted: prefixes(k.cfg.SMTP.Trusted),
		Front: prefixes(k.cfg.SMTP.Front), MaxMessage: int64(k.cfg.NNTP.MaxPost), Cutoff: time.Duration(k.cfg.Spool.Cutoff),
		TempDir: k.dir.path, PostmasterFile: k.dir.join("postmaster.mbox"), Agent: k.agent, Accounts: k.members, Spool: k.spool,
		HTMLText: content.TextOfHTML, Now: k.now, Log: s.log,
	}
	if k.cfg.SMTP.Smarthost == "" { // only who can send mail can ask for confirmation
		return cfg, nil
	}
	c, err := k.mails()
	if err != nil {
		return cfg, err
	}
	cfg.State, cfg.Mailer, cfg.Orders = k.state, c, c
	return cfg, nil
}

// mailDoors are the mail doors that were opened.
type mailDoors struct {
	s     *server
	addrs []string
	stops []func(context.Context) error
}

// open opens one, with its counts among the metrics; without addresses, none.
func (d *mailDoors) open(door string, addrs []string, cfg smtpd.Config) error {
	ls, err := listen(door, addrs)
	if err != nil || len(ls) == 0 {
		return err
	}
	s, srv := d.s, smtpd.New(cfg)
	s.reloads = append(s.reloads, func(cfg config) error {
		srv.SetAccess(cfg.SMTP.Anonymous, prefixes(cfg.SMTP.Trusted), prefixes(cfg.SMTP.Front))
		return nil
	})
	at, wait := s.serveOn(door, ls, func(l net.Listener) error { return srv.Serve(l) })
	d.addrs = append(d.addrs, at...)
	d.stops = append(d.stops, func(ctx context.Context) error {
		err := srv.Shutdown(ctx)
		wait()
		return err
	})
	s.metrics = append(s.metrics, func(w *metricWriter) {
		n := srv.Counts()
		w.labelled("counter", "litfass_"+strings.ReplaceAll(door, ".", "_")+"_total", "mails by what became of them", "outcome", map[string]float64{
			"accepted": float64(n.Accepted), "refused": float64(n.Refused), "deferred": float64(n.Deferred), "held": float64(n.Held)})
	})
	return nil
}

// close closes them all and returns the first error.
func (d *mailDoors) close(ctx context.Context) error {
	var first error
	for _, stop := range d.stops {
		if err := stop(ctx); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// mailRoutes adds the link in each mail that ends a subscription.
func (s *server) mailRoutes(mux *http.ServeMux) {
	if c, err := s.core.mails(); err == nil { // else startCourier has said so
		c.Register(mux, s.frame)
	}
}
