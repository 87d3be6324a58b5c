package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// progress shows how far long work is: a bar on a terminal, a plain line every
// few seconds elsewhere.
type progress struct {
	w     io.Writer
	what  string
	total atomic.Int64
	bar   bool
	done  atomic.Int64 // of total
	count atomic.Int64 // things
	begin time.Time
	stop  chan struct{}
	ended chan struct{}
}

// unknownTotal is of what comes through a pipe.
const unknownTotal = 1

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// newProgress begins showing; end stops it.
func newProgress(w io.Writer, what string, total int64) *progress {
	p := &progress{w: w, what: what, bar: isTerminal(w), begin: time.Now(), stop: make(chan struct{}), ended: make(chan struct{})}
	p.total.Store(max(total, unknownTotal))
	go p.show()
	return p
}

func (p *progress) show() {
	defer close(p.ended)
	every := 5 * time.Second
	if p.bar {
		every = 100 * time.Millisecond
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.line()
		case <-p.stop:
			if p.bar {
				p.line()
				fmt.Fprintln(p.w)
			}
			return
		}
	}
}

// at says how far it is: a local.Progress.
func (p *progress) at(octets, of int64, articles int) {
	p.done.Store(octets)
	p.total.Store(max(of, 1))
	p.count.Store(int64(articles))
}

func (p *progress) line() {
	part := min(float64(p.done.Load())/float64(p.total.Load()), 1)
	rate := float64(p.count.Load()) / max(time.Since(p.begin).Seconds(), 0.001)
	text := fmt.Sprintf("%3.0f %%  %d %s, %.0f a second", part*100, p.count.Load(), p.what, rate)
	if p.total.Load() == unknownTotal {
		part, text = 0, text[len("100 %  "):]
	}
	if !p.bar {
		fmt.Fprintln(p.w, text)
		return
	}
	full := int(part * 30)
	fmt.Fprintf(p.w, "\r[%s%s] %s  ", strings.Repeat("#", full), strings.Repeat(".", 30-full), text)
}

func (p *progress) end() {
	close(p.stop)
	<-p.ended
}
