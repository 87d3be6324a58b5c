package webforum

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// limiter counts requests by network (IPv4 address, IPv6 /64) in buckets that fill
// again. It forgets networks that are quiet, and keeps at most maxNets.
type limiter struct {
	mu   sync.Mutex
	nets map[netip.Prefix]*bucket
}

type bucket struct {
	read, write float64
	at          time.Time
}

const (
	maxNets   = 4096
	readRate  = 30.0  // requests a second that go on for ever
	readMost  = 300.0 // at once: a browser with pictures
	writeRate = 0.5
	writeMost = 30.0
)

func network(a netip.Addr) netip.Prefix {
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

func (l *limiter) allow(a netip.Addr, method string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := network(a)
	b := l.nets[key]
	if b == nil {
		if l.nets == nil || len(l.nets) >= maxNets {
			l.sweep(now)
		}
		b = &bucket{readMost, writeMost, now}
		l.nets[key] = b
	}
	if d := now.Sub(b.at).Seconds(); d > 0 {
		b.read, b.write, b.at = min(readMost, b.read+d*readRate), min(writeMost, b.write+d*writeRate), now
	}
	left := &b.read
	if method == "POST" {
		left = &b.write
	}
	if *left < 1 {
		return false
	}
	*left--
	return true
}

func (l *limiter) sweep(now time.Time) {
	kept := map[netip.Prefix]*bucket{}
	for k, b := range l.nets {
		if now.Sub(b.at) < time.Minute && len(kept) < maxNets/2 {
			kept[k] = b
		}
	}
	l.nets = kept
}

// captchas are small sums in words, asked of guests who are not trusted. A question
// is a signed token, so that nothing is kept until it is answered; each token holds once.
type captchas struct {
	secret []byte
	mu     sync.Mutex
	used   map[string]time.Time
}

const captchaAge = 2 * time.Hour

func (c *captchas) prepare(secret []byte) error {
	if c.used = map[string]time.Time{}; len(secret) >= 16 {
		c.secret = secret
		return nil
	}
	c.secret = make([]byte, 32)
	_, err := rand.Read(c.secret)
	return err
}

// question makes a token and the two numbers to be added, each 2 to 9.
func (c *captchas) question(now time.Time) (token string, a, b int) {
	var raw [12]byte
	_, _ = rand.Read(raw[:]) // never fails
	a, b = int(raw[0]%8)+2, int(raw[1]%8)+2
	raw[0], raw[1] = byte(a), byte(b) // masked below: not for all to read
	binary.BigEndian.PutUint32(raw[8:], uint32(now.Unix()))
	mask := c.mac("mask", raw[2:])
	open := append([]byte{raw[0] ^ mask[0], raw[1] ^ mask[1]}, raw[2:]...)
	return base64.RawURLEncoding.EncodeToString(append(open, c.mac("token", open)[:12]...)), a, b
}

func (c *captchas) mac(what string, b []byte) []byte {
	m := hmac.New(sha256.New, c.secret)
	m.Write([]byte("litfass captcha " + what))
	m.Write(b)
	return m.Sum(nil)
}

// check says whether an answer is right; it spends the token.
func (c *captchas) check(token, answer string, now time.Time) bool {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) != 24 || !hmac.Equal(b[12:], c.mac("token", b[:12])[:12]) {
		return false
	}
	at := time.Unix(int64(binary.BigEndian.Uint32(b[8:12])), 0)
	if now.Sub(at) > captchaAge || at.Sub(now) > time.Minute {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, spent := c.used[token]; spent {
		return false
	}
	if len(c.used) > 10000 {
		for k, t := range c.used {
			if now.Sub(t) > captchaAge {
				delete(c.used, k)
			}
		}
	}
	if len(c.used) > 20000 {
		return false
	}
	c.used[token] = now
	mask := c.mac("mask", b[2:12])
	n, err := strconv.Atoi(strings.TrimSpace(answer))
	return err == nil && n == int(b[0]^mask[0])+int(b[1]^mask[1])
}
