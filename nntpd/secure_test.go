package nntpd

import (
	"bufio"
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/flate"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/internal/nntp"
	"github.com/litfass/litfass/internal/tlsid"
)

func identity(t testing.TB) *tlsid.Identity {
	t.Helper()
	id, err := tlsid.Open(tlsid.Config{KeyFile: filepath.Join(t.TempDir(), "key"), Names: []string{"news.example"}})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// implicit opens a listener for TLS and returns its address.
func (n *node) implicit(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- n.ServeTLS(context.Background(), l) }()
	t.Cleanup(func() {
		_ = n.Shutdown(context.Background())
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// A neighbour is known by the key it shows, by STARTTLS and by implicit TLS.
func TestPeerByKey(t *testing.T) {
	ours, theirs := identity(t), identity(t)
	n := start(t, nodeConfig{untrusted: true, edit: func(c *Config) {
		c.TLS, c.OfferTLS = ours.Server(), ours.Configured
	}, agent: func(a *agent.Agent) { a.Peers = agent.PeerList{{Name: "box", Key: theirs.Pin()}} }})
	for _, d := range []nntp.Dialer{
		{Address: n.addr, TLS: nntp.TLSStart, Pin: ours.Pin(), Config: theirs.Client()},
		{Address: n.implicit(t), TLS: nntp.TLSImplicit, Pin: ours.Pin(), Config: theirs.Client()},
	} {
		c, err := d.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := c.ModeStream(); !ok || err != nil {
			t.Errorf("MODE STREAM: %v %v", ok, err)
		}
		caps, err := c.Capabilities()
		if err != nil || !caps.Has("STREAMING") || caps.Has("STARTTLS") {
			t.Errorf("%v %v", caps, err)
		}
		if err := c.Quit(); err != nil {
			t.Error(err)
		}
		d.Config = identity(t).Client() // somebody else's key
		if c, err = d.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		if ok, err := c.ModeStream(); ok {
			t.Errorf("a stranger feeds: %v", err)
		}
		_ = c.Quit()
		d.Pin = theirs.Pin()
		if _, err := d.Connect(t.Context()); err == nil || !strings.Contains(err.Error(), "pinned") {
			t.Errorf("a wrong server: %v", err)
		}
	}
}

// STARTTLS: listed only if offered; what was said before does not count; no
// commands may come in one piece with it.
func TestStartTLS(t *testing.T) {
	id, offered := identity(t), false
	n := start(t, nodeConfig{anonymous: "none", accounts: true, untrusted: true, edit: func(c *Config) {
		c.TLS, c.OfferTLS = id.Server(), func() bool { return offered }
	}})
	d := nntp.Dialer{Address: n.addr, TLS: nntp.TLSIfListed}
	c, err := d.Connect(t.Context())
	if err != nil || c.Secure {
		t.Fatalf("used though not listed: %v", err)
	}
	_ = c.Quit()
	offered = true
	d.User, d.Password = "anna", "secret word"
	if c, err = d.Connect(t.Context()); err != nil || !c.Secure {
		t.Fatalf("not used though listed: %v", err)
	}
	caps, err := c.Capabilities()
	if err != nil || caps.Has("STARTTLS") || caps.Has("AUTHINFO") {
		t.Errorf("%v %v", caps, err)
	}
	_ = c.Quit()

	conn := n.dial(t)
	r := bufio.NewReader(conn)
	if _, err := io.WriteString(conn, "STARTTLS\r\nPOST\r\n"); err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil || !strings.Contains(string(out), "\r\n501 ") || strings.Contains(string(out), "382") {
		t.Errorf("commands behind STARTTLS: %q %v", out, err)
	}

	conn = n.dial(t)
	r = bufio.NewReader(conn)
	_, _ = r.ReadString('\n')
	_, _ = io.WriteString(conn, "STARTTLS\r\n")
	if l, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(l, "382") {
		t.Fatalf("%q %v", l, err)
	}
	tc := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	_, _ = io.WriteString(tc, "STARTTLS\r\n")
	if l, err := bufio.NewReader(tc).ReadString('\n'); err != nil || !strings.HasPrefix(l, "502") {
		t.Errorf("twice: %q %v", l, err)
	}
}

// What is no handshake, and a handshake that never comes, cost nothing.
func TestNoHandshake(t *testing.T) {
	id := identity(t)
	n := start(t, nodeConfig{edit: func(c *Config) { c.TLS = id.Server() }})
	at := n.implicit(t)
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "MODE READER\r\n")
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.ReadAll(c)
	if n.Counts.BadHandshakes.Load() != 1 {
		t.Error("clear text is taken for TLS")
	}
	silent, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	wait(t, func() bool { return n.Open() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := n.Shutdown(ctx); err != nil {
		t.Errorf("a silent client holds the end up: %v", err)
	}
}

// scramLogin is a client of RFC 5802; it returns the last answer.
func scramLogin(t *testing.T, n *node, name, password string, spoil func(string) string) string {
	t.Helper()
	c := n.dial(t)
	r := bufio.NewReader(c)
	ask := func(s string) string {
		_, _ = io.WriteString(c, s+"\r\n")
		l, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimRight(l, "\r\n")
	}
	b64 := base64.StdEncoding
	_, _ = r.ReadString('\n')
	bare := "n=" + name + ",r=abc"
	l := ask("AUTHINFO SASL SCRAM-SHA-256 " + b64.EncodeToString([]byte("n,,"+bare)))
	if !strings.HasPrefix(l, "383 ") {
		return l
	}
	first, _ := b64.DecodeString(l[4:])
	var nonce, salt64 string
	var rounds int
	for _, a := range strings.Split(string(first), ",") {
		switch a[:2] {
		case "r=":
			nonce = a[2:]
		case "s=":
			salt64 = a[2:]
		case "i=":
			_, _ = fmt.Sscan(a[2:], &rounds)
		}
	}
	salt, _ := b64.DecodeString(salt64)
	salted, err := pbkdf2.Key(sha256.New, password, salt, rounds, 32)
	if err != nil {
		t.Fatal(err)
	}
	final := "c=biws,r=" + nonce
	auth := bare + "," + string(first) + "," + final
	key := mac(salted, "Client Key")
	stored := sha256.Sum256(key)
	sig := mac(stored[:], auth)
	for i := range sig {
		sig[i] ^= key[i]
	}
	final += ",p=" + b64.EncodeToString(sig)
	if spoil != nil {
		final = spoil(final)
	}
	l = ask(b64.EncodeToString([]byte(final)))
	if want := "283 " + b64.EncodeToString([]byte("v="+b64.EncodeToString(mac(mac(salted, "Server Key"), auth)))); strings.HasPrefix(l, "283") && l != want {
		t.Errorf("server's signature: %s, want %s", l, want)
	}
	return l
}

func TestScram(t *testing.T) {
	n := start(t, nodeConfig{anonymous: "none", accounts: true, untrusted: true})
	for _, c := range []struct {
		name, password string
		spoil          func(string) string
		want           string
	}{
		{"anna", "secret word", nil, "283"},
		{"anna", "secret", nil, "481"},
		{"nobody", "secret", nil, "481"},
		{"an=zz", "x", nil, "481"},
		{"", "x", nil, "481"},
		{"anna", "secret word", func(s string) string { return strings.Replace(s, "c=biws", "c=eSws", 1) }, "481"},
		{"anna", "secret word", func(s string) string { return strings.Replace(s, "r=abc", "r=abd", 1) }, "481"},
		{"anna", "secret word", func(s string) string { return s[:strings.Index(s, ",p=")] }, "481"},
	} {
		if got := scramLogin(t, n, c.name, c.password, c.spoil); !strings.HasPrefix(got, c.want) {
			t.Errorf("%q %q: %s, want %s", c.name, c.password, got, c.want)
		}
	}
}

func FuzzScram(f *testing.F) {
	f.Add("n,,n=user,r=abc", "c=biws,r=abcxyz,p=AAAA")
	f.Add("y,a=x=2Cy,n=x=2Cy,r=r", "c=,r=,p=")
	f.Fuzz(func(t *testing.T, first, final string) {
		s, err := newScram(first, "xyz")
		if err != nil {
			return
		}
		s.keys.StoredKey, s.keys.ServerKey = make([]byte, 32), make([]byte, 32)
		s.serverFirst()
		if ok, _ := s.check(final); ok {
			t.Fatalf("a proof without key: %q %q", first, final)
		}
	})
}

// TestCompress reads, posts and streams over COMPRESS DEFLATE, over TLS and not.
func TestCompress(t *testing.T) {
	id := identity(t)
	n := start(t, nodeConfig{peer: true, edit: func(c *Config) { c.TLS = id.Server() }})
	for _, way := range []nntp.TLS{nntp.TLSNone, nntp.TLSStart} {
		d := nntp.Dialer{Address: n.addr, TLS: way, Pin: id.Pin(), Compress: new(nntp.Compressors)}
		if way == nntp.TLSNone {
			d.Pin = ""
		}
		c, err := d.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		caps, err := c.Capabilities()
		if err != nil || caps.Has("COMPRESS") || caps.Has("STARTTLS") || caps.Has("AUTHINFO") {
			t.Errorf("%v %v", caps, err)
		}
		for range 3 {
			if b, err := c.Article("<1@mesh.example>", 1<<20); err != nil || !strings.Contains(string(b), "\r\n..dot\r\nline\r\n") {
				t.Errorf("%q %v", b, err)
			}
		}
		if err := c.Quit(); err != nil {
			t.Error(err)
		}
	}
	wait(t, func() bool { return n.compressed.Load() == 0 })
}

func TestCompressBounds(t *testing.T) {
	n := start(t, nodeConfig{edit: func(c *Config) { c.MaxCompressed = 1 }})
	begin := func() (net.Conn, string) {
		c := n.dial(t)
		r := bufio.NewReader(c)
		_, _ = r.ReadString('\n')
		_, _ = io.WriteString(c, "COMPRESS DEFLATE\r\n")
		l, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return c, l
	}
	one, l := begin()
	if !strings.HasPrefix(l, "206") {
		t.Fatal(l)
	}
	if _, l := begin(); !strings.HasPrefix(l, "403") {
		t.Errorf("one too many: %s", l)
	}
	// A bomb: 200 MiB of one letter, 200 KiB on the wire.
	w, err := flate.NewWriter(one, 9)
	if err != nil {
		t.Fatal(err)
	}
	block := []byte(strings.Repeat("A", 1<<20))
	for range 200 {
		if _, err = w.Write(block); err != nil {
			break
		}
	}
	_ = w.Flush()
	_, _ = io.ReadAll(one) // until it is closed
	wait(t, func() bool { return n.compressed.Load() == 0 })
	if got := n.Counts.OctetsIn.Load(); got > 3<<20 {
		t.Errorf("%d octets of a line were read", got)
	}
	if _, l := begin(); !strings.HasPrefix(l, "206") {
		t.Errorf("afterwards: %s", l)
	}
}
