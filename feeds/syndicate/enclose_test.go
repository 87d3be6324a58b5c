package syndicate

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
)

// stingy refuses articles over a bound, as an agent without torrents does.
type stingy struct {
	Injector
	max int64
}

func (s stingy) Inject(ctx context.Context, d *article.Draft, o agent.Origin) (agent.Result, error) {
	n, err := d.Body.Seek(0, io.SeekEnd)
	if err != nil {
		return agent.Result{}, err
	}
	if n > s.max {
		return agent.Result{}, &agent.Refusal{Reason: agent.TooLarge, Code: "too-large", Text: "too large"}
	}
	_, err = d.Body.Seek(0, io.SeekStart)
	if err != nil {
		return agent.Result{}, err
	}
	return s.Injector.Inject(ctx, d, o)
}

// TestEnclosuresAreFetched: files of the right size come along; what is too large,
// absent, hidden behind the guard, or more than the agent takes stays a link.
func TestEnclosuresAreFetched(t *testing.T) {
	c := &clock{}
	c.at.Store(1_800_000_000)
	n := newNode(t, c, "box.example")
	n.cfg.MaxFile = 100_000
	var good atomic.Int64
	mux := http.NewServeMux()
	origin := httptest.NewServer(mux)
	defer origin.Close()
	file := func(path, kind string, size int, counted bool) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if path == "/good.mp3" {
				good.Add(1)
			}
			w.Header().Set("Content-Type", kind)
			if !counted {
				w.(http.Flusher).Flush()
			}
			_, _ = io.WriteString(w, strings.Repeat("x", size))
		})
	}
	file("/good.mp3", "audio/mpeg", 50_000, true)
	file("/huge.mp3", "audio/mpeg", 200_000, true)
	file("/endless.mp3", "audio/mpeg", 150_000, false)
	file("/odd.mp3", "text/html\r\nX: y", 10, true)
	mux.HandleFunc("/inside.mp3", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "http://10.1.2.3/x", 302) })
	names := []string{"good", "huge", "endless", "absent", "inside"}
	var feed strings.Builder
	feed.WriteString(`<rss version="2.0"><channel><title>pod</title>`)
	for _, name := range append(names, "late") { // "late" is beyond what one poll fetches
		fmt.Fprintf(&feed, `<item><guid>%s</guid><title>%s</title><link>http://x.example/%s</link><enclosure url="%s/%s.mp3" type="audio/mpeg" length="5"/></item>`, name, name, name, origin.URL, name)
	}
	feed.WriteString(`</channel></rss>`)
	mux.HandleFunc("/feed.xml", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, feed.String()) })

	if _, err := n.Add(context.Background(), origin.URL+"/feed.xml", "mesh.news", FetchEnclosures); err != nil {
		t.Fatal(err)
	}
	for _, a := range n.all(t) {
		name := a.Get("Subject")
		files := content.Of(a).Files()
		if len(files) != 1 {
			t.Errorf("%s: %d files", name, len(files))
			continue
		}
		switch f := files[0]; {
		case name == "good":
			if f.Link != "" || f.Size() != 50_000 || f.Name != "good.mp3" || f.Type != "audio/mpeg" {
				t.Errorf("good: %q %d %q %q", f.Link, f.Size(), f.Name, f.Type)
			}
		case f.Link != origin.URL+"/"+name+".mp3":
			t.Errorf("%s: link %q", name, f.Link)
		}
	}
	if len(n.all(t)) != 6 || good.Load() != 1 {
		t.Errorf("%d articles, the file fetched %d times", len(n.all(t)), good.Load())
	}

	small := newNode(t, c, "small.example")
	small.cfg.Agent = stingy{small.cfg.Agent, 20_000}
	if _, err := small.Add(context.Background(), origin.URL+"/feed.xml", "mesh.news", FetchEnclosures); err != nil {
		t.Fatal(err)
	}
	for _, a := range small.all(t) {
		if files := content.Of(a).Files(); len(files) != 1 || files[0].Link == "" {
			t.Errorf("%s: no link where the file is refused", a.Get("Subject"))
		}
	}
	if len(small.all(t)) != 6 {
		t.Errorf("%d articles", len(small.all(t)))
	}
}
