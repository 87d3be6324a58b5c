package directory

import (
	"context"
	"testing"
	"time"

	"github.com/litfass/litfass/pki"
	"github.com/litfass/litfass/spool"
)

// asking gives a box its Requests.
func asking(b *box) *Requests {
	r := &Requests{Prefix: "mesh", Host: b.name + ".mesh", Spool: b.spool, Publish: b.publish, Now: func() time.Time { return time.Unix(*b.clock, 0) }}
	b.keys.Unknown = r.Unknown
	return r
}

// told lets a box's Requests follow what came after a place.
func told(t *testing.T, b *box, r *Requests, after spool.Seq) spool.Seq {
	t.Helper()
	for e, err := range b.spool.Since(context.Background(), after) {
		if err == nil {
			err = r.Follow(context.Background(), e)
		}
		if err != nil {
			t.Fatal(err)
		}
		after = e.Seq
	}
	return after
}

// in counts the articles of one of the directory's groups.
func in(t *testing.T, b *box, last string) int {
	t.Helper()
	g, err := b.spool.Group(context.Background(), name("mesh", last))
	if err != nil {
		t.Fatal(err)
	}
	return int(g.Count)
}

func once(t *testing.T, r *Requests) {
	t.Helper()
	if err := r.Once(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// TestRequest: of three boxes in a line the last gets an article by somebody whose
// statements never reached it. It asks once, the two others know, one of them answers,
// and the article comes in.
func TestRequest(t *testing.T) {
	clock := testStart
	boxes := mesh(t, 3, false, &clock)
	last := boxes[2]
	boxes[1].links = []*box{boxes[0]}
	last.links = nil
	boxes[0].person("anna")
	flood(boxes)
	clock += 10
	id, err := boxes[0].post("anna")
	if err != nil {
		t.Fatal(err)
	}
	rs := []*Requests{asking(boxes[0]), asking(boxes[1]), asking(last)}
	var at [3]spool.Seq
	for i, b := range boxes {
		at[i] = told(t, b, rs[i], 0)
	}
	if err := last.relay(boxes[0].open(id)); err != nil {
		t.Fatal(err)
	}
	once(t, rs[2])
	if n := in(t, last, groupRequest); n != 0 {
		t.Fatal("it asked at once")
	}
	clock += 2 * int64(requestWait/time.Second)
	fetched := 0
	rs[2].Fetch = func(context.Context) { fetched++ }
	once(t, rs[2])
	once(t, rs[2])
	if n := in(t, last, groupRequest); n != 1 || fetched != 1 {
		t.Fatalf("it asked %d times in articles, %d times its neighbours' directories", n, fetched)
	}
	_ = last.relay(boxes[0].open(id)) // nor does the next article make it ask again
	clock += 2 * int64(requestWait/time.Second)
	once(t, rs[2])
	if n := in(t, last, groupRequest); n != 1 {
		t.Fatalf("it asked %d times", n)
	}

	last.links = []*box{boxes[1]}
	boxes[1].links = []*box{boxes[0], last}
	for e := range boxes[1].spool.Since(context.Background(), 0) { // what was lost does not come again by itself
		boxes[1].sent[last] = e.Seq
	}
	flood(boxes)
	before := in(t, boxes[0], groupKeys)
	at[0], at[1] = told(t, boxes[0], rs[0], at[0]), told(t, boxes[1], rs[1], at[1])
	once(t, rs[0])
	if n := in(t, boxes[0], groupKeys); n != before {
		t.Fatal("it answered at once, before others could")
	}
	clock += 2 * int64(requestWait/time.Second)
	once(t, rs[1])
	flood(boxes)
	told(t, boxes[0], rs[0], at[0])
	once(t, rs[0])
	flood(boxes)
	if n := in(t, boxes[0], groupKeys); n != before+1 {
		t.Fatalf("%d articles answer one request", n-before)
	}
	if err := last.agent.Reconsider(context.Background()); err != nil {
		t.Fatal(err)
	}
	if !last.has(id) {
		t.Error("the article did not come in when the answer had come")
	}
}

// TestRequestBounds: neither asking nor answering grows with what others send.
func TestRequestBounds(t *testing.T) {
	clock := testStart
	b := newBox(t, "a", &clock)
	r := asking(b)
	var known []pki.ID
	for i := range 5000 {
		r.Unknown(pki.ID{1, byte(i), byte(i >> 8)}, pki.Key{})
	}
	for _, s := range inceptions(t, 200, testStart) {
		if _, err := b.keys.Ledger.Apply("", []*pki.Statement{s}); err != nil {
			t.Fatal(err)
		}
		known = append(known, s.ID)
	}
	r.mu.Lock()
	for _, id := range known {
		r.answers.plan(id, r.Now())
	}
	noted := len(r.asks.due)
	r.mu.Unlock()
	if noted > requestsNoted {
		t.Errorf("%d identities are noted", noted)
	}
	clock += 2 * int64(requestWait/time.Second)
	for range 50 {
		once(t, r)
	}
	if n := in(t, b, groupRequest); n != requestsHour {
		t.Errorf("%d articles ask in an hour", n)
	}
	r.mu.Lock()
	answered := len(r.answers.done)
	r.mu.Unlock()
	if answered != answersHour {
		t.Errorf("%d identities were answered for in an hour", answered)
	}
}

// TestIDsIn: what a Keywords field names is bounded, and each once.
func TestIDsIn(t *testing.T) {
	id := pki.ID{7}.String()
	text := "nonsense, id:" + id + ",\r\n " + id
	if got := idsIn(text); len(got) != 1 || got[0].String() != id {
		t.Errorf("%v", got)
	}
	for i := range 100 {
		text += ", id:" + pki.ID{8, byte(i)}.String()
	}
	if got := idsIn(text); len(got) != requestIDs {
		t.Errorf("%d identities", len(got))
	}
}
