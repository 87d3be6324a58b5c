package webforum

import (
	"html/template"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/webforum/ward"
)

func newJudged(t *testing.T) *world {
	t.Helper()
	return newWorld(t, func(f *Forum) {
		var err error
		if f.Ward, err = ward.New(f.State, time.Now); err != nil {
			t.Fatal(err)
		}
	})
}

func TestReportAndHide(t *testing.T) {
	w := newJudged(t)
	w.must(simple(1, "Fine", ""))
	w.must(simple(2, "Bad <b>", ""))
	const bad = "/m/a2@a.example"
	if r := w.post(bad+"/report", map[string]string{"reason": " "}); r.StatusCode != 422 {
		t.Errorf("report without reason: %d", r.StatusCode)
	}
	if r := w.post(bad+"/report", map[string]string{"reason": "spam <i>"}); r.StatusCode != 200 {
		t.Errorf("report: %d", r.StatusCode)
	}
	if r := w.post(bad+"/hide", map[string]string{"reason": "spam"}); r.StatusCode != 403 {
		t.Errorf("a guest hides: %d", r.StatusCode)
	}
	guest := w.jar
	w.jar = map[string]string{}
	w.post("/start", map[string]string{"name": "ann", "password": "long enough"})
	r := w.get("/moderate")
	inert(t, "reports", r.body)
	if !strings.Contains(r.body, "spam &lt;i&gt;") || !strings.Contains(r.body, bad+"/hide") {
		t.Fatalf("the report is not there: %s", r.body)
	}
	if r := w.post(bad+"/hide", map[string]string{"reason": ""}); r.StatusCode != 422 {
		t.Errorf("hide without reason: %d", r.StatusCode)
	}
	if r := w.post(bad+"/hide", map[string]string{"reason": "spam <u>"}); r.StatusCode != 303 {
		t.Errorf("hide: %d", r.StatusCode)
	}
	if r := w.get(bad); !strings.Contains(r.body, "spam &lt;u&gt;") || !strings.Contains(r.body, "Show it again") {
		t.Error("a moderator does not see what is hidden and why")
	}
	if r := w.get("/moderate"); strings.Contains(r.body, bad) {
		t.Error("the report is still there")
	}
	moderator := w.jar
	w.jar = guest
	for path, status := range map[string]int{bad: 410, bad + "/raw": 410, bad + "/reply": 410, "/m/a1@a.example": 200} {
		if r := w.get(path); r.StatusCode != status {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
	}
	if r := w.get("/g/misc.test"); strings.Contains(r.body, "Bad") || !strings.Contains(r.body, "Fine") {
		t.Error("the list shows what is hidden, or hides the rest")
	}
	r = w.get("/log")
	inert(t, "log", r.body)
	if !strings.Contains(r.body, "spam &lt;u&gt;") || !strings.Contains(r.body, "ann") {
		t.Errorf("the public log: %s", r.body)
	}
	w.jar = moderator
	w.post(bad+"/hide", map[string]string{"act": "show"})
	w.jar = guest
	if r := w.get(bad); r.StatusCode != 200 {
		t.Errorf("shown again: %d", r.StatusCode)
	}
}

func TestBanKey(t *testing.T) {
	w := newJudged(t)
	person := "/u/" + strings.Repeat("a", 52) + "/"
	if r := w.post(person+"ban", map[string]string{"reason": "flood"}); r.StatusCode != 403 {
		t.Errorf("a guest bars a key: %d", r.StatusCode)
	}
	w.post("/start", map[string]string{"name": "ann", "password": "long enough"})
	if r := w.post(person+"ban", map[string]string{"reason": "flood"}); r.StatusCode != 303 {
		t.Errorf("bar: %d", r.StatusCode)
	}
	r := w.get(person)
	inert(t, "person", r.body)
	if !strings.Contains(r.body, "flood") {
		t.Error("the page does not say why")
	}
	w.post(person+"ban", map[string]string{"act": "lift"})
	if r := w.get(person); strings.Contains(r.body, "flood") {
		t.Error("still barred")
	}
}

func TestBodiesAreBounded(t *testing.T) {
	var c bodies
	for i := range 1000 {
		c.put(&bodyKept{key: bodyKey{spool.Seq(i + 1), "en"}, body: template.HTML(strings.Repeat("x", 20000))})
	}
	if c.size > bodiesMost || len(c.at) != c.order.Len() || len(c.at) == 0 {
		t.Errorf("%d octets in %d bodies", c.size, len(c.at))
	}
	if _, ok := c.get(bodyKey{1000, "en"}); !ok {
		t.Error("the last one is gone")
	}
	if _, ok := c.get(bodyKey{1000, "de"}); ok {
		t.Error("a body of another language")
	}
	c.put(&bodyKept{key: bodyKey{2000, "en"}, files: []file{{Detached: true}}})
	if _, ok := c.get(bodyKey{2000, "en"}); ok {
		t.Error("where an attachment is changes: it must not be kept")
	}
}
