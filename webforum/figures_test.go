package webforum

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// many makes groups as large nodes have them.
func many(w *world, n int) {
	var list []spool.GroupInfo
	for i := range n {
		list = append(list, spool.GroupInfo{Name: article.Group(fmt.Sprintf("%s.%s.topic%d", []string{"comp", "rec", "de", "mesh", "alt"}[i%5], []string{"lang", "net", "talk"}[i%3], i)), Status: spool.PostOpen, Description: fmt.Sprintf("About the topic number %d", i)})
	}
	if err := w.s.PutGroups(context.Background(), list...); err != nil {
		w.t.Fatal(err)
	}
}

// BenchmarkFigures measures the pages that have figures to reach: CPU of the whole
// request with compression, and octets compressed. "cold" opens and renders each
// article anew.
func BenchmarkFigures(b *testing.B) {
	w, small, large := newWorld(b), newWorld(b), newWorld(b)
	fill(w, 125, 60)
	fill(small, 25, 60)
	many(large, 600)
	for _, p := range []struct {
		name, path string
		w          *world
		cold       bool
	}{
		{"front", "/", w, false}, {"front600", "/", large, false}, {"message", "/m/b5@a.example", w, false}, {"messageCold", "/m/b5@a.example", w, true},
		{"thread25", "/g/misc.test/t/b0@a.example", small, false}, {"thread25Cold", "/g/misc.test/t/b0@a.example", small, true},
		{"page25of125", "/g/misc.test/t/b0@a.example", w, false}, {"page25of125Cold", "/g/misc.test/t/b0@a.example", w, true},
		{"thread125", "/g/misc.test/t/b0@a.example?page=all", w, false}, {"thread125Cold", "/g/misc.test/t/b0@a.example?page=all", w, true},
	} {
		b.Run(p.name, func(b *testing.B) {
			size, start := 0, cpuTime()
			for b.Loop() {
				p.w.f.limits = limiter{}
				if p.cold {
					p.w.f.bodies = bodies{}
				}
				r := httptest.NewRequest("GET", "http://"+p.w.host+p.path, nil)
				r.RemoteAddr = p.w.from
				r.Header.Set("Accept-Encoding", "gzip")
				rec := httptest.NewRecorder()
				p.w.h.ServeHTTP(rec, r)
				if rec.Code != 200 {
					b.Fatal(rec.Code)
				}
				size = rec.Body.Len()
			}
			cpu(b, start)
			b.ReportMetric(float64(size), "gzip-octets")
		})
	}
}

// BenchmarkUnchanged asks for a thread that the reader has.
func BenchmarkUnchanged(b *testing.B) {
	w := newWorld(b)
	fill(w, 25, 60)
	w.get("/g/misc.test/t/b0@a.example")
	res := w.get("/g/misc.test/t/b0@a.example")
	if res.Header.Get("ETag") == "" { // now with what the first look marked as read
		b.Fatal("no entity tag")
	}
	r := httptest.NewRequest("GET", "http://"+w.host+"/g/misc.test/t/b0@a.example", nil)
	r.RemoteAddr = w.from
	r.Header.Set("If-None-Match", res.Header.Get("ETag"))
	for k, v := range w.jar {
		r.AddCookie(&http.Cookie{Name: k, Value: v})
	}
	b.ReportAllocs()
	for b.Loop() {
		w.f.limits = limiter{}
		rec := httptest.NewRecorder()
		w.h.ServeHTTP(rec, r)
		if rec.Code != http.StatusNotModified {
			b.Fatal(rec.Code)
		}
	}
}

// TestFirstVisit: who comes to a thread for the first time loads a page, a sheet
// and a script, 40 kB together; a long thread comes in pages, and on one if wanted.
func TestFirstVisit(t *testing.T) {
	w, large := newWorld(t), newWorld(t)
	fill(w, 125, 0)
	many(large, 600)
	page := w.get("/g/misc.test/t/b0@a.example").body
	sum := gz(page) + gz(w.get(w.f.css).body) + gz(w.get(w.f.js).body)
	if sum > 40<<10 || strings.Count(page, "<script") != 1 || strings.Count(page, `rel="stylesheet"`) != 1 {
		t.Errorf("the first visit takes %d octets", sum)
	}
	if n := strings.Count(page, "<article"); n != postsPage {
		t.Errorf("%d posts on a page", n)
	}
	whole := w.get("/g/misc.test/t/b0@a.example?page=all").body
	if n, octets := strings.Count(whole, "<article"), gz(whole); n != 125 || octets > 65<<10 {
		t.Errorf("%d posts on one page, %d octets", n, octets)
	}
	if n := gz(large.get("/").body); n > 6<<10 {
		t.Errorf("the front page of 600 groups: %d octets", n)
	}
}

// BenchmarkReaders opens 200 pages that wait for news, and says what each costs in
// memory: heap and stacks of both ends, as the client runs in the same process.
func BenchmarkReaders(b *testing.B) {
	w := newWorld(b)
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- w.f.Run(ctx) }()
	srv := httptest.NewServer(w.h)
	const readers = 200
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var open []*http.Response
		for range readers {
			w.f.limits = limiter{}
			res, err := srv.Client().Get(srv.URL + "/events?g=misc.test")
			if err != nil || res.StatusCode != 200 {
				b.Fatal(res, err)
			}
			if _, err := bufio.NewReaderSize(res.Body, 16).ReadString('\n'); err != nil { // it waits
				b.Fatal(err)
			}
			open = append(open, res)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse)/(1<<20), "MiB/200")
		for _, res := range open {
			res.Body.Close()
		}
	}
	srv.CloseClientConnections()
	srv.Close()
	cancel()
	if err := <-over; err != nil {
		b.Error(err)
	}
}

// The weight of pages: docs/forum.md says these figures.
func TestWeight(t *testing.T) {
	w := newWorld(t)
	fill(w, 130, 60)
	for path, limit := range map[string]int{"/": 6 << 10, "/g/misc.test": 8 << 10, "/m/b5@a.example": 3 << 10, "/g/misc.test/t/b0@a.example": 18 << 10, w.f.css: 8 << 10, w.f.js: 12 << 10} {
		if n := gz(w.get(path).body); n > limit {
			t.Errorf("%s: %d octets compressed, at most %d", path, n, limit)
		} else {
			t.Logf("%s: %d octets compressed", path, n)
		}
	}
}

func BenchmarkPages(b *testing.B) {
	w := newWorld(b)
	fill(w, 130, 60)
	w.jar = map[string]string{}
	for name, path := range map[string]string{"front": "/", "group": "/g/misc.test", "message": "/m/b5@a.example", "thread25": "/g/misc.test/t/b0@a.example", "nested50": "/g/misc.test/t/b0@a.example?view=nested"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			size, start := 0, cpuTime()
			for range b.N {
				w.f.limits = limiter{}
				r := httptest.NewRequest("GET", "http://"+w.host+path, nil)
				r.RemoteAddr = w.from
				r.Header.Set("Accept-Encoding", "gzip")
				rec := httptest.NewRecorder()
				w.h.ServeHTTP(rec, r)
				if rec.Code != 200 {
					b.Fatal(rec.Code)
				}
				size = rec.Body.Len()
			}
			cpu(b, start)
			b.ReportMetric(float64(size), "gzip-octets")
		})
	}
	b.Run("unchanged", func(b *testing.B) {
		r := httptest.NewRequest("GET", "http://box.example/g/misc.test/t/b0@a.example", nil)
		r.RemoteAddr = w.from
		rec := httptest.NewRecorder()
		w.h.ServeHTTP(rec, r)
		r.Header.Set("If-None-Match", rec.Header().Get("ETag"))
		b.ReportAllocs()
		start := cpuTime()
		defer func() { cpu(b, start) }()
		for range b.N {
			w.f.limits = limiter{}
			rec := httptest.NewRecorder()
			w.h.ServeHTTP(rec, r)
			if rec.Code != 304 {
				b.Fatal(rec.Code)
			}
		}
	})
}

// cpuTime is the processor time of this process: on a busy machine it says more
// than the clock.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func cpu(b *testing.B, start time.Duration) {
	b.ReportMetric(float64((cpuTime()-start).Microseconds())/float64(b.N), "cpu-µs/op")
}
