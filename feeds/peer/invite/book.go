package invite

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/litfass/litfass/internal/state"
)

const bucket = "invitations"

// maxOpen bounds the invitations that wait for somebody.
const maxOpen = 100

// Errors of a Book.
var (
	// ErrSecret: nobody was invited with it, it was used, or it is too old.
	ErrSecret = errors.New("the invitation was used, is too old, or was never made; have a new one made with \"litfass peer invite\"")
	// ErrFull: too many invitations wait.
	ErrFull = fmt.Errorf("%d invitations wait already; they end by themselves, or with \"litfass peer invite --forget\"", maxOpen)
)

// Terms are what the invited neighbour will get.
type Terms struct {
	Send, Take string // wildmats of the groups offered to it and taken from it; "": the default
	Old        bool   // take what is older than spool.cutoff, too
}

// Invitation is an open or a used one.
type Invitation struct {
	Terms
	Until time.Time
	Key   string // the TLS key that used it, or ""
}

// Book keeps invitations in state.db, by the SHA-256 of their secrets: who reads
// a backup cannot join with it.
type Book struct {
	DB   *state.DB
	Now  func() time.Time
	Rand io.Reader
}

func (b *Book) table() state.Table[Invitation] {
	return state.Table[Invitation]{DB: b.DB, Bucket: bucket}
}

func keyOf(secret [secretLen]byte) string {
	sum := sha256.Sum256(secret[:])
	return hex.EncodeToString(sum[:])
}

// Make keeps an invitation that is good for lasts, and returns its secret.
func (b *Book) Make(t Terms, lasts time.Duration) (secret [secretLen]byte, err error) {
	if _, err := io.ReadFull(b.Rand, secret[:]); err != nil {
		return secret, fmt.Errorf("make a secret: %w", err)
	}
	if _, err := b.sweep(func(i Invitation) bool { return b.Now().After(i.Until) }); err != nil {
		return secret, err
	}
	if keys, _, err := b.table().List(""); err != nil || len(keys) >= maxOpen {
		return secret, errors.Join(err, ErrFull)
	}
	return secret, b.table().Put(keyOf(secret), Invitation{Terms: t, Until: b.Now().Add(lasts).UTC()})
}

// Forget ends all invitations that nobody has used, and says how many.
func (b *Book) Forget() (int, error) {
	return b.sweep(func(i Invitation) bool { return i.Key == "" })
}

func (b *Book) sweep(which func(Invitation) bool) (n int, err error) {
	keys, all, err := b.table().List("")
	for i, key := range keys {
		if err == nil && which(all[i]) {
			err = b.table().Delete(key)
			n++
		}
	}
	return n, err
}

// Redeem uses an invitation up for the node with TLS key pin. The same node may
// say it again while it lasts, in case the answer was lost. ErrSecret: no.
func (b *Book) Redeem(secret []byte, pin string) (Terms, error) {
	var s [secretLen]byte
	if len(secret) != len(s) || pin == "" {
		return Terms{}, ErrSecret
	}
	copy(s[:], secret)
	var t Terms
	err := b.table().Change(keyOf(s), func(i *Invitation, found bool) error {
		if !found || b.Now().After(i.Until) || i.Key != "" && i.Key != pin {
			return ErrSecret
		}
		i.Key, t = pin, i.Terms
		return nil
	})
	return t, err
}
