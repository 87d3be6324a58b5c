package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/members"
	"github.com/litfass/litfass/pki"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/threads"
	"github.com/litfass/litfass/webforum"
)

// startForum prepares the browser door and what it stands on: the thread index in
// cache.db, a follower. The pages are served by the HTTP part.
func (s *server) startForum(context.Context) (*part, error) {
	k := s.core
	if len(k.cfg.HTTP.Listen) == 0 {
		return nil, nil
	}
	cache, _, err := state.OpenCache(k.dir.join("cache.db"))
	if err != nil {
		return nil, err
	}
	index, err := threads.Open(cache, k.spool)
	if err != nil {
		return nil, errors.Join(err, cache.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := k.followers.Start(ctx, index, agent.AtBeginning); err != nil {
		cancel()
		return nil, errors.Join(err, cache.Close())
	}
	code, err := k.newSetupCode(ctx)
	if err != nil {
		cancel()
		k.followers.Stop(index.Name())
		return nil, errors.Join(err, cache.Close())
	}
	f := &webforum.Forum{
		Host: k.host, URL: strings.TrimSuffix(k.cfg.HTTP.URL, "/"), Spool: k.spool, Threads: index, Agent: forumAgent{k.agent},
		Accounts: forumAccounts{k.members, k}, Trust: k.forumTrust, TrustStamp: k.keys.Ledger.Stamp, People: forumPeople{k}, Notices: forumNotices{k}, Moderation: forumModeration{k.agent}, Ward: k.ward, Admin: forumAdmin{s, &control{core: k}}, State: k.state, Shelf: k.members, Past: k.past, Anonymous: k.cfg.HTTP.Anonymous, Trusted: prefixes(k.cfg.HTTP.Trusted),
		Search: k.search, Files: k.forumFiles(), Proxies: prefixes(k.cfg.HTTP.Proxies), MaxPost: int64(k.cfg.NNTP.MaxPost), Temp: k.dir.path, Now: k.now, Log: s.log, SetupCode: code,
	}
	if pics, err := k.pictures(); err == nil {
		f.Pictures = pics.Show
	}
	h, err := f.Handler()
	if err != nil {
		cancel()
		k.followers.Stop(index.Name())
		return nil, errors.Join(err, cache.Close())
	}
	s.reloads = append(s.reloads, func(cfg config) error {
		f.SetGuests(cfg.HTTP.Anonymous, prefixes(cfg.HTTP.Trusted), prefixes(cfg.HTTP.Proxies))
		return nil
	})
	k.threads.Store(index)
	s.forum, s.threads, s.setupCode, s.member, s.frame = h, index, code, f.Member, f
	var over sync.WaitGroup
	over.Go(func() {
		if err := f.Run(ctx); err != nil {
			s.log.Error("forum: live pages stand still", "error", err)
		}
	})
	over.Go(func() { s.sample(ctx) })
	over.Go(func() { s.sweepThreads(ctx, index) })
	return &part{name: "forum", stop: func(context.Context) error {
		cancel()
		over.Wait()
		k.threads.Store(nil)
		k.followers.Stop(index.Name())
		return errors.Join(index.Flush(), cache.Close())
	}}, nil
}

// newSetupCode makes the code with which a stranger may make the first account:
// 60 random bits, of this start only. "" where there is an account.
func (k *core) newSetupCode(ctx context.Context) (string, error) {
	if all, err := k.members.List(ctx); err != nil || len(all) > 0 {
		return "", err
	}
	return rand.Text()[:12], nil
}

// sweepThreads has the thread index forget, once a day, what the spool no longer has.
func (s *server) sweepThreads(ctx context.Context, index *threads.Index) {
	for tick := time.NewTicker(24 * time.Hour); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
		begun := s.core.now()
		gone, err := index.Sweep(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.Warn("forum: forget expired articles; trying again tomorrow", "error", err)
		} else if err == nil {
			s.log.Info("forum: forgot expired articles", "articles", gone, "took", s.core.now().Sub(begun))
		}
	}
}

// forumPages adds the forum to the mux: every path that no other room has.
func (s *server) forumPages(m *http.ServeMux) {
	if s.forum != nil {
		m.Handle("/", s.forum)
	}
}

// forumAgent is the agent as the forum asks it.
type forumAgent struct{ *agent.Agent }

func (a forumAgent) Readable(ctx context.Context, o agent.Origin) (func(article.Group) bool, error) {
	acc, err := a.Access(ctx, o)
	if err != nil {
		return nil, err
	}
	return func(g article.Group) bool { return acc.May(ctx, agent.Read, g) == nil }, nil
}

func (a forumAgent) Postable(ctx context.Context, o agent.Origin, g spool.GroupInfo) error {
	acc, err := a.Access(ctx, o)
	if err != nil {
		return err
	}
	return acc.MayPost(ctx, g)
}

// forumAccounts are the members as the forum asks them.
type forumAccounts struct {
	*members.Book
	core *core
}

func (b forumAccounts) Login(ctx context.Context, name, password string, from netip.Addr) (webforum.Account, error) {
	a, err := b.Book.Login(ctx, name, password, from)
	return b.web(a), err
}

func (b forumAccounts) Get(ctx context.Context, name string) (webforum.Account, error) {
	a, err := b.Book.Get(ctx, name)
	if err == nil && a.Banned(b.Now()) {
		err = members.ErrBanned
	}
	return b.web(a), err
}

func (b forumAccounts) web(a members.Account) webforum.Account {
	out := webforum.Account{Name: a.Name, Email: a.Email, Admin: a.Admin, Created: a.Created}
	if id, ok := b.core.keys.Account(a.Name); ok {
		out.Identity = id.String()
	}
	return out
}

func (b forumAccounts) Empty(ctx context.Context) (bool, error) {
	all, err := b.List(ctx)
	return len(all) == 0, err
}

func (b forumAccounts) First(ctx context.Context, name, email, password string) (string, error) {
	if empty, err := b.Empty(ctx); err != nil || !empty {
		return "", errors.Join(err, members.ErrExists)
	}
	c := &control{core: b.core}
	u, err := c.userAdd(ctx, userJSON{Name: name, Email: email, Password: password, Admin: true})
	return strings.Join(u.Words, " "), err
}

func (b forumAccounts) Read(ctx context.Context, account string, g article.Group) (string, error) {
	r, err := b.ReadIn(ctx, account, string(g))
	return r.String(), err
}

func (b forumAccounts) SetRead(ctx context.Context, account string, g article.Group, ranges string) error {
	r, err := members.ParseRanges(ranges)
	if err != nil {
		return fmt.Errorf("read marks of %s: %w", g, err)
	}
	return b.Book.SetRead(ctx, account, string(g), r)
}

// forumTrust says what the signature of an article is worth now, and whose it is
// as this node knows them: its own name and its accounts'.
func (k *core) forumTrust(ctx context.Context, e spool.Entry) webforum.Trust {
	if e.Proof.State == article.ProofNone {
		return webforum.Trust{Result: "none"}
	}
	groups, _ := article.LenientGroups(e.Newsgroups, 0)
	result, err := k.keys.Judge(ctx, e.Proof, e.Arrived, groups)
	if err != nil {
		k.log.Warn("forum: judge a signature", "id", e.ID, "error", err)
		return webforum.Trust{Result: "none"}
	}
	t := webforum.Trust{Result: result, Identity: e.Proof.Identity}
	if result == "verified" && e.Proof.Purpose == "gate" {
		t.Result = "gate"
	}
	if id, err := pki.ParseID(e.Proof.Identity); err == nil {
		t.Name = k.nameOf(id)
	}
	return t
}

// forumModeration is the waiting room as the forum asks it: submissions only, in the
// groups that the visitor moderates.
type forumModeration struct{ agent *agent.Agent }

func (m forumModeration) Queue(ctx context.Context, o agent.Origin) ([]agent.Held, error) {
	acc, err := m.agent.Access(ctx, o)
	if err != nil {
		return nil, err
	}
	all, err := m.agent.Waiting(ctx)
	if err != nil {
		return nil, err
	}
	var out []agent.Held
	for _, h := range all {
		if h.Reason == agent.WaitModerator && mine(ctx, acc, h) {
			out = append(out, h)
		}
	}
	return out, nil
}

// mine says whether a submission may be decided by whom acc stands for.
func mine(ctx context.Context, acc *agent.Access, h agent.Held) bool {
	groups := h.Needs
	if len(groups) == 0 {
		groups = h.Groups
	}
	for _, g := range groups {
		if acc.May(ctx, agent.Moderate, g) != nil {
			return false
		}
	}
	return len(groups) > 0
}

func (m forumModeration) May(ctx context.Context, o agent.Origin, groups []article.Group) bool {
	acc, err := m.agent.Access(ctx, o)
	return err == nil && mine(ctx, acc, agent.Held{Groups: groups})
}

func (m forumModeration) Held(ctx context.Context, key string, o agent.Origin) (agent.Held, *article.Article, error) {
	h, a, err := m.agent.Held(ctx, key)
	if err != nil {
		return h, nil, err
	}
	acc, err := m.agent.Access(ctx, o)
	if err == nil && !mine(ctx, acc, h) {
		err = &agent.Refusal{Reason: agent.Denied, Code: "moderate", Text: "you do not moderate these groups"}
	}
	return h, a, err
}

func (m forumModeration) Approve(ctx context.Context, key string, o agent.Origin) error {
	_, err := m.agent.Approve(ctx, key, o, "")
	return err
}

func (m forumModeration) Reject(ctx context.Context, key string, o agent.Origin) error {
	_, _, err := m.agent.Reject(ctx, key, o, "")
	return err
}
