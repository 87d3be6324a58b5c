// Package ward keeps what moderators of one node decided: articles that its pages
// do not show, keys whose articles it does not take, what readers reported, and the
// log of it that everybody may read. Every decision has a reason and can be undone.
package ward

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
)

// Bounds of what readers can make a node keep.
const (
	ReasonMost  = 500 // octets of a reason; longer ones are cut
	reportsMost = 500 // articles with reports
	eachMost    = 10  // reports of one article
)

// The acts of the log.
const (
	Hide         = "hide"
	Show         = "show"
	BanKey       = "ban-key"
	UnbanKey     = "unban-key"
	BanAccount   = "ban-account"
	UnbanAccount = "unban-account"
	DenyFile     = "deny-file"
	AllowFile    = "allow-file"
)

// ErrReason is returned where a decision comes without its reason.
var ErrReason = errors.New("a reason is missing; everybody can read it in the log")

// ErrNotFound is returned by what undoes a decision that nobody made.
var ErrNotFound = errors.New("there is no such decision")

// Note says who decided, when and why.
type Note struct {
	Reason, By string
	At         time.Time
}

// Entry is a line of the log. What is a Message-ID, an identity, an account or the
// infohash or SHA-256 of a file.
type Entry struct {
	Note
	Act, What string
}

// Report is what readers say of one article.
type Report struct {
	ID    article.ID
	Notes []Note // first ones first
}

// Ward is the book of decisions. New makes it.
type Ward struct {
	// Reported is told of the first report of an article, before Report returns. It is
	// set once, before use; nil: nobody is told.
	Reported func(id article.ID, n Note)

	db  *state.DB
	now func() time.Time
	all atomic.Pointer[decisions]
}

// decisions are in memory: they are asked of every article shown. stamp is the
// number of the newest line of the log.
type decisions struct {
	hidden, keys map[string]Note
	stamp        uint64
}

const (
	hiddenBucket = "ward.hidden"
	keysBucket   = "ward.keys"
	logBucket    = "ward.log"
)

func (w *Ward) reports() state.Table[Report] {
	return state.Table[Report]{DB: w.db, Bucket: "ward.reports"}
}

// New reads what was decided from db.
func New(db *state.DB, now func() time.Time) (*Ward, error) {
	w := &Ward{db: db, now: now}
	return w, w.load()
}

func (w *Ward) load() error {
	d := &decisions{hidden: map[string]Note{}, keys: map[string]Note{}}
	for bucket, m := range map[string]map[string]Note{hiddenBucket: d.hidden, keysBucket: d.keys} {
		keys, notes, err := state.Table[Note]{DB: w.db, Bucket: bucket}.List("")
		if err != nil {
			return fmt.Errorf("read the moderators' decisions: %w", err)
		}
		for i, k := range keys {
			m[k] = notes[i]
		}
	}
	err := w.db.View(func(tx *state.Tx) (err error) {
		tx.Each(logBucket, "", "", func(k string, _ []byte) bool {
			var n uint64
			if n, err = strconv.ParseUint(k, 16, 64); err == nil {
				d.stamp = ^n
			}
			return false
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("read the moderators' log: %w", err)
	}
	for old := w.all.Load(); old == nil || old.stamp <= d.stamp; old = w.all.Load() {
		if w.all.CompareAndSwap(old, d) { // of two at once, the later decision stays
			break
		}
	}
	return nil
}

// Stamp is the number of the newest decision: pages made before it are out of date.
func (w *Ward) Stamp() uint64 { return w.all.Load().stamp }

// Hidden says whether an article is hidden: itself, or with all of its signer's.
func (w *Ward) Hidden(id article.ID, identity string) (Note, bool) {
	d := w.all.Load()
	n, ok := d.hidden[string(id)]
	if !ok && identity != "" {
		n, ok = d.keys[identity]
	}
	return n, ok
}

// Empty says whether nothing is hidden and no key barred.
func (w *Ward) Empty() bool { return w.all.Load().clear() }

// Banned says whether an identity is barred.
func (w *Ward) Banned(identity string) (Note, bool) {
	n, ok := w.all.Load().keys[identity]
	return n, ok
}

// Keys lists the barred identities.
func (w *Ward) Keys() map[string]Note { return w.all.Load().keys }

// Do makes or undoes a decision and writes the log, both or neither. Decisions about
// accounts and files are only logged here: others keep them.
func (w *Ward) Do(act, what, reason, by string) error {
	reason = clean(reason)
	e := Entry{Note: Note{reason, by, w.now()}, Act: act, What: what}
	if reason == "" && (act == Hide || act == BanKey || act == BanAccount || act == DenyFile) {
		return ErrReason
	}
	bucket := map[string]string{Hide: hiddenBucket, Show: hiddenBucket, BanKey: keysBucket, UnbanKey: keysBucket}[act]
	notes := state.Table[Note]{DB: w.db, Bucket: bucket}
	err := w.db.Update(func(tx *state.Tx) error {
		var err error
		switch act {
		case Hide, BanKey:
			err = errors.Join(notes.PutIn(tx, what, e.Note), tx.Delete("ward.reports", what))
		case Show, UnbanKey:
			if tx.Get(bucket, what) == nil {
				return ErrNotFound
			}
			err = tx.Delete(bucket, what)
		}
		n, nerr := tx.Next(logBucket)
		if err := errors.Join(err, nerr); err != nil {
			return err
		}
		return state.Table[Entry]{DB: w.db, Bucket: logBucket}.PutIn(tx, fmt.Sprintf("%016x", ^n), e)
	})
	if err != nil {
		return fmt.Errorf("%s %s: %w", act, what, err)
	}
	return w.load()
}

// Log returns up to n entries, newest first, from a place on; next is "" at the end.
func (w *Ward) Log(from string, n int) (list []Entry, next string, err error) {
	table := state.Table[Entry]{DB: w.db, Bucket: logBucket}
	var keys []string
	err = w.db.View(func(tx *state.Tx) error {
		tx.Each(logBucket, "", from, func(k string, _ []byte) bool {
			keys = append(keys, k)
			return len(keys) <= n
		})
		for i, k := range keys {
			if i == n {
				next = k
				break
			}
			e, err := table.In(tx, k)
			if err != nil {
				return err
			}
			list = append(list, e)
		}
		return nil
	})
	return list, next, err
}

// Report keeps what a reader says of an article. What goes over the bounds is
// dropped: the moderators know enough then.
func (w *Ward) Report(id article.ID, reason, by string) error {
	if reason = clean(reason); reason == "" {
		return ErrReason
	}
	if keys, _, err := w.reports().List(""); err != nil || len(keys) >= reportsMost {
		return err
	}
	n, first := Note{reason, by, w.now()}, false
	err := w.reports().Change(string(id), func(r *Report, found bool) error {
		r.ID, first = id, !found
		if len(r.Notes) < eachMost {
			r.Notes = append(r.Notes, n)
		}
		return nil
	})
	if err == nil && first && w.Reported != nil {
		w.Reported(id, n)
	}
	return err
}

// Reports lists what waits for moderators.
func (w *Ward) Reports() ([]Report, error) {
	_, list, err := w.reports().List("")
	return list, err
}

// Dismiss drops the reports of an article.
func (w *Ward) Dismiss(id article.ID) error { return w.reports().Delete(string(id)) }

// clean makes a reason one line of valid UTF-8 of at most ReasonMost octets.
func clean(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if len(s) > ReasonMost {
		s = strings.ToValidUTF8(s[:ReasonMost], "")
	}
	return s
}
