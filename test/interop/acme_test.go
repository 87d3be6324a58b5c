//go:build interop

package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/smtp"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/internal/tlsid"
	"github.com/litfass/litfass/test/dnsbox"
	"github.com/litfass/litfass/test/nodebox"
)

// authority is a running pebble, Let's Encrypt's ACME server for tests.
type authority struct {
	directory, ca string // for litfass.toml
	client        *http.Client
	roots         string // address of its root certificate
	proc          *exec.Cmd
}

const certified = "news.test.example"

// startAuthority runs pebble, which looks for challenges at these ports of 127.0.0.1.
func startAuthority(t *testing.T, httpPort, tlsPort int) *authority {
	t.Helper()
	bin, err := exec.LookPath("pebble")
	if err != nil {
		t.Skip("pebble is missing: apt-get install pebble")
	}
	dir := t.TempDir()
	cert, key, pool := pebbleCert(t, dir)
	at, admin := freePort(t), freePort(t)
	text, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": at, "managementListenAddress": admin, "certificate": cert, "privateKey": key,
		"httpPort": httpPort, "tlsPort": tlsPort, "ocspResponderURL": "", "externalAccountBindingRequired": false,
	}})
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "pebble.json")
	if err := os.WriteFile(conf, text, 0o600); err != nil {
		t.Fatal(err)
	}
	dns := dnsbox.Listen(t, dnsbox.Zone{A: map[string]string{certified: "127.0.0.1"}})
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(bin, "-config", conf, "-dnsserver", dns)
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=20")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			said, _ := os.ReadFile(log.Name())
			t.Logf("pebble: %s", said[max(0, len(said)-4000):])
		}
	})
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
	return &authority{directory: "https://" + at + "/dir", ca: cert, client: client, roots: "https://" + admin + "/roots/0", proc: cmd}
}

// pebbleCert makes the certificate of pebble's own address.
func pebbleCert(t *testing.T, dir string) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	kder, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, b := range map[string][]byte{cert: text, key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kder})} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return cert, key, pool
}

// pool is whom clients of the authority believe.
func (a *authority) pool(t *testing.T) *x509.CertPool {
	t.Helper()
	var text []byte
	persist(t, "pebble's root", func() error {
		res, err := a.client.Get(a.roots)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		text, err = io.ReadAll(res.Body)
		return err
	})
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(text) {
		t.Fatalf("pebble's root: %q", text)
	}
	return p
}

// persist tries until fn succeeds, 30 s at most: other processes tell nobody.
func persist(t *testing.T, what string, fn func() error) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := fn()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	a, err := nodebox.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func portOf(t *testing.T, addr string) (n int) {
	t.Helper()
	_, p, _ := net.SplitHostPort(addr)
	if _, err := fmt.Sscan(p, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// viaNNTP says STARTTLS, if it is listed, and returns the certificate seen.
func viaNNTP(addr string, conf *tls.Config) (*x509.Certificate, error) {
	c, err := textproto.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if _, _, err := c.ReadCodeLine(200); err != nil {
		return nil, err
	}
	fmt.Fprintf(c.W, "CAPABILITIES\r\n")
	if err := c.W.Flush(); err != nil {
		return nil, err
	}
	if _, _, err := c.ReadCodeLine(101); err != nil {
		return nil, err
	}
	lines, err := c.ReadDotLines()
	if err != nil {
		return nil, err
	}
	if !strings.Contains(strings.Join(lines, "\n"), "\nSTARTTLS") {
		return nil, fmt.Errorf("STARTTLS is not listed")
	}
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	t := textproto.NewConn(raw)
	if _, _, err := t.ReadCodeLine(200); err != nil {
		return nil, err
	}
	if err := t.PrintfLine("STARTTLS"); err != nil {
		return nil, err
	}
	if _, _, err := t.ReadCodeLine(382); err != nil {
		return nil, err
	}
	s := tls.Client(raw, conf)
	if err := s.Handshake(); err != nil {
		return nil, err
	}
	return s.ConnectionState().PeerCertificates[0], nil
}

// viaTLS begins with TLS.
func viaTLS(addr string, conf *tls.Config) (*x509.Certificate, error) {
	c, err := tls.Dial("tcp", addr, conf)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0], nil
}

// viaSMTP says STARTTLS to the mail door.
func viaSMTP(addr string, conf *tls.Config) (*x509.Certificate, error) {
	c, err := smtp.Dial(addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if ok, _ := c.Extension("STARTTLS"); !ok {
		return nil, fmt.Errorf("STARTTLS is not offered")
	}
	if err := c.StartTLS(conf); err != nil {
		return nil, err
	}
	st, _ := c.TLSConnectionState()
	return st.PeerCertificates[0], c.Quit()
}

// certifiedNode is a node that asks a for a certificate.
func certifiedNode(t *testing.T, a *authority, o nodebox.Options, listen, nntps, https string) *nodebox.Node {
	t.Helper()
	list := func(s string) string {
		if s == "" {
			return "[]"
		}
		return fmt.Sprintf("[%q]", s)
	}
	o.More = fmt.Sprintf("[nntp.tls]\nlisten = %s\n[nntp.tls.acme]\ndomains = [%q]\nemail = \"news@test.example\"\ndirectory = %q\nca = %q\nlisten = %s\n[http.tls]\nlisten = %s\n",
		list(nntps), certified, a.directory, a.ca, list(listen), list(https))
	n, err := nodebox.New(litfass(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("node: %s", n.Log())
		}
		n.Remove()
	})
	return n
}

// TestACMEByHTTP: a certificate by HTTP-01 appears at every door without a
// restart, is kept over a restart, renewed in time, and its key never changes.
func TestACMEByHTTP(t *testing.T) {
	answers, smtpAddr, nntps, https := freePort(t), freePort(t), freePort(t), freePort(t)
	a := startAuthority(t, portOf(t, answers), 1)
	pool := a.pool(t)
	n := certifiedNode(t, a, nodebox.Options{SMTP: smtpAddr}, answers, nntps, https)
	if _, err := n.Start(); err != nil {
		t.Fatal(err)
	}
	conf := &tls.Config{RootCAs: pool, ServerName: certified}
	doors := map[string]func() (*x509.Certificate, error){
		"NNTP STARTTLS": func() (*x509.Certificate, error) { return viaNNTP(n.Addr, conf) },
		"NNTP TLS":      func() (*x509.Certificate, error) { return viaTLS(nntps, conf) },
		"https":         func() (*x509.Certificate, error) { return viaTLS(https, conf) },
		"SMTP STARTTLS": func() (*x509.Certificate, error) { return viaSMTP(smtpAddr, conf) },
	}
	look := func(not string) (serial, pin string) {
		for name, door := range doors {
			persist(t, name, func() error {
				c, err := door()
				if err == nil {
					if serial, pin = c.SerialNumber.String(), tlsid.Pin(c); serial == not {
						return fmt.Errorf("still the old certificate")
					}
				}
				return err
			})
		}
		return serial, pin
	}
	first, pin := look("")
	if out, err := n.Run("status"); err != nil || !strings.Contains(out, pin) {
		t.Errorf("status does not show the pin %s: %v\n%s", pin, err, out)
	}

	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	// 1,500 days on: pebble's certificates live 1,826.
	if _, err := n.Start("LITFASS_CLOCK_OFFSET=1500d"); err != nil {
		t.Fatal(err)
	}
	second, again := look(first)
	if again != pin {
		t.Errorf("the key changed with the renewal: %s, then %s", pin, again)
	}
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	_ = a.proc.Process.Kill() // the authority is away: what is kept serves
	if _, err := n.Start(); err != nil {
		t.Fatal(err)
	}
	if kept, _ := look(""); kept != second {
		t.Errorf("serial %s after a restart, %s before", kept, second)
	}
}

// TestACMEByALPN: the same with TLS-ALPN-01 on the implicit TLS port alone.
func TestACMEByALPN(t *testing.T) {
	nntps := freePort(t)
	a := startAuthority(t, 1, portOf(t, nntps))
	pool := a.pool(t)
	n := certifiedNode(t, a, nodebox.Options{}, "", nntps, "")
	if _, err := n.Start(); err != nil {
		t.Fatal(err)
	}
	persist(t, "NNTP TLS", func() error {
		_, err := viaTLS(nntps, &tls.Config{RootCAs: pool, ServerName: certified})
		return err
	})
}

// TestACMERefused: an authority that cannot see us leaves the node as it was,
// and status says what is wrong.
func TestACMERefused(t *testing.T) {
	a := startAuthority(t, portOf(t, freePort(t)), 1)
	a.pool(t)
	n := certifiedNode(t, a, nodebox.Options{}, freePort(t), freePort(t), "")
	if _, err := n.Start(); err != nil {
		t.Fatal(err)
	}
	persist(t, "the warning", func() error {
		out, err := n.Run("status")
		if err == nil && !strings.Contains(out, "no TLS certificate from the authority") {
			err = fmt.Errorf("status: %s", out)
		}
		return err
	})
	if _, err := viaNNTP(n.Addr, &tls.Config{InsecureSkipVerify: true}); err == nil || !strings.Contains(err.Error(), "not listed") {
		t.Errorf("STARTTLS without a certificate: %v", err)
	}
}
