package tlsid

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
)

// LetsEncrypt is the directory that is asked if none is named.
const LetsEncrypt = acme.LetsEncryptURL

// ALPNChallenge is the protocol that an authority asks for when it looks whether
// a name is ours (RFC 8737 §4); behind the handshake nothing follows.
const ALPNChallenge = acme.ALPNProto

// ACME says which certificate an authority is asked for (RFC 8555).
type ACME struct {
	Names     []string       // host names, at least one; the first is shown to clients that name none
	Email     string         // where the authority writes to, or ""
	Directory string         // its address; "": LetsEncrypt
	Roots     *x509.CertPool // whom to believe about the authority's own address; nil: the system's
	Dir       string         // where the account's key and the certificate are kept
	HTTP      bool           // Challenges is reached at port 80 of these names (HTTP-01)
	ALPN      bool           // a door with Server's configuration is reached at port 443 (TLS-ALPN-01)
	Agent     string         // how we call ourselves there
}

// challenges are the answers due to an authority at this moment.
type challenges struct {
	mu   sync.Mutex
	http map[string]string           // path, answer
	alpn map[string]*tls.Certificate // by name in lower case
}

func (c *challenges) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.http == nil {
		c.http, c.alpn = make(map[string]string), make(map[string]*tls.Certificate)
	}
	change()
}

// ServeHTTP answers HTTP-01: RFC 8555 §8.3. What was not asked for is 404.
func (c *challenges) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	text, ok := c.http[r.URL.Path]
	c.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write([]byte(text))
}

// forHello is the answer to TLS-ALPN-01, or nil if that is not asked: RFC 8737 §3.
func (c *challenges) forHello(h *tls.ClientHelloInfo) (*tls.Config, error) {
	if len(h.SupportedProtos) != 1 || h.SupportedProtos[0] != ALPNChallenge {
		return nil, nil
	}
	c.mu.Lock()
	cert := c.alpn[strings.ToLower(h.ServerName)]
	c.mu.Unlock()
	if cert == nil {
		return nil, fmt.Errorf("no authority was asked for %q", h.ServerName)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{ALPNChallenge}, Certificates: []tls.Certificate{*cert}}, nil
}

// Challenges answers /.well-known/acme-challenge/.
func (i *Identity) Challenges() http.Handler { return &i.challenges }

// waits are the times between attempts that fail: authorities count failures by
// the hour.
var waits = [...]time.Duration{time.Minute, 5 * time.Minute, 20 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour}

// Keep has an authority certify the node's own key and renews that when two
// thirds of its time are over, until ctx ends. Pins that neighbours wrote down
// stay true: the key is always the same. failed, which may be nil, is told of
// every attempt: its error, or nil.
func (i *Identity) Keep(ctx context.Context, c ACME, failed func(error)) error {
	if len(c.Names) == 0 || !c.HTTP && !c.ALPN {
		return errors.New("tls: an authority needs a name, and a way to see that it is ours")
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("keep certificates: %w", err)
	}
	if err := i.readIssued(c); err != nil {
		i.log.Warn("tls: the kept certificate is of no use, asking for a new one", "error", err)
	}
	for fails := 0; ; {
		wait := min(i.renewIn(), 12*time.Hour) // the clock may jump
		if wait <= 0 {
			err := i.obtain(ctx, c, fails)
			if ctx.Err() != nil {
				return nil
			}
			if failed != nil {
				failed(err)
			}
			if err == nil {
				fails = 0
				i.log.Info("tls: certificate from the authority", "names", c.Names, "until", i.Expires())
				continue
			}
			wait = waits[min(fails, len(waits)-1)]
			fails++
			i.log.Error("tls: no certificate from the authority", "error", err, "again_in", wait)
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
	}
}

// Forget stops showing what an authority issued: the key acme went from the configuration.
func (i *Identity) Forget() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.issued = nil
}

// renewIn is the time until the certificate should be renewed; none: 0.
func (i *Identity) renewIn() time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.issued == nil {
		return 0
	}
	l := i.issued.Leaf
	return l.NotBefore.Add(l.NotAfter.Sub(l.NotBefore) / 3 * 2).Sub(i.now())
}

const chainFile = "chain.pem"

// readIssued takes the certificate of an earlier start, if it is for our key and
// all names and has not ended.
func (i *Identity) readIssued(c ACME) error {
	text, err := os.ReadFile(filepath.Join(c.Dir, chainFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	var chain [][]byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		chain = append(chain, block.Bytes)
	}
	return i.show(chain, c.Names)
}

// show makes a chain that was issued the node's certificate.
func (i *Identity) show(chain [][]byte, names []string) error {
	if len(chain) == 0 {
		return errors.New("it is empty")
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return err
	}
	type equaler interface{ Equal(crypto.PublicKey) bool }
	if k, ok := leaf.PublicKey.(equaler); !ok || !k.Equal(i.signer().Public()) {
		return errors.New("it is for another key")
	}
	for _, n := range names {
		if err := leaf.VerifyHostname(n); err != nil {
			return err
		}
	}
	if now := i.now(); now.After(leaf.NotAfter) {
		return fmt.Errorf("it ended on %s", leaf.NotAfter.Format(time.DateOnly))
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.issued = &tls.Certificate{Certificate: chain, PrivateKey: i.own.PrivateKey, Leaf: leaf}
	return nil
}

func (i *Identity) signer() crypto.Signer { return i.own.PrivateKey.(crypto.Signer) }

// obtain is one attempt: account, order, challenges, certificate (RFC 8555 §7).
func (i *Identity) obtain(ctx context.Context, c ACME, attempt int) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	key, err := ownKey(filepath.Join(c.Dir, "account.key"))
	if err != nil {
		return fmt.Errorf("key of the account at the authority: %w", err)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.Roots}
	defer t.CloseIdleConnections()
	cl := &acme.Client{Key: key, DirectoryURL: c.Directory, HTTPClient: &http.Client{Transport: t, Timeout: time.Minute}, UserAgent: c.Agent}
	if c.Directory == "" {
		cl.DirectoryURL = LetsEncrypt
	}
	account := &acme.Account{}
	if c.Email != "" {
		account.Contact = []string{"mailto:" + c.Email}
	}
	if _, err := cl.Register(ctx, account, acme.AcceptTOS); err != nil && !errors.Is(err, acme.ErrAccountAlreadyExists) {
		return fmt.Errorf("open an account at %s: %w", cl.DirectoryURL, err)
	}
	o, err := cl.AuthorizeOrder(ctx, acme.DomainIDs(c.Names...))
	if err != nil {
		return fmt.Errorf("order a certificate for %s: %w", strings.Join(c.Names, ", "), err)
	}
	for _, u := range o.AuthzURLs {
		if err := i.prove(ctx, cl, u, c.kind(attempt)); err != nil {
			return err
		}
	}
	chain, err := i.collect(ctx, cl, o.URI, c.Names)
	if err != nil {
		return fmt.Errorf("collect the certificate: %w", err)
	}
	if err := i.show(chain, c.Names); err != nil {
		return fmt.Errorf("the authority's certificate is of no use: %w", err)
	}
	var text []byte
	for _, der := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	if err := writeNew(filepath.Join(c.Dir, chainFile), text); err != nil {
		return fmt.Errorf("keep the certificate: %w", err)
	}
	return nil
}

// kind is the challenge of an attempt: where both are possible they take turns,
// since we cannot know which of the two ports leads here.
func (c ACME) kind(attempt int) string {
	if c.HTTP && (!c.ALPN || attempt%2 == 0) {
		return "http-01"
	}
	return "tls-alpn-01"
}

// prove shows the authority that one name is ours.
func (i *Identity) prove(ctx context.Context, cl *acme.Client, url, kind string) error {
	z, err := cl.GetAuthorization(ctx, url)
	if err != nil {
		return fmt.Errorf("ask for a challenge: %w", err)
	}
	if z.Status == acme.StatusValid {
		return nil // it remembers us
	}
	name := strings.ToLower(z.Identifier.Value)
	n := slices.IndexFunc(z.Challenges, func(ch *acme.Challenge) bool { return ch.Type == kind })
	if n < 0 {
		return fmt.Errorf("the authority does not offer %s for %s", kind, name)
	}
	ch := z.Challenges[n]
	if err := i.answer(cl, ch, name); err != nil {
		return fmt.Errorf("answer %s for %s: %w", kind, name, err)
	}
	defer i.challenges.set(func() {
		delete(i.challenges.http, cl.HTTP01ChallengePath(ch.Token))
		delete(i.challenges.alpn, name)
	})
	if _, err := cl.Accept(ctx, ch); err != nil {
		return fmt.Errorf("answer %s for %s: %w", kind, name, err)
	}
	if _, err := cl.WaitAuthorization(ctx, z.URI); err != nil {
		return fmt.Errorf("the authority does not see that %s is ours (%s): %w", name, kind, err)
	}
	return nil
}

// answer lays out what the authority will look for.
func (i *Identity) answer(cl *acme.Client, ch *acme.Challenge, name string) error {
	if ch.Type == "http-01" {
		text, err := cl.HTTP01ChallengeResponse(ch.Token)
		if err == nil {
			i.challenges.set(func() { i.challenges.http[cl.HTTP01ChallengePath(ch.Token)] = text })
		}
		return err
	}
	cert, err := cl.TLSALPN01ChallengeCert(ch.Token, name)
	if err == nil {
		i.challenges.set(func() { i.challenges.alpn[name] = &cert })
	}
	return err
}

// collect sends the request for our own key and waits for the certificate.
func (i *Identity) collect(ctx context.Context, cl *acme.Client, order string, names []string) ([][]byte, error) {
	o, err := cl.WaitOrder(ctx, order)
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, i.signer())
	if err != nil {
		return nil, err
	}
	chain, _, err := cl.CreateOrderCert(ctx, o.FinalizeURL, csr, true)
	return chain, err
}
