package webforum

import (
	"bytes"
	"context"
	"fmt"
	"mime/multipart"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

func TestPosting(t *testing.T) {
	w := newWorld(t)
	r := w.post("/g/misc.test/post", map[string]string{"name": "Jürgen \"J\" Ü", "email": "j@x.example", "subject": "Grüße", "body": "Hallo <b>Welt</b>\nzweite Zeile\n\na    b    c\nd    e    f\n\n> zitiert\n.Punkt\nFrom hier\n" + strings.Repeat("lang ", 60)})
	to := r.Header.Get("Location")
	if r.StatusCode != 303 || !strings.HasPrefix(to, "/m/") {
		t.Fatalf("%d %s %s", r.StatusCode, to, r.body)
	}
	page := w.get(to)
	for _, s := range []string{"Grüße", "<p class=\"l\" dir=\"auto\">Hallo &lt;b&gt;Welt&lt;/b&gt;\nzweite Zeile</p>", "\">a    b    c\nd    e    f</pre>", "Jürgen &#34;J&#34; Ü", ".Punkt", "From hier"} {
		if !strings.Contains(page.body, s) {
			t.Errorf("no %q in %s", s, page.body)
		}
	}
	raw := w.get(to + "/raw").body
	for l := range strings.SplitSeq(raw, "\r\n") {
		if len(l) > 90 && !strings.HasPrefix(l, "Article-Signature") && !strings.HasPrefix(l, "Injection-Info") && !strings.Contains(l, "Cancel-") {
			t.Errorf("long line %q", l)
		}
	}
	r = w.post(to+"/reply", map[string]string{"name": "B", "body": "antwort"})
	if r.StatusCode != 303 {
		t.Fatalf("reply: %d %s", r.StatusCode, r.body)
	}
	raw = w.get(r.Header.Get("Location") + "/raw").body
	if !strings.Contains(raw, "References: <") || !strings.Contains(raw, "Subject: =?UTF-8?B?") {
		t.Errorf("reply: %s", raw)
	}
	if r := w.get("/g/misc.test"); !strings.Contains(r.body, "<b>1</b>") {
		t.Error("the thread does not count the reply")
	}
}

// Where an answer goes is said before it is written.
func TestFollowupTo(t *testing.T) {
	w := newWorld(t)
	for i, c := range []struct{ header, groups, says string }{
		{"", "misc.test", ""},
		{"Followup-To: misc.talk\n", "misc.talk", "asks for answers in: <b>misc.talk</b>"},
		{"Followup-To: misc.talk,misc.test\n", "misc.talk,misc.test", "asks for answers in: <b>misc.talk</b> <b>misc.test</b>"},
		{"Followup-To: poster\n", "misc.test", `by mail, not in the group: <a href="mailto:ann@a.example">`},
		{"Followup-To: POSTER\nReply-To: Ann at home <home@a.example>\n", "misc.test", `<a href="mailto:home@a.example">`},
		{"Followup-To: ,,,\n", "misc.test", ""},
		{"Followup-To: poster\nReply-To: \"><script>x</script>\n", "misc.test", "by mail, not in the group:"},
	} {
		e := w.must(fmt.Sprintf("Path: x!not-for-mail\nFrom: Ann <ann@a.example>\nNewsgroups: misc.test\nSubject: s\nMessage-ID: <fu%d@a.example>\nDate: %s\n%s\nText\n", i, article.FormatDate(time.Now()), c.header))
		page := w.get(messagePath(e.ID) + "/reply").body
		inert(t, c.header, page)
		if !strings.Contains(page, `name="groups" value="`+c.groups+`"`) || !strings.Contains(page, c.says) {
			t.Errorf("%q: not %s, %s in %s", c.header, c.groups, c.says, page)
		}
		if c.says == "" && (strings.Contains(page, "asks for answers") || strings.Contains(page, "reply goes to")) {
			t.Errorf("%q: says where the answer goes", c.header)
		}
		if thread := w.get(threadPath("misc.test", e.ID)).body; !strings.Contains(thread, `class="quick"`) || !strings.Contains(thread, c.says) || c.says == "" && strings.Contains(thread, "asks for answers") {
			t.Errorf("%q: the form under the thread says something else: %s", c.header, thread)
		}
	}
}

func TestFormErrorsKeepTheText(t *testing.T) {
	w := newWorld(t)
	for field, f := range map[string]map[string]string{
		"subject": {"body": "my long text", "subject": " "},
		"email":   {"body": "my long text", "subject": "s", "email": "no address"},
		"groups":  {"body": "my long text", "subject": "s", "groups": "a b,c"},
	} {
		r := w.post("/g/misc.test/post", f)
		if r.StatusCode != 422 || !strings.Contains(r.body, "my long text") || !strings.Contains(r.body, `role="alert"`) {
			t.Errorf("%s: %d", field, r.StatusCode)
		}
		inert(t, field, r.body)
	}
	r := w.post("/g/misc.test/post", map[string]string{"body": "Text <i>\n\n> a", "subject": "s", "preview": "1"})
	if r.StatusCode != 200 || !strings.Contains(r.body, "Text &lt;i&gt;") || !strings.Contains(r.body, "<blockquote>") {
		t.Errorf("preview: %d %s", r.StatusCode, r.body)
	}
	if w.s.Last() != 0 {
		t.Error("something was posted")
	}
}

func TestTwiceIsOnce(t *testing.T) {
	w := newWorld(t)
	once := regexp.MustCompile(`name="once" value="([a-z2-7]{24})"`).FindStringSubmatch(w.get("/g/misc.test/post").body)
	if once == nil {
		t.Fatal("the form has no mark")
	}
	f := map[string]string{"name": "a", "subject": "s", "body": "b", "once": once[1]}
	a, b := w.post("/g/misc.test/post", f), w.post("/g/misc.test/post", f)
	if a.StatusCode != 303 || b.StatusCode != 303 || a.Header.Get("Location") != b.Header.Get("Location") || w.s.Last() != 1 {
		t.Errorf("%d %s, %d %s, %d articles", a.StatusCode, a.Header.Get("Location"), b.StatusCode, b.Header.Get("Location"), w.s.Last())
	}
}

func upload1(t *testing.T, fields map[string]string, files map[string][]byte) (body *bytes.Buffer, typ string) {
	t.Helper()
	body = &bytes.Buffer{}
	m := multipart.NewWriter(body)
	for k, v := range fields {
		if err := m.WriteField(k, v); err != nil {
			t.Fatal(err)
		}
	}
	for name, data := range files {
		p, err := m.CreateFormFile("file", name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	m.Close()
	return body, m.FormDataContentType()
}

// A file's name that cannot be read is told apart from a form that broke off.
func TestFileNames(t *testing.T) {
	w := newWorld(t)
	send := func(name, end string) answer {
		body, typ := upload1(t, map[string]string{"name": "a", "subject": "s", "body": "see"}, map[string][]byte{name: []byte("text")})
		sent, _, _ := strings.Cut(body.String(), end)
		r := httptest.NewRequest("POST", "http://box.example/g/misc.test/post", strings.NewReader(sent))
		r.Header.Set("Content-Type", typ)
		return w.do(r)
	}
	for name, want := range map[string]int{"a\x01b.txt": 400, "a\x7fb.txt": 400, "a\x00b.txt": 400, "a\tb.txt": 303, "a\nb.txt": 303} {
		if r := send(name, "no end"); r.StatusCode != want || want == 400 && !strings.Contains(r.body, "Rename the file") {
			t.Errorf("%q: %d %s", name, r.StatusCode, r.body)
		}
	}
	if r := send("whole.bin", "text"); r.StatusCode != 400 || !strings.Contains(r.body, "came in incomplete") {
		t.Errorf("broken off: %d %s", r.StatusCode, r.body)
	}
}

func TestAttachments(t *testing.T) {
	w := newWorld(t)
	png := append([]byte("\x89PNG\r\n\x1a\n"), bytes.Repeat([]byte{0, 1, 254, 13, 10}, 3000)...)
	body, typ := upload1(t, map[string]string{"name": "a", "subject": "picture", "body": "see"}, map[string][]byte{"../Grüße <b>.png": png})
	r := httptest.NewRequest("POST", "http://box.example/g/misc.test/post", body)
	r.Header.Set("Content-Type", typ)
	a := w.do(r)
	if a.StatusCode != 303 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	page := w.get(a.Header.Get("Location"))
	inert(t, "attachment", page.body)
	img := regexp.MustCompile(`<img src="([^"]+)" alt="Grüße _b_.png"`).FindStringSubmatch(page.body)
	if img == nil {
		t.Fatalf("no picture: %s", page.body)
	}
	got := w.get(html.UnescapeString(img[1]))
	if got.body != string(png) || got.Header.Get("Content-Type") != "image/png" || !strings.Contains(got.Header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("%d octets of %d, %v", len(got.body), len(png), got.Header)
	}
	if part := w.get(html.UnescapeString(img[1]), "Range", "bytes=0-3"); part.StatusCode != 206 || part.body != "\x89PNG" {
		t.Errorf("range: %d %q", part.StatusCode, part.body)
	}
	body, typ = upload1(t, map[string]string{"name": "a", "subject": "page", "body": "see"}, map[string][]byte{"x.html": []byte("<script>alert(1)</script>"), "y.svg": []byte("<svg onload=x>")})
	r = httptest.NewRequest("POST", "http://box.example/g/misc.test/post", body)
	r.Header.Set("Content-Type", typ)
	to := w.do(r).Header.Get("Location")
	for i := 1; i <= 2; i++ {
		got := w.get(fmt.Sprintf("%s/a/%d", to, i))
		if got.Header.Get("Content-Type") != "application/octet-stream" || !strings.HasPrefix(got.Header.Get("Content-Disposition"), "attachment") {
			t.Errorf("part %d: %v", i, got.Header)
		}
	}
	body, typ = upload1(t, map[string]string{"name": "a", "subject": "big", "body": "see"}, map[string][]byte{"big.bin": make([]byte, 5<<20)})
	r = httptest.NewRequest("POST", "http://box.example/g/misc.test/post", body)
	r.Header.Set("Content-Type", typ)
	if a := w.do(r); a.StatusCode != 413 {
		t.Errorf("over the limit: %d", a.StatusCode)
	}
	left, _ := filepath.Glob(filepath.Join(w.f.Temp, "*.part"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestCrossOrigin(t *testing.T) {
	w := newWorld(t)
	f := map[string]string{"name": "a", "subject": "s", "body": "b"}
	for _, h := range [][]string{{"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "null"}} {
		for _, path := range []string{"/g/misc.test/post", "/login", "/logout", "/settings", "/start", "/g/misc.test/read"} {
			if r := w.post(path, f, h...); r.StatusCode != 403 {
				t.Errorf("%s %v: %d", path, h, r.StatusCode)
			}
		}
	}
	if w.s.Last() != 0 {
		t.Error("something was posted")
	}
	if r := w.post("/g/misc.test/post", f, "Origin", "http://box.example"); r.StatusCode != 303 {
		t.Errorf("own origin: %d", r.StatusCode)
	}
}

func TestCaptcha(t *testing.T) {
	w := newWorld(t)
	w.from = "192.0.2.1:999"
	numbers := strings.Fields("zero one two three four five six seven eight nine")
	form := w.get("/g/misc.test/post").body
	m := regexp.MustCompile(`how much is (\w+) plus (\w+)\?`).FindStringSubmatch(form)
	tok := regexp.MustCompile(`name="captcha" value="([^"]+)"`).FindStringSubmatch(form)
	if m == nil || tok == nil {
		t.Fatal("no question")
	}
	sum := 0
	for i, n := range numbers {
		for _, x := range m[1:] {
			if x == n {
				sum += i
			}
		}
	}
	f := map[string]string{"name": "a", "subject": "s", "body": "my text", "captcha": tok[1]}
	if r := w.post("/g/misc.test/post", f); r.StatusCode != 422 || !strings.Contains(r.body, "my text") {
		t.Errorf("without an answer: %d", r.StatusCode)
	}
	f["captcha"] = regexp.MustCompile(`name="captcha" value="([^"]+)"`).FindStringSubmatch(w.get("/g/misc.test/post").body)[1]
	f["answer"] = "3"
	if r := w.post("/g/misc.test/post", f); r.StatusCode != 422 { // 4 is the least
		t.Errorf("wrong answer: %d", r.StatusCode)
	}
	c := &w.f.captcha
	token, a, b := c.question(time.Now())
	f["captcha"], f["answer"] = token, fmt.Sprint(a+b)
	if r := w.post("/g/misc.test/post", f); r.StatusCode != 303 {
		t.Errorf("right answer: %d %s", r.StatusCode, r.body)
	}
	if r := w.post("/g/misc.test/post", f); r.StatusCode != 422 || !strings.Contains(r.body, "my text") {
		t.Errorf("an answer sent again: %d", r.StatusCode)
	}
	for age, status := range map[time.Duration]int{captchaAge - time.Minute: 303, captchaAge + time.Minute: 422, -2 * time.Minute: 422} {
		old, a, b := c.question(time.Now().Add(-age))
		f["captcha"], f["answer"] = old, fmt.Sprint(a+b)
		r := w.post("/g/misc.test/post", f)
		if r.StatusCode != status || status == 422 && (!strings.Contains(r.body, "my text") || strings.Contains(r.body, old) || !strings.Contains(r.body, "over two hours ago") || !strings.Contains(r.body, `name="captcha"`)) {
			t.Errorf("a sum asked %s ago: %d %s", age, r.StatusCode, r.body)
		}
	}
	token, a, b = c.question(time.Now())
	forged := "x" + token[1:]
	if forged == token {
		forged = "y" + token[1:]
	}
	if c.check(forged, fmt.Sprint(a+b), time.Now()) || sum == 0 {
		t.Error("a forged token holds")
	}
}

func TestOwnArticles(t *testing.T) {
	w := newWorld(t)
	me := strings.Repeat("a", 52)
	w.f.Accounts = ownAccounts{w.f.Accounts, me}
	w.post("/start", map[string]string{"name": "ann", "password": "long enough"})
	text := simple(1, "Mine", "")
	wire, _ := article.Normalize([]byte(text), article.Limits{})
	a, _ := article.Parse(wire, article.Limits{})
	_, err := w.s.Add(context.Background(), a, spool.Arrival{Groups: []article.Group{"misc.test"}, At: time.Now(), Proof: article.Proof{State: article.ProofHolds, Purpose: "post", Identity: me}})
	if err != nil {
		t.Fatal(err)
	}
	w.must(simple(2, "Others", ""))
	if r := w.get("/m/a1@a.example"); !strings.Contains(r.body, "/m/a1@a.example/edit") || !strings.Contains(r.body, "/m/a1@a.example/delete") {
		t.Error("the own article has no links")
	}
	for _, path := range []string{"/m/a2@a.example/edit", "/m/a2@a.example/delete"} {
		if r := w.get(path); r.StatusCode != 403 {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
		if r := w.post(path, map[string]string{"subject": "s", "body": "b"}); r.StatusCode != 403 {
			t.Errorf("POST %s: %d", path, r.StatusCode)
		}
	}
	if r := w.get("/m/a1@a.example/edit"); r.StatusCode != 200 || !strings.Contains(r.body, "&gt; quoted") || !strings.Contains(r.body, "-- \nAnn") {
		t.Errorf("edit: %d %s", r.StatusCode, r.body)
	}
	r := w.post("/m/a1@a.example/edit", map[string]string{"name": "ann", "subject": "Mine, again", "body": "new"})
	if r.StatusCode != 303 {
		t.Fatalf("edit: %d %s", r.StatusCode, r.body)
	}
	if raw := w.get(r.Header.Get("Location") + "/raw").body; !strings.Contains(raw, "Supersedes: <a1@a.example>\r\n") || !strings.Contains(raw, "References: <a1@a.example>\r\n") {
		t.Errorf("edit: %s", raw)
	}
	if r := w.get("/m/a1@a.example/delete"); r.StatusCode != 200 || !strings.Contains(r.body, "Text number 1.") {
		t.Errorf("delete: %d", r.StatusCode)
	}
	inert(t, "delete", w.get("/m/a1@a.example/delete").body)
	if r := w.post("/m/a1@a.example/delete", nil); r.StatusCode != 303 {
		t.Errorf("delete: %d %s", r.StatusCode, r.body)
	}
}

type ownAccounts struct {
	Accounts
	id string
}

func (o ownAccounts) Get(ctx context.Context, name string) (Account, error) {
	a, err := o.Accounts.Get(ctx, name)
	a.Identity = o.id
	return a, err
}
