package courier

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/litfass/litfass/test/dnsbox"
)

// TestDestinations: a domain gets two connections at a time, so that one that is slow
// leaves workers for the others; one that hangs up is asked once and not for each
// address.
func TestDestinations(t *testing.T) {
	h := newSmarthost(t)
	_, port, _ := net.SplitHostPort(h.addr)
	deaf, err := net.Listen("tcp", net.JoinHostPort("127.0.0.2", port))
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := deaf.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			c.Close()
		}
	}()
	t.Cleanup(func() { deaf.Close(); <-done })
	var open, most atomic.Int64
	proceed := make(chan struct{})
	goOn := sync.OnceFunc(func() { close(proceed) })
	h.deny = func(to string) error {
		if strings.HasSuffix(to, "@slow.example") {
			n := open.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			<-proceed
			open.Add(-1)
		}
		return nil
	}
	d := newDesk(t, "mx", func(c *Config) {
		c.Port = port
		c.Resolver = dnsbox.Serve(t, dnsbox.Zone{A: map[string]string{"slow.example": "127.0.0.1", "zippy.example": "127.0.0.1", "deaf.example": "127.0.0.2"}})
	})
	const many = 3*perRow - 1 // three rows
	for i := range many {
		for _, domain := range []string{"slow.example", "deaf.example"} {
			if err := d.Add(context.Background(), "mesh.talk", fmt.Sprintf("u%d@%s", i, domain), All); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := d.Add(context.Background(), "mesh.talk", "a@zippy.example", All); err != nil {
		t.Fatal(err)
	}
	d.run(t)
	t.Cleanup(goOn) // before the desk waits for its deliveries
	d.follow(t, d.post(t, "mesh.talk", "many"))
	if got := h.next(t); got.to != "a@zippy.example" {
		t.Errorf("%s came before the one that nothing holds up", got.to)
	}
	goOn()
	for range many {
		h.next(t)
	}
	if n := most.Load(); n != perDestination {
		t.Errorf("%d connections to one domain", n)
	}
	for end := time.Now().Add(20 * time.Second); ; {
		rows, err := d.Queue()
		if err != nil {
			t.Fatal(err)
		}
		late := 0
		for _, r := range rows {
			if r.Tries == 1 && strings.HasSuffix(r.To[0], "@deaf.example") {
				late += len(r.To)
			}
		}
		if late == many && len(rows) == 3 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d put off: %+v", late, many, rows)
		}
		<-time.After(5 * time.Millisecond)
	}
	if n := asked.Load(); n > perDestination {
		t.Errorf("a server that hangs up was asked %d times for %d addresses", n, many)
	}
}
