package webforum

import (
	"container/list"
	"html/template"
	"sync"

	"github.com/litfass/litfass/spool"
)

const (
	bodiesMost = 6 << 20  // octets of bodies that are kept ready
	bodyMost   = 64 << 10 // longer ones are made anew each time
)

// bodies keeps what was rendered last: making a body is most of a page's time. An
// article never changes, so only the language is told apart.
type bodies struct {
	mu    sync.Mutex
	at    map[bodyKey]*list.Element
	order list.List // most recently shown first
	size  int
}

type bodyKey struct {
	seq  spool.Seq
	lang string
}

type bodyKept struct {
	key   bodyKey
	body  template.HTML
	files []file
	lock  string // Cancel-Lock
	asks  string // Followup-To
}

// cost counts what an entry takes besides its octets, roughly.
func (b *bodyKept) cost() int {
	return len(b.body) + len(b.lock) + len(b.asks) + 256 + 400*len(b.files)
}

func (c *bodies) get(key bodyKey) (*bodyKept, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.at[key]
	if e == nil {
		return nil, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*bodyKept), true
}

// put keeps a body, unless it is large or tells where an attachment is by now.
func (c *bodies) put(b *bodyKept) {
	for _, f := range b.files {
		if f.Detached {
			return
		}
	}
	if b.cost() > bodyMost {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == nil {
		c.at = map[bodyKey]*list.Element{}
	}
	if c.at[b.key] != nil {
		return
	}
	c.at[b.key] = c.order.PushFront(b)
	for c.size += b.cost(); c.size > bodiesMost; {
		last := c.order.Remove(c.order.Back()).(*bodyKept)
		delete(c.at, last.key)
		c.size -= last.cost()
	}
}
