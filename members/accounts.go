package members

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"sync"
	"time"

	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/internal/wildmat"
)

// Errors of this package. Their texts may be shown to a client.
var (
	ErrNotFound = errors.New("there is no such account")
	ErrExists   = errors.New("there is an account of that name or mail address already")
	// ErrPassword: name or password is wrong; which of them is not said.
	ErrPassword = errors.New("name or password is wrong")
	ErrBanned   = errors.New("this account is barred")
)

// Account is one person, or one peer's login.
type Account struct {
	Name     string // 1 to 64 octets: letters, digits, and . _ - + @ not first
	Email    string `json:",omitempty"`
	Admin    bool   `json:",omitempty"`
	Read     string `json:",omitempty"` // wildmat of groups it may read; "": all
	Post     string `json:",omitempty"` // wildmat of groups it may post to; "": all
	Moderate string `json:",omitempty"` // wildmat of groups it moderates; "": none
	Feeds    string `json:",omitempty"` // name of the peer whose login this is

	Created time.Time
	Seen    time.Time `json:",omitzero"` // last login, to the hour

	Bans        time.Time `json:",omitzero"` // barred until then
	BanReason   string    `json:",omitempty"`
	ArticlesDay int       `json:",omitempty"` // posts a day; 0: as the node says
	OctetsDay   int64     `json:",omitempty"` // octets posted a day; 0: as the node says
	MarkRead    bool      `json:",omitempty"` // what a newsreader fetched is marked as read

	Hash  string `json:",omitempty"` // argon2id in PHC form
	Scram Scram  `json:",omitzero"`
}

// Banned says whether the account is barred now.
func (a Account) Banned(now time.Time) bool { return now.Before(a.Bans) }

// Forever is a ban without end.
var Forever = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// Match says whether a wildmat of an account holds group; "" holds all.
func Match(pattern, group string) bool {
	if pattern == "" || pattern == "*" {
		return true
	}
	w, err := wildmat.Parse(pattern)
	return err == nil && w.Match(group)
}

// Book is the list of accounts. Its exported fields are set once, before use.
type Book struct {
	DB     *state.DB
	Now    func() time.Time     // nil: time.Now
	Random func(p []byte) error // nil: the system's

	// LoggedIn is told of every right password, before Login returns: the keyring
	// renews what only the password opens. nil: nobody is told.
	LoggedIn func(name, password string)

	// MakeRoom is called before a password is hashed, which takes 16 MiB, not twice
	// in a second. nil: debug.FreeOSMemory.
	MakeRoom func()

	once   sync.Once
	slots  chan struct{} // hashings at one time
	tidied time.Time     // when the last one gave its memory back; who holds the slot may look
	slow   brake

	mu    sync.RWMutex
	cache map[string]Account // what Get answered; dropped on every change

	stamps stamps
}

const (
	bucket      = "members"
	emailBucket = "members.email"
	readBucket  = "members.read"
	subsBucket  = "members.subs"
)

func (b *Book) table() state.Table[Account] { return state.Table[Account]{DB: b.DB, Bucket: bucket} }

func (b *Book) now() time.Time {
	if b.Now != nil {
		return b.Now()
	}
	return time.Now()
}

// CheckName says whether name can be an account's.
func CheckName(name string) error {
	if name == "" || len(name) > 64 {
		return errors.New("an account's name has 1 to 64 octets")
	}
	for i, c := range []byte(name) {
		word := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
		if !word && (i == 0 || !strings.ContainsRune(".-+@", rune(c))) {
			return errors.New("an account's name is made of letters A-Z, digits, and . _ - + @ (not first)")
		}
	}
	return nil
}

func (a *Account) check() error {
	if err := CheckName(a.Name); err != nil {
		return err
	}
	if a.Email != "" {
		m, err := mail.ParseAddress(a.Email)
		if err != nil || m.Name != "" {
			return fmt.Errorf("%q is no mail address", a.Email)
		}
		a.Email = m.Address
	}
	for _, p := range [...]string{a.Read, a.Post, a.Moderate} {
		if p == "" {
			continue
		}
		if _, err := wildmat.Parse(p); err != nil {
			return fmt.Errorf("pattern %q: %w", p, err)
		}
	}
	return nil
}

// Add makes an account with this password ("": nobody can log in until Passwd).
// It returns ErrExists if name or mail address is taken.
func (b *Book) Add(ctx context.Context, a Account, password string) error {
	if err := a.check(); err != nil {
		return err
	}
	if a.Created.IsZero() {
		a.Created = b.now().UTC().Truncate(time.Second)
	}
	if err := b.setPassword(ctx, &a, password); err != nil {
		return err
	}
	defer b.forget()
	return b.DB.Update(func(tx *state.Tx) error {
		if tx.Get(bucket, a.Name) != nil {
			return ErrExists
		}
		if err := claimEmail(tx, "", a.Email, a.Name); err != nil {
			return err
		}
		return b.table().PutIn(tx, a.Name, a)
	})
}

// claimEmail moves the index of mail addresses from one address to another.
func claimEmail(tx *state.Tx, old, new, name string) error {
	old, new = strings.ToLower(old), strings.ToLower(new)
	if old == new {
		return nil
	}
	if old != "" {
		if err := tx.Delete(emailBucket, old); err != nil {
			return err
		}
	}
	if new == "" {
		return nil
	}
	if tx.Get(emailBucket, new) != nil {
		return ErrExists
	}
	return tx.Put(emailBucket, new, []byte(name))
}

// Get returns an account, or ErrNotFound.
func (b *Book) Get(_ context.Context, name string) (Account, error) {
	b.mu.RLock()
	a, ok := b.cache[name]
	b.mu.RUnlock()
	if ok {
		return a, nil
	}
	if name == "" {
		return Account{}, ErrNotFound
	}
	b.mu.Lock() // held over the read, so that no change slips in between
	defer b.mu.Unlock()
	a, err := b.table().Get(name)
	if err != nil {
		return a, absent(err)
	}
	if b.cache == nil || len(b.cache) >= 4096 {
		b.cache = make(map[string]Account)
	}
	b.cache[name] = a
	return a, nil
}

func (b *Book) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cache = nil
}

// ByEmail returns the account with that mail address, or ErrNotFound.
func (b *Book) ByEmail(ctx context.Context, email string) (Account, error) {
	var name string
	err := b.DB.View(func(tx *state.Tx) error {
		name = string(tx.Get(emailBucket, strings.ToLower(email)))
		return nil
	})
	if err != nil {
		return Account{}, err
	}
	return b.Get(ctx, name)
}

// List returns all accounts by name.
func (b *Book) List(context.Context) ([]Account, error) {
	_, all, err := b.table().List("")
	return all, err
}

// Change changes an account; f's error is returned and nothing is written. Name,
// Hash and Scram stay as they are. f may be called more than once.
func (b *Book) Change(_ context.Context, name string, f func(*Account) error) error {
	return b.update(name, func(tx *state.Tx, a *Account) error {
		old := *a
		if err := f(a); err != nil {
			return err
		}
		a.Name, a.Hash, a.Scram = old.Name, old.Hash, old.Scram
		if err := a.check(); err != nil {
			return err
		}
		return claimEmail(tx, old.Email, a.Email, name)
	})
}

// update writes what f makes of an account.
func (b *Book) update(name string, f func(*state.Tx, *Account) error) error {
	defer b.forget()
	return b.DB.Update(func(tx *state.Tx) error {
		a, err := b.table().In(tx, name)
		if err != nil {
			return absent(err)
		}
		if err := f(tx, &a); err != nil {
			return err
		}
		return b.table().PutIn(tx, name, a)
	})
}

// absent says in this package's words that there is no such row.
func absent(err error) error {
	if errors.Is(err, state.ErrNotFound) {
		return ErrNotFound
	}
	return err
}

// Ban bars an account until then (Forever: without end); a time past lifts it.
func (b *Book) Ban(ctx context.Context, name string, until time.Time, reason string) error {
	return b.Change(ctx, name, func(a *Account) error {
		a.Bans, a.BanReason = until, reason
		return nil
	})
}

// Passwd sets a new password.
func (b *Book) Passwd(ctx context.Context, name, password string) error {
	var made Account
	if err := b.setPassword(ctx, &made, password); err != nil {
		return err
	}
	return b.update(name, func(_ *state.Tx, a *Account) error {
		a.Hash, a.Scram = made.Hash, made.Scram
		return nil
	})
}

// Remove removes an account with all that it kept: what it has read, subscriptions,
// watches, mutes, drafts.
func (b *Book) Remove(_ context.Context, name string) error {
	defer b.forget()
	return b.DB.Update(func(tx *state.Tx) error {
		a, err := b.table().In(tx, name)
		if err != nil {
			return absent(err)
		}
		if err := claimEmail(tx, a.Email, "", name); err != nil {
			return err
		}
		for _, bk := range [...]string{readBucket, subsBucket} {
			if err := dropAll(tx, bk, name); err != nil {
				return err
			}
		}
		if err := dropShelf(tx, name); err != nil {
			return err
		}
		return tx.Delete(bucket, name)
	})
}
