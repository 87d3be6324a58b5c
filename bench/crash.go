package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/nntp"
	"github.com/litfass/litfass/test/nodebox"
)

// ackLog holds the ids that were acknowledged.
type ackLog struct {
	mu  sync.Mutex
	ids []string
}

func (a *ackLog) add(id article.ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ids = append(a.ids, string(id))
}

// since returns those from the n-th on.
func (a *ackLog) since(n int) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.ids[n:]...)
}

// lost counts which of these articles are not served whole.
func lost(addr string, ids []string) (int, error) {
	c, err := connectReader(addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	gone := 0
	err = c.Articles(ids, 1<<20, func(_ int, _ []byte, err error) error {
		if err != nil {
			gone++
		}
		return nil
	})
	return gone, err
}

// ghosts counts the numbers that groups list and that cannot be read.
func ghosts(addr string, groups []string) (n int, err error) {
	c, err := connectReader(addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	for _, g := range groups {
		var numbers []string
		err := c.ListGroup(article.Group(g), func(l []byte) error {
			numbers = append(numbers, string(l))
			return nil
		})
		if err != nil {
			return n, err
		}
		err = c.Articles(numbers, 1<<20, func(_ int, _ []byte, err error) error {
			if err != nil {
				n++
			}
			return nil
		})
		if err != nil && !nntp.IsCode(err) {
			return n, err
		}
	}
	return n, nil
}

// kills is kill -9 during intake, again and again on one node.
func (b *bench) kills(ctx context.Context) error {
	rounds, base := b.size(10, 50), b.size(20000, 100000)
	n, err := b.ours()
	if err != nil {
		return err
	}
	defer n.Remove()
	var acks ackLog
	before := newCorpus("fill", b.groups.groups)
	f, err := feed(n.addr(), before.batch(0, base), feeding{conns: 2, window: 64, accepted: acks.add})
	if err == nil {
		err = f.all(base)
	}
	if err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	var starts times
	missing := 0
	for r := range rounds {
		if err := ctx.Err(); err != nil {
			return err
		}
		had := len(acks.since(0))
		l := newCorpus(fmt.Sprintf("kill%d", r), b.groups.groups).batch(0, 16000)
		strike := time.NewTimer(time.Hour)
		var begun sync.Once // only once it flows: a start of the feed is no intake
		accepted := func(id article.ID) {
			acks.add(id)
			begun.Do(func() { strike.Reset(time.Duration(20+rand.IntN(400)) * time.Millisecond) })
		}
		fed := make(chan error, 1)
		go func() {
			_, err := feed(n.addr(), l, feeding{conns: 2, window: 64, accepted: accepted})
			fed <- err
		}()
		var err error
		select { // a timer that outlived the feed would hit the next start
		case <-strike.C:
			_ = n.Signal(syscall.SIGKILL)
			err = <-fed
		case err = <-fed:
			strike.Stop()
		}
		if err != nil {
			return err
		}
		n.Kill()
		took, err := n.Start()
		if err != nil {
			return err
		}
		starts = append(starts, took)
		gone, err := lost(n.addr(), acks.since(had))
		if err != nil {
			return err
		}
		missing += gone
	}
	all := acks.since(0)
	gone, err := lost(n.addr(), all)
	if err != nil {
		return err
	}
	unread, err := ghosts(n.addr(), b.groups.names())
	if err != nil {
		return err
	}
	b.add(row{
		what: fmt.Sprintf("kill -9 during intake, %d times: acknowledged, lost, unreadable", rounds),
		ours: fmt.Sprintf("%d, %d, %d", len(all), max(gone, missing), unread), inn: "0 to 3 lost (noted)", goal: "0 lost", ok: yes(gone == 0 && missing == 0 && unread == 0),
	})
	b.add(row{
		what: fmt.Sprintf("up again after kill -9, %d articles, ms p50 (max)", base),
		ours: fmt.Sprintf("%d (%d)", starts.at(0.5).Milliseconds(), starts.at(1).Milliseconds()), goal: "< 1000", ok: yes(starts.at(1) < time.Second),
	})
	return nil
}

// image is an ext4 file system in a file: what of it a copy holds is what a
// power cut would leave.
type image struct{ file, mount string }

func sh(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

func (i image) up() error   { return sh("mount", "-o", "loop", i.file, i.mount) }
func (i image) down() error { return sh("umount", i.mount) }

// power freezes a node during intake and goes on with a copy of its disk's
// image, as the disk is after a power cut. Caches of a real disk can lose more.
func (b *bench) power(ctx context.Context) error {
	if os.Getuid() != 0 {
		b.add(row{what: "power cut", ours: "not measured: mounting an image needs root"})
		return nil
	}
	dir, err := os.MkdirTemp("", "litfass-power-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	im := image{filepath.Join(dir, "disk0"), filepath.Join(dir, "mnt")}
	if err := os.Mkdir(im.mount, 0o755); err != nil {
		return err
	}
	if err := errors.Join(os.WriteFile(im.file, nil, 0o600), os.Truncate(im.file, 768<<20), sh("mkfs.ext4", "-q", "-F", im.file)); err != nil {
		return err
	}
	if err := im.up(); err != nil {
		b.add(row{what: "power cut", ours: "not measured: no loop devices here"})
		return nil
	}
	mounted := true
	defer func() {
		if mounted {
			_ = im.down()
		}
	}()
	n, err := b.start(nodebox.Options{Data: filepath.Join(im.mount, "data"), Host: "one.bench.example"})
	if err != nil {
		return err
	}
	defer func() { n.Kill(); n.Remove() }()
	rounds := b.size(4, 20)
	var acks ackLog
	var starts times
	gone, unread := 0, 0
	for r := range rounds {
		if err := ctx.Err(); err != nil {
			return err
		}
		l := newCorpus(fmt.Sprintf("pow%d", r), b.groups.groups).batch(0, 6000)
		frozen := make(chan error, 1)
		wait := time.Duration(100+rand.IntN(300)) * time.Millisecond
		next := filepath.Join(dir, fmt.Sprintf("disk%d", r+1))
		go func() {
			time.Sleep(wait)
			_ = n.Signal(syscall.SIGSTOP)
			err := sh("cp", "--sparse=always", im.file, next)
			_ = n.Signal(syscall.SIGKILL)
			frozen <- err
		}()
		if _, err := feed(n.addr(), l, feeding{conns: 2, window: 64, accepted: acks.add}); err != nil {
			return err
		}
		if err := <-frozen; err != nil {
			return err
		}
		n.Kill()
		mounted = false
		if err := im.down(); err != nil {
			return err
		}
		os.Remove(im.file)
		im.file = next
		if err := im.up(); err != nil {
			return err
		}
		mounted = true
		took, err := n.Start()
		if err != nil {
			return fmt.Errorf("round %d: %w", r, err)
		}
		starts = append(starts, took)
		k, err := lost(n.addr(), acks.since(0))
		if err != nil {
			return err
		}
		gone = max(gone, k)
		if k, err = ghosts(n.addr(), b.groups.names()); err != nil {
			return err
		}
		unread += k
	}
	b.add(row{
		what: fmt.Sprintf("power cut, %d times: acknowledged, lost, unreadable", rounds),
		ours: fmt.Sprintf("%d, %d, %d (up in %d ms)", len(acks.since(0)), gone, unread, starts.at(1).Milliseconds()),
		inn:  "35-100 % of the last half minute (noted)", goal: "0, 0", ok: yes(gone == 0 && unread == 0),
	})
	return nil
}
