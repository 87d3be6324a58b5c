package tlsid

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// lookEvery is how often, at most, the files are looked at for a change.
const lookEvery = 2 * time.Second

// Identity is the certificate a node shows, as server and as client. Its methods
// may be called from many goroutines.
type Identity struct {
	own *tls.Certificate
	now func() time.Time
	log *slog.Logger

	mu     sync.Mutex
	files  [2]string // certificate and key, or empty
	loaded *tls.Certificate
	issued *tls.Certificate // by an authority, for our own key: see Keep
	seen   [2]stamp
	looked time.Time

	challenges challenges
}

// stamp tells one content of a file from another.
type stamp struct {
	at   time.Time
	size int64
}

// Config says where an Identity comes from.
type Config struct {
	KeyFile string   // where the key of the self-made certificate is kept; made if it is not there
	Names   []string // host names and addresses for the self-made certificate
	Now     func() time.Time
	Log     *slog.Logger
}

// Open reads the node's own key, or makes it.
func Open(c Config) (*Identity, error) {
	i := &Identity{now: c.Now, log: c.Log}
	if i.now == nil {
		i.now = time.Now
	}
	if i.log == nil {
		i.log = slog.New(slog.DiscardHandler)
	}
	key, err := ownKey(c.KeyFile)
	if err != nil {
		return nil, err
	}
	i.own, err = selfSigned(key, c.Names)
	return i, err
}

// Use makes the certificate in these PEM files the node's; empty names mean its
// own again. If they cannot be read, nothing changes. Later changes of the files
// are seen by themselves, at the next handshake.
func (i *Identity) Use(cert, key string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if cert == "" {
		i.files, i.loaded = [2]string{}, nil
		return nil
	}
	files := [2]string{cert, key}
	seen, err := stamps(files)
	if err != nil {
		return err
	}
	c, err := load(files)
	if err != nil {
		return err
	}
	i.files, i.loaded, i.seen, i.looked = files, c, seen, i.now()
	return nil
}

func load(files [2]string) (*tls.Certificate, error) {
	c, err := tls.LoadX509KeyPair(files[0], files[1])
	if err != nil {
		return nil, fmt.Errorf("read the TLS certificate %s with key %s: %w", files[0], files[1], err)
	}
	return &c, nil
}

func stamps(files [2]string) (s [2]stamp, err error) {
	for n, f := range files {
		fi, err := os.Stat(f)
		if err != nil {
			return s, fmt.Errorf("read the TLS certificate: %w", err)
		}
		s[n] = stamp{fi.ModTime(), fi.Size()}
	}
	return s, nil
}

// current returns the certificate to show now.
func (i *Identity) current() *tls.Certificate {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.now()
	if i.loaded == nil {
		if i.valid(now) {
			return i.issued
		}
		return i.own
	}
	if d := now.Sub(i.looked); d >= 0 && d < lookEvery {
		return i.loaded
	}
	i.looked = now
	seen, err := stamps(i.files)
	if err == nil && seen == i.seen {
		return i.loaded
	}
	var c *tls.Certificate
	if err == nil {
		i.seen = seen // tried once for each change, not at each handshake
		c, err = load(i.files)
	}
	if err != nil {
		i.log.Error("tls: going on with the old certificate", "error", err)
		return i.loaded
	}
	i.log.Info("tls: certificate read again", "file", i.files[0])
	i.loaded = c
	return c
}

// valid says whether an authority's certificate can be shown; i.mu is held.
func (i *Identity) valid(now time.Time) bool {
	return i.issued != nil && now.Before(i.issued.Leaf.NotAfter)
}

// Configured says whether the certificate is one of the configuration or of an
// authority, which clients may be able to check: only then is STARTTLS listed.
func (i *Identity) Configured() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.loaded != nil || i.valid(i.now())
}

// Pin is the pin of the key shown now, for neighbours to write down.
func (i *Identity) Pin() string { return Pin(i.current().Leaf) }

// Expires is when the certificate shown now ends.
func (i *Identity) Expires() time.Time { return i.current().Leaf.NotAfter }

// Server is the configuration of a listening door. Clients are asked for a
// certificate, which need not be signed by anybody: see ClientPin. The
// authorities named to them are none but ourselves, so that programs of people
// with certificates do not ask which to show.
func (i *Identity) Server() *tls.Config {
	nobody := x509.NewCertPool()
	nobody.AddCert(i.own.Leaf)
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetCertificate:     func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return i.current(), nil },
		GetConfigForClient: i.challenges.forHello,

		ClientAuth: tls.RequestClientCert,
		ClientCAs:  nobody,
		Time:       i.now,
	}
}

// Client is the configuration for connecting to neighbours: it shows the node's
// certificate to those who ask.
func (i *Identity) Client() *tls.Config {
	return &tls.Config{
		MinVersion:           tls.VersionTLS12,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return i.current(), nil },
		Time:                 i.now,
	}
}
