package smtpd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/members"
	"github.com/litfass/litfass/spool"
)

// sequences are all texts of these characters up to a length.
func sequences(of string, most int) (all []string) {
	last := []string{""}
	for range most {
		var next []string
		for _, s := range last {
			for _, c := range of {
				next = append(next, s+string(c))
			}
		}
		all, last = append(all, next...), next
	}
	return all
}

// door is a way to a Server: what it is made of, and how one comes to where EHLO or LHLO
// is said.
type door struct {
	change func(*Config)
	enter  func(t *testing.T, o *office) net.Conn
	hello  string
}

// doors are all the ways in. Each obeys the same rules.
func doors(t *testing.T) map[string]door {
	server, client := tlsPair(t)
	lmtp := func(c *Config) { c.LMTP, c.TLS = true, server }
	const auth = "AUTH PLAIN AGFsaWNlAGNvcnJlY3QgaG9yc2U=\r\n"
	return map[string]door{
		"SMTP":             {nil, dial, "EHLO a\r\n"},
		"SMTP, logged in":  {nil, dial, "EHLO a\r\n" + auth},
		"SMTP, STARTTLS":   {func(c *Config) { c.TLS = server }, startTLS("EHLO", client), "EHLO a\r\n"},
		"SMTP, TLS":        {nil, overTLS(server, client), "EHLO a\r\n"},
		"submission":       {func(c *Config) { c.Submission, c.TLS = true, server }, startTLS("EHLO", client), "EHLO a\r\n" + auth},
		"LMTP":             {func(c *Config) { c.LMTP = true }, dial, "LHLO a\r\n"},
		"LMTP, STARTTLS":   {lmtp, startTLS("LHLO", client), "LHLO a\r\n"},
		"LMTP, TLS, login": {func(c *Config) { c.LMTP = true }, overTLS(server, client), "LHLO a\r\n" + auth},
	}
}

// open makes the office of a door, in which alice has an account.
func (d door) open(t *testing.T) *office {
	o := open(t, func(c *Config) {
		if d.change != nil {
			d.change(c)
		}
		c.Accounts = believing{c.Accounts}
	})
	if err := o.book.Add(context.Background(), members.Account{Name: "alice"}, "correct horse"); err != nil {
		t.Fatal(err)
	}
	return o
}

// believing takes any password: that of a real book costs 50 ms, on purpose.
type believing struct{ Accounts }

func (believing) Login(_ context.Context, name, _ string, _ netip.Addr) (members.Account, error) {
	return members.Account{Name: name}, nil
}

func dial(t *testing.T, o *office) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", o.addr)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func startTLS(hello string, conf *tls.Config) func(*testing.T, *office) net.Conn {
	return func(t *testing.T, o *office) net.Conn {
		conn := dial(t, o)
		r := bufio.NewReader(conn)
		for _, c := range []string{"", hello + " a\r\n", "STARTTLS\r\n"} {
			if _, err := io.WriteString(conn, c); err != nil {
				t.Fatal(err)
			}
			for line := "250-"; len(line) > 3 && line[3] == '-'; {
				var err error
				if line, err = r.ReadString('\n'); err != nil || line[0] != '2' {
					t.Fatal(line, err)
				}
			}
		}
		return tls.Client(conn, conf)
	}
}

func overTLS(server, client *tls.Config) func(*testing.T, *office) net.Conn {
	return func(t *testing.T, o *office) net.Conn {
		l, err := tls.Listen("tcp", "127.0.0.1:0", server)
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- o.Serve(l) }()
		conn, err := tls.Dial("tcp", l.Addr().String(), client)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		<-served
		return conn
	}
}

// tlsPair is a certificate for the server, and what the client needs to believe it.
func tlsPair(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"box.example"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(c)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		&tls.Config{RootCAs: roots, ServerName: "box.example"}
}

const (
	begin = "MAIL FROM:<a@a.example>\r\nRCPT TO:<mesh.talk@box.example>\r\n"
	end   = "\r\n.\r\n"
)

// sound says whether a mail may hold s: each CR stands before an LF, each LF behind a CR,
// and nothing is NUL.
func sound(s string) bool { return !strings.ContainsAny(strings.ReplaceAll(s, "\r\n", ""), "\r\n\x00") }

// subjects are those of the articles behind the first n.
func (o *office) subjects(t *testing.T, n spool.Seq) (all []string) {
	t.Helper()
	for n < o.store.Last() {
		n++
		a, err := o.store.Open(context.Background(), n)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a.Get("Subject"))
	}
	return all
}

// TestEndOfData: at each door CRLF "." CRLF ends a message and nothing else does, whatever
// stands in its place, in one piece or octet by octet; what holds CR or LF alone, or NUL,
// is refused whole, and nothing that stands behind it is taken for a command: RFC 5321
// §2.3.8, §4.1.1.4. What is counted (BDAT) ends where it was said: RFC 3030 §2.
func TestEndOfData(t *testing.T) {
	for name, d := range doors(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := d.open(t)
			most := 4
			switch {
			case testing.Short():
				most = 3
			case name == "SMTP, STARTTLS":
				most = 5
			}
			for i, s := range append(sequences("\r\n.", most), sequences("\r\n.\x00\v", 3)...) {
				mail := func(subject string, k int) string {
					return fmt.Sprintf("From: a@a.example\r\nSubject: %s\r\nMessage-ID: <%d.%d@a.example>\r\n\r\nx", subject, i, k)
				}
				one := mail("one", 1) + s
				var want, counted []string
				if s == end {
					want = []string{"one", "two"}
				} else if sound(s + "M") {
					want = []string{"one"}
				}
				if sound(one) {
					counted = []string{"one", "two"}
				}
				for kind, x := range map[string]struct {
					before, after string
					want          []string
				}{
					"DATA": {begin + "DATA\r\n" + mail("one", 2), begin + "DATA\r\n" + mail("two", 3) + end, want},
					"BDAT": {fmt.Sprintf("%sBDAT %d LAST\r\n%s", begin, len(one), one[:len(one)-len(s)]), begin + "DATA\r\n" + mail("two", 4) + end, counted},
					"both": {fmt.Sprintf("%sBDAT 0\r\nDATA\r\nBDAT %d\r\n%s", begin, len(mail("one", 5)+s), mail("one", 5)),
						fmt.Sprintf("NOOP\r\nBDAT 0 LAST\r\n%sBDAT %d LAST\r\n%s", begin, len(mail("two", 6)), mail("two", 6)), counted},
				} {
					was := o.store.Last()
					said := playPieces(t, d.enter(t, o), []string{d.hello + x.before, s, x.after + "QUIT\r\n"}, i%2 == 1)
					if got := o.subjects(t, was); !slices.Equal(got, x.want) {
						t.Errorf("%s, %q: %q, want %q:\n%s", kind, s, got, x.want, said)
					}
				}
			}
		})
	}
}

// TestChunksAreCounted: what looks like the end of data, or a command, is text in a
// chunk, wherever the chunks are cut: RFC 3030 §2.
func TestChunksAreCounted(t *testing.T) {
	o := open(t, nil)
	const text = "text\r\n.\r\n..\r\nRCPT TO:<postmaster>\r\n.\r\nQUIT\r\n"
	for cut := range len(text) {
		mail := fmt.Sprintf("From: a@a.example\r\nSubject: x\r\nMessage-ID: <%d@a.example>\r\n\r\n", cut) + text
		at := len(mail) - len(text) + cut
		stream := "EHLO a\r\n" + begin + fmt.Sprintf("BDAT %d\r\n%sBDAT %d LAST\r\n%sQUIT\r\n", at, mail[:at], len(mail)-at, mail[at:])
		before := len(o.articles(t))
		said := playPieces(t, dial(t, o), []string{stream[:len(stream)-len(text)], stream[len(stream)-len(text):]}, cut%2 == 1)
		posted := o.articles(t)[before:]
		if len(posted) != 1 || !bytes.Equal(posted[0].Body(), []byte(text)) {
			t.Fatalf("cut at %d: %d articles:\n%s", cut, len(posted), said)
		}
	}
}

// playPieces sends pieces, the second octet by octet if slow, and returns the answers.
func playPieces(t *testing.T, conn net.Conn, pieces []string, slow bool) string {
	t.Helper()
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i, p := range pieces {
			for slow && i == 1 && len(p) > 0 {
				if _, err := conn.Write([]byte(p[:1])); err != nil {
					return
				}
				p = p[1:]
			}
			if _, err := io.WriteString(conn, p); err != nil {
				return
			}
		}
		_ = conn.(interface{ CloseWrite() error }).CloseWrite()
	}()
	said, _ := io.ReadAll(conn)
	conn.Close()
	<-sent
	return string(said)
}

// TestRelaysForNobody: whoever stands in RCPT, in whatever spelling, is one of ours or
// refused.
func TestRelaysForNobody(t *testing.T) {
	for name, d := range doors(t) {
		t.Run(name, func(t *testing.T) { relaysForNobody(t, d) })
	}
}

func relaysForNobody(t *testing.T, d door) {
	o := d.open(t)
	for rcpt, want := range map[string]string{
		"<u@else.example>": "550", "<@box.example:u@else.example>": "550", "<@a,@b:u@else.example>": "550", "<u%else.example@box.example>": "550",
		"<else.example!u@box.example>": "550", "<mesh.talk%else.example@box.example>": "550", `<"u@else.example"@box.example>`: "550",
		`<"mesh.talk@box.example"@else.example>`: "550", "<u@else.example@box.example>": "5", "<mesh.talk@box.example@else.example>": "5",
		"<mesh.talk@[192.0.2.1]>": "550", "<mesh.talk@[IPv6:2001:db8::1]>": "550", "<mesh.talk@[]>": "550", "<mesh.talk@sub.box.example>": "550",
		"<mesh.talk@xbox.example>": "550", "<mesh.talk@box.example.else.example>": "550", "<mesh.talk@box.example..>": "550", "<u@élse.example>": "550",
		"<mesh.tаlk@box.example>": "550", "<mesh.talk@ｂox.example>": "550", "<mesh.talk@box.example,u@else.example>": "5", "<postmaster@else.example>": "550",
		"<mesh.talk>": "501", "<>": "501", "<mesh.talk@>": "501", "<postmaster> X": "5", "<mesh.talk@box.example>x": "5",
		"<mesh.talk@box.example>": "250", "<@else.example:mesh.talk@box.example>": "250", `<"mesh.talk"@box.example>`: "250", `<"mesh\.talk"@box.example>`: "250",
		"<MESH.TALK@BOX.EXAMPLE>": "250", "<mesh.talk@box.example.>": "250", "<mesh.talk@[127.0.0.1]>": "250",
		"<postmaster>": "250", "<PostMaster>": "250", "<POSTMASTER@box.example>": "250", "<postmaster@[127.0.0.1]>": "250", "<abuse@box.example>": "250",
	} {
		said := playPieces(t, d.enter(t, o), []string{d.hello + "MAIL FROM:<a@a.example> SMTPUTF8\r\n", "RCPT TO:" + rcpt + "\r\n", "RSET\r\nQUIT\r\n"}, false)
		lines := strings.Split(strings.TrimSpace(said), "\r\n")
		if n := len(lines); n < 4 || !strings.HasPrefix(lines[n-3], want) {
			t.Errorf("%s: want %s:\n%s", rcpt, want, said)
		}
	}
}
