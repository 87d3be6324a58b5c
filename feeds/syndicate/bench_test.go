package syndicate

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/spooltest"
)

// nowhere takes articles and keeps none: the benchmark leaves storing out.
type nowhere struct{ n int }

func (w *nowhere) Inject(context.Context, *article.Draft, agent.Origin) (agent.Result, error) {
	w.n++
	return agent.Result{}, nil
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkHundredFeeds polls 100 feeds of 100 entries over HTTP: at first, and again
// when nothing changed. The origin's share of the CPU is counted too.
func BenchmarkHundredFeeds(b *testing.B) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		if r.Header.Get("If-None-Match") == `"1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		var doc strings.Builder
		doc.WriteString(`<feed xmlns="http://www.w3.org/2005/Atom"><title>t</title>`)
		for i := range 100 {
			fmt.Fprintf(&doc, `<entry><id>urn:%s:%d</id><title>entry %d</title><updated>2026-11-23T10:00:00Z</updated><link href="http://x.example%s/%d"/><content type="html">%s</content></entry>`,
				r.URL.Path, i, i, r.URL.Path, i, strings.Repeat("&lt;p&gt;some words of a paragraph&lt;/p&gt;", 30))
		}
		doc.WriteString("</feed>")
		_, _ = w.Write([]byte(doc.String()))
	}))
	defer origin.Close()
	var first, again time.Duration
	rounds := 0
	for b.Loop() {
		rounds++
		store := spooltest.NewMem()
		if err := store.PutGroups(context.Background(), spool.GroupInfo{Name: "mesh.news", Status: spool.PostOpen}); err != nil {
			b.Fatal(err)
		}
		db, err := state.Open(filepath.Join(b.TempDir(), fmt.Sprint(rounds)))
		if err != nil {
			b.Fatal(err)
		}
		sink := &nowhere{}
		p, err := NewPoller(Config{State: db, Agent: sink, Spool: store, Text: content.TextOfHTML, Sanitize: content.SafeHTML, First: 100,
			Fetcher: Fetcher{Guard: Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}})
		if err != nil {
			b.Fatal(err)
		}
		for i := range 100 {
			u := fmt.Sprintf("%s/%d", origin.URL, i)
			if err := p.polls.Put(u, Poll{URL: u, Group: "mesh.news"}); err != nil {
				b.Fatal(err)
			}
		}
		poll := func() time.Duration {
			begin := cpu()
			for i := range 100 {
				if _, err := p.Poll(context.Background(), fmt.Sprintf("%s/%d", origin.URL, i)); err != nil {
					b.Fatal(err)
				}
			}
			return cpu() - begin
		}
		first += poll()
		if sink.n != 10_000 {
			b.Fatalf("%d articles", sink.n)
		}
		again += poll()
		p.cfg.Fetcher.Close()
		db.Close()
	}
	b.ReportMetric(first.Seconds()/float64(rounds), "first-cpu-s")
	b.ReportMetric(again.Seconds()/float64(rounds), "unchanged-cpu-s")
}
