package torrent

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// oneArticle is a spool with one article in one group.
type oneArticle struct {
	raw   []byte
	fetch string
}

func (o oneArticle) Group(_ context.Context, g article.Group) (spool.GroupInfo, error) {
	info := spool.GroupInfo{Name: g}
	info.Fetch = o.fetch
	return info, nil
}

func (o oneArticle) Open(context.Context, spool.Seq) (*article.Article, error) {
	return article.Parse(o.raw, article.Limits{})
}

// announced is an article that carries an attachment, as a spool has it.
func announced(s *Store, a Attachment) ([]byte, spool.Entry) {
	typ, body := s.Announcement(a, "hello", "=_b")
	raw := []byte("From: a@b.c\r\nNewsgroups: a.b\r\nSubject: x\r\nMessage-ID: <1@x>\r\nDate: Tue, 24 Nov 2026 00:00:00 +0000\r\nPath: x!not-for-mail\r\n" +
		"MIME-Version: 1.0\r\nContent-Type: " + typ + "\r\n\r\n" + strings.ReplaceAll(strings.ReplaceAll(string(body), "\r\n", "\n"), "\n", "\r\n") + ".\r\n")
	entry := spool.Entry{Seq: 1, Places: []spool.Place{{Group: "a.b", Number: 1}}}
	entry.ID, entry.Has = "<1@x>", article.HasMIME
	return raw, entry
}

// TestPolicies: what a follower fetches unasked, by the group's setting (spec §4).
func TestPolicies(t *testing.T) {
	seed := newStore(t, nil)
	in, sum := add(t, seed, "a.bin", content(100000), Owner{})
	from := newEngine(t, seed, nil)
	raw, entry := announced(seed, NewAttachment(in, sum, ""))
	for _, c := range []struct {
		name, fetch string
		strangers   bool
		maxAuto     int64
		seeds       int
		disk        int64 // size of the disk, of which little is free
		want        string
	}{
		{name: "default", want: "nothing"},
		{name: "on demand", fetch: "on-demand", want: "nothing"},
		{name: "mirror", fetch: "mirror", want: "here"},
		{name: "mirror, author not known", fetch: "mirror", strangers: true, want: "nothing"},
		{name: "mirror, larger than torrent.max_auto", fetch: "mirror", maxAuto: 99999, want: "nothing"},
		{name: "mirror, the disk nearly full", fetch: "mirror", disk: 1 << 62, want: "refused"},
		{name: "copies", fetch: "copies=2", seeds: 1, want: "later"},
		{name: "copies, author not known", fetch: "copies=2", strangers: true, want: "nothing"},
		{name: "none", fetch: "none", want: "never"},
	} {
		t.Run(c.name, func(t *testing.T) {
			to := newStore(t, func(cfg *Config) { cfg.MaxAuto = c.maxAuto })
			if c.disk > 0 {
				to.diskSize = func(string) (int64, error) { return c.disk, nil }
			} else {
				to.diskSize = func(string) (int64, error) { return 1, nil }
			}
			e := newEngine(t, to, func(cfg *EngineConfig) { cfg.Peers = peersAt(from) })
			f := &Follower{Store: to, Engine: e, Spool: oneArticle{raw, c.fetch}, Believe: func(spool.Entry) bool { return !c.strangers },
				Seeds: func(Infohash) int { return c.seeds }}
			if err := f.Follow(t.Context(), entry); err != nil {
				t.Fatal(err)
			}
			if r, err := to.Record(in.Hash); err != nil || r.Refs != 1 {
				t.Fatalf("%+v, %v", r, err)
			}
			switch e.mu.Lock(); {
			case c.want == "later" && (len(e.wishes) != 1 || e.wishes[0].copies != 2):
				t.Errorf("wishes %+v", e.wishes)
			case c.want == "nothing" && (len(e.wishes) != 0 || e.granting != 0):
				t.Errorf("wishes %+v", e.wishes)
			}
			e.mu.Unlock()
			switch c.want {
			case "here":
				for changed := to.Changed(); !to.Has(in.Hash); changed = to.Changed() {
					if to.Has(in.Hash) {
						break
					}
					select {
					case <-changed:
					case <-time.After(20 * time.Second):
						t.Fatal("not mirrored")
					}
				}
				if r, _ := to.Record(in.Hash); r.Class != Mirror || r.State != Verified {
					t.Errorf("%+v", r)
				}
			case "never":
				if err := e.Start(in.Hash, Cache); !errors.Is(err, ErrNotFound) {
					t.Errorf("on demand: %v", err)
				}
			case "refused":
				if err := to.roomUnasked(1); !errors.Is(err, ErrQuota) {
					t.Errorf("got %v", err)
				}
			}
			if c.want != "here" && to.Has(in.Hash) {
				t.Error("fetched")
			}
		})
	}
}

// TestDiscardHolds: what somebody here removed is not brought back by an article,
// whether its follower saw it before or after; who asks for it gets it.
func TestDiscardHolds(t *testing.T) {
	t.Parallel()
	seed := newStore(t, nil)
	data := content(100000)
	in, sum := add(t, seed, "a.bin", data, Owner{})
	from := newEngine(t, seed, nil)
	raw, entry := announced(seed, NewAttachment(in, sum, ""))
	for _, c := range []struct {
		name  string
		after bool
	}{{"article seen before", false}, {"article seen after", true}} {
		to := newStore(t, func(c *Config) { c.Quota = 150000 })
		add(t, to, "a.bin", data, Owner{})
		e := newEngine(t, to, func(cfg *EngineConfig) { cfg.Peers = peersAt(from) })
		f := &Follower{Store: to, Engine: e, Spool: oneArticle{raw, "mirror"}, Believe: func(spool.Entry) bool { return true }}
		steps := []func() error{func() error { return f.Follow(t.Context(), entry) }, func() error { return to.Discard(in.Hash) }}
		if c.after {
			steps[0], steps[1] = steps[1], steps[0]
		}
		for _, step := range steps {
			if err := step(); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
		}
		r, err := to.Record(in.Hash)
		if used, _ := to.Usage(); err != nil || r.State != Known || r.Refs != 1 || r.Class != Cache || used != 0 || countFiles(t, to) != 0 {
			t.Errorf("%s: %+v, %v, %d octets in %d files", c.name, r, err, used, countFiles(t, to))
		}
		e.mu.Lock()
		if len(e.wishes) != 0 || e.granting != 0 {
			t.Errorf("%s: wishes %+v", c.name, e.wishes)
		}
		e.mu.Unlock()
		if err := e.Fetch(ctxFor(t), in.Hash, Mirror); !errors.Is(err, errGone) {
			t.Errorf("%s: a policy's fetch: %v", c.name, err)
		}
		if err := e.Fetch(ctxFor(t), in.Hash, Cache); err != nil || to.gone(in.Hash) {
			t.Errorf("%s: who asks: %v", c.name, err)
		}
		checkContent(t, to, in.Hash, data)
		if used, _ := to.Usage(); used != int64(len(data)) {
			t.Errorf("%s: %d octets in use", c.name, used)
		}
	}
}

// TestDiscardWhileReferred: the removal comes while a follower is between reading a
// record and writing it changed. The torrent must not come back as one that is here.
func TestDiscardWhileReferred(t *testing.T) {
	s := newStore(t, nil)
	in, _ := add(t, s, "a.bin", content(1000), Owner{})
	begun := make(chan struct{}, 2)
	s.OnDrop(func(Infohash) { begun <- struct{}{} })
	s.wmu.Lock()
	r, err := s.Record(in.Hash)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- s.Discard(in.Hash) }()
	<-begun
	r.Refs++
	if err := s.put(r, nil); err != nil {
		t.Fatal(err)
	}
	s.wmu.Unlock()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r, err = s.Record(in.Hash)
	if used, _ := s.Usage(); err != nil || r.State != Known || r.Refs != 1 || used != 0 || countFiles(t, s) != 0 {
		t.Errorf("%+v, %v, %d octets", r, err, used)
	}
}

func TestWishDelay(t *testing.T) {
	for range 100 {
		if d := (wish{}).delay(); d < 0 || d >= time.Minute {
			t.Fatal(d)
		}
	}
	w := wish{seeds: func(Infohash) int { return 9 }}
	if d := w.delay(); d < 0 || d >= 10*time.Minute {
		t.Fatal(d)
	}
}

func TestDenyListFile(t *testing.T) {
	s := newStore(t, nil)
	a, _ := add(t, s, "a.bin", []byte("one"), Owner{})
	b, sum := add(t, s, "b.bin", []byte("two"), Owner{})
	list := "# spam of November\n\n" + strings.ToUpper(a.Hash.String()) + " advertising\r\n" + sum.String() + "\n"
	if err := s.DenyList(strings.NewReader(list)); err != nil {
		t.Fatal(err)
	}
	if s.Has(a.Hash) || s.Has(b.Hash) || countFiles(t, s) != 0 {
		t.Error("still here")
	}
	if _, _, err := s.Add(t.Context(), strings.NewReader("two"), 3, "other name", Owner{}, nil); !errors.Is(err, ErrDenied) {
		t.Errorf("the same octets under another name: %v", err)
	}
	if err := s.DenyList(strings.NewReader("not a hash\n")); err == nil {
		t.Error("a line without a hash was taken")
	}
}

// fullDisk takes so many octets, then no more.
type fullDisk struct {
	partFile
	left *int64
}

func (f fullDisk) WriteAt(b []byte, at int64) (int, error) {
	if *f.left -= int64(len(b)); *f.left < 0 {
		return 0, syscall.ENOSPC
	}
	return f.partFile.WriteAt(b, at)
}

// TestDiskFullInTheMiddle: the fetch ends with what the disk said, once, and the
// node serves and, when there is room again, goes on where it was.
func TestDiskFullInTheMiddle(t *testing.T) {
	t.Parallel()
	seed := newStore(t, nil)
	data := content(2 << 20)
	in, sum := add(t, seed, "a.bin", data, Owner{})
	from := newEngine(t, seed, nil)
	to := newStore(t, nil)
	refer(t, to, NewAttachment(in, sum, ""))
	other, _ := add(t, to, "b.bin", []byte("still served"), Owner{})
	left := int64(1 << 20)
	var mu = make(chan struct{}, 1)
	to.openPart = func(path string) (partFile, error) {
		f, err := openPart(path)
		if err != nil {
			return nil, err
		}
		mu <- struct{}{}
		return oneAtATime{fullDisk{f, &left}, mu}, nil
	}
	e := newEngine(t, to, func(c *EngineConfig) { c.Peers = peersAt(from) })
	err := e.Fetch(ctxFor(t), in.Hash, Cache)
	if !errors.Is(err, syscall.ENOSPC) || !errors.Is(err, ErrQuota) {
		t.Fatalf("got %v", err)
	}
	if e.ActiveCount() != 0 {
		t.Error("still in the engine")
	}
	checkContent(t, to, other.Hash, []byte("still served"))
	mu <- struct{}{}
	left = 1 << 40
	<-mu
	if err := e.Fetch(ctxFor(t), in.Hash, Cache); err != nil {
		t.Fatal(err)
	}
	checkContent(t, to, in.Hash, data)
}

// oneAtATime lets one file be open at a time.
type oneAtATime struct {
	partFile
	mu chan struct{}
}

func (o oneAtATime) Close() error {
	<-o.mu
	return o.partFile.Close()
}
