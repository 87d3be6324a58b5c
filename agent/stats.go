package agent

import (
	"errors"
	"maps"
	"sync"
)

// counts counts what became of articles and offers, by intake and reason code.
type counts struct {
	mu sync.Mutex
	m  map[Count]uint64
}

// Count names one counter: Intake is "want", "inject", "relay", "import" or
// "control"; Code is "ok", a Refusal's code, or "error" for a failure of ours.
type Count struct{ Intake, Code string }

func (c *counts) add(intake string, err error) {
	k := Count{intake, "ok"}
	if err != nil {
		k.Code = "error"
		var r *Refusal
		if errors.As(err, &r) {
			k.Code = r.Code
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = make(map[Count]uint64)
	}
	c.m[k]++
}

// Stats returns all counters since the start: status and /metrics show them.
func (a *Agent) Stats() map[Count]uint64 {
	a.counts.mu.Lock()
	defer a.counts.mu.Unlock()
	return maps.Clone(a.counts.m)
}
