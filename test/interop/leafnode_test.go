//go:build interop

package interop

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/litfass/litfass/internal/nntp"
)

// leaf is a leafnode whose files lie in a folder of its own: the program has no
// option for them, so it gets its own view of /etc and /var/spool.
type leaf struct {
	t         *testing.T
	bin, home string
}

// newLeaf lays out a leafnode that fetches from host:port, or skips.
func newLeaf(t *testing.T, host, port string) *leaf {
	t.Helper()
	unshare := need(t, "unshare", "util-linux")
	bin, err := filepath.Abs("../../.cache/debs/leafnode/usr/sbin")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(bin, "fetchnews")); err != nil {
		t.Skip("SKIP: no leafnode in .cache/debs: make test-deps unpacks the Debian package leafnode there")
	}
	if os.Getuid() != 0 || exec.Command(unshare, "-m", "true").Run() != nil {
		t.Skip("SKIP: leafnode needs root and a mount namespace: its files have fixed places")
	}
	l := &leaf{t, bin, t.TempDir()}
	for _, dir := range []string{l.home, filepath.Dir(l.home)} {
		if err := os.Chmod(dir, 0o755); err != nil { // leafnode works as the user news
			t.Log(err)
		}
	}
	for _, name := range []string{"passwd", "group", "hosts", "nsswitch.conf", "hostname"} {
		text, err := os.ReadFile("/etc/" + name)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(l.home, "etc", name), string(text))
	}
	write(t, filepath.Join(l.home, "etc/news/leafnode/config"), "server = "+host+"\nport = "+port+
		"\nusername = anna\npassword = secretword\nexpire = 20\nhostname = leaf.home.arpa\ninitialfetch = 100\nmaxfetch = 100\n")
	if err := os.Chmod(filepath.Join(l.home, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"", "leaf.node", "failed.postings", "interesting.groups", "out.going", "message.id", "temp.files", "log"} {
		dir := filepath.Join(l.home, "spool", d)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1000 {
		if err := os.Mkdir(filepath.Join(l.home, "spool/message.id", fmt.Sprintf("%03d", i)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("chown", "-R", "news:news", filepath.Join(l.home, "spool"), filepath.Join(l.home, "etc/news")).CombinedOutput(); err != nil {
		t.Skipf("SKIP: there is no user news here: %s", out)
	}
	return l
}

// command is one of leafnode's programs in its own view of the files.
func (l *leaf) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	view := `mount --bind "$0/etc" /etc && mount -t tmpfs none /var/spool && mkdir /var/spool/news && mount --bind "$0/spool" /var/spool/news && exec "$@"`
	return exec.CommandContext(ctx, "unshare", append([]string{"-m", "--propagation", "private", "sh", "-c", view, l.home, filepath.Join(l.bin, program)}, args...)...)
}

func (l *leaf) fetch(args ...string) string {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	defer cancel()
	out, err := l.command(ctx, "fetchnews", append([]string{"-vvv", "-w"}, args...)...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("fetchnews: %v\n%s", err, out)
	}
	return string(out)
}

// serve is what inetd does: each connection gets a process.
func (l *leaf) serve() (addr string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	l.t.Cleanup(func() { ln.Close(); cancel(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			f, err := c.(*net.TCPConn).File()
			c.Close()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer f.Close()
				cmd := l.command(ctx, "leafnode")
				cmd.Stdin, cmd.Stdout = f, f
				_ = cmd.Run() // what a reader sees is looked at there
			})
		}
	})
	return ln.Addr().String()
}

// TestLeafnode: the whole cycle. leafnode learns of our groups, a reader asks for
// one there, leafnode fetches it, the reader reads and posts, leafnode posts here.
func TestLeafnode(t *testing.T) {
	n, p := library(t, "read")
	login(t, n)
	l := newLeaf(t, p.host, p.port)
	has(t, "first fetch", l.fetch(), "getting all newsgroups")
	addr := l.serve()
	reader := func() *nntp.Client {
		t.Helper()
		c, err := nntp.Dialer{Address: addr}.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	c := reader()
	if _, _, _, err := c.Group("test.a"); err != nil {
		t.Fatalf("the group at leafnode: %v", err)
	}
	if _, err := c.Article("1", 1<<20); err != nil { // its placeholder; reading that is what asks for the group
		t.Logf("placeholder: %v", err)
	}
	_ = c.Quit()

	has(t, "second fetch", l.fetch(), "test.a: 3 articles fetched")
	c = reader()
	if _, _, high, err := c.Group("test.a"); err != nil || high < 3 {
		t.Fatalf("group at leafnode: up to %d, %v", high, err)
	}
	a, err := c.Article("<2@mesh.example>", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	has(t, "article at leafnode", string(a), "Subject: article 2\r\n", "hello 2\r\n..dot\r\n")
	post := "From: Otto <otto@mesh.example>\r\nNewsgroups: test.a\r\nSubject: from a leaf\r\n\r\nhello\r\n..dot\r\n.\r\n"
	if err := c.Post([]byte(post)); err != nil {
		t.Fatalf("POST at leafnode: %v", err)
	}
	_ = c.Quit()

	out := l.fetch("-P")
	if s := subjects(t, n); !strings.Contains(s, "from a leaf") {
		t.Errorf("posted at the leaf, here are: %s\n%s", s, out)
	}
	if failed, _ := filepath.Glob(filepath.Join(l.home, "spool/failed.postings/*")); len(failed) > 0 {
		t.Errorf("leafnode keeps %v as failed\n%s", failed, out)
	}
	p.saw(t, "> AUTHINFO USER anna", "< 381 ", "< 281 ", "> MODE READER", "< 200 ", "> DATE", "< 111 ", "> LIST", "< 215 ", "< test.a 3 1 y", "> LIST NEWSGROUPS", "< 215 ", "> QUIT")
	p.saw(t, "< 281 ", "> NEWGROUPS ", "< 231 ", "> GROUP test.a", "< 211 3 1 3 test.a", "> XOVER 1-3", "< 224 ", "> ARTICLE 1", "< 220 1 ", "> ARTICLE 3", "< 220 3 ")
	p.saw(t, "< 281 ", "> GROUP test.a", "> STAT <", "< 430 ", "> POST", "< 340 ", "> Subject: from a leaf", "> ..dot", "> .", "< 240 ")
}
