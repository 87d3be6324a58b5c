// Package innbox runs a private INN on loopback, for tests and measurements
// beside our own node. It needs the Debian packages inn2 and inn2-inews: those
// installed, or unpacked into a cache folder by Find, which leaves the system as
// it is (inn2 does not install on a machine without a fully qualified name, and
// excludes leafnode).
//
// Settings differ from Debian's in paths, limits, loopback only, no innwatch, no
// load limit for readers, no control messages, no mail. 127.0.0.1 is a peer
// without password.
package innbox

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Find returns the folder with INN's programs: $LITFASS_INN, the installed
// ones, or those of packages unpacked once into the user's cache folder or, for
// root, /var/tmp. Its error says what to do.
func Find() (bin string, err error) {
	cache := filepath.Join(os.TempDir(), "litfass-inn-"+strconv.Itoa(os.Getuid()))
	if os.Getuid() == 0 {
		cache = "/var/tmp/litfass-inn" // the user news must reach it
	}
	places := []string{os.Getenv("LITFASS_INN"), "/usr/lib/news/bin", filepath.Join(cache, "usr/lib/news/bin")}
	for _, bin := range places {
		if bin != "" && runs(bin) == nil {
			return bin, nil
		}
	}
	bin = places[2]
	if err := unpack(cache); err != nil {
		return "", fmt.Errorf("INN is not here: install the packages inn2 and inn2-inews, or name their folder in LITFASS_INN (%w)", err)
	}
	if err := runs(bin); err != nil {
		return "", fmt.Errorf("INN does not run here: %w", err)
	}
	return bin, nil
}

// runs says whether innd's libraries are all there.
func runs(bin string) error {
	if _, err := os.Stat(filepath.Join(bin, "innd")); err != nil {
		return err
	}
	cmd := exec.Command("ldd", filepath.Join(bin, "innd"))
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Dir(bin))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return err
	}
	if i := bytes.Index(out, []byte("not found")); i >= 0 {
		return fmt.Errorf("a library is missing: %s", bytes.TrimSpace(out[:i]))
	}
	return nil
}

// unpack fetches the packages with apt-get and unpacks them side by side.
func unpack(cache string) error {
	tmp, err := os.MkdirTemp("", "litfass-apt-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	get := exec.Command("apt-get", "-q", "download", "inn2", "inn2-inews")
	get.Dir = tmp
	if out, err := get.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get download: %w: %s", err, bytes.TrimSpace(out))
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil || len(debs) == 0 {
		return errors.New("apt-get download brought nothing")
	}
	for _, d := range debs {
		if out, err := exec.Command("dpkg-deb", "-x", d, cache).CombinedOutput(); err != nil {
			return fmt.Errorf("unpack %s: %w: %s", filepath.Base(d), err, bytes.TrimSpace(out))
		}
	}
	return nil
}

// Options of a box. A zero field takes the default named there.
type Options struct {
	Name     string   // path host; default innPORT.test.invalid
	Storage  string   // tradspool (default) or cnfs
	Overview string   // tradindexed (default) or buffindexed
	Groups   []string // made with status y
	Feeds    []Feed   // neighbours
}

// Feed is a neighbour to which innfeed, or innxmit by hand, sends.
type Feed struct {
	Name    string // without dots; its path identity is Exclude
	Exclude string // articles with it in Path are not sent
	Port    int    // on 127.0.0.1
	Batch   bool   // a batch file for innxmit instead of innfeed
}

// Box is one instance.
type Box struct {
	Dir  string
	Port int
	Addr string

	bin  string
	cred *syscall.Credential // nil: as we are
}

// New lays out a box in a temporary folder of its own: the user news must reach
// it if we are root, and its name be short, for a Unix socket lies in it.
func New(bin string, o Options) (*Box, error) {
	dir, err := os.MkdirTemp("", "innbox-")
	if err != nil {
		return nil, err
	}
	b := &Box{Dir: dir, bin: bin}
	if err := b.layOut(dir, o); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return b, nil
}

// Remove stops innd and removes the folder.
func (b *Box) Remove() {
	b.Stop()
	os.RemoveAll(b.Dir)
}

func (b *Box) layOut(dir string, o Options) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	b.Port = l.Addr().(*net.TCPAddr).Port
	b.Addr = l.Addr().String()
	l.Close()
	who, err := user.Current()
	if os.Getuid() == 0 {
		if who, err = user.Lookup("news"); err == nil {
			uid, _ := strconv.Atoi(who.Uid)
			gid, _ := strconv.Atoi(who.Gid)
			b.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		}
	}
	if err != nil {
		return fmt.Errorf("INN needs a user to run as: %w", err)
	}
	grp, err := user.LookupGroupId(who.Gid)
	if err != nil {
		return err
	}
	if o.Name == "" {
		o.Name = fmt.Sprintf("inn%d.test.invalid", b.Port)
	}
	for _, d := range []string{
		"etc", "filter", "db", "run", "log", "http", "tmp", "spool/articles", "spool/overview", "spool/incoming/tmp",
		"spool/incoming/bad", "spool/outgoing", "spool/archive", "spool/innfeed",
	} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	for name, text := range b.files(o, who.Username, grp.Name) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640); err != nil {
			return err
		}
	}
	if err := b.buffers(o); err != nil {
		return err
	}
	if b.cred != nil {
		err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Chown(path, int(b.cred.Uid), int(b.cred.Gid))
		})
		if err != nil {
			return err
		}
	}
	if out, err := b.Command("makedbz", "-i", "-o", "-s", "300000", "-f", filepath.Join(dir, "db/history")).CombinedOutput(); err != nil {
		return fmt.Errorf("makedbz: %w: %s", err, out)
	}
	return nil
}

// buffers makes the files that CNFS and buffindexed want beforehand.
func (b *Box) buffers(o Options) error {
	if o.Storage == "cnfs" {
		if err := zeros(filepath.Join(b.Dir, "spool/cyc1"), 700<<20); err != nil {
			return err
		}
	}
	if o.Overview == "buffindexed" {
		return zeros(filepath.Join(b.Dir, "spool/overview/OV1"), 400<<20)
	}
	return nil
}

func zeros(path string, n int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	block := make([]byte, 1<<20)
	for ; n > 0 && err == nil; n -= int64(len(block)) {
		_, err = f.Write(block)
	}
	return errors.Join(err, f.Close())
}

// files are the configuration and the empty databases.
func (b *Box) files(o Options, user, group string) map[string]string {
	or := func(s, v string) string {
		if s == "" {
			return v
		}
		return s
	}
	f := map[string]string{
		"etc/inn.conf": b.innConf(o, or(o.Overview, "tradindexed"), user, group),
		"etc/readers.conf": "auth \"here\" {\n hosts: \"127.0.0.1, ::1, localhost, stdin\"\n default: \"<here>\"\n}\n" +
			"access \"here\" {\n users: \"<here>\"\n newsgroups: \"*\"\n access: \"RPANI\"\n}\n",
		"etc/incoming.conf": "streaming: true\nmax-connections: 500\npeer here {\n hostname: \"127.0.0.1\"\n}\n",
		"etc/storage.conf":  "method tradspool {\n newsgroups: *\n class: 0\n}\n",
		"etc/expire.ctl":    "/remember/:11\n*:A:1:90:never\n",
		"etc/control.ctl":   "all:*:*:drop\n",
		"db/active":         "",
	}
	if o.Storage == "cnfs" {
		f["etc/storage.conf"] = "method cnfs {\n newsgroups: *\n class: 0\n options: POOL\n}\n"
		f["etc/cycbuff.conf"] = fmt.Sprintf("cycbuffupdate:25\nrefreshinterval:30\ncycbuff:ONE:%s/spool/cyc1:716800\nmetacycbuff:POOL:ONE\n", b.Dir)
	}
	if o.Overview == "buffindexed" {
		f["etc/buffindexed.conf"] = fmt.Sprintf("0:%s/spool/overview/OV1:409600\n", b.Dir)
	}
	for _, name := range []string{
		"etc/moderators", "etc/localgroups", "etc/nocem.ctl", "etc/subscriptions", "etc/distrib.pats", "etc/passwd.nntp",
		"etc/inn-secrets.conf", "db/newsgroups", "db/active.times", "db/history", "db/.news.daily",
	} {
		f[name] = ""
	}
	for _, g := range []string{"control", "control.cancel", "control.newgroup", "control.rmgroup", "junk"} {
		f["db/active"] += g + " 0000000000 0000000001 n\n"
	}
	for _, g := range o.Groups {
		f["db/active"] += g + " 0000000000 0000000001 y\n"
	}
	f["etc/newsfeeds"], f["etc/innfeed.conf"] = feedFiles(o.Feeds)
	return f
}

func (b *Box) innConf(o Options, overview, user, group string) string {
	return fmt.Sprintf(`mta: "/bin/true"
mailcmd: "/bin/true"
organization: "test"
domain: test.invalid
pathhost: %s
fromhost: test.invalid
complaints: "abuse@test.invalid"
runasuser: %s
runasgroup: %s
server: 127.0.0.1
port: %d
bindaddress: 127.0.0.1
bindaddress6: "::1"
nnrpdpostport: %d
ovmethod: %s
hismethod: hisv6
enableoverview: true
maxconnections: 500
doinnwatch: false
nnrpdloadlimit: 0
pgpverify: false
wanttrash: false
logcancelcomm: false
artcutoff: 0
pathnews: %[7]s
pathbin: %[8]s
pathcontrol: %[8]s/control
pathfilter: %[7]s/filter
pathdb: %[7]s/db
pathetc: %[7]s/etc
pathhttp: %[7]s/http
pathlog: %[7]s/log
pathrun: %[7]s/run
pathspool: %[7]s/spool
patharticles: %[7]s/spool/articles
patharchive: %[7]s/spool/archive
pathincoming: %[7]s/spool/incoming
pathoutgoing: %[7]s/spool/outgoing
pathoverview: %[7]s/spool/overview
pathtmp: %[7]s/tmp
`, o.Name, user, group, b.Port, b.Port, overview, b.Dir, b.bin)
}

// feedFiles are newsfeeds and innfeed.conf.
func feedFiles(feeds []Feed) (newsfeeds, innfeed string) {
	newsfeeds = "ME:!*/!local::\n"
	innfeed = "pid-file: innfeed.pid\nlog-file: innfeed.log\nstatus-file: innfeed.status\n" +
		"backlog-directory: innfeed\nmax-queue-size: 2000\nstreaming: true\n" +
		"initial-reconnect-time: 1\nmax-reconnect-time: 3\n" + // default 30 s and more: who starts first must not matter
		"host-queue-highwater: 5000\n" // default 10: the rest goes to a backlog file that may rest for minutes
	funnel := false
	for _, f := range feeds {
		if f.Batch {
			newsfeeds += fmt.Sprintf("%s/%s:*,!junk,!control,!control.*:Tf,Wnm:%s\n", f.Name, f.Exclude, f.Name)
			continue
		}
		funnel = true
		newsfeeds += fmt.Sprintf("%s/%s:*,!junk,!control,!control.*:Tm:innfeed!\n", f.Name, f.Exclude)
		innfeed += fmt.Sprintf("peer %s {\n ip-name: 127.0.0.1\n port-number: %d\n initial-connections: 2\n max-connections: 4\n}\n", f.Name, f.Port)
	}
	if funnel {
		newsfeeds += "innfeed!:!*:Tc,Wnm*:innfeed\n"
	}
	return newsfeeds, innfeed
}

// Command prepares one of INN's programs, which finds this box's configuration
// and runs as its user.
func (b *Box) Command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(b.bin, name), args...)
	lib := filepath.Dir(b.bin)
	cmd.Env = []string{
		"PATH=" + b.bin + ":" + lib + "/../../sbin:/usr/bin:/bin:/usr/sbin:/sbin", "LD_LIBRARY_PATH=" + lib,
		"INNCONF=" + filepath.Join(b.Dir, "etc/inn.conf"), "HOME=" + b.Dir,
	}
	cmd.Dir = b.Dir
	if b.cred != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: b.cred}
	}
	return cmd
}

// WriteFile makes a file of the box's, owned by its user.
func (b *Box) WriteFile(name string, text []byte) error {
	path := filepath.Join(b.Dir, name)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return err
	}
	if b.cred == nil {
		return nil
	}
	return os.Chown(path, int(b.cred.Uid), int(b.cred.Gid))
}

// Start starts innd and waits until it answers.
func (b *Box) Start() error {
	out, err := os.Create(filepath.Join(b.Dir, "log/innd.out"))
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := b.Command("innd", "-P", strconv.Itoa(b.Port))
	cmd.Stdout, cmd.Stderr = out, out // innd goes on in the background: no pipe to wait for
	if err := cmd.Run(); err != nil {
		return b.complain("innd", err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := b.Command("ctlinnd", "-t", "2", "mode").Run()
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return b.complain("innd does not answer", err)
		}
	}
}

func (b *Box) complain(what string, err error) error {
	said, _ := os.ReadFile(filepath.Join(b.Dir, "log/innd.out"))
	news, _ := os.ReadFile(filepath.Join(b.Dir, "log/news"))
	return fmt.Errorf("%s: %w: %s%s", what, err, said, news)
}

// Control runs ctlinnd.
func (b *Box) Control(args ...string) error {
	if out, err := b.Command("ctlinnd", append([]string{"-t", "60"}, args...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ctlinnd %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// Pid is innd's process id, 0 if it does not run.
func (b *Box) Pid() int {
	text, err := os.ReadFile(filepath.Join(b.Dir, "run/innd.pid"))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

// Stop shuts innd down and waits; one that does not obey is killed.
func (b *Box) Stop() {
	pid := b.Pid()
	if pid == 0 {
		return
	}
	if err := b.Control("shutdown", "stop"); err != nil {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	for end := time.Now().Add(30 * time.Second); alive(pid) && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
	}
}

// alive says whether a process is there and no zombie: innd is not our child,
// and in a container nobody may wait for it.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(rest, "Z")
}
