package directory

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/pki"
	"github.com/litfass/litfass/spool"
)

// TestReach: a revocation posted at one end bars the key at the other as soon as
// the flood arrives; a node that was off line a week catches up before it judges.
func TestReach(t *testing.T) {
	for _, shape := range []struct {
		name string
		ring bool
	}{{"line", false}, {"ring", true}} {
		t.Run(shape.name, func(t *testing.T) {
			clock := testStart
			boxes := mesh(t, 10, shape.ring, &clock)
			first, last := boxes[0], boxes[9]
			id, words := first.person("anna")
			flood(boxes)
			clock += 60
			good := first.posts("anna")
			flood(boxes)
			if !last.has(good) {
				t.Fatal("her article did not reach the other end, where known signers are wanted")
			}
			sleeper := boxes[5]
			if shape.ring {
				sleeper.down = true // in a line it would cut the mesh in two
			}
			clock += 7 * 24 * 3600
			bad := clock - 3600
			stolen := first.posts("anna") // the thief has her device; it has not left the box yet
			a := first.open(stolen)
			first.recovers(id, words, bad)
			first.publishes()
			for _, next := range first.links { // what the thief signed comes later
				first.sent[next] = first.spool.Last()
				for s := range first.spool.Since(context.Background(), 0) {
					if s.ID != stolen {
						if err := next.relay(first.open(s.ID)); err != nil && !duplicate(err) {
							t.Fatal(err)
						}
					}
				}
			}
			flood(boxes)
			if err := last.relay(a); err == nil || last.has(stolen) {
				t.Error("the stolen key still posts at the other end:", err)
			}
			if !shape.ring {
				return
			}
			if sleeper.has(stolen) {
				t.Fatal("the sleeper has it already")
			}
			sleeper.down = false
			flood(boxes)
			if err := sleeper.relay(a); err == nil || sleeper.has(stolen) {
				t.Error("a node that was off line takes the stolen key:", err)
			}
		})
	}
}

// TestUnknownKeyWaits: where a known signer is wanted, an article by an unknown key
// waits unseen and comes in when the statements do.
func TestUnknownKeyWaits(t *testing.T) {
	clock := testStart
	boxes := mesh(t, 2, false, &clock)
	boxes[0].links, boxes[1].links = nil, nil
	boxes[0].person("anna")
	boxes[0].work()
	clock += 10
	id, err := boxes[0].post("anna")
	if err != nil {
		t.Fatal(err)
	}
	if err := boxes[1].relay(boxes[0].open(id)); err != nil && boxes[1].has(id) {
		t.Fatal(err)
	}
	if boxes[1].has(id) {
		t.Fatal("it is seen before its key is known")
	}
	boxes[0].links = []*box{boxes[1]}
	boxes[0].sent[boxes[1]] = 0
	for e := range boxes[0].spool.Since(context.Background(), 0) {
		if e.ID != id {
			_ = boxes[1].relay(boxes[0].open(e.ID))
		}
	}
	boxes[1].work()
	if err := boxes[1].agent.Reconsider(context.Background()); err != nil {
		t.Fatal(err)
	}
	if !boxes[1].has(id) {
		t.Error("it did not come in when its key became known")
	}
}

func get(t *testing.T, h http.Handler, path string) (int, string, http.Header) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w.Code, w.Body.String(), w.Header()
}

func TestHTTP(t *testing.T) {
	clock := testStart
	b, c := newBox(t, "one", &clock), newBox(t, "two", &clock)
	id, _ := b.person("anna")
	h := Handler(b.keys.Ledger)
	code, text, _ := get(t, h, Path+"id/"+id.String())
	list, err := pki.ParseStatements(text)
	if code != 200 || err != nil || len(list) != 3 { // inception and two arrows to her device
		t.Errorf("id: %d, %d statements, %v", code, len(list), err)
	}
	if code, _, _ := get(t, h, Path+"id/"+c.keys.NodeID().String()); code != 404 {
		t.Error("an unknown identity:", code)
	}
	if code, _, _ := get(t, h, Path+"id/x"); code != 400 {
		t.Error("no identity:", code)
	}
	if code, text, _ := get(t, h, Path+"key/"+list[0].Key.String()); code != 200 || !strings.Contains(text, id.String()) {
		t.Error("key:", code)
	}
	code, text, hd := get(t, h, Path+"since/0")
	if all, err := pki.ParseStatements(text); code != 200 || err != nil || len(all) != 5 || hd.Get("Pki-Next") != "5" {
		t.Error("since:", code, len(all), hd.Get("Pki-Next"))
	}
	if code, text, hd := get(t, h, Path+"since/5"); code != 200 || text != "" || hd.Get("Pki-Next") != "5" {
		t.Error("at the end:", code, text)
	}
	if code, _, _ := get(t, h, Path+"since/99"); code != http.StatusGone {
		t.Error("beyond the end:", code)
	}
	_, snap, _ := get(t, h, Path+"snapshot")
	if n, err := ReadSnapshot(c.keys.Ledger, "peer", strings.NewReader(snap)); err != nil || n != 5 {
		t.Error("snapshot:", n, err)
	}
	if _, status := c.keys.Ledger.Standing(id); status != pki.Live {
		t.Error("the new node does not know her")
	}
	w := httptest.NewRecorder()
	Handler(c.keys.Ledger).ServeHTTP(w, httptest.NewRequest("POST", Path+"statements", strings.NewReader(text)))
	if body, _ := io.ReadAll(w.Body); w.Code != 200 || !strings.HasPrefix(string(body), "taken 0, known 5") {
		t.Error("POST:", w.Code, string(body))
	}
	w = httptest.NewRecorder()
	Handler(c.keys.Ledger).ServeHTTP(w, httptest.NewRequest("POST", Path+"statements", strings.NewReader(strings.Repeat("x", 10<<20))))
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Error("a POST of 10 MB:", w.Code)
	}
}

func TestFilter(t *testing.T) {
	clock := testStart
	b := newBox(t, "one", &clock)
	id, _ := b.person("anna")
	list, err := b.keys.Ledger.ByIdentity(id)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		groups, body, extra string
		ok                  bool
	}{
		{"mesh.admin.pki.keys", list[0].Text(), "", true},
		{"mesh.admin.pki.keys", list[0].Text() + "buy now\n", "", false},
		{"mesh.admin.pki.keys", "", "", false},
		{"mesh.admin.pki.request", "", "", true},
		{"mesh.admin.pki.keys,mesh.talk", list[0].Text(), "", false},
		{"mesh.admin.pki.keys", list[0].Text(), "Supersedes: <1@x>\r\n", false},
		{"mesh.talk", "anything\n", "", true},
	} {
		wire, err := article.Normalize([]byte("From: a@x\r\nNewsgroups: "+c.groups+"\r\nSubject: x\r\nMessage-ID: <1@y>\r\n"+c.extra+"\r\n"+c.body), article.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		a, err := article.Parse(wire, article.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if err := (Filter{Prefix: "mesh"}).Check(context.Background(), a, agent.Origin{}); (err == nil) != c.ok {
			t.Errorf("%s %q: %v", c.groups, c.body, err)
		}
	}
}

// TestCatchesUp: a node that was away holds what others signed until it has asked what
// was revoked; then the stolen key is barred although its article came first.
func TestCatchesUp(t *testing.T) {
	clock := testStart
	boxes := mesh(t, 2, false, &clock)
	here, sleeper := boxes[0], boxes[1]
	id, words := here.person("anna")
	sleeper.person("bob")
	flood(boxes)
	if err := sleeper.keys.Ledger.Alive(); err != nil {
		t.Fatal(err)
	}
	here.links = nil
	clock += 7 * 24 * 3600
	if away, err := sleeper.keys.Ledger.Away(); err != nil || away != 7*24*time.Hour {
		t.Error("away for", away, err)
	}
	sleeper.keys.Ledger.CatchUp(true)
	bad := clock - 3600
	stolen := here.posts("anna")
	a := here.open(stolen)
	here.recovers(id, words, bad)
	if err := sleeper.relay(a); err != nil || sleeper.has(stolen) {
		t.Error("it judges before it knows:", err)
	}
	if _, err := sleeper.post("bob"); err != nil {
		t.Error("nobody can post here meanwhile:", err)
	}
	srv := httptest.NewServer(Handler(here.keys.Ledger))
	defer srv.Close()
	if _, err := (&Fetcher{Ledger: sleeper.keys.Ledger}).Pull(context.Background(), srv.URL, "here"); err != nil {
		t.Fatal(err)
	}
	sleeper.keys.Ledger.CatchUp(false)
	if err := sleeper.agent.Reconsider(context.Background()); err != nil {
		t.Fatal(err)
	}
	if waits, err := sleeper.agent.Waiting(context.Background()); err != nil || len(waits) != 0 || sleeper.has(stolen) {
		t.Errorf("the stolen key's article: %d wait, stored %v, %v", len(waits), sleeper.has(stolen), err)
	}
}

// TestRevocations: those that came after a place are found, oldest first, also where
// there are more than are looked at in one step.
func TestRevocations(t *testing.T) {
	clock := testStart
	b := newBox(t, "one", &clock)
	ctx := context.Background()
	id, _ := b.person("anna")
	list, err := b.keys.Ledger.ByIdentity(id)
	if err != nil {
		t.Fatal(err)
	}
	var seqs []spool.Seq
	for i := range 150 {
		for _, group := range []string{"revoke", "keys"} {
			wire, err := article.Normalize(fmt.Appendf(nil, "Path: x\nFrom: a@x\nNewsgroups: mesh.admin.pki.%s\nSubject: x\nMessage-ID: <%d@%s>\nDate: %s\n\n%s",
				group, i, group, article.FormatDate(time.Unix(clock, 0)), list[0].Text()), article.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			e, err := b.agent.Relay(ctx, wire, agent.Origin{Door: "nntp", Peer: "peer"})
			if err != nil {
				t.Fatal(err)
			}
			if group == "revoke" {
				seqs = append(seqs, e.Seq)
			}
		}
	}
	for _, from := range []int{0, 1, 63, 64, 65, 149, 150} {
		after := spool.Seq(0)
		if from > 0 {
			after = seqs[from-1]
		}
		got, err := Revocations(ctx, b.spool, "mesh", after)
		if err != nil || len(got) != len(seqs)-from {
			t.Fatalf("after %d: %d, %v", from, len(got), err)
		}
		for i, e := range got {
			if e.Seq != seqs[from+i] {
				t.Fatalf("after %d: place %d is %d, want %d", from, i, e.Seq, seqs[from+i])
			}
		}
	}
	if got, err := Revocations(ctx, b.spool, "nowhere", 0); err != nil || len(got) != 0 {
		t.Error("a prefix without groups:", got, err)
	}
}

// TestRevokedWhenTaken: once a revocation is acknowledged it bars the key, before any
// follower ran.
func TestRevokedWhenTaken(t *testing.T) {
	clock := testStart
	boxes := mesh(t, 2, false, &clock)
	here, there := boxes[0], boxes[1]
	id, words := here.person("anna")
	flood(boxes)
	clock += 3600
	stolen := here.posts("anna")
	bad := clock - 60
	here.recovers(id, words, bad)
	here.publishes()
	news, err := Revocations(context.Background(), here.spool, "mesh", here.sent[there])
	if err != nil || len(news) == 0 {
		t.Fatal(len(news), err)
	}
	for _, e := range news {
		if err := there.relay(here.open(e.ID)); err != nil {
			t.Fatal(err)
		}
	}
	if err := there.relay(here.open(stolen)); err == nil || there.has(stolen) {
		t.Error("the stolen key's article is taken right after the revocation:", err)
	}
}
