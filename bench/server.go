package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/litfass/litfass/test/innbox"
)

// server is one that is measured.
type server interface {
	Name() string
	Addr() string
	Pid() int
	Remove() // stops it and removes its files
}

// node is a litfass node in a folder of its own.
type node struct {
	bin, dir, host, addr string
	cmd                  *exec.Cmd
	exited               chan struct{}
}

func (n *node) Name() string { return "litfass" }
func (n *node) Addr() string { return n.addr }
func (n *node) Pid() int     { return n.cmd.Process.Pid }

// link is a neighbour of a node in these measurements.
type link struct{ name, addr, send string }

// loader is the load generator, as a peer that is not fed.
var loader = link{name: "bench.invalid", send: "!*"}

// freeAddr is an address on loopback that nobody uses now.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// newNode lays out a node; dir "" makes a temporary folder.
func newNode(bin, dir, host, addr string, groups []string, links ...link) (*node, error) {
	var err error
	if dir == "" {
		if dir, err = os.MkdirTemp("", "litfass-bench-"); err != nil {
			return nil, err
		}
	}
	if addr == "" {
		if addr, err = freeAddr(); err != nil {
			return nil, err
		}
	}
	web, err := freeAddr()
	if err != nil {
		return nil, err
	}
	n := &node{bin: bin, dir: dir, host: host, addr: addr}
	var b strings.Builder
	fmt.Fprintf(&b, "host = %q\ndata = \"data\"\n[nntp]\nlisten = [%q]\n[smtp]\nlisten = []\n[http]\nlisten = [%q]\n[torrent]\nlisten = \"\"\n", host, addr, web)
	for _, l := range links {
		fmt.Fprintf(&b, "[[peer]]\nname = %q\naddress = %q\nsend = %q\nfrom = [\"127.0.0.0/8\"]\nold = true\n", l.name, l.addr, l.send)
	}
	if err := os.WriteFile(n.config(), []byte(b.String()), 0o600); err != nil {
		return nil, err
	}
	for _, g := range groups {
		if err := n.run("group", "add", g); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func (n *node) config() string { return filepath.Join(n.dir, "litfass.toml") }

// run runs a command of the node's.
func (n *node) run(args ...string) error {
	out, err := exec.Command(n.bin, append([]string{"--config", n.config()}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("litfass %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// start starts the node and waits until it greets; it returns how long that took.
func (n *node) start(env ...string) (time.Duration, error) {
	begin := time.Now()
	log, err := os.OpenFile(filepath.Join(n.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	n.cmd = exec.Command(n.bin, "--config", n.config(), "serve", "--log", "warn")
	n.cmd.Stdout, n.cmd.Stderr = log, log
	n.cmd.Env = append(os.Environ(), env...)
	if err := n.cmd.Start(); err != nil {
		return 0, err
	}
	exited, cmd := make(chan struct{}), n.cmd
	n.exited = exited
	go func() { _ = cmd.Wait(); close(exited) }()
	for {
		if c, err := connect(n.addr); err == nil {
			took := time.Since(begin)
			return took, c.Quit()
		}
		select {
		case <-exited:
			return 0, n.complain(errors.New("the node ended"))
		case <-time.After(2 * time.Millisecond):
		}
		if time.Since(begin) > time.Minute {
			return 0, n.complain(errors.New("the node does not answer"))
		}
	}
}

func (n *node) complain(err error) error {
	said, _ := os.ReadFile(filepath.Join(n.dir, "log"))
	return fmt.Errorf("%w: %s", err, said[max(0, len(said)-2000):])
}

// kill ends the node as a crash does.
func (n *node) kill() {
	_ = n.cmd.Process.Kill()
	<-n.exited
}

// stop ends the node in order.
func (n *node) stop() error {
	if n.cmd == nil {
		return nil
	}
	_ = n.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-n.exited:
		return nil
	case <-time.After(15 * time.Second):
		n.kill()
		return n.complain(errors.New("the node did not stop within 15 s"))
	}
}

func (n *node) Remove() {
	_ = n.stop()
	_ = os.RemoveAll(n.dir)
}

// inn is an INN.
type inn struct {
	*innbox.Box
	name string
}

func (i inn) Name() string { return i.name }
func (i inn) Addr() string { return i.Box.Addr }

func newINN(bin, storage, overview string, groups []string, feeds ...innbox.Feed) (inn, error) {
	b, err := innbox.New(bin, innbox.Options{Storage: storage, Overview: overview, Groups: groups, Feeds: feeds})
	if err != nil {
		return inn{}, err
	}
	if err := b.Start(); err != nil {
		b.Remove()
		return inn{}, err
	}
	return inn{b, "INN " + storage}, nil
}

// build makes the binary that is measured.
func build(ctx context.Context, dir string) (string, error) {
	bin := filepath.Join(dir, "litfass")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, "github.com/litfass/litfass/cmd/litfass")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build litfass: %w: %s", err, out)
	}
	return bin, nil
}
