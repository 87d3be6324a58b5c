//go:build interop

package interop

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/torrent"
	"github.com/litfass/litfass/torrent/tracker"
	"github.com/litfass/litfass/torrent/web"
)

// meshAddr is where everything in the tests' network namespace listens: some
// programs refuse loopback addresses as peers.
const meshAddr = "10.77.0.1"

// TestTorrentMatrix runs other torrent programs against ours, in a network
// namespace of its own: nothing can leave it.
func TestTorrentMatrix(t *testing.T) {
	if os.Getenv("LITFASS_NETNS") == "" {
		args := []string{"-n"}
		if os.Getuid() != 0 {
			args = []string{"-rn"}
		}
		run := "^TestTorrentMatrix$" // and of that what was asked for
		if _, part, found := strings.Cut(flag.Lookup("test.run").Value.String(), "/"); found {
			run += "/" + part
		}
		cmd := exec.Command("unshare", append(args, os.Args[0], "-test.run="+run, "-test.v", "-test.timeout=10m")...)
		cmd.Env = append(os.Environ(), "LITFASS_NETNS=1")
		out, err := cmd.CombinedOutput()
		if bytes.Contains(out, []byte("unshare failed")) || errors.Is(err, exec.ErrNotFound) {
			t.Skip("no network namespaces here (unshare, package util-linux, as root or with user namespaces)")
		}
		t.Logf("%s", out)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, c := range [][]string{{"ip", "link", "set", "lo", "up"}, {"ip", "addr", "add", meshAddr + "/24", "dev", "lo"}} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Skipf("set up the namespace (package iproute2): %v %s", err, out)
		}
	}
	data := make([]byte, 24<<20+333)
	rnd := rand.NewChaCha8([32]byte{1})
	_, _ = rnd.Read(data)
	// A node of its own for each: transmission and rtorrent know one peer per IP
	// address, and here all have the same.
	t.Run("aria2 magnet", func(t *testing.T) { newMatrix(t, data).aria2Magnet(t) })
	t.Run("aria2 metalink", func(t *testing.T) { newMatrix(t, data).aria2Metalink(t) })
	t.Run("btfs by web seed", func(t *testing.T) { newMatrix(t, data).btfsByWebSeed(t) })
	t.Run("btfs by magnet", func(t *testing.T) { newMatrix(t, data).btfsByMagnet(t) })
	t.Run("btfs by tracker", func(t *testing.T) {
		m := newMatrix(t, data)
		m.btfsReads(t, m.metainfo(t, m.seed.url))
	})
	for _, p := range programs() {
		t.Run(p.name+" takes", func(t *testing.T) { newMatrix(t, data).takes(t, p) })
		t.Run(p.name+" gives", func(t *testing.T) { newMatrix(t, data).gives(t, p) })
	}
}

func newMatrix(t *testing.T, data []byte) matrix {
	t.Helper()
	seed := newMeshNode(t, nil)
	in, sum, err := seed.store.Add(context.Background(), bytes.NewReader(data), int64(len(data)), "sendung.bin", torrent.Owner{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return matrix{seed: seed, in: in, sum: sum, data: data}
}

// meshNode is engine, tracker and web of one node.
type meshNode struct {
	store  *torrent.Store
	engine *torrent.Engine
	track  *tracker.Tracker
	url    string
}

func newMeshNode(t *testing.T, change func(*torrent.EngineConfig)) *meshNode {
	t.Helper()
	dir := t.TempDir()
	db, err := state.Open(filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", meshAddr+":0")
	if err != nil {
		t.Fatal(err)
	}
	n := &meshNode{url: "http://" + l.Addr().String()}
	n.store, err = torrent.Open(db, torrent.Config{Dir: filepath.Join(dir, "torrents"), URL: n.url, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	bt, err := net.Listen("tcp", meshAddr+":0")
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddrPort(bt.Addr().String())
	bt.Close()
	n.track = tracker.New(tracker.Config{PeerAddr: addr, PerAddr: -1,
		Present: func(h tracker.Hash) (bool, bool) { return n.store.Present(h) },
		Wanted:  func(h tracker.Hash, from netip.AddrPort) { n.engine.Ring(h, from) }})
	cfg := torrent.EngineConfig{Listen: addr.String(), Peers: func(h torrent.Infohash) []netip.AddrPort { return n.track.Known(h) }}
	if change != nil {
		change(&cfg)
	}
	if n.engine, err = torrent.NewEngine(n.store, cfg); err != nil {
		t.Fatal(err)
	}
	pages, err := web.New(web.Config{Store: n.store, Engine: n.engine, URL: n.url})
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/announce":
			n.track.Announce(w, r)
		case "/scrape":
			n.track.Scrape(w, r)
		default:
			pages.ServeHTTP(w, r)
		}
	})}
	go srv.Serve(l)
	t.Cleanup(func() {
		srv.Close()
		n.engine.Close()
		db.Close()
	})
	return n
}

type matrix struct {
	seed *meshNode
	in   *torrent.Info
	sum  torrent.Sum
	data []byte
}

// metainfo writes a .torrent with the tracker only: no web seed that could help.
func (m matrix) metainfo(t *testing.T, tracker string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "x.torrent")
	if err := os.WriteFile(name, torrent.Metainfo{Info: m.in, Trackers: []string{tracker + "/announce"}}.Encode(), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// start runs a program until the test ends.
func start(t *testing.T, args ...string) *bytes.Buffer {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_DATA_HOME="+home, "TERM=xterm")
	cmd.Dir = home
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the group that was started here
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s says: %.3000s", args[0], out.String())
		}
	})
	return &out
}

// apart starts a program on a host of its own: a namespace joined to this one by a
// cable. libtorrent knows a peer by its address alone, and finds itself by BEP 14: at
// meshAddr it takes the node there for itself and never calls it.
func apart(t *testing.T, args ...string) *bytes.Buffer {
	t.Helper()
	const host = `set -e
net=10.78.$(($$ % 250))
ip link set lo up
ip link add cable type veth peer name socket$$ netns "$0"
ip addr add $net.2/24 dev cable
ip link set cable up
nsenter -t "$0" -n ip addr add $net.1/24 dev socket$$
nsenter -t "$0" -n ip link set socket$$ up
ip route add default via $net.1
exec "$@"`
	return start(t, append([]string{"unshare", "-n", "sh", "-c", host, fmt.Sprint(os.Getpid())}, args...)...)
}

// arrives waits until the file is there, whole.
func (m matrix) arrives(t *testing.T, file string, within time.Duration) {
	t.Helper()
	begin := time.Now()
	for time.Since(begin) < within {
		if b, err := os.ReadFile(file); err == nil && bytes.Equal(b, m.data) {
			d := time.Since(begin)
			t.Logf("%.1f s, %.1f MiB/s", d.Seconds(), float64(len(m.data))/(1<<20)/d.Seconds())
			return
		}
		time.Sleep(50 * time.Millisecond) // a foreign process
	}
	t.Fatalf("%s did not arrive in %v", filepath.Base(file), within)
}

func (m matrix) aria2Magnet(t *testing.T) {
	need(t, "aria2c", "aria2")
	dir := t.TempDir()
	mag := torrent.Magnet{Hash: m.in.Hash, Name: m.in.Name, Length: m.in.Length, Trackers: []string{m.seed.url + "/announce"}}
	start(t, "aria2c", "--dir="+dir, "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false", "--seed-time=0", "--file-allocation=none", mag.String())
	m.arrives(t, filepath.Join(dir, m.in.Name), 2*time.Minute)
}

func (m matrix) aria2Metalink(t *testing.T) {
	need(t, "aria2c", "aria2")
	dir := t.TempDir()
	meta := filepath.Join(dir, "x.meta4")
	m.download(t, ".meta4", meta)
	out, err := exec.Command("aria2c", "--dir="+dir, "--enable-dht=false", "--enable-dht6=false", "--seed-time=0", "--file-allocation=none", "--check-integrity=true", "-M", meta).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	m.arrives(t, filepath.Join(dir, m.in.Name), 2*time.Minute)
}

// download saves what the node offers beside the torrent's page.
func (m matrix) download(t *testing.T, ext, file string) {
	t.Helper()
	res, err := http.Get(m.seed.url + "/t/" + m.in.Hash.String() + ext)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(res.Body); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// btfsReads: a torrent as a folder; what is read of it is fetched. meta is a file or a
// magnet link.
func (m matrix) btfsReads(t *testing.T, meta string) {
	need(t, "btfs", "btfs")
	fuse, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("SKIP: no FUSE here: %v", err)
	}
	fuse.Close()
	mount := t.TempDir()
	t.Cleanup(func() { _ = syscall.Unmount(mount, syscall.MNT_FORCE) }) // after btfs is killed; if it unmounted by itself: an error
	said := apart(t, "btfs", "-f", "--data-directory="+t.TempDir(), meta, mount)
	file := filepath.Join(mount, m.in.Name)
	for until := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) { // a foreign process
		if _, err := os.Stat(file); err == nil {
			break
		}
		if time.Now().After(until) {
			t.Skipf("SKIP: btfs mounts nothing here (it needs CAP_SYS_ADMIN or the package fuse): %.300s", said)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	begin := time.Now()
	got, err := exec.CommandContext(ctx, "cat", file).Output() // a process, for it can be ended while it reads
	if err != nil || !bytes.Equal(got, m.data) {
		t.Fatalf("read by btfs: %d of %d octets, %v", len(got), len(m.data), err)
	}
	t.Logf("%.1f s", time.Since(begin).Seconds())
}

// btfsByWebSeed: what the node's page offers; its tracker and its web seed.
func (m matrix) btfsByWebSeed(t *testing.T) {
	meta := filepath.Join(t.TempDir(), "x.torrent")
	m.download(t, ".torrent", meta)
	m.btfsReads(t, meta)
}

// btfsByMagnet: metadata and octets from the node as a peer, named by the link (BEP 9, x.pe).
func (m matrix) btfsByMagnet(t *testing.T) {
	m.btfsReads(t, "magnet:?xt=urn:btih:"+m.in.Hash.String()+"&x.pe="+m.seed.engine.Addr().String())
}

// program is a torrent client: how it is run on a .torrent in a folder.
type program struct {
	name, cmd, pkg string
	args           func(meta, dir string, port int) []string
}

func programs() []program {
	return []program{
		{"aria2", "aria2c", "aria2", func(meta, dir string, port int) []string {
			return []string{"--dir=" + dir, "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false", "--seed-ratio=0", "--check-integrity=true",
				"--file-allocation=none", fmt.Sprintf("--listen-port=%d", port), meta}
		}},
		{"transmission", "transmission-cli", "transmission-cli", func(meta, dir string, port int) []string {
			// With its defaults: it tries uTP first, which our engine refuses (docs/decisions/0005-torrent-engine.md).
			return []string{"-g", dir + "/profile", "-w", dir, "-M", "-p", fmt.Sprint(port), meta}
		}},
		{"rtorrent", "rtorrent", "rtorrent", func(meta, dir string, port int) []string {
			return []string{"-n", "-o", "system.daemon.set=true", "-d", dir, "-o", fmt.Sprintf("network.port_range.set=%d-%d", port, port),
				"-o", "dht.mode.set=disable", "-o", "pieces.hash.on_completion.set=no", meta}
		}},
		{"qbittorrent-nox", "qbittorrent-nox", "qbittorrent-nox", func(meta, dir string, port int) []string {
			return []string{"--profile=" + dir + "/profile", "--save-path=" + dir, meta}
		}},
	}
}

// prepare makes a program's folder.
func (p program) prepare(t *testing.T, dir string, port int) {
	t.Helper()
	if p.name != "qbittorrent-nox" {
		return
	}
	conf := filepath.Join(dir, "profile", "qBittorrent", "config")
	text := fmt.Sprintf("[LegalNotice]\nAccepted=true\n[BitTorrent]\nSession\\DHTEnabled=false\nSession\\LSDEnabled=false\nSession\\Port=%d\nSession\\AddTorrentStopped=false\n"+
		"[Preferences]\nWebUI\\Address=127.0.0.1\nWebUI\\Port=%d\n", port, port+1)
	err := os.MkdirAll(conf, 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(conf, "qBittorrent.conf"), []byte(text), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// takes: the program fetches from our engine, by our tracker.
func (m matrix) takes(t *testing.T, p program) {
	need(t, p.cmd, p.pkg)
	dir, port := t.TempDir(), 20000+rand.IntN(9000)
	p.prepare(t, dir, port)
	start(t, append([]string{p.cmd}, p.args(m.metainfo(t, m.seed.url), dir, port)...)...)
	m.arrives(t, filepath.Join(dir, m.in.Name), 2*time.Minute)
}

// gives: our engine fetches; the program is the only peer. transmission 3.00 may
// fall silent in the middle: then the web seed of the magnet has to finish.
func (m matrix) gives(t *testing.T, p program) {
	need(t, p.cmd, p.pkg)
	to := newMeshNode(t, func(c *torrent.EngineConfig) { c.Stall, c.Patience = 5*time.Second, 10*time.Second })
	dir, port := t.TempDir(), 20000+rand.IntN(9000)
	p.prepare(t, dir, port)
	if err := os.WriteFile(filepath.Join(dir, m.in.Name), m.data, 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, append([]string{p.cmd}, p.args(m.metainfo(t, to.url), dir, port)...)...)
	for until := time.Now().Add(2 * time.Minute); len(to.track.Known(m.in.Hash)) == 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("it never announced itself")
		}
	}
	a := torrent.NewAttachment(m.in, m.sum, "")
	if p.name == "transmission" {
		// The origin as web seed, under a path that has no tracker beside it.
		mag, _ := torrent.ParseMagnet(a.Magnet)
		mag.WebSeeds = []string{m.seed.url + "/t/" + strings.ToUpper(m.in.Hash.String()) + "/" + m.in.Name}
		a.Magnet = mag.String()
	}
	if err := to.store.Refer(torrent.Reference{ID: "<1@x>", Sum: m.sum}, a, "a.b"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	begin := time.Now()
	if err := to.engine.Fetch(ctx, m.in.Hash, torrent.Cache); err != nil {
		st, _ := to.engine.Status(m.in.Hash)
		t.Fatalf("%v; %d of %d octets", err, st.Have, st.Length)
	}
	d := time.Since(begin)
	t.Logf("%.1f s, %.1f MiB/s", d.Seconds(), float64(len(m.data))/(1<<20)/d.Seconds())
}
