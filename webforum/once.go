package webforum

import (
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"

	"github.com/litfass/litfass/article"
)

// onceKey names what a form held when it was sent: the same form with another text,
// from a browser's cache, is another article.
func onceKey(once string, c *composed) string {
	if len(once) != 24 {
		return ""
	}
	sum := sha256.Sum256([]byte(once + "\x00" + c.Subject + "\x00" + c.Body))
	return hex.EncodeToString(sum[:12])
}

// onces remembers for a while which form became which article, so that a form sent
// twice (a double click, a reload) is posted once.
type onces struct {
	mu   sync.Mutex
	sent map[string]*once
}

type once struct {
	done chan struct{}
	id   article.ID
	at   time.Time
}

const (
	onceAge  = time.Hour
	maxOnces = 2000
)

// begin claims a form. done is nil for the first; the others wait for it.
func (o *onces) begin(key string, now time.Time) (done chan struct{}, id article.ID) {
	if len(key) != 24 {
		return nil, ""
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if x := o.sent[key]; x != nil && now.Sub(x.at) < onceAge {
		return x.done, x.id
	}
	if o.sent == nil || len(o.sent) >= maxOnces {
		kept := map[string]*once{}
		for k, x := range o.sent {
			if now.Sub(x.at) < onceAge/4 && len(kept) < maxOnces/2 {
				kept[k] = x
			}
		}
		o.sent = kept
	}
	o.sent[key] = &once{done: make(chan struct{}), at: now}
	return nil, ""
}

// end says what became of a form; without an article it may be sent again.
func (o *onces) end(key string, id article.ID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	x := o.sent[key]
	if x == nil {
		return
	}
	if x.id = id; id == "" {
		delete(o.sent, key)
	}
	close(x.done)
}

// settle notes that a form became an article, under one more name.
func (o *onces) settle(key string, id article.ID, now time.Time) {
	if done, _ := o.begin(key, now); done == nil {
		o.end(key, id)
	}
}

func (o *onces) result(key string) article.ID {
	o.mu.Lock()
	defer o.mu.Unlock()
	if x := o.sent[key]; x != nil {
		return x.id
	}
	return ""
}
