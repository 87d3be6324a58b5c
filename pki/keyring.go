package pki

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
)

// bOut lists the statements made here that are still to be posted: N -> nil.
const bOut = "out"

// qBlock is how many numbers are reserved on disk at a time: after a crash at
// most that many are skipped, none is used twice.
const qBlock = 256

// Keyring holds the keys of this node and of the accounts it hosts, in files of
// one folder, mode 0600:
//
//	node.json            the node's identity: it serves by itself, so it is not sealed
//	accounts/NAME.json   an account's device key, and its identity sealed under the password
//
// Files are written anew and renamed over. It answers agent.Keys.
type Keyring struct {
	Ledger *Ledger
	// Unknown, if set (before use), is told of each article that came signed by a key that
	// nothing is known of. It must not wait.
	Unknown func(ID, Key)

	dir string
	now func() time.Time

	sealer sealer
	mu     sync.RWMutex
	node   *keyFile
	hosted map[string]*keyFile
	q      map[Key]*numbers
	qmu    sync.Mutex
	made   made
}

// numbers are the q of one key: next to use, and the end of the block.
type numbers struct{ next, end uint64 }

// keyFile is one file of the keyring.
type keyFile struct {
	Format     string // "litfass-key-1"
	Account    string `json:",omitempty"`
	Identity   string
	Seed       []byte      `json:",omitempty"` // node, chain: key in force; account: the device's key
	Next       []byte      `json:",omitempty"` // node, chain: key announced
	Sealed     *Sealed     `json:",omitempty"` // account: the identity's keys
	Chain      *chainState `json:",omitempty"` // account: its identity is a chain; nothing is sealed
	Guardians  string      `json:",omitempty"` // account: the policy that can recover it, if it is not one of words
	Statements []string    // what the owner signed, so that pki.db can be filled again

	id     ID
	device ed25519.PrivateKey
}

const keyFormat = "litfass-key-1"

// OpenKeyring reads the folder, made if need be; at the first start it makes the
// node's identity, which is then the node's own anchor for every purpose.
func OpenKeyring(dir string, l *Ledger) (*Keyring, error) {
	kr := &Keyring{Ledger: l, dir: dir, now: l.now, hosted: map[string]*keyFile{}, q: map[Key]*numbers{}}
	if err := os.MkdirAll(filepath.Join(dir, "accounts"), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder for keys: %w", err)
	}
	if err := kr.openNode(); err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "accounts", "*.json"))
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	for _, path := range files {
		f, err := kr.read(path)
		if err != nil {
			return nil, err
		}
		kr.hosted[f.Account] = f
	}
	return kr, nil
}

func (kr *Keyring) nodePath() string { return filepath.Join(kr.dir, "node.json") }

func (kr *Keyring) accountPath(name string) string {
	return filepath.Join(kr.dir, "accounts", name+".json")
}

func (kr *Keyring) openNode() error {
	f, err := kr.read(kr.nodePath())
	if err == nil {
		kr.node = f
		return nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	o, incept, err := found(kr.now(), nil)
	if err != nil {
		return err
	}
	f = &keyFile{Format: keyFormat, Identity: o.ID.String(), Seed: o.Seed[:], Next: o.Next[:], id: o.ID, device: o.key()}
	// Written before anything refers to it: a crash in between leaves a node
	// whose identity is in its file and comes into the ledger below, at the next start.
	if err := kr.publish(f, incept); err != nil {
		return err
	}
	kr.node = f
	return kr.Ledger.Trust(Anchor{ID: o.ID, Purpose: "*", Scope: "*", Depth: 8, Name: "this node"})
}

// read reads one key file and sees that what its owner signed is in the ledger.
func (kr *Keyring) read(path string) (*keyFile, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f := &keyFile{}
	if err := json.Unmarshal(b, f); err != nil || f.Format != keyFormat {
		return nil, fmt.Errorf("%s is damaged or of a later version: put back a copy made by `litfass backup`: %w", path, err)
	}
	if f.id, err = ParseID(f.Identity); err != nil || len(f.Seed) != 32 || f.Chain != nil && len(f.Next) != 32 {
		return nil, fmt.Errorf("%s is damaged: put back a copy made by `litfass backup`", path)
	}
	f.device = ed25519.NewKeyFromSeed(f.Seed)
	if _, status := kr.Ledger.Standing(f.id); status != Unheard {
		return f, nil
	}
	var list []*Statement
	for _, text := range f.Statements {
		s, err := ParseStatement(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		list = append(list, s)
	}
	if _, err := kr.Ledger.Apply("", list); err != nil {
		return nil, err
	}
	if f.Account == "" {
		return f, kr.Ledger.Trust(Anchor{ID: f.id, Purpose: "*", Scope: "*", Depth: 8, Name: "this node"})
	}
	return f, nil
}

// write writes a key file: anew, synced, renamed over.
func (kr *Keyring) write(f *keyFile) error {
	path := kr.nodePath()
	if f.Account != "" {
		path = kr.accountPath(f.Account)
	}
	b, err := json.MarshalIndent(f, "", "\t")
	if err != nil {
		return fmt.Errorf("write a key file: %w", err)
	}
	return writeFile(path, append(b, '\n'))
}

// writeFile writes a file of mode 0600 anew, synced, and renames it over.
func writeFile(path string, b []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".key-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write a key file: %w", err)
	}
	_, err = tmp.Write(b)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		os.Remove(tmp.Name())
		return fmt.Errorf("write a key file: %w", err)
	}
	if d, err := os.Open(filepath.Dir(path)); err == nil {
		d.Sync()
		d.Close()
	}
	return nil
}

// publish writes a key file with what its owner has just signed, takes that into
// the ledger, and queues it for posting.
func (kr *Keyring) publish(f *keyFile, list ...*Statement) error {
	for _, s := range list {
		f.Statements = append(f.Statements, s.text)
	}
	if err := kr.write(f); err != nil {
		return err
	}
	return kr.announce(list...)
}

// announce takes statements made here into the ledger and queues them.
func (kr *Keyring) announce(list ...*Statement) error {
	out, err := kr.Ledger.applyAll("", list, true)
	if err != nil {
		return err
	}
	for i, fate := range out.Fates {
		if fate == Refused {
			return fmt.Errorf("the ledger refuses what was just signed: %w", out.Errs[i])
		}
	}
	return nil
}

// NodeID is the identity of this node.
func (kr *Keyring) NodeID() ID {
	kr.mu.RLock()
	defer kr.mu.RUnlock()
	return kr.node.id
}

// Account returns the identity of a hosted account.
func (kr *Keyring) Account(name string) (ID, bool) {
	kr.mu.RLock()
	defer kr.mu.RUnlock()
	f, ok := kr.hosted[name]
	if !ok {
		return ID{}, false
	}
	return f.id, true
}

// Accounts lists the hosted accounts by name.
func (kr *Keyring) Accounts() []string {
	kr.mu.RLock()
	defer kr.mu.RUnlock()
	var out []string
	for name := range kr.hosted {
		out = append(out, name)
	}
	sort.Strings(out)
	return out
}

// nodeOwner is the node as the owner of its identity.
func (f *keyFile) nodeOwner() *owner {
	return &owner{ID: f.id, Seed: [32]byte(f.Seed), Next: [32]byte(f.Next)}
}

// signer is the key that signs for an account, or the node's.
func (kr *Keyring) signer(account string) *keyFile {
	kr.mu.RLock()
	defer kr.mu.RUnlock()
	if f, ok := kr.hosted[account]; ok && account != "" {
		return f
	}
	return kr.node
}

// Signer says which key will sign what account posts: agent.Keys.
func (kr *Keyring) Signer(_ context.Context, account, purpose string) (h, used string, err error) {
	f := kr.signer(account)
	if f.Account == "" {
		if purpose == UseControl {
			return "", "", nil // its Cancel-Key speaks
		}
		purpose = UseGate
	}
	return boundHash(KeyOf(f.device)), purpose, nil
}

// SignDraft signs a draft with the key that Signer named: agent.Keys.
func (kr *Keyring) SignDraft(_ context.Context, d *article.Draft, account, purpose string) error {
	f := kr.signer(account)
	if purpose == UseApprove && f.Account != "" && !kr.deviceModerates(f) {
		f = kr.signer("")
	}
	if f.Chain != nil {
		return kr.signLink(account, purpose, d)
	}
	q, err := kr.number(KeyOf(f.device))
	if err != nil {
		return err
	}
	s, err := sign(d, Stamp{Purpose: purpose, Identity: f.id, Signer: f.device, Time: kr.now(), Q: q})
	if err == nil {
		kr.made.add(s)
	}
	return err
}

// deviceModerates says whether other nodes could believe an approval by this device.
func (kr *Keyring) deviceModerates(f *keyFile) bool {
	l := kr.Ledger
	l.mu.RLock()
	defer l.mu.RUnlock()
	n, ok := l.g.find(KeyOf(f.device).Subject())
	if !ok {
		return false
	}
	now := l.now().Unix()
	for at := l.g.nodes.at(n).in; at != 0; {
		e := l.g.edges.at(at - 1)
		at = e.nextIn
		if l.g.names[e.purpose] == "moderate" && !e.revoked && now >= e.from && now < e.until {
			return true
		}
	}
	return false
}

// number returns the next q of a key; blocks are reserved on disk.
func (kr *Keyring) number(k Key) (uint64, error) {
	kr.qmu.Lock()
	defer kr.qmu.Unlock()
	n := kr.q[k]
	if n == nil {
		n = &numbers{}
		kr.q[k] = n
	}
	if n.next == n.end {
		err := kr.Ledger.db.Update(func(tx *state.Tx) error {
			var from uint64
			if raw := tx.Get(bQ, string(k[:])); len(raw) == 8 {
				from = readNum(raw)
			}
			n.next, n.end = from, from+qBlock
			return tx.Put(bQ, string(k[:]), []byte(num(n.end)))
		})
		if err != nil {
			n.next, n.end = 0, 0
			return 0, fmt.Errorf("reserve numbers for signatures: %w", err)
		}
	}
	n.next++
	return n.next - 1, nil
}

// Verify checks an article that comes now: agent.Keys.
func (kr *Keyring) Verify(_ context.Context, a *article.Article, _ time.Time, imported bool) (article.Proof, string, time.Time, error) {
	r := examineKnowing(a, kr.made.holds)
	if r.Err != nil {
		return r.Proof, string(ResultInvalid), time.Time{}, r.Err
	}
	if err := kr.Ledger.note(&r); err != nil {
		return r.Proof, "", time.Time{}, err
	}
	groups, _ := article.LenientGroups(a.Overview().Newsgroups, 0)
	result, hold, err := kr.Ledger.arriving(&r.Proof, groups, verb(a), func() bool { return kr.own(&r.Proof) })
	if imported {
		hold = time.Time{}
	}
	if errors.Is(err, ErrRate) {
		return r.Proof, string(result), hold, err
	}
	if err != nil {
		return r.Proof, "", time.Time{}, err
	}
	if result == ResultUnknownKey && !imported && kr.Unknown != nil && r.Author != nil {
		kr.Unknown(r.Author.Identity, r.Author.Key)
	}
	if result == ResultInvalid {
		return r.Proof, string(result), hold, errors.New("the key that signed it did not speak for its identity any more at that time")
	}
	return r.Proof, string(result), hold, nil
}

// own says whether a key of this node, or of an account here, signed. An identity in
// mode chain is one's own by its id: its keys are gone when they have signed.
func (kr *Keyring) own(p *article.Proof) bool {
	kr.mu.RLock()
	defer kr.mu.RUnlock()
	if KeyOf(kr.node.device) == p.Key {
		return true
	}
	for _, f := range kr.hosted {
		if KeyOf(f.device) == p.Key || f.Chain != nil && f.Identity == p.Identity {
			return true
		}
	}
	return false
}

// note keeps what later articles and heads may ask of this one.
func (l *Ledger) note(r *Report) error {
	f := r.Author
	switch {
	case f == nil:
		return nil
	case f.N != nil:
		return l.AddChain(f, r.Input)
	case f.P != nil:
		return l.Link(r.Proof.Digest, *f.P)
	}
	return nil
}

// verb is the first word of the Control field.
func verb(a *article.Article) string {
	if !a.Has(article.HasControl) {
		return ""
	}
	v, _, _ := strings.Cut(a.Get("Control"), " ")
	return strings.ToLower(v)
}

// Judge is what a stored proof is worth now; groups are those of its Newsgroups:
// agent.Keys.
func (kr *Keyring) Judge(_ context.Context, p article.Proof, arrived time.Time, groups []article.Group) (string, error) {
	r, err := kr.Ledger.Worth(&p, arrived, groups, "")
	return string(r), err
}

// SignerMay says where the signer of p may do what purpose names: agent.Keys.
func (kr *Keyring) SignerMay(_ context.Context, p article.Proof, purpose string, groups []article.Group) ([]article.Group, error) {
	return kr.Ledger.May(&p, purpose, groups, kr.now())
}

// Withdraws says where the key of p may take back its identity's articles: agent.Keys.
func (kr *Keyring) Withdraws(_ context.Context, p article.Proof, arrived time.Time, groups []article.Group) ([]article.Group, error) {
	return kr.Ledger.Withdraws(&p, arrived, groups)
}

// AccountMay says whether the identity of an account has a right in group: agent.Keys.
func (kr *Keyring) AccountMay(_ context.Context, account, purpose string, group article.Group) (bool, error) {
	id, ok := kr.Account(account)
	if !ok {
		return false, nil
	}
	_, may := kr.Ledger.Left(id.Subject(), purpose, string(group), kr.now())
	return may, nil
}
