package invite

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
)

// Bounds of a code.
const (
	maxCode      = 1500 // characters
	maxHost      = 255  // octets
	maxAddresses = 4
	secretLen    = 16
	sumLen       = 4
)

// prefix says what the code is, and which version.
const prefix = "litfass1."

// ErrCode: the text is no invitation, or it was not copied whole.
var ErrCode = errors.New("this is no invitation code, or a part of it is missing: copy it whole, from " + prefix + " to its end")

// Code is what an invitation says.
type Code struct {
	Host      string            // the inviting node's path identity
	Addresses []string          // where it can be reached: host:port, nntps://host:port for implicit TLS; 1 to 4
	Key       [sha256.Size]byte // SHA-256 of its TLS key's SubjectPublicKeyInfo
	Secret    [secretLen]byte   // works once
}

// String is the code as people copy it: letters, digits, "-", "_" and one dot.
func (c Code) String() string {
	b := append(append([]byte{}, c.Key[:]...), c.Secret[:]...)
	b = append(b, c.Host+"\n"+strings.Join(c.Addresses, "\n")...)
	sum := sha256.Sum256(b)
	return prefix + base64.RawURLEncoding.EncodeToString(append(b, sum[:sumLen]...))
}

// Parse reads a code; white space in it, as mail programs add, does not matter.
// Its error is ErrCode.
func Parse(text string) (Code, error) {
	var c Code
	if len(text) > 2*maxCode {
		return c, ErrCode
	}
	text = strings.Join(strings.Fields(text), "")
	b64, ok := strings.CutPrefix(text, prefix)
	if !ok || len(text) > maxCode {
		return c, ErrCode
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(b64)
	if err != nil || len(b) < sha256.Size+secretLen+sumLen {
		return c, ErrCode
	}
	body, sum := b[:len(b)-sumLen], b[len(b)-sumLen:]
	if want := sha256.Sum256(body); !bytes.Equal(sum, want[:sumLen]) {
		return c, ErrCode
	}
	body = body[copy(c.Key[:], body):]
	body = body[copy(c.Secret[:], body):]
	lines := strings.Split(string(body), "\n")
	c.Host, c.Addresses = lines[0], lines[1:]
	if err := c.check(); err != nil {
		return Code{}, fmt.Errorf("%w (%w)", ErrCode, err)
	}
	return c, nil
}

// check bounds what a code says; its sum proves nothing about who made it.
func (c Code) check() error {
	if c.Host == "" || len(c.Host) > maxHost || strings.ContainsFunc(c.Host, unfit) {
		return errors.New("the name in it is none")
	}
	if len(c.Addresses) == 0 || len(c.Addresses) > maxAddresses {
		return errors.New("it must hold one to four addresses")
	}
	for _, a := range c.Addresses {
		host, port, err := net.SplitHostPort(strings.TrimPrefix(a, "nntps://"))
		if err != nil || host == "" || port == "" || len(a) > maxHost || strings.ContainsFunc(a, unfit) {
			return errors.New("an address in it is none")
		}
	}
	return nil
}

// unfit: not a visible ASCII character.
func unfit(r rune) bool { return r <= ' ' || r > '~' }
