//go:build interop

package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/nntp"
	"github.com/litfass/litfass/test/innbox"
	"github.com/litfass/litfass/test/nodebox"
)

const ourHost = "node.test.example"

// newINN starts an INN with the group test.a, or skips.
func newINN(t *testing.T, feeds ...innbox.Feed) *innbox.Box {
	t.Helper()
	bin, err := innbox.Find()
	if err != nil {
		t.Skipf("SKIP: %v", err)
	}
	b, err := innbox.New(bin, innbox.Options{Name: "inn.test.example", Groups: []string{"test.a"}, Feeds: feeds})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Remove)
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	return b
}

// newNode starts a node of ours with the group test.a.
func newNode(t *testing.T, o nodebox.Options) *nodebox.Node {
	t.Helper()
	o.Groups = []string{"test.a"}
	n, err := nodebox.New(litfass(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Remove)
	if _, err := n.Start(); err != nil {
		t.Fatal(err)
	}
	return n
}

// port of an address.
func port(t *testing.T, addr string) int {
	t.Helper()
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(p)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// id is testID as it stands on the wire.
func id(i int) string { return string(testID(i)) }

func testID(i int) article.ID { return article.ID(fmt.Sprintf("<%d@interop.test.example>", i)) }

// give streams articles from to to to a server, as a neighbour does.
func give(t *testing.T, addr string, from, to int) {
	t.Helper()
	c, err := nntp.Dialer{Address: addr}.Connect(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if ok, err := c.ModeStream(); !ok {
		t.Fatalf("no streaming: %v", err)
	}
	for i := from; i < to; i++ {
		c.TakeThis(testID(i), fmt.Appendf(nil, "Path: outside.test.example!not-for-mail\r\nMessage-ID: %s\r\nNewsgroups: test.a\r\n"+
			"From: a@b.example\r\nSubject: article %d\r\nDate: %s\r\n\r\n..dot\r\nbody %d \xe4\r\n%s\r\n.\r\n",
			testID(i), i, article.FormatDate(time.Now()), i, strings.Repeat("x", i%900)))
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		if code, text, err := c.Next(); err != nil || code != nntp.CodeTakethisOK {
			t.Fatalf("TAKETHIS: %d %s, %v", code, text, err)
		}
	}
}

// count is how many articles a server has in test.a.
func count(t *testing.T, addr string) int {
	t.Helper()
	c := reader(t, addr)
	defer c.Close()
	n, _, _, err := c.Group("test.a")
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

func reader(t *testing.T, addr string) *nntp.Client {
	t.Helper()
	c, err := nntp.Dialer{Address: addr}.Connect(context.Background())
	if err == nil {
		err = c.ModeReader()
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// await waits until a server has that many articles: it is another program, so
// there is nothing to wait on but its answers.
func await(t *testing.T, what, addr string, want int) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for got := -1; got < want; {
		if got = count(t, addr); got >= want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s has %d of %d articles", what, got, want)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// same checks that both servers hold articles from to to, each once, with equal
// bodies, and that each server's name stands once in Path.
func same(t *testing.T, a, b string, from, to int) {
	t.Helper()
	one, two := fetch(t, a, from, to), fetch(t, b, from, to)
	for i := range one {
		_, body1, _ := strings.Cut(one[i], "\r\n\r\n")
		_, body2, _ := strings.Cut(two[i], "\r\n\r\n")
		if body1 != body2 {
			t.Fatalf("%s: bodies differ:\n%q\n%q", testID(from+i), body1, body2)
		}
		for _, wire := range []string{one[i], two[i]} {
			p, err := article.Parse([]byte(wire), article.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			for _, host := range []string{ourHost, "inn.test.example"} {
				if n := strings.Count(p.Get("Path"), host); n > 1 {
					t.Errorf("%s went in a circle: %s", testID(from+i), p.Get("Path"))
				}
			}
		}
	}
	for _, addr := range []string{a, b} {
		if n := count(t, addr); n != to {
			t.Errorf("%s has %d articles, want %d", addr, n, to)
		}
	}
}

// fetch gets articles, pipelined: INN takes 40 ms for each that waits for the last.
func fetch(t *testing.T, addr string, from, to int) []string {
	t.Helper()
	c := reader(t, addr)
	defer c.Close()
	var ids, out []string
	for i := from; i < to; i++ {
		ids = append(ids, string(testID(i)))
	}
	err := c.Articles(ids, 1<<20, func(i int, wire []byte, err error) error {
		out = append(out, string(wire))
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", addr, err)
	}
	return out
}

// peerState is what "peer list" says of a peer.
func peerState(t *testing.T, n *nodebox.Node, name string) (accepted, refused uint64) {
	t.Helper()
	out, err := n.Run("--json", "peer", "list")
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		Name              string
		Accepted, Refused uint64
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, p := range list {
		if p.Name == name {
			return p.Accepted, p.Refused
		}
	}
	t.Fatalf("no peer %s in %s", name, out)
	return 0, 0
}

// TestINNBothWays: innfeed feeds us, we feed innd, and nothing is echoed.
func TestINNBothWays(t *testing.T) {
	litfass(t) // built before INN looks for it: innfeed sleeps after a refusal
	addr, err := nodebox.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	p := newTap(t, addr)
	inn := newINN(t, innbox.Feed{Name: "litfass", Exclude: ourHost, Port: portOf(t, p.addr)})
	n := newNode(t, nodebox.Options{Host: ourHost, Addr: addr, Links: []nodebox.Link{
		{Name: "inn.test.example", Addr: inn.Addr, Send: "test.*"}, {Name: "outside.test.example", Send: "!*"},
	}})
	give(t, inn.Addr, 0, 300)
	await(t, "litfass, fed by innfeed,", n.Addr, 300)
	give(t, n.Addr, 300, 600)
	await(t, "INN, fed by litfass,", inn.Addr, 600)
	give(t, inn.Addr, 600, 610)
	await(t, "litfass", n.Addr, 610)
	same(t, inn.Addr, n.Addr, 0, 610)
	if accepted, refused := peerState(t, n, "inn.test.example"); accepted != 300 || refused != 0 {
		out, _ := n.Run("--json", "peer", "list")
		t.Errorf("INN took %d and refused %d, want the 300 that it did not bring itself, and 0: %s", accepted, refused, out)
	}
	p.saw(t, "< 200 ", "> MODE STREAM", "< 203 ", "> CHECK "+id(0), "< 238 "+id(0), "> TAKETHIS "+id(0), "> ..dot", "> .", "< 239 "+id(0))
}

// TestINNDown: INN is away while articles come, and is fed when it is back.
func TestINNDown(t *testing.T) {
	inn := newINN(t)
	n := newNode(t, nodebox.Options{Host: ourHost, Links: []nodebox.Link{
		{Name: "inn.test.example", Addr: inn.Addr, Send: "test.*"}, {Name: "outside.test.example", Send: "!*"},
	}})
	give(t, n.Addr, 0, 100)
	await(t, "INN", inn.Addr, 100)
	inn.Stop()
	give(t, n.Addr, 100, 400)
	n.Kill()
	if _, err := n.Start(); err != nil {
		t.Fatal(err)
	}
	if err := inn.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, "INN", inn.Addr, 400)
	same(t, inn.Addr, n.Addr, 0, 400)
}

// TestInnxmit: a batch file and innxmit, which sends all CHECKs in one burst.
func TestInnxmit(t *testing.T) {
	inn := newINN(t, innbox.Feed{Name: "litfass", Exclude: ourHost, Batch: true})
	n := newNode(t, nodebox.Options{Host: ourHost, Links: []nodebox.Link{
		{Name: "inn.test.example", Send: "!*"},
	}})
	p := newTap(t, n.Addr)
	give(t, inn.Addr, 0, 500)
	for round := range 2 { // the second time everything is known
		if err := inn.Control("flush", "litfass"); err != nil {
			t.Fatal(err)
		}
		batch := filepath.Join(inn.Dir, "spool/outgoing/litfass")
		list := filepath.Join(inn.Dir, "spool/outgoing/list")
		text, err := os.ReadFile(batch)
		if err != nil && round == 0 {
			t.Fatal(err)
		}
		if round == 0 {
			if err := os.WriteFile(list+".kept", text, 0o644); err != nil {
				t.Fatal(err)
			}
		} else if text, err = os.ReadFile(list + ".kept"); err != nil {
			t.Fatal(err)
		}
		if err := inn.WriteFile("spool/outgoing/list", text); err != nil {
			t.Fatal(err)
		}
		out, err := inn.Command("innxmit", "-v", "-P", p.port, "127.0.0.1", list).CombinedOutput()
		if err != nil {
			t.Fatalf("innxmit: %v: %s", err, out)
		}
		t.Logf("innxmit: %s", out)
		if got := count(t, n.Addr); got != 500 {
			t.Fatalf("litfass has %d articles after innxmit, want 500", got)
		}
	}
	same(t, inn.Addr, n.Addr, 0, 500)
	p.saw(t, "< 200 ", "> MODE STREAM", "< 203 ", "> CHECK "+id(0), "> CHECK "+id(1), "< 238 "+id(0), "> TAKETHIS "+id(0), "< 239 "+id(0), "> QUIT", "< 205 ")
	p.saw(t, "> MODE STREAM", "< 203 ", "> CHECK "+id(0), "< 438 "+id(0), "< 438 "+id(499), "> QUIT")
}

// TestInews: INN's inews posts here; it logs in only when told 480, and then posts again.
func TestInews(t *testing.T) {
	inn := newINN(t)
	n, p := library(t, "read")
	login(t, n)
	if err := inn.WriteFile("etc/passwd.nntp", []byte("127.0.0.1:anna:secretword\n")); err != nil {
		t.Fatal(err)
	}
	cmd := inn.Command("inews", "-h", "-S", "-p", p.port)
	cmd.Stdin = strings.NewReader("From: otto@mesh.example\nNewsgroups: test.a\nSubject: from inews\nMessage-ID: <inews@mesh.example>\n\nhello\n.dot\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("inews: %v: %s", err, out)
	}
	p.saw(t, "> mode reader", "< 200 ", "> post", "< 480 ", "> AUTHINFO USER anna", "< 381 ", "> AUTHINFO PASS secretword", "< 281 ",
		"> post", "< 340 ", "> Sender: ", "> ..dot", "> .", "< 240 article received <inews@mesh.example>", "> quit")
	c := reader(t, n.Addr)
	defer c.Close()
	wire, err := c.Article("<inews@mesh.example>", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	has(t, "article of inews", string(wire), "Subject: from inews\r\n", "\r\n\r\nhello\r\n..dot\r\n")
}

// TestRnews: INN's rnews brings a batch with IHAVE, and again: then all of it is known.
func TestRnews(t *testing.T) {
	inn := newINN(t)
	n := newNode(t, nodebox.Options{Host: ourHost, Links: []nodebox.Link{{Name: "inn.test.example", Send: "!*"}}})
	p := newTap(t, n.Addr)
	var batch strings.Builder
	for i := range 20 {
		art := fmt.Sprintf("Path: inn.test.example!not-for-mail\nFrom: a@mesh.example\nNewsgroups: test.a\nSubject: in a batch\nDate: %s\nMessage-ID: %s\n\nhello\n.dot\n",
			time.Now().UTC().Format("02 Jan 2006 15:04:05 +0000"), testID(i))
		fmt.Fprintf(&batch, "#! rnews %d\n%s", len(art), art)
	}
	for round := range 2 {
		cmd := inn.Command("rnews", "-v", "-S", "127.0.0.1", "-P", p.port)
		cmd.Stdin = strings.NewReader(batch.String())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("rnews, round %d: %v: %s", round, err, out)
		}
		if got := count(t, n.Addr); got != 20 {
			t.Fatalf("%d articles here after rnews, want 20", got)
		}
	}
	p.saw(t, "> ihave "+id(0), "< 335 ", "> ..dot", "> .", "< 235 ", "> ihave "+id(19), "< 335 ", "< 235 ")
	p.saw(t, "> ihave "+id(0), "< 435 ", "> ihave "+id(19), "< 435 ")
	wire := fetch(t, n.Addr, 19, 20)
	has(t, "article of rnews", wire[0], "Path: "+ourHost+"!!inn.test.example!not-for-mail\r\n", "\r\n\r\nhello\r\n..dot\r\n")
}

// TestPullFromINN: INN gives us no feed; we ask it as a newsreader does. First
// group by group through the overview, then with NEWNEWS. What is here
// comes once.
func TestPullFromINN(t *testing.T) {
	inn := newINN(t)
	n := newNode(t, nodebox.Options{Host: ourHost, More: fmt.Sprintf(
		"[[peer]]\nname = \"inn.test.example\"\naddress = %q\npull = true\nsend = \"!*\"\ntake = \"test.*\"\n", inn.Addr)})
	again := func(from, to int) {
		give(t, inn.Addr, from, to)
		if err := n.Stop(); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Start(); err != nil { // it asks when it starts, and every minute
			t.Fatal(err)
		}
		await(t, "litfass, which asks INN,", n.Addr, to)
	}
	again(0, 60)
	again(60, 80)
	same(t, inn.Addr, n.Addr, 0, 80)
	out, err := n.Run("peer", "list")
	if err != nil || !strings.Contains(out, "20 pulled") {
		t.Errorf("peer list: %v\n%s", err, out)
	}
}
