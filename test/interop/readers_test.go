//go:build interop

package interop

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/litfass/litfass/internal/nntp"
	"github.com/litfass/litfass/test/nodebox"
)

// need skips unless the program is there, naming the Debian package to install.
func need(t *testing.T, program, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("SKIP: no %s here: install the Debian package %s", program, pkg)
	}
	return path
}

// library is a node with three articles in test.a, and a tap in front of it.
// anonymous is what a client may do without logging in.
func library(t *testing.T, anonymous string) (n *nodebox.Node, p *tap) {
	t.Helper()
	n, err := nodebox.New(litfass(t), nodebox.Options{Groups: []string{"test.a"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Remove)
	file := filepath.Join(n.Dir, "litfass.toml")
	conf, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	conf = []byte(strings.Replace(string(conf), "[nntp]\n", "[nntp]\nanonymous = \""+anonymous+"\"\n", 1))
	if err := os.WriteFile(file, conf, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Start(); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 3; i++ {
		file := filepath.Join(n.Dir, "art")
		art := fmt.Sprintf("From: Anna <anna@mesh.example>\nNewsgroups: test.a\nSubject: article %d\nMessage-ID: <%d@mesh.example>\n\nhello %d\n.dot\n", i, i, i)
		if err := os.WriteFile(file, []byte(art), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Run("post", file); err != nil {
			t.Fatal(err)
		}
	}
	return n, newTap(t, n.Addr)
}

// run runs a client with a home of its own and returns what it printed.
func run(t *testing.T, home, stdin, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "HOME="+home, "TERM=xterm", "LANG=C.UTF-8")
	cmd.Dir = home
	cmd.Stdin = strings.NewReader(stdin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // it dies with the tests, and its children with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// subjects are the subjects of test.a in the order of their numbers.
func subjects(t *testing.T, n *nodebox.Node) string {
	t.Helper()
	nc, err := net.Dial("tcp", n.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c := nntp.NewConn(nc, nntp.Options{})
	var all []string
	for i, cmd := range []string{"", "GROUP test.a", "HDR Subject 1-"} {
		if i > 0 {
			c.Command(cmd)
		}
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		if code, text, err := c.Answer(); err != nil || code >= 400 {
			t.Fatal(code, string(text), err)
		}
	}
	if err := c.Lines(func(l []byte) error {
		_, s, _ := strings.Cut(string(l), " ")
		all = append(all, s)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, ", ")
}

func has(t *testing.T, what, in string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(in, w) {
			t.Errorf("%s: no %q in\n%s", what, w, in)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
}

const nntplibScript = `
import nntplib, sys, datetime
s = nntplib.NNTP(sys.argv[1], int(sys.argv[2]), user=sys.argv[3] or None, password=sys.argv[4] or None, readermode=True)
print(s.getwelcome())
print(sorted(s.getcapabilities()))
print(s.list("test.*")[1])
print(s.descriptions("test.*")[1])
print(s.group("test.a"))
for n, o in s.over((1, 3))[1]:
    print(n, o["subject"], o[":bytes"], o["xref"])
print(s.xhdr("subject", "1-2")[1])
print(s.head("<2@mesh.example>")[1].lines)
print(s.body(2)[1].lines)
print(s.article(3)[1].lines)
print(s.stat(1), s.next(), s.last())
print(s.newnews("test.a", datetime.datetime(2000, 1, 1))[1])
print(s.newgroups(datetime.datetime(2000, 1, 1))[1])
print(s.date())
print(s.help()[0])
print(s.post(b"From: o@mesh.example\r\nNewsgroups: test.a\r\nSubject: from nntplib\r\n\r\n.dot\r\n".splitlines(True)))
print(s.quit())
`

func TestNntplib(t *testing.T) {
	python := need(t, "python3", "python3")
	if exec.Command(python, "-W", "ignore", "-c", "import nntplib").Run() != nil {
		t.Skip("SKIP: this python3 has no nntplib any more (gone since 3.13)")
	}
	n, p := library(t, "post")
	out := run(t, t.TempDir(), "", python, "-W", "ignore", "-c", nntplibScript, p.host, p.port, "", "")
	has(t, "nntplib", out, "200 node.test.example", "'OVER'", "group='test.a', last='3', first='1', flag='y'",
		"('211 3 1 3 test.a', 3, 1, 3, 'test.a')", "2 article 2", "node.test.example test.a:3",
		"[b'hello 2', b'.dot']", "b'hello 3'", "'<1@mesh.example>', '<2@mesh.example>', '<3@mesh.example>'",
		"240 article received", "205 ")
	has(t, "node", subjects(t, n), "from nntplib")
	p.saw(t, "> CAPABILITIES", "< OVER MSGID", "> LIST ACTIVE test.*", "< test.a 3 1 y", "> GROUP test.a", "< 211 3 1 3 test.a", "> OVER 1-3", "< 224 ", "< 1\tarticle 1\t",
		"> XHDR subject 1-2", "< 221 ", "> HEAD <2@mesh.example>", "< 221 0 <2@mesh.example>", "> BODY 2", "< 222 2 <2@mesh.example>", "> NEXT", "< 223 2 ", "> LAST", "< 223 1 ",
		"> NEWNEWS test.a 20000101 000000", "< 230 ", "> POST", "< 340 ", "> ..dot", "> .", "< 240 ", "> QUIT", "< 205 ")
}

// TestNntplibLogin: nothing without a login, everything with it.
func TestNntplibLogin(t *testing.T) {
	python := need(t, "python3", "python3")
	if exec.Command(python, "-W", "ignore", "-c", "import nntplib").Run() != nil {
		t.Skip("SKIP: this python3 has no nntplib any more (gone since 3.13)")
	}
	n, p := library(t, "none")
	login(t, n)
	out := run(t, t.TempDir(), "", python, "-W", "ignore", "-c", nntplibScript, p.host, p.port, "anna", "secretword")
	has(t, "nntplib", out, "240 article received", "205 ")
	p.saw(t, "< AUTHINFO USER SASL", "> authinfo user anna", "< 381 ", "> authinfo pass secretword", "< 281 ", "> CAPABILITIES", "< POST", "> GROUP test.a", "< 211 ", "> POST", "< 340 ", "< 240 ")
}

// login makes an account.
func login(t *testing.T, n *nodebox.Node) {
	t.Helper()
	cmd := exec.Command(litfass(t), "--config", filepath.Join(n.Dir, "litfass.toml"), "user", "add", "anna", "--password-stdin")
	cmd.Stdin = strings.NewReader("secretword\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("user add: %v\n%s", err, out)
	}
}

const netNNTPScript = `
use Net::NNTP;
my $s = Net::NNTP->new($ARGV[0], Port => $ARGV[1], Timeout => 20) or die "connect";
my $l = $s->list; print join(" ", sort keys %$l), "\n";
print join(" ", $s->group("test.a")), "\n";
my $o = $s->xover("1-3"); print "$_ @{$o->{$_}}\n" for sort keys %$o;
my $h = $s->xhdr("Subject", "1-3"); print "$_ $h->{$_}\n" for sort keys %$h;
my $p = $s->xpat("Subject", "*cle 2*", "1-3"); print "xpat $_ $p->{$_}\n" for sort keys %$p;
print @{$s->article(2)}; print @{$s->head("<3\@mesh.example>")}; print @{$s->body(1)};
my $n = $s->newnews(time - 3600, "test.a"); print "new @$n\n";
my $g = $s->newgroups(time - 3600); print "groups ", join(" ", sort keys %$g), "\n";
print "date ", $s->date, "\n";
$s->post("From: o\@mesh.example\n", "Newsgroups: test.a\n", "Subject: from Net::NNTP\n", "\n", ".dot\n") or die "post " . $s->code . $s->message;
print "posted ", $s->message; $s->quit;
`

func TestNetNNTP(t *testing.T) {
	perl := need(t, "perl", "perl")
	n, p := library(t, "post")
	out := run(t, t.TempDir(), "", perl, "-e", netNNTPScript, p.host, p.port)
	has(t, "Net::NNTP", out, "test.a", "3 1 3 test.a", "2 article 2", "xpat 2 article 2", "Xref: node.test.example test.a:2",
		"hello 1\n.dot\n", "new <1@mesh.example> <2@mesh.example> <3@mesh.example>", "groups ", "posted article received")
	if strings.Contains(out, "xpat 1") {
		t.Error("XPAT matches too much")
	}
	has(t, "node", subjects(t, n), "from Net::NNTP")
	p.saw(t, "< 200 ", "> MODE READER", "< 200 ", "> LIST", "< 215 ", "> XOVER 1-3", "< 224 ", "> XHDR Subject 1-3", "< 221 ", "> XPAT Subject 1-3 *cle 2*", "< 221 ", "< 2 article 2", "< .",
		"> ARTICLE 2", "< 220 2 <2@mesh.example>", "> HEAD <3@mesh.example>", "< 221 0 ", "> BODY 1", "< 222 1 ", "> NEWNEWS test.a ", "< 230 ", "> NEWGROUPS ", "< 231 ", "> POST", "< 340 ", "> ..dot", "< 240 ", "> QUIT", "< 205 ")
}

func TestSuck(t *testing.T) {
	suck := need(t, "suck", "suck")
	_, p := library(t, "post")
	home := t.TempDir()
	write(t, filepath.Join(home, "data", "sucknewsrc"), "test.a 0\n")
	write(t, filepath.Join(home, "tmp", "x"), "")
	write(t, filepath.Join(home, "msgs", "x"), "")
	run(t, home, "", suck, p.host, "-N", p.port, "-dd", "data", "-dt", "tmp", "-dm", "msgs", "-m", "-c")
	files, err := filepath.Glob(filepath.Join(home, "msgs", "*-*"))
	if err != nil || len(files) != 3 {
		t.Fatalf("%d articles fetched, %v", len(files), err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		has(t, "suck", string(b), "Subject: article", "Xref: node.test.example test.a:", "hello ", "dot\n")
	}
	p.saw(t, "> group test.a", "< 211 3 1 3 test.a", "> xhdr Message-ID 1-3", "< 221 ", "< 3 <3@mesh.example>", "> article <1@mesh.example>", "< 220 0 <1@mesh.example>", "> article <3@mesh.example>", "< 220 0 <3@mesh.example>", "> quit", "< 205 ")
}

func TestRpost(t *testing.T) {
	rpost := need(t, "rpost", "suck")
	n, p := library(t, "post")
	art := "From: Otto <otto@mesh.example>\nNewsgroups: test.a\nSubject: from rpost\nMessage-ID: <r@mesh.example>\nDate: " +
		time.Now().Format(time.RFC1123Z) + "\n\nhello\n"
	has(t, "rpost", run(t, t.TempDir(), art, rpost, p.host, "-N", p.port), "240 article received <r@mesh.example>")
	has(t, "node", subjects(t, n), "from rpost")
	p.saw(t, "> POST", "< 340 ", "> Subject: from rpost", "> .", "< 240 article received <r@mesh.example>", "> quit", "< 205 ")
}

func TestSlrnpull(t *testing.T) {
	slrnpull := need(t, "slrnpull", "slrnpull")
	n, p := library(t, "post")
	home := t.TempDir()
	write(t, filepath.Join(home, "slrnpull.conf"), "default 100 0\ntest.a\n")
	write(t, filepath.Join(home, "out.going", "Xone"), "From: Otto <otto@mesh.example>\nNewsgroups: test.a\nSubject: from slrnpull\n\nhello\n.dot\n")
	run(t, home, "", slrnpull, "-d", home, "-h", p.addr)
	has(t, "node", subjects(t, n), "from slrnpull")
	for i := 1; i <= 3; i++ {
		b, err := os.ReadFile(filepath.Join(home, "news", "test", "a", fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		has(t, "slrnpull", string(b), fmt.Sprintf("Subject: article %d", i), fmt.Sprintf("hello %d\n.dot\n", i))
	}
	p.saw(t, "> MODE READER", "< 200 ", "> XHDR", "< 501 ", "> POST", "< 340 ", "< 240 ", "> GROUP test.a", "< 211 4 1 4 test.a", "> XHDR Message-ID 1-", "< 221 ",
		"> head 1", "> head 4", "< 221 1 ", "< 221 4 ", "> body 1", "> body 4", "< 222 1 ", "< 222 4 ", "> QUIT")
}

// TestTinBatch: tin -S saves what is unread.
func TestTinBatch(t *testing.T) {
	tin := need(t, "tin", "tin")
	_, p := library(t, "post")
	home := t.TempDir()
	write(t, filepath.Join(home, "newsrc"), "test.a:\n")
	out := run(t, home, "", tin, "-r", "-g", p.host, "-p", p.port, "-f", filepath.Join(home, "newsrc"), "-n", "-S", "-v", "-s", filepath.Join(home, "save"))
	has(t, "tin", out, "article 1", "article 3", "Saved 3 articles from 1 group")
	p.saw(t, "> CAPABILITIES", "> LIST COUNTS test.a", "< test.a 3 1 3 y", "> LISTGROUP test.a", "< 211 ", "> OVER 1-3", "< 224 ", "> ARTICLE 1", "< 220 1 ", "> ARTICLE 3", "< 220 3 ", "> QUIT", "< 205 ")
}

// screen is a terminal in which a newsreader runs.
type screen struct {
	t   *testing.T
	dir string
}

func newScreen(t *testing.T, command string) *screen {
	t.Helper()
	need(t, "tmux", "tmux")
	s := &screen{t, t.TempDir()}
	// timeout ends it if the tests are killed: tmux is a server, it dies with nobody.
	command = "timeout --foreground -k 1 90 sh -c '" + strings.ReplaceAll(command, "'", `'\''`) + "'"
	s.tmux("-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "40", command)
	pid, err := strconv.Atoi(strings.TrimSpace(s.tmux("display-message", "-p", "#{pane_pid}")))
	if err != nil || pid < 2 {
		t.Fatal("tmux tells no process", err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-pid, syscall.SIGKILL) // the newsreader's process group: else it may go on writing into its home
		_ = exec.Command("tmux", "-S", filepath.Join(s.dir, "s"), "kill-server").Run()
		for end := time.Now().Add(5 * time.Second); syscall.Kill(-pid, 0) == nil && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		}
	})
	return s
}

func (s *screen) tmux(args ...string) string {
	s.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", filepath.Join(s.dir, "s")}, args...)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("tmux %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// see waits until the text stands on the screen.
func (s *screen) see(text string) {
	s.t.Helper()
	var now string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if now = s.tmux("capture-pane", "-p"); strings.Contains(now, text) {
			return
		}
	}
	s.t.Fatalf("no %q on the screen:\n%s", text, now)
}

// keys types what tmux calls keys.
func (s *screen) keys(keys ...string) {
	s.t.Helper()
	s.tmux(append([]string{"send-keys"}, keys...)...)
}

func TestSlrn(t *testing.T) {
	slrn := need(t, "slrn", "slrn")
	n, p := library(t, "post")
	home := t.TempDir()
	editor := filepath.Join(home, "editor")
	write(t, editor, "#!/bin/sh\necho hello from slrn >> \"$1\"\n")
	write(t, filepath.Join(home, "newsrc"), "test.a:\n")
	write(t, filepath.Join(home, "slrnrc"), "set editor_command \""+editor+" '%s'\"\nset username \"otto\"\nset hostname \"mesh.example\"\n")
	s := newScreen(t, fmt.Sprintf("HOME=%s %s -n -h %s -p %s -f %s/newsrc -i %s/slrnrc 2>/dev/null", home, slrn, p.host, p.port, home, home))
	s.see("3  test.a")
	s.keys("Enter")
	s.see("article 2")
	s.keys("Enter")
	s.see("hello 1")
	s.see(".dot")
	s.keys("q")
	s.see("News Groups:")
	s.keys("P")
	s.see("Are you sure that you want to post?")
	s.keys("y")
	s.see("Newsgroup: test.a")
	s.keys("Enter")
	s.see("Subject:")
	s.keys("-l", "from slrn")
	s.keys("Enter")
	s.see("Post the message?")
	s.keys("y")
	s.see("Posting...done")
	has(t, "node", subjects(t, n), "from slrn")
	p.saw(t, "> MODE READER", "< 200 ", "> XOVER", "< 412 ", "> XHDR Path", "< 412 ", "> GROUP test.a", "< 211 3 1 3 test.a", "> XOVER 1-3", "< 224 ", "> ARTICLE 1", "< 220 1 ", "> POST", "< 340 ", "> Subject: from slrn", "< 240 ")
	p.never(t, "> HEAD") // it asks for each header by itself if it dislikes LIST OVERVIEW.FMT
}

func TestTin(t *testing.T) {
	tin := need(t, "tin", "tin")
	n, p := library(t, "post")
	home := t.TempDir()
	editor := filepath.Join(home, "editor")
	write(t, editor, "#!/bin/sh\nfor f; do :; done\necho hello from tin >> \"$f\"\n")
	write(t, filepath.Join(home, "newsrc"), "test.a:\n")
	write(t, filepath.Join(home, ".tin", "tinrc"), "default_editor_format="+editor+" %F\nmail_address=Otto <otto@mesh.example>\nshow_help_mail_sign=0\n")
	s := newScreen(t, fmt.Sprintf("HOME=%s VISUAL=%s EDITOR=%s %s -r -g %s -p %s -f %s/newsrc", home, editor, editor, tin, p.host, p.port, home))
	s.see("test.a")
	s.keys("Enter")
	s.see("article 2")
	s.keys("Enter")
	s.see("hello 1")
	s.keys("q")
	s.see("article 2")
	s.keys("w")
	s.see("Post subject")
	s.keys("-l", "from tin")
	s.keys("Enter")
	s.see("p=post")
	s.keys("p")
	s.see("article 2")
	has(t, "node", subjects(t, n), "from tin")
	p.saw(t, "> CAPABILITIES", "> LIST COUNTS", "< test.a 3 1 3 y", "> LIST NEWSGROUPS", "> LISTGROUP test.a", "< 211 ", "> OVER 1-3", "< 224 ", "> ARTICLE 1", "< 220 1 ", "> POST", "< 340 ", "> Subject: from tin", "< 240 ")
}

// TestRpostLogin: rpost logs in only when it is told 480.
func TestRpostLogin(t *testing.T) {
	rpost := need(t, "rpost", "suck")
	n, p := library(t, "read")
	login(t, n)
	art := "From: Otto <otto@mesh.example>\nNewsgroups: test.a\nSubject: from rpost\nDate: " + time.Now().Format(time.RFC1123Z) + "\n\nhello\n"
	has(t, "rpost", run(t, t.TempDir(), art, rpost, p.host, "-N", p.port, "-U", "anna", "-P", "secretword"), "Authentication succeeded", "240 article received")
	has(t, "node", subjects(t, n), "from rpost")
	p.saw(t, "> POST", "< 480 ", "> AUTHINFO USER anna", "< 381 ", "> AUTHINFO PASS secretword", "< 281 ", "> POST", "< 340 ", "< 240 ")
}

// TestNeomutt reads and posts. It uses STARTTLS wherever that is listed, and
// stops at a certificate it cannot check: here none is listed.
func TestNeomutt(t *testing.T) {
	mutt := need(t, "neomutt", "neomutt")
	n, p := library(t, "read")
	login(t, n)
	home := t.TempDir()
	editor := filepath.Join(home, "editor")
	write(t, editor, "#!/bin/sh\necho hello from neomutt >> \"$1\"\n")
	write(t, filepath.Join(home, "newsrc"), "test.a:\n")
	write(t, filepath.Join(home, "Mail", "sent"), "")
	write(t, filepath.Join(home, "muttrc"), strings.Join([]string{
		"set news_server=\"news://" + p.addr + "\"", "set newsrc=\"" + home + "/newsrc\"", "set nntp_user=anna nntp_pass=secretword nntp_authenticators=\"user\"",
		"set ssl_force_tls=no ssl_starttls=yes", "set editor=\"" + editor + "\"", "set from=\"otto@mesh.example\" realname=Otto", "set news_cache_dir=\"" + home + "/cache\"",
		"set wait_key=no fast_reply=yes header_cache=\"\" copy=no", "set nntp_listgroup=yes help=yes", "set post_moderated=yes"}, "\n")+"\n")
	s := newScreen(t, fmt.Sprintf("HOME=%s %s -n -F %s/muttrc -G", home, mutt, home))
	s.see("test.a")
	s.keys("Enter")
	s.see("article 2")
	s.keys("Enter")
	s.see("hello 1")
	s.see(".dot")
	s.keys("i")
	s.see("article 3")
	s.keys("-l", ":exec post-message")
	s.keys("Enter")
	s.see("Newsgroups:")
	s.keys("Enter")
	s.see("Subject:")
	s.keys("-l", "from neomutt")
	s.keys("Enter")
	s.see("y:Send")
	s.keys("y")
	s.see("Article posted")
	has(t, "node", subjects(t, n), "from neomutt")
	p.saw(t, "> CAPABILITIES", "> AUTHINFO USER anna", "< 381 ", "< 281 ", "> CAPABILITIES", "< POST", "> GROUP test.a", "< 211 ", "> LISTGROUP test.a 1-3", "< 211 ", "> XOVER 1-3", "< 224 ", "> ARTICLE 1", "< 220 1 ", "> POST", "< 340 ", "> Subject: from neomutt", "< 240 ")
}
