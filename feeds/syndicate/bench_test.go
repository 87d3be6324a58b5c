package syndicate

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/pki"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/spooltest"
)

// nowhere is a spool that takes articles and keeps none: the benchmark leaves storing
// and indexing out.
type nowhere struct {
	*spooltest.Mem
	n, signed int
}

func (w *nowhere) Add(_ context.Context, a *article.Article, _ spool.Arrival) (spool.Entry, error) {
	w.n++
	if a.Get("Article-Signature") != "" {
		w.signed++
	}
	return spool.Entry{}, nil
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// hundredFeeds serves 100 feeds of 100 entries, of 1.3 kB of text each.
func hundredFeeds(b *testing.B) (urls []string) {
	docs := map[string][]byte{}
	for n := range 100 {
		var doc strings.Builder
		doc.WriteString(`<feed xmlns="http://www.w3.org/2005/Atom"><title>t</title>`)
		for i := range 100 {
			fmt.Fprintf(&doc, `<entry><id>urn:%d:%d</id><title>entry %d</title><updated>2026-11-23T10:00:00Z</updated><link href="http://x.example/%d/%d"/><content type="html">%s</content></entry>`,
				n, i, i, n, i, strings.Repeat("&lt;p&gt;some words of a paragraph&lt;/p&gt;", 30))
		}
		doc.WriteString("</feed>")
		docs[fmt.Sprintf("/%d", n)] = []byte(doc.String())
	}
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		w.Header().Set("Content-Type", "application/atom+xml")
		if r.Header.Get("If-None-Match") == `"1"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write(docs[r.URL.Path])
	}))
	b.Cleanup(origin.Close)
	for n := range 100 {
		urls = append(urls, fmt.Sprintf("%s/%d", origin.URL, n))
	}
	return urls
}

// benchPoller is a poller as a node has it, with a keyring that signs, but for the spool.
func benchPoller(b *testing.B, dir string, urls []string) (*Poller, *nowhere) {
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	sink := &nowhere{Mem: spooltest.NewMem()}
	must(sink.PutGroups(context.Background(), spool.GroupInfo{Name: "mesh.news", Status: spool.PostOpen}))
	open := func(name string) *state.DB {
		db, err := state.Open(filepath.Join(dir, name))
		must(err)
		b.Cleanup(func() { db.Close() })
		return db
	}
	must(os.MkdirAll(dir, 0o700))
	db := open("state.db")
	ledger, err := pki.Open(open("pki.db"), time.Now)
	must(err)
	keys, err := pki.OpenKeyring(filepath.Join(dir, "keys"), ledger)
	must(err)
	a := &agent.Agent{Host: "box.example", Spool: sink, State: db, Keys: keys, Policy: agent.Policy{Anonymous: map[string]string{"feed": "post"}}}
	p, err := NewPoller(Config{State: db, Agent: a, Spool: sink, First: 100,
		Fetcher: Fetcher{Guard: Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}})
	must(err)
	for _, u := range urls {
		must(p.polls.change(u, func(v *Poll, _ bool) (bool, error) {
			*v = Poll{URL: u, Group: "mesh.news"}
			return false, nil
		}))
	}
	return p, sink
}

// BenchmarkHundredFeeds polls 100 feeds of 100 entries over HTTP: at first, and again
// when nothing changed. It counts all the CPU of the process, the origin's share too,
// from the request to the article: fetching, parsing, sanitising, the text, building,
// and what state.db keeps of feeds and entries, on disk. "signed" goes on through the
// agent, which checks and signs, to the door of the spool. newsboat polls the same
// origin in the same run, where it is installed: its figures are those of its own
// process alone; it fetches, parses and keeps entries in its cache, sanitises when it
// shows them, and signs nothing.
func BenchmarkHundredFeeds(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(200)) // as litfass serve does
	urls := hundredFeeds(b)
	for _, signed := range []bool{false, true} {
		name := "articles"
		if signed {
			name = "signed"
		}
		b.Run(name, func(b *testing.B) { benchHundredFeeds(b, urls, signed) })
	}
}

// unsigned is an agent that takes all.
type unsigned struct{ n int }

func (u *unsigned) Inject(context.Context, *article.Draft, agent.Origin) (agent.Result, error) {
	u.n++
	return agent.Result{}, nil
}

func benchHundredFeeds(b *testing.B, urls []string, signed bool) {
	var first, again time.Duration
	rounds := 0
	for b.Loop() {
		p, sink := benchPoller(b, filepath.Join(b.TempDir(), fmt.Sprint(rounds)), urls)
		plain := &unsigned{}
		if !signed {
			p.cfg.Agent = plain
		}
		rounds++
		poll := func() time.Duration {
			begin := cpu()
			for _, u := range urls {
				if _, err := p.Poll(context.Background(), u); err != nil {
					b.Fatal(err)
				}
			}
			if err := p.Flush(); err != nil {
				b.Fatal(err)
			}
			return cpu() - begin
		}
		first += poll()
		if sink.signed+plain.n != 10_000 {
			b.Fatalf("%d articles, %d signed", plain.n+sink.n, sink.signed)
		}
		again += poll()
		p.cfg.Fetcher.Close()
	}
	b.ReportMetric(first.Seconds()/float64(rounds), "first-cpu-s")
	b.ReportMetric(again.Seconds()/float64(rounds), "unchanged-cpu-s")
	newsboat(b, urls)
}

// newsboat measures its CPU for the same feeds: the first reload, and the third, since
// in the second it does not use the validators yet.
func newsboat(b *testing.B, urls []string) {
	program, err := exec.LookPath("newsboat")
	if err != nil {
		b.Log("newsboat is not installed")
		return
	}
	dir := b.TempDir()
	for name, text := range map[string]string{"urls": strings.Join(urls, "\n") + "\n", "config": "reload-threads 8\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	var took [3]time.Duration
	for i := range took {
		cmd := exec.Command(program, "-C", "config", "-u", "urls", "-c", "cache.db", "-x", "reload")
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Logf("newsboat: %v\n%s", err, out)
			return
		}
		took[i] = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	b.ReportMetric(took[0].Seconds(), "newsboat-first-cpu-s")
	b.ReportMetric(took[2].Seconds(), "newsboat-unchanged-cpu-s")
}
