//go:build interop

package interop

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
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
	command(t, there, "key", "trust", nodeID(t, here), "--purpose", "*", "--name", "here")
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

// nodeID is the identity of a node.
func nodeID(t *testing.T, n *nodebox.Node) string {
	t.Helper()
	var who struct {
		Tree []struct{ Subject string }
	}
	if err := json.Unmarshal([]byte(command(t, n, "--json", "key", "show")), &who); err != nil || len(who.Tree) == 0 {
		t.Fatal(who, err)
	}
	return who.Tree[0].Subject
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

// TestSignedEachWay: an article signed here survives each way into a real INN, by
// IHAVE, TAKETHIS and POST, and each way out of it, by innfeed's TAKETHIS and by
// innxmit's IHAVE.
func TestSignedEachWay(t *testing.T) {
	bin, err := innbox.Find()
	if err != nil {
		t.Skipf("SKIP: %v", err)
	}
	stream, ihave := freeAddr(t), freeAddr(t)
	inn, err := innbox.New(bin, innbox.Options{Name: "inn.test.example", Groups: []string{"test.a"}, Feeds: []innbox.Feed{
		{Name: "stream", Exclude: "stream.test.example", Port: port(t, stream)}, {Name: "ihave", Exclude: "ihave.test.example", Batch: true}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(inn.Remove)
	if err := inn.Start(); err != nil {
		t.Fatal(err)
	}
	web := freeAddr(t)
	here := mailNodeAs(t, "here.test.example", fmt.Sprintf("[smtp]\nlisten = []\n[http]\nlisten = [%q]\n", web))
	var others []*nodebox.Node
	for _, addr := range []string{stream, ihave} {
		name := map[string]string{stream: "stream.test.example", ihave: "ihave.test.example"}[addr]
		n := newNode(t, nodebox.Options{Host: name, Addr: addr, Links: []nodebox.Link{{Name: "inn.test.example", Send: "!*"}}})
		command(t, n, "key", "fetch", "http://"+web)
		command(t, n, "key", "trust", nodeID(t, here), "--purpose", "*")
		others = append(others, n)
	}
	ways := []string{"IHAVE", "TAKETHIS", "POST"}
	for i, way := range ways {
		post(t, here, fmt.Sprintf("From: A <a@x.example>\nNewsgroups: test.a\nSubject: by %s \303\274\n\n.a dot\n..\nGr\303\274\303\237e \n\t\n\n\n", way))
		handOver(t, inn.Addr, way, raw(t, here.Addr, i+1))
	}
	await(t, "the node behind innfeed", stream, 3)
	if err := inn.Control("flush", "ihave"); err != nil {
		t.Fatal(err)
	}
	if out, err := inn.Command("innxmit", "-s", "-v", "-P", fmt.Sprint(port(t, ihave)), "127.0.0.1", inn.Dir+"/spool/outgoing/ihave").CombinedOutput(); err != nil {
		t.Fatalf("innxmit: %v: %s", err, out)
	}
	await(t, "the node behind innxmit", ihave, 3)
	for _, n := range others {
		lines := signers(t, n.Addr)
		if strings.Count(strings.Join(lines, "\n"), " verified gate "+strings.TrimPrefix(nodeID(t, here), "id:")) != 3 {
			t.Errorf("%s has\n%s", n.Host, strings.Join(lines, "\n"))
		}
	}
}

// raw is the article of that number in test.a, in wire form.
func raw(t *testing.T, addr string, number int) string {
	t.Helper()
	said := talk(t, addr, fmt.Sprintf("MODE READER\r\nGROUP test.a\r\nARTICLE %d\r\nQUIT\r\n", number))
	_, text, _ := strings.Cut(said, "\r\n220 ")
	_, text, _ = strings.Cut(text, "\r\n")
	text, _, ok := strings.Cut(text, "\r\n.\r\n")
	if !ok {
		t.Fatal(said)
	}
	return text + "\r\n.\r\n"
}

// talk says something and returns all that is answered.
func talk(t *testing.T, addr, script string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, script); err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(said)
}

// handOver gives an article to a server, step by step.
func handOver(t *testing.T, addr, way, wire string) {
	t.Helper()
	_, id, _ := strings.Cut(wire, "\r\nMessage-ID: ")
	id, _, _ = strings.Cut(id, "\r\n")
	conn, err := textproto.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	step := func(text string, code int) {
		t.Helper()
		if text != "" {
			_, err = io.WriteString(conn.W, text)
			err = errors.Join(err, conn.W.Flush())
		}
		if _, _, rerr := conn.ReadCodeLine(code); err != nil || rerr != nil {
			t.Fatal(way, err, rerr)
		}
	}
	step("", 20)
	switch way {
	case "IHAVE":
		step("IHAVE "+id+"\r\n", 335)
		step(wire, 235)
	case "TAKETHIS":
		step("MODE STREAM\r\n", 203)
		step("TAKETHIS "+id+"\r\n"+wire, 239)
	case "POST":
		head, body, _ := strings.Cut(wire, "\r\n\r\n")
		var kept []string
		for _, l := range strings.Split(head, "\r\n") {
			name, _, _ := strings.Cut(l, ":")
			if name != "Path" && name != "Xref" && !strings.HasPrefix(name, "Injection-") {
				kept = append(kept, l)
			}
		}
		step("MODE READER\r\n", 20)
		step("POST\r\n", 340)
		step(strings.Join(kept, "\r\n")+"\r\n\r\n"+body, 240)
	}
}
