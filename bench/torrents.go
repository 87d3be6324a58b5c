package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/litfass/litfass/test/nodebox"
	"github.com/litfass/litfass/torrent"
)

// meshAddr is where all torrent programs listen, in a network namespace of their
// own: some refuse loopback addresses as peers, and none may reach out.
const meshAddr = "10.77.0.1"

// envInside marks the process that measures torrents inside the namespace.
const envInside = "LITFASS_BENCH_TORRENTS"

// torrents measures the transfer of a file from process to process: two litfass
// nodes, and pairs of other programs in the same run. It runs in a namespace, as a
// child of this program that prints its rows as JSON.
func (b *bench) torrents(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := []string{"-n"}
	if os.Getuid() != 0 {
		args = []string{"-rn"}
	}
	cmd := exec.CommandContext(ctx, "unshare", append(args, self, "-litfass", b.litf)...)
	cmd.Env = append(os.Environ(), envInside+"="+strconv.Itoa(b.size(1, 3)))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("measure torrents in a network namespace (unshare of util-linux): %w", err)
	}
	var rows []torrentRow
	if err := json.Unmarshal(out, &rows); err != nil {
		return err
	}
	for _, r := range rows {
		b.add(row{what: r.What, ours: r.Ours, inn: r.Others, ratio: r.Ratio, goal: r.Goal, ok: r.OK})
	}
	return nil
}

type torrentRow struct{ What, Ours, Others, Ratio, Goal, OK string }

// torrentsInside is the child.
func torrentsInside(ctx context.Context, litf string) error {
	for _, c := range [][]string{{"ip", "link", "set", "lo", "up"}, {"ip", "addr", "add", meshAddr + "/24", "dev", "lo"}} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("set up the namespace (package iproute2): %w %s", err, out)
		}
	}
	dir, err := os.MkdirTemp("", "litfass-torrents-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	m := &torrentBench{ctx: ctx, litf: litf, dir: dir, size: 200 << 20}
	m.rounds, _ = strconv.Atoi(os.Getenv(envInside))
	rows, err := m.run()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(rows)
}

type torrentBench struct {
	ctx       context.Context
	litf, dir string
	size      int64
	rounds    int
	pairs     int
	file      string // what is sent
}

func (m *torrentBench) run() ([]torrentRow, error) {
	m.file = filepath.Join(m.dir, "sendung.bin")
	f, err := os.Create(m.file)
	if err != nil {
		return nil, err
	}
	_, err = io.CopyN(f, rand.NewChaCha8([32]byte{1}), m.size)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	var ours nodePair
	var best transfer
	var pair string
	for range m.rounds {
		p, err := m.nodeToNode()
		if err != nil {
			return nil, err
		}
		ours.wall, ours.net, ours.add = max(ours.wall, p.wall), max(ours.net, p.net), max(ours.add, p.add)
		ours.seedPeak, ours.getPeak = max(ours.seedPeak, p.seedPeak), max(ours.getPeak, p.getPeak)
		for _, from := range clients() {
			for _, to := range clients() {
				if m.rounds == 1 && from.name != to.name { // the full profile has all nine
					continue
				}
				t, err := m.pair(p.seed, from, to)
				if err != nil {
					fmt.Fprintf(os.Stderr, "  %s -> %s: %v\n", from.name, to.name, err)
					continue
				}
				fmt.Fprintf(os.Stderr, "  %s -> %s: %v\n", from.name, to.name, t)
				if t.wall > best.wall {
					best, pair = t, from.name+" -> "+to.name
				}
			}
		}
		p.seed.Remove()
	}
	rows := []torrentRow{
		{What: "torrent, 200 MiB node to node, MiB/s from the wish to the whole file", Ours: fmt.Sprintf("%.0f", ours.wall), Goal: ">= 60, >= 0.8x the best other pair",
			OK: yes(ours.wall >= 60 && ours.wall >= 0.8*best.wall)},
		{What: "torrent, peak RSS over the node at rest, MiB", Ours: fmt.Sprintf("giving %d, taking %d", ours.seedPeak>>10, ours.getPeak>>10),
			Goal: "<= 40", OK: yes(max(ours.seedPeak, ours.getPeak) <= 40<<10)},
		{What: "torrent add of 200 MiB, both hashes, copied and synced, the whole command, MiB/s", Ours: fmt.Sprintf("%.0f", ours.add), Goal: ">= 500", OK: yes(ours.add >= 500)},
	}
	if best.wall > 0 {
		rows[0].Others, rows[0].Ratio = fmt.Sprintf("%s %.0f", pair, best.wall), fmt.Sprintf("%.2f", ours.wall/best.wall)
	}
	more, err := m.reach()
	if err != nil {
		return nil, err
	}
	udp, err := m.announces()
	return append(append(rows, more...), udp), err
}

// transfer is how fast a file came, in MiB/s: wall counts from the wish (a command, the
// start of a program) on, net from the first octet on the disk on (of no meaning with
// programs that make the whole file first, as rtorrent does).
type transfer struct{ wall, net float64 }

func (t transfer) String() string {
	return fmt.Sprintf("%.0f MiB/s, %.0f without start-up", t.wall, t.net)
}

func (m *torrentBench) since(begin, first time.Time) transfer {
	mib := float64(m.size >> 20)
	return transfer{mib / time.Since(begin).Seconds(), mib / time.Since(first).Seconds()}
}

// nodePair is what a transfer between two nodes took. seed runs on: it is the tracker
// of the others.
type nodePair struct {
	seed              *meshNode
	transfer                  // SHA-256 and sync to the disk included
	seedPeak, getPeak int     // KiB above what the node had before
	add               float64 // MiB/s, from the command to the magnet link it prints
}

// meshNode is a litfass node at meshAddr.
type meshNode struct {
	*nodebox.Node
	url string
}

func meshPort() string {
	l, err := net.Listen("tcp", meshAddr+":0")
	if err != nil {
		return meshAddr + ":0"
	}
	defer l.Close()
	return l.Addr().String()
}

func (m *torrentBench) node(host string) (*meshNode, error) {
	return m.start(nodebox.Options{Host: host, HTTP: meshPort(), Peers: meshPort()})
}

func (m *torrentBench) start(o nodebox.Options, env ...string) (*meshNode, error) {
	n, err := nodebox.New(m.litf, o)
	if err != nil {
		return nil, err
	}
	if _, err := n.Start(env...); err != nil {
		n.Remove()
		return nil, err
	}
	return &meshNode{Node: n, url: "http://" + o.HTTP}, nil
}

func (m *torrentBench) nodeToNode() (p nodePair, err error) {
	if p.seed, err = m.node("from.bench.example"); err != nil {
		return p, err
	}
	to, err := m.node("to.bench.example")
	if err != nil {
		p.seed.Remove()
		return p, err
	}
	defer to.Remove()
	begin := time.Now()
	out, err := p.seed.Run("torrent", "add", "--json", m.file)
	p.add = float64(m.size>>20) / time.Since(begin).Seconds()
	var added struct{ Magnet string }
	if err == nil {
		err = json.Unmarshal([]byte(out), &added)
	}
	if err != nil {
		p.seed.Remove()
		return p, err
	}
	time.Sleep(6 * time.Second) // the node gives back what adding took
	fromBefore, toBefore := resetPeak(p.seed.Pid()), resetPeak(to.Pid())
	done := make(chan error, 1)
	begin = time.Now()
	go func() {
		_, err := to.Run("torrent", "get", added.Magnet)
		done <- err
	}()
	first := time.Time{}
	for tick := time.NewTicker(2 * time.Millisecond); ; {
		select {
		case <-tick.C:
			if found, _ := filepath.Glob(filepath.Join(to.Dir, "data", "torrents", "part", "*", "0")); first.IsZero() && len(found) > 0 && onDisk(found[0]) > 0 {
				first = time.Now()
			}
			continue
		case err = <-done:
		}
		tick.Stop()
		break
	}
	if err != nil {
		p.seed.Remove()
		return p, fmt.Errorf("torrent get: %w", err)
	}
	p.transfer = m.since(begin, first)
	p.seedPeak, p.getPeak = peak(p.seed.Pid())-fromBefore, peak(to.Pid())-toBefore
	fmt.Fprintf(os.Stderr, "  litfass -> litfass: %v\n", p.transfer)
	return p, nil
}

// onDisk is how much of a file was written.
func onDisk(name string) int64 {
	var st syscall.Stat_t
	if syscall.Stat(name, &st) != nil {
		return 0
	}
	return st.Blocks * 512
}

// resetPeak makes a process' peak what it takes now, and returns that in KiB.
func resetPeak(pid int) int {
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0) // proc(5)
	return peak(pid)
}

// peak is the largest resident memory of a process in KiB.
func peak(pid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmHWM:" {
			n, _ := strconv.Atoi(f[1])
			return n
		}
	}
	return 0
}

// client is another torrent program.
type client struct {
	name string
	args func(meta, dir string, port int) []string
}

// clients are those that are here; transmission gives 5 MiB/s and is left out.
func clients() []client {
	all := []client{
		{"aria2c", func(meta, dir string, port int) []string {
			return []string{"--dir=" + dir, "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false", "--seed-ratio=0", "--check-integrity=true",
				"--file-allocation=none", "--quiet", fmt.Sprintf("--listen-port=%d", port), meta}
		}},
		{"rtorrent", func(meta, dir string, port int) []string {
			return []string{"-n", "-o", "system.daemon.set=true", "-d", dir, "-o", fmt.Sprintf("network.port_range.set=%d-%d", port, port),
				"-o", "dht.mode.set=disable", "-o", "pieces.hash.on_completion.set=no", meta}
		}},
		{"qbittorrent-nox", func(meta, dir string, port int) []string {
			conf := filepath.Join(dir, "profile", "qBittorrent", "config")
			text := fmt.Sprintf("[LegalNotice]\nAccepted=true\n[BitTorrent]\nSession\\DHTEnabled=false\nSession\\LSDEnabled=false\nSession\\Port=%d\n"+
				"[Preferences]\nWebUI\\Address=127.0.0.1\nWebUI\\Port=%d\n", port, port+1)
			_ = os.MkdirAll(conf, 0o700)
			_ = os.WriteFile(filepath.Join(conf, "qBittorrent.conf"), []byte(text), 0o600)
			return []string{"--profile=" + dir + "/profile", "--save-path=" + dir, meta}
		}},
	}
	return slices.DeleteFunc(all, func(c client) bool { _, err := exec.LookPath(c.name); return err != nil })
}

// launch starts a client; stop ends it and what it started.
func (c client) launch(meta, dir string) (stop func(), err error) {
	cmd := exec.Command(c.name, c.args(meta, dir, 20000+rand.IntN(9000))...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir, "TERM=xterm")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the group that was started here
		_ = cmd.Wait()
	}, nil
}

// pair has one client fetch from another, by the node's tracker, and returns MiB/s
// from the first octet on the disk to the last, so that no start-up counts.
func (m *torrentBench) pair(trk *meshNode, from, to client) (res transfer, err error) {
	dir, err := os.MkdirTemp(m.dir, "pair-")
	if err != nil {
		return res, err
	}
	defer os.RemoveAll(dir)
	m.pairs++
	other := fmt.Sprintf("other-%d.bin", m.pairs) // a torrent of its own: the tracker remembers who is gone
	meta := filepath.Join(dir, "x.torrent")
	hash, err := makeTorrent(m.file, other, meta, trk.url+"/announce")
	if err != nil {
		return res, err
	}
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for _, d := range []string{a, b} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return res, err
		}
	}
	if err := os.Link(m.file, filepath.Join(a, other)); err != nil {
		return res, err
	}
	stop, err := from.launch(meta, a)
	if err != nil {
		return res, err
	}
	defer stop()
	if err := m.seeded(trk, hash); err != nil {
		return res, err
	}
	begin := time.Now()
	stop2, err := to.launch(meta, b)
	if err != nil {
		return res, err
	}
	defer stop2()
	return m.watch(begin, filepath.Join(b, other))
}

// makeTorrent writes a .torrent for a file, under another name than litfass' own: the
// node that is only the tracker here must not have it.
func makeTorrent(file, other, meta, announce string) (h torrent.Infohash, err error) {
	f, err := os.Open(file)
	if err != nil {
		return h, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return h, err
	}
	in, _, err := torrent.BuildInfo(f, st.Size(), other)
	if err != nil {
		return h, err
	}
	return in.Hash, os.WriteFile(meta, torrent.Metainfo{Info: in, Trackers: []string{announce}}.Encode(), 0o600)
}

// seeded waits until a seed announced itself to the tracker.
func (m *torrentBench) seeded(trk *meshNode, h torrent.Infohash) error {
	for begin := time.Now(); time.Since(begin) < 30*time.Second; time.Sleep(50 * time.Millisecond) {
		res, err := http.Get(trk.url + "/scrape?info_hash=" + url.QueryEscape(string(h[:])))
		if err != nil {
			return err
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err == nil && bytes.Contains(b, []byte("8:completei1e")) {
			return nil
		}
	}
	return errors.New("the seed did not announce itself in 30 s")
}

// watch waits for a file to be whole.
func (m *torrentBench) watch(begin time.Time, name string) (res transfer, err error) {
	want, err := os.ReadFile(m.file)
	if err != nil {
		return res, err
	}
	var first time.Time
	for ; time.Since(begin) < 40*time.Second; time.Sleep(2 * time.Millisecond) {
		n := onDisk(name)
		if n > 0 && first.IsZero() {
			first = time.Now()
		}
		if n < m.size {
			continue
		}
		res = m.since(begin, first) // before the content is looked at
		if got, err := os.ReadFile(name); err == nil && bytes.Equal(got, want) {
			return res, nil
		}
	}
	return res, fmt.Errorf("it did not arrive in 40 s: %d octets", onDisk(name))
}
