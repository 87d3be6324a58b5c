package tlsid

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func open(t *testing.T, file string, now func() time.Time) *Identity {
	t.Helper()
	i, err := Open(Config{KeyFile: file, Names: []string{"box.example", "127.0.0.1"}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// shake does a handshake and returns what each side saw.
func shake(t *testing.T, server, client *tls.Config) (atServer, atClient tls.ConnectionState) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	s, c := tls.Server(a, server), tls.Client(b, client)
	done := make(chan error, 1)
	go func() { done <- s.Handshake() }()
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = c.Read(make([]byte, 1)) }() // TLS 1.3: tickets come behind
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return s.ConnectionState(), c.ConnectionState()
}

func TestOwnKeyIsKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys", "tls.key")
	one, two := open(t, file, nil), open(t, file, nil)
	if one.Pin() != two.Pin() || one.Configured() {
		t.Errorf("%s, then %s", one.Pin(), two.Pin())
	}
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", fi, err)
	}
	if other := open(t, file+"2", nil); other.Pin() == one.Pin() {
		t.Error("two nodes, one key")
	}
	if err := os.WriteFile(file, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{KeyFile: file}); err == nil || !strings.Contains(err.Error(), "backup") {
		t.Errorf("a broken key: %v", err)
	}
}

func TestPinsOnBothSides(t *testing.T) {
	dir := t.TempDir()
	server, client := open(t, dir+"/s", nil), open(t, dir+"/c", nil)
	conf := client.Client()
	conf.RootCAs = x509.NewCertPool()
	conf.RootCAs.AddCert(server.own.Leaf)
	conf.ServerName = "box.example"
	s, c := shake(t, server.Server(), conf)
	if ClientPin(s) != client.Pin() {
		t.Errorf("server saw %q, want %s", ClientPin(s), client.Pin())
	}
	if ClientPin(c) != server.Pin() {
		t.Errorf("client saw %q, want %s", ClientPin(c), server.Pin())
	}
	conf = &tls.Config{RootCAs: conf.RootCAs, ServerName: "box.example"}
	if s, _ := shake(t, server.Server(), conf); ClientPin(s) != "" {
		t.Errorf("a client without certificate is %s", ClientPin(s))
	}
}

// write puts a certificate of its own into files.
func write(t *testing.T, cert, key string, at time.Time) *Identity {
	t.Helper()
	i := open(t, key, nil)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.own.Certificate[0]})
	if err := os.WriteFile(cert, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{cert, key} {
		if err := os.Chtimes(f, at, at); err != nil {
			t.Fatal(err)
		}
	}
	return i
}

func TestFilesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	node := open(t, dir+"/own", func() time.Time { return now })
	own := node.Pin()
	cert, key := dir+"/c.pem", dir+"/k.pem"
	if err := node.Use(cert, key); err == nil || node.Configured() {
		t.Error("files that are not there", err)
	}
	first := write(t, cert, key, now)
	if err := node.Use(cert, key); err != nil || !node.Configured() || node.Pin() != first.Pin() {
		t.Errorf("%v, %s is not %s", err, node.Pin(), first.Pin())
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	second := write(t, cert, key, now.Add(time.Minute))
	if node.Pin() != first.Pin() {
		t.Error("looked too soon")
	}
	now = now.Add(lookEvery)
	if node.Pin() != second.Pin() {
		t.Error("the new certificate is not seen")
	}
	if err := os.WriteFile(cert, []byte("half written"), 0o600); err != nil {
		t.Fatal(err)
	}
	now = now.Add(lookEvery)
	if node.Pin() != second.Pin() {
		t.Error("a broken file takes the certificate away")
	}
	if err := node.Use("", ""); err != nil || node.Pin() != own {
		t.Error("not its own again", err)
	}
}

func TestParsePin(t *testing.T) {
	i := open(t, t.TempDir()+"/k", nil)
	want := i.Pin()
	url := strings.NewReplacer("+", "-", "/", "_", "=", "").Replace(want)
	for _, s := range []string{want, url, " " + want} {
		if got, err := ParsePin(s); err != nil || got != want {
			t.Errorf("%q: %q %v", s, got, err)
		}
	}
	for _, s := range []string{"", "spki:sha256:", "sha256:" + want, want + "AA", "spki:sha256:@@"} {
		if _, err := ParsePin(s); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}
