package pki

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"
)

// Sealed is a secret at rest: XChaCha20-Poly1305 under Argon2id (§8). The
// parameters stand beside it, so that they may grow.
type Sealed struct {
	KDF    string // "argon2id"
	Memory uint32 // KiB
	Time   uint32
	Lanes  uint8
	Salt   []byte
	Nonce  []byte
	Data   []byte
}

// The parameters of new seals, and the most that old ones may ask for.
const (
	sealMemory    = 16 << 10 // KiB
	sealTime      = 3
	sealLanes     = 1
	sealMaxMemory = 256 << 10
	sealMaxTime   = 16
)

// ErrPassword: the password does not open what it should.
var ErrPassword = errors.New("the password is wrong: it does not open this key")

// sealer derives one key at a time: each takes 16 MiB.
type sealer struct{ mu sync.Mutex }

func (s *sealer) key(password string, x *Sealed) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return argon2.IDKey([]byte(password), x.Salt, x.Time, x.Memory, x.Lanes, chacha20poly1305.KeySize)
}

// seal closes secret under password; what must stand beside it unchanged is in about.
func (s *sealer) seal(password string, secret, about []byte) (*Sealed, error) {
	x := &Sealed{KDF: "argon2id", Memory: sealMemory, Time: sealTime, Lanes: sealLanes,
		Salt: make([]byte, 16), Nonce: make([]byte, chacha20poly1305.NonceSizeX)}
	rand.Read(x.Salt)
	rand.Read(x.Nonce)
	aead, err := chacha20poly1305.NewX(s.key(password, x))
	if err != nil {
		return nil, fmt.Errorf("seal a key: %w", err)
	}
	x.Data = aead.Seal(nil, x.Nonce, secret, about)
	return x, nil
}

// open opens what seal closed.
func (s *sealer) open(password string, x *Sealed, about []byte) ([]byte, error) {
	if x == nil {
		return nil, errors.New("the key of this identity is not kept here")
	}
	if x.KDF != "argon2id" || x.Memory > sealMaxMemory || x.Time < 1 || x.Time > sealMaxTime || x.Lanes < 1 || len(x.Nonce) != chacha20poly1305.NonceSizeX {
		return nil, errors.New("the key file asks for a way of sealing that is not known here")
	}
	aead, err := chacha20poly1305.NewX(s.key(password, x))
	if err != nil {
		return nil, fmt.Errorf("open a key: %w", err)
	}
	secret, err := aead.Open(nil, x.Nonce, x.Data, about)
	if err != nil {
		return nil, ErrPassword
	}
	return secret, nil
}
