package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/test/nodebox"
)

// forum measures the web forum of a node, and public-inbox beside it with the same
// articles: server CPU of a request, octets of the page compressed.
func (b *bench) forum(ctx context.Context) error {
	n, bd := b.size(5000, 20000), newBoard()
	web, err := nodebox.FreeAddr()
	if err != nil {
		return err
	}
	box, err := nodebox.New(b.litf, nodebox.Options{Host: "forum.bench.example", HTTP: web, Groups: []string{boardGroup}, Links: []nodebox.Link{loader}})
	if err != nil {
		return err
	}
	defer box.Remove()
	if _, err := box.Start(); err != nil {
		return err
	}
	if err := fill(box.Addr, bd.load(n)); err != nil {
		return err
	}
	if _, err := box.Run("status", "--wait", "5m"); err != nil {
		return err
	}
	settle(box.Pid(), 5*time.Minute)
	other, err := newInbox(ctx, bd, n)
	if errors.Is(err, errNoInbox) {
		fmt.Fprintf(os.Stderr, "public-inbox is not measured: %v\n", err)
	} else if err != nil {
		return err
	} else {
		defer other.remove()
	}
	f := forumBench{bench: b, node: site{box.Pid(), "http://" + web}, n: n, board: bd}
	if other != nil {
		f.beside = &site{other.cmd.Process.Pid, other.url}
	}
	if err := f.pages(); err != nil {
		return err
	}
	if err := f.unchanged(); err != nil {
		return err
	}
	if err := f.search(); err != nil {
		return err
	}
	f.index(box)
	return f.waiting()
}

// site is a server of pages.
type site struct {
	pid int
	url string
}

type forumBench struct {
	*bench
	node   site
	beside *site // nil: there is none
	n      int
	board  *board
}

// pageFigure is what one kind of page takes.
type pageFigure struct {
	cpu    time.Duration // of the server, a request
	octets int           // on the wire, the last page
	took   times
}

func (p pageFigure) String() string { return fmt.Sprintf("%.2f ms, %d octets", ms(p.cpu), p.octets) }

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// measure asks for pages in turn for two seconds.
func (s site) measure(paths func(i int) string, header ...string) (pageFigure, error) {
	c := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer c.CloseIdleConnections()
	var p pageFigure
	one := func(i int) error {
		r, err := http.NewRequest(http.MethodGet, s.url+paths(i), nil)
		if err != nil {
			return err
		}
		r.Header.Set("Accept-Encoding", "gzip")
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		res, err := c.Do(r)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		octets, err := io.Copy(io.Discard, res.Body)
		if err != nil {
			return err
		}
		if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusNotModified {
			return fmt.Errorf("%s: %s", r.URL, res.Status)
		}
		p.octets = int(octets)
		return nil
	}
	for i := range 5 { // both keep what they made
		if err := one(i); err != nil {
			return p, err
		}
	}
	before := cpu(s.pid)
	var err error
	if p.took, err = repeat(2*time.Second, one); err != nil {
		return p, err
	}
	p.cpu = (cpu(s.pid) - before) / time.Duration(len(p.took))
	return p, nil
}

// pages are those whose cost and weight there is a goal for.
func (f *forumBench) pages() error {
	bd := f.board
	always := func(s string) func(int) string { return func(int) string { return s } }
	thread := func(root int) string { return "/g/" + boardGroup + "/t/" + bd.id(root).Bare() }
	mids := func(i int) int { return longThread + i%midThreads*midThread }
	any := func(i int) article.ID { return bd.id(i * 13 % f.n) }
	for _, p := range []struct {
		name         string
		ours, theirs func(i int) string
		cpu          time.Duration
		octets       int
	}{
		{"front page", always("/"), nil, 2 * time.Millisecond, 6 << 10},
		{"list of threads", always("/g/" + boardGroup), always(""), 0, 8 << 10},
		{"one message, different ones", func(i int) string { return "/m/" + any(i).Bare() }, func(i int) string { return any(i).Bare() + "/" }, 500 * time.Microsecond, 3 << 10},
		{"thread of 25, one of 20", func(i int) string { return thread(mids(i)) }, func(i int) string { return bd.id(mids(i)).Bare() + "/T/" }, 1500 * time.Microsecond, 18 << 10},
		{"thread of 125 on one page", always(thread(0) + "?page=all"), always(bd.id(0).Bare() + "/T/"), 12 * time.Millisecond, 65 << 10},
		{"the same nested, its first page", always(thread(0) + "?view=nested"), always(bd.id(0).Bare() + "/t/"), 0, 0},
	} {
		ours, err := f.node.measure(p.ours)
		if err != nil {
			return err
		}
		r := row{what: "forum: " + p.name, ours: ours.String()}
		if f.beside != nil && p.theirs != nil {
			theirs, err := f.beside.measure(p.theirs)
			if err != nil {
				return err
			}
			r.inn, r.ratio = "public-inbox "+theirs.String(), fmt.Sprintf("%.1fx CPU", float64(theirs.cpu)/float64(ours.cpu))
		}
		if p.cpu > 0 {
			r.goal, r.ok = fmt.Sprintf("<= %.1f ms, %d kB", ms(p.cpu), p.octets>>10), yes(ours.cpu <= p.cpu && ours.octets <= p.octets)
		} else if p.octets > 0 {
			r.goal, r.ok = fmt.Sprintf("<= %d kB", p.octets>>10), yes(ours.octets <= p.octets)
		}
		f.add(r)
	}
	return nil
}

// unchanged asks again for a page that the reader has.
func (f *forumBench) unchanged() error {
	path := "/g/" + boardGroup + "/t/" + f.board.id(longThread).Bare()
	res, err := http.Get(f.node.url + path)
	if err != nil {
		return err
	}
	res.Body.Close()
	cookies := ""
	for _, c := range res.Cookies() {
		cookies += c.Name + "=" + c.Value + "; "
	}
	r, err := http.NewRequest(http.MethodGet, f.node.url+path, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Cookie", cookies)
	if res, err = http.DefaultClient.Do(r); err != nil { // now with what the first look marked as read
		return err
	}
	res.Body.Close()
	p, err := f.node.measure(func(int) string { return path }, "Cookie", cookies, "If-None-Match", res.Header.Get("ETag"))
	if err == nil && p.octets > 0 {
		err = errors.New("forum: an unchanged page is sent again")
	}
	f.add(row{what: "forum: unchanged page (304)", ours: fmt.Sprintf("%.3f ms with HTTP and the kernel", ms(p.cpu)), goal: "<= 0.1 ms", ok: yes(p.cpu <= 100*time.Microsecond)})
	return err
}

// search asks for a word of one article, for two that are frequent, and for a phrase.
func (f *forumBench) search() error {
	for _, q := range []struct {
		name, query string
	}{
		{"rare word", "needle1007"}, {"frequent words", f.board.words[2] + " " + f.board.words[3]}, {"phrase", `"` + f.board.phrase() + `"`},
	} {
		ours, err := f.node.measure(func(int) string { return "/search?q=" + url.QueryEscape(q.query) })
		if err != nil {
			return err
		}
		say := func(p pageFigure) string {
			return fmt.Sprintf("p50 %.1f, p95 %.1f ms", ms(p.took.at(0.5)), ms(p.took.at(0.95)))
		}
		r := row{what: fmt.Sprintf("forum: search, %s in %d, whole page", q.name, f.n), ours: say(ours)}
		if f.beside != nil {
			theirs, err := f.beside.measure(func(int) string { return "?q=" + url.QueryEscape(q.query) })
			if err != nil {
				return err
			}
			r.inn = "public-inbox " + say(theirs)
		}
		f.add(r)
	}
	return nil
}

// index compares what the indices take on disk with the articles.
func (f *forumBench) index(box *nodebox.Node) {
	text := 0
	for i := range f.n {
		text += len(f.board.article(i))
	}
	found := folder(filepath.Join(box.Dir, "data", "search"))
	f.add(row{what: "forum: search index, times the articles", ours: fmt.Sprintf("%.2f", float64(found)/float64(text)), goal: "<= 1.5", ok: yes(float64(found) <= 1.5*float64(text))})
}

// folder is the size of all files in a folder.
func folder(dir string) (sum int64) {
	_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil {
				sum += info.Size()
			}
		}
		return nil
	})
	return sum
}

// waiting is the memory of 200 readers whose pages wait for news.
func (f *forumBench) waiting() error {
	settle(f.node.pid, time.Minute)
	before, _, _ := memory(f.node.pid)
	var open []*http.Response
	c := &http.Client{Transport: &http.Transport{}}
	defer func() {
		for _, res := range open {
			res.Body.Close()
		}
		c.CloseIdleConnections()
	}()
	for range 200 {
		res, err := c.Get(f.node.url + "/events?g=" + boardGroup)
		if err != nil {
			return err
		}
		open = append(open, res)
		if _, err := bufio.NewReader(res.Body).ReadString('\n'); err != nil {
			return fmt.Errorf("forum: an event stream: %s, %w", res.Status, err)
		}
	}
	after, _, _ := memory(f.node.pid)
	grown := float64(after-before) / 1024
	f.add(row{what: "forum: 200 readers that wait for news, MiB", ours: fmt.Sprintf("%.1f", grown), goal: "<= 16", ok: yes(grown <= 16)})
	return nil
}
