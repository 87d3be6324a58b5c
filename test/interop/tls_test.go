//go:build interop

package interop

import (
	"crypto/tls"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/litfass/litfass/test/nodebox"
)

const nntplibTLS = `
import nntplib, ssl, sys
host, port, tlsport, ca = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
def look(s):
    print(s.group("test.a")[:1], "STARTTLS" in s.getcapabilities(), s.body("<tls@mesh.example>")[1].lines)
    s.quit()
s = nntplib.NNTP(host, port)
print("listed", "STARTTLS" in s.getcapabilities())
s.starttls(ssl.create_default_context(cafile=ca))
s.login("anna", "secretword")
look(s)
look(nntplib.NNTP_SSL(host, tlsport, user="anna", password="secretword", ssl_context=ssl.create_default_context(cafile=ca)))
try:
    nntplib.NNTP(host, port).starttls(ssl.create_default_context())
except ssl.SSLError as e:
    print("unknown authority:", e.reason)
`

// TestReadersTLS: a configured certificate is offered, and checked by newsreaders
// that know its authority: nntplib by STARTTLS and from the first octet, neomutt by
// itself wherever STARTTLS is listed. Passwords cross only inside. A new certificate
// in the same files is used without a restart.
func TestReadersTLS(t *testing.T) {
	dir, implicit := t.TempDir(), freePort(t)
	cert, key, pool := pebbleCert(t, dir)
	n := newNode(t, nodebox.Options{More: fmt.Sprintf("[nntp.tls]\ncert = %q\nkey = %q\nlisten = [%q]\n", cert, key, implicit)})
	login(t, n)
	post := filepath.Join(dir, "art")
	write(t, post, "From: Anna <anna@mesh.example>\nNewsgroups: test.a\nSubject: under TLS\nMessage-ID: <tls@mesh.example>\n\nhello TLS\n")
	if _, err := n.Run("post", post); err != nil {
		t.Fatal(err)
	}
	t.Run("nntplib", func(t *testing.T) {
		python := need(t, "python3", "python3")
		if exec.Command(python, "-W", "ignore", "-c", "import nntplib").Run() != nil {
			t.Skip("SKIP: this python3 has no nntplib any more (gone since 3.13)")
		}
		p := newTap(t, n.Addr)
		out := run(t, t.TempDir(), "", python, "-W", "ignore", "-c", nntplibTLS, p.host, p.port, fmt.Sprint(portOf(t, implicit)), cert)
		has(t, "nntplib", out, "listed True", "('211 1 1 1 test.a',) False [b'hello TLS']\n('211 1 1 1 test.a',) False [b'hello TLS']\n", "unknown authority: CERTIFICATE_VERIFY_FAILED")
		p.saw(t, "> CAPABILITIES", "< STARTTLS", "> STARTTLS", "< 382 ")
		p.never(t, "> authinfo", "> AUTHINFO", "> GROUP")
	})
	t.Run("neomutt", func(t *testing.T) {
		mutt := need(t, "neomutt", "neomutt")
		p := newTap(t, n.Addr)
		home := t.TempDir()
		write(t, filepath.Join(home, "newsrc"), "test.a:\n")
		write(t, filepath.Join(home, "Mail", "sent"), "")
		write(t, filepath.Join(home, "muttrc"), "set news_server=\"news://"+p.addr+"\"\nset newsrc=\""+home+"/newsrc\"\nset nntp_user=anna nntp_pass=secretword\n"+
			"set certificate_file=\""+cert+"\" ssl_ca_certificates_file=\""+cert+"\"\nset ssl_starttls=yes header_cache=\"\" news_cache_dir=\""+home+"/cache\" help=yes\n")
		s := newScreen(t, fmt.Sprintf("HOME=%s %s -n -F %s/muttrc -G", home, mutt, home))
		s.see("test.a")
		s.keys("Enter")
		s.see("under TLS")
		s.keys("Enter")
		s.see("hello TLS")
		p.saw(t, "> CAPABILITIES", "< STARTTLS", "> STARTTLS", "< 382 ")
		p.never(t, "> AUTHINFO", "> GROUP")
	})
	old, err := viaTLS(implicit, &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	fresh := t.TempDir()
	cert2, key2, pool2 := pebbleCert(t, fresh)
	for from, to := range map[string]string{cert2: cert, key2: key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	persist(t, "the new certificate", func() error {
		c, err := viaTLS(implicit, &tls.Config{RootCAs: pool2, ServerName: "127.0.0.1"})
		if err == nil && c.Equal(old) {
			err = fmt.Errorf("still the old one")
		}
		return err
	})
}
