//go:build interop

package interop

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/test/nodebox"
)

// TestRevocationReaches: ten whole nodes in a line and in a ring, which take known
// signers only. A recovery at one end bars the stolen key at the other as soon as the
// flood is there. A node that was away for a week gets what the thief signed and the
// revocation in one go, the former first in its neighbours' logs, and does not take it.
func TestRevocationReaches(t *testing.T) {
	for _, ring := range []bool{false, true} {
		t.Run(map[bool]string{false: "line", true: "ring"}[ring], func(t *testing.T) {
			nodes := manyNodes(t, 10, ring)
			first, far := nodes[0], nodes[9]
			near := nodes[8]
			if ring {
				far, near = nodes[5], nodes[4]
			}
			words := recoveryWords(t, first, "anna")
			recoveryWords(t, first, "bob")
			await := func(what string, ok func() bool) {
				t.Helper()
				defer func(begin time.Time) { t.Logf("%s: %v", what, time.Since(begin).Round(time.Millisecond)) }(time.Now())
				for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("waited in vain for %s", what)
					}
				}
			}
			good := postAs(t, first, "anna")
			await("her article at the other end", func() bool { return readable(t, far, good) })

			if err := far.Stop(); err != nil {
				t.Fatal(err)
			}
			stolen := postAs(t, first, "anna")
			var others []string
			for range 5 {
				others = append(others, postAs(t, first, "bob"))
			}
			await("the thief's article", func() bool { return readable(t, near, stolen) })
			id := account(t, first, "anna")
			input(t, first, "pw of anna, new\n"+words+"\n", "key", "recover", "--account", "anna", "--bad-since", "1h", "--password-stdin")
			await("the revocation", func() bool { return sequence(t, near, id) == 1 })
			if is := talk(t, near.Addr, "HDR :signer "+stolen+"\r\nQUIT\r\n"); strings.Contains(is, "verified") {
				t.Error("the stolen key still counts at the other end: " + is)
			}

			if _, err := far.Start("LITFASS_CLOCK_OFFSET=168h"); err != nil {
				t.Fatal(err)
			}
			after := postAs(t, first, "anna")
			await("what her new key signed", func() bool { return readable(t, far, after) })
			await("what others signed", func() bool {
				for _, id := range others {
					if !readable(t, far, id) {
						return false
					}
				}
				return true
			})
			if readable(t, far, stolen) {
				t.Error("who was away a week takes what the thief signed")
			}
		})
	}
}

// manyNodes starts n nodes that feed their neighbours and believe in the first.
func manyNodes(t *testing.T, n int, ring bool) []*nodebox.Node {
	t.Helper()
	name := func(i int) string { return fmt.Sprintf("n%d.test.example", (i+n)%n) }
	addrs := make([]string, n)
	for i := range addrs {
		addrs[i] = freeAddr(t)
	}
	var out []*nodebox.Node
	for i := range n {
		var links []nodebox.Link
		for _, k := range []int{i - 1, i + 1} {
			if ring || k >= 0 && k < n {
				links = append(links, nodebox.Link{Name: name(k), Addr: addrs[(k+n)%n], Send: "*"})
			}
		}
		node, err := nodebox.New(litfass(t), nodebox.Options{Host: name(i), Addr: addrs[i], Links: links, More: "[pki]\nrequire = \"known\"\n"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(node.Remove)
		if out = append(out, node); i > 0 {
			command(t, node, "key", "trust", nodeID(t, out[0]), "--purpose", "*", "--depth", "4")
		}
	}
	for _, node := range out {
		if _, err := node.Start(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// input runs a command with standard input and returns what it printed.
func input(t *testing.T, n *nodebox.Node, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command(litfass(t), append([]string{"--config", filepath.Join(n.Dir, "litfass.toml")}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

// recoveryWords makes an account and returns its words.
func recoveryWords(t *testing.T, n *nodebox.Node, name string) string {
	t.Helper()
	var made struct {
		Words []string `json:"recovery_words"`
	}
	text := input(t, n, "pw of "+name+"\n", "--json", "user", "add", name, "--password-stdin")
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&made); err != nil || len(made.Words) != 24 {
		t.Fatal(text, err)
	}
	return strings.Join(made.Words, " ")
}

// postAs posts an article of an account and returns its Message-ID.
func postAs(t *testing.T, n *nodebox.Node, name string) string {
	t.Helper()
	id, _, _ := strings.Cut(input(t, n, "From: A <a@x.example>\nNewsgroups: mesh.talk\nSubject: x\n\nx\n", "post", "--as", name), " ")
	return id
}

func readable(t *testing.T, n *nodebox.Node, id string) bool {
	t.Helper()
	return strings.Contains(talk(t, n.Addr, "STAT "+id+"\r\nQUIT\r\n"), "\r\n223 ")
}

// account is the identity of an account.
func account(t *testing.T, n *nodebox.Node, name string) string {
	t.Helper()
	line, _, _ := strings.Cut(input(t, n, "", "key", "show", name), "\n")
	return strings.TrimPrefix(line, "id:")
}

// sequence is the number of the key event that counts for an identity at a node.
func sequence(t *testing.T, n *nodebox.Node, id string) uint64 {
	t.Helper()
	var said struct{ Seq uint64 }
	if err := json.Unmarshal([]byte(input(t, n, "", "--json", "key", "show", id)), &said); err != nil {
		t.Fatal(err)
	}
	return said.Seq
}
