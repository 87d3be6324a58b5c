package peer

import (
	"encoding/json"
	"fmt"

	"github.com/litfass/litfass/spool"
)

// maxDeferred bounds the list of articles that a peer defers.
const maxDeferred = 4096

// cursor is what is saved of a sender: everything up to Seq is settled, but for
// the Seqs in Deferred.
type cursor struct {
	Spool    string
	Seq      spool.Seq
	Deferred []spool.Seq `json:",omitempty"`
}

// loadCursor reads the cursor of a peer. One of another spool, or that lies
// beyond the log, begins again at 0: ARCHITECTURE §4 rule 10. why says so.
func loadCursor(st State, peer string, s Source) (c cursor, why string, err error) {
	b, err := st.Load("send/" + peer)
	if err != nil {
		return c, "", fmt.Errorf("load the cursor of peer %s: %w", peer, err)
	}
	fresh := cursor{Spool: s.SpoolID()}
	if b == nil {
		return fresh, "", nil
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return fresh, "the saved cursor cannot be read", nil
	}
	switch {
	case c.Spool != fresh.Spool:
		return fresh, "the saved cursor belongs to another spool", nil
	case c.Seq > s.Last():
		return fresh, "the saved cursor lies beyond the spool's end", nil
	}
	if len(c.Deferred) > maxDeferred {
		c.Deferred = c.Deferred[:maxDeferred]
	}
	return c, "", nil
}

func (c cursor) save(st State, peer string) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := st.Save("send/"+peer, b); err != nil {
		return fmt.Errorf("save the cursor of peer %s: %w", peer, err)
	}
	return nil
}

// ledger holds the Seqs of open articles in the order of the log.
type ledger struct {
	open []entry // open[head:]; Seqs increase; settled ones are marked
	head int
	n    int // not settled
}

type entry struct {
	seq     spool.Seq
	arrived int64 // Unix seconds
	settled bool
}

// add opens the next article; its Seq is above all others.
func (l *ledger) add(seq spool.Seq, arrived int64) {
	l.open = append(l.open, entry{seq: seq, arrived: arrived})
	l.n++
}

// settle closes an article and drops what is closed at the old end.
func (l *ledger) settle(seq spool.Seq) {
	lo, hi := l.head, len(l.open)
	for lo < hi {
		if mid := (lo + hi) / 2; l.open[mid].seq < seq {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(l.open) || l.open[lo].seq != seq || l.open[lo].settled {
		return
	}
	l.open[lo].settled = true
	l.n--
	for l.head < len(l.open) && l.open[l.head].settled {
		l.head++
	}
	if l.head > 256 && l.head > len(l.open)/2 {
		l.open = append(l.open[:0], l.open[l.head:]...)
		l.head = 0
	}
}

// oldest returns the oldest open article.
func (l *ledger) oldest() (entry, bool) {
	if l.head == len(l.open) {
		return entry{}, false
	}
	return l.open[l.head], true
}

// span is how many entries the ledger holds, settled ones in the middle too.
func (l *ledger) span() int { return len(l.open) - l.head }
