package members

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/litfass/litfass/internal/state"
)

// Bounds of what one account keeps.
const (
	MaxWatches   = 500
	MaxMutes     = 500
	MaxDrafts    = 50
	MaxDraft     = 256 << 10 // octets of one draft, all its fields together
	MaxDraftsAll = 2 << 20   // octets of all drafts of an account
)

// ErrFull: the account keeps as many as it may; one has to go first.
var ErrFull = errors.New("there is no room for more: remove one first")

const (
	watchBucket    = "members.watch"
	watchersBucket = "members.watchers"
	muteBucket     = "members.mute"
	draftBucket    = "members.draft"
)

// Watch is a thread that an account wants to hear of.
type Watch struct {
	Root    string // Message-ID that the thread begins with, with its angle brackets
	Group   string // in which it is read
	Subject string // as it stood when the watch began
	Since   time.Time
}

// Mute is a person whose articles an account sees folded away.
type Mute struct {
	Identity string // of the key, as articles and addresses name it
	Name     string // as it was shown when the mute began
	Since    time.Time
}

// Draft is an article that somebody is still writing in the browser. Its fields
// are those of the form, and of nobody's concern but the form's.
type Draft struct {
	ID      string // 1 to 64 octets, without NUL
	Action  string // the form's address
	Heading string // what the form says that it is
	Changed time.Time
	Fields  map[string]string
}

func (d Draft) size() int {
	n := len(d.ID) + len(d.Action) + len(d.Heading)
	for k, v := range d.Fields {
		n += len(k) + len(v)
	}
	return n
}

func (b *Book) watches() state.Table[Watch] { return state.Table[Watch]{DB: b.DB, Bucket: watchBucket} }
func (b *Book) mutes() state.Table[Mute]    { return state.Table[Mute]{DB: b.DB, Bucket: muteBucket} }
func (b *Book) drafts() state.Table[Draft]  { return state.Table[Draft]{DB: b.DB, Bucket: draftBucket} }

// Watch puts a thread on the account's list. One that is on it stays as it is. It
// returns ErrFull over MaxWatches.
func (b *Book) Watch(_ context.Context, account string, w Watch) error {
	if w.Root == "" || strings.ContainsRune(w.Root, 0) {
		return fmt.Errorf("%.80q is no thread", w.Root)
	}
	if w.Since.IsZero() {
		w.Since = b.now().UTC().Truncate(time.Second)
	}
	key := readKey(account, w.Root)
	defer b.changed(account)
	return b.DB.Update(func(tx *state.Tx) error {
		if tx.Get(bucket, account) == nil {
			return ErrNotFound
		}
		if tx.Get(watchBucket, key) != nil {
			return nil
		}
		if count(tx, watchBucket, account) >= MaxWatches {
			return ErrFull
		}
		if err := b.watches().PutIn(tx, key, w); err != nil {
			return err
		}
		return tx.Put(watchersBucket, readKey(w.Root, account), []byte{1})
	})
}

// Unwatch takes a thread off the account's list.
func (b *Book) Unwatch(_ context.Context, account, root string) error {
	defer b.changed(account)
	return b.DB.Update(func(tx *state.Tx) error { return unwatch(tx, account, root) })
}

func unwatch(tx *state.Tx, account, root string) error {
	return errors.Join(tx.Delete(watchBucket, readKey(account, root)), tx.Delete(watchersBucket, readKey(root, account)))
}

// Watches returns the account's list, in no order that means anything.
func (b *Book) Watches(_ context.Context, account string) ([]Watch, error) {
	_, list, err := b.watches().List(readKey(account, ""))
	return list, err
}

// Watchers returns the accounts that watch one of the threads, each once, by name.
// Of an article these are its own Message-ID and those of its References: a thread
// is watched by the id of its beginning.
func (b *Book) Watchers(_ context.Context, ids ...string) ([]string, error) {
	var out []string
	err := b.DB.View(func(tx *state.Tx) error {
		for _, id := range ids {
			tx.Each(watchersBucket, readKey(id, ""), "", func(k string, _ []byte) bool {
				out = append(out, k[len(id)+1:])
				return true
			})
		}
		return nil
	})
	slices.Sort(out)
	return slices.Compact(out), err
}

// Mute folds away what a key signs. It returns ErrFull over MaxMutes.
func (b *Book) Mute(_ context.Context, account string, m Mute) error {
	if m.Identity == "" || strings.ContainsRune(m.Identity, 0) {
		return fmt.Errorf("%.80q is no identity", m.Identity)
	}
	if m.Since.IsZero() {
		m.Since = b.now().UTC().Truncate(time.Second)
	}
	defer b.changed(account)
	return b.DB.Update(func(tx *state.Tx) error {
		if tx.Get(bucket, account) == nil {
			return ErrNotFound
		}
		key := readKey(account, m.Identity)
		if tx.Get(muteBucket, key) == nil && count(tx, muteBucket, account) >= MaxMutes {
			return ErrFull
		}
		return b.mutes().PutIn(tx, key, m)
	})
}

// Unmute shows a person's articles again.
func (b *Book) Unmute(_ context.Context, account, identity string) error {
	defer b.changed(account)
	return b.mutes().Delete(readKey(account, identity))
}

// Mutes returns whom the account does not want to read.
func (b *Book) Mutes(_ context.Context, account string) ([]Mute, error) {
	_, list, err := b.mutes().List(readKey(account, ""))
	return list, err
}

// KeepDraft keeps a draft, or a new state of it. It returns ErrFull if it is larger
// than MaxDraft, or the account's drafts are more than MaxDrafts or MaxDraftsAll.
func (b *Book) KeepDraft(_ context.Context, account string, d Draft) error {
	if d.ID == "" || len(d.ID) > 64 || strings.ContainsRune(d.ID, 0) {
		return fmt.Errorf("%.80q is no name of a draft", d.ID)
	}
	if d.size() > MaxDraft {
		return ErrFull
	}
	d.Changed = b.now().UTC().Truncate(time.Second)
	return b.DB.Update(func(tx *state.Tx) error {
		if tx.Get(bucket, account) == nil {
			return ErrNotFound
		}
		key := readKey(account, d.ID)
		n, all := 1, d.size()
		tx.Each(draftBucket, readKey(account, ""), "", func(k string, v []byte) bool {
			if k != key {
				n, all = n+1, all+len(v)
			}
			return true
		})
		if n > MaxDrafts || all > MaxDraftsAll {
			return ErrFull
		}
		return b.drafts().PutIn(tx, key, d)
	})
}

// Draft returns a draft, or ErrNotFound.
func (b *Book) Draft(_ context.Context, account, id string) (Draft, error) {
	d, err := b.drafts().Get(readKey(account, id))
	return d, absent(err)
}

// DropDraft removes a draft; one that is not there is no error, and costs no write.
func (b *Book) DropDraft(_ context.Context, account, id string) error {
	have := false
	err := b.DB.View(func(tx *state.Tx) error {
		have = tx.Get(draftBucket, readKey(account, id)) != nil
		return nil
	})
	if err != nil || !have {
		return err
	}
	return b.drafts().Delete(readKey(account, id))
}

// Drafts returns the account's drafts, the latest first.
func (b *Book) Drafts(_ context.Context, account string) ([]Draft, error) {
	_, list, err := b.drafts().List(readKey(account, ""))
	slices.SortStableFunc(list, func(x, y Draft) int { return y.Changed.Compare(x.Changed) })
	return list, err
}

func count(tx *state.Tx, bucket, account string) (n int) {
	tx.Each(bucket, readKey(account, ""), "", func(string, []byte) bool { n++; return true })
	return n
}

// dropShelf removes what an account watches, mutes and drafts.
func dropShelf(tx *state.Tx, account string) error {
	var roots []string
	tx.Each(watchBucket, readKey(account, ""), "", func(k string, _ []byte) bool {
		roots = append(roots, k[len(account)+1:])
		return true
	})
	for _, r := range roots {
		if err := unwatch(tx, account, r); err != nil {
			return err
		}
	}
	for _, bk := range [...]string{muteBucket, draftBucket} {
		if err := dropAll(tx, bk, account); err != nil {
			return err
		}
	}
	return nil
}

func dropAll(tx *state.Tx, bucket, account string) error {
	var keys []string
	tx.Each(bucket, readKey(account, ""), "", func(k string, _ []byte) bool {
		keys = append(keys, k)
		return true
	})
	for _, k := range keys {
		if err := tx.Delete(bucket, k); err != nil {
			return err
		}
	}
	return nil
}
