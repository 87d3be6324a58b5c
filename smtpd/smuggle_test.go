package smtpd

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
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

// TestEndOfData: CRLF "." CRLF ends a message and nothing else does, whatever stands in
// its place, in one piece or octet by octet; and what holds CR or LF alone, or NUL, is
// refused whole: RFC 5321 §2.3.8, §4.1.1.4.
func TestEndOfData(t *testing.T) {
	const end = "\r\n.\r\n"
	for _, lmtp := range []bool{false, true} {
		o := open(t, func(c *Config) { c.LMTP = lmtp })
		hello := "EHLO a\r\n"
		if lmtp {
			hello = "LHLO a\r\n"
		}
		const begin = "MAIL FROM:<a@a.example>\r\nRCPT TO:<mesh.talk@box.example>\r\nDATA\r\n"
		most := 5
		if lmtp || testing.Short() {
			most = 4
		}
		for i, s := range append(sequences("\r\n.", most), sequences("\r\n.\x00\v", 3)...) {
			mail := func(kind string) string {
				return fmt.Sprintf("From: a@a.example\r\nSubject: %s\r\nMessage-ID: <%s.%d@a.example>\r\n\r\n%[2]s", kind, kind, i)
			}
			before := len(o.articles(t))
			stream := []string{hello + begin + mail("first"), s, begin + mail("smuggled") + end + "QUIT\r\n"}
			said := playPieces(t, o.addr, stream, i%2 == 1)
			posted := o.articles(t)[before:]
			want := 0
			if s == end {
				want = 2
			} else if whole := strings.ReplaceAll(s+"M", "\r\n", ""); !strings.ContainsAny(whole, "\r\n\x00") {
				want = 1
			}
			if len(posted) != want {
				t.Errorf("lmtp %v, %q: %d articles, want %d:\n%s", lmtp, s, len(posted), want, said)
			}
			for k, a := range posted {
				if k == 0 && a.Get("Subject") != "first" {
					t.Errorf("lmtp %v, %q: %q came first", lmtp, s, a.Get("Subject"))
				}
			}
		}
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
		stream := "EHLO a\r\nMAIL FROM:<a@a.example>\r\nRCPT TO:<mesh.talk@box.example>\r\n" +
			fmt.Sprintf("BDAT %d\r\n%sBDAT %d LAST\r\n%sQUIT\r\n", at, mail[:at], len(mail)-at, mail[at:])
		before := len(o.articles(t))
		said := playPieces(t, o.addr, []string{stream[:len(stream)-len(text)], stream[len(stream)-len(text):]}, cut%2 == 1)
		posted := o.articles(t)[before:]
		if len(posted) != 1 || !bytes.Equal(posted[0].Body(), []byte(text)) {
			t.Fatalf("cut at %d: %d articles:\n%s", cut, len(posted), said)
		}
	}
}

// playPieces sends pieces, the second octet by octet if slow, and returns the answers.
func playPieces(t *testing.T, addr string, pieces []string, slow bool) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
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
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	said, _ := io.ReadAll(conn)
	conn.Close()
	<-sent
	return string(said)
}

// TestRelaysForNobody: whoever stands in RCPT, in whatever spelling, is one of ours or
// refused.
func TestRelaysForNobody(t *testing.T) {
	o := open(t, nil)
	for rcpt, want := range map[string]string{
		"<u@else.example>": "550", "<@box.example:u@else.example>": "550", "<@a,@b:u@else.example>": "550", "<u%else.example@box.example>": "550",
		"<else.example!u@box.example>": "550", "<mesh.talk%else.example@box.example>": "550", `<"u@else.example"@box.example>`: "550",
		`<"mesh.talk@box.example"@else.example>`: "550", "<u@else.example@box.example>": "550", "<mesh.talk@box.example@else.example>": "550",
		"<mesh.talk@[192.0.2.1]>": "550", "<mesh.talk@[IPv6:2001:db8::1]>": "550", "<mesh.talk@[]>": "550", "<mesh.talk@sub.box.example>": "550",
		"<mesh.talk@xbox.example>": "550", "<mesh.talk@box.example.else.example>": "550", "<mesh.talk@box.example..>": "550", "<u@élse.example>": "550",
		"<mesh.tаlk@box.example>": "550", "<mesh.talk@ｂox.example>": "550", "<mesh.talk@box.example,u@else.example>": "550", "<postmaster@else.example>": "550",
		"<mesh.talk>": "501", "<>": "501", "<mesh.talk@>": "501", "<postmaster> X": "5", "<mesh.talk@box.example>x": "500",
		"<mesh.talk@box.example>": "250", "<@else.example:mesh.talk@box.example>": "250", `<"mesh.talk"@box.example>`: "250", `<"mesh\.talk"@box.example>`: "250",
		"<MESH.TALK@BOX.EXAMPLE>": "250", "<mesh.talk@box.example.>": "250", "<mesh.talk@[127.0.0.1]>": "250",
		"<postmaster>": "250", "<PostMaster>": "250", "<POSTMASTER@box.example>": "250", "<postmaster@[127.0.0.1]>": "250", "<abuse@box.example>": "250",
	} {
		said := playPieces(t, o.addr, []string{"EHLO a\r\nMAIL FROM:<a@a.example> SMTPUTF8\r\n", "RCPT TO:" + rcpt + "\r\n", "RSET\r\nQUIT\r\n"}, false)
		lines := strings.Split(strings.TrimSpace(said), "\r\n")
		if n := len(lines); n < 4 || !strings.HasPrefix(lines[n-3], want) {
			t.Errorf("%s: want %s:\n%s", rcpt, want, said)
		}
	}
}
