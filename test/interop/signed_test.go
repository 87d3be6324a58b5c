//go:build interop

package interop

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/test/innbox"
	"github.com/litfass/litfass/test/nodebox"
)

// TestSignedThroughINN: what one node of ours signs is verified at another one
// that a real INN stands before: the statements come the same way.
func TestSignedThroughINN(t *testing.T) {
	bin, err := innbox.Find()
	if err != nil {
		t.Skipf("SKIP: %v", err)
	}
	addr, err := nodebox.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	inn, err := innbox.New(bin, innbox.Options{Name: "inn.test.example", Feeds: []innbox.Feed{{Name: "there", Exclude: "there.test.example", Port: port(t, addr)}},
		Groups: []string{"test.a", "mesh.admin.pki.keys", "mesh.admin.pki.arrows", "mesh.admin.pki.revoke"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(inn.Remove)
	if err := inn.Start(); err != nil {
		t.Fatal(err)
	}
	here := newNode(t, nodebox.Options{Host: "here.test.example", Links: []nodebox.Link{{Name: "inn.test.example", Addr: inn.Addr, Send: "test.*,mesh.admin.*"}}})
	there := newNode(t, nodebox.Options{Host: "there.test.example", Addr: addr, Links: []nodebox.Link{{Name: "inn.test.example", Send: "!*"}}})
	var who struct {
		Tree []struct{ Subject string }
	}
	out, err := here.Run("--json", "key", "show")
	if err == nil {
		err = json.Unmarshal([]byte(out), &who)
	}
	if err != nil || len(who.Tree) == 0 {
		t.Fatal(out, err)
	}
	if _, err := there.Run("key", "trust", who.Tree[0].Subject, "--purpose", "*", "--name", "here"); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		post := exec.Command("sh", "-c", fmt.Sprintf("printf 'From: a@x.example\\nNewsgroups: test.a\\nSubject: signed %d\\n\\n.a dot\\n\\nGr\\303\\274\\303\\237e \\n\\n\\n' | '%s' --config '%s/litfass.toml' post", i, litfass(t), here.Dir))
		if out, err := post.CombinedOutput(); err != nil {
			t.Fatal(string(out), err)
		}
	}
	await(t, "the node behind INN", there.Addr, 20)
	deadline := time.Now().Add(30 * time.Second)
	for {
		lines := signers(t, there.Addr)
		if n := strings.Count(strings.Join(lines, "\n"), " verified gate "); n == 20 && len(lines) == 20 {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("%d of %d are verified:\n%s", n, len(lines), strings.Join(lines, "\n"))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// signers asks for the metadata item :signer of all articles of test.a.
func signers(t *testing.T, addr string) (out []string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "MODE READER\r\nGROUP test.a\r\nHDR :signer 1-\r\nQUIT\r\n"); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(text), "\r\n225 ")
	_, list, _ = strings.Cut(list, "\r\n")
	list, _, _ = strings.Cut(list, "\r\n.\r\n")
	return strings.Split(list, "\r\n")
}
