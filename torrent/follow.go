package torrent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// findAttachments reads the detached attachments of an article from its body and
// the fields of its header, without decoding anything else.
func findAttachments(body []byte, header [][2]string) []Attachment {
	if !bytes.Contains(body, []byte("xternal-body")) {
		return nil
	}
	root, err := walk(bytes.NewReader(body), header)
	if err != nil {
		return nil
	}
	var out []Attachment
	root.leaves(func(n *node) {
		if n.typ != "message/external-body" {
			return
		}
		if a, ok := ParsePart(n.header.get("Content-Type"), strings.Clone(string(body[n.body:n.end]))); ok {
			out = append(out, a)
		}
	})
	return out
}

// Reader is what a Follower asks of the spool.
type Reader interface {
	GroupReader
	Open(ctx context.Context, seq spool.Seq) (*article.Article, error)
}

// Follower notes which articles name which torrents, and fetches what the groups'
// policies want (spec §4). It is a spool.Follower.
type Follower struct {
	Store  *Store
	Engine *Engine // nil: nothing is fetched
	Spool  Reader
	// Believe says whether an article's signature holds and its author is known:
	// nothing else is fetched unasked.
	Believe func(spool.Entry) bool
	Seeds   func(Infohash) int // complete peers that this node's tracker knows; nil: none
}

// Name implements spool.Follower.
func (f *Follower) Name() string { return "torrent" }

// Follow implements spool.Follower.
func (f *Follower) Follow(ctx context.Context, e spool.Entry) error {
	if e.Has&article.HasMIME == 0 || e.Has&article.HasControl != 0 {
		return nil
	}
	a, err := f.Spool.Open(ctx, e.Seq)
	if errors.Is(err, spool.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for attachments in %s: %w", e.ID, err)
	}
	found := findAttachments(a.Body(), [][2]string{{"Content-Type", a.Get("Content-Type")}})
	if len(found) == 0 {
		return nil
	}
	p, err := f.policy(ctx, e)
	if err != nil {
		return err
	}
	group := ""
	if len(e.Places) > 0 {
		group = string(e.Places[0].Group)
	}
	for _, at := range found {
		err := f.Store.Refer(Reference{ID: string(e.ID), Sum: at.Sum}, at, group)
		if errors.Is(err, ErrDenied) {
			continue
		}
		if err != nil {
			return err
		}
		if err := f.Store.barred(at.Hash, p.never); err != nil {
			return err
		}
		f.fetch(at, p, e)
	}
	return nil
}

// policy is what the groups of an article want of its attachments: the most that
// one of them wants.
type policy struct {
	never  bool
	mirror bool
	copies int
}

func (f *Follower) policy(ctx context.Context, e spool.Entry) (policy, error) {
	p := policy{never: len(e.Places) > 0}
	for _, pl := range e.Places {
		g, err := f.Spool.Group(ctx, pl.Group)
		if errors.Is(err, spool.ErrNotFound) {
			continue
		}
		if err != nil {
			return p, fmt.Errorf("settings of %s: %w", pl.Group, err)
		}
		if g.Fetch != "none" {
			p.never = false
		}
		p.mirror = p.mirror || g.Fetch == "mirror"
		if k, ok := strings.CutPrefix(g.Fetch, "copies="); ok {
			n, err := strconv.Atoi(k)
			if err != nil || n < 1 {
				n = 3
			}
			p.copies = max(p.copies, n)
		}
	}
	return p, nil
}

func (f *Follower) fetch(a Attachment, p policy, e spool.Entry) {
	if f.Engine == nil || !p.mirror && p.copies == 0 || a.Length > f.Store.cfg.MaxAuto || f.Believe == nil || f.Store.gone(a.Hash) || !f.Believe(e) {
		return
	}
	w := wish{hash: a.Hash, length: a.Length, copies: p.copies, seeds: f.Seeds}
	if p.mirror {
		w.copies = 0
	} else {
		w.at = time.Now().Add(w.delay())
	}
	f.Engine.wish(w)
}

// wish is a torrent that a policy wants here.
type wish struct {
	hash   Infohash
	length int64
	copies int // only while fewer complete peers than that are known; 0: in any case
	seeds  func(Infohash) int
	at     time.Time // not before
}

func (w wish) known() int {
	if w.seeds == nil {
		return 0
	}
	return w.seeds(w.hash)
}

// delay is a random time, the longer the more copies there are, so that not all
// nodes fetch at once (spec §4).
func (w wish) delay() time.Duration {
	return time.Duration(rand.Int64N(int64(60*time.Second))) * time.Duration(w.known()+1)
}

// wish takes w into the queue of what is fetched unasked, a few at a time.
func (e *Engine) wish(w wish) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx.Err() != nil || slices.ContainsFunc(e.wishes, func(o wish) bool { return o.hash == w.hash }) {
		return
	}
	e.wishes = append(e.wishes, w)
	if e.granting < autoFetches {
		e.granting++
		e.wg.Add(1)
		go e.grant()
	}
}

// autoFetches is how many torrents are fetched unasked at a time.
const autoFetches = 3

// grant fetches wishes until there are none.
func (e *Engine) grant() {
	defer e.wg.Done()
	for {
		w, wait, ok := e.nextWish()
		if !ok {
			return
		}
		if wait > 0 {
			select {
			case <-time.After(wait):
				continue
			case <-e.ctx.Done():
				continue
			}
		}
		if w.copies > 0 && w.known() >= w.copies || e.store.gone(w.hash) {
			continue
		}
		if err := e.store.roomUnasked(w.length); err != nil {
			e.cfg.Log.Info("torrent: not fetched for a group", "infohash", w.hash, "error", err)
			continue
		}
		ctx, cancel := context.WithTimeout(e.ctx, 6*time.Hour)
		if err := e.Fetch(ctx, w.hash, Mirror); err != nil && e.ctx.Err() == nil {
			e.cfg.Log.Info("torrent: fetch for a group", "infohash", w.hash, "error", err)
		}
		cancel()
	}
}

// nextWish takes the rarest of those that are due, or says how long to wait.
func (e *Engine) nextWish() (w wish, wait time.Duration, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.wishes) == 0 || e.ctx.Err() != nil {
		e.granting--
		return w, 0, false
	}
	now := time.Now()
	best, rare := -1, 0
	wait = time.Hour
	for i, o := range e.wishes {
		if left := o.at.Sub(now); left > 0 {
			wait = min(wait, left)
			continue
		}
		if n := o.known(); best < 0 || n < rare {
			best, rare = i, n
		}
	}
	if best < 0 {
		return w, wait, true
	}
	w = e.wishes[best]
	e.wishes = slices.Delete(e.wishes, best, best+1)
	return w, 0, true
}

// barred notes whether the groups that name a torrent all want it never fetched.
func (s *Store) barred(h Infohash, never bool) error {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	r, err := s.Record(h)
	if err != nil || r.Never == never || never && r.Refs > 1 {
		return nil
	}
	r.Never = never
	return s.put(r, nil)
}

// Announcement makes header and body of an article that carries an attachment:
// what a posting program hands in when the file is in the store already.
func (s *Store) Announcement(a Attachment, text string, boundary string) (contentType string, body []byte) {
	if text != "" {
		text = strings.TrimRight(text, "\r\n") + "\r\n\r\n"
	}
	first := textPart(mimeHeader{{"Content-Type", "text/plain; charset=utf-8"}}, []byte(text+a.block(1, 1, s.cfg.URL, false)))
	return "multipart/mixed; boundary=\"" + boundary + "\"", joinParts(boundary, [][]byte{first, a.appendPart(nil)})
}

// Present says whether a torrent is here (seed), or at least a part of it, as far as
// this node's tracker may know.
func (s *Store) Present(h Infohash) (seed, present bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.index[h]
	if !ok || r.State == Known || r.elsewhere(s.cfg.URL) {
		return false, false
	}
	return r.Complete(), true
}
