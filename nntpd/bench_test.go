package nntpd

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/nntp"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/local"
)

// client is a plain one for benchmarks.
func (n *node) client(b testing.TB) *nntp.Conn {
	b.Helper()
	c := nntp.NewConn(n.dialLong(b), nntp.Options{})
	if _, _, err := c.Answer(); err != nil {
		b.Fatal(err)
	}
	return c
}

func (n *node) dialLong(b testing.TB) net.Conn {
	b.Helper()
	c, err := net.Dial("tcp", n.addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

func ask(b testing.TB, c *nntp.Conn, block bool, words ...string) {
	c.Command(words...)
	if err := c.Flush(); err != nil {
		b.Fatal(err)
	}
	code, text, err := c.Answer()
	if err != nil || code >= 400 {
		b.Fatal(code, string(text), err)
	}
	if block {
		if _, err := c.BlockTo(io.Discard, 1<<30); err != nil {
			b.Fatal(err)
		}
	}
}

const benchArticles = 3500

// disk is a spool on the disk.
func disk(b *testing.B) spool.Store {
	s, err := local.Open(local.Config{Dir: b.TempDir(), Now: testNow})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// fullNode serves a group of benchArticles articles in memory: a spool on the
// disk would take long to fill one by one.
func fullNode(b *testing.B) *node {
	n := start(b, nodeConfig{peer: true})
	body := strings.Repeat("a line of seventy octets or so, as people write them in their news...\n", 30)
	for i := range benchArticles {
		put(b, n.spool, noon, text(fmt.Sprintf("<b%d@mesh.example>", i), "mesh.empty", "a subject of some length", body), "mesh.empty")
	}
	return n
}

// BenchmarkRead asks for one thing after the other on one connection; the store
// is the one in memory, so what it costs is mostly the door's.
func BenchmarkRead(b *testing.B) {
	n := fullNode(b)
	for _, cmd := range []string{"DATE", "STAT 100", "ARTICLE 100", "ARTICLE <b7@mesh.example>", "OVER 100-199", "HDR Subject 100-199", "LISTGROUP mesh.empty", "LIST ACTIVE"} {
		b.Run(strings.ReplaceAll(cmd, " ", "_"), func(b *testing.B) {
			c := n.client(b)
			ask(b, c, false, "GROUP", "mesh.empty")
			block := !strings.HasPrefix(cmd, "STAT") && cmd != "DATE"
			b.ReportAllocs()
			for b.Loop() {
				ask(b, c, block, cmd)
			}
		})
	}
}

// stream sends commands with a window and reads an answer for each.
func stream(b *testing.B, c *nntp.Conn, window int, send func(i int)) {
	read := func() {
		if code, text, err := c.Answer(); err != nil || code >= 440 || code == 400 {
			b.Fatal(code, string(text), err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		send(i)
		if i%window == window-1 {
			if err := c.Flush(); err != nil {
				b.Fatal(err)
			}
			for range window {
				read()
			}
		}
	}
	if err := c.Flush(); err != nil {
		b.Fatal(err)
	}
	for range b.N % window {
		read()
	}
}

func BenchmarkCheck(b *testing.B) {
	n := fullNode(b)
	c := n.client(b)
	stream(b, c, 64, func(i int) { c.Command("CHECK", fmt.Sprintf("<b%d@mesh.example>", i%benchArticles)) })
}

// BenchmarkTakethis feeds articles of 2.5 kB on one connection; each is on disk
// before its 239.
func BenchmarkTakethis(b *testing.B) {
	n := start(b, nodeConfig{peer: true, store: disk(b)})
	c := n.client(b)
	body := strings.Repeat("a line of seventy octets or so, as people write them in their news...\r\n", 30)
	stream(b, c, 64, func(i int) {
		id := fmt.Sprintf("<t%d@mesh.example>", i)
		c.Command("TAKETHIS", id)
		c.Str(strings.ReplaceAll(text(id, "mesh.test", "fed", ""), "\n", "\r\n"))
		c.Str(body)
		c.End()
	})
}

// BenchmarkListActive lists 117,336 groups, as many as Usenet has, from the disk.
func BenchmarkListActive(b *testing.B) {
	store := disk(b)
	n := start(b, nodeConfig{store: store})
	var all []spool.GroupInfo
	for i := range 117_336 {
		all = append(all, spool.GroupInfo{Name: article.Group(fmt.Sprintf("alt.group.number.%d", i)), Status: spool.PostOpen})
	}
	if err := store.PutGroups(b.Context(), all...); err != nil {
		b.Fatal(err)
	}
	c := n.client(b)
	b.ReportAllocs()
	for b.Loop() {
		ask(b, c, true, "LIST", "ACTIVE")
	}
}

// BenchmarkIdle reports the memory of a connection that has asked something and
// is silent since: heap and stacks of server and client together.
func BenchmarkIdle(b *testing.B) {
	n := start(b, nodeConfig{})
	const many = 500
	for b.Loop() {
		before := memory()
		var all []net.Conn
		for range many {
			c := n.dialLong(b)
			all = append(all, c)
			if _, err := io.WriteString(c, "GROUP mesh.test\r\nOVER 1-\r\nARTICLE 1\r\n"); err != nil {
				b.Fatal(err)
			}
		}
		var buf [4096]byte
		for _, c := range all {
			for got := ""; !strings.HasSuffix(got, ".dot\r\nline\r\n.\r\n"); {
				k, err := c.Read(buf[:])
				if err != nil {
					b.Fatal(err)
				}
				got += string(buf[:k])
			}
		}
		b.ReportMetric(float64(memory()-before)/many, "B/conn")
		for _, c := range all {
			c.Close()
		}
	}
}

func memory() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
