package agent

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/spool"
)

// Buckets of the waiting room: the heads as JSON, the articles in wire form.
const (
	waitBucket = "agent.waiting"
	waitRaw    = "agent.waiting.raw"
)

// Why an article waits.
const (
	WaitModerator = "moderator"   // somebody must approve it
	WaitKey       = "unknown-key" // its groups want a known signer and the key is unknown
	WaitEarly     = "early"       // its signature's time lies ahead
)

// Held is one article in the waiting room: it was answered as taken, but has no
// number, no reader sees it, and it goes to no peer.
type Held struct {
	Key     string // names it here: 16 hexadecimal digits, in order of arrival
	ID      article.ID
	Reason  string
	Groups  []article.Group // where it will be filed; of a submission: all groups of Newsgroups carried here
	Needs   []article.Group `json:",omitempty"` // moderated groups still without approval
	From    string
	Subject string
	Octets  int
	First   time.Time
	Until   time.Time
	Token   string `json:",omitempty"` // 32 hexadecimal digits; who can name it, in a mail, speaks for the moderator
	Told    bool   `json:",omitempty"` // moderators were told
	Dated   bool   `json:",omitempty"` // came with Message-ID and Date

	Door    string
	Account string     `json:",omitempty"`
	Peer    string     `json:",omitempty"`
	Addr    netip.Addr `json:",omitzero"`
}

func (h Held) origin() Origin {
	return Origin{Door: h.Door, Account: h.Account, Peer: h.Peer, Addr: h.Addr}
}

// owner is whose share of the quota it uses.
func (h Held) owner() string {
	switch {
	case h.Peer != "":
		return "peer " + h.Peer
	case h.Account != "":
		return "account " + h.Account
	}
	return "address " + h.Addr.String()
}

// room is what memory holds of the waiting room: sums and ids.
type room struct {
	mu     sync.Mutex
	loaded bool
	octets int64
	shares map[string]int64
	ids    map[article.ID][]Held // without From and Subject
	change chan struct{}         // closed when something comes or goes
}

func (r *room) load(db *state.DB) error {
	if r.loaded {
		return nil
	}
	r.shares, r.ids = make(map[string]int64), make(map[article.ID][]Held)
	if db != nil {
		_, all, err := state.Table[Held]{DB: db, Bucket: waitBucket}.List("")
		if err != nil {
			return fmt.Errorf("read the waiting room: %w", err)
		}
		for _, h := range all {
			r.note(h)
		}
	}
	r.loaded = true
	return nil
}

func (r *room) note(h Held) {
	h.From, h.Subject, h.Groups, h.Needs = "", "", nil, nil
	r.octets += int64(h.Octets)
	r.shares[h.owner()] += int64(h.Octets)
	r.ids[h.ID] = append(r.ids[h.ID], h)
	r.tell()
}

func (r *room) drop(h Held) {
	list := r.ids[h.ID]
	for i := range list {
		if list[i].Key != h.Key {
			continue
		}
		r.octets -= int64(h.Octets)
		if r.shares[h.owner()] -= int64(h.Octets); r.shares[h.owner()] <= 0 {
			delete(r.shares, h.owner())
		}
		if list = append(list[:i:i], list[i+1:]...); len(list) == 0 {
			delete(r.ids, h.ID)
		} else {
			r.ids[h.ID] = list
		}
		r.tell()
		return
	}
}

func (r *room) tell() {
	if r.change != nil {
		close(r.change)
		r.change = nil
	}
}

// roomBars says whether a waiting article bars the id: a submission for all, the
// others for the peer that brought them (ARCHITECTURE §4).
func (a *Agent) roomBars(id article.ID, o Origin) bool {
	r := &a.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.load(a.State) != nil {
		return false
	}
	for _, h := range r.ids[id] {
		if h.Reason == WaitModerator || h.Peer == o.Peer {
			return true
		}
	}
	return false
}

// hold puts an article into the waiting room.
func (a *Agent) hold(h Held, wire []byte) error {
	if a.State == nil {
		return &Refusal{Reason: Busy, Code: "no-waiting-room", Text: "this node cannot keep it until it is decided about"}
	}
	r := &a.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.load(a.State); err != nil {
		return err
	}
	h.Octets = len(wire)
	n := int64(h.Octets)
	if r.octets+n > orInt(a.policy().WaitOctets, 64<<20) || r.shares[h.owner()]+n > orInt(a.policy().WaitPeerOctets, 8<<20) {
		return &Refusal{Reason: Busy, Code: "waiting-full", Text: "too much waits for a decision already, try later"}
	}
	err := a.State.Update(func(tx *state.Tx) error {
		n, err := tx.Next(waitBucket)
		if err != nil {
			return err
		}
		h.Key = fmt.Sprintf("%016x", n)
		raw, err := json.Marshal(h)
		if err != nil {
			return err
		}
		if err := tx.Put(waitBucket, h.Key, raw); err != nil {
			return err
		}
		return tx.Put(waitRaw, h.Key, wire)
	})
	if err != nil {
		return fmt.Errorf("keep in the waiting room: %w", err)
	}
	r.note(h)
	return nil
}

// wait puts a submission to a moderated group aside: RFC 5537 §3.5.1. It is
// detached and signed already; Path and Injection fields come on the way out.
func (in *injection) wait(context.Context) (Result, error) {
	if err := in.lock(); err != nil {
		return Result{}, err
	}
	art, err := in.build()
	if err != nil {
		return Result{}, err
	}
	var token [16]byte
	if err := in.random(token[:]); err != nil {
		return Result{}, fmt.Errorf("make a token: %w", err)
	}
	o := art.Overview()
	h := Held{
		ID: o.ID, Reason: WaitModerator, From: o.From, Subject: o.Subject, First: in.now, Token: hex.EncodeToString(token[:]),
		Dated: in.dated, Door: in.o.Door, Account: in.o.Account, Addr: in.o.Addr,
	}
	h.Until = in.now.Add(time.Duration(orInt(int64(in.policy().WaitFor), int64(30*day))))
	for _, g := range in.groups {
		h.Groups = append(h.Groups, g.Name)
		if g.Status == spool.Moderated {
			h.Needs = append(h.Needs, g.Name)
		}
	}
	if err := in.hold(h, art.Wire()); err != nil {
		return Result{}, err
	}
	return Result{ID: o.ID, Waiting: true}, nil
}

// keepWaiting puts an article of a peer aside whose key is unknown or whose time
// lies ahead. It is kept as it will be stored.
func (in *relaying) keepWaiting(_ context.Context, art *article.Article, where []article.Group) error {
	o := art.Overview()
	h := Held{ID: o.ID, Reason: WaitEarly, Groups: where, From: o.From, Subject: o.Subject, First: in.now, Until: in.hold,
		Door: in.o.Door, Account: in.o.Account, Peer: in.peer.Name, Addr: in.o.Addr}
	if in.result == UnknownKey {
		h.Reason = WaitKey
	}
	return in.Agent.hold(h, art.Wire())
}

// Waiting lists what waits, in order of arrival, or only what is for these groups.
func (a *Agent) Waiting(_ context.Context, groups ...article.Group) ([]Held, error) {
	if a.State == nil {
		return nil, nil
	}
	_, all, err := state.Table[Held]{DB: a.State, Bucket: waitBucket}.List("")
	if err != nil || len(groups) == 0 {
		return all, err
	}
	var out []Held
	for _, h := range all {
		for _, g := range groups {
			if contains(h.Groups, g) {
				out = append(out, h)
				break
			}
		}
	}
	return out, nil
}

func contains(list []article.Group, g article.Group) bool {
	for _, x := range list {
		if x == g {
			return true
		}
	}
	return false
}

// WaitingChanged returns a channel that is closed when something next comes into
// the waiting room or leaves it.
func (a *Agent) WaitingChanged() <-chan struct{} {
	a.room.mu.Lock()
	defer a.room.mu.Unlock()
	if a.room.change == nil {
		a.room.change = make(chan struct{})
	}
	return a.room.change
}

// Held returns what waits under key, and the article (without Path, if it is a
// submission). It is a *Refusal with Reason Absent if nothing does.
func (a *Agent) Held(_ context.Context, key string) (Held, *article.Article, error) {
	none := &Refusal{Reason: Absent, Code: "not-waiting", Text: "nothing of that name waits; perhaps it was decided already"}
	if a.State == nil {
		return Held{}, nil, none
	}
	var h Held
	var wire []byte
	err := a.State.View(func(tx *state.Tx) (err error) {
		h, err = state.Table[Held]{DB: a.State, Bucket: waitBucket}.In(tx, key)
		wire = tx.Get(waitRaw, key)
		return err
	})
	if errors.Is(err, state.ErrNotFound) || err == nil && wire == nil {
		return Held{}, nil, none
	} else if err != nil {
		return Held{}, nil, err
	}
	art, err := article.Parse(wire, article.Limits{Article: len(wire), Header: len(wire), Field: len(wire), Line: len(wire) + 1})
	return h, art, err
}

// ByToken finds a submission by the token that its moderators were told.
func (a *Agent) ByToken(ctx context.Context, token string) (Held, error) {
	all, err := a.Waiting(ctx)
	if err != nil {
		return Held{}, err
	}
	for _, h := range all {
		if h.Token != "" && h.Token == token {
			return h, nil
		}
	}
	return Held{}, &Refusal{Reason: Absent, Code: "not-waiting", Text: "nothing of that name waits; perhaps it was decided already"}
}

// Told notes that the moderators were told of a submission.
func (a *Agent) Told(_ context.Context, key string) error {
	if a.State == nil {
		return nil
	}
	return a.State.Update(func(tx *state.Tx) error {
		t := state.Table[Held]{DB: a.State, Bucket: waitBucket}
		h, err := t.In(tx, key)
		if errors.Is(err, state.ErrNotFound) {
			return nil
		} else if err != nil {
			return err
		}
		h.Told = true
		return t.PutIn(tx, key, h)
	})
}

// leave takes an article out of the room for good.
func (a *Agent) leave(h Held) error {
	r := &a.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.load(a.State); err != nil {
		return err
	}
	err := a.State.Update(func(tx *state.Tx) error {
		return errors.Join(tx.Delete(waitBucket, h.Key), tx.Delete(waitRaw, h.Key))
	})
	if err != nil {
		return fmt.Errorf("empty the waiting room: %w", err)
	}
	r.drop(h)
	return nil
}

// mayDecide asks for Moderate in the moderated groups; who names the token of
// the submission needs no more.
func (a *Agent) mayDecide(ctx context.Context, h Held, by Origin, token string) error {
	if token != "" && token == h.Token {
		return nil
	}
	acc, err := a.Access(ctx, by)
	if err != nil {
		return err
	}
	groups := h.Needs
	if len(groups) == 0 {
		groups = h.Groups
	}
	for _, g := range groups {
		if err := acc.May(ctx, Moderate, g); err != nil {
			return err
		}
	}
	return nil
}

// Approve lets a submission in: Approved is added, the approval signed, and the rest of the pipeline runs as at injection. token may be "".
func (a *Agent) Approve(ctx context.Context, key string, by Origin, token string) (Result, error) {
	h, art, err := a.Held(ctx, key)
	if err != nil {
		return Result{}, err
	}
	if h.Reason != WaitModerator {
		return Result{}, &Refusal{Reason: Denied, Code: "no-submission", Text: "it waits for a key or for its time, not for a moderator"}
	}
	if err := a.mayDecide(ctx, h, by, token); err != nil {
		return Result{}, err
	}
	in := &injection{Agent: a, d: article.NewDraft(art), o: h.origin(), now: a.now(), dated: h.Dated}
	if in.groups, err = a.stillHere(ctx, h.Groups); err != nil {
		return Result{}, err
	}
	in.d.Set("Approved", a.approver(ctx, by))
	if a.Keys != nil {
		if err := a.Keys.SignDraft(ctx, in.d, by.Account, PurposeApprove); err != nil {
			return Result{}, fmt.Errorf("sign the approval: %w", err)
		}
	}
	res, err := in.release(ctx)
	var r *Refusal
	if err != nil && !(errors.As(err, &r) && r.Reason == Duplicate) {
		return Result{}, err
	}
	if err := a.leave(h); err != nil {
		return res, err
	}
	a.counts.add("approve", nil)
	return res, nil
}

// release is store for what has its Cancel-Lock already.
func (in *injection) release(ctx context.Context) (Result, error) {
	in.trace()
	return in.finish(ctx)
}

func (a *Agent) stillHere(ctx context.Context, names []article.Group) ([]spool.GroupInfo, error) {
	var out []spool.GroupInfo
	for _, g := range names {
		info, err := a.Spool.Group(ctx, g)
		if errors.Is(err, spool.ErrNotFound) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("look up group: %w", err)
		}
		out = append(out, info)
	}
	if len(out) == 0 {
		return nil, &Refusal{Reason: Absent, Code: "no-group", Text: "its groups are gone"}
	}
	return out, nil
}

// approver is the content of Approved: RFC 5536 §3.2.1, a mail address.
func (a *Agent) approver(ctx context.Context, by Origin) string {
	if by.Account != "" && a.Members != nil {
		if m, err := a.Members.Get(ctx, by.Account); err == nil && m.Email != "" {
			return m.Email
		}
	}
	name := by.Account
	if name == "" {
		name = "moderator"
	}
	for i := range len(name) {
		if name[i] == '@' {
			return name
		}
	}
	return name + "@" + a.Host
}

// Reject drops what waits and returns it, so that its poster can be told.
func (a *Agent) Reject(ctx context.Context, key string, by Origin, token string) (Held, *article.Article, error) {
	h, art, err := a.Held(ctx, key)
	if err != nil {
		return h, nil, err
	}
	if err := a.mayDecide(ctx, h, by, token); err != nil {
		return h, nil, err
	}
	if err := a.leave(h); err != nil {
		return h, nil, err
	}
	a.counts.add("reject", nil)
	return h, art, nil
}

// Reconsider looks again at what waits for a key or for its time: pki calls it
// when a statement came, Tend each minute. What is verified by now is filed,
// what is invalid or overdue is dropped.
func (a *Agent) Reconsider(ctx context.Context) error {
	all, err := a.Waiting(ctx)
	if err != nil {
		return err
	}
	for _, h := range all {
		if err := a.reconsider(ctx, h); err != nil {
			return err
		}
	}
	return nil
}

func (a *Agent) reconsider(ctx context.Context, h Held) error {
	now := a.now()
	if h.Reason == WaitModerator || a.Keys == nil {
		if now.After(h.Until) {
			a.counts.add("expire", nil)
			return a.leave(h)
		}
		return nil
	}
	h, art, err := a.Held(ctx, h.Key)
	if err != nil {
		return nil // decided meanwhile
	}
	in := &relaying{Agent: a, o: h.origin(), now: now, how: spool.Relayed, art: art}
	err = in.verify(ctx)
	var r *Refusal
	switch {
	case errors.As(err, &r):
		return a.leave(h)
	case err != nil:
		return err
	case !in.hold.IsZero() && now.Before(in.hold), in.result == UnknownKey && h.Reason == WaitKey && now.Before(h.Until):
		return nil
	}
	where, infos, err := []article.Group(nil), []spool.GroupInfo(nil), error(nil)
	if infos, err = a.stillHere(ctx, h.Groups); err == nil {
		in.infos = infos
		in.hold = time.Time{}
		where, err = in.demanded(h.Groups)
	}
	if errors.As(err, &r) || in.hold.After(h.Until) {
		return a.leave(h)
	} else if err != nil {
		return err
	}
	_, err = in.add(ctx, art, spool.Arrival{
		Groups: where, Via: spool.Via{How: spool.Relayed, Peer: h.Peer}, Proof: in.proof, At: now, Expires: expires(art, now),
	})
	if errors.As(err, &r) && r.Reason != Duplicate || err != nil && r == nil {
		return err
	}
	return a.leave(h)
}

// Tend keeps house until ctx ends: it drops what waited too long and lets in
// whose time has come. It is one goroutine's work.
func (a *Agent) Tend(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		if err := a.Reconsider(ctx); err != nil && ctx.Err() == nil {
			a.log().Warn("waiting room", "error", err)
		}
		if err := a.sweepCancels(); err != nil && ctx.Err() == nil {
			a.log().Warn("kept cancels", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// sweepCancels forgets kept cancels whose time is over.
func (a *Agent) sweepCancels() error {
	p := &a.pending
	p.mu.Lock()
	if err := p.load(a.State); err != nil {
		p.mu.Unlock()
		return err
	}
	now := a.now()
	var old []article.ID
	for id, orders := range p.m {
		if now.After(orders[len(orders)-1].Until) {
			old = append(old, id)
		}
	}
	p.mu.Unlock()
	if len(old) == 0 {
		return nil
	}
	return a.dropCancels(old...)
}
