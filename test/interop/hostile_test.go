//go:build interop

package interop

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/nntp"
	"github.com/litfass/litfass/test/nodebox"
)

// hostileNode takes articles from loopback as a peer's.
func hostileNode(t *testing.T, more string) *nodebox.Node {
	t.Helper()
	return newNode(t, nodebox.Options{Host: ourHost, More: more, Links: []nodebox.Link{{Name: "peer.mesh.example", Send: "!*"}}})
}

// offer brings an article and returns the code of the answer.
func offer(t *testing.T, c *nntp.Client, id string, wire []byte) int {
	t.Helper()
	code, _, err := c.Ihave(article.ID(id), wire)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// TestForgedControl: newgroup, rmgroup and checkgroups by senders without a right
// here, with PGP signatures that are good, bad or missing, and cancels and
// Supersedes of others' articles: nothing changes, each is counted by its reason.
func TestForgedControl(t *testing.T) {
	n := hostileNode(t, "")
	give(t, n.Addr, 0, 3)
	groups, err := n.Run("group", "list")
	if err != nil {
		t.Fatal(err)
	}
	c, err := nntp.Dialer{Address: n.Addr}.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	files, err := filepath.Glob("testdata/control/*.art")
	if err != nil || len(files) < 10 {
		t.Fatal("no control messages", err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		text = bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
		_, rest, _ := strings.Cut(string(text), "\r\nMessage-ID: ")
		id, _, _ := strings.Cut(rest, "\r\n")
		if code := offer(t, c, id, append(text, ".\r\n"...)); code != nntp.CodeIhaveRejected && code != nntp.CodeIhaveRefused {
			t.Errorf("%s: %d", filepath.Base(f), code)
		}
	}
	now := time.Now().UTC().Format("02 Jan 2006 15:04:05 +0000")
	for i, field := range []string{"Control: cancel " + string(testID(0)), "Supersedes: " + string(testID(1)), "Control: cancel " + string(testID(2)) + "\r\nCancel-Key: sha256:AAAA"} {
		id := fmt.Sprintf("<forged%d@mesh.example>", i)
		offer(t, c, id, []byte("Path: peer.mesh.example!not-for-mail\r\nFrom: mallory@mesh.example\r\nNewsgroups: test.a\r\nSubject: x\r\nDate: "+now+
			"\r\nMessage-ID: "+id+"\r\n"+field+"\r\n\r\nx\r\n.\r\n"))
	}
	persist(t, "the control follower", func() error {
		out, err := n.Run("status", "--json")
		if err == nil && (!strings.Contains(out, `"control-no-right"`) || strings.Count(out, `"lag": 0`) < 3) {
			err = fmt.Errorf("status: %s", out)
		}
		return err
	})
	for i := range 3 {
		if _, err := c.Article(string(testID(i)), 1<<20); err != nil {
			t.Errorf("a forged cancel or Supersedes acts: %v", err)
		}
	}
	now2, err := n.Run("group", "list")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mesh.stranger", "mesh.files", "mesh.general"} {
		if strings.Contains(now2, name) && !strings.Contains(groups, name) {
			t.Errorf("%s was made by a forged control message", name)
		}
	}
	if !strings.Contains(now2, "test.a") || !strings.Contains(now2, "mesh.talk") && strings.Contains(groups, "mesh.talk") {
		t.Errorf("groups went away:\n%s", now2)
	}
}

// TestInjectedCommands: what comes in one piece with STARTTLS, COMPRESS or a login
// is not obeyed, on a whole node.
func TestInjectedCommands(t *testing.T) {
	n := hostileNode(t, "")
	login(t, n)
	for _, tt := range []struct{ send, want string }{
		{"STARTTLS\r\nDATE\r\n", "501 "},
		{"COMPRESS DEFLATE\r\nDATE\r\n", "501 "},
		{"AUTHINFO USER anna\r\nAUTHINFO PASS secretword\r\nDATE\r\n", "482 "},
	} {
		nc, err := net.Dial("tcp", n.Addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := nc.Write([]byte(tt.send)); err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		for b := make([]byte, 4096); !strings.Contains(got.String(), tt.want); {
			k, err := nc.Read(b)
			got.Write(b[:k])
			if err != nil {
				t.Fatalf("%q: %q, want %s (%v)", tt.send, got.String(), tt.want, err)
			}
		}
		nc.Close()
		if strings.Contains(got.String(), "\r\n281 ") || strings.Contains(got.String(), "\r\n382 ") || strings.Contains(got.String(), "\r\n206 ") {
			t.Errorf("%q was obeyed: %q", tt.send, got.String())
		}
	}
}

// TestCompressionBomb: what inflates without end is cut off; the node serves on
// and does not grow.
func TestCompressionBomb(t *testing.T) {
	n := hostileNode(t, "")
	c, err := nntp.Dialer{Address: n.Addr, Compress: new(nntp.Compressors), Answer: 30 * time.Second}.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	line := bytes.Repeat([]byte("a"), 1<<20)
	wire := append(append([]byte("Subject: x\r\n\r\n"), bytes.Repeat(append(line, "\r\n"...), 200)...), ".\r\n"...) // 200 MiB of one letter
	if err := c.Post(wire); err == nil {
		t.Error("200 MiB of one letter were taken")
	}
	rest, err := nntp.Dialer{Address: n.Addr}.Connect(context.Background())
	if err != nil {
		t.Fatalf("behind the bomb: %v", err)
	}
	defer rest.Close()
	if _, err := rest.Date(); err != nil {
		t.Errorf("behind the bomb: %v", err)
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	_, hwm, _ := strings.Cut(string(text), "VmHWM:")
	var kib int
	if _, err := fmt.Sscan(hwm, &kib); err != nil || kib > 250<<10 {
		t.Errorf("the node grew to %d KiB, %v", kib, err)
	}
}
