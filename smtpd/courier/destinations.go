package courier

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// What one destination (the smarthost, or a domain with "mx") may take of the courier.
const (
	perDestination = 2           // connections to a domain at a time; a smarthost gets all workers
	restsFor       = time.Minute // after it could not be reached, or closed: what is due meanwhile is put off unasked
)

// destinations is what the courier knows of those it delivers to, so that one that is
// slow, dead or full holds up nobody else.
type destinations struct {
	mu   sync.Mutex
	open map[string]int
	down map[string]rest
}

type rest struct {
	until time.Time
	why   error
}

// reserve takes one of a destination's connections; false if it has no more of most.
func (d *destinations) reserve(where string, most int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[where] >= most {
		return false
	}
	if d.open == nil {
		d.open = map[string]int{}
	}
	d.open[where]++
	return true
}

func (d *destinations) release(where string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[where]--; d.open[where] <= 0 {
		delete(d.open, where)
	}
}

func (d *destinations) full(where string, most int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open[where] >= most
}

// resting says why a destination is left alone for now, or nil.
func (d *destinations) resting(where string, now time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, ok := d.down[where]
	if ok && now.Before(r.until) {
		return r.why
	}
	delete(d.down, where)
	return nil
}

// rests leaves a destination alone for a while.
func (d *destinations) rests(where string, now time.Time, why error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down == nil || len(d.down) > 10_000 {
		d.down = map[string]rest{}
	}
	d.down[where] = rest{now.Add(restsFor), why}
}

// destination is where mail for an address goes.
func (c *Courier) destination(address string) string {
	if c.cfg.Smarthost != "mx" {
		return c.cfg.Smarthost
	}
	_, domain, _ := cut(address)
	return domain
}

// most is how many connections a destination may have.
func (c *Courier) most() int {
	if c.cfg.Smarthost != "mx" {
		return c.cfg.Workers
	}
	return perDestination
}

// shares cuts subscribers into rows: by destination, and no row is longer than what one
// connection serves.
func (c *Courier) shares(to []string) (rows [][]string) {
	slices.SortFunc(to, func(a, b string) int {
		_, da, _ := strings.Cut(a, "@")
		_, db, _ := strings.Cut(b, "@")
		if n := strings.Compare(da, db); n != 0 {
			return n
		}
		return strings.Compare(a, b)
	})
	from := 0
	for i := range to {
		if i-from == perRow || c.destination(to[i]) != c.destination(to[from]) {
			rows, from = append(rows, to[from:i]), i
		}
	}
	if from < len(to) {
		rows = append(rows, to[from:])
	}
	return rows
}
