package directory

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/pki"
	"github.com/litfass/litfass/spool"
)

// The attacks of docs/threat-model.md on articles, against a whole agent.

// changed takes an article as text, changes it, and brings it as another peer would.
func (b *box) changed(t *testing.T, a *article.Article, old, new string) error {
	t.Helper()
	text := string(a.Octets())
	if !strings.Contains(text, old) {
		t.Fatalf("%q is not in the article", old)
	}
	wire, err := article.Normalize([]byte(strings.Replace(text, old, new, 1)), article.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.agent.Relay(context.Background(), wire, agent.Origin{Door: "nntp", Peer: "spoiler"})
	return err
}

// TestForgedAndReplayed: a signed article can not be given to another sender, put
// into another group, turned into an order, or stripped of its signature; and the
// spoilt copies do not keep the good one out.
func TestForgedAndReplayed(t *testing.T) {
	clock := testStart
	boxes := mesh(t, 2, false, &clock)
	here, there := boxes[0], boxes[1]
	if err := there.spool.PutGroups(context.Background(), spool.GroupInfo{Name: "mesh.other", Status: spool.PostOpen}); err != nil {
		t.Fatal(err)
	}
	here.person("anna")
	flood(boxes)
	id := here.posts("anna")
	a := here.open(id)
	sig := a.Get("Article-Signature")
	for _, c := range []struct{ what, old, new string }{
		{"another sender", "From: A <a@x.mesh>", "From: Bob <bob@x.mesh>"},
		{"another group", "Newsgroups: mesh.talk", "Newsgroups: mesh.other"},
		{"one more group", "Newsgroups: mesh.talk", "Newsgroups: mesh.talk,mesh.other"},
		{"an order", "Subject: Hallo", "Subject: Hallo\r\nControl: rmgroup mesh.talk"},
		{"superseding", "Subject: Hallo", "Subject: Hallo\r\nSupersedes: <other@x>"},
		{"answers elsewhere", "Subject: Hallo", "Subject: Hallo\r\nFollowup-To: mesh.other"},
		{"another text", "\r\n\r\nHallo", "\r\n\r\nHello"},
		{"another identity", sig[strings.Index(sig, "i=")+2:][:52], here.keys.NodeID().String()},
		{"no signature", "Article-Signature:", "X-Signature:"},
	} {
		if err := there.changed(t, a, c.old, c.new); err == nil || there.has(id) {
			t.Errorf("%s: taken (%v)", c.what, err)
		}
	}
	if err := there.relay(a); err != nil || !there.has(id) {
		t.Error("the spoilt copies keep the good one out:", err)
	}
}

// TestCancelByStranger: a signed cancel of somebody else does nothing, before or
// after its target; the author's own does.
func TestCancelByStranger(t *testing.T) {
	clock := testStart
	boxes := mesh(t, 1, false, &clock)
	b := boxes[0]
	ctx := context.Background()
	for _, name := range []string{"anna", "mallory"} {
		b.person(name)
	}
	control := &agent.Control{Agent: b.agent}
	obey := func() {
		t.Helper()
		for e, err := range b.spool.Since(ctx, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if err := control.Follow(ctx, e); err != nil {
				t.Fatal(err)
			}
		}
	}
	cancel := func(account string, target article.ID) {
		t.Helper()
		d := &article.Draft{Header: [][2]string{{"From", "A <a@x.mesh>"}, {"Newsgroups", "mesh.talk"}, {"Subject", "cancel"},
			{"Control", "cancel " + string(target)}, {"Date", article.FormatDate(time.Unix(clock, 0))},
			{"Message-ID", "<cancel-by-" + account + "-" + target.Bare()[:20] + "@x.mesh>"}}, Body: bytes.NewReader([]byte("x\r\n"))}
		if err := b.keys.SignDraft(ctx, d, account, "control"); err != nil {
			t.Fatal(err)
		}
		d.Set("Path", "x.mesh!not-for-mail")
		a, err := d.Build(article.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.agent.Relay(ctx, a.Wire(), agent.Origin{Door: "nntp", Peer: "peer"}); err != nil {
			t.Fatal(err)
		}
	}
	id := b.posts("anna")
	cancel("mallory", id)
	obey()
	if !b.has(id) {
		t.Fatal("a stranger's cancel is obeyed")
	}
	cancel("anna", id)
	obey()
	if b.has(id) {
		t.Error("the author's own cancel is not obeyed")
	}
}

// TestRevocationHeldBack: a peer that carries everything but revocations delays
// them no longer than until a second way is used; HTTP is one.
func TestRevocationHeldBack(t *testing.T) {
	clock := testStart
	boxes := mesh(t, 2, false, &clock)
	here, there := boxes[0], boxes[1]
	id, words := here.person("anna")
	flood(boxes)
	here.links = nil // the liar between them passes on nothing from here on
	bad := clock
	clock += 60
	stolen := here.posts("anna")
	clock += 60
	here.recovers(id, words, bad)
	if err := there.relay(here.open(stolen)); err != nil || !there.has(stolen) {
		t.Fatal("without the news the thief's article is taken, that is what the liar is after:", err)
	}
	srv := httptest.NewServer(Handler(here.keys.Ledger))
	defer srv.Close()
	res, err := srv.Client().Get(srv.URL + Path + "snapshot")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := ReadSnapshot(there.keys.Ledger, "http", res.Body); err != nil {
		t.Fatal(err)
	}
	e, err := there.spool.ByID(context.Background(), stolen)
	if err != nil {
		t.Fatal(err)
	}
	r, err := there.keys.Judge(context.Background(), e.Proof, e.Arrived, []article.Group{"mesh.talk"})
	if err != nil || r != string(pki.ResultDisputed) {
		t.Errorf("what came in between is %s, want disputed (%v)", r, err)
	}
	next := here.posts("anna")
	if err := there.relay(here.open(next)); err != nil || !there.has(next) {
		t.Error("the owner can not post after all:", err)
	}
}

// TestTwoFaces: a thief shows one rotation to one half of the mesh and another to
// the other half; where they meet, both are posted again, and all freeze it.
func TestTwoFaces(t *testing.T) {
	clock := testStart
	boxes := mesh(t, 3, false, &clock)
	owner := ed25519.NewKeyFromSeed(make([]byte, 32))
	stolen := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	next := pki.KeyOf(stolen).Digest()
	incept, err := pki.Make(pki.Statement{Type: pki.TypeIncept, Time: clock, Key: pki.KeyOf(owner), Next: &next}, owner)
	if err != nil {
		t.Fatal(err)
	}
	var faces []*pki.Statement
	for i := range 2 {
		after := pki.Digest{byte(i)}
		s, err := pki.Make(pki.Statement{Type: pki.TypeRotate, ID: incept.ID, Seq: 1, Prev: incept.Digest(), Time: clock, Key: pki.KeyOf(stolen), Next: &after}, stolen)
		if err != nil {
			t.Fatal(err)
		}
		faces = append(faces, s)
	}
	for i, b := range boxes {
		face := faces[min(i, 1)] // box0 sees one, the others the other
		if _, err := b.keys.Ledger.Apply("thief", []*pki.Statement{incept, face}); err != nil {
			t.Fatal(err)
		}
		if err := b.keys.Ledger.Trust(pki.Anchor{ID: incept.ID, Purpose: "post", Scope: "*"}); err != nil {
			t.Fatal(err)
		}
	}
	flood(boxes)
	if _, status := boxes[0].keys.Ledger.Standing(incept.ID); status != pki.Live {
		t.Fatal("nobody has told it the other face yet:", status)
	}
	if _, err := boxes[1].keys.Ledger.Apply("friend", faces); err != nil {
		t.Fatal(err)
	}
	flood(boxes)
	for _, b := range boxes {
		if _, status := b.keys.Ledger.Standing(incept.ID); status != pki.Frozen {
			t.Errorf("%s: %s, want frozen", b.name, status)
		}
	}
}

// TestStoppedComesLater: what a quota stops in an article of a peer is taken from the
// same article when there is room again, also after a restart of the follower.
func TestStoppedComesLater(t *testing.T) {
	clock := testStart
	b := newBox(t, "b", &clock)
	all := inceptions(t, 1100, testStart)
	for from := 0; from < len(all); from += 100 {
		var body strings.Builder
		for _, s := range all[from : from+100] {
			body.WriteString(strings.ReplaceAll(s.Text(), "\n", "\r\n"))
		}
		wire := fmt.Sprintf("Path: peer!x\r\nFrom: a@x.mesh\r\nNewsgroups: mesh.admin.pki.keys\r\nSubject: s\r\nMessage-ID: <%d@x.mesh>\r\nDate: %s\r\n\r\n%s.\r\n",
			from, article.FormatDate(time.Unix(clock, 0)), body.String())
		if _, err := b.agent.Relay(context.Background(), []byte(wire), agent.Origin{Door: "nntp", Peer: "peer"}); err != nil {
			t.Fatal(err)
		}
	}
	b.work()
	known := func() int { return b.keys.Ledger.Figures().Identities - 1 } // without the node's own
	if n := known(); n != 500 {
		t.Fatalf("%d on the first day, want 500", n)
	}
	retry := func() {
		t.Helper()
		again := Follower{Prefix: "mesh", Spool: b.spool, Ledger: b.keys.Ledger}
		if err := again.Retry(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	retry()
	if n := known(); n != 500 {
		t.Errorf("%d when tried again on the same day", n)
	}
	for _, want := range []int{1000, 1100, 1100} {
		clock += 86400
		retry()
		if n := known(); n != want {
			t.Errorf("%d, want %d", n, want)
		}
	}
	if seqs, _, err := b.keys.Ledger.Waiting(0, 100); err != nil || len(seqs) != 0 {
		t.Error("still noted:", seqs, err)
	}
}

// TestApprovalComesAlong: an article that comes signed and approved into a moderated
// group by way of somebody without a right is posted if its approval is by a moderator
// there (§2.6 (6)), and only then.
func TestApprovalComesAlong(t *testing.T) {
	clock := testStart
	boxes := mesh(t, 2, false, &clock)
	here, stranger := boxes[0], newBox(t, "stranger", &clock)
	if err := here.spool.PutGroups(context.Background(), spool.GroupInfo{Name: "mesh.mod", Status: spool.Moderated}); err != nil {
		t.Fatal(err)
	}
	post := func(n int, author, moderator *box) error {
		d := &article.Draft{Body: strings.NewReader("Hallo\r\n"), Header: [][2]string{{"From", "A <a@x.mesh>"}, {"Newsgroups", "mesh.mod"}, {"Subject", "Hallo"},
			{"Message-ID", fmt.Sprintf("<approved.%d@x.mesh>", n)}, {"Date", article.FormatDate(time.Unix(clock, 0))}}}
		if err := author.keys.SignDraft(context.Background(), d, "", pki.UseGate); err != nil {
			t.Fatal(err)
		}
		d.Set("Approved", "mod@x.mesh")
		if moderator != nil {
			if err := moderator.keys.SignDraft(context.Background(), d, "", pki.UseApprove); err != nil {
				t.Fatal(err)
			}
		}
		_, err := here.agent.Inject(context.Background(), d, agent.Origin{Door: "nntp", Trusted: true})
		return err
	}
	if err := post(1, stranger, here); err != nil {
		t.Error("approved by a moderator:", err)
	}
	for n, moderator := range []*box{stranger, nil} {
		if err := post(2+n, here, moderator); err == nil {
			t.Errorf("approved by %v: posted", moderator)
		}
	}
}
