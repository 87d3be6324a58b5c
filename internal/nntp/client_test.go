package nntp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
)

// play is a server that says and expects the lines of a script: "S: " is what it
// says ("S- ": without CRLF behind, LF for one), "C: " what the client must send, "TLS" a
// handshake. It ends the connection after the last line, "STALL" holds it open.
func play(t *testing.T, script string, tc *tls.Config) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(done)
		nc, err := l.Accept()
		if err != nil {
			return
		}
		defer nc.Close()
		c := NewConn(nc, Options{ReadTimeout: 5 * time.Second})
		for _, line := range strings.Split(strings.TrimSpace(script), "\n") {
			line = strings.TrimLeft(line, "\t")
			verb, rest, _ := strings.Cut(line, " ")
			switch verb {
			case "S:":
				c.Str(rest + "\r\n")
			case "S-":
				c.Str(strings.ReplaceAll(rest, "LF", "\n"))
			case "C:":
				c.Flush()
				got, err := c.Line(MaxAnswer)
				if err != nil || string(got) != rest {
					t.Errorf("server read %q, %v, want %q", got, err, rest)
					return
				}
			case "TLS":
				c.Flush()
				s := tls.Server(nc, tc)
				if err := s.Handshake(); err != nil {
					return // the client's test says why
				}
				c.Upgrade(s)
			case "STALL":
				c.Flush()
				<-stop
			default:
				t.Errorf("script: %q", line)
			}
		}
		c.Flush()
	}()
	t.Cleanup(func() { close(stop); l.Close(); <-done })
	return l.Addr().String()
}

func dialer(addr string) Dialer {
	return Dialer{Address: addr, Timeout: 5 * time.Second, Answer: 5 * time.Second}
}

func connect(t *testing.T, d Dialer) *Client {
	t.Helper()
	c, err := d.Connect(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestClientReads(t *testing.T) {
	c := connect(t, dialer(play(t, `
		S: 200 hello
		C: CAPABILITIES
		S: 101 list
		S: VERSION 2
		S: READER
		S: LIST ACTIVE COUNTS
		S: .
		C: MODE READER
		S: 201 no posting
		C: DATE
		S: 111 20261123223000
		C: GROUP a.b
		S: 211 3 5 9 a.b
		C: OVER 5-9
		S: 500 what
		C: XOVER 5-9
		S: 224 here
		S: 5	s	f	d	<5@x>		100	2
		S: rubbish
		S: 77	s	f	d	<77@x>		100	2
		S: 6	..s	f	d	no id		100	2
		S: 9	s	f	d	<9@x>	<5@x>		
		S: .
		C: OVER 1-2
		S: 423 none
		C: ARTICLE <5@x>
		S: 220 0 <5@x>
		S: Subject: s
		S: 
		S: ..dot
		S: .
		C: HEAD 9
		S: 423 gone
		C: ARTICLE 7
		S: 220 7 <7@x>
		S: Subject: far too long
		S: 
		S: .
		C: ARTICLE 1
		C: ARTICLE 2
		C: ARTICLE 3
		S: 220 1 <1@x>
		S: A: b
		S: 
		S: .
		S: 423 no
		S: 220 3 <3@x>
		S: Subject: far too long
		S: 
		S: .
		C: STAT <5@x>
		S: 223 0 <5@x>
		C: STAT <6@x>
		S: 430 no
		C: NEWNEWS a.*,!a.c 20261123 220000 GMT
		S: 230 list
		S: <5@x>
		S: nonsense
		S: <9@x>
		S: .
		C: LIST COUNTS
		S: 215 list
		S: a.b 9 5 3 y
		S: .
		C: QUIT
		S: 205 bye`, nil)))
	if c.Code != 200 || c.Welcome != "hello" {
		t.Errorf("greeting %d %q", c.Code, c.Welcome)
	}
	caps, err := c.Capabilities()
	if err != nil || !caps.Has("READER") || !caps.Has("LIST", "counts") || caps.Has("LIST", "MOTD") || caps.Has("STARTTLS") {
		t.Errorf("capabilities %v, %v", caps, err)
	}
	check := func(what string, err error, ok bool, got any) {
		t.Helper()
		if err != nil || !ok {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
	check("MODE READER", c.ModeReader(), true, nil)
	now, err := c.Date()
	check("DATE", err, now.Equal(time.Date(2026, 11, 23, 22, 30, 0, 0, time.UTC)), now)
	n, lo, hi, err := c.Group("a.b")
	check("GROUP", err, n == 3 && lo == 5 && hi == 9, []uint64{n, lo, hi})
	var over []string
	err = c.Over(5, 9, func(n uint64, o article.Overview) error {
		over = append(over, fmt.Sprint(n, o.ID, o.Bytes))
		return nil
	})
	check("OVER", err, fmt.Sprint(over) == "[5<5@x>100 9<9@x>0]", over)
	check("OVER of none", c.Over(1, 2, nil), true, nil)
	wire, err := c.Article("<5@x>", 100)
	check("ARTICLE", err, string(wire) == "Subject: s\r\n\r\n..dot\r\n.\r\n", string(wire))
	_, err = c.Head("9", 100)
	check("HEAD of none", nil, IsCode(err, 423), err)
	_, err = c.Article("7", 10)
	check("ARTICLE too large", nil, errors.Is(err, ErrTooLarge), err)
	var many []string
	err = c.Articles([]string{"1", "2", "3"}, 12, func(i int, wire []byte, err error) error {
		many = append(many, fmt.Sprint(i, len(wire), IsCode(err, 423), errors.Is(err, ErrTooLarge)))
		return nil
	})
	check("ARTICLE of many", err, fmt.Sprint(many) == "[0 11 false false 1 0 true false 2 0 false true]", many)
	ok, err := c.Stat("<5@x>")
	check("STAT", err, ok, ok)
	ok, err = c.Stat("<6@x>")
	check("STAT of none", err, !ok, ok)
	var ids []article.ID
	err = c.NewNews("a.*,!a.c", time.Date(2026, 11, 23, 22, 0, 0, 0, time.UTC), func(id article.ID) error {
		ids = append(ids, id)
		return nil
	})
	check("NEWNEWS", err, len(ids) == 2 && ids[1] == "<9@x>", ids)
	var lines []string
	err = c.List("COUNTS", func(l []byte) error { lines = append(lines, string(l)); return nil })
	check("LIST", err, len(lines) == 1, lines)
	check("QUIT", c.Quit(), true, nil)
}

func TestClientFeeds(t *testing.T) {
	c := connect(t, dialer(play(t, `
		S: 200 hello
		C: IHAVE <1@x>
		S: 335 send
		C: A: b
		C: 
		C: .
		S: 235 thanks
		C: IHAVE <2@x>
		S: 435 no
		C: MODE STREAM
		S: 203 yes
		C: CHECK <3@x>
		C: CHECK <4@x>
		C: TAKETHIS <5@x>
		C: A: b
		C: 
		C: .
		S: 238 <3@x>
		S: 438 <4@x>
		S: 239 <5@x>
		C: POST
		S: 340 go
		C: A: b
		C: 
		C: .
		S: 441 no such group`, nil)))
	wire := []byte("A: b\r\n\r\n.\r\n")
	code, _, err := c.Ihave("<1@x>", wire)
	if code != 235 || err != nil {
		t.Errorf("IHAVE: %d, %v", code, err)
	}
	if code, _, err = c.Ihave("<2@x>", nil); code != 435 || err != nil {
		t.Errorf("IHAVE: %d, %v", code, err)
	}
	if ok, err := c.ModeStream(); !ok || err != nil {
		t.Errorf("MODE STREAM: %v, %v", ok, err)
	}
	c.Check("<3@x>")
	c.Check("<4@x>")
	c.TakeThis("<5@x>", wire)
	if err := c.Flush(); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"238 <3@x>", "438 <4@x>", "239 <5@x>"} {
		if code, text, err := c.Next(); err != nil || fmt.Sprintf("%d %s", code, text) != want {
			t.Errorf("answer %d %s, %v, want %s", code, text, err, want)
		}
	}
	if err := c.Post(wire); !IsCode(err, 441) || !strings.Contains(err.Error(), "no such group") {
		t.Errorf("POST: %v", err)
	}
}

func TestClientLogin(t *testing.T) {
	d := dialer(play(t, "S: 201 hello\nC: CAPABILITIES\nS: 500 what\nC: AUTHINFO USER u\nS: 381 more\nC: AUTHINFO PASS s3cret\nS: 481 no", nil))
	d.User, d.Password = "u", "s3cret"
	_, err := d.Connect(context.Background())
	if !IsCode(err, 481) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("login refused: %v", err)
	}
	d = dialer(play(t, "S: 201 hello\nC: CAPABILITIES\nS: 500 what\nC: AUTHINFO USER u\nS: 281 welcome", nil))
	d.User = "u"
	connect(t, d)
	d = dialer(play(t, "S: 201 hello\nSTALL", nil))
	d.User, d.Password = "u", "a\r\nPOST"
	if _, err := d.Connect(context.Background()); err == nil || strings.Contains(err.Error(), "answer") {
		t.Errorf("a password with CRLF was sent: %v", err)
	}
}

// TestClientHostile: a server that misbehaves gets an error within bounds.
func TestClientHostile(t *testing.T) {
	group := func(c *Client) error { _, _, _, err := c.Group("a"); return err }
	list := func(c *Client) error { return c.List("", func([]byte) error { return nil }) }
	tests := []struct {
		name, script string
		do           func(*Client) error
		want         string
	}{
		{"full", "S: 400 too many connections", nil, "greeting: 400 too many"},
		{"other protocol", "S: SSH-2.0-x", nil, ErrAnswer.Error()},
		{"bare LF", "S- 200 helloLF", nil, ErrBareLF.Error()},
		{"endless greeting", "S- 200 " + strings.Repeat("x", 9000), nil, "EOF"},
		{"silent", "STALL", nil, "i/o timeout"},
		{"numbers", "S: 200 a\nC: GROUP a\nS: 211 x y z a", group, "GROUP a"},
		{"too few numbers", "S: 200 a\nC: GROUP a\nS: 211", group, "three numbers"},
		{"control octets", "S: 200 a\nC: GROUP a\nS: 411 \x1b[2J", group, "411 ?[2J"},
		{"closed in a block", "S: 200 a\nC: LIST\nS: 215 a\nS: a 1 1 y", list, io.ErrUnexpectedEOF.Error()},
		{"stalled in a block", "S: 200 a\nC: LIST\nS: 215 a\nS: a 1 1 y\nSTALL", list, "i/o timeout"},
		{"endless block", "S: 200 a\nC: LIST\nS: 215 a\nS: " + strings.Repeat("x", 2000) + "\nS: " + strings.Repeat("x", 2000) + "\nSTALL", list, ErrTooLarge.Error()},
		{"injection", "S: 200 a\nSTALL", func(c *Client) error { _, err := c.Stat("1\r\nPOST"); return err }, "holds CR"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := dialer(play(t, tt.script, nil))
			d.Answer, d.MaxBlock = 300*time.Millisecond, 3000
			c, err := d.Connect(context.Background())
			if err == nil && tt.do != nil {
				err = tt.do(c)
				c.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestClientTransferLimit(t *testing.T) {
	d := dialer(play(t, "S: 200 a\nC: LIST\nS: 215 a\nSTALL", nil))
	d.Transfer = 50 * time.Millisecond
	c := connect(t, d)
	if err := c.List("", nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("LIST that never ends: %v", err)
	}
}

func TestClientContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	gone := errors.New("enough")
	d := dialer(play(t, "STALL", nil))
	d.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		defer cancel(gone)
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	if _, err := d.Connect(ctx); !errors.Is(err, gone) {
		t.Errorf("cancelled: %v", err)
	}
}

// selfSigned makes a certificate and its pin.
func selfSigned(t *testing.T) (*tls.Config, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(spki)
	conf := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return conf, "spki:sha256:" + base64.StdEncoding.EncodeToString(sum[:])
}

func TestClientTLS(t *testing.T) {
	conf, pin := selfSigned(t)
	_, other := selfSigned(t)
	start := "S: 200 a\nC: STARTTLS\nS: 382 go\nTLS\nC: DATE\nS: 111 20261123223000"
	listed := "S: 200 a\nC: CAPABILITIES\nS: 101 a\nS: STARTTLS\nS: .\n" + start[len("S: 200 a\n"):]
	tests := []struct {
		name, script, pin string
		tls               TLS
		want              string // in the error; "": none
		secure            bool
	}{
		{"implicit, pinned", "TLS\nS: 200 a\nC: DATE\nS: 111 20261123223000", pin, TLSImplicit, "", true},
		{"STARTTLS, pinned", start, pin, TLSStart, "", true},
		{"another key", start, other, TLSStart, "not the pinned one", false},
		{"no pin, self-signed", start, "", TLSStart, "certificate", false},
		{"pin that is none", start, "sha1:x", TLSStart, "not of the form", false},
		{"no STARTTLS there", "S: 200 a\nC: STARTTLS\nS: 502 no", pin, TLSStart, "502", false},
		{"octets before the handshake", "S: 200 a\nC: STARTTLS\nS: 382 go\nS: 281 welcome", pin, TLSStart, "TLS", false},
		{"if listed", listed, "", TLSIfListed, "", true},
		{"not listed", "S: 200 a\nC: CAPABILITIES\nS: 500 what\nC: DATE\nS: 111 20261123223000", "", TLSIfListed, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := dialer(play(t, tt.script, conf))
			d.TLS, d.Pin = tt.tls, tt.pin
			c, err := d.Connect(context.Background())
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%v, want an error with %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Date(); err != nil || c.Secure != tt.secure {
				t.Errorf("DATE: %v, secure %v", err, c.Secure)
			}
		})
	}
}

func FuzzParseOver(f *testing.F) {
	f.Add([]byte("5\ts\tf\td\t<5@x>\t\t100\t2\tXref: a b:5"))
	f.Fuzz(func(t *testing.T, line []byte) {
		n, o, ok := parseOver(line)
		if !ok {
			return
		}
		again := fmt.Sprintf("%d\t%s\t%s\t%s\t%s\t%s\t%d\t%d", n, o.Subject, o.From, o.Date, o.ID, o.References, o.Bytes, o.Lines)
		if m, p, ok := parseOver([]byte(again)); !ok || m != n || p != o {
			t.Errorf("%q read as %+v, written and read again %+v", line, o, p)
		}
	})
}
