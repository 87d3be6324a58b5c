package webforum

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
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
	seq   spool.Seq
	ID    string `json:"id"`
	Group string `json:"group"`
}

const (
	maxLive   = 1000 // pages that listen at one time
	maxReplay = 2000 // entries of the log that a page is told of after a pause
	liveBeat  = 25 * time.Second
)

// Run reads the log for the live pages until ctx ends. It is called once, after Handler.
func (f *Forum) Run(ctx context.Context) error {
	defer close(f.live.done)
	ctx, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	tasks.Go(func() { f.renewGroups(ctx) })
	defer tasks.Wait()
	defer cancel()
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
	root := f.topic(e)
	for s := range f.live.subs {
		if ev, ok := s.wants(e, root); ok {
			select {
			case s.news <- ev:
			default:
			}
		}
	}
}

// topic is what pages about an article's thread want to hear of.
func (f *Forum) topic(e spool.Entry) string {
	if id, err := f.Threads.Root(e.ID); err == nil {
		return "t=" + id.Bare()
	}
	refs := article.ParseReferences(e.References)
	if len(refs) == 0 {
		return "t=" + e.ID.Bare()
	}
	if id, err := f.Threads.Root(refs[len(refs)-1]); err == nil { // the index is a step behind
		return "t=" + id.Bare()
	}
	return "t=" + refs[0].Bare()
}

func (s *subscriber) wants(e spool.Entry, root string) (event, bool) {
	for _, p := range e.Places {
		if s.mayRead(p.Group) && (s.want == "all" || s.want == "g="+string(p.Group) || s.want == root) {
			return event{e.Seq, e.ID.Bare(), string(p.Group)}, true
		}
	}
	return event{}, false
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
	want := "all"
	if q := r.URL.Query(); q.Get("g") != "" {
		want = "g=" + q.Get("g")
	} else if q.Get("t") != "" {
		want = "t=" + q.Get("t")
	} else if !q.Has("all") {
		http.Error(w, "400", http.StatusBadRequest)
		return
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
	fmt.Fprint(w, "retry: 3000\n\n")
	if rc.Flush() != nil {
		return
	}
	send := func(ev event) error {
		b, err := json.Marshal(ev)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "id: %d\ndata: %s\n\n", ev.seq, b); err != nil {
			return err
		}
		return rc.Flush()
	}
	known, err := f.replay(v, s, since(r), send)
	if err != nil {
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
			if e.seq > known && send(e) != nil {
				return
			}
		case <-beat.C:
			if _, err := fmt.Fprint(w, ": \n\n"); err != nil || rc.Flush() != nil {
				return
			}
		}
	}
}

// since is up to where a page was told already: what its browser heard last, or
// what was known when it was made; 0: it does not say.
func since(r *http.Request) spool.Seq {
	n, err := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64)
	if err != nil {
		n, _ = strconv.ParseUint(r.URL.Query().Get("after"), 10, 64)
	}
	return spool.Seq(n)
}
