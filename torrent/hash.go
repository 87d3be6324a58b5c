package torrent

import (
	"encoding/base32"
	"encoding/hex"
	"errors"
	"strings"
)

// Infohash is the SHA-1 of an info dictionary: a torrent's address.
type Infohash [20]byte

// Sum is the SHA-256 of a whole file: its identity.
type Sum [32]byte

// String returns 40 lower-case hexadecimal digits.
func (h Infohash) String() string { return hex.EncodeToString(h[:]) }

// String returns 64 lower-case hexadecimal digits.
func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// IsZero says that the sum is not known.
func (s Sum) IsZero() bool { return s == Sum{} }

var errHash = errors.New("no infohash: 40 hexadecimal digits or 32 letters of base32 are")

// ParseInfohash reads 40 hexadecimal digits or 32 letters of base32, of either case.
// Of zeros alone is no infohash: the engine ends the process on it.
func ParseInfohash(s string) (h Infohash, err error) {
	var b []byte
	switch len(s) {
	case 40:
		b, err = hex.DecodeString(s)
	case 32:
		b, err = base32.StdEncoding.DecodeString(strings.ToUpper(s))
	default:
		return h, errHash
	}
	if err != nil || len(b) != len(h) || Infohash(b) == h {
		return h, errHash
	}
	return Infohash(b), nil
}

// ParseSum reads 64 hexadecimal digits.
func ParseSum(s string) (Sum, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 32 {
		return Sum{}, errors.New("no SHA-256: 64 hexadecimal digits are")
	}
	return Sum(b), nil
}
