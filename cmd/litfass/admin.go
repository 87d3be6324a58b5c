package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/internal/wildmat"
	"github.com/litfass/litfass/webforum"
	"github.com/litfass/litfass/webforum/ward"
)

const (
	sampleEvery = 15 * time.Minute
	sampleKeep  = 8 * 24 * time.Hour
)

func (k *core) samples() state.Table[webforum.Sample] {
	return state.Table[webforum.Sample]{DB: k.state, Bucket: "samples"}
}

// sample measures at the start and every quarter of an hour, for the charts of the
// administrators' page, and forgets what is over a week old.
func (s *server) sample(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		if err := s.sampleOnce(); err != nil {
			s.log.Warn("measure for the charts", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *server) sampleOnce() error {
	k := s.core
	m := webforum.Sample{At: k.now(), Arrived: uint64(k.spool.Last()), Used: k.diskState().Used}
	for _, p := range k.peerStates() {
		m.Lag = max(m.Lag, p.Lag)
	}
	key := func(t time.Time) string { return fmt.Sprintf("%012d", t.Unix()) }
	return k.state.Update(func(tx *state.Tx) error {
		var old []string
		tx.Each("samples", "", "", func(at string, _ []byte) bool {
			if at >= key(m.At.Add(-sampleKeep)) {
				return false
			}
			old = append(old, at)
			return true
		})
		for _, at := range old {
			if err := tx.Delete("samples", at); err != nil {
				return err
			}
		}
		return k.samples().PutIn(tx, key(m.At), m)
	})
}

// forumAdmin is what administrators may do in the browser: the acts of the commands.
type forumAdmin struct {
	server  *server
	control *control
}

func (a forumAdmin) Overview(ctx context.Context) (webforum.Overview, error) {
	k := a.server.core
	st, err := a.server.status(ctx)
	if err != nil {
		return webforum.Overview{}, err
	}
	o := webforum.Overview{
		Version: st.Version, Uptime: time.Duration(st.Uptime * float64(time.Second)), Arrived: st.Arrived,
		Used: st.Disk.Used, Quota: st.Disk.Quota, Free: st.Disk.Free, Memory: st.Memory, Warnings: st.Warnings,
	}
	for _, p := range st.Peers {
		o.Peers = append(o.Peers, webPeer(p))
	}
	feeds, err := a.control.feedList()
	if err != nil {
		return o, err
	}
	for _, f := range feeds {
		o.Feeds = append(o.Feeds, webFeed(f))
	}
	k.torrentFigures(&o)
	_, o.Samples, err = k.samples().List("")
	return o, err
}

func (a forumAdmin) Members(ctx context.Context) ([]webforum.Member, error) {
	k := a.server.core
	list, err := k.members.List(ctx)
	var out []webforum.Member
	for _, m := range list {
		w := webforum.Member{Name: m.Name, Peer: m.Feeds != "", Seen: m.Seen, AccountChange: webforum.AccountChange{
			Email: m.Email, Admin: m.Admin, Read: m.Read, Post: m.Post, Moderate: m.Moderate, DayArticles: m.ArticlesDay}}
		if m.OctetsDay > 0 {
			w.DaySize = size(m.OctetsDay).String()
		}
		today := k.usage.Today("account " + m.Name)
		w.Today, w.TodayOctets = today.Articles, today.Octets
		if m.Banned(k.now()) {
			w.BanReason = or(m.BanReason, "?")
		}
		if id, ok := k.keys.Account(m.Name); ok {
			w.Identity = id.String()
		}
		out = append(out, w)
	}
	return out, err
}

func (a forumAdmin) AddAccount(ctx context.Context, name, email, password string, admin bool) (string, error) {
	u, err := a.control.userAdd(ctx, userJSON{Name: name, Email: email, Password: password, Admin: admin})
	return strings.Join(u.Words, " "), err
}

func (a forumAdmin) SetAccount(ctx context.Context, name string, ch webforum.AccountChange) error {
	for _, p := range []string{ch.Read, ch.Post, ch.Moderate} {
		if _, err := wildmat.Parse(p); p != "" && err != nil {
			return fmt.Errorf("%q: %w", p, err)
		}
	}
	var day size
	if err := day.UnmarshalText([]byte(or(ch.DaySize, "0"))); err != nil {
		return err
	}
	if ch.DayArticles < 0 {
		return errors.New("a number of articles is not below 0")
	}
	_, err := a.control.userSet(ctx, userChange{Name: name, Read: &ch.Read, Post: &ch.Post, Moderate: &ch.Moderate, Email: &ch.Email, Admin: &ch.Admin, DayArticles: &ch.DayArticles, DaySize: &day})
	return err
}

func (a forumAdmin) SetPassword(ctx context.Context, name, password string) (behind bool, err error) {
	done, err := a.control.userPasswd(ctx, passwdJSON{Name: name, Password: password})
	return done.Behind, err
}

func (a forumAdmin) RemoveAccount(ctx context.Context, name string) error {
	return a.control.userRm(ctx, name)
}

func (a forumAdmin) RemoveGroup(ctx context.Context, name string) error {
	_, err := a.control.groupRm(ctx, groupJSON{Name: name})
	return err
}

func (a forumAdmin) PutGroup(ctx context.Context, add bool, g webforum.GroupChange) error {
	in := groupJSON{Name: g.Name, Description: &g.Description, Moderator: &g.Moderator, Post: g.Post}
	switch g.Post {
	case "open", "signed", "none":
	default:
		return fmt.Errorf("%q is nobody who may post", g.Post)
	}
	put := a.control.groupSet
	if add {
		put = a.control.groupAdd
	}
	if _, err := put(ctx, in); err != nil {
		return err
	}
	a.server.log.Info("forum: group changed", "group", article.Group(g.Name), "made", add)
	return nil
}

func (a forumAdmin) BanAccount(ctx context.Context, name string, lift bool, reason, by string) error {
	act := ward.BanAccount
	if lift {
		act = ward.UnbanAccount
	}
	return a.server.core.decide(ctx, act, name, reason, by)
}
