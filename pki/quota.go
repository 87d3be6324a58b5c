package pki

import (
	"time"

	"github.com/litfass/litfass/internal/state"
)

// Quotas of §7.2, per source and day.
const (
	quotaIncepts = 500
	quotaOthers  = 20000
	eventBurst   = 10
	eventEvery   = int64(time.Hour / time.Second)
	maxSources   = 10000
)

// quotas counts what sources brought today, and how often identities change.
type quotas struct {
	day    int64
	source map[string]*used
	events map[ID]*bucket // unfilled ones only
}

type used struct{ incepts, others int }

// bucket lets eventBurst events through at once and one more every hour.
type bucket struct {
	level int64 // seconds' worth of events in it
	at    int64
}

// passQuotas stops what is too much; l.mu is held. The operator ("") has none.
func (l *Ledger) passQuotas(source string, list []*Statement, out *Outcome, now int64) {
	if source == "" {
		return
	}
	q := &l.quotas
	if today := now / day; q.day != today || q.source == nil || len(q.source) > maxSources {
		q.day, q.source = today, map[string]*used{}
	}
	u := q.source[source]
	if u == nil {
		u = &used{}
		q.source[source] = u
	}
	for i, s := range list {
		if out.Fates[i] != 0 {
			continue
		}
		if err := l.quota(u, s, now); err != nil {
			out.Fates[i], out.Errs[i] = Stopped, err
		}
	}
}

func (l *Ledger) quota(u *used, s *Statement, now int64) error {
	if s.IsEvent() && s.Type != TypeIncept && l.isReached(s.ID) {
		return nil // a flood must not hold a revocation back
	}
	if s.Type == TypeIncept && !l.isReached(s.ID) {
		if u.incepts >= quotaIncepts {
			return errQuota
		}
		u.incepts++
		return nil
	}
	if u.others >= quotaOthers {
		return errQuota
	}
	u.others++
	return nil
}

// event says whether an identity may have one more key event now.
func (q *quotas) event(id ID, now int64) bool {
	if q.events == nil || len(q.events) > 10*maxSources {
		q.events = map[ID]*bucket{}
	}
	b := q.events[id]
	if b == nil {
		b = &bucket{at: now}
		q.events[id] = b
	}
	b.level = max(b.level-max(now-b.at, 0), 0)
	b.at = now
	if b.level+eventEvery > eventBurst*eventEvery {
		return false
	}
	b.level += eventEvery
	return true
}

// maxLater bounds the articles that are looked at again when a quota has room.
const maxLater = 20000

// Later notes that a quota stopped statements of the article with that Seq, so that
// they are tried again. It is false where too many wait.
func (l *Ledger) Later(seq uint64, source string) (noted bool, err error) {
	err = l.db.Update(func(tx *state.Tx) error {
		n := 0
		tx.Each(bLater, "", "", func(string, []byte) bool { n++; return n < maxLater })
		if noted = n < maxLater; !noted {
			return nil
		}
		return tx.Put(bLater, num(seq), []byte(source))
	})
	return noted, err
}

// Waiting are up to most articles noted by Later, after place after, oldest first.
func (l *Ledger) Waiting(after uint64, most int) (seqs []uint64, sources []string, err error) {
	err = l.db.View(func(tx *state.Tx) error {
		tx.Each(bLater, "", num(after+1), func(key string, source []byte) bool {
			seqs, sources = append(seqs, readNum([]byte(key))), append(sources, string(source))
			return len(seqs) < most
		})
		return nil
	})
	return seqs, sources, err
}

// NotLater takes an article out again.
func (l *Ledger) NotLater(seq uint64) error {
	return l.db.Update(func(tx *state.Tx) error { return tx.Delete(bLater, num(seq)) })
}
