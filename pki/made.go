package pki

import "sync"

// made remembers the last signatures that this node made, so that an article which
// was signed here a moment ago is not checked like a stranger's: the check takes
// longer than signing. What is remembered is exactly what ed25519.Verify
// would be asked, so an article that was changed meanwhile is not found here.
type made struct {
	mu   sync.Mutex
	last [64]signature
	next int
}

// signature is one that holds.
type signature struct {
	digest Digest
	key    Key
	b      [64]byte
}

func (m *made) add(s signature) {
	m.mu.Lock()
	m.last[m.next%len(m.last)] = s
	m.next++
	m.mu.Unlock()
}

func (m *made) holds(s signature) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range min(m.next, len(m.last)) {
		if m.last[i] == s {
			return true
		}
	}
	return false
}
