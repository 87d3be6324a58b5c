//go:build interop

package interop

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/litfass/litfass/test/nodebox"
)

// TestSignedThroughPostfix: what one node signs and mails to its subscribers comes
// out of a real Postfix at another node as the article that was signed; so does what a
// person mails to the group who signs for himself. Where Postfix says that it knows
// no 8BITMIME, octets over 127 go wrapped.
func TestSignedThroughPostfix(t *testing.T) {
	for _, c := range []struct{ name, more string }{{"8BITMIME", ""}, {"7 bit", "smtpd_discard_ehlo_keywords = 8bitmime\n"}} {
		t.Run(c.name, func(t *testing.T) { signedThroughPostfix(t, c.more) })
	}
}

func signedThroughPostfix(t *testing.T, more string) {
	swaks := need(t, "swaks", "swaks")
	p := layOut(t)
	web, smtp := freeAddr(t), freeAddr(t)
	here := mailNodeAs(t, "here.test.example", fmt.Sprintf("[smtp]\nlisten = []\nsmarthost = %q\n[http]\nlisten = [%q]\n", p.addr, web))
	there := mailNodeAs(t, "there.test.example", fmt.Sprintf("[smtp]\nlisten = [%q]\nfront = [\"127.0.0.0/8\"]\nsmarthost = %q\n[http]\nlisten = []\n", smtp, p.addr))
	_, port, _ := net.SplitHostPort(smtp)
	p.more = more
	p.start(t, fmt.Sprintf("{there.test.example=smtp:[127.0.0.1]:%s}", port))
	command(t, there, "key", "fetch", "http://"+web)
	command(t, there, "key", "trust", nodeID(t, here), "--purpose", "*", "--name", "here")
	command(t, here, "mail", "add", "test.a", "test.a@there.test.example")
	bodies := []string{"plain\n.a dot\n..\nFrom here on \n\n\n", "Gr\303\274\303\237e \n\t\n", strings.Repeat("0123456789", 99) + "\n"}
	for i, body := range bodies {
		post(t, here, fmt.Sprintf("From: A <a%d@people.example>\nNewsgroups: test.a\nSubject: %s %d\n\n%s", i, []string{"plain", "Gr\303\274\303\237e"}[i%2], i, body))
	}
	eventually(t, "three articles at the other node", func() bool { return len(nonempty(signers(t, there.Addr))) == 3 })
	// A signed article mailed by a person: one that this node has not mailed.
	command(t, here, "mail", "rm", "test.a", "test.a@there.test.example")
	post(t, here, "From: B <b@people.example>\nNewsgroups: test.a\nSubject: by a client\n\nwritten and signed elsewhere\n")
	file := filepath.Join(t.TempDir(), "mail")
	if err := os.WriteFile(file, []byte(mailOf(t, here, "by a client")), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second one is a copy
		run(t, t.TempDir(), "", swaks, "--server", p.addr, "--from", "b@people.example", "--to", "test.a@there.test.example", "--data", "@"+file)
	}
	eventually(t, "the fourth article", func() bool { return len(nonempty(signers(t, there.Addr))) == 4 })
	lines := nonempty(signers(t, there.Addr))
	if n := strings.Count(strings.Join(lines, "\n"), " verified gate "+strings.TrimPrefix(nodeID(t, here), "id:")); n != 4 || len(lines) != 4 {
		t.Errorf("%d of %d are verified:\n%s", n, len(lines), strings.Join(lines, "\n"))
	}
	for _, m := range p.mails() {
		if strings.Contains(m, "confirm") || strings.Contains(m, "Undelivered") {
			t.Errorf("somebody was asked, or something came back:\n%s", m)
		}
	}
}

func command(t *testing.T, n *nodebox.Node, args ...string) string {
	t.Helper()
	out, err := n.Run(args...)
	if err != nil {
		t.Fatalf("litfass %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// post posts an article on the command line.
func post(t *testing.T, n *nodebox.Node, text string) {
	t.Helper()
	cmd := exec.Command(litfass(t), "--config", filepath.Join(n.Dir, "litfass.toml"), "post")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatal(string(out), err)
	}
}

func nonempty(lines []string) (out []string) {
	for _, l := range lines {
		if strings.TrimSpace(l) != "" && l != "." {
			out = append(out, l)
		}
	}
	return out
}

// mailOf exports the article with that subject as a mail: without Path and Xref.
func mailOf(t *testing.T, n *nodebox.Node, subject string) string {
	t.Helper()
	for _, a := range strings.Split(command(t, n, "export", "--group", "test.a"), "\nFrom ") {
		if !strings.Contains(a, "Subject: "+subject+"\n") {
			continue
		}
		_, a, _ = strings.Cut(a, "\n") // the line of the mbox
		var out strings.Builder
		for _, l := range strings.SplitAfter(a, "\n") {
			if !strings.HasPrefix(l, "Path: ") && !strings.HasPrefix(l, "Xref: ") && !strings.HasPrefix(l, "Injection-") {
				out.WriteString(l)
			}
		}
		return out.String()
	}
	t.Fatal("no article with the subject " + subject)
	return ""
}
