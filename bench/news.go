package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/nntp"
	"github.com/litfass/litfass/test/nodebox"
)

// status reads a figure in KiB from /proc/PID/status: VmRSS, RssAnon.
func status(pid int, key string) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			n, _ := strconv.Atoi(strings.Fields(rest)[0])
			return n
		}
	}
	return 0
}

// highest runs fn and returns the largest value of a figure meanwhile, in KiB,
// looked at every millisecond.
func highest(pid int, key string, fn func() error) (int, error) {
	var most atomic.Int64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for tick := time.NewTicker(time.Millisecond); ; {
			if n := int64(status(pid, key)); n > most.Load() {
				most.Store(n)
			}
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
			}
		}
	}()
	err := fn()
	close(stop)
	<-done
	return int(most.Load()), err
}

// logins is 50 of them at once, several times, on a node with articles.
func (b *bench) logins(context.Context) error {
	n, err := b.ours()
	if err != nil {
		return err
	}
	defer n.Remove()
	if err := fill(n.addr(), newCorpus("log", b.groups.groups).batch(0, 2000)); err != nil {
		return err
	}
	cmd := exec.Command(b.litf, "--config", filepath.Join(n.Dir, "litfass.toml"), "user", "add", "ann", "--password-stdin")
	cmd.Stdin = strings.NewReader("a secret of ann\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("user add: %w: %s", err, out)
	}
	settle(n.Pid(), time.Minute)
	rest := status(n.Pid(), "VmRSS")
	var took time.Duration
	most, err := highest(n.Pid(), "VmRSS", func() error {
		for range b.size(2, 5) {
			begin := time.Now()
			if err := together(50, func() error { return passwordLogin(n.addr(), "ann", "a secret of ann") }); err != nil {
				return err
			}
			took = time.Since(begin)
		}
		return nil
	})
	if err != nil {
		return err
	}
	b.add(row{what: "50 logins at once: the node's peak RSS, MiB", ours: fmt.Sprintf("%d (%d at rest); all in after %d ms", most>>10, rest>>10, took.Milliseconds()), goal: "<= 96", ok: yes(most <= 96<<10)})
	return nil
}

// together runs n of fn at once.
func together(n int, fn func() error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = fn() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// passwordLogin is AUTHINFO USER and PASS: what costs an argon2id hash.
func passwordLogin(addr, user, password string) error {
	c, err := textproto.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, _, err := c.ReadCodeLine(nntp.CodeReadyPost); err != nil {
		return err
	}
	for _, say := range []struct {
		line string
		code int
	}{{"AUTHINFO USER " + user, nntp.CodeAuthMore}, {"AUTHINFO PASS " + password, nntp.CodeAuthOK}} {
		if err := c.PrintfLine("%s", say.line); err != nil {
			return err
		}
		if _, _, err := c.ReadCodeLine(say.code); err != nil {
			return err
		}
	}
	return nil
}

// secure is what idle readers under TLS cost.
func (b *bench) secure(context.Context) error {
	at, err := nodebox.FreeAddr()
	if err != nil {
		return err
	}
	n, err := b.start(nodebox.Options{Host: "one.bench.example", More: fmt.Sprintf("[nntp.tls]\nlisten = [%q]\n", at)})
	if err != nil {
		return err
	}
	defer n.Remove()
	if err := fill(n.addr(), newCorpus("tls", b.groups.groups).batch(0, 2000)); err != nil {
		return err
	}
	d := nntp.Dialer{Address: at, TLS: nntp.TLSImplicit, Config: &tls.Config{InsecureSkipVerify: true}, Buffers: new(nntp.Buffers)}
	take, err := b.readersTake(n.Pid(), 2000, func() (*nntp.Client, error) { return d.Connect(context.Background()) })
	if err != nil {
		return err
	}
	b.add(row{
		what: "2,000 idle readers under TLS, MiB above the node (anonymous)", ours: fmt.Sprintf("%d (%d while they connect)", take.rest>>10, take.most>>10),
		goal: "<= 100", ok: yes(max(take.rest, take.most) <= 100<<10),
	})
	return nil
}

// compressed compares OVER of 1,000 lines with and without COMPRESS DEFLATE.
func (b *bench) compressed(context.Context) error {
	n, err := b.ours()
	if err != nil {
		return err
	}
	defer n.Remove()
	c := newCorpus("cmp", b.groups.groups)
	if err := fill(n.addr(), c.batch(0, 20000)); err != nil {
		return err
	}
	settle(n.Pid(), 3*time.Minute) // the index of words comes after
	var us [2]float64
	var octets [2]int64
	for i, d := range []nntp.Dialer{{Address: n.addr()}, {Address: n.addr(), Compress: new(nntp.Compressors)}} {
		if us[i], octets[i], err = overviews(n.Pid(), d, b.groups.names(), b.size(100, 400)); err != nil {
			return err
		}
	}
	b.add(row{what: "OVER of 1,000, compressed: server CPU us (plain)", ours: fmt.Sprintf("%.0f (%.0f)", us[1], us[0]), ratio: fmt.Sprintf("%.2f", us[1]/us[0]), goal: "<= 3x plain", ok: yes(us[1] <= 3*us[0])})
	b.add(row{what: "OVER of 1,000, compressed: octets (plain)", ours: fmt.Sprintf("%d (%d)", octets[1], octets[0]), ratio: fmt.Sprintf("%.2f", float64(octets[1])/float64(octets[0])), goal: "<= a quarter", ok: yes(octets[1]*4 <= octets[0])})
	return nil
}

// counted counts the octets that come in.
type counted struct {
	net.Conn
	in *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.in.Add(int64(n))
	return n, err
}

// overviews asks for 1,000 lines, rounds times.
func overviews(pid int, d nntp.Dialer, names []string, rounds int) (us float64, octets int64, err error) {
	var in atomic.Int64
	d.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return counted{c, &in}, err
	}
	c, err := d.Connect(context.Background())
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	var low, high uint64
	for _, g := range names {
		if _, low, high, err = c.Group(article.Group(g)); err != nil {
			return 0, 0, err
		}
		if high-low >= 999 {
			break
		}
	}
	if high-low < 999 {
		return 0, 0, fmt.Errorf("no group holds 1,000 articles")
	}
	begin, before := in.Load(), cpu(pid)
	for range rounds {
		lines := 0
		if err := c.Over(low, low+999, func(uint64, article.Overview) error { lines++; return nil }); err != nil {
			return 0, 0, err
		}
		if lines != 1000 {
			return 0, 0, fmt.Errorf("OVER gives %d lines", lines)
		}
	}
	return float64((cpu(pid) - before).Microseconds()) / float64(rounds), (in.Load() - begin) / int64(rounds), nil
}

// bigList is LIST ACTIVE with as many groups as all of Usenet.
func (b *bench) bigList(context.Context) error {
	const groups = 117_336
	n, err := b.ours()
	if err != nil {
		return err
	}
	defer n.Remove()
	var list strings.Builder
	for i := range groups {
		fmt.Fprintf(&list, "usenet%02d.topic%03d.group-number-%d 0 1 y\n", i%70, i%997, i)
	}
	file := filepath.Join(n.Dir, "active")
	if err := os.WriteFile(file, []byte(list.String()), 0o600); err != nil {
		return err
	}
	begin := time.Now()
	if _, err := n.Run("group", "load", file); err != nil {
		return err
	}
	b.add(row{what: "group load of 117,336 groups, s", ours: fmt.Sprintf("%.1f", time.Since(begin).Seconds()), goal: "seconds"})
	settle(n.Pid(), time.Minute)
	before := status(n.Pid(), "RssAnon")
	var best time.Duration
	most := before
	for range b.size(5, 20) {
		var took time.Duration
		p, err := highest(n.Pid(), "RssAnon", func() error {
			c, err := connectReader(n.addr())
			if err != nil {
				return err
			}
			defer c.Close()
			begin, lines := time.Now(), 0
			if err := c.List("ACTIVE", func([]byte) error { lines++; return nil }); err != nil {
				return err
			}
			if took = time.Since(begin); lines < groups {
				return fmt.Errorf("%d lines", lines)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if most = max(most, p); best == 0 || took < best {
			best = took
		}
	}
	b.add(row{what: "LIST ACTIVE of 117,336 groups, ms", ours: fmt.Sprintf("%d", best.Milliseconds()), goal: "< 500", ok: yes(best < 500*time.Millisecond)})
	b.add(row{what: "the same: peak above the node at rest, MiB", ours: fmt.Sprintf("%.1f", float64(most-before)/1024), goal: "<= 8", ok: yes(most-before <= 8<<10)})
	return nil
}
