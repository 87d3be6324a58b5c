package courier

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/spool"
)

// row is one entry of the queue: an article for subscribers, or a mail of our own.
type row struct {
	Key   string
	Seq   spool.Seq     `json:",omitempty"`
	Group article.Group `json:",omitempty"`
	To    []string      // who still waits
	Raw   []byte        `json:",omitempty"` // the whole mail, if it is no article
	// Notice: it goes to accounts that want to hear of it, not to the group's subscribers.
	Notice bool `json:",omitempty"`
	First  time.Time
	Next   time.Time
	Tries  int    `json:",omitempty"`
	Why    string `json:",omitempty"` // what the last try met
}

// Queued is a row of the queue as an operator sees it.
type Queued struct {
	Seq   spool.Seq     // of the article; 0: a mail of the node's own
	Group article.Group // whose subscribers it is for, or ""
	To    []string      // who still waits
	Since time.Time
	Next  time.Time // when it is tried
	Tries int       // failed ones
	Why   string    // what the last try met
}

// Queue returns what waits to be sent, the next first.
func (c *Courier) Queue() ([]Queued, error) {
	_, rows, err := c.queue.List("")
	out := make([]Queued, len(rows))
	for i, r := range rows {
		out[i] = Queued{r.Seq, r.Group, r.To, r.First, r.Next, r.Tries, r.Why}
	}
	return out, err
}

// list is whose subscribers a row is for.
func (r *row) list() article.Group {
	if r.Notice {
		return notices
	}
	return r.Group
}

// perRow is how many subscribers share a row: what one worker serves over one
// connection.
const perRow = 50

// rowKey orders the queue by the time when a row is due.
func rowKey(next time.Time, seq spool.Seq, n int) string {
	return fmt.Sprintf("%012x/%016x/%08x", max(next.Unix(), 0), uint64(seq), uint32(n))
}

func hashOf(s string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(s))
	return h.Sum32()
}

// enqueue writes the rows of an article or a mail, like r.
func (c *Courier) enqueue(r row, at time.Time, to []string) error {
	if len(to) == 0 {
		return nil
	}
	err := c.cfg.State.Update(func(tx *state.Tx) error {
		n := int(hashOf(string(r.list())+string(r.Group)+string(r.Raw))) &^ 0xffff
		for _, chunk := range c.shares(to) {
			r.Key, r.To, r.First, r.Next = rowKey(at, r.Seq, n), chunk, at, at
			if err := c.queue.PutIn(tx, r.Key, r); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("queue an article for %d subscribers: %w", len(to), err)
	}
	c.poke()
	return nil
}

// due returns at most limit rows whose time has come, and how long to wait for the
// next one. Rows of articles that the saved cursor has not passed wait: a crash
// would write them again; so do those of a destination that has all its connections.
func (c *Courier) due(limit int) (rows []row, wait time.Duration, err error) {
	now := c.cfg.Now()
	settled := spool.Seq(1<<63 - 1)
	if c.cfg.Settled != nil {
		settled = c.cfg.Settled()
	}
	wait = time.Hour
	err = c.cfg.State.View(func(tx *state.Tx) error {
		var bad error
		tx.Each(c.queue.Bucket, "", "", func(_ string, value []byte) bool {
			var r row
			if bad = json.Unmarshal(value, &r); bad != nil {
				return false
			}
			if r.Next.After(now) {
				wait = min(wait, r.Next.Sub(now))
				return false
			}
			if r.Seq > settled {
				wait = min(wait, 500*time.Millisecond)
				return true
			}
			c.mu.Lock()
			taken := c.busy[r.Key]
			c.mu.Unlock()
			if !taken && !c.places.full(c.destination(r.To[0]), c.most()) {
				rows = append(rows, r)
			}
			return len(rows) < limit
		})
		return bad
	})
	return rows, max(wait, 10*time.Millisecond), err
}

// settle notes what became of a row: done (nobody waits any more), or who waits on.
func (c *Courier) settle(old row, left []string, next time.Time) error {
	return c.cfg.State.Update(func(tx *state.Tx) error {
		if err := tx.Delete(c.queue.Bucket, old.Key); err != nil {
			return err
		}
		if len(left) == 0 {
			return nil
		}
		r := old
		r.To, r.Next = left, next
		if !next.Equal(old.Next) {
			r.Tries++
			_, rest, _ := strings.Cut(old.Key, "/")
			r.Key = fmt.Sprintf("%012x/%s", next.Unix(), rest)
		}
		return c.queue.PutIn(tx, r.Key, r)
	})
}

// Retries: 5 minutes, doubled up to 4 hours, for 5 days.
const (
	retryFirst = 5 * time.Minute
	retryMost  = 4 * time.Hour
	giveUp     = 5 * 24 * time.Hour
)

func retryAfter(tries int) time.Duration {
	return min(retryFirst<<min(tries, 10), retryMost)
}
