package members

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"
)

// Parameters of argon2id: what ARCHITECTURE and pki.md §8 say. A hash carries
// its own, so that they may change.
const (
	argonTime   = 3
	argonMemory = 16 << 10 // KiB
	argonLanes  = 1
	hashings    = 1 // at one time: 16 MiB

	tidyFor = time.Second // how long after a hashing the next one need not make room again
)

// scramRounds is what RFC 7677 §4 asks for at least.
const scramRounds = 4096

// maxPassword bounds what is hashed, in octets.
const maxPassword = 1024

// Scram is what SCRAM-SHA-256 needs of an account: RFC 5802 §3.
type Scram struct {
	Salt      []byte
	Rounds    int
	StoredKey []byte
	ServerKey []byte
}

func (b *Book) random(p []byte) error {
	if b.Random != nil {
		return b.Random(p)
	}
	_, err := rand.Read(p)
	return err
}

// argon hashes, at most `hashings` at one time; it waits for its turn.
func (b *Book) argon(ctx context.Context, password string, salt []byte, passes, memory uint32) ([]byte, error) {
	b.once.Do(func() { b.slots = make(chan struct{}, hashings) })
	select {
	case b.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-b.slots }()
	// Each hashing allocates its 16 MiB anew, and small things soon stand in the
	// middle of what the last one left. Giving that back before the next one begins
	// costs some ms; without it the node grew by 37 MiB for fifty logins, and with
	// two at one time by 47. The first one of many makes room for itself, too: then
	// it takes the place of what lay about, and does not come on top of it.
	if d := b.now().Sub(b.tidied); d < 0 || d > tidyFor {
		b.makeRoom()
	}
	defer func() {
		debug.FreeOSMemory()
		b.tidied = b.now()
	}()
	return argon2.IDKey([]byte(password), salt, passes, memory, argonLanes, 32), nil
}

func (b *Book) makeRoom() {
	if b.MakeRoom != nil {
		b.MakeRoom()
	} else {
		debug.FreeOSMemory()
	}
}

func (b *Book) setPassword(ctx context.Context, a *Account, password string) error {
	a.Hash, a.Scram = "", Scram{}
	if password == "" {
		return nil
	}
	if len(password) > maxPassword || strings.ContainsAny(password, "\x00\r\n") {
		return fmt.Errorf("a password is one line of at most %d octets", maxPassword)
	}
	var salt [32]byte
	if err := b.random(salt[:]); err != nil {
		return fmt.Errorf("make a salt: %w", err)
	}
	sum, err := b.argon(ctx, password, salt[:16], argonTime, argonMemory)
	if err != nil {
		return err
	}
	e := base64.RawStdEncoding
	a.Hash = fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonLanes,
		e.EncodeToString(salt[:16]), e.EncodeToString(sum))
	a.Scram, err = scram(password, salt[16:])
	return err
}

// scram makes the keys of RFC 5802 §3. The password is taken as its octets:
// SASLprep (RFC 4013) is left to clients, and changes nothing in ASCII.
func scram(password string, salt []byte) (Scram, error) {
	salted, err := pbkdf2.Key(sha256.New, password, salt, scramRounds, sha256.Size)
	if err != nil {
		return Scram{}, fmt.Errorf("make SCRAM keys: %w", err)
	}
	stored := sha256.Sum256(mac(salted, "Client Key"))
	return Scram{Salt: salt, Rounds: scramRounds, StoredKey: stored[:], ServerKey: mac(salted, "Server Key")}, nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// verify compares a password with a hash in PHC form.
func (b *Book) verify(ctx context.Context, hash, password string) (bool, error) {
	var version, lanes int
	var memory, passes uint32
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[1] != "argon2id" {
		return false, errors.New("password hash of an unknown form")
	}
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return false, errors.New("password hash of an unknown version")
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &passes, &lanes); err != nil || lanes != argonLanes || memory > 64<<10 || passes < 1 || passes > 20 {
		return false, errors.New("password hash with unknown parameters")
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	want, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err := errors.Join(err1, err2); err != nil {
		return false, fmt.Errorf("password hash: %w", err)
	}
	have, err := b.argon(ctx, password, salt, passes, memory)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(have, want) == 1, nil
}

// Login checks name (or mail address) and password. It returns ErrPassword,
// ErrBanned (only after the right password), a *Slow after too many wrong
// ones, or a temporary failure. It takes about 30 ms of CPU, also for names
// that do not exist.
func (b *Book) Login(ctx context.Context, name, password string, from netip.Addr) (Account, error) {
	a, err := b.Get(ctx, name)
	if errors.Is(err, ErrNotFound) && strings.Contains(name, "@") {
		a, err = b.ByEmail(ctx, name)
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Account{}, fmt.Errorf("log in: %w", err)
	}
	key := a.Name
	if key == "" {
		key = name
	}
	if err := b.Throttled(key, from); err != nil {
		return Account{}, err
	}
	ok := false
	if a.Hash == "" || len(password) > maxPassword {
		_, err = b.argon(ctx, "no such account", make([]byte, 16), argonTime, argonMemory)
	} else {
		ok, err = b.verify(ctx, a.Hash, password)
	}
	if err != nil {
		return Account{}, fmt.Errorf("log in: %w", err)
	}
	a, err = b.Verdict(ctx, key, from, ok)
	if err == nil && b.LoggedIn != nil {
		b.LoggedIn(a.Name, password)
	}
	return a, err
}

// Verdict ends a login whose proof a door checked itself (SCRAM): it counts
// failures, and returns the account, ErrPassword or ErrBanned. The door asks
// Throttled first.
func (b *Book) Verdict(ctx context.Context, name string, from netip.Addr, ok bool) (Account, error) {
	now := b.now()
	if !ok {
		b.slow.failed(name, from, now)
		return Account{}, ErrPassword
	}
	a, err := b.Get(ctx, name)
	if err != nil {
		return Account{}, err
	}
	b.slow.passed(name, from)
	if a.Banned(now) {
		return Account{}, ErrBanned
	}
	if now.Sub(a.Seen) > time.Hour {
		seen := now.UTC().Truncate(time.Hour)
		if err := b.Change(ctx, name, func(a *Account) error { a.Seen = seen; return nil }); err != nil {
			return Account{}, fmt.Errorf("note the login: %w", err)
		}
		a.Seen = seen
	}
	return a, nil
}

// ScramKeys returns an account's keys for SCRAM-SHA-256. For names that do not
// exist it makes up a salt, always the same one for a name, so that nobody can
// tell; no proof fits those.
func (b *Book) ScramKeys(ctx context.Context, name string) (Scram, error) {
	a, err := b.Get(ctx, name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Scram{}, err
	}
	if a.Scram.Rounds != 0 {
		return a.Scram, nil
	}
	secret, err := b.decoySecret()
	if err != nil {
		return Scram{}, err
	}
	return Scram{Salt: mac(secret, name)[:16], Rounds: scramRounds, StoredKey: mac(secret, name+"\x00s"), ServerKey: mac(secret, name+"\x00v")}, nil
}
