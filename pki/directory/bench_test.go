package directory

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/local"
)

// BenchmarkIntake relays articles of 2.5 KB into a spool in memory, signed ones
// with checking and without: the difference is what checking costs.
func BenchmarkIntake(b *testing.B) {
	clock := testStart
	boxes := mesh(b, 2, false, &clock)
	here, there := boxes[0], boxes[1]
	if _, _, err := here.keys.NewIdentity("anna", "geheim"); err != nil {
		b.Fatal(err)
	}
	flood(boxes)
	if err := there.spool.PutGroups(context.Background(), spool.GroupInfo{Name: "mesh.talk", Require: ""}); err != nil {
		b.Fatal(err)
	}
	keys := there.agent.Keys
	n := 0
	for _, checked := range []bool{false, true} {
		b.Run(fmt.Sprintf("checked=%v", checked), func(b *testing.B) {
			there.agent.Keys = keys
			if !checked {
				there.agent.Keys = nil
			}
			wires := make([][]byte, b.N)
			for i := range wires {
				n++
				wires[i] = bigArticle(b, here, n)
			}
			b.ResetTimer()
			for _, w := range wires {
				if _, err := there.agent.Relay(context.Background(), w, agent.Origin{Door: "nntp", Peer: "peer"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func bigArticle(b *testing.B, here *box, n int) []byte {
	h, used, err := here.keys.Signer(context.Background(), "anna", "post")
	if err != nil {
		b.Fatal(err)
	}
	d := &article.Draft{Header: [][2]string{{"From", "A <a@x.mesh>"}, {"Newsgroups", "mesh.talk"}, {"Subject", "Hallo"},
		{"Message-ID", fmt.Sprintf("<%020d.sig-%s@x.mesh>", n, h)}, {"Date", article.FormatDate(time.Unix(*here.clock, 0))}, {"Path", "x.mesh!not-for-mail"}},
		Body: bytes.NewReader([]byte(strings.Repeat("Morgen um acht, wie immer, und abends noch einmal.\r\n", 50)))}
	if err := here.keys.SignDraft(context.Background(), d, "anna", used); err != nil {
		b.Fatal(err)
	}
	a, err := d.Build(article.Limits{})
	if err != nil {
		b.Fatal(err)
	}
	return a.Wire()
}

// BenchmarkIntakeDisk relays the same articles into a spool on disk, 32 at a time
// as a feed with streaming does: articles a second, and CPU of the process per
// article, with checking and without.
func BenchmarkIntakeDisk(b *testing.B) {
	clock := testStart
	boxes := mesh(b, 2, false, &clock)
	here, there := boxes[0], boxes[1]
	if _, _, err := here.keys.NewIdentity("anna", "geheim"); err != nil {
		b.Fatal(err)
	}
	flood(boxes)
	keys, ctx, n := there.agent.Keys, context.Background(), 0
	for _, checked := range []bool{false, true} {
		b.Run(fmt.Sprintf("checked=%v", checked), func(b *testing.B) {
			store, err := local.Open(local.Config{Dir: b.TempDir(), Now: func() time.Time { return time.Unix(clock, 0) }})
			if err != nil {
				b.Fatal(err)
			}
			defer store.Close()
			if err := store.PutGroups(ctx, spool.GroupInfo{Name: "mesh.talk", Status: spool.PostOpen}); err != nil {
				b.Fatal(err)
			}
			there.agent.Spool, there.agent.Keys = store, keys
			if !checked {
				there.agent.Keys = nil
			}
			wires := make(chan []byte, b.N)
			for range b.N {
				n++
				wires <- bigArticle(b, here, n)
			}
			close(wires)
			var wg sync.WaitGroup
			before := cpuTime(b)
			b.ResetTimer()
			for range 32 {
				wg.Go(func() {
					for w := range wires {
						if _, err := there.agent.Relay(ctx, w, agent.Origin{Door: "nntp", Peer: "peer"}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/1000/float64(b.N), "us-CPU/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "articles/s")
		})
	}
}

// cpuTime is what this process has used of all cores.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
