package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/litfass/litfass/internal/tlsid"
)

// openTLS reads or makes the node's TLS key, and reads the certificate of the
// configuration. All doors use it, and the senders to peers show it.
func (k *core) openTLS(context.Context) error {
	id, err := tlsid.Open(tlsid.Config{
		KeyFile: k.dir.join("keys", "tls.key"), Names: []string{k.host, "localhost", "127.0.0.1", "::1"}, Now: k.now, Log: k.log,
	})
	if err != nil {
		return err
	}
	k.tls = id
	if err := id.Use(k.cfg.NNTP.TLS.Cert, k.cfg.NNTP.TLS.Key); err != nil {
		return fmt.Errorf("%w; set nntp.tls.cert and nntp.tls.key to readable PEM files, or leave both out", err)
	}
	return nil
}

// reloadTLS is what SIGHUP does.
func (k *core) reloadTLS(cfg config) error { return k.tls.Use(cfg.NNTP.TLS.Cert, cfg.NNTP.TLS.Key) }

// acmeSection asks an authority for the certificate of all doors.
type acmeSection struct {
	Domains   []string `toml:"domains" doc:"names of this node to be certified; naming them agrees to the authority's terms; empty: off"`
	Email     string   `toml:"email" doc:"where the authority may write to"`
	Directory string   `toml:"directory" doc:"the authority's address"`
	CA        string   `toml:"ca" doc:"whom to believe about that address, a PEM file; empty: as the system does" kind:"path"`
	Listen    []string `toml:"listen" doc:"addresses that answer the authority (HTTP-01) and lead browsers on to http.url; usual: :80; the doors of http and tls answer too"`
}

const acmePath = "/.well-known/acme-challenge/"

// checkACME says what is wrong with nntp.tls.acme.
func (c *config) checkACME(say func(key, format string, args ...any)) {
	a := c.NNTP.TLS.ACME
	for _, d := range a.Domains {
		if !goodHost(d) {
			say("nntp.tls.acme.domains", "%q is no host name", d)
		}
	}
	if u, err := url.Parse(a.Directory); err != nil || u.Scheme != "https" || u.Host == "" {
		say("nntp.tls.acme.directory", "%q is no https address", a.Directory)
	}
	if len(a.Domains) == 0 {
		return
	}
	if c.NNTP.TLS.Cert != "" {
		say("nntp.tls", "cert and acme exclude each other: set one of them")
	}
	if http, alpn := c.acmeWays(); !http && !alpn {
		say("nntp.tls.acme", "nothing here can answer the authority: set listen to :80, or open http or a door with TLS")
	}
}

// acmeWays says which doors can answer an authority.
func (c *config) acmeWays() (http, alpn bool) {
	return len(c.NNTP.TLS.ACME.Listen)+len(c.HTTP.Listen) > 0, len(c.NNTP.TLS.Listen)+len(c.HTTP.TLS.Listen) > 0
}

// webTLS is the TLS of browsers: they are not asked for certificates.
func (k *core) webTLS() *tls.Config {
	t := k.tls.Server()
	t.ClientAuth, t.ClientCAs = tls.NoClientCert, nil
	return t
}

// startACME keeps a certificate of an authority, if one is asked for.
func (s *server) startACME(context.Context) (*part, error) {
	k := s.core
	a := k.cfg.NNTP.TLS.ACME
	if len(a.Domains) == 0 {
		return nil, nil
	}
	roots, err := certPool(a.CA)
	if err != nil {
		return nil, fmt.Errorf("nntp.tls.acme.ca: %w", err)
	}
	ls, err := listen("nntp.tls.acme", a.Listen)
	if err != nil {
		return nil, err
	}
	m := http.NewServeMux()
	m.Handle("GET "+acmePath, k.tls.Challenges())
	m.Handle("GET /", http.RedirectHandler(k.cfg.HTTP.URL, http.StatusFound))
	hs := &http.Server{Handler: m, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10}
	addrs, wait := s.serveOn("acme", ls, func(l net.Listener) error { return orClosed(hs.Serve(l)) })
	order := tlsid.ACME{Names: a.Domains, Email: a.Email, Directory: a.Directory, Roots: roots, Dir: k.dir.join("keys", "acme"), Agent: "litfass/" + versionString()}
	order.HTTP, order.ALPN = k.cfg.acmeWays()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.tls.Keep(ctx, order, func(err error) { k.acme.Store(&acmeState{err}) }) }()
	return &part{name: "acme", addrs: addrs, stop: func(context.Context) error {
		cancel()
		hs.Close()
		wait()
		return <-done
	}}, nil
}

// acmeState is what became of the last attempt.
type acmeState struct{ err error }

// certPool reads certificates of authorities; no file: nil, the system's.
func certPool(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return pool, nil
}

// tlsWarnings says that a certificate ends soon, or cannot be had.
func (k *core) tlsWarnings() []string {
	if len(k.cfg.NNTP.TLS.ACME.Domains) > 0 {
		if st := k.acme.Load(); st != nil && st.err != nil {
			return []string{fmt.Sprintf("no TLS certificate from the authority, it is tried again: %v", st.err)}
		}
		return nil
	}
	left := k.tls.Expires().Sub(k.now())
	switch {
	case left <= 0:
		return []string{"the TLS certificate has expired; renew the file of nntp.tls.cert, it is read again by itself"}
	case left < 10*24*time.Hour:
		return []string{fmt.Sprintf("the TLS certificate expires in %d days; renew the file of nntp.tls.cert, it is read again by itself", int(left/(24*time.Hour)))}
	}
	return nil
}
