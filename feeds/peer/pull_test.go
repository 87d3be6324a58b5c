package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/nntp"
	"github.com/litfass/litfass/spool"
)

// reader is a news server that gives no feed: one group, a.b, numbers from 1.
type reader struct {
	t       testing.TB
	addr    string
	newNews bool

	mu       sync.Mutex
	articles [][]byte
	fetched  int
	log      []string
}

func newReader(t testing.TB) *reader {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{t: t, addr: ln.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { r.serve(nntp.NewConn(c, nntp.Options{})); c.Close() })
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return r
}

func (r *reader) add(i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.articles = append(r.articles, wire(i, "there!not-for-mail", "a.b"))
}

func (r *reader) serve(c *nntp.Conn) {
	c.Status(200, "reader")
	for {
		if c.Buffered() == 0 && c.Flush() != nil {
			return
		}
		line, err := c.Line(nntp.MaxCommand)
		if err != nil {
			return
		}
		if !r.answer(c, strings.Fields(string(line))) {
			c.Flush()
			return
		}
	}
}

// idOf finds the Message-ID that wire gave.
func idOf(b []byte) string {
	_, rest, _ := strings.Cut(string(b), "Message-ID: ")
	id, _, _ := strings.Cut(rest, "\r\n")
	return id
}

func (r *reader) answer(c *nntp.Conn, w []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, strings.Join(w, " "))
	n := len(r.articles)
	switch w[0] {
	case "MODE":
		c.Status(201, "no posting")
	case "DATE":
		c.Status(111, "20261123120000")
	case "LIST":
		c.Status(215, "list")
		c.Str(fmt.Sprintf("a.b %d 1 y\r\nother.x 9 1 y\r\nrubbish\r\n.\r\n", n))
	case "GROUP":
		c.Status(211, fmt.Sprintf("%d 1 %d a.b", n, n))
	case "OVER":
		lo, hi, _ := strings.Cut(w[1], "-")
		from, _ := strconv.Atoi(lo)
		to, _ := strconv.Atoi(hi)
		c.Status(224, "over")
		for i := from; i <= to && i <= n; i++ {
			c.Str(fmt.Sprintf("%d\ts\tf\td\t%s\t\t100\t1\r\n", i, idOf(r.articles[i-1])))
		}
		c.End()
	case "NEWNEWS":
		if !r.newNews {
			c.Status(502, "no NEWNEWS here")
			return true
		}
		c.Status(230, "list")
		for _, a := range r.articles {
			c.Str(idOf(a) + "\r\n")
		}
		c.End()
	case "ARTICLE":
		for _, a := range r.articles {
			if idOf(a) == w[1] {
				r.fetched++
				c.Status(220, "0 "+w[1])
				c.Write(a)
				return true
			}
		}
		c.Status(430, "no")
	case "QUIT":
		c.Status(205, "bye")
		return false
	default:
		c.Status(500, "what")
	}
	return true
}

// relay takes articles, but for those it is told not to.
type relay struct {
	mu   sync.Mutex
	have map[article.ID]bool
	want func(article.ID) error
	take func(article.ID) error
	from map[string]int
}

func (r *relay) Want(_ context.Context, id article.ID, o agent.Origin) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.have[id] {
		return &agent.Refusal{Reason: agent.Duplicate}
	}
	if r.want != nil {
		return r.want(id)
	}
	return nil
}

func (r *relay) Relay(_ context.Context, raw []byte, o agent.Origin) (spool.Entry, error) {
	a, err := article.Parse(raw, article.Limits{})
	if err != nil {
		return spool.Entry{}, &agent.Refusal{Reason: agent.Malformed}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.take != nil {
		if err := r.take(a.ID()); err != nil {
			return spool.Entry{}, err
		}
	}
	r.have[a.ID()] = true
	r.from[o.Peer]++
	return spool.Entry{}, nil
}

func newPull(t *testing.T, addr string) (*relay, func() error, *sender) {
	to := &relay{have: map[article.ID]bool{}, from: map[string]int{}}
	cfg := &Config{Spool: newNode(t), State: &memory{}, Relay: to}
	cfg.defaults()
	s, err := newSender(cfg, Peer{Name: "p", Address: addr, Take: "a.*"})
	if err != nil {
		t.Fatal(err)
	}
	return to, func() error { return s.pullOnce(context.Background()) }, s
}

func TestPullByOverview(t *testing.T) {
	r := newReader(t)
	for i := range 1200 {
		r.add(i)
	}
	to, once, s := newPull(t, r.addr)
	to.have["<7@x>"] = true
	busy := true
	to.take = func(id article.ID) error {
		switch {
		case id == "<9@x>":
			return &agent.Refusal{Reason: agent.Unwanted}
		case id == "<700@x>" && busy:
			return errors.New("disk is full")
		}
		return nil
	}
	if err := once(); !errors.Is(err, errBusy) {
		t.Errorf("a full disk: %v", err)
	}
	busy = false
	if err := once(); err != nil {
		t.Error(err)
	}
	if len(to.have) != 1199 || to.from["p"] != 1198 {
		t.Errorf("%d articles, from %v", len(to.have), to.from)
	}
	if r.fetched > 1200+pullSlack {
		t.Errorf("%d articles were fetched for 1199", r.fetched)
	}
	r.add(1200)
	fetched := r.fetched
	if err := once(); err != nil || !to.have["<1200@x>"] || r.fetched != fetched+1 {
		t.Errorf("one more: %v, fetched %d", err, r.fetched-fetched)
	}
	if st := s.stats(); st.Pulled != 1199 || st.PullBad < 1 || st.LastPull.IsZero() {
		t.Errorf("%+v", st)
	}
	for _, l := range r.log {
		if strings.HasPrefix(l, "GROUP other") {
			t.Error(l)
		}
	}
}

// pullSlack: articles of the chunk that was cut short are fetched again if
// history does not know them, here the one refused.
const pullSlack = 20

func TestPullByNewNews(t *testing.T) {
	r := newReader(t)
	r.newNews = true
	r.add(1)
	to, once, _ := newPull(t, r.addr)
	for range 2 {
		if err := once(); err != nil {
			t.Fatal(err)
		}
		r.add(2)
	}
	if len(to.have) != 2 || r.fetched != 2 {
		t.Errorf("%v, fetched %d", to.have, r.fetched)
	}
	if want := "NEWNEWS a.* 20261123 115000 GMT"; !strings.Contains(strings.Join(r.log, "\n"), want) {
		t.Errorf("no %q in %q", want, r.log)
	}
}

// TestPullRuns: the round is repeated, and Stop ends it.
func TestPullRuns(t *testing.T) {
	r := newReader(t)
	to := &relay{have: map[article.ID]bool{}, from: map[string]int{}}
	f := New(Config{Spool: newNode(t), State: &memory{}, Relay: to})
	t.Cleanup(f.Stop)
	if err := f.Set([]Peer{{Name: "p", Address: r.addr, Pull: time.Millisecond}}); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		r.add(i)
		await(t, "an article", func() bool {
			to.mu.Lock()
			defer to.mu.Unlock()
			return to.have[article.ID(fmt.Sprintf("<%d@x>", i))]
		})
	}
}
