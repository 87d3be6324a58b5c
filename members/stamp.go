package members

import (
	"sync"
	"sync/atomic"
)

// stamps count the changes of what each account reads, watches and mutes.
type stamps struct {
	start atomic.Uint64
	of    sync.Map // account -> *atomic.Uint64
}

// Stamp is a number that changes whenever what the account has read, watches or
// mutes changes, through whatever door; of two starts of a node it differs.
func (b *Book) Stamp(account string) uint64 {
	n := b.stampStart()
	if c, ok := b.stamps.of.Load(account); ok {
		n += c.(*atomic.Uint64).Load()
	}
	return n
}

func (b *Book) stampStart() uint64 {
	if n := b.stamps.start.Load(); n != 0 {
		return n
	}
	b.stamps.start.CompareAndSwap(0, uint64(b.now().UnixNano())|1)
	return b.stamps.start.Load()
}

// changed is called after a write.
func (b *Book) changed(account string) {
	c, ok := b.stamps.of.Load(account)
	if !ok {
		c, _ = b.stamps.of.LoadOrStore(account, new(atomic.Uint64))
	}
	c.(*atomic.Uint64).Add(1)
}
