//go:build interop

package interop

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/litfass/litfass/test/nodebox"
)

// debs returns the folder of a package that test/deps.sh unpacked.
func debs(t *testing.T, pkg string) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "..", ".cache", "debs", pkg))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("SKIP: the Debian package %s is not unpacked here: run `make test-deps`", pkg)
	}
	return dir
}

func freeAddr(t *testing.T) string {
	t.Helper()
	a, err := nodebox.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// eventually polls a foreign program until ok, 30 s at most.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 30 s in vain: %s", what)
		}
	}
}

// mailNode is a node with the group test.a and these sections in place of its own
// [smtp].
func mailNode(t *testing.T, sections string) *nodebox.Node {
	t.Helper()
	return mailNodeAs(t, "", sections)
}

// mailNodeAs is mailNode with a path identity.
func mailNodeAs(t *testing.T, host, sections string) *nodebox.Node {
	t.Helper()
	n, err := nodebox.New(litfass(t), nodebox.Options{Host: host, Groups: []string{"test.a"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Remove)
	file := filepath.Join(n.Dir, "litfass.toml")
	conf, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	conf = []byte(strings.Replace(string(conf), "[smtp]\nlisten = []\n[http]\nlisten = []\n", sections, 1))
	if err := os.WriteFile(file, conf, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(n.Log())
		}
	})
	return n
}

// child starts a program that dies with the test.
func child(t *testing.T, env []string, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		done := make(chan struct{})
		go func() { _ = cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-done
		}
	})
}

// postfix is a Postfix of the test's own on loopback: it delivers mail for
// people.example into one maildir, hands other domains on as transport says, and
// sends nothing else anywhere.
type postfix struct{ addr, dir, deb, more string }

const masterCF = `%s inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
flush unix n - n 1000? 0 flush
postlog unix-dgram n - n - 1 postlogd
`

const mainCF = `compatibility_level = 3.6
queue_directory = %[1]s/q
data_directory = %[1]s/d
command_directory = %[2]s/usr/sbin
daemon_directory = %[2]s/usr/lib/postfix/sbin
shlib_directory = %[2]s/usr/lib/postfix
meta_directory = %[1]s/c
mail_owner = daemon
setgid_group = mail
default_privs = nobody
import_environment = MAIL_CONFIG LD_LIBRARY_PATH PATH TZ LANG
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.people.example
mydestination =
mynetworks = 127.0.0.0/8
maillog_file_prefixes = %[1]s
maillog_file = %[1]s/log
alias_maps =
local_recipient_maps =
smtpd_relay_restrictions = permit_mynetworks, reject
disable_dns_lookups = yes
virtual_mailbox_domains = people.example
virtual_mailbox_base = %[1]s/mail
virtual_mailbox_maps = static:box/
virtual_minimum_uid = 1
virtual_uid_maps = static:1
virtual_gid_maps = static:1
transport_maps = inline:{%[3]s}
default_transport = error:nothing leaves this machine
`

// layOut writes its configuration and queue; start runs it.
func layOut(t *testing.T) *postfix {
	t.Helper()
	deb := debs(t, "postfix")
	if os.Getuid() != 0 {
		t.Skip("SKIP: Postfix runs as root only")
	}
	dir, err := os.MkdirTemp("", "litfass-postfix-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &postfix{addr: freeAddr(t), dir: dir, deb: deb}
	uid, gid := ids(t)
	for _, d := range []struct {
		name string
		mode os.FileMode
	}{{"", 0o755}, {"c", 0o755}, {"q", 0o755}, {"q/pid", 0o755}, {"d", 0o700}, {"mail", 0o755}, {"q/public", 0o2710}, {"q/maildrop", 0o1730},
		{"q/active", 0o700}, {"q/bounce", 0o700}, {"q/corrupt", 0o700}, {"q/defer", 0o700}, {"q/deferred", 0o700}, {"q/flush", 0o700},
		{"q/hold", 0o700}, {"q/incoming", 0o700}, {"q/private", 0o700}, {"q/saved", 0o700}, {"q/trace", 0o700}} {
		path := filepath.Join(dir, d.name)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if d.name != "" && d.name != "c" && d.name != "q" && d.name != "q/pid" {
			if err := os.Chown(path, uid, gid); err != nil {
				t.Fatal(err)
			}
		}
		mode := d.mode.Perm()
		if d.mode&0o2000 != 0 {
			mode |= os.ModeSetgid
		}
		if d.mode&0o1000 != 0 {
			mode |= os.ModeSticky
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// ids are the user daemon and the group mail, which every Debian has.
func ids(t *testing.T) (uid, gid int) {
	t.Helper()
	u, err := user.Lookup("daemon")
	if err != nil {
		t.Skip("SKIP: no user daemon here")
	}
	g, err := user.LookupGroup("mail")
	if err != nil {
		t.Skip("SKIP: no group mail here")
	}
	uid, _ = strconv.Atoi(u.Uid)
	gid, _ = strconv.Atoi(g.Gid)
	return uid, gid
}

func (p *postfix) start(t *testing.T, transport string) {
	t.Helper()
	for name, text := range map[string]string{"c/main.cf": fmt.Sprintf(mainCF, p.dir, p.deb, transport) + p.more, "c/master.cf": fmt.Sprintf(masterCF, p.addr)} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	child(t, []string{"LD_LIBRARY_PATH=" + p.deb + "/usr/lib/postfix"}, p.deb+"/usr/lib/postfix/sbin/master", "-d", "-c", p.dir+"/c")
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(p.dir, "log"))
			t.Logf("%s", log[max(0, len(log)-5000):])
		}
	})
	eventually(t, "Postfix listens", func() bool { return greets(p.addr) })
}

// mails returns what lies in the mailbox.
func (p *postfix) mails() (all []string) {
	files, _ := filepath.Glob(filepath.Join(p.dir, "mail/box/*/*"))
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && !strings.Contains(f, "dovecot") {
			all = append(all, strings.ReplaceAll(string(b), "\r\n", "\n"))
		}
	}
	return all
}

// find waits for a mail that holds all of these texts.
func (p *postfix) find(t *testing.T, texts ...string) (found string) {
	t.Helper()
	eventually(t, "a mail with "+strings.Join(texts, " and "), func() bool {
		for _, m := range p.mails() {
			all := true
			for _, s := range texts {
				all = all && strings.Contains(m, s)
			}
			if all {
				found = m
				return true
			}
		}
		return false
	})
	return found
}
