//go:build interop

package interop

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// greets says whether a mail server answers at addr.
func greets(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	line, err := bufio.NewReader(c).ReadString('\n')
	return err == nil && strings.HasPrefix(line, "220 ")
}

var oneTime = regexp.MustCompile(`(confirm|approve)\+[a-z0-9]+@[a-z.]+`)

// TestPostfixInFrontAndBehind: mail comes in through a Postfix by LMTP and by SMTP,
// unknown senders confirm, subscribers get the articles through the same Postfix,
// Dovecot shows them as a thread of a list, and what cannot be delivered is counted.
func TestPostfixInFrontAndBehind(t *testing.T) {
	swaks := need(t, "swaks", "swaks")
	p := layOut(t)
	smtp, lmtp := freeAddr(t), freeAddr(t)
	n := mailNode(t, fmt.Sprintf("[smtp]\nlisten = [%q]\nlmtp = [%q]\ndomain = \"lists.test.example\"\nsmarthost = %q\nfront = [\"127.0.0.0/8\"]\nlanguage = \"en\"\n[http]\nlisten = [%q]\n",
		smtp, lmtp, p.addr, freeAddr(t)))
	_, port, _ := net.SplitHostPort(smtp)
	p.start(t, fmt.Sprintf("{lists.test.example=lmtp:inet:%s}, {node.test.example=smtp:[127.0.0.1]:%s}", lmtp, port))
	home := t.TempDir()
	send := func(from, to string, more ...string) {
		t.Helper()
		run(t, home, "", swaks, append([]string{"--server", p.addr, "--from", from, "--to", to}, more...)...)
	}
	for _, a := range []string{"ben@people.example", "gone@dead.example"} {
		if _, err := n.Run("mail", "add", "test.a", a); err != nil {
			t.Fatal(err)
		}
	}
	posted := func(subject string) bool {
		out, err := n.Run("export", "--group", "test.a")
		return err == nil && strings.Contains(out, "Subject: "+subject+"\n")
	}

	// by LMTP; an unknown sender is asked
	send("anna@people.example", "test.a@lists.test.example", "--header", "Subject: over lmtp", "--header", "Message-Id: <1@people.example>", "--body", "Grüße")
	ask := p.find(t, "Please confirm your mail", "over lmtp")
	if posted("over lmtp") {
		t.Error("posted without confirmation")
	}
	send("anna@people.example", oneTime.FindString(ask))
	eventually(t, "the confirmed article", func() bool { return posted("over lmtp") })
	first := p.find(t, "Subject: over lmtp\n", "List-Id: ")
	for _, want := range []string{"List-Unsubscribe-Post: List-Unsubscribe=One-Click", "<test.a.lists.test.example>", "List-Post: <mailto:test.a@lists.test.example>", "Message-Id: <1@people.example>", "Grüße"} {
		if !strings.Contains(first, want) {
			t.Errorf("no %q in\n%s", want, first)
		}
	}

	// by SMTP; an answer
	send("carl@people.example", "test.a@node.test.example", "--header", "Subject: Re: over lmtp", "--header", "Message-Id: <2@people.example>", "--header", "In-Reply-To: <1@people.example>")
	send("carl@people.example", oneTime.FindString(p.find(t, "Please confirm your mail", "Re: over lmtp")))
	p.find(t, "Subject: Re: over lmtp\n", "List-Id: ")

	// no such group: Postfix bounces, nobody posts
	send("anna@people.example", "no.group@lists.test.example")
	p.find(t, "Undelivered Mail Returned", "there is no such group here")

	// the dead subscriber's bounces come back to us and are counted
	eventually(t, "bounces are counted", func() bool {
		out, err := n.Run("mail", "list", "--json", "test.a")
		var list []struct {
			Address string
			Bounces int
		}
		if err != nil || json.Unmarshal([]byte(out), &list) != nil {
			return false
		}
		for _, s := range list {
			if s.Address == "gone@dead.example" && s.Bounces == 2 {
				return true
			}
		}
		return false
	})
	out, err := n.Run("export", "--group", "test.a")
	if err != nil || strings.Count(out, "\nMessage-I") != 2 || strings.Contains(out, "Undelivered") {
		t.Errorf("%v, the group holds:\n%s", err, out)
	}
	dovecotThreads(t, p)
}

// dovecotThreads reads the mailbox through Dovecot's IMAP: the two articles are one
// thread of the list.
func dovecotThreads(t *testing.T, p *postfix) {
	core, imapd := debs(t, "dovecot-core"), debs(t, "dovecot-imapd")
	uid, gid := ids(t)
	dir := filepath.Join(p.dir, "mail")
	conf := filepath.Join(dir, "dovecot.conf")
	text := fmt.Sprintf("base_dir = %[1]s/run\nstate_dir = %[1]s/state\nprotocols = imap\nlibexec_dir = %[2]s/usr/lib/dovecot\nmail_plugin_dir = %[2]s/usr/lib/dovecot/modules\n"+
		"mail_location = maildir:%[1]s/box\nfirst_valid_uid = 0\nmail_uid = %[3]d\nmail_gid = %[4]d\nlog_path = %[1]s/dovecot.log\nssl = no\n"+
		"default_internal_user = daemon\ndefault_internal_group = daemon\ndefault_login_user = nobody\nstats_writer_socket_path =\n", dir, core, uid, gid)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	script := "a SELECT INBOX\r\nb SEARCH HEADER List-Id test.a.lists.test.example\r\nc THREAD REFERENCES UTF-8 HEADER List-Id test.a.lists.test.example\r\nd LOGOUT\r\n"
	said := run(t, dir, script, "env", "LD_LIBRARY_PATH="+core+"/usr/lib/dovecot", "USER=box", core+"/usr/bin/doveconf", "-c", conf, "-m", "imap", "-e", imapd+"/usr/lib/dovecot/imap")
	if !regexp.MustCompile(`\* SEARCH \d+ \d+\r?\n`).MatchString(said) || !regexp.MustCompile(`\* THREAD \(\d+ \d+\)\r?\n`).MatchString(said) {
		t.Errorf("Dovecot sees no thread of two mails:\n%s", said)
	}
}

// TestMailPrograms: what people send mail with posts to a group.
func TestMailPrograms(t *testing.T) {
	addr, sub := freeAddr(t), freeAddr(t)
	n := mailNode(t, fmt.Sprintf("[smtp]\nlisten = [%q]\nsubmission = [%q]\n[http]\nlisten = []\n", addr, sub))
	host, port, _ := net.SplitHostPort(addr)
	home := t.TempDir()
	const to = "test.a@node.test.example"
	check := func(t *testing.T, texts ...string) {
		t.Helper()
		out, err := n.Run("export", "--group", "test.a")
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range texts {
			if !strings.Contains(out, s) {
				t.Errorf("no %q in\n%s", s, out)
			}
		}
	}
	t.Run("swaks", func(t *testing.T) {
		swaks := need(t, "swaks", "swaks")
		run(t, home, "", swaks, "--server", addr, "--from", "a@b.example", "--to", to, "--header", "Subject: by swaks", "--pipeline", "--body", "x")
		check(t, "Subject: by swaks\n")
	})
	t.Run("swaks with login", func(t *testing.T) {
		swaks := need(t, "swaks", "swaks")
		addUser(t, n.Dir, "eve", "a long password")
		_, subPort, _ := net.SplitHostPort(sub)
		run(t, home, "", swaks, "--server", "127.0.0.1", "--port", subPort, "--from", "eve@b.example", "--to", to, "--header", "Subject: logged in", "--auth", "PLAIN", "--auth-user", "eve", "--auth-password", "a long password")
		check(t, "Subject: logged in\n", `posting-account="eve"`, "u=post;")
	})
	t.Run("msmtp", func(t *testing.T) {
		msmtp := need(t, "msmtp", "msmtp")
		run(t, home, "From: m@b.example\nTo: "+to+"\nSubject: by msmtp\n\n.dot first\n", msmtp, "--host="+host, "--port="+port, "--from=m@b.example", to)
		check(t, "Subject: by msmtp\n", "\n.dot first\n")
	})
	t.Run("msmtp with STARTTLS and login", func(t *testing.T) {
		msmtp, openssl := need(t, "msmtp", "msmtp"), need(t, "openssl", "openssl")
		run(t, home, "", openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "3", "-subj", "/CN=node.test.example", "-addext", "subjectAltName=DNS:localhost")
		door := freeAddr(t)
		own := mailNode(t, fmt.Sprintf("[nntp.tls]\ncert = %q\nkey = %q\n[smtp]\nlisten = []\nsubmission = [%q]\ntrusted = []\n[http]\nlisten = []\n",
			filepath.Join(home, "cert.pem"), filepath.Join(home, "key.pem"), door))
		addUser(t, own.Dir, "eve", "a long password")
		_, p, _ := net.SplitHostPort(door)
		run(t, home, "From: eve@b.example\nTo: "+to+"\nSubject: under TLS\n\nx\n", msmtp, "--host=localhost", "--port="+p, "--tls=on", "--tls-starttls=on",
			"--tls-trust-file="+filepath.Join(home, "cert.pem"), "--auth=plain", "--user=eve", "--passwordeval=echo a long password", "--from=eve@b.example", to)
		out, err := own.Run("export", "--group", "test.a")
		if err != nil || !strings.Contains(out, "Subject: under TLS\n") || !strings.Contains(out, `posting-account="eve"`) {
			t.Errorf("%v:\n%s", err, out)
		}
	})
	t.Run("mutt", func(t *testing.T) {
		mutt := need(t, "mutt", "mutt")
		file := filepath.Join(home, "picture.png")
		if err := os.WriteFile(file, []byte("\x89PNG\r\n\x1a\n123"), 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, home, "Grüße aus mutt\n", mutt, "-n", "-F", "/dev/null", "-e", "set smtp_url=smtp://"+addr+"/ from=mu@b.example hostname=b.example ssl_force_tls=no ssl_starttls=no copy=no",
			"-s", "by mutt: Größe", "-a", file, "--", to)
		check(t, "Subject: by mutt: =?", "picture.png")
	})
}

// addUser makes an account.
func addUser(t *testing.T, dir, name, password string) {
	t.Helper()
	run(t, dir, password+"\n", litfass(t), "--config", filepath.Join(dir, "litfass.toml"), "user", "add", name, "--password-stdin")
}
