package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/spool"
)

// cancelBucket keeps cancels that came before their target: Message-ID of the
// target -> []cancelOrder.
const cancelBucket = "agent.cancels"

// Bounds of what is kept: ids, and orders for one id. Forged ones may fill the
// places of one id; the true cancel then works if it comes after its target.
const (
	maxPending    = 20_000
	maxPendingFor = 16
)

// cancelOrder is what decides whether a cancel or Supersedes counts.
type cancelOrder struct {
	ID      article.ID    // of the article that orders
	Proof   article.Proof // its signature
	Arrived time.Time
	Groups  []article.Group // of its Newsgroups
	Keys    string          `json:",omitempty"` // Cancel-Key
	Purpose string          // what the signature must be for: control or post
	Until   time.Time
}

// pending knows for which ids an order is kept.
type pending struct {
	mu     sync.Mutex
	loaded bool
	m      map[article.ID][]cancelOrder // all of them
}

// withdraw obeys a cancel or Supersedes: RFC 5537 §5.3, §5.4; pki.md §6.4.
func (a *Agent) withdraw(ctx context.Context, e spool.Entry, art *article.Article, target, purpose string) error {
	id, err := article.ParseID(target)
	if err != nil {
		return spool.Permanent(err)
	}
	if id == e.ID {
		return spool.Permanent(errors.New("cancels itself"))
	}
	groups, _ := article.LenientGroups(e.Newsgroups, 0)
	order := cancelOrder{ID: e.ID, Proof: e.Proof, Groups: groups, Arrived: e.Arrived, Keys: art.Get("Cancel-Key"), Purpose: purpose,
		Until: a.now().Add(a.policy().remember())}
	te, err := a.Spool.ByID(ctx, id)
	if errors.Is(err, spool.ErrNotFound) {
		st, err := a.Spool.Lookup(ctx, id)
		if err != nil {
			return fmt.Errorf("look up the target: %w", err)
		}
		if st == spool.Unknown {
			return a.keepCancel(id, order)
		}
		return nil
	} else if err != nil {
		return fmt.Errorf("look up the target: %w", err)
	}
	return a.obey(ctx, te, order)
}

// obey removes a stored article from where the order may.
func (a *Agent) obey(ctx context.Context, te spool.Entry, order cancelOrder) error {
	lock := ""
	if te.Has&article.HasCancelLock != 0 {
		art, err := a.Spool.Open(ctx, te.Seq)
		if errors.Is(err, spool.ErrNotFound) {
			return nil
		} else if err != nil {
			return fmt.Errorf("open the target: %w", err)
		}
		lock = art.Get("Cancel-Lock")
	}
	groups := make([]article.Group, len(te.Places))
	for i, p := range te.Places {
		groups[i] = p.Group
	}
	where, all, err := a.mayCancel(ctx, te.Proof, lock, groups, order)
	if err != nil {
		return err
	}
	if !all && len(where) == 0 {
		return spool.Permanent(fmt.Errorf("%s may not withdraw %s", order.ID, te.ID))
	}
	if all {
		where = nil
		if err := a.tellSuperseded(ctx, te, order); err != nil {
			return err
		}
	}
	if err := a.Spool.Remove(ctx, te.Seq, where, a.now().Add(a.policy().remember())); err != nil {
		return fmt.Errorf("withdraw %s: %w", te.ID, err)
	}
	if a.Withdrawn != nil && where == nil {
		a.Withdrawn(ctx, te.ID)
	}
	a.log().Info("article withdrawn", "id", te.ID, "by", order.ID)
	return nil
}

func (a *Agent) tellSuperseded(ctx context.Context, te spool.Entry, order cancelOrder) error {
	if a.Superseded == nil || order.Purpose != PurposePost {
		return nil
	}
	art, err := a.Spool.Open(ctx, te.Seq)
	if errors.Is(err, spool.ErrNotFound) {
		return nil
	} else if err == nil {
		err = a.Superseded(ctx, art, order.ID)
	}
	if err != nil {
		return fmt.Errorf("keep what %s replaces: %w", order.ID, err)
	}
	return nil
}

// mayCancel decides: all by the author (same identity; Cancel-Key for unsigned and
// gate articles), else those groups where the signer moderates, or his device may
// speak for the author.
func (a *Agent) mayCancel(ctx context.Context, target article.Proof, lock string, groups []article.Group, by cancelOrder) (where []article.Group, all bool, err error) {
	authored := target.State == article.ProofHolds && target.Purpose != PurposeGate
	if !authored && opens(lock, by.Keys) {
		return nil, true, nil
	}
	if a.Keys == nil || by.Proof.State != article.ProofHolds || by.Proof.Purpose != by.Purpose {
		return nil, false, nil
	}
	worth, err := a.Keys.Judge(ctx, by.Proof, by.Arrived, groups)
	if err != nil {
		return nil, false, fmt.Errorf("judge a cancel: %w", err)
	}
	if worth != Verified && worth != NoRight { // the right to post is not asked: it is his own
		return nil, false, nil
	}
	where, err = a.Keys.SignerMay(ctx, by.Proof, PurposeModerate, groups)
	if err != nil {
		return nil, false, fmt.Errorf("judge a cancel: %w", err)
	}
	if !authored || target.Identity != by.Proof.Identity {
		return where, false, nil
	}
	own, err := a.Keys.Withdraws(ctx, by.Proof, by.Arrived, groups)
	if err != nil {
		return nil, false, fmt.Errorf("judge a cancel: %w", err)
	}
	if len(own) == len(groups) {
		return nil, true, nil
	}
	for _, g := range own {
		if !slices.Contains(where, g) {
			where = append(where, g)
		}
	}
	return where, false, nil
}

// load reads the kept orders once.
func (p *pending) load(db *state.DB) error {
	if p.loaded {
		return nil
	}
	p.m = make(map[article.ID][]cancelOrder)
	if db != nil {
		keys, values, err := state.Table[[]cancelOrder]{DB: db, Bucket: cancelBucket}.List("")
		if err != nil {
			return fmt.Errorf("read kept cancels: %w", err)
		}
		for i, k := range keys {
			p.m[article.ID(k)] = values[i]
		}
	}
	p.loaded = true
	return nil
}

// keepCancel keeps an order whose target is not here yet, as long as history
// keeps ids: ARCHITECTURE §4 rule 5.
func (a *Agent) keepCancel(id article.ID, order cancelOrder) error {
	if order.Keys == "" && order.Proof.State != article.ProofHolds {
		return nil // it can never count
	}
	if err := a.pending.note(a.State, id, order); err != nil || a.State == nil {
		return err
	}
	// The sync is outside of the lock: relaying asks under it.
	orders, err := a.keptFor(id)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(orders)
	if err != nil {
		return fmt.Errorf("keep a cancel: %w", err)
	}
	if err := a.State.Update(func(tx *state.Tx) error { return tx.Put(cancelBucket, string(id), raw) }); err != nil {
		return fmt.Errorf("keep a cancel: %w", err)
	}
	return nil
}

// note keeps an order in memory, within bounds.
func (p *pending) note(db *state.DB, id article.ID, order cancelOrder) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.load(db); err != nil {
		return err
	}
	have := p.m[id]
	for _, o := range have {
		if o.ID == order.ID {
			return nil
		}
	}
	if len(have) >= maxPendingFor || have == nil && len(p.m) >= maxPending {
		return nil
	}
	p.m[id] = append(have[:len(have):len(have)], order)
	return nil
}

func (a *Agent) keptFor(id article.ID) ([]cancelOrder, error) {
	p := &a.pending
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.load(a.State); err != nil {
		return nil, err
	}
	return p.m[id], nil
}

// dropCancels forgets orders: their target was dealt with, or they are too old.
func (a *Agent) dropCancels(ids ...article.ID) error {
	p := &a.pending
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.State != nil {
		err := a.State.Update(func(tx *state.Tx) error {
			for _, id := range ids {
				if err := tx.Delete(cancelBucket, string(id)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("forget kept cancels: %w", err)
		}
	}
	for _, id := range ids {
		delete(p.m, id)
	}
	return nil
}

// cancelled refuses an article whose cancel came first, and recalls its id.
func (in *relaying) cancelled(ctx context.Context) error {
	if in.how == spool.Imported {
		return nil
	}
	orders, err := in.keptFor(in.art.ID())
	if err != nil || len(orders) == 0 {
		return err
	}
	lock := in.art.Get("Cancel-Lock")
	groups, _ := article.LenientGroups(in.art.Overview().Newsgroups, 0)
	for _, o := range orders {
		_, all, err := in.mayCancel(ctx, in.proof, lock, groups, o)
		if err != nil {
			return err
		}
		if !all {
			continue
		}
		if err := in.Spool.Recall(ctx, in.art.ID(), in.now.Add(in.policy().remember())); err != nil {
			return fmt.Errorf("recall a cancelled article: %w", err)
		}
		return &Refusal{Reason: Unwanted, Code: "cancelled", Text: "its author withdrew it"}
	}
	return nil
}

// lateCancel applies the orders kept for an article that is stored by now: by
// moderators, and those that were stored in the same moment.
func (a *Agent) lateCancel(ctx context.Context, e spool.Entry) error {
	orders, err := a.keptFor(e.ID)
	if err != nil || len(orders) == 0 {
		return err
	}
	for _, o := range orders {
		if err := a.obey(ctx, e, o); err != nil && !spool.IsPermanent(err) {
			return err
		}
	}
	return nil
}

// Withdraw removes an article at the word of an administrator, or out of the
// groups that o moderates. It returns a *Refusal if there are none.
func (a *Agent) Withdraw(ctx context.Context, id article.ID, o Origin) error {
	acc, err := a.Access(ctx, o)
	if err != nil {
		return err
	}
	e, err := a.Spool.ByID(ctx, id)
	if errors.Is(err, spool.ErrNotFound) {
		return &Refusal{Reason: Absent, Code: "no-article", Text: "there is no article " + string(id) + " here"}
	} else if err != nil {
		return fmt.Errorf("look up %s: %w", id, err)
	}
	until := a.now().Add(a.policy().remember())
	var no error
	if no = acc.May(ctx, Admin, ""); no == nil {
		err := a.Spool.Remove(ctx, e.Seq, nil, until)
		if err == nil && a.Withdrawn != nil {
			a.Withdrawn(ctx, e.ID)
		}
		return err
	}
	var where []article.Group
	for _, p := range e.Places {
		if no = acc.May(ctx, Moderate, p.Group); no == nil {
			where = append(where, p.Group)
		}
	}
	if len(where) == 0 {
		return no
	}
	return a.Spool.Remove(ctx, e.Seq, where, until)
}
