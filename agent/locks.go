package agent

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
)

// stateBucket holds the agent's own few values.
const stateBucket = "agent"

// locks holds the node's secret for Cancel-Locks: RFC 8315 §4.
type locks struct {
	mu     sync.Mutex
	secret []byte
}

// lockSecret reads or makes the secret, 32 octets kept in state.db.
func (a *Agent) lockSecret() ([]byte, error) {
	a.locks.mu.Lock()
	defer a.locks.mu.Unlock()
	if a.locks.secret != nil {
		return a.locks.secret, nil
	}
	fresh := make([]byte, 32)
	if err := a.random(fresh); err != nil {
		return nil, fmt.Errorf("make the secret of Cancel-Locks: %w", err)
	}
	if a.State != nil {
		err := a.State.Update(func(tx *state.Tx) error {
			if have := tx.Get(stateBucket, "cancel-secret"); have != nil {
				fresh = have
				return nil
			}
			return tx.Put(stateBucket, "cancel-secret", fresh)
		})
		if err != nil {
			return nil, fmt.Errorf("keep the secret of Cancel-Locks: %w", err)
		}
	}
	a.locks.secret = fresh
	return fresh, nil
}

// cancelKey is the key text for an article of an account: RFC 8315 §4, K =
// HMAC(secret, uid + Message-ID), here with a NUL between.
func (a *Agent) cancelKey(account string, id article.ID) (string, error) {
	secret, err := a.lockSecret()
	if err != nil {
		return "", err
	}
	return keyText(secret, account, id), nil
}

func keyText(secret []byte, who string, id article.ID) string {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(who + "\x00" + string(id)))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// guestKey is the key text for an article of a guest: the same scheme, with the
// secret that his client keeps.
func guestKey(secret string, id article.ID) string { return keyText([]byte(secret), "guest", id) }

// Unlocks says whether the guest who keeps secret posted the article with this id
// and Cancel-Lock: he may withdraw it.
func Unlocks(lock, secret string, id article.ID) bool {
	return secret != "" && opens(lock, "sha256:"+guestKey(secret, id))
}

// lockOf is the c-lock that a key text opens under scheme ("" if unknown).
func lockOf(scheme, key string) string {
	switch scheme {
	case "sha256":
		sum := sha256.Sum256([]byte(key))
		return base64.StdEncoding.EncodeToString(sum[:])
	case "sha1":
		sum := sha1.Sum([]byte(key))
		return base64.StdEncoding.EncodeToString(sum[:])
	}
	return ""
}

// maxLocks bounds the elements of a Cancel-Lock or Cancel-Key that are looked at.
const maxLocks = 16

// opens says whether an element of the Cancel-Key keys fits one of the
// Cancel-Lock locks: RFC 8315 §3. Schemes are compared without regard to case.
func opens(locks, keys string) bool {
	lf, kf := strings.Fields(locks), strings.Fields(keys)
	for _, k := range kf[:min(len(kf), maxLocks)] {
		scheme, key := element(k)
		want := lockOf(scheme, key)
		if want == "" || key == "" {
			continue
		}
		for _, l := range lf[:min(len(lf), maxLocks)] {
			if s, lock := element(l); s == scheme && lock == want {
				return true
			}
		}
	}
	return false
}

// element reads scheme and string of an element; a clue behind it, which older
// programs wrote, is passed over: RFC 8315 §6.
func element(s string) (scheme, text string) {
	scheme, text, _ = strings.Cut(s, ":")
	text, _, _ = strings.Cut(text, ":")
	return strings.ToLower(scheme), text
}

// lock adds Cancel-Lock to what an account or a guest with a secret posts, and
// Cancel-Key to what would withdraw an article of the same. Both are unsigned fields.
func (in *injection) lock() error {
	keyFor := func(id article.ID) (string, error) { return in.cancelKey(in.o.Account, id) }
	switch {
	case in.o.Account != "":
	case in.o.Secret != "":
		keyFor = func(id article.ID) (string, error) { return guestKey(in.o.Secret, id), nil }
	default:
		return nil
	}
	key, err := keyFor(article.ID(in.d.Get("Message-ID")))
	if err != nil {
		return err
	}
	appendField(in.d, "Cancel-Lock", "sha256:"+lockOf("sha256", key))
	target := in.d.Get("Supersedes")
	if args := strings.Fields(in.d.Get("Control")); len(args) == 2 && strings.EqualFold(args[0], "cancel") {
		target = args[1]
	}
	if target == "" {
		return nil
	}
	if key, err = keyFor(article.ID(target)); err != nil {
		return err
	}
	appendField(in.d, "Cancel-Key", "sha256:"+key)
	return nil
}

// appendField adds an element to a list of blanks: the poster may bring his own.
func appendField(d *article.Draft, name, element string) {
	if have := d.Get(name); have != "" {
		if len(have) > 400 { // keep the line under 998 octets
			return
		}
		element = have + " " + element
	}
	d.Set(name, element)
}
