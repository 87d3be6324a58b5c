package webforum

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// testNotices keeps what one account wants.
type testNotices struct {
	Notice
	set [][]string
}

func (n *testNotices) Notices(context.Context, string) (Notice, error) { return n.Notice, nil }
func (n *testNotices) SetNotices(_ context.Context, _ string, kinds []string) error {
	n.set, n.State = append(n.set, kinds), "unconfirmed"
	for i := range n.Kinds {
		n.Kinds[i].On = slices.Contains(kinds, n.Kinds[i].Name)
	}
	return nil
}

// TestMailPage: a member says what he wants to hear of by mail; nobody says it for him.
func TestMailPage(t *testing.T) {
	w := newWorld(t)
	if r := w.get("/mail"); r.StatusCode != http.StatusNotFound {
		t.Errorf("without notices: %d", r.StatusCode)
	}
	n := &testNotices{Notice: Notice{Off: true, Kinds: []NoticeKind{{"replies", false}, {"watched", true}, {"reports", false}}}}
	w.f.Notices = n
	if r := w.get("/mail"); r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != "/login?next=/mail" {
		t.Errorf("a guest: %d %s", r.StatusCode, r.Header.Get("Location"))
	}
	if r := w.post("/mail", map[string]string{"kind": "replies"}); r.StatusCode != http.StatusUnauthorized {
		t.Errorf("a guest sets: %d", r.StatusCode)
	}
	w.member()
	has(t, w.get("/settings"), `href="/mail"`)
	has(t, w.get("/mail"), "smtp.smarthost")
	n.Off = false
	has(t, w.get("/mail"), "no mail address")
	n.Address = "ann<@home.example"
	r := w.get("/mail")
	inert(t, "/mail", r.body)
	has(t, r, `value="watched" checked`)
	has(t, r, "What goes to ann&lt;@home.example")
	hasNot(t, r, `value="replies" checked`)
	if r := w.post("/mail", map[string]string{"kind": "all"}); r.StatusCode != http.StatusBadRequest {
		t.Errorf("no such kind: %d", r.StatusCode)
	}
	foreign := httptest.NewRequest("POST", "http://"+w.host+"/mail", strings.NewReader(url.Values{"kind": {"replies"}}.Encode()))
	foreign.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	foreign.Header.Set("Sec-Fetch-Site", "cross-site")
	if r := w.do(foreign); r.StatusCode != http.StatusForbidden || !strings.Contains(r.body, "sent from another site") {
		t.Errorf("from another site: %d %s", r.StatusCode, r.body)
	}
	if n.set != nil {
		t.Errorf("set is %v", n.set)
	}
	r = w.post("/mail", map[string]string{"kind": "replies"})
	has(t, r, `value="replies" checked`)
	has(t, r, "please answer it")
	has(t, r, "Saved.")
	if r := w.post("/mail", nil); r.StatusCode != 200 || len(n.set) != 2 || len(n.set[1]) != 0 {
		t.Errorf("nothing wanted: %d %v", r.StatusCode, n.set)
	}
}

// What another room shows looks like the forum, in the visitor's language; its address
// may be a secret.
func TestFrame(t *testing.T) {
	w := newWorld(t)
	r := httptest.NewRequest("GET", "/mail/leave?t=secret", nil)
	r.AddCookie(&http.Cookie{Name: "litfass_prefs", Value: "l=de"})
	if lang := w.f.Language(r); lang != "de" {
		t.Errorf("the language is %q", lang)
	}
	rec := httptest.NewRecorder()
	w.f.Frame(rec, r, http.StatusNotFound, "Schon <abbestellt>", "<p>Ja.</p>")
	for _, want := range []string{`<html lang="de">`, `href="` + w.f.css + `"`, "<h1>Schon &lt;abbestellt&gt;</h1>", "<p>Ja.</p>"} {
		if !strings.Contains(rec.Body.String(), want) {
			t.Errorf("no %q in %s", want, rec.Body)
		}
	}
	h := rec.Header()
	if rec.Code != 404 || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cache-Control") != "no-store" || !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("%d %v", rec.Code, h)
	}
}
