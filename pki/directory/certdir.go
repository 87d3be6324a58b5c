package directory

import (
	"crypto/sha1"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/litfass/litfass/pki"
)

// CertEntry says what became of one certificate.
type CertEntry struct {
	File     string   `json:"file"`               // where it came from
	Identity string   `json:"identity,omitempty"` // whose it is
	Names    []string `json:"names,omitempty"`
	As       string   `json:"as,omitempty"`  // its name in the directory
	Why      string   `json:"why,omitempty"` // why it was left out
}

// CertDir writes an OpenSSL-style directory (HASH.N links beside the files) of
// those certificates in files that the identity user believes in: a live tls
// arrow of their owner names the key and all their names, a live trust-tls arrow
// from user to the owner has all the names in its scope, and they are no
// authorities (§8). The directory is written anew and put in the place of dir.
func CertDir(l *pki.Ledger, user pki.ID, now time.Time, dir string, files []string) ([]CertEntry, error) {
	trusted, err := trustedTLS(l, user, now)
	if err != nil {
		return nil, err
	}
	fresh := strings.TrimRight(dir, "/") + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return nil, fmt.Errorf("write certificates: %w", err)
	}
	if err := os.MkdirAll(fresh, 0o755); err != nil {
		return nil, fmt.Errorf("write certificates: %w", err)
	}
	w := &certWriter{dir: fresh, taken: map[string]bool{}}
	var out []CertEntry
	for _, file := range files {
		e := CertEntry{File: file}
		if err := w.add(&e, trusted); err != nil {
			e.Why = err.Error()
		}
		out = append(out, e)
	}
	return out, replaceDir(fresh, dir)
}

// tlsArrow is an owner's word for a key, within what the user believes.
type tlsArrow struct {
	owner pki.ID
	names map[string]bool
	scope string // of trust-tls
}

// trustedTLS lists the keys that count, by subject.
func trustedTLS(l *pki.Ledger, user pki.ID, now time.Time) (map[pki.Subject]tlsArrow, error) {
	live := func(s *pki.Statement) bool { return !s.Revoked && now.Unix() >= s.From && now.Unix() < s.Until }
	mine, err := l.Arrows(user)
	if err != nil {
		return nil, err
	}
	out := map[pki.Subject]tlsArrow{}
	for _, t := range mine {
		if t.Purpose != "trust-tls" || t.Subject.Kind != pki.SubjectID || !live(t) {
			continue
		}
		theirs, err := l.Arrows(pki.ID(t.Subject.Hash))
		if err != nil {
			return nil, err
		}
		for _, s := range theirs {
			if s.Purpose == "tls" && s.Subject.Kind == pki.SubjectSPKI && live(s) {
				out[s.Subject] = tlsArrow{pki.ID(t.Subject.Hash), namesIn(s.Param), t.Scope}
			}
		}
	}
	return out, nil
}

// namesIn reads name=HOST,name=HOST of a tls arrow.
func namesIn(param string) map[string]bool {
	out := map[string]bool{}
	for part := range strings.SplitSeq(param, ",") {
		if host, ok := strings.CutPrefix(part, "name="); ok {
			out[strings.ToLower(host)] = true
		}
	}
	return out
}

type certWriter struct {
	dir   string
	taken map[string]bool // identities that have their one certificate
}

func (w *certWriter) add(e *CertEntry, trusted map[pki.Subject]tlsArrow) error {
	text, err := os.ReadFile(e.File)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return errors.New("is no certificate in PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	e.Names = append(e.Names, cert.DNSNames...)
	for _, ip := range cert.IPAddresses {
		e.Names = append(e.Names, ip.String())
	}
	a, ok := trusted[pki.SPKI(cert.RawSubjectPublicKeyInfo)]
	if !ok {
		return errors.New("no identity that you trust for TLS vouches for its key")
	}
	e.Identity = a.owner.String()
	if err := fit(cert, e.Names, a); err != nil {
		return err
	}
	if w.taken[e.Identity] {
		return errors.New("its owner has a certificate here already")
	}
	hash, err := subjectHash(cert.RawSubject)
	if err != nil {
		return err
	}
	if e.As, err = w.put(e.Identity+".pem", hash, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})); err != nil {
		return err
	}
	w.taken[e.Identity] = true
	return nil
}

// fit says why a certificate must not be believed for all it claims.
func fit(cert *x509.Certificate, names []string, a tlsArrow) error {
	if cert.Version != 3 || !cert.BasicConstraintsValid || cert.IsCA {
		return errors.New("is not a certificate of version 3 with CA:FALSE: here it could vouch for others")
	}
	if len(names) == 0 {
		return errors.New("names no host")
	}
	for _, n := range names {
		if !a.names[strings.ToLower(n)] {
			return fmt.Errorf("its owner does not vouch for the name %s", n)
		}
		if !pki.InScope(a.scope, strings.ToLower(n)) {
			return fmt.Errorf("you do not trust its owner for the name %s", n)
		}
	}
	return nil
}

// put writes a file and its link HHHHHHHH.N.
func (w *certWriter) put(name, hash string, text []byte) (string, error) {
	if err := os.WriteFile(filepath.Join(w.dir, name), text, 0o644); err != nil {
		return "", err
	}
	for n := range 1000 {
		link := fmt.Sprintf("%s.%d", hash, n)
		err := os.Symlink(name, filepath.Join(w.dir, link))
		if err == nil {
			return link, nil
		}
		if !errors.Is(err, os.ErrExist) {
			return "", err
		}
	}
	return "", errors.New("a thousand certificates have this subject")
}

// replaceDir puts fresh in the place of dir.
func replaceDir(fresh, dir string) error {
	old := strings.TrimRight(dir, "/") + ".old"
	if err := os.RemoveAll(old); err != nil {
		return fmt.Errorf("write certificates: %w", err)
	}
	if err := os.Rename(dir, old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("write certificates: %w", err)
	}
	if err := os.Rename(fresh, dir); err != nil {
		return fmt.Errorf("write certificates: %w", err)
	}
	return os.RemoveAll(old)
}

// subjectHash is OpenSSL's X509_NAME_hash: the first four octets, little-endian,
// of the SHA-1 of the name's RDNs, text as UTF-8 in lower case with single blanks.
func subjectHash(raw []byte) (string, error) {
	var rdns []asn1.RawValue
	if rest, err := asn1.Unmarshal(raw, &rdns); err != nil || len(rest) > 0 {
		return "", errors.New("its subject can not be read")
	}
	var canon []byte
	for _, rdn := range rdns {
		b, err := canonRDN(rdn)
		if err != nil {
			return "", err
		}
		canon = append(canon, b...)
	}
	sum := sha1.Sum(canon)
	return fmt.Sprintf("%08x", binary.LittleEndian.Uint32(sum[:])), nil
}

// canonRDN writes one RDN, a SET of attributes, in its canonical form.
func canonRDN(rdn asn1.RawValue) ([]byte, error) {
	var set []byte
	for rest := rdn.Bytes; len(rest) > 0; {
		var attr struct {
			Type  asn1.ObjectIdentifier
			Value asn1.RawValue
		}
		var err error
		if rest, err = asn1.Unmarshal(rest, &attr); err != nil {
			return nil, errors.New("its subject can not be read")
		}
		switch attr.Value.Tag {
		case asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagIA5String, 26: // 26: VisibleString
			text := canonText(attr.Value.Bytes)
			attr.Value = asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: text}
		}
		b, err := asn1.Marshal(attr)
		if err != nil {
			return nil, fmt.Errorf("write the subject: %w", err)
		}
		set = append(set, b...)
	}
	return asn1.Marshal(asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: set})
}

// canonText is ASCII in lower case, runs of blanks as one, none at the ends; other
// octets stay.
func canonText(b []byte) []byte {
	out := make([]byte, 0, len(b))
	blank := false
	for _, c := range b {
		switch {
		case c == ' ' || c >= '\t' && c <= '\r':
			blank = true
			continue
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		}
		if blank && len(out) > 0 {
			out = append(out, ' ')
		}
		blank = false
		out = append(out, c)
	}
	return out
}
