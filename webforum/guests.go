package webforum

import (
	"crypto/rand"
	"encoding/base64"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// A guest who posts gets a secret into a cookie. The Cancel-Locks of his articles
// come from it (RFC 8315 §4), so that he, with this browser, may change and delete
// them. The node does not keep it.
const (
	guestCookie = "litfass_guest"
	guestAge    = 400 * 24 * time.Hour // the longest that browsers grant
)

func (v *visitor) guestSecret() string {
	c, err := v.r.Cookie(guestCookie)
	if v.account != nil || err != nil || len(c.Value) != 43 {
		return v.secret
	}
	return c.Value
}

// makeSecret gives a guest who is about to post a secret, and him who has one a
// longer time with it.
func (v *visitor) makeSecret() error {
	if v.account != nil {
		return nil
	}
	s := v.guestSecret()
	if s == "" {
		var raw [32]byte
		if _, err := rand.Read(raw[:]); err != nil {
			return err
		}
		s = base64.RawURLEncoding.EncodeToString(raw[:])
	}
	v.secret = s
	v.setCookie(guestCookie, s, guestAge)
	return nil
}

// owns says whether the visitor wrote an article: his key signed it, or, of a
// guest's, his secret opens the lock.
func (v *visitor) owns(e spool.Entry, lock string) bool {
	authored := e.Proof.State == article.ProofHolds && e.Proof.Purpose != "gate"
	if v.account != nil {
		return authored && v.account.Identity != "" && e.Proof.Identity == v.account.Identity
	}
	return !authored && lock != "" && v.Anonymous == "post" && agent.Unlocks(lock, v.guestSecret(), e.ID)
}
