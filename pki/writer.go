package pki

import (
	"errors"
	"fmt"

	"github.com/litfass/litfass/article"
)

// chainState is the place of a hosted identity in mode chain (§4): Seed of its file is
// the key of the next article, Next that of the one after.
type chainState struct {
	Q uint64 // number of the next article
	P []byte `json:",omitempty"` // digest of the article before; none at the beginning
}

// ErrChain is what identities in mode chain can not do.
var ErrChain = errors.New("this identity is a chain: its key changes with each article, so it has no key to vouch, rotate or lend with")

// errChainBusy: another article took the key that this one's Message-ID promises.
var errChainBusy = errors.New("another article of this chain was signed in the same moment: post again")

// NewChain makes an identity in mode chain for an account (§4): for a podcast, a blog,
// a pseudonym. Each article is signed with a key of its own, which is erased then, and
// names the one before: nobody can put one in, take one out or change one afterwards.
// The words recover it.
func (kr *Keyring) NewChain(account string) (id ID, words []string, err error) {
	kr.mu.Lock()
	defer kr.mu.Unlock()
	if _, ok := kr.hosted[account]; ok {
		return ID{}, nil, ErrHasOne
	}
	if kr.Ledger.Timeless() {
		return ID{}, nil, ErrTimeless
	}
	recovery := newSeed()
	_, policy := recoveryPolicy(recovery)
	commit := policy.Digest()
	o := &owner{Seed: newSeed(), Next: newSeed()}
	next := KeyOf(seedKey(o.Next)).Digest()
	incept, err := Make(Statement{Type: TypeIncept, Time: kr.now().Unix(), Key: KeyOf(o.key()), Next: &next, Recover: &commit, Chain: true}, o.key())
	if err != nil {
		return ID{}, nil, fmt.Errorf("make an identity: %w", err)
	}
	o.ID = incept.ID
	f := chainFile(account, o, &chainState{})
	if err := kr.publish(f, incept); err != nil {
		return ID{}, nil, err
	}
	kr.hosted[account] = f
	grant, err := kr.node.nodeOwner().arrow(kr.now(), Grant{Purpose: "post", Subject: o.ID.Subject()}, nil)
	if err != nil {
		return ID{}, nil, err
	}
	return o.ID, Words(recovery), kr.publish(kr.node, grant)
}

func chainFile(account string, o *owner, at *chainState) *keyFile {
	return &keyFile{Format: keyFormat, Account: account, Identity: o.ID.String(), Seed: append([]byte(nil), o.Seed[:]...),
		Next: append([]byte(nil), o.Next[:]...), Chain: at, id: o.ID, device: o.key()}
}

// signLink signs an article as the next of a chain. Before it returns the key is
// erased from the file: a crash leaves a link without article, never two for one number.
func (kr *Keyring) signLink(account, purpose string, d *article.Draft) error {
	kr.mu.Lock()
	defer kr.mu.Unlock()
	f := kr.hosted[account]
	if f == nil || f.Chain == nil {
		return errChainBusy
	}
	if h, bound := BoundKey(article.ID(d.Get("Message-ID"))); bound && h != boundHash(KeyOf(f.device)) {
		return errChainBusy
	}
	if kr.Ledger.Timeless() {
		return ErrTimeless
	}
	n := *f
	next := KeyOf(seedKey([32]byte(f.Next))).Digest()
	s := Stamp{Purpose: purpose, Identity: f.id, Signer: f.device, Time: kr.now(), Q: f.Chain.Q, N: &next}
	if len(f.Chain.P) == 32 {
		p := Digest(f.Chain.P)
		s.P = &p
	}
	digest, err := Sign(d, s)
	if err != nil {
		return err
	}
	after := newSeed()
	n.Seed, n.Next, n.device = f.Next, after[:], seedKey([32]byte(f.Next))
	n.Chain = &chainState{Q: f.Chain.Q + 1, P: digest[:]}
	if err := kr.write(&n); err != nil {
		d.Del("Article-Signature")
		return err
	}
	*f = n
	return nil
}

// recoverChain is Recover for an identity in mode chain: it goes on after the last
// article in force.
func (kr *Keyring) recoverChain(id ID, account string, rec func(*Head) (*owner, *Statement, error)) error {
	ch, err := kr.Ledger.Chain(id)
	if err != nil {
		return err
	}
	var head *Head
	at := &chainState{}
	if ch.Last != (Digest{}) {
		head = &Head{Q: ch.Q - 1, Digest: ch.Last}
		at.Q, at.P = ch.Q, append([]byte(nil), ch.Last[:]...)
	}
	o, s, err := rec(head)
	if err != nil {
		return err
	}
	f := chainFile(account, o, at)
	if old := kr.hosted[account]; old != nil {
		f.Statements = old.Statements
	}
	if err := kr.publish(f, s); err != nil {
		return err
	}
	kr.hosted[account] = f
	return nil
}

// ChainLink is one article of a chain, for people.
type ChainLink struct {
	Q       uint64 `json:"q"`
	Time    int64  `json:"time"` // Unix seconds
	Digest  string `json:"digest"`
	Subject string `json:"subject,omitempty"`
	Groups  string `json:"newsgroups,omitempty"`
	InForce bool   `json:"in_force"`
}

// ChainOf lists the articles known of an identity in mode chain, from number q on, at
// most most, with what is known of the whole.
func (l *Ledger) ChainOf(id ID, q uint64, most int) (c Chain, list []ChainLink, err error) {
	if c, err = l.Chain(id); err != nil {
		return c, nil, err
	}
	links, inputs, err := l.chainRows(id, q, most)
	if err != nil {
		return c, nil, err
	}
	for i, k := range links {
		_, in := c.InForce[k.digest]
		list = append(list, ChainLink{Q: k.field.Q, Time: k.field.Time, Digest: Digest(k.digest).String(), InForce: in,
			Subject: inputField(inputs[i], "subject"), Groups: inputField(inputs[i], "newsgroups")})
	}
	return c, list, nil
}

// Missing says from which numbers on links of chains are asked for at another node's
// directory (§7.3): for each identity in mode chain that is reached, the next one.
func (l *Ledger) Missing(most int) map[ID]uint64 {
	l.mu.Lock()
	var ids []ID
	for id := range l.chains {
		if l.isReached(id) && len(ids) < most {
			ids = append(ids, id)
		}
	}
	l.mu.Unlock()
	out := map[ID]uint64{}
	for _, id := range ids {
		if c, err := l.Chain(id); err == nil {
			out[id] = c.Q
		}
	}
	return out
}

// AddLink keeps a link that came as §7.3 sends it: its signing input and signature.
func (l *Ledger) AddLink(id ID, input string, sig [64]byte) error {
	k, err := linkOf(input, sig)
	if err != nil {
		return err
	}
	if k.field.Identity != id {
		return errors.New("it is a link of another chain")
	}
	return l.AddChain(k.field, []byte(input))
}

// String says how the chain stands, for people.
func (c Chain) String() string {
	switch {
	case c.Frozen:
		return fmt.Sprintf("this chain is frozen: two different articles claim number %d; its recovery words can resolve it: litfass key recover", c.Q)
	case len(c.InForce) == 0:
		return "this chain has no article yet"
	}
	return fmt.Sprintf("this chain is whole: %d articles, each names the one before; the next is number %d", len(c.InForce), c.Q)
}
