package pki

import (
	"errors"
	"sync"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
)

// Result is what a signature is worth (§2.7).
type Result string

// The results.
const (
	ResultNone       Result = "none"
	ResultVerified   Result = "verified"
	ResultUnknownKey Result = "unknown-key"
	ResultDisputed   Result = "disputed"
	ResultNoRight    Result = "no-right"
	ResultInvalid    Result = "invalid"
)

// Rights by purpose of the signature: what the identity needs, and for which
// purpose its device's key must hold an arrow (§2.5, §6.3).
func rightsFor(use, verb string) (identity, device []string) {
	switch use {
	case UsePost:
		return []string{"post"}, []string{"post"}
	case UseGate:
		return []string{"gate"}, []string{"gate"}
	case UseApprove:
		return []string{"moderate"}, []string{"moderate"}
	case UseControl:
		if verb == "newgroup" || verb == "rmgroup" || verb == "checkgroups" {
			return []string{"create"}, nil // a device can not create
		}
		return []string{"post", "moderate"}, []string{"post", "moderate"}
	}
	return nil, nil
}

// claim is what a field claims, ready to be judged.
type claim struct {
	id      ID
	key     Key
	time    int64
	digest  Digest
	use     string
	verb    string // of a control article
	arrived int64
}

// verdicts keeps what is dear to compute until a statement arrives.
type verdicts struct {
	mu     sync.Mutex
	chains map[ID]Chain
}

func (v *verdicts) clear() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.chains = nil
}

func (v *verdicts) chain(id ID, compute func(ID) (Chain, error)) (Chain, error) {
	v.mu.Lock()
	c, ok := v.chains[id]
	v.mu.Unlock()
	if ok {
		return c, nil
	}
	c, err := compute(id)
	if err != nil {
		return c, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.chains == nil || len(v.chains) > 1000 {
		v.chains = map[ID]Chain{}
	}
	v.chains[id] = c
	return c, nil
}

// keyVerdict says whether the key counts for the identity: ResultVerified,
// ResultUnknownKey, ResultDisputed or ResultInvalid (§5). l.mu is held.
func (l *Ledger) keyVerdict(c claim) (Result, error) {
	key, status := l.standing(c.id)
	if status == Unheard {
		return ResultUnknownKey, nil
	}
	if l.chains[c.id] {
		return l.chainVerdict(c)
	}
	if status == Live && key == c.key {
		return ResultVerified, nil
	}
	if r, ok := l.deviceVerdict(c, status); ok {
		return r, nil
	}
	st, arrived, err := l.identity(c.id)
	if err != nil {
		return "", err
	}
	for _, t := range st.Terms {
		if t.Event.Key == c.key {
			return l.termVerdict(c, &st, t, arrived)
		}
	}
	return ResultUnknownKey, nil
}

// deviceVerdict looks for an arrow from the identity to the key (§6.3). One that is
// revoked, has ended, or is for another purpose still says that the key speaks for
// the identity: the rest is a question of rights.
func (l *Ledger) deviceVerdict(c claim, status Status) (Result, bool) {
	n, ok := l.g.find(c.key.Subject())
	if !ok {
		return "", false
	}
	issuer, ok := l.g.find(c.id.Subject())
	if !ok || status == Dead || status == Retired {
		return "", false
	}
	found := Result("")
	for at := l.g.nodes.at(n).in; at != 0; {
		e := l.g.edges.at(at - 1)
		at = e.nextIn
		if e.issuer != issuer {
			continue
		}
		if !e.revoked {
			return ResultVerified, true
		}
		found = ResultVerified
		if e.hasBad && c.time >= e.from {
			found = ResultDisputed
		}
	}
	return found, found != ""
}

func containsName(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// termVerdict judges a key that an event brought (§5.3, §5.4, §5.6, §3.3).
func (l *Ledger) termVerdict(c claim, st *State, t Term, arrived map[Digest]int64) (Result, error) {
	if t.Ended == nil {
		at := frozenAt(st, arrived)
		switch st.Status {
		case Live:
			return ResultVerified, nil
		case Retired:
			at = arrived[t.Event.Digest()]
		case Dead:
			for _, e := range st.Evidence {
				at = max(at, arrived[e.Digest()])
			}
		}
		if c.arrived < at && !t.Undone {
			return ResultVerified, nil // the articles before stand
		}
		return ResultDisputed, nil
	}
	ended := arrived[t.Ended.Digest()]
	if t.Undone {
		if c.arrived < ended {
			return ResultDisputed, nil
		}
		return ResultInvalid, nil
	}
	under, err := l.underHead(t.Ended.Head, c.digest)
	if err != nil || under {
		return ResultVerified, err
	}
	if bad := t.Ended.BadSince; bad != nil {
		switch before := c.time < *bad; {
		case before && c.arrived < ended:
			return ResultVerified, nil
		case before || c.arrived < ended:
			return ResultDisputed, nil
		}
		return ResultInvalid, nil
	}
	switch {
	case c.arrived < ended, c.arrived <= ended+lateGrace && c.time < t.Ended.Time:
		return ResultVerified, nil
	case c.time < t.Ended.Time:
		return ResultDisputed, nil
	}
	return ResultInvalid, nil
}

// maxWalk bounds how far p is followed from a head.
const maxWalk = 100000

// underHead says whether an article is the head, or reachable from it by p.
func (l *Ledger) underHead(h *Head, article Digest) (found bool, err error) {
	if h == nil {
		return false, nil
	}
	err = l.db.View(func(tx *state.Tx) error {
		at := h.Digest
		for range maxWalk {
			if found = at == article; found {
				return nil
			}
			p := tx.Get(bLink, string(at[:]))
			if len(p) != 32 {
				return nil
			}
			at = Digest(p)
		}
		return nil
	})
	return found, err
}

// rightIn says whether a claim has its right in a group; l.mu is held.
func (l *Ledger) rightIn(c claim, group string) bool {
	identity, device := rightsFor(c.use, c.verb)
	for _, p := range identity {
		if l.has(c.id.Subject(), p, group, c.time, c.arrived) && (l.deviceIn(c, device, group) || l.speaks(c)) {
			return true
		}
	}
	return false
}

// speaks says whether the key is one that an event brought, not a device's.
func (l *Ledger) speaks(c claim) bool {
	key, status := l.standing(c.id)
	if status != Unheard && key == c.key || l.chains[c.id] {
		return true
	}
	st, _, err := l.identity(c.id)
	if err != nil {
		return false
	}
	for _, t := range st.Terms {
		if t.Event.Key == c.key {
			return true
		}
	}
	return false
}

// deviceIn says whether the key holds an arrow of its identity for the group.
func (l *Ledger) deviceIn(c claim, purposes []string, group string) bool {
	n, ok := l.g.find(c.key.Subject())
	issuer, known := l.g.find(c.id.Subject())
	if !ok || !known {
		return false
	}
	for _, p := range purposes {
		q := l.g.query(nil, p, group, c.time, c.arrived)
		for at := l.g.nodes.at(n).in; at != 0 && q.known; {
			e := l.g.edges.at(at - 1)
			at = e.nextIn
			if e.issuer == issuer && q.counts(e) {
				return true
			}
		}
	}
	return false
}

func claimOf(p *article.Proof, verb string, arrived int64) (claim, error) {
	id, err := ParseID(p.Identity)
	return claim{id, p.Key, p.Time, p.Digest, p.Purpose, verb, arrived}, err
}

// Arrive judges a proof that comes now, before it is stored: it fills in Right
// and the approvals' Right for groups and says what it is worth. verb is the
// first word of the Control field, or "". hold is not zero if the article must
// wait until then, whatever the policy (§5.2). With ResultNoRight err may be
// ErrRate; any other error is a failure of the disk.
func (l *Ledger) Arrive(p *article.Proof, groups []article.Group, verb string) (r Result, hold time.Time, err error) {
	return l.arriving(p, groups, verb, func() bool { return false })
}

// arriving is Arrive; own says whether a key of this node's signed it.
func (l *Ledger) arriving(p *article.Proof, groups []article.Group, verb string, own func() bool) (r Result, hold time.Time, err error) {
	r, hold, err = l.arrive(p, groups, verb, own)
	if errors.Is(err, ErrRate) {
		if err := l.rememberRight(p.Digest, overRate); err != nil {
			return "", hold, err
		}
	}
	return r, hold, err
}

func (l *Ledger) arrive(p *article.Proof, groups []article.Group, verb string, own func() bool) (r Result, hold time.Time, err error) {
	now := l.now()
	l.mu.RLock()
	defer l.mu.RUnlock()
	if err := l.approvals(p, groups, now.Unix()); err != nil {
		return "", time.Time{}, err
	}
	switch p.State {
	case article.ProofNone:
		return ResultNone, time.Time{}, nil
	case article.ProofInvalid:
		return ResultInvalid, time.Time{}, nil
	}
	switch {
	case l.Timeless(), l.catching && !own():
		hold = now.Add(holdMost * time.Second)
	case p.Time > now.Unix()+skew:
		hold = now.Add(min(time.Unix(p.Time-skew, 0).Sub(now), holdMost*time.Second))
	}
	c, err := claimOf(p, verb, now.Unix())
	if err != nil {
		return ResultInvalid, hold, nil
	}
	r, err = l.keyVerdict(c)
	if err != nil || r != ResultVerified {
		return r, hold, err
	}
	right := l.groupsWith(c, groups)
	p.Right = l.within(c, right)
	switch {
	case len(p.Right) > 0:
		return r, hold, nil
	case len(right) > 0:
		return ResultNoRight, hold, ErrRate
	}
	return ResultNoRight, hold, nil
}

func (l *Ledger) groupsWith(c claim, groups []article.Group) (out []article.Group) {
	for _, g := range groups {
		if l.rightIn(c, string(g)) {
			out = append(out, g)
		}
	}
	return out
}

// approvals judges the approve fields; one whose key does not count has no right anywhere.
func (l *Ledger) approvals(p *article.Proof, groups []article.Group, now int64) error {
	for i := range p.Approve {
		a := &p.Approve[i]
		id, err := ParseID(a.Identity)
		if err != nil || a.Time > now+skew {
			continue
		}
		c := claim{id: id, key: a.Key, time: a.Time, use: UseApprove, arrived: now}
		r, err := l.keyVerdict(c)
		if err != nil {
			return err
		}
		if r == ResultVerified {
			a.Right = l.groupsWith(c, groups)
		}
	}
	return nil
}

// Worth says what a stored proof is worth now. groups are those of its
// Newsgroups field; they are asked only where the key became known later.
func (l *Ledger) Worth(p *article.Proof, arrived time.Time, groups []article.Group, verb string) (Result, error) {
	switch p.State {
	case article.ProofNone:
		return ResultNone, nil
	case article.ProofInvalid:
		return ResultInvalid, nil
	}
	c, err := claimOf(p, verb, arrived.Unix())
	if err != nil {
		return ResultInvalid, nil
	}
	r, judged, err := l.worth(c, p.Right, groups)
	if err == nil && judged != notJudged {
		err = l.rememberRight(c.digest, judged)
	}
	return r, err
}

// What bRight holds: a right that was judged for good after the article was filed.
const (
	overRate  byte = 0
	hadRight  byte = 1
	notJudged byte = 255 // not written
)

// worth is Worth under the lock; judged is not notJudged if a right was just judged for good.
func (l *Ledger) worth(c claim, right, groups []article.Group) (r Result, judged byte, err error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	r, err = l.keyVerdict(c)
	if err == nil && r == ResultUnknownKey && len(right) > 0 {
		r, err = l.lapsedDevice(c)
	}
	switch {
	case err != nil || r != ResultVerified:
		return r, notJudged, err
	case len(right) == 0:
		return l.lateRight(c, groups)
	case l.takenBack(c, right):
		return ResultDisputed, notJudged, nil
	}
	return ResultVerified, notJudged, nil
}

// lapsedDevice judges an article whose key was a device's on arrival and is not
// any more: it stands (§5.5), unless the key that vouched for the device was in
// wrong hands by then.
func (l *Ledger) lapsedDevice(c claim) (Result, error) {
	st, arrived, err := l.identity(c.id)
	if err != nil || st.Status == Unheard {
		return ResultUnknownKey, err
	}
	for _, t := range st.Terms {
		if t.Ended != nil && t.Ended.BadSince != nil && c.time >= *t.Ended.BadSince && c.arrived <= arrived[t.Ended.digest] {
			return ResultDisputed, nil
		}
	}
	return ResultVerified, nil
}

// lateRight judges the right of an article whose key was not known when it came.
// What was found stays: rights are judged once (§5.7).
func (l *Ledger) lateRight(c claim, groups []article.Group) (r Result, judged byte, err error) {
	var known []byte
	err = l.db.View(func(tx *state.Tx) error {
		known = tx.Get(bRight, string(c.digest[:]))
		return nil
	})
	switch {
	case err == nil && len(known) == 1 && known[0] == overRate:
		return ResultNoRight, notJudged, nil
	case err != nil || known != nil:
		return ResultVerified, notJudged, err
	}
	switch with := l.groupsWith(c, groups); {
	case len(with) == 0:
		return ResultNoRight, notJudged, nil
	case len(l.within(c, with)) == 0:
		return ResultNoRight, overRate, nil
	}
	return ResultVerified, hadRight, nil
}

// rememberRight notes how an article's right was judged after it was filed: it
// stays so when the arrow ends.
func (l *Ledger) rememberRight(digest [32]byte, judged byte) error {
	return l.db.Update(func(tx *state.Tx) error { return tx.Put(bRight, string(digest[:]), []byte{judged}) })
}

// takenBack says whether a right that was there on arrival was revoked with a
// bad-since before the article was signed, and no other path gives it (§5.5).
func (l *Ledger) takenBack(c claim, groups []article.Group) bool {
	identity, _ := rightsFor(c.use, c.verb)
	n, ok := l.g.find(c.id.Subject())
	if !ok {
		return false
	}
	bad := false
	for at := l.g.nodes.at(n).in; at != 0; {
		e := l.g.edges.at(at - 1)
		at = e.nextIn
		bad = bad || e.revoked && e.hasBad && c.time >= e.from && containsName(identity, l.g.names[e.purpose])
	}
	return bad && len(l.groupsWith(c, groups)) == 0
}

// May says in which groups the signer of a stored proof has the right purpose
// ("moderate", "create") now. A key that does not count has none.
func (l *Ledger) May(p *article.Proof, purpose string, groups []article.Group, arrived time.Time) ([]article.Group, error) {
	c, err := claimOf(p, "", arrived.Unix())
	if err != nil || p.State != article.ProofHolds {
		return nil, nil
	}
	switch purpose {
	case "create":
		c.verb = "newgroup"
	case "moderate":
		c.use = UseApprove
	case "post", "gate":
		c.use = purpose
	default:
		return nil, errors.New("no right is called " + purpose)
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	r, err := l.keyVerdict(c)
	if err != nil || r != ResultVerified {
		return nil, err
	}
	return l.groupsWith(c, groups), nil
}

// Withdraws says in which of groups the key of a proof that came at arrived may take
// back what its own identity wrote (§6.4): in all, if an event brought the key; a
// device's where it holds the arrow that its field needs (§6.3), whether or not the
// identity may still post.
func (l *Ledger) Withdraws(p *article.Proof, arrived time.Time, groups []article.Group) (out []article.Group, err error) {
	c, err := claimOf(p, "", arrived.Unix())
	if err != nil || p.State != article.ProofHolds {
		return nil, nil
	}
	_, device := rightsFor(c.use, c.verb)
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.speaks(c) {
		return groups, nil
	}
	for _, g := range groups {
		if l.deviceIn(c, device, string(g)) {
			out = append(out, g)
		}
	}
	return out, nil
}

// Link remembers that an article by some key follows another (its tag p), for
// heads; it is asked of every article with p that is filed.
func (l *Ledger) Link(digest Digest, p Digest) error {
	return l.db.Update(func(tx *state.Tx) error { return tx.Put(bLink, string(digest[:]), p[:]) })
}
