package webforum

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

func TestModerated(t *testing.T) {
	w := newWorld(t)
	err := w.s.PutGroups(context.Background(), spool.GroupInfo{Name: "misc.mod", Status: spool.Moderated, Moderator: "m@x.example"})
	if err != nil {
		t.Fatal(err)
	}
	r := w.post("/g/misc.mod/post", map[string]string{"name": "a", "subject": "s", "body": "b"})
	if r.StatusCode != 202 || !strings.Contains(r.body, "waits for a moderator") {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

// queue is the waiting room for who is logged in.
type queue struct{ a *agent.Agent }

func (q queue) Queue(ctx context.Context, o agent.Origin) ([]agent.Held, error) {
	return q.a.Waiting(ctx)
}

func (q queue) Held(ctx context.Context, key string, o agent.Origin) (agent.Held, *article.Article, error) {
	return q.a.Held(ctx, key)
}

func (q queue) Approve(ctx context.Context, key string, o agent.Origin) error {
	_, err := q.a.Approve(ctx, key, o, "")
	return err
}

func (q queue) Reject(ctx context.Context, key string, o agent.Origin) error {
	_, _, err := q.a.Reject(ctx, key, o, "")
	return err
}

func (q queue) May(context.Context, agent.Origin, []article.Group) bool { return false }

func TestQueue(t *testing.T) {
	w := newWorld(t)
	w.f.Moderation = queue{w.a}
	err := w.s.PutGroups(context.Background(), spool.GroupInfo{Name: "misc.mod", Status: spool.Moderated, Moderator: "m@x.example"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		w.post("/g/misc.mod/post", map[string]string{"name": "a <b>", "subject": fmt.Sprint("Please <i> ", i), "body": "b"})
	}
	if r := w.get("/moderate"); r.StatusCode != 401 {
		t.Errorf("a guest sees the queue: %d", r.StatusCode)
	}
	w.post("/start", map[string]string{"name": "ann", "password": "long enough"})
	r := w.get("/moderate")
	inert(t, "queue", r.body)
	keys := regexp.MustCompile(`name="key" value="([0-9a-f]+)"`).FindAllStringSubmatch(r.body, -1)
	if len(keys) != 2 || !strings.Contains(r.body, "Please &lt;i&gt; 0") || !strings.Contains(w.get("/").body, `href="/moderate"`) {
		t.Fatalf("%d submissions: %s", len(keys), r.body)
	}
	if r := w.post("/moderate", map[string]string{"key": keys[0][1], "act": "approve"}); r.StatusCode != 303 {
		t.Errorf("approve: %d %s", r.StatusCode, r.body)
	}
	if r := w.post("/moderate", map[string]string{"key": keys[1][1], "act": "reject"}); r.StatusCode != 303 {
		t.Errorf("reject: %d %s", r.StatusCode, r.body)
	}
	if r := w.post("/moderate", map[string]string{"key": keys[1][1], "act": "reject"}); r.StatusCode != 404 {
		t.Errorf("reject again: %d %s", r.StatusCode, r.body)
	}
	if r := w.get("/g/misc.mod"); !strings.Contains(r.body, "Please &lt;i&gt; 0") || strings.Contains(r.body, "Please &lt;i&gt; 1") {
		t.Error("what was approved is not there, or what was rejected is")
	}
}
