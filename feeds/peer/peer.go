package peer

import (
	"fmt"
	"slices"
	"sync"
)

// Feeds is all the peers of a node. Its methods may be called at any time.
type Feeds struct {
	cfg *Config

	mu      sync.Mutex
	senders map[string]*sender
	stopped bool
}

// New makes the peers' side of a node; it does nothing before Set.
func New(cfg Config) *Feeds {
	cfg.defaults()
	return &Feeds{cfg: &cfg, senders: map[string]*sender{}}
}

// Set makes these the peers: others end, new ones begin, changed ones begin
// again where they were, unchanged ones go on. It changes nothing if one of them
// is not in order.
func (f *Feeds) Set(peers []Peer) error {
	want := map[string]Peer{}
	for _, p := range peers {
		if err := p.Check(); err != nil {
			return err
		}
		if _, twice := want[p.Name]; twice {
			return fmt.Errorf("peer %s occurs twice", p.Name)
		}
		p.defaults()
		want[p.Name] = p
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var ending []*sender
	for name, s := range f.senders {
		if p, ok := want[name]; !ok || p != s.peer {
			ending = append(ending, s)
			delete(f.senders, name)
		}
	}
	stopAll(ending) // before a changed one begins: they share a cursor
	if f.stopped {
		return nil
	}
	for name, p := range want {
		if f.senders[name] == nil {
			if err := f.begin(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// begin starts a sender; f.mu is held.
func (f *Feeds) begin(p Peer) error {
	s, err := newSender(f.cfg, p)
	if err != nil {
		return err
	}
	f.senders[p.Name] = s
	s.start()
	return nil
}

// Forget drops what is saved about a peer that is no more: its cursor and marks.
func (f *Feeds) Forget(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.senders[name] != nil {
		return fmt.Errorf("peer %s is still there", name)
	}
	for _, key := range []string{"send/", "pull/"} {
		if err := f.cfg.State.Save(key+name, nil); err != nil {
			return fmt.Errorf("forget peer %s: %w", name, err)
		}
	}
	return nil
}

// Wake says that a peer was seen, as by a connection from it: if it could not
// be reached, it is tried again at once.
func (f *Feeds) Wake(name string) {
	f.mu.Lock()
	s := f.senders[name]
	f.mu.Unlock()
	if s == nil {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Stats returns the figures of all peers, by name.
func (f *Feeds) Stats() []Stats {
	f.mu.Lock()
	all := make([]*sender, 0, len(f.senders))
	for _, s := range f.senders {
		all = append(all, s)
	}
	f.mu.Unlock()
	slices.SortFunc(all, func(a, b *sender) int {
		if a.peer.Name < b.peer.Name {
			return -1
		}
		return 1
	})
	out := make([]Stats, len(all))
	for i, s := range all {
		out[i] = s.stats()
	}
	return out
}

// Stop ends all senders and waits: what was answered is saved, connections get
// Farewell to answer what is in flight. Stop may be called more than once.
func (f *Feeds) Stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = true
	var all []*sender
	for _, s := range f.senders {
		all = append(all, s)
	}
	clear(f.senders)
	stopAll(all)
}

// stopAll ends senders side by side.
func stopAll(all []*sender) {
	for _, s := range all {
		s.stop()
	}
	for _, s := range all {
		<-s.done
	}
}
