//go:build interop

package interop

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// tap stands between clients and a server, and writes down what both say: a
// client's lines begin with "> ", the server's with "< ", those of a connection
// in the order in which they passed.
type tap struct {
	addr, host, port string // where clients connect

	mu    sync.Mutex
	conns []*[]string
}

func newTap(t *testing.T, to string) *tap {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{addr: ln.Addr().String()}
	if p.host, p.port, err = net.SplitHostPort(p.addr); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { ln.Close(); cancel(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("tcp", to)
			if err != nil {
				c.Close()
				continue
			}
			stop := context.AfterFunc(ctx, func() { c.Close(); s.Close() })
			talk := new([]string)
			p.mu.Lock()
			p.conns = append(p.conns, talk)
			p.mu.Unlock()
			wg.Go(func() { defer stop(); defer c.Close(); p.pass(talk, "< ", s, c) })
			wg.Go(func() { defer s.Close(); p.pass(talk, "> ", c, s) })
		}
	})
	return p
}

// pass hands on what comes, and notes whole lines before the other side can answer
// them. Behind STARTTLS they are noise.
func (p *tap) pass(talk *[]string, who string, from io.Reader, to io.Writer) {
	var rest []byte
	for buf := make([]byte, 32<<10); ; {
		n, err := from.Read(buf)
		rest = append(rest, buf[:n]...)
		for i := bytes.IndexByte(rest, '\n'); i >= 0; i = bytes.IndexByte(rest, '\n') {
			p.mu.Lock()
			*talk = append(*talk, who+strings.TrimRight(string(rest[:i]), "\r"))
			p.mu.Unlock()
			rest = rest[i+1:]
		}
		if _, bad := to.Write(buf[:n]); bad != nil || err != nil {
			return
		}
	}
}

// saw fails unless the lines of one connection begin, in this order, as these do.
// The case of commands is the client's own.
func (p *tap) saw(t *testing.T, want ...string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	best, all := 0, ""
	for _, talk := range p.conns {
		n := 0
		for _, line := range *talk {
			if n < len(want) && strings.HasPrefix(line, want[n]) {
				n++
			}
		}
		if n == len(want) {
			return
		}
		best = max(best, n)
		all += "\n--- a connection:\n" + strings.Join(*talk, "\n")
	}
	if best < len(want) {
		t.Errorf("not on the wire, or not in this order: %q%s", want[best], all)
	}
}

// never fails if a line of any connection begins so.
func (p *tap) never(t *testing.T, lines ...string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, talk := range p.conns {
		for _, line := range *talk {
			for _, no := range lines {
				if strings.HasPrefix(line, no) {
					t.Errorf("on the wire: %q", line)
				}
			}
		}
	}
}
