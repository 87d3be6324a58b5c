package smtpd

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/local"
)

// benchOffice is a door over a spool on disk. detach stands for the torrents.
func benchOffice(b *testing.B, detach agent.Detacher) string {
	store, err := local.Open(local.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { store.Close() })
	if err := store.PutGroups(context.Background(), spool.GroupInfo{Name: "mesh.talk", Status: spool.PostOpen}); err != nil {
		b.Fatal(err)
	}
	a := &agent.Agent{Host: "box.example", Spool: store, Detach: detach, Policy: agent.Policy{Anonymous: map[string]string{"smtp": "post"}}}
	s := New(Config{Domain: "box.example", Host: "box.example", Anonymous: "post", Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Agent: a, Spool: store, HTMLText: content.TextOfHTML, TempDir: b.TempDir()})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = s.Shutdown(ctx)
		<-done
	})
	return l.Addr().String()
}

// BenchmarkIntake is mails of 2 kB on 4 connections, each on the disk before 250.
func BenchmarkIntake(b *testing.B) {
	addr := benchOffice(b, nil)
	body := strings.Repeat("a line of a mail that somebody wrote to a group\r\n", 40)
	jobs := make(chan int)
	var wg sync.WaitGroup
	for range 4 {
		c, err := smtp.Dial(addr)
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		wg.Go(func() {
			for i := range jobs {
				err := c.SendMail("a@a.example", []string{"mesh.talk@box.example"}, strings.NewReader(
					fmt.Sprintf("From: a@a.example\r\nSubject: %d\r\nMessage-ID: <%d@a.example>\r\nDate: %s\r\n\r\n%s", i, i, article.FormatDate(time.Now()), body)))
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	for i := 0; b.Loop(); i++ {
		jobs <- i
	}
	close(jobs)
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mails/s")
}

// swallow is a Detacher that reads a body to its end and leaves a short one.
type swallow struct{}

func (swallow) Detach(_ context.Context, d *article.Draft, _ []article.Group) error {
	if _, err := io.Copy(io.Discard, d.Body); err != nil {
		return err
	}
	d.Set("Content-Type", "text/plain")
	d.Body = strings.NewReader("detached\r\n")
	return nil
}

// BenchmarkMail50MiB is a mail with an attachment of 50 MiB, up to the detaching; it
// reports how much memory the heap held at most.
func BenchmarkMail50MiB(b *testing.B) {
	addr := benchOffice(b, swallow{})
	line := strings.Repeat("QUJD", 19) + "\r\n"
	size := 50 << 20 / len(line) * len(line)
	n := 0
	var most uint64
	for b.Loop() {
		n++
		stop, watched := make(chan struct{}), make(chan uint64)
		runtime.GC()
		var before runtime.MemStats
		runtime.ReadMemStats(&before)
		go watch(stop, watched)
		c, err := smtp.Dial(addr)
		if err != nil {
			b.Fatal(err)
		}
		c.SubmissionTimeout = time.Minute
		head := fmt.Sprintf("From: a@a.example\r\nSubject: big\r\nMessage-ID: <%d@a.example>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhi\r\n--b\r\n"+
			"Content-Type: application/zip; name=x.zip\r\nContent-Disposition: attachment\r\nContent-Transfer-Encoding: base64\r\n\r\n", n)
		err = c.SendMail("a@a.example", []string{"mesh.talk@box.example"}, io.MultiReader(strings.NewReader(head), io.LimitReader(&repeat{s: line}, int64(size)), strings.NewReader("--b--\r\n")))
		c.Close()
		close(stop)
		most = max(most, <-watched-before.HeapInuse)
		if err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(size))
	b.ReportMetric(float64(most)/(1<<20), "MiB-peak")
}

// watch reports the largest heap it saw.
func watch(stop chan struct{}, out chan uint64) {
	var most uint64
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			out <- most
			return
		case <-tick.C:
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
		}
	}
}

type repeat struct {
	s  string
	at int
}

func (r *repeat) Read(p []byte) (int, error) {
	n := copy(p, r.s[r.at:])
	r.at = (r.at + n) % len(r.s)
	return n, nil
}

// BenchmarkNested is a mail of MIME parts nested 5,000 deep, until it is refused.
func BenchmarkNested(b *testing.B) {
	d := newDesk(b)
	raw := nested(5000)
	for b.Loop() {
		if _, err := d.take(raw); err == nil {
			b.Fatal("taken")
		}
	}
}
