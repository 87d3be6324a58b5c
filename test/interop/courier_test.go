//go:build interop

package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/mail"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/litfass/litfass/test/nodebox"
)

// takings is a smarthost of the test's own that counts what it took.
type takings struct {
	addr   string
	answer func(to string) error // to RCPT; nil: all are taken

	mu   sync.Mutex
	took map[string]int // by Message-ID and address
	all  int
	stop int           // from so many on, none is answered until open is closed
	full chan struct{} // closed when the stop is reached
	open chan struct{}
}

// newTakings opens it; it goes silent in the middle of mail number stop, 0: never.
func newTakings(t *testing.T, stop int) *takings {
	t.Helper()
	h := &takings{took: map[string]int{}, stop: stop, full: make(chan struct{}), open: make(chan struct{})}
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &taking{h: h}, nil }))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = l.Addr().String()
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { h.goOn(); srv.Close(); <-done })
	return h
}

// goOn answers again.
func (h *takings) goOn() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stop != 0 {
		h.stop = 0
		close(h.open)
	}
}

// note counts a mail that was read whole, and says whether its answer must wait.
func (h *takings) note(key string) (wait bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.took[key]++
	h.all++
	if h.all == h.stop {
		close(h.full)
	}
	return h.stop != 0 && h.all >= h.stop
}

// counts is how many deliveries came, and how many came again, each in a mail of its own.
func (h *takings) counts() (different, again, most int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range h.took {
		again += n - 1
		most = max(most, n)
	}
	return len(h.took), again, most
}

// of is how often an address got mail.
func (h *takings) of(to string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, times := range h.took {
		if strings.HasSuffix(key, " "+to) {
			n += times
		}
	}
	return n
}

// taking is one connection to it.
type taking struct {
	h  *takings
	to string
}

func (s *taking) Reset()                               {}
func (s *taking) Logout() error                        { return nil }
func (s *taking) Mail(string, *smtp.MailOptions) error { return nil }

func (s *taking) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = to
	if s.h.answer != nil {
		return s.h.answer(to)
	}
	return nil
}

func (s *taking) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m, err := mail.ReadMessage(bytes.NewReader(text))
	if err != nil {
		return err
	}
	if s.h.note(m.Header.Get("Message-Id") + " " + s.to) {
		<-s.h.open
	}
	return nil
}

// waitingMail is a row of "litfass mail queue --json".
type waitingMail struct {
	To    []string
	Since time.Time
	Next  time.Time
	Tries int
}

func mailQueue(t *testing.T, n *nodebox.Node) (rows []waitingMail) {
	t.Helper()
	out, err := n.Run("mail", "queue", "--json")
	if err == nil {
		err = json.Unmarshal([]byte(out), &rows)
	}
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// postMany posts n articles to test.a.
func postMany(t *testing.T, n *nodebox.Node, many int) {
	t.Helper()
	for i := range many {
		text := fmt.Sprintf("From: a@a.invalid\nNewsgroups: test.a\nSubject: article %d\nMessage-ID: <%[1]d@queue.example>\n\nread me\n", i)
		run(t, n.Dir, text, litfass(t), "--config", filepath.Join(n.Dir, "litfass.toml"), "post")
	}
}

func subscribeAll(t *testing.T, n *nodebox.Node, addresses ...string) {
	t.Helper()
	for _, a := range addresses {
		if _, err := n.Run("mail", "add", "test.a", a); err != nil {
			t.Fatal(err)
		}
	}
}

// TestQueueOutlivesKill: a node that is killed with a full queue, while its smarthost
// has mails that it has not answered for, sends everybody everything when it runs
// again, and none twice but those.
func TestQueueOutlivesKill(t *testing.T) {
	const articles, readers, connections = 12, 10, 4 // so many at a time go to a smarthost
	h := newTakings(t, articles*readers/3)
	n := mailNode(t, fmt.Sprintf("[smtp]\nlisten = []\nsmarthost = %q\n[http]\nlisten = []\n", h.addr))
	for i := range readers {
		subscribeAll(t, n, fmt.Sprintf("reader%d@people.example", i))
	}
	postMany(t, n, articles)
	select {
	case <-h.full:
	case <-time.After(time.Minute):
		different, _, _ := h.counts()
		t.Fatalf("the smarthost got %d mails only", different)
	}
	if len(mailQueue(t, n)) == 0 {
		t.Fatal("nothing is queued: the kill would prove nothing")
	}
	n.Kill()
	h.goOn()
	if _, err := n.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "everybody has everything", func() bool {
		different, _, _ := h.counts()
		return different == articles*readers
	})
	eventually(t, "the queue is empty", func() bool { return len(mailQueue(t, n)) == 0 })
	different, again, most := h.counts()
	if different != articles*readers || again < 1 || again > connections || most != 2 {
		t.Errorf("%d deliveries instead of %d, %d came again (1 to %d may), one %d times", different, articles*readers, again, connections, most)
	}
}

// TestMailIsRetried: a mail that is put off is tried after 5 minutes, then after 10, and
// given up after 5 days, which counts as a bounce.
func TestMailIsRetried(t *testing.T) {
	const busy, slow = "busy@people.example", "slow@people.example"
	var mu sync.Mutex
	tries := map[string]int{}
	h := newTakings(t, 0)
	h.answer = func(to string) error {
		mu.Lock()
		defer mu.Unlock()
		tries[to]++
		if to == busy || to == slow && tries[to] == 1 {
			return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 2, 0}, Message: "later"}
		}
		return nil
	}
	n := mailNode(t, fmt.Sprintf("[smtp]\nlisten = []\nsmarthost = %q\n[http]\nlisten = []\n", h.addr))
	subscribeAll(t, n, busy, slow)
	postMany(t, n, 1)
	after := func(tries, waiting int, wait time.Duration) {
		t.Helper()
		var rows []waitingMail
		eventually(t, fmt.Sprintf("%d failed tries", tries), func() bool {
			rows = mailQueue(t, n)
			return len(rows) == 1 && rows[0].Tries == tries
		})
		if len(rows[0].To) != waiting || rows[0].Next.Sub(rows[0].Since) < wait {
			t.Errorf("after %d tries: %+v", tries, rows[0])
		}
	}
	again := func(shift string) {
		t.Helper()
		if err := n.Stop(); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Start("LITFASS_CLOCK_OFFSET=" + shift); err != nil {
			t.Fatal(err)
		}
	}
	after(1, 2, 5*time.Minute)
	again("6m")
	after(2, 1, 16*time.Minute) // 6 and 10
	if got := h.of(slow); got != 1 {
		t.Errorf("who had put it off once got it %d times", got)
	}
	again("121h")
	eventually(t, "it is given up", func() bool { return len(mailQueue(t, n)) == 0 })
	out, err := n.Run("mail", "list", "--json", "test.a")
	var list []struct {
		Address string
		Bounces int
	}
	if err == nil {
		err = json.Unmarshal([]byte(out), &list)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if want := map[string]int{busy: 1}[s.Address]; s.Bounces != want {
			t.Errorf("%s has %d bounces, not %d", s.Address, s.Bounces, want)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if h.of(busy) != 0 || tries[busy] != 3 {
		t.Errorf("%s was tried %d times, not 3", busy, tries[busy])
	}
}
