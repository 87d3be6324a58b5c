package pki

import (
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/litfass/litfass/internal/state"
)

// Errors of keys and identities, fit to be shown.
var (
	ErrNoIdentity = errors.New("this account has no identity here: make one with `litfass key new --account NAME`")
	ErrHasOne     = errors.New("this account has an identity already")
	ErrTimeless   = errors.New("the clock of this node is before the program was built: set it first, or what is signed now would be dated wrong")
)

// renewBefore is how long before its end an arrow of a hosted key is renewed at login.
const renewBefore = 60 * 24 * time.Hour

// secret is what stands sealed in an account's file.
type secret struct {
	Seed, Next []byte
}

func (o *owner) secret() []byte {
	b, _ := json.Marshal(secret{o.Seed[:], o.Next[:]}) // two byte slices can not fail
	return b
}

// sealOwner puts the owner's keys into the file, sealed under the password.
func (kr *Keyring) sealOwner(f *keyFile, o *owner, password string) (err error) {
	f.Sealed, err = kr.sealer.seal(password, o.secret(), []byte(f.Identity))
	return err
}

// unseal opens an account's identity.
func (kr *Keyring) unseal(f *keyFile, password string) (*owner, error) {
	b, err := kr.sealer.open(password, f.Sealed, []byte(f.Identity))
	if err != nil {
		return nil, err
	}
	var s secret
	if err := json.Unmarshal(b, &s); err != nil || len(s.Seed) != 32 || len(s.Next) != 32 {
		return nil, errors.New("the sealed key is damaged: put back a copy of the key file, or use the recovery words")
	}
	return &owner{ID: f.id, Seed: [32]byte(s.Seed), Next: [32]byte(s.Next)}, nil
}

// NewIdentity makes an identity for an account, with a device key that this node
// keeps, and gives it the right to post from the node. The words recover it; they
// are shown once and kept nowhere.
func (kr *Keyring) NewIdentity(account, password string) (id ID, words []string, err error) {
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
	o, incept, err := found(kr.now(), &commit)
	if err != nil {
		return ID{}, nil, err
	}
	device := newSeed()
	f := &keyFile{Format: keyFormat, Account: account, Identity: o.ID.String(), Seed: device[:], id: o.ID, device: seedKey(device)}
	if err := kr.sealOwner(f, o, password); err != nil {
		return ID{}, nil, err
	}
	list := []*Statement{incept}
	for _, g := range deviceGrants(KeyOf(f.device)) {
		s, err := o.arrow(kr.now(), g, nil)
		if err != nil {
			return ID{}, nil, err
		}
		list = append(list, s)
	}
	if err := kr.publish(f, list...); err != nil {
		return ID{}, nil, err
	}
	kr.hosted[account] = f
	grant, err := kr.node.nodeOwner().arrow(kr.now(), Grant{Purpose: "post", Subject: o.ID.Subject()}, nil)
	if err != nil {
		return ID{}, nil, err
	}
	return o.ID, Words(recovery), kr.publish(kr.node, grant)
}

// deviceGrants are the arrows that a hosted key gets: it may post, and approve
// where its identity may moderate. It can not vouch, create or rotate.
func deviceGrants(k Key) []Grant {
	return []Grant{{Purpose: "post", Subject: k.Subject()}, {Purpose: "moderate", Subject: k.Subject()}}
}

// Login renews the arrows of the account's device where they end soon; it is
// called when the account's password was just found right. A wrong password
// changes nothing.
func (kr *Keyring) Login(account, password string) error {
	kr.mu.Lock()
	defer kr.mu.Unlock()
	f, ok := kr.hosted[account]
	if !ok || f.Chain != nil || kr.Ledger.Timeless() {
		return nil
	}
	var due []*Statement
	rows, err := kr.Ledger.rows(f.id, 'a')
	if err != nil {
		return err
	}
	for _, r := range rows {
		if !r.Revoked && r.Subject == KeyOf(f.device).Subject() && r.Until-kr.now().Unix() < int64(renewBefore/time.Second) {
			due = append(due, r.Statement)
		}
	}
	if len(due) == 0 {
		return nil
	}
	o, err := kr.unseal(f, password)
	if err != nil {
		return err
	}
	return kr.renew(f, o, due)
}

// renew signs arrows again with their full time.
func (kr *Keyring) renew(f *keyFile, o *owner, due []*Statement) error {
	var list []*Statement
	for _, old := range due {
		s, err := o.arrow(kr.now(), Grant{Purpose: old.Purpose, Subject: old.Subject, Scope: old.Scope, Depth: int(old.Depth), Param: old.Param}, old)
		if err != nil {
			return err
		}
		list = append(list, s)
	}
	return kr.publish(f, list...)
}

// Reseal puts the account's identity under a new password.
func (kr *Keyring) Reseal(account, old, password string) error {
	kr.mu.Lock()
	defer kr.mu.Unlock()
	f, ok := kr.hosted[account]
	if !ok || f.Chain != nil {
		return nil
	}
	o, err := kr.unseal(f, old)
	if err != nil {
		return err
	}
	if err := kr.sealOwner(f, o, password); err != nil {
		return err
	}
	return kr.write(f)
}

// SealedUnder says whether the account's identity opens with password, or there is
// none to open. It costs one Argon2id (16 MiB).
func (kr *Keyring) SealedUnder(account, password string) bool {
	kr.mu.RLock()
	defer kr.mu.RUnlock()
	f, ok := kr.hosted[account]
	if !ok || f.Chain != nil {
		return true
	}
	_, err := kr.unseal(f, password)
	return err == nil
}

// Forget removes an account's key file. The identity lives on: who holds the
// recovery words can use it elsewhere.
func (kr *Keyring) Forget(account string) error {
	kr.mu.Lock()
	defer kr.mu.Unlock()
	if _, ok := kr.hosted[account]; !ok {
		return nil
	}
	if err := os.Remove(kr.accountPath(account)); err != nil {
		return fmt.Errorf("forget the keys of %s: %w", account, err)
	}
	delete(kr.hosted, account)
	return nil
}

// open gives the owner behind an account ("": the node); l.mu need not be held,
// kr.mu must.
func (kr *Keyring) open(account, password string) (*keyFile, *owner, error) {
	if kr.Ledger.Timeless() {
		return nil, nil, ErrTimeless
	}
	if account == "" {
		return kr.node, kr.node.nodeOwner(), nil
	}
	f, ok := kr.hosted[account]
	if !ok {
		return nil, nil, ErrNoIdentity
	}
	if f.Chain != nil {
		return nil, nil, ErrChain
	}
	o, err := kr.unseal(f, password)
	return f, o, err
}

// close puts an owner's new keys into its file.
func (kr *Keyring) close(f *keyFile, o *owner, password string) error {
	if f.Account == "" {
		f.Seed, f.Next, f.device = append([]byte(nil), o.Seed[:]...), append([]byte(nil), o.Next[:]...), o.key()
		return nil
	}
	return kr.sealOwner(f, o, password)
}

// Rotate puts the announced key of an account ("": the node) in force and
// announces another; all arrows are signed again. badSince says since when the
// old key was in wrong hands, or is nil.
func (kr *Keyring) Rotate(account, password string, badSince *time.Time) error {
	kr.mu.Lock()
	defer kr.mu.Unlock()
	f, o, err := kr.open(account, password)
	if err != nil {
		return err
	}
	st, err := kr.Ledger.Identity(o.ID)
	if err != nil {
		return err
	}
	if st.Status != Live {
		return kr.standing(o.ID, st)
	}
	next, rotation, err := o.rotate(kr.now(), st.Current, unix(badSince))
	if err != nil {
		return err
	}
	arrows, err := kr.signAgain(next, badSince)
	if err != nil {
		return err
	}
	n := *f // a failed write leaves the old file and the old keys
	if err := kr.close(&n, next, password); err != nil {
		return err
	}
	if err := kr.publish(&n, append([]*Statement{rotation}, arrows...)...); err != nil {
		return err
	}
	*f = n
	return nil
}

func unix(t *time.Time) *int64 {
	if t == nil {
		return nil
	}
	n := t.Unix()
	return &n
}

// signAgain signs the counting arrows of an identity with its new key (§3.4),
// those that have not ended, nor were made while the old key was in wrong hands.
func (kr *Keyring) signAgain(o *owner, badSince *time.Time) ([]*Statement, error) {
	arrows, err := kr.Ledger.Arrows(o.ID)
	if err != nil {
		return nil, err
	}
	var out []*Statement
	for _, a := range arrows {
		if a.Until <= kr.now().Unix() || badSince != nil && a.Time >= badSince.Unix() {
			continue
		}
		s, err := o.again(kr.now(), a, a.Revoked, a.BadSince)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// Arrows returns the arrows of an identity that count.
func (l *Ledger) Arrows(id ID) ([]*Statement, error) {
	events, err := l.rows(id, 'e')
	if err != nil {
		return nil, err
	}
	rows, err := l.rows(id, 'a')
	if err != nil {
		return nil, err
	}
	d, _ := derive(id, events, rows)
	var out []*Statement
	for _, c := range d.arrows {
		out = append(out, c.Statement)
	}
	return out, nil
}

// Recover takes an identity back with its recovery words: new keys, new words,
// a new device key, arrows signed again. account is who hosts it here from now
// on. from is the event to go on from (nil: the one in force). What was posted
// since badSince with the keys before is disputed.
func (kr *Keyring) Recover(id ID, words, account, password string, from *Statement, badSince *time.Time) ([]string, error) {
	return kr.recover(id, words, account, password, from, badSince, nil)
}

// recover is Recover; next, if not nil, is the policy that can recover it from then
// on, instead of new words.
func (kr *Keyring) recover(id ID, words, account, password string, from *Statement, badSince *time.Time, next *Policy) ([]string, error) {
	seed, err := ParseWords(words)
	if err != nil {
		return nil, err
	}
	key, policy := recoveryPolicy(seed)
	kr.mu.Lock()
	defer kr.mu.Unlock()
	if kr.Ledger.Timeless() {
		return nil, ErrTimeless
	}
	st, err := kr.Ledger.Identity(id)
	if err != nil {
		return nil, err
	}
	if err := recoverable(&st, policy); err != nil {
		return nil, err
	}
	if f := kr.hosted[account]; f != nil && f.id != id {
		return nil, fmt.Errorf("the account %s has another identity already: recover into a new account", account)
	}
	if from == nil {
		from = st.Current
	}
	recovery := newSeed()
	_, nextPolicy := recoveryPolicy(recovery)
	if next != nil {
		nextPolicy = next
	}
	commit := nextPolicy.Digest()
	rec := func(head *Head) (*owner, *Statement, error) {
		return recoverWith(kr.now(), from, policy, []crypto.Signer{key}, &commit, head, unix(badSince))
	}
	if st.Terms[0].Event.Chain {
		return Words(recovery), kr.recoverChain(id, account, rec)
	}
	o, s, err := rec(nil)
	if err != nil {
		return nil, err
	}
	return Words(recovery), kr.takeOver(account, password, o, s, next, badSince)
}

// takeOver puts a recovered identity into an account's file: a new device key, and
// its arrows signed again. guardians is the new policy if it is not one of words.
func (kr *Keyring) takeOver(account, password string, o *owner, rec *Statement, guardians *Policy, badSince *time.Time) error {
	arrows, err := kr.signAgain(o, badSince)
	if err != nil {
		return err
	}
	device := newSeed()
	f := &keyFile{Format: keyFormat, Account: account, Identity: o.ID.String(), Seed: device[:], id: o.ID, device: seedKey(device)}
	if guardians != nil {
		f.Guardians = guardians.Text()
	}
	if old := kr.hosted[account]; old != nil {
		f.Statements = old.Statements
		if arrows, err = kr.retire(o, arrows, KeyOf(old.device).Subject(), unix(badSince)); err != nil {
			return err
		}
	}
	for _, g := range deviceGrants(KeyOf(f.device)) {
		s, err := o.arrow(kr.now(), g, nil)
		if err != nil {
			return err
		}
		arrows = append(arrows, s)
	}
	if err := kr.sealOwner(f, o, password); err != nil {
		return err
	}
	if err := kr.publish(f, append([]*Statement{rec}, arrows...)...); err != nil {
		return err
	}
	kr.hosted[account] = f
	return nil
}

// retire turns the arrows to a lost device, just signed again, into revoked ones.
func (kr *Keyring) retire(o *owner, list []*Statement, device Subject, badSince *int64) (out []*Statement, err error) {
	for _, s := range list {
		if s.Subject == device {
			if s, err = o.again(kr.now(), s, true, badSince); err != nil {
				return nil, err
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// recoverable says why an identity can not be recovered with a policy.
func recoverable(st *State, policy *Policy) error {
	switch st.Status {
	case Unheard:
		return errors.New("no inception of this identity is known here: wait for the news, or bring its statements with `litfass key trust --file`")
	case Dead:
		return &StandingError{ID: st.Current.ID, State: *st}
	}
	base := epoch(st)
	if base.Recover == nil {
		return errors.New("this identity was made without recovery words")
	}
	if *base.Recover != policy.Digest() {
		if len(policy.Keys) > 1 {
			return errors.New("these are not the guardians of this identity, or not all of them in their order: use the line that `litfass key guardian name` printed")
		}
		return errors.New("these words are right in themselves, but they are not those of this identity (or they were used already: the newest count)")
	}
	return nil
}

// Vouch gives an arrow from an account's identity ("": the node's).
func (kr *Keyring) Vouch(account, password string, g Grant) (*Statement, error) {
	kr.mu.Lock()
	defer kr.mu.Unlock()
	f, o, err := kr.open(account, password)
	if err != nil {
		return nil, err
	}
	if g.Scope == "" {
		g.Scope = "*"
	}
	if _, _, _, err := ParseRate(g.Param); err != nil {
		return nil, err
	}
	old, err := kr.Ledger.inSlot(o.ID, g.Purpose, g.Subject, g.Scope)
	if err != nil {
		return nil, err
	}
	s, err := o.arrow(kr.now(), g, old)
	if err != nil {
		return nil, err
	}
	return s, kr.publish(f, s)
}

// inSlot returns the newest arrow of a slot.
func (l *Ledger) inSlot(id ID, purpose string, sub Subject, scope string) (best *Statement, err error) {
	want := slotOf(&Statement{Purpose: purpose, Subject: sub, Scope: scope})
	err = l.db.View(func(tx *state.Tx) error {
		rows, err := rowsIn(tx, string(id[:])+"a"+want)
		for _, r := range rows {
			if best == nil || r.Version > best.Version {
				best = r.Statement
			}
		}
		return err
	})
	return best, err
}

// Revoke takes back the arrows from an account's identity ("": the node's) to sub,
// of that purpose ("": all). It says how many.
func (kr *Keyring) Revoke(account, password string, sub Subject, purpose string, badSince *time.Time) (int, error) {
	kr.mu.Lock()
	defer kr.mu.Unlock()
	f, o, err := kr.open(account, password)
	if err != nil {
		return 0, err
	}
	arrows, err := kr.Ledger.Arrows(o.ID)
	if err != nil {
		return 0, err
	}
	var list []*Statement
	for _, a := range arrows {
		if a.Subject != sub || purpose != "" && a.Purpose != purpose || a.Revoked {
			continue
		}
		s, err := o.again(kr.now(), a, true, unix(badSince))
		if err != nil {
			return 0, err
		}
		list = append(list, s)
	}
	return len(list), kr.publish(f, list...)
}

// AddDevice gives a further key of the account's identity the right to post: a
// second machine, a browser. The key stays where it is; only its public half comes here.
func (kr *Keyring) AddDevice(account, password string, k Key, scope string, days int) (*Statement, error) {
	return kr.Vouch(account, password, Grant{Purpose: "post", Subject: k.Subject(), Scope: scope, Days: days})
}

// StandingError says in plain words why an identity can not be used.
type StandingError struct {
	ID    ID
	State State
	By    *Policy // its guardians, if they are known here; nil: words
}

// who says who can recover the identity, and how.
func (e *StandingError) who() string {
	switch {
	case e.By != nil:
		return e.By.Describe() + " can %s: litfass key guardian ask"
	case len(e.State.Terms) > 0 && epoch(&e.State).Recover == nil:
		return "it was made without recovery words, so nobody can %s; make a new one"
	}
	return "its recovery words can %s: litfass key recover"
}

func (e *StandingError) Error() string {
	on := func(s *Statement) string { return time.Unix(s.Time, 0).UTC().Format("2 January") }
	switch e.State.Status {
	case Frozen:
		if e.State.Missing != nil {
			return fmt.Sprintf("this identity is frozen: a recovery of %s is known, but not the event it goes on from; it will come with the news", on(e.State.Missing))
		}
		when := on(e.State.Evidence[0])
		if other := on(e.State.Evidence[1]); other != when {
			when += " and " + other
		}
		return "this identity is frozen: two different next keys were announced on " + when + "; " + fmt.Sprintf(e.who(), "resolve it")
	case Dead:
		return "this identity is dead: its recovery was used twice in different ways, so nobody can tell who owns it; make a new one"
	case Retired:
		return "this identity was closed by its owner on " + on(e.State.Current) + "; " + fmt.Sprintf(e.who(), "open it again")
	case Unheard:
		return "nothing is known of this identity here yet"
	}
	return "this identity is live"
}

// Standing says in plain words how an identity stands.
func (kr *Keyring) Standing(id ID) (string, error) {
	st, err := kr.Ledger.Identity(id)
	if err != nil {
		return "", err
	}
	if len(st.Terms) > 0 && st.Terms[0].Event.Chain && st.Status == Live {
		ch, err := kr.Ledger.Chain(id)
		return ch.String(), err
	}
	kr.mu.RLock()
	defer kr.mu.RUnlock()
	return kr.standing(id, st).Error(), nil
}

func (kr *Keyring) standing(id ID, st State) *StandingError {
	e := &StandingError{ID: id, State: st}
	for _, f := range kr.hosted {
		if f.id == id && f.Guardians != "" {
			e.By, _ = ParsePolicy(f.Guardians) // our own file: it parses, or is not mentioned
		}
	}
	return e
}

// epoch is the event whose commitment recovers an identity.
func epoch(st *State) *Statement {
	base := st.Terms[0].Event
	for _, t := range st.Terms {
		if !t.Undone && t.Event.Type == TypeRecover {
			base = t.Event
		}
	}
	return base
}

// LentKey is a key that an agent lends the use of.
type LentKey struct {
	Key     ed25519.PrivateKey
	Comment string
}

// Lend opens the keys of an account for an agent: that of its device here, and
// the one that speaks for its identity.
func (kr *Keyring) Lend(account, password string) ([]LentKey, error) {
	kr.mu.RLock()
	defer kr.mu.RUnlock()
	f, o, err := kr.open(account, password)
	if err != nil {
		return nil, err
	}
	return []LentKey{{f.device, account + " device id:" + f.Identity}, {o.key(), account + " identity id:" + f.Identity}}, nil
}

// IsSignedPart says whether text is the signed part of a well-formed statement.
func IsSignedPart(text string) bool {
	if len(text) > MaxRecover {
		return false
	}
	_, rest, err := parseOne(text + "sig " + Key{}.Text() + " " + b64.EncodeToString(make([]byte, 64)) + "\n")
	return err == nil && rest == ""
}
