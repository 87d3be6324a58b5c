//go:build interop

package interop

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/litfass/litfass/test/nodebox"
)

// triangle starts three nodes that all feed each other.
func triangle(t *testing.T) []*nodebox.Node {
	t.Helper()
	var addr [3]string
	for i := range addr {
		var err error
		if addr[i], err = nodebox.FreeAddr(); err != nil {
			t.Fatal(err)
		}
	}
	host := func(i int) string { return fmt.Sprintf("t%d.test.example", i) }
	var out []*nodebox.Node
	for i := range addr {
		links := []nodebox.Link{{Name: "outside.test.example", Send: "!*"}}
		for k := range addr {
			if k != i {
				links = append(links, nodebox.Link{Name: host(k), Addr: addr[k], Send: "test.*"})
			}
		}
		out = append(out, newNode(t, nodebox.Options{Host: host(i), Addr: addr[i], Links: links}))
	}
	return out
}

// TestTriangleKilled: everything floods exactly once between three nodes, one of
// which is killed in the middle again and again, and frozen for a while.
func TestTriangleKilled(t *testing.T) {
	n := triangle(t)
	total := 0
	for round := range 4 {
		for i := range 2 { // 0 and 1 are given articles, 2 is ill
			switch round {
			case 1:
				n[2].Kill()
			case 2:
				if err := n[2].Signal(syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
			}
			give(t, n[i].Addr, total, total+250)
			total += 250
			if round == 1 {
				if _, err := n[2].Start(); err != nil {
					t.Fatal(err)
				}
			}
		}
		await(t, "node 0", n[0].Addr, total)
		await(t, "node 1", n[1].Addr, total)
		if round == 2 {
			if err := n[2].Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
		}
	}
	await(t, "node 2", n[2].Addr, total)
	for _, x := range n[1:] {
		same(t, n[0].Addr, x.Addr, 0, total)
	}
}

// TestStopsWithHungPeer: a node ends within 10 s although a peer is frozen.
func TestStopsWithHungPeer(t *testing.T) {
	n := triangle(t)
	give(t, n[0].Addr, 0, 10)
	await(t, "node 1", n[1].Addr, 10)
	for _, x := range n[1:] {
		if err := x.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		defer x.Signal(syscall.SIGCONT)
	}
	give(t, n[0].Addr, 10, 200)
	begin := time.Now()
	if err := n[0].Stop(); err != nil {
		t.Error(err)
	}
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("stopping took %v", d)
	}
}
