package syndicate

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/litfass/litfass/internal/state"
)

// book keeps the feeds that are polled, in memory and in state.db. What a poll that
// brought nothing changes is when it was and when the next one is; that is written
// with the next change that matters, or once there is time, since a hundred feeds
// would else mean a hundred synced writes an hour to a flash disk. A crash in between
// costs a few polls that come early.
type book struct {
	table state.Table[Poll]

	mu    sync.Mutex
	all   map[string]Poll
	later map[string]bool // changed in memory only
}

// maxLater is how many changes wait at most.
const maxLater = 64

func openBook(db *state.DB) (*book, error) {
	b := &book{table: state.Table[Poll]{DB: db, Bucket: "feed.polls"}, all: map[string]Poll{}, later: map[string]bool{}}
	urls, all, err := b.table.List("")
	if err != nil {
		return nil, fmt.Errorf("read the list of feeds: %w", err)
	}
	for i, u := range urls {
		b.all[u] = all[i]
	}
	return b, nil
}

// get returns a feed, or state.ErrNotFound.
func (b *book) get(address string) (Poll, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, ok := b.all[address]
	if !ok {
		return v, state.ErrNotFound
	}
	return v, nil
}

// list returns all feeds in the order of their addresses.
func (b *book) list() []Poll {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []Poll
	for _, u := range slices.Sorted(maps.Keys(b.all)) {
		out = append(out, b.all[u])
	}
	return out
}

// change changes a feed, or nothing if f fails. f gets the zero Poll if there is none
// and says whether the change may be written later.
func (b *book) change(address string, f func(v *Poll, found bool) (later bool, err error)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, found := b.all[address]
	later, err := f(&v, found)
	if err != nil {
		return err
	}
	if later && found && len(b.later) < maxLater {
		b.all[address], b.later[address] = v, true
		return nil
	}
	old := b.all[address]
	b.all[address] = v
	if err := b.write(address); err != nil {
		if b.all[address] = old; !found {
			delete(b.all, address)
		}
		return err
	}
	return nil
}

// add adds feeds that are not there yet, in one transaction.
func (b *book) add(fresh map[string]Poll) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.table.DB.Update(func(tx *state.Tx) error {
		for u, v := range fresh {
			if err := b.table.PutIn(tx, u, v); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("note new feeds: %w", err)
	}
	maps.Copy(b.all, fresh)
	return nil
}

// write writes one feed, if it is not "", and all that wait, in one transaction.
func (b *book) write(address string) error {
	err := b.table.DB.Update(func(tx *state.Tx) error {
		for u := range b.later {
			if err := b.table.PutIn(tx, u, b.all[u]); err != nil {
				return err
			}
		}
		if address == "" {
			return nil
		}
		return b.table.PutIn(tx, address, b.all[address])
	})
	if err != nil {
		return fmt.Errorf("note how feeds are doing: %w", err)
	}
	clear(b.later)
	return nil
}

// flush writes what waits.
func (b *book) flush() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.later) == 0 {
		return nil
	}
	return b.write("")
}

// remove forgets a feed.
func (b *book) remove(address string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.all[address]; !ok {
		return state.ErrNotFound
	}
	if err := b.table.Delete(address); err != nil {
		return err
	}
	delete(b.all, address)
	delete(b.later, address)
	return nil
}
