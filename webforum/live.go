package webforum

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// hub tells open pages of new articles: one reader of the log for all of them.
type hub struct {
	from spool.Seq // what came before Handler is no news
	mu   sync.Mutex
	subs map[*subscriber]struct{}
	done chan struct{} // closed when Run ends: the pages' connections end with it
}

type subscriber struct {
	want    string // "g=GROUP", "t=ROOT", "all"
	mayRead func(article.Group) bool
	news    chan event // a page that cannot keep up misses some: it only counts
}

type event struct {
	ID    string `json:"id"`
	Group string `json:"group"`
}

const (
	maxLive  = 1000 // pages that listen at one time
	liveBeat = 25 * time.Second
)

// Run reads the log for the live pages until ctx ends. It is called once, after Handler.
func (f *Forum) Run(ctx context.Context) error {
	defer close(f.live.done)
	at := f.live.from
	for {
		if err := f.Spool.Wait(ctx, at); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("forum: wait for articles: %w", err)
		}
		for e, err := range f.Spool.Since(ctx, at) {
			if err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return fmt.Errorf("forum: read the log: %w", err)
			}
			at = e.Seq
			f.tell(e)
		}
	}
}

func (f *Forum) tell(e spool.Entry) {
	f.live.mu.Lock()
	defer f.live.mu.Unlock()
	if len(f.live.subs) == 0 {
		return
	}
	root := ""
	if id, err := f.Threads.Root(e.ID); err == nil {
		root = "t=" + id.Bare()
	} else if refs := article.ParseReferences(e.References); len(refs) > 0 {
		root = "t=" + refs[0].Bare()
	}
	for s := range f.live.subs {
		for _, p := range e.Places {
			if s.mayRead(p.Group) && (s.want == "all" || s.want == "g="+string(p.Group) || s.want == root) {
				select {
				case s.news <- event{e.ID.Bare(), string(p.Group)}:
				default:
				}
				break
			}
		}
	}
}

func (h *hub) join(s *subscriber) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.subs) >= maxLive {
		return false
	}
	if h.subs == nil {
		h.subs = map[*subscriber]struct{}{}
	}
	h.subs[s] = struct{}{}
	return true
}

func (h *hub) leave(s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.subs, s)
}

// events is the one connection of a page that stays open (Server-Sent Events).
func (f *Forum) events(w http.ResponseWriter, r *http.Request) {
	v, err := f.visitor(w, r)
	if err != nil {
		http.Error(w, "503", http.StatusServiceUnavailable)
		return
	}
	want := r.URL.RawQuery
	if q := r.URL.Query(); q.Get("g") != "" {
		want = "g=" + q.Get("g")
	} else if q.Get("t") != "" {
		want = "t=" + q.Get("t")
	} else if !strings.HasPrefix(want, "all") {
		http.Error(w, "400", http.StatusBadRequest)
		return
	} else {
		want = "all"
	}
	s := &subscriber{want: want, mayRead: v.mayRead, news: make(chan event, 16)}
	if !f.live.join(s) {
		w.Header().Set("Retry-After", "60")
		http.Error(w, "503", http.StatusServiceUnavailable)
		return
	}
	defer f.live.leave(s)
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(time.Time{}) // not every writer has one
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	fmt.Fprint(w, "retry: 15000\n\n")
	if rc.Flush() != nil {
		return
	}
	beat := time.NewTicker(liveBeat)
	defer beat.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-f.live.done:
			return
		case e := <-s.news:
			b, err := json.Marshal(e)
			if err != nil {
				return
			}
			_, err = fmt.Fprintf(w, "data: %s\n\n", b)
			if err != nil || rc.Flush() != nil {
				return
			}
		case <-beat.C:
			if _, err := fmt.Fprint(w, ": \n\n"); err != nil || rc.Flush() != nil {
				return
			}
		}
	}
}
