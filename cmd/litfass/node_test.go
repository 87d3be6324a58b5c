package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// testNode is a node that runs in this process.
type testNode struct {
	nntp, http, smtp, dir, config string
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func startNode(t *testing.T, name, more string) testNode {
	t.Helper()
	n := newNode(t, name, more)
	n.start(t, "")
	return n
}

// newNode writes the configuration of a node.
func newNode(t *testing.T, name, more string) testNode {
	t.Helper()
	dir := t.TempDir()
	n := testNode{nntp: freePort(t), http: freePort(t), smtp: freePort(t), dir: dir, config: filepath.Join(dir, "litfass.toml")}
	text := fmt.Sprintf("host = %q\ndata = %q\n[nntp]\nlisten = [%q]\n[http]\nlisten = [%q]\n[smtp]\nlisten = [%q]\n[torrent]\nlisten = %q\n%s",
		name+".example", filepath.Join(dir, "data"), n.nntp, n.http, n.smtp, freePort(t), more)
	if err := os.WriteFile(n.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return n
}

// start runs the node, with its clock shifted, until stop or the end of the test.
func (n testNode) start(t *testing.T, clockOffset string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var log bytes.Buffer
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"--config", n.config, "serve"}, strings.NewReader(""), io.Discard, &log, func(key string) string {
			if key == "LITFASS_CLOCK_OFFSET" {
				return clockOffset
			}
			return ""
		})
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if code := <-done; code != 0 || t.Failed() {
			t.Logf("%s ended with %d:\n%s", n.config, code, log.String())
		}
	})
	t.Cleanup(stop)
	if out, code := n.cmd("status", "--wait", "20s"); code != 0 {
		t.Fatalf("the node does not start: %s", out)
	}
	return stop
}

// cmd runs a command against the node.
func (n testNode) cmd(args ...string) (string, int) {
	var out bytes.Buffer
	code := run(context.Background(), append([]string{"--config", n.config}, args...), strings.NewReader(""), &out, &out, func(string) string { return "" })
	return out.String(), code
}

func nntpPost(t *testing.T, addr, text string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	in := bufio.NewReader(c)
	want := func(code string) {
		line, err := in.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, code) {
			t.Fatalf("%q (%v) instead of %s", line, err, code)
		}
	}
	want("200")
	fmt.Fprint(c, "POST\r\n")
	want("340")
	fmt.Fprint(c, text+".\r\n")
	want("240")
}

func httpGet(t *testing.T, url string, header ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, b
}
