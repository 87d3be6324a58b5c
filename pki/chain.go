package pki

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/litfass/litfass/internal/state"
)

// bChain keeps the articles of identities in mode chain: identity, q, digest ->
// signing input and signature (§4). They outlive the articles' expiry.
const bChain = "chain"

// bLoose lists the links that nothing kept leads to yet: identity, digest -> q, key.
const bLoose = "loose"

// Bounds of what is kept of a chain. Links that follow from a kept one, or from an
// event, are kept; of others, which anybody can make, only so many.
const (
	maxPerKey = 2   // conflicting articles by one key: two are evidence
	maxLoose  = 100 // links of one identity that nothing kept leads to yet
)

// link is one article of a chain.
type link struct {
	field  *Field
	digest Digest
}

// linkOf reads a link from a signing input and its signature, and checks it.
func linkOf(input string, sig [64]byte) (link, error) { return readLink(input, sig, true) }

// readLink is linkOf; a link that lies in pki.db was checked before.
func readLink(input string, sig [64]byte, check bool) (link, error) {
	i := strings.LastIndex(input, "\narticle-signature:")
	if i < 0 || !strings.HasSuffix(input, "\n") {
		return link{}, errors.New("no signing input")
	}
	covered := strings.TrimSuffix(input[i+len("\narticle-signature:"):], "\n")
	f, err := ParseField([]byte(covered + ";b=" + b64.EncodeToString(sig[:])))
	if err != nil {
		return link{}, err
	}
	k := link{f, sha256.Sum256([]byte(input))}
	if f.covered != covered || f.Purpose == UseApprove || f.N == nil || check && !verifies(f.Key, message(k.digest), f.B) {
		return link{}, errors.New("the signature does not hold, or it is of no chain")
	}
	return k, nil
}

// inputField is a signed field of a signing input, or "".
func inputField(input, name string) string {
	_, rest, ok := strings.Cut("\n"+input, "\n"+name+":")
	if !ok {
		return ""
	}
	value, _, _ := strings.Cut(rest, "\n")
	return value
}

func chainKey(id ID, q uint64, d Digest) string {
	return string(id[:]) + num(q) + string(d[:])
}

// AddChain keeps an article of an identity in mode chain: the author's field and
// signing input as Examine gave them. Others are passed by.
func (l *Ledger) AddChain(f *Field, input []byte) error {
	if f == nil || f.N == nil || !l.mayChain(f.Identity) {
		return nil
	}
	keys := map[Digest]bool{}
	if st, err := l.Identity(f.Identity); err != nil {
		return err
	} else {
		for _, t := range st.Terms {
			keys[t.Event.Key.Digest()] = true
		}
	}
	digest := Digest(sha256.Sum256(input))
	fresh := false
	err := l.db.Update(func(tx *state.Tx) error {
		fresh = false
		if tx.Get(bChain, chainKey(f.Identity, f.Q, digest)) != nil {
			return nil
		}
		n, err := sameKey(tx, f)
		if err != nil || n >= maxPerKey {
			return err
		}
		if !keys[f.Key.Digest()] && !follows(tx, f.Identity, f.Q, f.Key.Digest()) {
			if kept, err := keepLoose(tx, f, digest, keys); err != nil || !kept {
				return err
			}
		}
		fresh = true
		return tx.Put(bChain, chainKey(f.Identity, f.Q, digest), append(append([]byte(nil), f.B[:]...), input...))
	})
	if err != nil {
		return fmt.Errorf("keep a link of a chain: %w", err)
	}
	if fresh {
		l.mu.Lock()
		l.touch()
		l.mu.Unlock()
	}
	return nil
}

// sameKey counts the links kept for the number and the key of a field.
func sameKey(tx *state.Tx, f *Field) (n int, err error) {
	tx.Each(bChain, string(f.Identity[:])+num(f.Q), "", func(_ string, raw []byte) bool {
		var k link
		if k, err = readLink(string(raw[64:]), [64]byte(raw), false); err == nil && k.field.Key == f.Key {
			n++
		}
		return err == nil
	})
	return n, err
}

// follows says whether a kept link announces the key for number q.
func follows(tx *state.Tx, id ID, q uint64, key Digest) (yes bool) {
	if q == 0 {
		return false
	}
	tx.Each(bChain, string(id[:])+num(q-1), "", func(_ string, raw []byte) bool {
		k, err := readLink(string(raw[64:]), [64]byte(raw), false)
		yes = err == nil && *k.field.N == key
		return !yes
	})
	return yes
}

// keepLoose lets a link wait for the one before it, if there is room. Those whose turn
// has come meanwhile make room.
func keepLoose(tx *state.Tx, f *Field, digest Digest, keys map[Digest]bool) (bool, error) {
	id := string(f.Identity[:])
	n := 0
	var led []string
	tx.Each(bLoose, id, "", func(key string, raw []byte) bool {
		n++
		if len(raw) == 40 {
			if d := Digest(raw[8:]); keys[d] || follows(tx, f.Identity, readNum(raw[:8]), d) {
				led = append(led, key)
			}
		}
		return true
	})
	for _, key := range led {
		if err := tx.Delete(bLoose, key); err != nil {
			return false, err
		}
	}
	if n-len(led) >= maxLoose {
		return false, nil
	}
	d := f.Key.Digest()
	return true, tx.Put(bLoose, id+string(digest[:]), append([]byte(num(f.Q)), d[:]...))
}

// mayChain says whether id is in mode chain, or may be for all that is known.
func (l *Ledger) mayChain(id ID) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	_, status := l.standing(id)
	return status == Unheard || l.chains[id]
}

// chainLinks reads the links of an identity from q on.
func (l *Ledger) chainLinks(id ID, q uint64, most int) ([]link, error) {
	out, _, err := l.chainRows(id, q, most)
	return out, err
}

// chainRows is chainLinks with the signing inputs.
func (l *Ledger) chainRows(id ID, q uint64, most int) (out []link, inputs []string, err error) {
	err = l.db.View(func(tx *state.Tx) error {
		var bad error
		tx.Each(bChain, string(id[:]), string(id[:])+num(q), func(key string, raw []byte) bool {
			if len(raw) < 64 || len(key) != 72 {
				bad = errors.New("a link of a chain is cut off")
				return false
			}
			var k link
			input := string(raw[64:])
			if k, bad = readLink(input, [64]byte(raw), false); bad == nil {
				out, inputs = append(out, k), append(inputs, input)
			}
			return bad == nil && len(out) < most
		})
		return bad
	})
	return out, inputs, err
}

// Chain is what is known of an identity in mode chain: a function of the sets of
// events and links held (§4).
type Chain struct {
	Frozen  bool              // two articles for one number, or the events conflict
	InForce map[Digest]uint64 // articles that count, with their q
	Key     Digest            // key digest of the next article's key
	Last    Digest            // digest of the last article in force, zero if none
	Q       uint64            // number of the next article
}

// evaluateChain walks the links from the inception, or from where a recover goes on.
func evaluateChain(st *State, links []link) Chain {
	byQ := map[uint64][]link{}
	for _, k := range links {
		byQ[k.field.Q] = append(byQ[k.field.Q], k)
	}
	c := Chain{InForce: map[Digest]uint64{}}
	for _, t := range st.Terms {
		if t.Undone {
			continue
		}
		c.walk(t, byQ)
	}
	c.Frozen = c.Frozen || st.Status != Live
	return c
}

// walk follows one term: the keys from its event on, up to the head at which the
// recover that ended it goes on.
func (c *Chain) walk(t Term, byQ map[uint64][]link) {
	ev := t.Event
	key, next := ev.Key, ev.Next
	start, last := uint64(0), Digest{}
	if ev.Type == TypeRecover && ev.Head != nil {
		start, last = ev.Head.Q+1, ev.Head.Digest
	}
	if t.Ended != nil { // only what its head endorses stays
		c.endorse(t.Ended.Head, byQ)
		return
	}
	c.Frozen = false
	want, first := key.Digest(), true
	for q := start; ; q++ {
		var fits []link
		for _, k := range byQ[q] {
			f := k.field
			ok := f.Key.Digest() == want && (f.P == nil) == (last == Digest{}) && (f.P == nil || *f.P == last)
			if ok && (!first || next != nil && *f.N == *next) {
				fits = append(fits, k)
			}
		}
		c.Key, c.Last, c.Q = want, last, q
		if len(fits) != 1 {
			c.Frozen = len(fits) > 1
			return
		}
		c.InForce[fits[0].digest] = q
		want, last, first = *fits[0].field.N, fits[0].digest, false
	}
}

// endorse puts in force what a recover's head reaches by p.
func (c *Chain) endorse(h *Head, byQ map[uint64][]link) {
	if h == nil {
		return
	}
	for q, want := h.Q, h.Digest; ; q-- {
		var at *link
		for i := range byQ[q] {
			if byQ[q][i].digest == want {
				at = &byQ[q][i]
			}
		}
		if at == nil {
			return
		}
		c.InForce[want] = q
		if q == 0 || at.field.P == nil {
			return
		}
		want = *at.field.P
	}
}

// maxLinks bounds the links read to judge one chain.
const maxLinks = 100000

// Chain says what is known of an identity in mode chain.
func (l *Ledger) Chain(id ID) (Chain, error) {
	st, err := l.Identity(id)
	if err != nil || st.Status == Unheard {
		return Chain{}, err
	}
	links, err := l.chainLinks(id, 0, maxLinks)
	if err != nil {
		return Chain{}, err
	}
	return evaluateChain(&st, links), nil
}

// chainVerdict judges an article of an identity in mode chain: in force, or its
// predecessor is missing, or the chain is frozen before it.
func (l *Ledger) chainVerdict(c claim) (Result, error) {
	ch, err := l.cache.chain(c.id, l.Chain)
	if err != nil {
		return "", err
	}
	if _, ok := ch.InForce[c.digest]; ok {
		return ResultVerified, nil
	}
	if ch.Frozen {
		return ResultDisputed, nil
	}
	return ResultUnknownKey, nil
}
