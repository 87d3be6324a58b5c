package pki

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/litfass/litfass/internal/state"
)

// Fate is what became of a statement that was brought.
type Fate uint8

// The fates of a statement.
const (
	Taken   Fate = iota + 1 // it counts from now on, as far as statements do
	Known                   // it was here
	Held                    // nothing known vouches for it yet: looked at again for 30 days
	Stopped                 // a quota stopped it; it is not judged (§7.2)
	Refused                 // its signatures do not hold, or it can never count
)

// Outcome is the fate of each statement of one Apply, in order.
type Outcome struct {
	Fates []Fate
	Errs  []error // why, where Refused, Held or Stopped
}

// Count says how many met that fate.
func (o *Outcome) Count(f Fate) (n int) {
	for _, g := range o.Fates {
		if g == f {
			n++
		}
	}
	return n
}

var (
	errQuota   = errors.New("the quota of this source is used up for today")
	errRate    = errors.New("this identity changes its keys too often: one event an hour, ten at once")
	errNoOne   = errors.New("nothing known vouches for it yet")
	errEarly   = errors.New("it is dated more than a day ahead of this node's clock")
	errSlots   = errors.New("its issuer has as many arrows as are kept")
	errNeverOK = errors.New("its key is not the one that was announced for this place")
	errPast    = errors.New("the key that signed it does not speak for its issuer any more")
)

// applyBatch is how many statements share one transaction.
const applyBatch = 512

// Apply takes statements that source brought ("": the operator, without quotas):
// a peer's name, an address. The error is a temporary failure of the disk.
func (l *Ledger) Apply(source string, list []*Statement) (Outcome, error) {
	return l.applyAll(source, list, false)
}

// applyAll is Apply; post queues what is known then for posting, in the same
// transaction: no crash comes between, and who waits for Changed finds it queued.
func (l *Ledger) applyAll(source string, list []*Statement, post bool) (Outcome, error) {
	out := Outcome{Fates: make([]Fate, len(list)), Errs: make([]error, len(list))}
	for from := 0; from < len(list); from += applyBatch {
		to := min(from+applyBatch, len(list))
		part := Outcome{Fates: out.Fates[from:to], Errs: out.Errs[from:to]}
		if err := l.apply(source, list[from:to], &part, post); err != nil {
			return out, fmt.Errorf("keep statements: %w", err)
		}
	}
	return out, nil
}

func (l *Ledger) apply(source string, list []*Statement, out *Outcome, post bool) error {
	if source != "" { // a person who brings a file is told of each copy whether it is sound
		if err := l.skipKnown(list, out); err != nil {
			return err
		}
	}
	now := l.now().Unix()
	l.mu.Lock()
	l.passQuotas(source, list, out, now) // first: a flood must not cost signatures
	l.mu.Unlock()
	checkAll(list, out)
	l.mu.Lock()
	defer l.mu.Unlock()
	b := &batch{l: l, now: now, list: list, source: source, counted: map[Digest]bool{}}
	fates := append([]Fate(nil), out.Fates...)
	err := l.db.Update(func(tx *state.Tx) error {
		copy(out.Fates, fates) // this may run again
		b.tx, b.dirty, b.states = tx, map[ID]bool{}, map[ID]*State{}
		if err := b.run(out); err != nil {
			return err
		}
		if post {
			if err := b.queue(); err != nil {
				return err
			}
		}
		var err error
		b.derived, err = settle(tx, b.dirty, l.isReached)
		return err
	})
	if err != nil {
		return err
	}
	for id, d := range b.derived {
		l.place(id, d)
	}
	if len(b.derived) > 0 || post {
		l.touch()
	}
	return nil
}

// queue puts what is kept of the list into the outbox.
func (b *batch) queue() error {
	for _, s := range b.list {
		if n := b.tx.Get(bDigest, string(s.digest[:])); n != nil {
			if err := b.tx.Put(bOut, string(n), []byte{1}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *Ledger) skipKnown(list []*Statement, out *Outcome) error {
	return l.db.View(func(tx *state.Tx) error {
		for i, s := range list {
			if tx.Get(bDigest, string(s.digest[:])) != nil {
				out.Fates[i] = Known
			}
		}
		return nil
	})
}

// checkAll verifies the signatures of what has no fate yet, on all cores.
func checkAll(list []*Statement, out *Outcome) {
	var wg sync.WaitGroup
	n := min(runtime.GOMAXPROCS(0), len(list))
	for k := range n {
		wg.Go(func() {
			for i := k; i < len(list); i += n {
				if out.Fates[i] != 0 {
					continue
				}
				if err := list[i].CheckSignatures(); err != nil {
					out.Fates[i], out.Errs[i] = Refused, err
				}
			}
		})
	}
	wg.Wait()
}

// batch is one transaction's worth of statements being judged.
type batch struct {
	l       *Ledger
	tx      *state.Tx
	now     int64
	source  string
	counted map[Digest]bool // against the rate of events: a transaction may run twice
	list    []*Statement
	dirty   map[ID]bool
	states  map[ID]*State
	derived map[ID]*derived
}

func (b *batch) run(out *Outcome) error {
	for i, s := range b.list {
		if out.Fates[i] != 0 {
			continue
		}
		fate, why, err := b.judge(s)
		if err != nil {
			return err
		}
		fate, why = b.rate(s, fate, why)
		out.Fates[i], out.Errs[i] = fate, why
		switch fate {
		case Taken:
			err = b.keep(s, b.now)
		case Held:
			err = b.hold(s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rate applies the quotas that ask for the fate: an event counts against its
// identity's rate only if it is a real one, so nobody can use up another's; what
// is held counts against the source even where quota let it pass.
func (b *batch) rate(s *Statement, fate Fate, why error) (Fate, error) {
	if b.source == "" || b.counted[s.digest] || !s.IsEvent() || s.Type == TypeIncept {
		return fate, why
	}
	b.counted[s.digest] = true
	switch u := b.l.quotas.source[b.source]; {
	case fate == Taken && !b.l.quotas.event(s.ID, b.now):
		return Stopped, errRate
	case fate == Held && u.others >= quotaOthers:
		return Stopped, errQuota
	case fate == Held:
		u.others++
	}
	return fate, why
}

// judge says what is to become of a statement whose signatures hold.
func (b *batch) judge(s *Statement) (Fate, error, error) {
	if b.tx.Get(bDigest, string(s.digest[:])) != nil {
		return Known, nil, nil
	}
	if s.Time > b.now+skew || b.source != "" && b.now < b.l.Built {
		return Held, errEarly, nil
	}
	if s.Type == TypeIncept {
		return Taken, nil, nil
	}
	st, err := b.state(s.ID)
	if err != nil {
		return 0, nil, err
	}
	if st.Status == Unheard {
		return Held, errNoOne, nil
	}
	switch s.Type {
	case TypeRotate:
		return judgeRotate(st, s)
	case TypeRecover:
		for _, t := range st.Terms {
			if c := t.Event.Recover; c != nil && *c == s.Policy.Digest() {
				return Taken, nil, nil
			}
		}
		return Held, errNoOne, nil
	case TypeArrow:
		return b.judgeArrow(st, s)
	}
	for _, t := range st.Terms { // anchor, heads: kept and passed on
		if t.Event.Key == s.Sigs[0].Key {
			return Taken, nil, nil
		}
	}
	return Held, errNoOne, nil
}

// judgeRotate takes a rotation by a key that was announced in a known event.
func judgeRotate(st *State, s *Statement) (Fate, error, error) {
	if st.Terms[0].Event.Chain {
		return Refused, errors.New("an identity in mode chain does not rotate"), nil
	}
	for _, t := range st.Terms {
		if t.Event.digest != s.Prev {
			continue
		}
		if t.Event.Seq+1 == s.Seq && t.Event.Next != nil && *t.Event.Next == s.Key.Digest() {
			return Taken, nil, nil
		}
		return Refused, errNeverOK, nil
	}
	return Held, errNoOne, nil
}

func (b *batch) judgeArrow(st *State, s *Statement) (Fate, error, error) {
	known := false
	for _, t := range st.Terms {
		known = known || t.Event.Key == s.Sigs[0].Key
	}
	switch {
	case !known:
		return Held, errNoOne, nil
	case st.Terms[0].Event.Chain:
		return Refused, errors.New("an identity in mode chain issues no arrows"), nil
	case st.Status != Live || st.Key() != s.Sigs[0].Key:
		// It can never count, and must not outrank or push out what does: in its
		// grace an arrow counts only if it came before the key went (§3.4).
		return Refused, errPast, nil
	}
	return b.makeRoom(s)
}

// makeRoom drops what s outranks in its slot, and the oldest granted arrow if
// the issuer has too many.
func (b *batch) makeRoom(s *Statement) (Fate, error, error) {
	prefix := string(s.ID[:]) + "a"
	slot, err := rowsIn(b.tx, prefix+slotOf(s))
	if err != nil {
		return 0, nil, err
	}
	newer, err := b.outrank(s, slot)
	switch {
	case err != nil:
		return 0, nil, err
	case newer:
		return Refused, errors.New("a newer version of this arrow is here"), nil
	case len(slot) > 0 && len(slot) <= 8:
		return Taken, nil, nil
	}
	n := 0
	b.tx.Each(bBy, prefix, "", func(string, []byte) bool { n++; return n < maxSlots })
	if n < maxSlots {
		return Taken, nil, nil
	}
	all, err := rowsIn(b.tx, prefix)
	if err != nil {
		return 0, nil, err
	}
	var oldest *Row
	for i := range all {
		if r := &all[i]; !r.Revoked && (oldest == nil || r.Time < oldest.Time) {
			oldest = r
		}
	}
	if oldest == nil || oldest.Time >= s.Time {
		return Stopped, errSlots, nil
	}
	return Taken, nil, b.drop(*oldest)
}

// outrank drops the older versions of s from its slot, and says whether a newer one is
// there. What is outranked may have a later until than what outranks it: that is
// kept until then, or the old one could be brought again.
func (b *batch) outrank(s *Statement, slot []Row) (newer bool, err error) {
	for _, r := range slot {
		if r.Sigs[0].Key != s.Sigs[0].Key || r.Version == s.Version {
			continue
		}
		if newer = r.Version > s.Version; newer {
			return true, b.outlast(s, r.Until)
		}
		if err := errors.Join(b.drop(r), b.outlast(r.Statement, s.Until)); err != nil {
			return false, err
		}
	}
	return false, nil
}

// outlast notes the until of an arrow that is outranked by one with until over.
func (b *batch) outlast(old *Statement, over int64) error {
	key := string(old.ID[:]) + slotOf(old)
	if old.Until <= max(over, outlasted(b.tx, key)) {
		return nil
	}
	return b.tx.Put(bOutlast, key, []byte(num(uint64(old.Until))))
}

// outlasted is the latest until noted of a slot, 0 if there is none.
func outlasted(tx *state.Tx, key string) int64 {
	if raw := tx.Get(bOutlast, key); len(raw) == 8 {
		return int64(readNum(raw))
	}
	return 0
}

// state evaluates an identity as the transaction sees it.
func (b *batch) state(id ID) (*State, error) {
	if st := b.states[id]; st != nil {
		return st, nil
	}
	rows, err := rowsIn(b.tx, string(id[:])+"e")
	if err != nil {
		return nil, err
	}
	set := make([]*Statement, len(rows))
	for i, r := range rows {
		set[i] = r.Statement
	}
	st := Evaluate(id, set)
	b.states[id] = &st
	return &st, nil
}

// byKey is a statement's place in bBy.
func byKey(s *Statement, n string) string {
	switch {
	case s.IsEvent():
		return string(s.ID[:]) + "e" + n
	case s.Type == TypeArrow:
		return string(s.ID[:]) + "a" + slotOf(s) + n
	}
	return string(s.ID[:]) + "w" + n
}

// named are the keys under which §7.3 finds a statement.
func named(s *Statement) (out []string) {
	for _, sig := range s.Sigs {
		out = append(out, string(sig.Key[:]))
	}
	if s.Type == TypeArrow && s.Subject.Kind == SubjectKey {
		out = append(out, string(s.Subject.Hash[:]))
	}
	return out
}

// keep files a statement, and looks again at what waited for it.
func (b *batch) keep(s *Statement, arrived int64) error {
	seq, err := b.tx.Next(bLog)
	if err != nil {
		return err
	}
	n := num(seq)
	if err := errors.Join(
		b.tx.Put(bMeta, "last", []byte(n)),
		b.tx.Put(bLog, n, rowBytes(arrived, s.text)),
		b.tx.Put(bDigest, string(s.digest[:]), []byte(n)),
		b.tx.Put(bBy, byKey(s, n), nil),
	); err != nil {
		return err
	}
	for _, k := range named(s) {
		if err := b.tx.Put(bKey, k+n, nil); err != nil {
			return err
		}
	}
	b.dirty[s.ID] = true
	if s.IsEvent() {
		delete(b.states, s.ID)
		return b.release(s.ID)
	}
	return nil
}

// drop forgets a statement.
func (b *batch) drop(r Row) error {
	n := num(r.N)
	for _, k := range named(r.Statement) {
		if err := b.tx.Delete(bKey, k+n); err != nil {
			return err
		}
	}
	b.dirty[r.ID] = true
	return errors.Join(
		b.tx.Delete(bLog, n),
		b.tx.Delete(bDigest, string(r.digest[:])),
		b.tx.Delete(bBy, byKey(r.Statement, n)),
	)
}

// hold keeps a statement that may count later.
func (b *batch) hold(s *Statement) error {
	if b.l.held >= maxHeld {
		return nil // it comes again, or it does not
	}
	key := string(s.ID[:]) + string(s.digest[:])
	if b.tx.Get(bHeld, key) == nil {
		b.l.held++
	}
	return b.tx.Put(bHeld, key, rowBytes(b.now, s.text))
}

// release judges again what was held of an identity.
func (b *batch) release(id ID) error {
	var held []Row
	var keys []string
	var bad error
	b.tx.Each(bHeld, string(id[:]), "", func(key string, raw []byte) bool {
		var r Row
		if r, bad = readRow(0, raw); bad == nil {
			held, keys = append(held, r), append(keys, key)
		}
		return bad == nil
	})
	if bad != nil {
		return bad
	}
	for i, r := range held {
		if b.tx.Get(bHeld, keys[i]) == nil { // let in by one before it
			continue
		}
		fate, _, err := b.judge(r.Statement)
		if err != nil {
			return err
		}
		if fate == Held {
			continue
		}
		if err := b.tx.Delete(bHeld, keys[i]); err != nil {
			return err
		}
		b.l.held = max(b.l.held-1, 0)
		if fate == Taken {
			if err := b.keep(r.Statement, b.now); err != nil {
				return err
			}
		}
	}
	return nil
}

// Sweep forgets what need not be kept: held statements and unreached identities
// after 30 days, arrows that ended 30 days ago and, if revoked, a year later. It
// lets in what was held because it was dated ahead, and ends graces that are over.
func (l *Ledger) Sweep() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reach()
	b := &batch{l: l, now: l.now().Unix(), source: "sweep"}
	err := l.db.Update(func(tx *state.Tx) error {
		b.tx, b.dirty, b.states = tx, map[ID]bool{}, map[ID]*State{}
		if err := b.sweepHeld(); err != nil {
			return err
		}
		if err := b.sweepRows(); err != nil {
			return err
		}
		var err error
		b.derived, err = settle(tx, b.dirty, l.isReached)
		return err
	})
	if err != nil {
		return fmt.Errorf("sweep pki.db: %w", err)
	}
	for id := range b.dirty {
		if d := b.derived[id]; d != nil {
			l.place(id, d)
		} else if n, ok := l.g.find(id.Subject()); ok {
			l.g.clear(n)
			l.g.nodes.at(n).status = Unheard
		}
	}
	if len(b.dirty) > 0 {
		l.touch()
	}
	return nil
}

func (b *batch) sweepHeld() error {
	ids, left := map[ID]bool{}, 0
	var gone []string
	timeless := map[string]string{}
	b.tx.Each(bHeld, "", "", func(key string, raw []byte) bool {
		arrived := int64(binary.BigEndian.Uint64(raw))
		if arrived < b.l.Built && b.now >= b.l.Built { // it came while the clock was wrong
			timeless[key] = string(raw[8:])
			arrived = b.now
		}
		if arrived+heldFor < b.now {
			gone = append(gone, key)
		} else {
			ids[ID([]byte(key[:32]))] = true
			left++
		}
		return true
	})
	b.l.held = left
	for key, text := range timeless {
		if err := b.tx.Put(bHeld, key, rowBytes(b.now, text)); err != nil {
			return err
		}
	}
	for _, key := range gone {
		if err := b.tx.Delete(bHeld, key); err != nil {
			return err
		}
	}
	for id := range ids {
		if err := b.release(id); err != nil {
			return err
		}
	}
	return nil
}

// over says whether a statement has had its time: it ended 30 days ago, and so did
// what it outranks, or no anchor reaches who made it. A revoked arrow is kept for a
// year more: what it outranks may never have come here.
func (b *batch) over(r Row) bool {
	n, ok := b.l.g.find(r.ID.Subject())
	if reached := ok && b.l.g.nodes.at(n).reached; !reached && r.Arrived+heldFor < b.now {
		return true
	}
	until, keep := r.Until, int64(heldFor)
	if r.Type == TypeArrow {
		until = max(until, outlasted(b.tx, string(r.ID[:])+slotOf(r.Statement)))
	}
	if r.Revoked {
		keep = 400 * day
	}
	return until != 0 && until < b.now-keep
}

// sweepRows drops what has had its time.
func (b *batch) sweepRows() error {
	var gone []Row
	var bad error
	b.tx.Each(bLog, "", "", func(key string, raw []byte) bool {
		var r Row
		if r, bad = readRow(binary.BigEndian.Uint64([]byte(key)), raw); bad != nil {
			return false
		}
		if b.over(r) {
			gone = append(gone, r)
		}
		return true
	})
	for _, r := range gone {
		if err := b.drop(r); err != nil {
			return err
		}
		if r.Type == TypeArrow {
			if err := b.tx.Delete(bOutlast, string(r.ID[:])+slotOf(r.Statement)); err != nil {
				return err
			}
		}
	}
	for id := range b.dirty {
		left := false
		b.tx.Each(bBy, string(id[:])+"e", "", func(string, []byte) bool { left = true; return false })
		if !left {
			if err := b.tx.Delete(bState, string(id[:])); err != nil {
				return err
			}
		}
	}
	return bad
}
