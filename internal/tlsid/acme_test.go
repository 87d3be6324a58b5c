package tlsid

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// certify makes a certificate of key for name, until then.
func certify(t *testing.T, key crypto.Signer, name string, until time.Time) []byte {
	t.Helper()
	c := x509.Certificate{SerialNumber: big.NewInt(7), DNSNames: []string{name}, NotBefore: until.Add(-90 * 24 * time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, &c, &c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestKeptCertificate(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	node := open(t, dir+"/own", func() time.Time { return now })
	other := open(t, dir+"/other", nil)
	order := ACME{Names: []string{"box.example"}, Dir: dir}
	keep := func(der []byte) error {
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		if err := os.WriteFile(dir+"/"+chainFile, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return node.readIssued(order)
	}
	for want, der := range map[string][]byte{
		"another key": certify(t, other.signer(), "box.example", now.Add(time.Hour)),
		"ended":       certify(t, node.signer(), "box.example", now.Add(-time.Hour)),
		"valid for":   certify(t, node.signer(), "box7.example", now.Add(time.Hour)),
	} {
		if err := keep(der); err == nil || !strings.Contains(err.Error(), want) || node.Configured() {
			t.Errorf("%s: %v", want, err)
		}
	}
	pin := node.Pin()
	if err := keep(certify(t, node.signer(), "box.example", now.Add(90*24*time.Hour))); err != nil {
		t.Fatal(err)
	}
	if !node.Configured() || node.Pin() != pin || node.current() == node.own {
		t.Error("the kept certificate is not shown, or under another pin")
	}
	if d := node.renewIn(); d != 60*24*time.Hour {
		t.Errorf("renewed in %v", d)
	}
	now = now.Add(91 * 24 * time.Hour)
	if node.Configured() || node.current() != node.own {
		t.Error("an ended certificate is shown")
	}
}

func TestChallenges(t *testing.T) {
	node := open(t, t.TempDir()+"/own", nil)
	node.challenges.set(func() { node.challenges.http["/.well-known/acme-challenge/tok"] = "tok.print" })
	for path, want := range map[string]int{"/.well-known/acme-challenge/tok": 200, "/.well-known/acme-challenge/other": 404} {
		w := httptest.NewRecorder()
		node.Challenges().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != want {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	node.challenges.set(func() { node.challenges.alpn["box.example"] = node.own })
	ask := func(name string, protos ...string) (*tls.Config, error) {
		return node.challenges.forHello(&tls.ClientHelloInfo{ServerName: name, SupportedProtos: protos})
	}
	if c, err := ask("BOX.example", ALPNChallenge); err != nil || c == nil {
		t.Error("the challenge is not answered", err)
	}
	if c, err := ask("box.example", "h2", "http/1.1"); err != nil || c != nil {
		t.Error("a browser gets the challenge's certificate", err)
	}
	if _, err := ask("elsewhere.example", ALPNChallenge); err == nil {
		t.Error("a challenge that nobody asked for is answered")
	}
}
