// Package past keeps earlier versions of articles whose authors replaced them
// (Supersedes, RFC 5536 §3.2.12), so that readers can see what was changed. What its
// author takes back (a cancel) is not kept, and what was kept of it is shown no more:
// versions are found from the newest one only.
//
// It is bounded in number and octets; the oldest versions go first.
//
//	past         id of the replacing article  Version as JSON
//	past.order   number, big endian           that id
package past

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
)

// Bounds of what is kept.
const (
	Most    = 2000     // versions altogether
	MaxSize = 64 << 10 // octets of one; of larger ones it is only known that they were
	Deepest = 50       // versions of one article that are followed
)

const (
	bucket = "past"
	order  = "past.order"
)

// Version is an article that was replaced.
type Version struct {
	ID   article.ID
	At   time.Time // when it was replaced
	Date time.Time // when it was written, zero if it does not say
	Wire []byte    // nil: it was too large to keep
}

// Book keeps versions. DB and Now are set once, before use.
type Book struct {
	DB  *state.DB
	Now func() time.Time // nil: time.Now

	any atomic.Int32 // 0: not looked yet; 1: there are none; 2: there are some
}

func (b *Book) table() state.Table[Version] { return state.Table[Version]{DB: b.DB, Bucket: bucket} }

// Keep keeps what by replaces. It may be called again for the same.
func (b *Book) Keep(old *article.Article, by article.ID) error {
	v := Version{ID: old.ID(), At: time.Now()}
	if b.Now != nil {
		v.At = b.Now()
	}
	v.At = v.At.UTC().Truncate(time.Second)
	if d, err := article.ParseDate(old.Get("Date")); err == nil {
		v.Date = d
	}
	if w := old.Wire(); len(w) <= MaxSize {
		v.Wire = w
	}
	err := b.DB.Update(func(tx *state.Tx) error {
		if tx.Get(bucket, string(by)) != nil {
			return nil
		}
		n, err := tx.Next(order)
		if err != nil {
			return err
		}
		if err := b.trim(tx, n); err != nil {
			return err
		}
		if err := tx.Put(order, number(n), []byte(by)); err != nil {
			return err
		}
		return b.table().PutIn(tx, string(by), v)
	})
	if err != nil {
		return fmt.Errorf("keep the version before %s: %w", by, err)
	}
	b.any.Store(2)
	return nil
}

// trim makes room for version n: what is Most before it goes.
func (b *Book) trim(tx *state.Tx, n uint64) error {
	if n <= Most {
		return nil
	}
	old := number(n - Most)
	id := tx.Get(order, old)
	if id == nil {
		return nil
	}
	return errors.Join(tx.Delete(order, old), tx.Delete(bucket, string(id)))
}

func number(n uint64) string {
	var k [8]byte
	binary.BigEndian.PutUint64(k[:], n)
	return string(k[:])
}

// Before returns the versions before an article, the latest first, at most Deepest.
func (b *Book) Before(id article.ID) ([]Version, error) {
	if b.none() {
		return nil, nil
	}
	var out []Version
	err := b.DB.View(func(tx *state.Tx) (err error) {
		out, err = b.chain(tx, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("versions before %s: %w", id, err)
	}
	return out, nil
}

// Replaced returns of each article that replaced others what Before does, without
// the texts. Articles that replaced none are left out.
func (b *Book) Replaced(ids []article.ID) (map[article.ID][]Version, error) {
	if b.none() {
		return nil, nil
	}
	out := map[article.ID][]Version{}
	err := b.DB.View(func(tx *state.Tx) error {
		for _, id := range ids {
			list, err := b.chain(tx, id)
			if err != nil {
				return err
			}
			for i := range list {
				list[i].Wire = nil
			}
			if len(list) > 0 {
				out[id] = list
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("what was replaced: %w", err)
	}
	return out, nil
}

func (b *Book) chain(tx *state.Tx, id article.ID) (out []Version, err error) {
	for len(out) < Deepest {
		v, err := b.table().In(tx, string(id))
		if errors.Is(err, state.ErrNotFound) {
			break
		} else if err != nil {
			return nil, err
		}
		out, id = append(out, v), v.ID
	}
	return out, nil
}

// none says whether nothing was ever kept: the usual case costs no transaction.
func (b *Book) none() bool {
	if b.any.Load() == 0 {
		some := int32(1)
		_ = b.DB.View(func(tx *state.Tx) error { // an error: look next time
			tx.Each(bucket, "", "", func(string, []byte) bool { some = 2; return false })
			return nil
		})
		b.any.CompareAndSwap(0, some)
	}
	return b.any.Load() == 1
}
