package pki

import (
	"crypto"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Guardians are people who together, some of them, can give an identity back to its
// owner (§3.2, policy). Each has a key of 24 words, on paper; what they sign travels by
// hand, as text.

// NewGuardian makes a guardian's key: its words, kept nowhere, and the key.
func NewGuardian() (words []string, k Key) {
	seed := newSeed()
	return Words(seed), KeyOf(seedKey(seed))
}

// ParsePolicy reads a policy as Policy.Text writes it: "2 ed25519 KEY,KEY,KEY".
func ParsePolicy(text string) (*Policy, error) {
	p, err := parsePolicy(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("the line of the guardians %w", err)
	}
	return p, nil
}

// Describe says it for people: "2 of 3 guardians".
func (p *Policy) Describe() string {
	if len(p.Keys) == 1 {
		return "its recovery words"
	}
	return fmt.Sprintf("%d of %d guardians", p.M, len(p.Keys))
}

// NameGuardians puts an account's identity into the hands of guardians, need of whom can
// recover it from then on instead of its words, which are used up by this. It returns the
// line that says who they are; recovering needs it, and nothing else has it.
func (kr *Keyring) NameGuardians(account, password, words string, need int, keys []Key) (line string, err error) {
	p := &Policy{M: need, Keys: keys}
	if len(keys) < 2 || need < 1 || need > len(keys) {
		return "", errors.New("name two guardians or more, and need one of them or more")
	}
	if p, err = ParsePolicy(p.Text()); err != nil {
		return "", err
	}
	id, ok := kr.Account(account)
	if !ok {
		return "", ErrNoIdentity
	}
	if !kr.SealedUnder(account, password) {
		return "", ErrPassword
	}
	_, err = kr.recover(id, words, account, password, nil, nil, p)
	return p.Text(), err
}

// pending is a recovery that waits for guardians, in a file of its own.
type pending struct {
	Format  string // keyFormat
	ID      string
	Part    string  // the signed part of the recover
	Sealed  *Sealed // the new keys, under the new password
	Account string
}

func (kr *Keyring) pendingPath(account string) string {
	return filepath.Join(kr.dir, "accounts", account+".recovery")
}

// AskGuardians begins a recovery: it makes new keys for the identity, sealed under
// password, and returns what the guardians must sign, and the new recovery words, which
// hold once enough of them have. line is what NameGuardians returned.
func (kr *Keyring) AskGuardians(id ID, line, account, password string, badSince *time.Time) (part string, words []string, err error) {
	policy, err := ParsePolicy(line)
	if err != nil {
		return "", nil, err
	}
	kr.mu.Lock()
	defer kr.mu.Unlock()
	if kr.Ledger.Timeless() {
		return "", nil, ErrTimeless
	}
	st, err := kr.Ledger.Identity(id)
	if err != nil {
		return "", nil, err
	}
	if err := recoverable(&st, policy); err != nil {
		return "", nil, err
	}
	if st.Terms[0].Event.Chain {
		return "", nil, errors.New("a chain is recovered with its words: it has no guardians here")
	}
	if f := kr.hosted[account]; f != nil && f.id != id {
		return "", nil, fmt.Errorf("the account %s has another identity already: recover into a new account", account)
	}
	recovery := newSeed()
	_, next := recoveryPolicy(recovery)
	commit := next.Digest()
	o := &owner{ID: id, Seed: newSeed(), Next: newSeed()}
	nextKey := KeyOf(seedKey(o.Next)).Digest()
	s := Statement{Type: TypeRecover, ID: id, Seq: st.Current.Seq + 1, Prev: st.Current.digest, Time: kr.now().Unix(), Policy: policy,
		Key: KeyOf(o.key()), Next: &nextKey, Recover: &commit, BadSince: unix(badSince)}
	p := pending{Format: keyFormat, ID: id.String(), Part: s.compose(), Account: account}
	if p.Sealed, err = kr.sealer.seal(password, o.secret(), []byte(p.ID)); err != nil {
		return "", nil, err
	}
	b, err := json.MarshalIndent(p, "", "\t")
	if err != nil {
		return "", nil, err
	}
	return p.Part, Words(recovery), writeFile(kr.pendingPath(account), append(b, '\n'))
}

// Approval is what a guardian is asked to sign, for people.
type Approval struct {
	ID       ID
	Time     time.Time
	Policy   *Policy
	BadSince *time.Time
}

// Approve signs, with a guardian's words, what AskGuardians returned. The line it
// returns goes back to the owner.
func Approve(part, words string) (sig string, what Approval, err error) {
	seed, err := ParseWords(words)
	if err != nil {
		return "", what, err
	}
	what, err = ReadApproval(part)
	if err != nil {
		return "", what, err
	}
	key := seedKey(seed)
	if !what.Policy.has(KeyOf(key)) {
		return "", what, errors.New("these words are right in themselves, but they are those of no guardian of this identity")
	}
	raw, err := key.Sign(rand.Reader, []byte(part), crypto.Hash(0))
	if err != nil {
		return "", what, fmt.Errorf("sign: %w", err)
	}
	return "sig " + KeyOf(key).Text() + " " + b64.EncodeToString(raw), what, nil
}

// ReadApproval reads what AskGuardians returned.
func ReadApproval(part string) (a Approval, err error) {
	s, rest, err := parseOne(part + "sig " + Key{}.Text() + " " + b64.EncodeToString(make([]byte, 64)) + "\n")
	if err != nil || rest != "" || s.Type != TypeRecover {
		return a, errors.New("that is no request to recover an identity: it begins with pki-statement-v1 and ends with its last line, as `litfass key guardian ask` wrote it")
	}
	a = Approval{ID: s.ID, Time: time.Unix(s.Time, 0), Policy: s.Policy}
	if s.BadSince != nil {
		t := time.Unix(*s.BadSince, 0)
		a.BadSince = &t
	}
	return a, nil
}

// FinishRecovery takes the identity over with the guardians' lines.
func (kr *Keyring) FinishRecovery(account, password string, sigs []string) error {
	kr.mu.Lock()
	defer kr.mu.Unlock()
	var p pending
	b, err := os.ReadFile(kr.pendingPath(account))
	if errors.Is(err, os.ErrNotExist) {
		return errors.New("no recovery waits for this account: begin with `litfass key guardian ask`")
	} else if err != nil {
		return fmt.Errorf("read a recovery: %w", err)
	}
	if err := json.Unmarshal(b, &p); err != nil || p.Format != keyFormat {
		return errors.New("the recovery that waits is damaged: begin again with `litfass key guardian ask`")
	}
	f := &keyFile{Identity: p.ID, Sealed: p.Sealed}
	if f.id, err = ParseID(p.ID); err != nil {
		return err
	}
	o, err := kr.unseal(f, password)
	if err != nil {
		return err
	}
	what, err := ReadApproval(p.Part)
	if err != nil {
		return err
	}
	text, have := p.Part, map[string]bool{}
	for _, line := range sigs {
		if line = strings.TrimSpace(line); line != "" && !have[line] && len(have) < what.Policy.M {
			have[line] = true
			text += line + "\n"
		}
	}
	if len(have) < what.Policy.M {
		return fmt.Errorf("%d guardians have signed, %d must: the rest of their lines is missing", len(have), what.Policy.M)
	}
	own, err := o.key().Sign(rand.Reader, []byte(p.Part), crypto.Hash(0))
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	rec, err := ParseStatement(text + "sig " + KeyOf(o.key()).Text() + " " + b64.EncodeToString(own) + "\n")
	if err == nil {
		err = rec.CheckSignatures()
	}
	if err != nil {
		return fmt.Errorf("what the guardians signed does not hold: %w", err)
	}
	if err := kr.takeOver(account, password, o, rec, nil, what.BadSince); err != nil {
		return err
	}
	return os.Remove(kr.pendingPath(account))
}
