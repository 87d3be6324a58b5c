package pki

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
)

// SubjectKind says what an arrow points to.
type SubjectKind uint8

// The kinds of subjects (§1).
const (
	SubjectID      SubjectKind = iota + 1 // an identity
	SubjectKey                            // an Ed25519 key
	SubjectX25519                         // an encryption key
	SubjectSPKI                           // the SHA-256 of a TLS key
	SubjectOpenPGP                        // the fingerprint of a certificate
)

// Subject is what an arrow points to. It is comparable.
type Subject struct {
	Kind SubjectKind
	Hash [32]byte // the identity, the key, the hash; of an OpenPGP fingerprint, its octets at the front
	Len  uint8    // octets of an OpenPGP fingerprint, else 0
}

var subjectPrefixes = [...]string{
	SubjectID: "id:", SubjectKey: "key:ed25519:", SubjectX25519: "key:x25519:", SubjectSPKI: "spki:sha256:", SubjectOpenPGP: "openpgp:",
}

// Subject is the key as subjects of arrows name it.
func (k Key) Subject() Subject { return Subject{Kind: SubjectKey, Hash: k} }

// ParseSubject reads a subject as §1 writes it.
func ParseSubject(s string) (Subject, error) {
	for kind, prefix := range subjectPrefixes {
		rest, ok := strings.CutPrefix(s, prefix)
		if !ok || prefix == "" {
			continue
		}
		switch SubjectKind(kind) {
		case SubjectID:
			id, err := ParseID(rest)
			if err != nil || strings.HasPrefix(rest, "id:") {
				return Subject{}, errors.New("names no identity: 52 characters a-z and 2-7")
			}
			return id.Subject(), nil
		case SubjectOpenPGP:
			return parseFingerprint(rest)
		}
		h, err := parse32(rest)
		return Subject{Kind: SubjectKind(kind), Hash: h}, err
	}
	return Subject{}, errors.New("is no subject: id:, key:ed25519:, key:x25519:, spki:sha256: or openpgp:")
}

// parseFingerprint reads 40 or 64 lower-case hexadecimal digits (RFC 9580 §5.5.4).
func parseFingerprint(s string) (Subject, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 20 && len(b) != 32 || strings.ToLower(s) != s {
		return Subject{}, errors.New("is no OpenPGP fingerprint: 40 or 64 lower-case hexadecimal digits")
	}
	sub := Subject{Kind: SubjectOpenPGP, Len: uint8(len(b))}
	copy(sub.Hash[:], b)
	return sub, nil
}

// String writes the subject as §1 wants it.
func (s Subject) String() string {
	switch s.Kind {
	case SubjectID:
		return "id:" + ID(s.Hash).String()
	case SubjectOpenPGP:
		return "openpgp:" + hex.EncodeToString(s.Hash[:s.Len])
	case SubjectKey, SubjectX25519, SubjectSPKI:
		return subjectPrefixes[s.Kind] + b64.EncodeToString(s.Hash[:])
	}
	return ""
}

// SPKI is the subject for a TLS key's DER-encoded SubjectPublicKeyInfo.
func SPKI(der []byte) Subject { return Subject{Kind: SubjectSPKI, Hash: sha256.Sum256(der)} }
