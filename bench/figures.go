package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/nntp"
	"github.com/litfass/litfass/test/nodebox"
)

// sorts are the servers that a figure is measured on, ours first.
func (b *bench) sorts(storages ...string) []func() (server, error) {
	out := []func() (server, error){func() (server, error) { return b.ours() }}
	if b.innBin == "" {
		return out
	}
	for _, s := range storages {
		out = append(out, func() (server, error) { return newINN(b.innBin, s, b.groups.names()) })
	}
	return out
}

// fill feeds a server that shall have articles before it is measured.
func fill(addr string, l *load) error {
	f, err := feed(addr, l, feeding{conns: 2, window: 64})
	if err == nil {
		err = f.all(l.len())
	}
	if err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	return nil
}

// intake is TAKETHIS over 2 connections with window 64. Servers take turns, so
// that a busy moment of the machine does not hit one alone; the best round counts.
func (b *bench) intake(context.Context) error {
	n, rounds := b.size(20000, 50000), b.size(2, 3)
	var all []server
	defer func() {
		for _, s := range all {
			s.Remove()
		}
	}()
	for _, begin := range b.sorts("tradspool", "cnfs") {
		s, err := begin()
		if err != nil {
			return err
		}
		all = append(all, s)
	}
	rate, us := make([]float64, len(all)), make([]float64, len(all))
	for r := range rounds {
		l := newCorpus(fmt.Sprintf("in%d", r), b.groups.groups).batch(0, n)
		for i, s := range all {
			before := cpu(s.Pid())
			got, err := feed(s.addr(), l, feeding{conns: 2, window: 64})
			if err == nil {
				err = got.all(n)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", s.name(), err)
			}
			used := float64((cpu(s.Pid()) - before).Microseconds()) / float64(n)
			if rate[i] < got.rate() {
				rate[i] = got.rate()
			}
			if us[i] == 0 || used < us[i] {
				us[i] = used
			}
		}
	}
	one := row{what: "intake, TAKETHIS, articles/s", ours: fmt.Sprintf("%.0f", rate[0]), goal: ">= 1.2x tradspool"}
	two := row{what: "intake, server CPU us/article", ours: fmt.Sprintf("%.0f", us[0]), goal: "<= 60", ok: yes(us[0] <= 60)}
	if len(all) > 2 {
		one.inn = fmt.Sprintf("%.0f, cnfs %.0f", rate[1], rate[2])
		one.ratio = fmt.Sprintf("%.2f, %.2f", rate[0]/rate[1], rate[0]/rate[2])
		one.ok = yes(rate[0] >= 1.2*rate[1])
		two.inn = fmt.Sprintf("%.0f, cnfs %.0f", us[1], us[2])
		two.ratio = fmt.Sprintf("%.2f, %.2f", us[0]/us[1], us[0]/us[2])
	}
	b.add(one)
	b.add(two)
	return nil
}

// checked is how many CHECK a second a server answers.
type checked struct{ known, unknown float64 }

func (r checked) both() []float64 { return []float64{r.known, r.unknown} }

func checkBoth(addr string, known func(int64) article.ID) (r checked, err error) {
	if r.known, err = checks(addr, 2, 64, 3*time.Second, known); err != nil {
		return r, err
	}
	r.unknown, err = checks(addr, 2, 64, 3*time.Second, func(k int64) article.ID {
		return article.ID(fmt.Sprintf("<never.%d@bench.invalid>", k))
	})
	return r, err
}

// check is CHECK alone, of ids that are known and not: ours at n entries and at ten
// times as many, INN at n.
func (b *bench) check(context.Context) error {
	n := b.size(100000, 1000000)
	ours, err := b.histories(n, 10*n)
	if err != nil {
		return err
	}
	var theirs *checked
	if b.innBin != "" {
		r, err := b.checkINN(n)
		if err != nil {
			return err
		}
		theirs = &r
	}
	for i, what := range []string{"known", "unknown"} {
		small, large := ours[0].both()[i], ours[1].both()[i]
		r := row{what: fmt.Sprintf("CHECK at %d entries, %s, /s", n, what), ours: fmt.Sprintf("%.0f", small), goal: ">= INN's"}
		if theirs != nil {
			v := theirs.both()[i]
			r.inn, r.ratio, r.ok = fmt.Sprintf("%.0f", v), fmt.Sprintf("%.2f", small/v), yes(small >= v)
		}
		b.add(r)
		b.add(row{what: fmt.Sprintf("CHECK at %d entries, %s, /s", 10*n, what), ours: fmt.Sprintf("%.0f, %.2f of that at %d", large, large/small, n), goal: "flat", ok: yes(large >= 0.8*small)})
	}
	return nil
}

func (b *bench) checkINN(n int) (checked, error) {
	s, err := newINN(b.innBin, "cnfs", b.groups.names())
	if err != nil {
		return checked{}, err
	}
	defer s.Remove()
	c := newCorpus("chk", b.groups.groups)
	c.small = true
	for from := 0; from < n; from += 50000 {
		if err := fill(s.addr(), c.batch(from, min(n, from+50000))); err != nil {
			return checked{}, fmt.Errorf("%s: %w", s.name(), err)
		}
	}
	return checkBoth(s.addr(), func(k int64) article.ID { return c.id(int(k * 7919 % int64(n))) })
}

// reading is what one server needs for a reader's commands.
type reading struct {
	p50 map[string]time.Duration
	us  map[string]float64 // server CPU
}

var readCommands = []struct {
	name, what, goal string
	limit            time.Duration
}{
	{"article", "ARTICLE, p50 us", "<= 200", 200 * time.Microsecond},
	{"over", "OVER of 100, p50 us", "<= 200", 200 * time.Microsecond},
	{"listgroup", "LISTGROUP of the largest group, p50 us", "<= 700", 700 * time.Microsecond},
	{"newnews", "NEWNEWS of an hour, one group, p50 us", "<= 1000", time.Millisecond},
}

// read is one connection with one request outstanding, as a newsreader has.
func (b *bench) read(context.Context) error {
	var all []reading
	for _, begin := range b.sorts("tradspool") {
		s, err := begin()
		if err != nil {
			return err
		}
		r, err := b.readOne(s)
		s.Remove()
		if err != nil {
			return fmt.Errorf("%s: %w", s.name(), err)
		}
		all = append(all, r)
	}
	for _, c := range readCommands {
		ours := all[0].p50[c.name]
		r := row{what: c.what, ours: fmt.Sprintf("%d (CPU %.0f)", ours.Microseconds(), all[0].us[c.name]), goal: c.goal, ok: yes(ours <= c.limit)}
		if len(all) > 1 {
			theirs := all[1].p50[c.name]
			r.inn = fmt.Sprintf("%d (CPU %.0f)", theirs.Microseconds(), all[1].us[c.name])
			r.ratio = fmt.Sprintf("%.4f (CPU %.2f)", float64(ours)/float64(theirs), all[0].us[c.name]/all[1].us[c.name])
		}
		b.add(r)
	}
	return nil
}

func (b *bench) readOne(s server) (reading, error) {
	r := reading{map[string]time.Duration{}, map[string]float64{}}
	n := b.size(20000, 25000)
	if err := fill(s.addr(), newCorpus("rd", b.groups.groups).batch(0, n)); err != nil {
		return r, err
	}
	settle(s.Pid(), time.Minute) // the full-text index comes after, and is not what is measured
	c, err := connectReader(s.addr())
	if err != nil {
		return r, err
	}
	defer c.Close()
	g := article.Group(b.groups.group(0))
	_, low, high, err := c.Group(g)
	if err != nil {
		return r, err
	}
	drop := func([]byte) error { return nil }
	hour := time.Now().Add(-time.Hour)
	span := int(high-low) - 100
	do := map[string]func(int) error{
		"article": func(k int) error {
			_, err := c.Article(fmt.Sprint(int(low)+k*31%span), 1<<20)
			return err
		},
		"over": func(k int) error {
			at := low + uint64(k*31%span)
			return c.Over(at, at+99, func(uint64, article.Overview) error { return nil })
		},
		"listgroup": func(int) error { return c.ListGroup(g, drop) },
		"newnews":   func(int) error { return c.NewNews(string(g), hour, func(article.ID) error { return nil }) },
	}
	for _, cmd := range readCommands {
		before := cpu(s.Pid())
		t, err := repeat(1500*time.Millisecond, do[cmd.name])
		if err != nil {
			return r, fmt.Errorf("%s: %w", cmd.name, err)
		}
		r.p50[cmd.name] = t.at(0.5)
		r.us[cmd.name] = float64((cpu(s.Pid()) - before).Microseconds()) / float64(len(t))
	}
	return r, nil
}

// readers are idle ones, each in a group.
func (b *bench) readers(context.Context) error {
	n := b.size(500, 1000)
	var per []float64
	for _, begin := range b.sorts("tradspool") {
		s, err := begin()
		if err != nil {
			return err
		}
		kib, err := b.readersOne(s, n)
		s.Remove()
		if err != nil {
			return fmt.Errorf("%s: %w", s.name(), err)
		}
		per = append(per, kib)
	}
	r := row{what: "idle readers, KiB each (anonymous)", ours: fmt.Sprintf("%.1f", per[0]), goal: "<= 48 (48 MiB for 1,000)", ok: yes(per[0] <= 49)}
	if len(per) > 1 {
		r.inn, r.ratio = fmt.Sprintf("%.0f", per[1]), fmt.Sprintf("%.4f", per[0]/per[1])
	}
	b.add(r)
	return nil
}

func (b *bench) readersOne(s server, n int) (float64, error) {
	if err := fill(s.addr(), newCorpus("id", b.groups.groups).batch(0, 2000)); err != nil {
		return 0, err
	}
	take, err := b.readersTake(s.Pid(), n, func() (*nntp.Client, error) { return connectReader(s.addr()) })
	return float64(take.rest) / float64(n), err
}

// taken is anonymous memory in KiB, above a server at rest: mapped files come and go, and
// are the kernel's to take back.
type taken struct {
	rest int // when it is at rest again
	most int // on the way there; of one process only
}

// readersTake is what n idle readers take, each in a group. The server must first have
// given back what it used before, or the readers seem to cost less than nothing.
func (b *bench) readersTake(pid, n int, dial func() (*nntp.Client, error)) (taken, error) {
	atRest(pid, idleSeconds, 3*time.Minute)
	_, _, before := memory(pid)
	var open []*nntp.Client
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	most, err := highest(pid, "RssAnon", func() error {
		for i := range n {
			c, err := dial()
			if err != nil {
				return fmt.Errorf("reader %d: %w", i, err)
			}
			open = append(open, c)
			if _, _, _, err := c.Group(article.Group(b.groups.group(i % b.groups.groups))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return taken{}, err
	}
	atRest(pid, idleSeconds, time.Minute)
	_, _, after := memory(pid)
	return taken{after - before, most - before}, nil
}

// idle is a node at rest with 20,000 articles.
func (b *bench) idle(context.Context) error {
	n, err := b.ours()
	if err != nil {
		return err
	}
	defer n.Remove()
	if err := fill(n.addr(), newCorpus("rest", b.groups.groups).batch(0, 20000)); err != nil {
		return err
	}
	atRest(n.Pid(), idleSeconds, 3*time.Minute) // the full-text index comes after
	_, hot, hotAnon := memory(n.Pid())
	if err := n.Stop(); err != nil {
		return err
	}
	took, err := n.Start()
	if err != nil {
		return err
	}
	atRest(n.Pid(), idleSeconds, time.Minute)
	_, rss, anon := memory(n.Pid())
	b.add(row{
		what: "idle node, 20,000 articles, RSS (anonymous) MiB", ours: fmt.Sprintf("%d (%d); after intake %d (%d)", rss>>10, anon>>10, hot>>10, hotAnon>>10),
		inn: "15 (noted)", goal: "<= 32 (16)",
		ok: yes(max(rss, hot) <= 32<<10 && max(anon, hotAnon) <= 16<<10),
	})
	b.add(row{what: "start with 20,000 articles, ms", ours: fmt.Sprint(took.Milliseconds())})
	return nil
}

// settle waits until a process has been at rest for 6 s: memory is given back
// after 4. It gives up after limit.
func settle(pid int, limit time.Duration) { atRest(pid, 6, limit) }

// idleSeconds is when a node has given back all that it will: restLate in cmd/litfass/memory.go.
const idleSeconds = 20

// atRest waits until a process has used next to nothing for some seconds.
func atRest(pid, seconds int, limit time.Duration) {
	quiet, last := 0, cpu(pid)
	for end := time.Now().Add(limit); quiet < seconds && time.Now().Before(end); {
		time.Sleep(time.Second)
		now := cpu(pid)
		if quiet++; now-last > 30*time.Millisecond {
			quiet = 0
		}
		last = now
	}
}

// pair starts two nodes, the first feeds the second.
func (b *bench) pair() (one, two node, err error) {
	two, err = b.start(nodebox.Options{Host: "two.bench.example", Links: []nodebox.Link{{Name: "one.bench.example", Send: "!*"}}})
	if err != nil {
		return one, two, err
	}
	if one, err = b.ours(nodebox.Link{Name: "two.bench.example", Addr: two.Addr, Send: "*"}); err != nil {
		two.Remove()
	}
	return one, two, err
}

// visible is the time from 239 at one node until a reader at the next node sees
// the article, both durable.
func (b *bench) visible(context.Context) error {
	one, two, err := b.pair()
	if err != nil {
		return err
	}
	defer one.Remove()
	defer two.Remove()
	from, err := connect(one.addr())
	if err != nil {
		return err
	}
	defer from.Close()
	if _, err := from.ModeStream(); err != nil {
		return err
	}
	to, err := connectReader(two.addr())
	if err != nil {
		return err
	}
	defer to.Close()
	l := newCorpus("vis", b.groups.groups).batch(0, b.size(200, 1000))
	var took, accept times
	for i := range l.len() {
		begin := time.Now()
		from.TakeThis(l.ids[i], l.wire(i))
		if err := from.Flush(); err != nil {
			return err
		}
		if code, text, err := from.Next(); err != nil || code != 239 {
			return fmt.Errorf("TAKETHIS: %d %s, %w", code, text, err)
		}
		at := time.Now()
		accept = append(accept, at.Sub(begin))
		for {
			there, err := to.Stat(string(l.ids[i]))
			if err != nil {
				return err
			}
			if there {
				break
			}
			if time.Since(at) > 30*time.Second {
				return fmt.Errorf("%s does not come", l.ids[i])
			}
		}
		took = append(took, time.Since(at))
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.add(row{
		what: "239 to visible at the next node, ms p50 (p99)", ours: fmt.Sprintf("%.1f (%.1f)", ms(took.at(0.5)), ms(took.at(0.99))),
		inn: "1.5 (noted, not durable)", goal: "p50 <= 15", ok: yes(took.at(0.5) <= 15*time.Millisecond),
	})
	b.add(row{what: "TAKETHIS of one article until 239, ms p50", ours: fmt.Sprintf("%.2f", ms(accept.at(0.5)))})
	return nil
}

// burst is how long after the last 239 everything is at the peer.
func (b *bench) burst(context.Context) error {
	one, two, err := b.pair()
	if err != nil {
		return err
	}
	defer one.Remove()
	defer two.Remove()
	l := newCorpus("bur", b.groups.groups).batch(0, 20000)
	c, err := connectReader(two.addr())
	if err != nil {
		return err
	}
	defer c.Close()
	var last atomic.Int64
	arrived := make(chan error, 1)
	go func() { arrived <- awaitAll(c, l, time.Now().Add(2*time.Minute)) }()
	f, err := feed(one.addr(), l, feeding{conns: 2, window: 64, accepted: func(article.ID) { last.Store(time.Now().UnixNano()) }})
	if err == nil {
		err = f.all(l.len())
	}
	if err != nil {
		c.Close()
		<-arrived
		return err
	}
	if err := <-arrived; err != nil {
		return err
	}
	at := time.Since(time.Unix(0, last.Load()))
	b.add(row{
		what: "burst of 20,000: all at the peer after the last 239, s", ours: fmt.Sprintf("%.2f (intake %.0f/s)", at.Seconds(), f.rate()),
		inn: "> 25 for a fifth (noted)", goal: "<= 3", ok: yes(at <= 3*time.Second),
	})
	return nil
}

// awaitAll returns when all articles of l are there; it asks in their order.
func awaitAll(c *nntp.Client, l *load, until time.Time) error {
	for _, id := range l.ids {
		for {
			there, err := c.Stat(string(id))
			if err != nil {
				return err
			}
			if there {
				break
			}
			if time.Now().After(until) {
				return fmt.Errorf("%s does not come", id)
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
	return nil
}
