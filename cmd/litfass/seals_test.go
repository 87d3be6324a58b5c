package main

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadSeals: one key signs each mail; of two of different kinds RSA signs once.
func TestReadSeals(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block := func(key any) string {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	old := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)}))
	for _, c := range []struct {
		name, text, each, common string
		fails                    bool
	}{
		{name: "rsa", text: block(rsaKey), each: "s"}, {name: "old rsa", text: old, each: "s"}, {name: "ed25519", text: block(edKey), each: "s"},
		{name: "both", text: block(rsaKey) + block(edKey), each: "s-ed25519", common: "s"}, {name: "the other way round", text: block(edKey) + old, each: "s-ed25519", common: "s"},
		{name: "two of a kind", text: block(rsaKey) + old, fails: true}, {name: "three", text: block(rsaKey) + old + block(edKey), fails: true}, {name: "none", text: "x", fails: true},
	} {
		file := filepath.Join(t.TempDir(), "dkim.pem")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		each, common, err := readSeals(file, "s")
		if (err != nil) != c.fails || each.Selector != c.each || common.Selector != c.common || !c.fails && each.Key == nil {
			t.Errorf("%s: %q %q %v", c.name, each.Selector, common.Selector, err)
		}
		if c.common != "" {
			if _, ok := each.Key.(ed25519.PrivateKey); !ok {
				t.Errorf("%s: %T signs each mail", c.name, each.Key)
			}
		}
	}
}

// TestDKIMRecord: what the DNS is to hold is the key's public half, in pieces that fit.
func TestDKIMRecord(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dkim.pem")
	if made, err := makeKeys(file); err != nil || !made {
		t.Fatal(made, err)
	}
	if made, err := makeKeys(file); err != nil || made {
		t.Errorf("made again: %v %v", made, err)
	}
	each, common, err := readSeals(file, "s")
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{"v=DKIM1; k=rsa; p=": common.Key, "v=DKIM1; k=ed25519; p=": each.Key} {
		record, err := dkimRecord(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		text, ok := strings.CutPrefix(record, name)
		raw, err := base64.StdEncoding.DecodeString(text)
		if !ok || err != nil {
			t.Fatalf("%q: %v", record, err)
		}
		var public any = ed25519.PublicKey(raw)
		if strings.Contains(name, "rsa") {
			if public, err = x509.ParsePKIXPublicKey(raw); err != nil {
				t.Fatal(err)
			}
		}
		if !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(public) {
			t.Errorf("%s: another key", name)
		}
		joined := ""
		for line := range strings.Lines(quotedPieces(record)) {
			piece := strings.Trim(line, "\t\"\n")
			if len(piece) > 255 {
				t.Errorf("a string of %d octets", len(piece))
			}
			joined += piece
		}
		if joined != record {
			t.Errorf("%q, want %q", joined, record)
		}
	}
}
