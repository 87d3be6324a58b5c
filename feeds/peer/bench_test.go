package peer

import (
	"testing"
	"time"
)

// BenchmarkFlood is what one article costs both ends, spool and sink in memory.
func BenchmarkFlood(b *testing.B) {
	n, to := newNode(b), newNeighbour(b)
	n.addMany(0, b.N)
	b.ResetTimer()
	f := New(Config{Spool: n, State: &memory{}})
	if err := f.Set([]Peer{{Name: "p", Address: to.addr}}); err != nil {
		b.Fatal(err)
	}
	to.wait("all", func() bool { return len(to.have) >= b.N })
	b.StopTimer()
	f.Stop()
}

// BenchmarkDelay is the time from Add to the article's being at the peer.
func BenchmarkDelay(b *testing.B) {
	n, to := newNode(b), newNeighbour(b)
	f := New(Config{Spool: n, State: &memory{}})
	defer f.Stop()
	if err := f.Set([]Peer{{Name: "p", Address: to.addr}}); err != nil {
		b.Fatal(err)
	}
	for i := range b.N {
		n.addMany(i, i+1)
		to.waitFor(i + 1)
	}
	b.ReportMetric(float64(b.Elapsed())/float64(time.Microsecond)/float64(b.N), "µs/article")
}
