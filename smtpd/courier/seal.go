package courier

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"io"
	"strings"
	"sync"
	"time"
)

// signedFields are the fields that DKIM covers: RFC 6376 §5.4.1. What differs from one
// subscriber to the next stands at the end, so that the rest is hashed once; RFC 8058 §4
// wants it covered.
var signedFields = []string{"From", "To", "Subject", "Date", "Message-ID", "References", "Reply-To", "MIME-Version", "Content-Type", "List-Id"}

var ownFields = []string{"List-Unsubscribe", "List-Unsubscribe-Post"}

// A Seal is a DKIM key of the domain, and where its public half stands.
type Seal struct {
	Key      crypto.Signer // RSA or Ed25519
	Selector string
}

// start begins a DKIM-Signature field, up to b=, and says how the key signs.
func (k Seal) start(domain string, at time.Time, fields []string, body []byte) (string, crypto.SignerOpts) {
	algorithm, opts := "rsa-sha256", crypto.SignerOpts(crypto.SHA256)
	if _, ok := k.Key.Public().(ed25519.PublicKey); ok { // RFC 8463: signs the hash as if it were the message
		algorithm, opts = "ed25519-sha256", crypto.Hash(0)
	}
	return fmt.Sprintf("DKIM-Signature: v=1; a=%s; c=relaxed/relaxed; d=%s; s=%s;\r\n t=%d; h=%s;\r\n bh=%s;\r\n b=", algorithm, domain, k.Selector,
		at.Unix(), strings.Join(fields, ":"), base64.StdEncoding.EncodeToString(body)), opts
}

// end signs what h has read and the field that start begins, and returns all of it.
func (k Seal) end(h hash.Hash, start string, opts crypto.SignerOpts) (string, error) {
	h.Write(bytes.TrimSuffix(relaxField([]byte(start)), []byte("\r\n")))
	sig, err := k.Key.Sign(rand.Reader, h.Sum(nil), opts)
	if err != nil {
		return "", fmt.Errorf("sign a mail: %w", err)
	}
	b := base64.StdEncoding.EncodeToString(sig)
	var out strings.Builder
	out.WriteString(start)
	for len(b) > 72 {
		out.WriteString(b[:72] + "\r\n ")
		b = b[72:]
	}
	return out.String() + b + "\r\n", nil
}

// seal signs a letter for one subscriber after the other (RFC 6376, relaxed/relaxed).
// go-msgauth would read and hash the whole mail anew for each; the tests verify with it.
type seal struct {
	key    Seal
	opts   crypto.SignerOpts
	shared hash.Cloner // has read the fields that all subscribers get alike
	start  string
	common string // a whole field over what all get alike, or ""
}

// newSeal hashes what all subscribers get alike, and signs it once if there is a key for
// that.
func (c *Courier) newSeal(l letter) (*seal, error) {
	s := &seal{key: c.cfg.DKIM}
	h := sha256.New()
	fields := lastFields(l.head)
	for _, name := range signedFields {
		if f, ok := fields[strings.ToLower(name)]; ok {
			h.Write(f)
		}
	}
	s.shared = h.(hash.Cloner)
	body := sha256.New()
	relaxBody(body, l.body)
	now := c.cfg.Now()
	s.start, s.opts = s.key.start(c.cfg.Domain, now, append(signedFields[:len(signedFields):len(signedFields)], ownFields...), body.Sum(nil))
	if c.cfg.Common.Key == nil {
		return s, nil
	}
	of := [2][sha256.Size]byte{[sha256.Size]byte(h.Sum(nil)), [sha256.Size]byte(body.Sum(nil))}
	var err error
	s.common, err = c.commons.of(of, func() (string, error) {
		start, opts := c.cfg.Common.start(c.cfg.Domain, now, signedFields, body.Sum(nil))
		own, err := s.shared.Clone()
		if err != nil {
			return "", fmt.Errorf("go on from a hash: %w", err)
		}
		return c.cfg.Common.end(own, start, opts)
	})
	return s, err
}

// commons are the last common signatures: the rows of a letter need the same one.
type commons struct {
	mu   sync.Mutex
	last []commonSeal
}

type commonSeal struct {
	of    [2][sha256.Size]byte // header and body
	field string
}

const keptCommons = 8

// of returns the signature of a letter, made if it is not there.
func (c *commons) of(of [2][sha256.Size]byte, sign func() (string, error)) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.last {
		if k.of == of {
			return k.field, nil
		}
	}
	field, err := sign()
	if err != nil {
		return "", err
	}
	c.last = append(c.last[max(0, len(c.last)-keptCommons+1):], commonSeal{of, field})
	return field, nil
}

// sign returns the DKIM-Signature fields for a subscriber whose own fields are extra.
func (s *seal) sign(extra string) (string, error) {
	h, err := s.shared.Clone()
	if err != nil {
		return "", fmt.Errorf("go on from a hash: %w", err)
	}
	fields := lastFields([]byte(extra))
	for _, name := range ownFields {
		h.Write(fields[strings.ToLower(name)])
	}
	own, err := s.key.end(h, s.start, s.opts)
	return s.common + own, err
}

// lastFields are the fields of a header by name, relaxed, of several the last: RFC 6376
// §5.4.2.
func lastFields(head []byte) map[string][]byte {
	out := map[string][]byte{}
	for len(head) > 0 {
		n := bytes.IndexByte(head, '\n') + 1
		for n > 0 && n < len(head) && (head[n] == ' ' || head[n] == '\t') {
			n += bytes.IndexByte(head[n:], '\n') + 1
		}
		if n <= 0 {
			n = len(head)
		}
		if f := relaxField(head[:n]); f != nil {
			name, _, _ := bytes.Cut(f, []byte(":"))
			out[string(name)] = f
		}
		head = head[n:]
	}
	return out
}

// relaxField is a field with its CRLF as RFC 6376 §3.4.2 wants it; nil if it is none.
func relaxField(field []byte) []byte {
	name, value, ok := bytes.Cut(field, []byte(":"))
	if !ok {
		return nil
	}
	out := append(bytes.ToLower(bytes.TrimRight(name, " \t")), ':')
	out = relaxBlanks(out, bytes.Trim(bytes.ReplaceAll(value, []byte("\r\n"), nil), " \t\r\n"))
	return append(out, '\r', '\n')
}

// relaxBlanks appends s with one space in the place of blanks.
func relaxBlanks(out, s []byte) []byte {
	for i, c := range s {
		switch {
		case c != ' ' && c != '\t':
			out = append(out, c)
		case i == 0 || s[i-1] != ' ' && s[i-1] != '\t':
			out = append(out, ' ')
		}
	}
	return out
}

// relaxBody writes a body, whose lines end with CRLF, as RFC 6376 §3.4.4 wants it.
func relaxBody(w io.Writer, body []byte) {
	var line []byte
	empty := 0
	for len(body) > 0 {
		n := bytes.Index(body, []byte("\r\n"))
		text := body
		if n >= 0 {
			text, body = body[:n], body[n+2:]
		} else {
			body = nil
		}
		if text = bytes.TrimRight(text, " \t"); len(text) == 0 {
			empty++
			continue
		}
		line = line[:0]
		for ; empty > 0; empty-- {
			line = append(line, '\r', '\n')
		}
		line = append(relaxBlanks(line, text), '\r', '\n')
		_, _ = w.Write(line) // into a hash
	}
}
