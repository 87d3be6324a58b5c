package members

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/litfass/litfass/internal/state"
)

// Slow is the error of a login after too many wrong passwords.
type Slow struct{ After time.Duration }

func (s *Slow) Error() string {
	return fmt.Sprintf("too many wrong passwords: try again in %d seconds", int(s.After.Seconds())+1)
}

// What wrong passwords cost. The first few are free: fingers slip. An account
// is held back for a short time only, or anybody could lock its owner out, and
// not at all for addresses from which its owner logged in before.
const (
	freeTries      = 4
	accountMost    = 10 * time.Second
	addressMost    = 5 * time.Minute
	forgiven       = time.Hour // after which a count begins again
	maxBrakes      = 1 << 14   // keys remembered
	firstPenalty   = time.Second
	maxFriendAddrs = 1 << 12
)

type tries struct {
	count int
	last  time.Time
	until time.Time
}

// brake counts wrong passwords per account and per address.
type brake struct {
	mu      sync.Mutex
	m       map[string]*tries
	friends map[string]bool // account and address that logged in well
}

// network is an address, or for IPv6 its /64: one customer.
func network(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64)
		return p.String()
	}
	return a.String()
}

func (k *brake) failed(name string, from netip.Addr, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.add("n "+name, accountMost, now)
	if from.IsValid() {
		k.add("a "+network(from), addressMost, now)
	}
}

func (k *brake) add(key string, most time.Duration, now time.Time) {
	if k.m == nil {
		k.m = make(map[string]*tries)
	}
	t := k.m[key]
	if t == nil {
		if len(k.m) >= maxBrakes {
			k.sweep(now)
		}
		t = &tries{}
		k.m[key] = t
	}
	if now.Sub(t.last) > forgiven {
		t.count = 0
	}
	t.count++
	t.last = now
	if n := t.count - freeTries; n > 0 {
		t.until = now.Add(min(most, firstPenalty<<min(n-1, 20)))
	}
}

// sweep makes room: what is forgiven goes, and if that is not enough, anything.
func (k *brake) sweep(now time.Time) {
	for key, t := range k.m {
		if now.Sub(t.last) > forgiven {
			delete(k.m, key)
		}
	}
	for key := range k.m {
		if len(k.m) < maxBrakes*3/4 {
			return
		}
		delete(k.m, key)
	}
}

func (k *brake) passed(name string, from netip.Addr) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.m, "n "+name)
	if !from.IsValid() {
		return
	}
	if k.friends == nil || len(k.friends) >= maxFriendAddrs {
		k.friends = make(map[string]bool)
	}
	k.friends[name+" "+network(from)] = true
}

// Throttled returns a *Slow while logins of that name, or from that address,
// are held back. Login asks it itself.
func (b *Book) Throttled(name string, from netip.Addr) error {
	now := b.now()
	b.slow.mu.Lock()
	defer b.slow.mu.Unlock()
	keys := []string{"n " + name}
	if from.IsValid() {
		keys = append(keys, "a "+network(from))
		if b.slow.friends[name+" "+network(from)] {
			keys = keys[1:]
		}
	}
	var after time.Duration
	for _, k := range keys {
		if t := b.slow.m[k]; t != nil {
			after = max(after, t.until.Sub(now))
		}
	}
	if after <= 0 {
		return nil
	}
	return &Slow{after}
}

// decoySecret is made once per node: made-up salts must not change.
func (b *Book) decoySecret() ([]byte, error) {
	var secret []byte
	err := b.DB.View(func(tx *state.Tx) error {
		secret = tx.Get("members.secret", "decoy")
		return nil
	})
	if err != nil || secret != nil {
		return secret, err
	}
	fresh := make([]byte, 32)
	if err := b.random(fresh); err != nil {
		return nil, err
	}
	err = b.DB.Update(func(tx *state.Tx) error {
		if secret = tx.Get("members.secret", "decoy"); secret != nil {
			return nil
		}
		secret = fresh
		return tx.Put("members.secret", "decoy", fresh)
	})
	return secret, err
}
