package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/litfass/litfass/test/nodebox"
)

// inbox is a public-inbox that serves a board by HTTP, with one worker.
type inbox struct {
	dir, url string
	cmd      *exec.Cmd
	exited   chan struct{}
	indexing time.Duration
}

var errNoInbox = errors.New("install the packages public-inbox, libsearch-xapian-perl and git to measure public-inbox beside us")

// newInbox makes an inbox of the first n articles, indexes all of it, and serves it.
func newInbox(ctx context.Context, bd *board, n int) (_ *inbox, err error) {
	for _, program := range []string{"public-inbox-init", "public-inbox-index", "public-inbox-httpd", "git"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, errNoInbox
		}
	}
	b := &inbox{}
	if b.dir, err = os.MkdirTemp("", "litfass-inbox-"); err != nil {
		return nil, err
	}
	if err := b.fill(ctx, bd, n); err != nil {
		b.remove()
		return nil, err
	}
	if err := b.start(); err != nil {
		b.remove()
		return nil, err
	}
	return b, nil
}

func (b *inbox) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "PI_CONFIG="+filepath.Join(b.dir, "config"), "PI_DIR="+b.dir, "HOME="+b.dir, "GIT_CONFIG_GLOBAL=/dev/null")
	return cmd
}

func (b *inbox) fill(ctx context.Context, bd *board, n int) error {
	box := filepath.Join(b.dir, "inbox")
	epoch := filepath.Join(box, "git", "0.git")
	run := func(stdin *bytes.Reader, name string, args ...string) error {
		cmd := b.command(ctx, name, args...)
		if stdin != nil {
			cmd.Stdin = stdin
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", name, err, out)
		}
		return nil
	}
	if err := run(nil, "public-inbox-init", "-V2", "-L", "full", "bench", box, "http://127.0.0.1/bench", "bench@bench.invalid"); err != nil {
		return err
	}
	if _, err := os.Stat(epoch); err != nil {
		if err := run(nil, "git", "init", "-q", "--bare", epoch); err != nil {
			return err
		}
	}
	if err := run(bytes.NewReader(commits(bd, n)), "git", "-C", epoch, "fast-import", "--quiet"); err != nil {
		return err
	}
	if err := run(nil, "git", "-C", epoch, "symbolic-ref", "HEAD", "refs/heads/master"); err != nil {
		return err
	}
	begin := time.Now()
	err := run(nil, "public-inbox-index", box)
	b.indexing = time.Since(begin)
	return err
}

// commits writes articles as public-inbox keeps them, for git fast-import: a commit
// each, whose only file is "m".
func commits(bd *board, n int) []byte {
	var out []byte
	for i := range n {
		text := bytes.ReplaceAll(bd.article(i), []byte("\r\n"), []byte("\n"))
		at := bd.date.Add(time.Duration(i) * time.Second).Unix()
		out = fmt.Appendf(out, "commit refs/heads/master\nmark :%d\nauthor Person <p@bench.invalid> %d +0000\ncommitter bench <bench@bench.invalid> %d +0000\ndata 1\nm\n", i+1, at, at)
		if i > 0 {
			out = fmt.Appendf(out, "from :%d\n", i)
		}
		out = fmt.Appendf(out, "M 100644 inline m\ndata %d\n%s\n", len(text), text)
	}
	return out
}

func (b *inbox) start() error {
	addr, err := nodebox.FreeAddr()
	if err != nil {
		return err
	}
	b.url = "http://" + addr + "/bench/"
	cmd := b.command(context.Background(), "public-inbox-httpd", "-W", "1", "-l", "http://"+addr, "-1", filepath.Join(b.dir, "out"), "-2", filepath.Join(b.dir, "err"))
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	b.cmd, b.exited = cmd, exited
	go func() { _ = cmd.Wait(); close(exited) }()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if res, err := http.Get(b.url); err == nil {
			res.Body.Close()
			return nil
		}
		if time.Now().After(end) {
			said, _ := os.ReadFile(filepath.Join(b.dir, "err"))
			return fmt.Errorf("public-inbox-httpd does not answer: %s", strings.TrimSpace(string(said)))
		}
	}
}

// remove ends the server and removes its files.
func (b *inbox) remove() {
	if b.cmd != nil {
		_ = b.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-b.exited:
		case <-time.After(10 * time.Second):
			_ = b.cmd.Process.Kill()
			<-b.exited
		}
	}
	_ = os.RemoveAll(b.dir)
}
