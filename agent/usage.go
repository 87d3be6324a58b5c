package agent

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/spool"
)

// Usage is what somebody brought: on one day (UTC), or what is left of it here.
type Usage struct {
	Articles int64
	Octets   int64
}

func (u Usage) plus(v Usage) Usage { return Usage{u.Articles + v.Articles, u.Octets + v.Octets} }

// minus goes no lower than nothing.
func (u Usage) minus(v Usage) Usage {
	return Usage{max(0, u.Articles-v.Articles), max(0, u.Octets-v.Octets)}
}

// dayCount is one day of one peer, account or address.
type dayCount struct {
	Brought Usage
	Left    Usage // of it on the disk, for peers
}

// Ledger counts what peers, accounts and addresses bring, by day, whether it is
// taken in the end or not, and what of a peer's articles is kept. The days of
// peers are kept as long as articles of these days are on the disk: so it is
// known how much of the disk is whose. In state.db (bucket "usage", NAME NUL DAY)
// stand peers and accounts, so that a restart forgives nothing; addresses of
// people are kept in memory only.
type Ledger struct {
	now func() time.Time
	db  *state.DB

	mu    sync.Mutex
	m     map[usageKey]dayCount
	held  map[string]Usage // what is left of a peer's days
	dirty map[usageKey]struct{}
	today int64
}

type usageKey struct {
	who string // "peer NAME", "account NAME", "address PREFIX"
	day int64  // days since 1970
}

const usageBucket = "usage"

func (k usageKey) row() string { return fmt.Sprintf("%s\x00%08d", k.who, k.day) }

// OpenLedger reads what was kept. now nil: time.Now. db nil: nothing is kept.
func OpenLedger(db *state.DB, now func() time.Time) (*Ledger, error) {
	l := &Ledger{now: now, db: db, m: make(map[usageKey]dayCount), held: make(map[string]Usage), dirty: make(map[usageKey]struct{})}
	if now == nil {
		l.now = time.Now
	}
	if db == nil {
		return l, nil
	}
	rows, values, err := state.Table[dayCount]{DB: db, Bucket: usageBucket}.List("")
	if err != nil {
		return nil, fmt.Errorf("read what peers and accounts brought: %w", err)
	}
	for i, row := range rows {
		who, text, _ := strings.Cut(row, "\x00")
		day, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read what %q brought: %w", who, err)
		}
		l.m[usageKey{who, day}] = values[i]
		l.held[who] = l.held[who].plus(values[i].Left)
	}
	return l, nil
}

func dayOf(t time.Time) int64 { return t.Unix() / 86400 }

func isPeer(who string) bool { return strings.HasPrefix(who, "peer ") }

// add counts n octets unless that would pass a limit of the day (0: none).
func (l *Ledger) add(who string, n int64, most Usage) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn()
	k := usageKey{who, l.today}
	one := Usage{1, n}
	c := l.m[k]
	u := c.Brought.plus(one)
	if most.Articles > 0 && u.Articles > most.Articles || most.Octets > 0 && u.Octets > most.Octets {
		return false
	}
	c.Brought = u
	l.m[k] = c
	l.mark(k)
	return true
}

// Kept counts an article of a peer that was stored: Agent.Kept.
func (l *Ledger) Kept(peer string, e spool.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k, one := usageKey{"peer " + peer, dayOf(e.Arrived)}, Usage{1, int64(e.Bytes)}
	c := l.m[k]
	c.Left = c.Left.plus(one)
	l.m[k] = c
	l.held[k.who] = l.held[k.who].plus(one)
	l.mark(k)
}

func (l *Ledger) mark(k usageKey) {
	if l.db != nil && !strings.HasPrefix(k.who, "address ") {
		l.dirty[k] = struct{}{}
	}
}

// turn begins a new day, or makes room: what is not a peer's has no past.
func (l *Ledger) turn() {
	today := dayOf(l.now())
	if today == l.today && len(l.m) < 2*maxMeters {
		return
	}
	for k := range l.m {
		old := k.day != today && !isPeer(k.who)
		if old || today == l.today && strings.HasPrefix(k.who, "address ") {
			delete(l.m, k)
			l.mark(k)
		}
	}
	l.today = today
}

// Today is what somebody brought today.
func (l *Ledger) Today(who string) Usage {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.m[usageKey{who, dayOf(l.now())}].Brought
}

// Held is what is on the disk of all that a peer brought: an estimate, since
// articles leave the disk in the order of their arrival, days at a time.
func (l *Ledger) Held(peer string) Usage {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held["peer "+peer]
}

// Gone takes an article of a peer, which arrived then, from what it holds.
func (l *Ledger) Gone(peer string, arrived time.Time, octets int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := usageKey{"peer " + peer, dayOf(arrived)}
	c := l.m[k]
	if c.Left.Articles == 0 {
		return
	}
	one := Usage{1, octets}
	c.Left = c.Left.minus(one)
	l.m[k] = c
	l.held[k.who] = l.held[k.who].minus(one)
	l.mark(k)
}

// Forget drops the days before the oldest article that is left.
func (l *Ledger) Forget(oldest time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := min(dayOf(oldest), dayOf(l.now()))
	for k, c := range l.m {
		if isPeer(k.who) && k.day < first {
			delete(l.m, k)
			l.mark(k)
			l.held[k.who] = l.held[k.who].minus(c.Left)
		}
	}
}

// Save writes what changed since the last time, with one sync.
func (l *Ledger) Save() error {
	l.mu.Lock()
	changed := make(map[usageKey]*dayCount, len(l.dirty))
	for k := range l.dirty {
		changed[k] = nil
		if c, ok := l.m[k]; ok {
			changed[k] = &c
		}
	}
	clear(l.dirty)
	l.mu.Unlock()
	if len(changed) == 0 {
		return nil
	}
	err := l.db.Update(func(tx *state.Tx) error {
		table := state.Table[dayCount]{DB: l.db, Bucket: usageBucket}
		for k, c := range changed {
			var err error
			if c == nil {
				err = tx.Delete(usageBucket, k.row())
			} else {
				err = table.PutIn(tx, k.row(), *c)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		for k := range maps.Keys(changed) {
			l.dirty[k] = struct{}{}
		}
		return fmt.Errorf("keep what peers and accounts brought: %w", err)
	}
	return nil
}
