package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
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
