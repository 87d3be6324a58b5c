//go:build interop

package interop

import (
	"bufio"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/test/nodebox"
)

// TestDiscovery has a node announced to another implementation of DNS-SD, and
// that one's service found by the node.
func TestDiscovery(t *testing.T) {
	const python = "/usr/bin/python3" // Debian's own: where its packages are
	if exec.Command(python, "-c", "import zeroconf").Run() != nil {
		t.Skip("SKIP: no zeroconf for python3: apt-get install python3-zeroconf")
	}
	web, err := nodebox.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	n := newNode(t, nodebox.Options{Host: "box7.test.example", HTTP: web, More: "[discovery]\ninterfaces = [\"lo\"]"})
	other := exec.Command(python, "testdata/neighbour.py")
	stdin, _ := other.StdinPipe()
	stdout, _ := other.StdoutPipe()
	other.Stderr = testLog{t}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { stdin.Close(); other.Wait() }()
	said := &heard{next: lines(bufio.NewScanner(stdout))}
	news := said.await(t, "found _p2pstorage._sub._nntp._tcp.local.", "box7 news")
	_, port, _ := strings.Cut(n.Addr, ":")
	for _, want := range []string{" " + port + " 127.0.0.1 ", "host=box7.test.example", "key=spki:sha256:", "peer=ask", "g=*,!local.*"} {
		if !strings.Contains(news, want) {
			t.Errorf("%q lacks %q", news, want)
		}
	}
	_, port, _ = strings.Cut(web, ":")
	if forum := said.await(t, "found _http._tcp.local.", "box7 forum"); !strings.Contains(forum, " "+port+" ") || !strings.Contains(forum, "path=/") {
		t.Errorf("forum: %q", forum)
	}

	// The other one answered the node's question, so it is there at once or soon.
	var found []struct{ Host, Command string }
	for end := time.Now().Add(20 * time.Second); len(found) == 0 && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		out, err := n.Run("peer", "found", "--json")
		if err != nil || json.Unmarshal([]byte(out), &found) != nil {
			t.Fatal(out, err)
		}
	}
	if len(found) != 1 || found[0].Host != "box9.example" || found[0].Command != "litfass peer add box9.example '127.0.0.1:5119'" {
		t.Fatalf("found %+v", found)
	}
	if out, err := n.Run("peer", "add", "box9.example", "127.0.0.1:5119"); err != nil {
		t.Fatal(out, err)
	}
	if out, err := n.Run("peer", "found"); err != nil || !strings.Contains(out, "neighbour already") {
		t.Errorf("%s %v", out, err)
	}
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	said.await(t, "gone _p2pstorage._sub._nntp._tcp.local.", "box7 news")
}

// lines hands on what a program prints.
func lines(s *bufio.Scanner) <-chan string {
	out := make(chan string, 100)
	go func() {
		defer close(out)
		for s.Scan() {
			out <- s.Text()
		}
	}()
	return out
}

// heard is what a program has said, in any order.
type heard struct {
	next   <-chan string
	passed []string // lines that were looked at and not wanted yet
}

// await is the first line that holds all words, of those passed over or to come.
func (h *heard) await(t *testing.T, words ...string) string {
	t.Helper()
	has := func(line string) bool {
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) })
	}
	if i := slices.IndexFunc(h.passed, has); i >= 0 {
		return h.passed[i]
	}
	timeout := time.After(40 * time.Second)
	for {
		select {
		case line, open := <-h.next:
			if !open {
				t.Fatalf("it ended without saying %q", words)
			}
			t.Log(line)
			if has(line) {
				return line
			}
			h.passed = append(h.passed, line)
		case <-timeout:
			t.Fatalf("40 s without %q", words)
		}
	}
}

type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) { l.t.Log(string(b)); return len(b), nil }
