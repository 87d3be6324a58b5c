package nntp

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrServerProof: the server does not know our password's keys; it only pretends
// to have checked it (RFC 5802 §5).
var ErrServerProof = errors.New("server does not prove that it knows the account")

// maxRounds bounds the work that a server may ask of us: about a second.
const maxRounds = 1 << 20

// login takes the best way there is: SCRAM-SHA-256, by which no password crosses
// the wire; PLAIN under TLS; else AUTHINFO USER and PASS (RFC 4643 §2.3, §2.4).
func (c *Client) login(user, password string) error {
	if err := plain(user + password); err != nil {
		return fmt.Errorf("login: %w", err)
	}
	caps, err := c.Capabilities()
	var ce *CodeError
	if err != nil && !errors.As(err, &ce) {
		return err
	}
	switch {
	case caps.Has("SASL", "SCRAM-SHA-256"):
		return c.scram(user, password)
	case caps.Has("SASL", "PLAIN") && c.Secure && !caps.Has("AUTHINFO", "USER"):
		msg := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password)) // RFC 4616 §2
		_, _, err := c.exchange("AUTHINFO SASL PLAIN", "AUTHINFO SASL PLAIN "+msg, CodeAuthOK)
		return err
	}
	code, _, err := c.cmd("AUTHINFO USER "+user, CodeAuthOK, CodeAuthMore)
	if err != nil || code == CodeAuthOK {
		return err
	}
	_, _, err = c.exchange("AUTHINFO PASS", "AUTHINFO PASS "+password, CodeAuthOK)
	return err
}

// scram is the client's side of SCRAM-SHA-256: RFC 5802 §5, RFC 7677.
func (c *Client) scram(user, password string) error {
	const doing = "AUTHINFO SASL SCRAM-SHA-256"
	b64 := base64.StdEncoding
	nonce := c.d.Nonce
	if nonce == "" {
		nonce = rand.Text()
	}
	bare := "n=" + strings.NewReplacer("=", "=3D", ",", "=2C").Replace(user) + ",r=" + nonce
	_, text, err := c.exchange(doing, doing+" "+b64.EncodeToString([]byte("n,,"+bare)), CodeAuthSASL)
	if err != nil {
		return err
	}
	first, err := b64.DecodeString(text)
	if err != nil {
		return fmt.Errorf("%s: the challenge: %w", doing, err)
	}
	final, want, err := scramProof(bare, string(first), nonce, password)
	if err != nil {
		_, _, _ = c.exchange(doing, "*", CodeAuthRejected) // RFC 4643 §2.4.2: we give up
		return fmt.Errorf("%s: %w", doing, err)
	}
	code, text, err := c.exchange(doing, b64.EncodeToString([]byte(final)), CodeAuthSASLOK, CodeAuthSASL)
	if err != nil {
		return err
	}
	last, err := b64.DecodeString(text)
	if err != nil {
		return fmt.Errorf("%s: the last message: %w", doing, err)
	}
	got, isProof := strings.CutPrefix(string(last), "v=")
	sum, err := b64.DecodeString(got)
	if err != nil || !isProof || subtle.ConstantTimeCompare(sum, want) != 1 {
		return fmt.Errorf("%s: %w", doing, ErrServerProof)
	}
	if code == CodeAuthSASL { // the server's last message came as a challenge
		_, _, err = c.exchange(doing, "=", CodeAuthOK, CodeAuthSASLOK)
	}
	return err
}

// scramProof reads the server's first message and makes our last one, and the
// proof that the server must give.
func scramProof(bare, first, nonce, password string) (final string, server []byte, err error) {
	attrs := strings.Split(first, ",")
	if len(attrs) < 3 || !strings.HasPrefix(attrs[0], "r="+nonce) || len(attrs[0]) == len("r="+nonce) ||
		!strings.HasPrefix(attrs[1], "s=") || !strings.HasPrefix(attrs[2], "i=") {
		return "", nil, errors.New("the challenge is none of SCRAM, or not for us")
	}
	salt, err := base64.StdEncoding.DecodeString(attrs[1][2:])
	if err != nil {
		return "", nil, fmt.Errorf("the salt: %w", err)
	}
	rounds, err := strconv.Atoi(attrs[2][2:])
	if err != nil || rounds < 1 || rounds > maxRounds {
		return "", nil, fmt.Errorf("%.20q rounds are asked of us", attrs[2][2:])
	}
	salted, err := pbkdf2.Key(sha256.New, password, salt, rounds, sha256.Size)
	if err != nil {
		return "", nil, err
	}
	key := hmac256(salted, "Client Key")
	stored := sha256.Sum256(key)
	final = "c=biws," + attrs[0] // biws: "n,," in base64, no channel binding
	auth := bare + "," + first + "," + final
	proof := hmac256(stored[:], auth)
	for i := range proof {
		proof[i] ^= key[i]
	}
	return final + ",p=" + base64.StdEncoding.EncodeToString(proof), hmac256(hmac256(salted, "Server Key"), auth), nil
}

func hmac256(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
