package syndicate

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/article/content"
)

func start(t *testing.T) (*origin, *node, *clock) {
	t.Helper()
	c := &clock{}
	c.at.Store(1_800_000_000)
	return newOrigin(t), newNode(t, c, "a.example"), c
}

// set changes what the origin serves.
func (o *origin) set(items ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.items = items
}

func item(id, title, link string, at time.Time, text string) string {
	return fmt.Sprintf("<item><guid>%s</guid><title>%s</title><link>%s</link><pubDate>%s</pubDate><description>%s</description></item>",
		id, title, link, at.UTC().Format(time.RFC1123Z), text)
}

// TestAddAsksOnce: the answer that showed that it is a feed is the first poll.
func TestAddAsksOnce(t *testing.T) {
	o, n, _ := start(t)
	o.put("1", "x", "y")
	if s, err := n.Add(context.Background(), o.URL+"/feed.xml", "mesh.news", ""); err != nil || o.requests.Load() != 1 || s.Entries != 1 {
		t.Errorf("%v, %d requests, %d entries", err, o.requests.Load(), s.Entries)
	}
	if _, err := n.Add(context.Background(), o.URL+"/feed.xml", "mesh.news", ""); err == nil || o.requests.Load() != 1 {
		t.Errorf("what is polled already is asked again: %v", err)
	}
}

// TestNewestEntriesFirst: a feed in the order of time gives its end, not its beginning.
func TestNewestEntriesFirst(t *testing.T) {
	o, n, c := start(t)
	var items []string
	for i := range 60 {
		items = append(items, item(fmt.Sprint(i), fmt.Sprintf("entry %d", i), fmt.Sprintf("http://o.example/%d", i), c.now().Add(time.Duration(i-60)*time.Hour), "x"))
	}
	o.set(items...)
	if _, err := n.Add(context.Background(), o.URL+"/feed.xml", "mesh.news", ""); err != nil {
		t.Fatal(err)
	}
	all := n.all(t)
	if len(all) != 30 || all[0].Get("Subject") != "entry 30" || all[29].Get("Subject") != "entry 59" {
		t.Errorf("%d articles, from %q to %q", len(all), all[0].Get("Subject"), all[len(all)-1].Get("Subject"))
	}
}

// TestDailyEntries: entries that share title and link, as the weather of each day, are
// news; the same entry under a new id each time is not, and the feed's list says so.
func TestDailyEntries(t *testing.T) {
	for name, c := range map[string]struct {
		link  string
		day   time.Duration // between two polls
		dated bool          // anew each time
		text  string
		want  int
	}{
		"weather, the link is the site's":      {"http://o.example/", 24 * time.Hour, true, "rain %d", 6},
		"weather, a link of its own":           {"http://o.example/today", 24 * time.Hour, true, "rain %d", 6},
		"ids that change, and nothing else":    {"http://o.example/1", 24 * time.Hour, true, "same", 1},
		"ids and text that change, one date":   {"http://o.example/1", time.Hour, false, "t %d", 1},
		"ids that change, the link the site's": {"http://o.example/", time.Hour, false, "same", 1},
	} {
		o, n, clk := start(t)
		begin := clk.now()
		var s Poll
		for i := range 6 {
			at := begin
			if c.dated {
				at = clk.now()
			}
			text := c.text
			if strings.Contains(text, "%d") {
				text = fmt.Sprintf(text, i)
			}
			o.set("<link>http://o.example/</link>", item(fmt.Sprintf("id-%d", i), "Weather", c.link, at, text))
			var err error
			if i == 0 {
				s, err = n.Add(context.Background(), o.URL+"/feed.xml", "mesh.news", "")
			} else {
				s, err = n.Poll(context.Background(), s.URL)
			}
			if err != nil {
				t.Fatal(name, err)
			}
			clk.advance(c.day)
		}
		if got := len(n.all(t)); got != c.want {
			t.Errorf("%s: %d articles, want %d", name, got, c.want)
		}
		if odd := strings.Contains(s.Note, "another id"); odd != (c.want == 1) {
			t.Errorf("%s: said %q", name, s.Note)
		}
	}
}

// TestOddDocumentsAreReported: what is left out or wrong stands with the feed, and does no
// harm to the rest.
func TestOddDocumentsAreReported(t *testing.T) {
	o, n, c := start(t)
	o.set(item("1", "year 0", "http://o.example/1", time.Time{}, "a"), strings.Replace(item("2", "year 9999", "http://o.example/2", c.now(), "b"), "2027", "9999", 1),
		item("3", "script", "javascript:alert(1)", c.now(), "&lt;script&gt;alert(1)&lt;/script&gt;c"), item("4", "file", "file:///etc/passwd", c.now(), "d"),
		item("5", "gigantic", "http://o.example/5", c.now(), strings.Repeat("x", 300<<10)),
		item("6", "one", "http://o.example/6", c.now(), "f"), item("6", "two", "http://o.example/7", c.now(), "g"))
	s, err := n.Add(context.Background(), o.URL+"/feed.xml", "mesh.news", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1 left out", "1 with the id of another", "2 with an impossible date", "2 with a link that leads not to the web"} {
		if !strings.Contains(s.Note, want) {
			t.Errorf("no %q in %q", want, s.Note)
		}
	}
	all := n.all(t)
	for _, a := range all {
		if text := string(a.Octets()); strings.Contains(text, "alert") || strings.Contains(text, "file:") {
			t.Errorf("%s", text)
		}
	}
	if len(all) != 6 {
		t.Errorf("%d articles", len(all))
	}
	o.set(item("1", "fine", "http://o.example/1", c.now(), "a"))
	if s, err = n.Poll(context.Background(), s.URL); err != nil || s.Note != "" {
		t.Errorf("%v, still said: %q", err, s.Note)
	}
}

// TestRelativeAddresses: links, enclosures and pictures count from the site.
func TestRelativeAddresses(t *testing.T) {
	o, n, c := start(t)
	o.set("<link>http://o.example/blog/</link>", strings.Replace(item("1", "x", "posts/1.html", c.now(), `&lt;a href="2.html"&gt;two&lt;/a&gt; &lt;img src="/p.png" alt="pic"&gt;`),
		"</item>", `<enclosure url="/talk.mp3" type="audio/mpeg" length="9"/></item>`, 1))
	if _, err := n.Add(context.Background(), o.URL+"/feed.xml", "mesh.news", ""); err != nil {
		t.Fatal(err)
	}
	a := n.all(t)[0]
	if got := a.Get("Archived-At"); got != "<http://o.example/blog/posts/1.html>" {
		t.Errorf("Archived-At: %s", got)
	}
	body := string(a.Body())
	for _, want := range []string{"two [1] pic [2]", "[1] http://o.example/blog/posts/2.html", "[2] http://o.example/p.png"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in:\n%s", want, body)
		}
	}
	if files := content.Of(a).Files(); len(files) != 1 || files[0].Link != "http://o.example/talk.mp3" {
		t.Errorf("%d files", len(files))
	}
}

// TestBusyHost: 429 counts for all feeds of the host, 503 for the feed alone; a host is
// asked one thing at a time.
func TestBusyHost(t *testing.T) {
	o, n, c := start(t)
	o.put("1", "x", "y")
	ctx := context.Background()
	for _, path := range []string{"/a", "/b"} {
		if _, err := n.Add(ctx, o.URL+path, "mesh.news", ""); err != nil {
			t.Fatal(err)
		}
	}
	answer := func(code int) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.answer = func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Retry-After", "36000")
			w.WriteHeader(code)
			return true
		}
	}
	answer(503)
	if s, err := n.Poll(ctx, o.URL+"/a"); err == nil || !strings.Contains(s.LastError, "wait 10h") || s.Next.Before(c.now().Add(10*time.Hour)) {
		t.Errorf("503: %v %+v", err, s)
	}
	if u, at := n.due(); u != o.URL+"/b" || at.Sub(c.now()) > 3*time.Hour {
		t.Errorf("after 503 of /a, %s is due at %v", u, at)
	}
	answer(429)
	if _, err := n.Poll(ctx, o.URL+"/a"); err == nil {
		t.Error("429 is no error")
	}
	if _, at := n.due(); at.Before(c.now().Add(10 * time.Hour)) {
		t.Errorf("429: the host is asked in %v", at.Sub(c.now()))
	}
	leave, ok := n.enter(o.URL + "/a")
	if _, again := n.enter(o.URL + "/b"); !ok || again {
		t.Error("two requests at once to one host")
	}
	if u, _ := n.due(); u != "" {
		t.Errorf("%s is due while its host is asked", u)
	}
	leave()
}

// TestSlowOrigin: Run polls others while one does not answer.
func TestSlowOrigin(t *testing.T) {
	slow, n, _ := start(t)
	quick := newOrigin(t)
	quick.put("1", "quick", "y")
	asked, finish := make(chan struct{}), make(chan struct{})
	slow.answer = func(http.ResponseWriter, *http.Request) bool {
		close(asked)
		<-finish
		return false
	}
	name := func(s string) string { // another host for the same address
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return "http://localhost:" + u.Port() + "/feed.xml"
	}
	if added, err := n.Subscribe([]Poll{{URL: name(slow.URL), Group: "mesh.news"}, {URL: quick.URL + "/feed.xml", Group: "mesh.news"}}); added != 2 || err != nil {
		t.Fatal(added, err)
	}
	for _, u := range []string{name(slow.URL), quick.URL + "/feed.xml"} {
		n.put(u, n.cfg.Now())
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	wait := func(what string, c <-chan struct{}) {
		t.Helper()
		select {
		case <-c:
		case <-time.After(30 * time.Second):
			t.Error("waited in vain for", what)
		}
	}
	wait("the slow origin", asked)
	first, stop := context.WithTimeout(ctx, 30*time.Second)
	if err := n.store.Wait(first, 0); err != nil {
		t.Error("nothing came of the quick origin while the slow one is asked")
	}
	stop()
	close(finish)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestTextAlone: an entry whose HTML would say no more than its text is plain text, for
// newsreaders that know no parts.
func TestTextAlone(t *testing.T) {
	o, n, _ := start(t)
	o.set("<item><guid>1</guid><title>link only</title><link>http://o.example/1</link></item>",
		"<item><guid>2</guid><title>words</title><description>Grüße, nur Text</description></item>",
		"<item><guid>3</guid><title>nothing</title></item>",
		"<item><guid>4</guid><title>marked</title><description>&lt;b&gt;x&lt;/b&gt;</description></item>")
	s, err := n.Add(context.Background(), o.URL+"/feed.xml", "mesh.news", "")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"link only": "http://o.example/1\r\n\r\n", "words": "Gr=C3=BC=C3=9Fe, nur Text\r\n\r\n", "nothing": "",
	}
	for _, a := range n.all(t) {
		text, alone := want[a.Overview().Subject]
		kind := "multipart/alternative"
		if alone {
			kind = "text/plain; charset=utf-8"
		}
		if !strings.HasPrefix(a.Get("Content-Type"), kind) {
			t.Errorf("%s: %s", a.Overview().Subject, a.Get("Content-Type"))
		}
		if body := string(a.Body()); alone && (!strings.HasPrefix(body, text+"-- \r\n") && !strings.HasPrefix(body, text+"--=20\r\n") || !strings.HasSuffix(body, s.URL+"\r\n")) {
			t.Errorf("%s: %q", a.Overview().Subject, body)
		}
	}
	if s.Entries != 4 {
		t.Errorf("%d entries", s.Entries)
	}
}
