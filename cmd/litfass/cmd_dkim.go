package main

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/litfass/litfass/smtpd/courier"
)

// cmdMailDKIM makes the two keys that sign mail, and says what the DNS must hold.
func cmdMailDKIM(c *call) error {
	if err := c.parse(0, 1); err != nil {
		return err
	}
	cfg, err := loadConfig(c.config, c.data)
	if err != nil {
		return err
	}
	domain, file := cfg.mailDomain(cfg.Host), cfg.SMTP.DKIM
	if len(c.args) == 1 {
		file = c.args[0]
	}
	switch {
	case file == "":
		return usagef("mail dkim: name the file for the keys, or set smtp.dkim")
	case domain == "":
		return errors.New("it is not known whose mail is signed; set smtp.domain (or host)")
	}
	made, err := makeKeys(file)
	if err != nil {
		return err
	}
	each, common, err := readSeals(file, cfg.SMTP.Selector)
	if err != nil {
		return err
	}
	if made {
		fmt.Fprintf(c.out, "made two keys in %s; keep it secret, and a copy of it\n\n", file)
	}
	fmt.Fprint(c.out, "The DNS must hold:\n\n")
	for _, s := range []courier.Seal{common, each} {
		if s.Key == nil {
			continue
		}
		record, err := dkimRecord(s.Key.Public())
		if err != nil {
			return err
		}
		fmt.Fprintf(c.out, "%s._domainkey.%s. TXT (\n%s)\n\n", s.Selector, domain, quotedPieces(record))
	}
	if file, err = filepath.Abs(file); err != nil {
		return err
	}
	if file != cfg.SMTP.DKIM {
		fmt.Fprintf(c.out, "Then set in the configuration, and restart:\n\n[smtp]\ndkim = %q\n", file)
	}
	return nil
}

// makeKeys writes an RSA and an Ed25519 key to a file, if there is none.
func makeKeys(file string) (made bool, err error) {
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048) // RFC 8301 §3.2; more does not fit into every DNS answer
	if err != nil {
		return false, err
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return false, err
	}
	var text []byte
	for _, key := range []any{rsaKey, edKey} {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return false, err
		}
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
	}
	return true, os.WriteFile(file, text, 0o600)
}

// dkimRecord is what a key's name in the DNS holds: RFC 6376 §3.6.1, RFC 8463 §4.
func dkimRecord(key crypto.PublicKey) (string, error) {
	if k, ok := key.(ed25519.PublicKey); ok {
		return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(k), nil
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der), err
}

// quotedPieces is a text in the strings of at most 255 octets that make a TXT record, as
// zone files have them.
func quotedPieces(s string) string {
	var out strings.Builder
	for len(s) > 0 {
		n := min(len(s), 200)
		fmt.Fprintf(&out, "\t\"%s\"\n", s[:n])
		s = s[n:]
	}
	return out.String()
}
