// Package nodebox runs litfass nodes as processes of their own, for tests with
// other programs and for measurements: what an administrator runs, not what a
// test can reach inside.
package nodebox

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

	"github.com/litfass/litfass/internal/nntp"
)

// Build compiles the binary into dir and returns its path.
func Build(ctx context.Context, dir string) (string, error) {
	bin := filepath.Join(dir, "litfass")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, "github.com/litfass/litfass/cmd/litfass")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build litfass: %w: %s", err, out)
	}
	return bin, nil
}

// FreeAddr is an address on loopback that nobody uses now.
func FreeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// Link is a neighbour of a node. Its articles are taken from loopback without
// login.
type Link struct {
	Name string // and path identity
	Addr string // "": it is not connected to
	Send string // wildmat; "!*": nothing
}

// Options of a node. A zero field takes the default named there.
type Options struct {
	Dir     string // of configuration and log; default: a temporary folder
	Data    string // default: Dir/data
	Host    string // path identity; default "node.test.example"
	Addr    string // of the NNTP door; default: a free one
	SMTP    string // addresses of the mail and the web door; default: closed
	HTTP    string
	Peers   string // address of the torrent engine; default: closed
	Torrent string // further lines of the section [torrent]
	Groups  []string
	Links   []Link
	More    string // further lines of configuration, at the top level
}

// Node is a litfass node.
type Node struct {
	Host, Addr, Dir string

	bin    string
	cmd    *exec.Cmd
	exited chan struct{}
}

// New lays out a node; it does not run yet.
func New(bin string, o Options) (*Node, error) {
	var err error
	if o.Dir == "" {
		if o.Dir, err = os.MkdirTemp("", "litfass-node-"); err != nil {
			return nil, err
		}
	}
	if o.Addr == "" {
		if o.Addr, err = FreeAddr(); err != nil {
			return nil, err
		}
	}
	if o.Host == "" {
		o.Host = "node.test.example"
	}
	if o.Data == "" {
		o.Data = "data"
	}
	n := &Node{Host: o.Host, Addr: o.Addr, Dir: o.Dir, bin: bin}
	var b strings.Builder
	fmt.Fprintf(&b, "host = %q\ndata = %q\n%s\n[nntp]\nlisten = [%q]\n[smtp]\nlisten = [%s]\n[http]\nlisten = [%s]\n[torrent]\nlisten = %q\n%s\n",
		o.Host, o.Data, o.More, o.Addr, quoted(o.SMTP), quoted(o.HTTP), o.Peers, o.Torrent)
	for _, l := range o.Links {
		fmt.Fprintf(&b, "[[peer]]\nname = %q\naddress = %q\nsend = %q\nfrom = [\"127.0.0.0/8\"]\nold = true\n", l.Name, l.Addr, l.Send)
	}
	if err := os.WriteFile(n.config(), []byte(b.String()), 0o600); err != nil {
		return nil, err
	}
	for _, g := range o.Groups {
		if _, err := n.Run("group", "add", g); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// quoted is an address in a list, or none.
func quoted(addr string) string {
	if addr == "" {
		return ""
	}
	return fmt.Sprintf("%q", addr)
}

func (n *Node) config() string { return filepath.Join(n.Dir, "litfass.toml") }

// Run runs a command with the node's configuration and returns what it printed.
func (n *Node) Run(args ...string) (string, error) {
	cmd := exec.Command(n.bin, append([]string{"--config", n.config()}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("litfass %s: %w: %s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out), nil
}

// Start starts the node, waits until its door greets, and says how long that took.
func (n *Node) Start(env ...string) (time.Duration, error) {
	begin := time.Now()
	log, err := os.OpenFile(filepath.Join(n.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	cmd := exec.Command(n.bin, "--config", n.config(), "serve", "--log", "warn")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), env...)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	exited := make(chan struct{})
	n.cmd, n.exited = cmd, exited
	go func() { _ = cmd.Wait(); close(exited) }()
	for {
		if c, err := (nntp.Dialer{Address: n.Addr}).Connect(context.Background()); err == nil {
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

// complain adds the end of the node's log to an error.
func (n *Node) complain(err error) error { return fmt.Errorf("%w: %s", err, n.Log()) }

// Log is the end of what the node said.
func (n *Node) Log() string {
	said, _ := os.ReadFile(filepath.Join(n.Dir, "log"))
	return string(said[max(0, len(said)-3000):])
}

// Pid is the process id of a node that was started.
func (n *Node) Pid() int { return n.cmd.Process.Pid }

// Signal sends a signal.
func (n *Node) Signal(s os.Signal) error { return n.cmd.Process.Signal(s) }

// Kill ends the node as a crash does.
func (n *Node) Kill() {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Kill()
	<-n.exited
}

// Stop ends the node in order. One that takes over 15 s is killed: an error.
func (n *Node) Stop() error {
	if n.cmd == nil {
		return nil
	}
	_ = n.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-n.exited:
		return nil
	case <-time.After(15 * time.Second):
		n.Kill()
		return n.complain(errors.New("the node did not stop within 15 s"))
	}
}

// Remove stops the node and removes its folder.
func (n *Node) Remove() {
	_ = n.Stop()
	_ = os.RemoveAll(n.Dir)
}
