package main

import (
	"context"
	"fmt"
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

// tlsWarnings says that a certificate ends soon.
func (k *core) tlsWarnings() []string {
	left := k.tls.Expires().Sub(k.now())
	switch {
	case left <= 0:
		return []string{"the TLS certificate has expired; renew the file of nntp.tls.cert, it is read again by itself"}
	case left < 10*24*time.Hour:
		return []string{fmt.Sprintf("the TLS certificate expires in %d days; renew the file of nntp.tls.cert, it is read again by itself", int(left/(24*time.Hour)))}
	}
	return nil
}
