package dialog

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
)

// clerk is a Session that writes down what happens, and refuses who is called so.
type clerk struct {
	mu    sync.Mutex
	notes []string
	rcpts int
	mails int
	lmtp  bool
	hold  chan struct{} // Message waits for it
	began chan struct{} // Message says that it waits
}

func (c *clerk) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notes = append(c.notes, fmt.Sprintf(format, args...))
}

func (c *clerk) all() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.notes, "; ")
}

func (c *clerk) Mail(from string) error {
	if from == "bug@a" {
		panic("a bug")
	}
	c.note("from %s", from)
	return nil
}

func (c *clerk) Rcpt(to string) error {
	switch {
	case strings.HasPrefix(to, "no"):
		return Refuse(550, 5, 1, 1, "nobody")
	case strings.HasPrefix(to, "broken"):
		return errors.New("the disk is on fire")
	}
	c.rcpts++
	c.note("to %s", to)
	return nil
}

func (c *clerk) Message(r io.Reader) []error {
	b, err := io.ReadAll(r)
	c.note("%q", b)
	c.mu.Lock()
	c.mails++
	c.mu.Unlock()
	if c.hold != nil {
		close(c.began)
		<-c.hold
	}
	errs := []error{err}
	for c.lmtp && len(errs) < c.rcpts {
		errs = append(errs, Refuse(452, 4, 2, 2, "full"))
	}
	return errs
}

func (c *clerk) Reset() { c.rcpts = 0; c.note("reset") }

func (c *clerk) Mechanisms() []string { return []string{"PLAIN"} }

func (c *clerk) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if password != "right" {
			return Refuse(535, 5, 7, 8, "wrong")
		}
		c.note("login %s", user)
		return nil
	}), nil
}

// serve runs a Server and returns it, with a way to dial it.
func serve(t *testing.T, c *clerk, change func(*Config)) (*Server, func() *client) {
	t.Helper()
	conf := Config{Host: "box.example", Domain: "box.example", LMTP: c.lmtp, MaxMessage: 1000, MaxRecipients: 3, MaxConns: 10, MaxPerHost: 10, Free: func(net.Addr) bool { return false }, Wait: 20 * time.Second,
		Open: func(Peer) Session { return c }, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&conf)
	}
	s := New(conf)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := errors.Join(s.Shutdown(ctx), <-done); err != nil {
			t.Error(err)
		}
	})
	return s, func() *client {
		t.Helper()
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
		return &client{t, nc, bufio.NewReader(nc)}
	}
}

type client struct {
	t  *testing.T
	nc net.Conn
	r  *bufio.Reader
}

// expect reads answers that begin as these do, the lines before the last of one left out.
func (c *client) expect(want ...string) {
	c.t.Helper()
	for _, w := range want {
		line := "   -"
		for len(line) > 3 && line[3] == '-' {
			var err error
			if line, err = c.r.ReadString('\n'); err != nil {
				c.t.Fatalf("want %q: %v", w, err)
			}
		}
		if !strings.HasPrefix(line, w) {
			c.t.Errorf("got %q, want %q", line, w)
		}
	}
}

func (c *client) say(text string, want ...string) {
	c.t.Helper()
	if _, err := io.WriteString(c.nc, text); err != nil {
		c.t.Fatal(err)
	}
	c.expect(want...)
}

// closed: the server has said all it wanted.
func (c *client) closed() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.r); err != nil || len(rest) > 0 {
		c.t.Errorf("%q and %v, want the end", rest, err)
	}
	c.nc.Close()
}

func TestDialog(t *testing.T) {
	k := &clerk{}
	_, dial := serve(t, k, nil)
	c := dial()
	c.expect("220 box.example ESMTP")
	c.say("MAIL FROM:<a@a>\r\n", "502 5.5.1")
	c.say("LHLO a\r\n", "500 5.5.1")
	c.say("EHLO\r\n", "501 5.5.2")
	c.say("ehlo a\n", "250 ")
	c.say("RCPT TO:<b@b>\r\nDATA\r\nBDAT 3 LAST\r\nxyz", "502", "502", "502")
	c.say("MAIL FROM:<a@a> SIZE=1001\r\n", "552 5.3.4")
	c.say("MAIL FROM:<a@a> SIZE=x\r\nMAIL FROM:<a@a> RET=FULL\r\nMAIL FROM:<ä@a>\r\n", "501", "504", "553 5.6.7")
	c.say("MAIL FROM:<a@a> BODY=8bitmime SIZE=1000 AUTH=<>\r\nMAIL FROM:<a@a>\r\n", "250", "503")
	c.say("RCPT TO:<no@b>\r\nRCPT TO:<broken@b>\r\nRCPT TO:<b@b> NOTIFY=NEVER\r\nRCPT TO:<ä@b>\r\n", "550 5.1.1", "451 4.3.0", "504", "553 5.6.7")
	c.say("RCPT TO:<1@b>\r\nRCPT TO:<2@b>\r\nRCPT TO:<postmaster>\r\nRCPT TO:<4@b>\r\n", "250", "250", "250", "452 4.5.3")
	c.say("VRFY x\r\nEXPN x\r\nHELP\r\nNOOP\r\n", "252", "502", "502", "250")
	c.say("DATA\r\n", "354")
	c.say("..x\r\n.\r\nRSET\r\n", "250 2.0.0", "250")
	if got, want := k.all(), `from a@a; to 1@b; to 2@b; to postmaster@box.example; ".x\r\n"; reset; reset`; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	c.say("QUIT\r\n", "221")
	c.closed()
}

func TestChunks(t *testing.T) {
	k := &clerk{}
	_, dial := serve(t, k, nil)
	c := dial()
	const begin = "MAIL FROM:<a@a>\r\nRCPT TO:<b@b>\r\n"
	c.say("EHLO a\r\n"+begin, "220", "250 ", "250", "250")
	c.say("BDAT 2\r\nx\rBDAT 3\r\n\n.\rNOOP\r\nDATA\r\nBDAT 1 LAST\r\n\n", "250", "250", "250", "503", "250 2.0.0")
	c.say(begin+"BDAT 1\r\nxRSET\r\n"+begin+"BDAT 600\r\n"+strings.Repeat("x", 600)+"BDAT 401\r\n"+strings.Repeat("x", 401)+"BDAT 1 LAST\r\nxNOOP\r\n",
		"250", "250", "250", "250", "250", "250", "250", "552 5.3.4", "502", "250")
	c.say(begin+"BDAT 1\r\nxBDAT x\r\nNOOP\r\n", "250", "250", "250", "501 5.5.4")
	c.closed()
	if got, want := k.all(), `"x\r\n.\r\n"; reset`; !strings.Contains(got, want) || strings.Contains(got, "login") {
		t.Errorf("%s\nwant %s", got, want)
	}
	c = dial()
	c.say("EHLO a\r\n"+begin+"BDAT 2 LAST\r\nx\rNOOP\r\n", "220", "250 ", "250", "250", "550 5.6.0")
	c.closed()
	c = dial()
	c.say("EHLO a\r\n"+begin+"BDAT 99999999 LAST\r\nNOOP\r\n", "220", "250 ", "250", "250", "552 5.3.4")
	c.closed()
}

// TestTooLarge: a message over the limit is read to its end, and one without an end is not.
func TestTooLarge(t *testing.T) {
	k := &clerk{}
	_, dial := serve(t, k, func(s *Config) {
		s.Open = func(Peer) Session { return lazy{k} }
	})
	const begin = "EHLO a\r\nMAIL FROM:<a@a>\r\nRCPT TO:<b@b>\r\nDATA\r\n"
	c := dial()
	c.say(begin+strings.Repeat("x", 900)+"\r\n.\r\nNOOP\r\n", "220", "250 ", "250", "250", "354", "552", "250")
	c.nc.Close()
	c = dial()
	c.say(begin+strings.Repeat("x", 30_000), "220", "250 ", "250", "250", "354", "552")
	c.closed()
}

// lazy is a clerk who reads nothing.
type lazy struct{ *clerk }

func (lazy) Message(io.Reader) []error { return []error{Refuse(552, 5, 3, 4, "too large")} }

// TestLMTP: each recipient has his answer (RFC 2033 §4.2), by DATA and by BDAT.
func TestLMTP(t *testing.T) {
	_, dial := serve(t, &clerk{lmtp: true}, nil)
	c := dial()
	c.say("EHLO a\r\nLHLO a\r\n", "220 box.example LMTP", "500", "250 ")
	for _, data := range []string{"DATA\r\nx\r\n.\r\n", "BDAT 3 LAST\r\nx\r\n"} {
		c.say("MAIL FROM:<>\r\nRCPT TO:<1@b>\r\nRCPT TO:<no@b>\r\nRCPT TO:<2@b>\r\n", "250", "250", "550", "250")
		if strings.HasPrefix(data, "DATA") {
			c.say(data, "354")
		} else {
			c.say(data)
		}
		c.expect("250 2.0.0", "452 4.2.2")
	}
}

func TestAuth(t *testing.T) {
	k := &clerk{}
	_, dial := serve(t, k, nil)
	c := dial()
	c.say("AUTH PLAIN\r\nEHLO a\r\nAUTH X\r\nAUTH PLAIN ?\r\nAUTH PLAIN AGEAd3Jvbmc=\r\n", "220", "502", "250 ", "504", "454", "535 5.7.8")
	c.say("AUTH PLAIN\r\n", "334 \r\n")
	c.say("*\r\n", "501")
	c.say("AUTH PLAIN\r\n", "334")
	c.say("AGEAcmlnaHQ=\r\n", "235")
	c.say("AUTH PLAIN AGEAcmlnaHQ=\r\nEHLO a\r\n", "503", "250 ")
	if !strings.HasPrefix(k.all(), "login a") {
		t.Error(k.all())
	}
}

// TestManyErrors: a client that talks no SMTP is not listened to for ever.
func TestManyErrors(t *testing.T) {
	_, dial := serve(t, &clerk{}, nil)
	c := dial()
	c.say(strings.Repeat("GET / HTTP/1.1\r\n", 9), "220")
	c.expect("501", "501", "501", "501", "500 5.5.1")
	c.closed()
}

// TestBug: a bug in a Session ends one connection, not the process.
func TestBug(t *testing.T) {
	_, dial := serve(t, &clerk{}, nil)
	c := dial()
	c.say("EHLO a\r\nMAIL FROM:<bug@a>\r\n", "220", "250 ", "421")
	c.closed()
	c = dial()
	c.say("NOOP\r\n", "220", "250")
}

func TestTooManyConnections(t *testing.T) {
	_, dial := serve(t, &clerk{}, func(s *Config) { s.MaxConns = 2 })
	a, b := dial(), dial()
	a.expect("220")
	b.expect("220")
	c := dial()
	c.expect("421 4.3.2")
	c.closed()
}

// TestPerHost: one address has not all connections, unless it is known; what ends makes
// room.
func TestPerHost(t *testing.T) {
	var free atomic.Bool
	_, dial := serve(t, &clerk{}, func(s *Config) { s.MaxPerHost, s.Free = 1, func(net.Addr) bool { return free.Load() } })
	a := dial()
	a.expect("220")
	b := dial()
	b.expect("421 4.3.2")
	b.closed()
	free.Store(true)
	c := dial()
	c.say("QUIT\r\n", "220", "221")
	c.closed()
	free.Store(false)
	a.say("QUIT\r\n", "221")
	a.closed()
	for deadline := time.Now().Add(20 * time.Second); ; { // it is forgotten a moment after it was closed
		d := dial()
		if line, _ := d.r.ReadString('\n'); strings.HasPrefix(line, "220") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("no room")
		}
	}
}

// TestShutdown: who waits is told, who is in the middle of a mail may end it, and it
// counts.
func TestShutdown(t *testing.T) {
	k := &clerk{hold: make(chan struct{}), began: make(chan struct{})}
	s, dial := serve(t, k, nil)
	waits, busy := dial(), dial()
	waits.say("EHLO a\r\n", "220", "250 ")
	busy.say("EHLO a\r\nMAIL FROM:<a@a>\r\nRCPT TO:<b@b>\r\nDATA\r\nx\r\n.\r\nNOOP\r\n", "220", "250 ", "250", "250", "354")
	<-k.began
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(context.Background()) }()
	waits.expect("421 4.3.2")
	waits.closed()
	close(k.hold)
	busy.expect("250 2.0.0")
	busy.nc.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestCutOff: when there is no more time, what is left is cut off unacknowledged.
func TestCutOff(t *testing.T) {
	s, dial := serve(t, &clerk{}, nil)
	c := dial()
	c.say("EHLO a\r\nMAIL FROM:<a@a>\r\nRCPT TO:<b@b>\r\nDATA\r\nx", "220", "250 ", "250", "250", "354")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if rest, _ := io.ReadAll(c.r); len(rest) > 0 {
		t.Errorf("%q", rest)
	}
}

// TestSilence: a client that says nothing is told so, and hung up on.
func TestSilence(t *testing.T) {
	_, dial := serve(t, &clerk{}, func(s *Config) { s.Wait = 50 * time.Millisecond })
	c := dial()
	c.expect("220", "421 4.4.2")
	c.closed()
}

// FuzzStream: whatever a client sends, a Session has no more messages than DATA and BDAT
// stand in the stream, and the server goes on to the end of it.
func FuzzStream(f *testing.F) {
	const begin = "MAIL FROM:<a@a>\r\nRCPT TO:<b@b>\r\n"
	for _, s := range []string{"", "EHLO a\r\n" + begin + "DATA\r\nMARK\r\n.\r\nQUIT\r\n", "EHLO a\r\n" + begin + "BDAT 4\r\nMARKBDAT 2 LAST\r\n\r\nNOOP\r\n",
		"EHLO a\r\nDATA\r\nMARK\r\n.\r\n", "BDAT 4 LAST\r\nMARKRSET\r\n", "EHLO a\r\nAUTH PLAIN\r\n*\r\nSTARTTLS\r\n", "EHLO a\r\n" + begin + "BDAT 9\r\nx", "EHLO a\r\n" + begin + "BDAT 1\r\nxRSET\r\n" + begin + "DATA\r\n\r\n.\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, stream string) {
		k := &clerk{}
		_, dial := serve(t, k, nil)
		c := dial()
		go func() {
			_, _ = io.WriteString(c.nc, stream)
			_ = c.nc.(*net.TCPConn).CloseWrite()
		}()
		said, err := io.ReadAll(c.r)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(said), "220 box.example ESMTP") {
			t.Errorf("%q: %q", stream, said)
		}
		upper := strings.ToUpper(stream)
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.mails > strings.Count(upper, "DATA")+strings.Count(upper, "BDAT") {
			t.Errorf("%q: %q", stream, k.notes)
		}
	})
}
