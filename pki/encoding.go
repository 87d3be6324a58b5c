package pki

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"strings"
)

// Digest is a SHA-256: of a signed part, a key text, a policy or a signing input.
type Digest [32]byte

// String is the digest in b64 (§1).
func (d Digest) String() string { return b64.EncodeToString(d[:]) }

// Key is an Ed25519 public key.
type Key [32]byte

// Text is the key text: "ed25519 " and the key in b64.
func (k Key) Text() string { return "ed25519 " + b64.EncodeToString(k[:]) }

// String is the key in b64.
func (k Key) String() string { return b64.EncodeToString(k[:]) }

// Digest is the key digest: SHA-256 of the key text.
func (k Key) Digest() Digest { return sha256.Sum256([]byte(k.Text())) }

// KeyOf returns the public half of a private key.
func KeyOf(priv ed25519.PrivateKey) Key { return Key(priv.Public().(ed25519.PublicKey)) }

// ID is an identity: the digest of its inception. It is written in b32, 52 characters.
type ID [32]byte

// String is the identity in b32 (§1).
func (id ID) String() string { return b32.EncodeToString(id[:]) }

// Subject is the identity as subjects of arrows name it.
func (id ID) Subject() Subject { return Subject{Kind: SubjectID, Hash: id} }

// IsZero says whether this is no identity.
func (id ID) IsZero() bool { return id == ID{} }

var (
	b64 = base64.RawURLEncoding.Strict()
	b32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

	errB64 = errors.New("is not strict base64url of 32 octets")
)

// ParseID reads an identity: 52 characters of b32, unused bits zero. "id:" in front is allowed.
func ParseID(s string) (ID, error) {
	var id ID
	s = strings.TrimPrefix(s, "id:")
	if len(s) != 52 || strings.ContainsAny(s, "\r\n") {
		return id, errors.New("an identity has 52 characters a-z and 2-7")
	}
	n, err := b32.Decode(id[:], []byte(s))
	if err != nil || n != 32 || id.String() != s { // base32 has no Strict
		return ID{}, errors.New("an identity has 52 characters a-z and 2-7")
	}
	return id, nil
}

// parse32 reads 43 characters of strict b64.
func parse32(s string) (out [32]byte, err error) {
	if len(s) != 43 || strings.ContainsAny(s, "\r\n") {
		return out, errB64
	}
	if n, err := b64.Decode(out[:], []byte(s)); err != nil || n != 32 {
		return out, errB64
	}
	return out, nil
}

// parse64 reads 86 characters of strict b64.
func parse64(s string) (out [64]byte, err error) {
	if len(s) != 86 || strings.ContainsAny(s, "\r\n") {
		return out, errors.New("is not strict base64url of 64 octets")
	}
	if n, err := b64.Decode(out[:], []byte(s)); err != nil || n != 64 {
		return out, errors.New("is not strict base64url of 64 octets")
	}
	return out, nil
}

// ParseKey reads a key text.
func ParseKey(s string) (Key, error) {
	rest, ok := strings.CutPrefix(s, "ed25519 ")
	if !ok {
		return Key{}, errors.New("is not a key text (ed25519 KEY)")
	}
	k, err := parse32(rest)
	return Key(k), err
}

// parseNumber reads a decimal number: no sign, no leading zero, below 2^63.
func parseNumber(s string) (uint64, error) {
	if s == "" || len(s) > 19 || s[0] == '0' && len(s) > 1 {
		return 0, errNumber
	}
	var n uint64
	for i := 0; i < len(s); i++ {
		c := s[i] - '0'
		if c > 9 {
			return 0, errNumber
		}
		n = n*10 + uint64(c)
	}
	if n >= 1<<63 {
		return 0, errNumber
	}
	return n, nil
}

var errNumber = errors.New("is not a number below 2^63 without sign or leading zero")
