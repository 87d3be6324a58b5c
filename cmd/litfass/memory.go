package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The heap may grow to three times what lives in it before it is collected:
// against Go's default of two that takes a quarter off the CPU time of an
// article's intake (60 to 45 us). What that costs in memory is given back
// once the node has come to rest.
// Above heapLimit the collector works harder instead: full-text indexing of 16,000
// articles then peaks at 130 MiB of resident memory, mapped files included, and
// not at 250, for a sixth more CPU time. Where there is little memory the limit is
// lower: memoryRoom.
const (
	gcPercent  = 200
	heapLimit  = 64 << 20
	restTick   = 2 * time.Second
	restOctets = 1 << 20 // allocated in a tick: more is work, less is rest
	restWorth  = 4 << 20 // allocated since memory was given back: less is not worth a collection
	restSoon   = 2       // ticks
	restLate   = 7       // ticks: longer than the search index waits for more articles
)

// What is mapped of files (the program, half of which a start touches; the indexes)
// is let go of at rest, too, if it is more than filesWorth and not more often than
// filesEvery: 37 MiB of the program alone were resident, of which a node at rest uses
// a few. It costs some hundred minor faults when work begins again.
const (
	filesWorth = 12 << 20
	filesEvery = time.Minute
)

// startMemory sets the collector, unless GOGC or GOMEMLIMIT in the environment do, and gives
// memory back when the node rests.
func (s *server) startMemory(context.Context) (*part, error) {
	if s.call.getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if s.call.getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(s.core.heap)
	}
	if s.core.heap < heapLimit {
		s.log.Info("little memory: the heap is kept small", "heap", human(s.core.heap))
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		rest(ctx)
	}()
	return &part{name: "memory", stop: func(context.Context) error {
		cancel()
		<-done
		return nil
	}}, nil
}

// rest watches how much is allocated, and gives memory back after restSoon ticks of
// rest, and once more after restLate: what was kept for who might come is gone then,
// from the pools too, which outlive one collection.
func rest(ctx context.Context) {
	tick := time.NewTicker(restTick)
	defer tick.Stop()
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	var last, given uint64
	var released time.Time
	again := false
	for quiet := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(sample)
		now := sample[0].Value.Uint64()
		if quiet++; now-last > restOctets {
			quiet = 0
		}
		last = now
		switch {
		case quiet == restSoon && now-given > restWorth:
			debug.FreeOSMemory()
			given, again, released = now, true, time.Time{}
		case quiet == restLate && again:
			runtime.GC()
			debug.FreeOSMemory()
			given, again, released = now, false, time.Time{}
		}
		if quiet >= restSoon && time.Since(released) > filesEvery && residentFiles() > filesWorth {
			released = time.Now()
			_, _ = releaseFiles() // without it they are resident, that is all
		}
	}
}

// makeRoom gives back what can be had again, before the 16 MiB that a password's hash
// takes: fifty logins at once on a node that had just indexed an archive came to 96
// MiB, 94 of which were there before.
func makeRoom() {
	debug.FreeOSMemory()
	if residentFiles() > filesWorth {
		_, _ = releaseFiles()
	}
}
