package directory

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/pki"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/spooltest"
)

const testStart = int64(1_800_000_000)

// box is one node, in memory but for its databases.
type box struct {
	t       testing.TB
	name    string
	clock   *int64
	keys    *pki.Keyring
	spool   spool.Store
	agent   *agent.Agent
	follow  *Follower
	publish *Publisher
	seen    spool.Seq
	links   []*box
	sent    map[*box]spool.Seq
	down    bool
}

func newBox(t testing.TB, name string, clock *int64) *box {
	t.Helper()
	dir := t.TempDir()
	db, err := state.Open(filepath.Join(dir, "pki.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	now := func() time.Time { return time.Unix(*clock, 0) }
	ledger, err := pki.Open(db, now)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := pki.OpenKeyring(filepath.Join(dir, "keys"), ledger)
	if err != nil {
		t.Fatal(err)
	}
	sdb, err := state.Open(filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sdb.Close() })
	b := &box{t: t, name: name, clock: clock, keys: keys, spool: spooltest.NewMem(), sent: map[*box]spool.Seq{}}
	t.Cleanup(func() { b.spool.Close() })
	ctx := context.Background()
	if err := MakeGroups(ctx, b.spool, "mesh"); err != nil {
		t.Fatal(err)
	}
	if err := b.spool.PutGroups(ctx, spool.GroupInfo{Name: "mesh.talk", Status: spool.PostOpen, Require: "known"}); err != nil {
		t.Fatal(err)
	}
	b.agent = &agent.Agent{Host: name + ".mesh", Spool: b.spool, State: sdb, Keys: keys, Filters: []agent.Filter{Filter{Prefix: "mesh", Ledger: ledger}}, Now: now,
		Peers: agent.PeerList{{Name: "peer"}, {Name: "spoiler"}}, Policy: agent.Policy{Anonymous: map[string]string{"nntp": "post"}}}
	b.follow = &Follower{Prefix: "mesh", Spool: b.spool, Ledger: ledger}
	b.publish = &Publisher{Prefix: "mesh", Host: name + ".mesh", Ledger: ledger, Agent: b.agent}
	return b
}

// work publishes, follows, and sends to the neighbours what they have not got; it
// says whether anything moved.
func (b *box) work() (moved bool) {
	ctx := context.Background()
	if b.down {
		return false
	}
	if err := b.publish.Once(ctx); err != nil {
		b.t.Fatal(err)
	}
	for e, err := range b.spool.Since(ctx, b.seen) {
		if err != nil {
			b.t.Fatal(err)
		}
		if err := b.follow.Follow(ctx, e); err != nil {
			b.t.Fatal(err)
		}
		b.seen, moved = e.Seq, true
	}
	for _, to := range b.links {
		if to.down {
			continue
		}
		for e, err := range b.spool.Since(ctx, b.sent[to]) {
			if err != nil {
				b.t.Fatal(err)
			}
			a, err := b.spool.Open(ctx, e.Seq)
			if err != nil {
				b.t.Fatal(err)
			}
			to.relay(a)
			b.sent[to], moved = e.Seq, true
		}
	}
	return moved
}

func (b *box) relay(a *article.Article) error {
	_, err := b.agent.Relay(context.Background(), a.Wire(), agent.Origin{Door: "nntp", Peer: "peer"})
	return err
}

// flood lets all boxes work until nothing moves.
func flood(boxes []*box) {
	for moved := true; moved; {
		moved = false
		for _, b := range boxes {
			moved = b.work() || moved
		}
	}
}

// mesh links boxes in a line, or in a ring, and lets all trust the first one.
func mesh(t testing.TB, n int, ring bool, clock *int64) []*box {
	var out []*box
	for i := range n {
		out = append(out, newBox(t, fmt.Sprintf("box%d", i), clock))
	}
	for i, b := range out {
		if i+1 < n || ring {
			next := out[(i+1)%n]
			b.links, next.links = append(b.links, next), append(next.links, b)
		}
		if err := b.keys.Ledger.Trust(pki.Anchor{ID: out[0].keys.NodeID(), Purpose: "*", Scope: "*", Depth: 4}); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// post lets an account of a box post to mesh.talk.
func (b *box) post(account string) (article.ID, error) {
	d := &article.Draft{Header: [][2]string{{"From", "A <a@x.mesh>"}, {"Newsgroups", "mesh.talk"}, {"Subject", "Hallo"}},
		Body: bytes.NewReader([]byte("Hallo\r\n"))}
	// Signed as the account's device; the door's login is not what is tested here.
	h, used, err := b.keys.Signer(context.Background(), account, "post")
	if err != nil {
		return "", err
	}
	id := article.ID("<" + fmt.Sprintf("%020d", time.Now().UnixNano()) + ".sig-" + h + "@" + b.name + ".mesh>")
	d.Set("Message-ID", string(id))
	d.Set("Date", article.FormatDate(time.Unix(*b.clock, 0)))
	if err := b.keys.SignDraft(context.Background(), d, account, used); err != nil {
		return "", err
	}
	_, err = b.agent.Inject(context.Background(), d, agent.Origin{Door: "control"})
	return id, err
}

func (b *box) has(id article.ID) bool {
	st, err := b.spool.Lookup(context.Background(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return st == spool.Stored
}

// person makes an identity for an account of a box.
func (b *box) person(account string) (id pki.ID, words string) {
	b.t.Helper()
	id, list, err := b.keys.NewIdentity(account, "geheim")
	if err != nil {
		b.t.Fatal(err)
	}
	return id, strings.Join(list, " ")
}

// posts is post that works.
func (b *box) posts(account string) article.ID {
	b.t.Helper()
	id, err := b.post(account)
	if err != nil {
		b.t.Fatal(err)
	}
	return id
}

// recovers takes anna's identity back: her keys were in wrong hands since bad.
func (b *box) recovers(id pki.ID, words string, bad int64) {
	b.t.Helper()
	since := time.Unix(bad, 0)
	if _, err := b.keys.Recover(id, words, "anna", "neu", nil, &since); err != nil {
		b.t.Fatal(err)
	}
}

// publishes posts what waits for it.
func (b *box) publishes() {
	b.t.Helper()
	if err := b.publish.Once(context.Background()); err != nil {
		b.t.Fatal(err)
	}
}

// open reads a stored article.
func (b *box) open(id article.ID) *article.Article {
	b.t.Helper()
	e, err := b.spool.ByID(context.Background(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	a, err := b.spool.Open(context.Background(), e.Seq)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

func duplicate(err error) bool {
	r, ok := err.(*agent.Refusal)
	return ok && r.Reason == agent.Duplicate
}
