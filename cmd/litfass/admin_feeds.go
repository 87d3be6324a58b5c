package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/litfass/litfass/feeds/peer/invite"
	"github.com/litfass/litfass/webforum"
)

// webPeer is a neighbour as the administrators' pages show it.
func webPeer(p peerStatusJSON) webforum.PeerState {
	return webforum.PeerState{
		PeerChange: webforum.PeerChange{
			Name: p.Name, Address: p.Address, Path: p.Path, Send: p.Send, Take: p.Take, Distributions: p.Distributions, Key: p.Key, User: p.User,
			From: strings.Join(p.From, ", "), Pull: p.Pull, Old: p.Old, DayArticles: p.DayArticles, DaySize: sizeOrNone(p.DaySize), Share: p.Share,
		},
		File: p.File, Paused: p.Paused, Connected: p.Connected, Lag: p.Lag, Deferred: p.Deferred, Accepted: p.Accepted, Refused: p.Refused, Pulled: p.Pulled,
		LastError: p.LastError, ErrorAt: timeOf(p.ErrorAt),
		Today: p.Today.Articles, TodayOctets: p.Today.Octets, TodayMost: p.Today.MostArticles, TodayOctetsMost: p.Today.MostOctets,
		Held: p.OnDisk.Octets, HeldMost: p.OnDisk.MostOctets,
	}
}

// sizeOrNone leaves out a size that says "as for all".
func sizeOrNone(n size) string {
	if n == 0 {
		return ""
	}
	return n.String()
}

// timeOf reads a time of a command's answer; "" is none.
func timeOf(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return t
}

func webFeed(f feedJSON) webforum.FeedState {
	return webforum.FeedState{URL: f.URL, Group: f.Group, Title: f.Title, State: f.State, LastError: f.LastError, Note: f.Note, Articles: f.Articles, Files: f.Files, Polled: timeOf(f.Polled), Next: timeOf(f.Next)}
}

func (a forumAdmin) PutPeer(ctx context.Context, add bool, p webforum.PeerChange) error {
	from := strings.FieldsFunc(p.From, func(r rune) bool { return r == ',' || r == ' ' })
	ch := peerChange{Name: p.Name, Add: add, Path: &p.Path, Address: &p.Address, Send: &p.Send, Take: &p.Take, Dist: &p.Distributions, Key: &p.Key, User: &p.User,
		Pull: &p.Pull, Old: &p.Old, DayArticles: &p.DayArticles, DaySize: new(size), Share: &p.Share, From: &from}
	if p.Password != "" {
		ch.Password = &p.Password
	}
	if err := ch.DaySize.UnmarshalText([]byte(or(p.DaySize, "0"))); err != nil {
		return err
	}
	_, err := a.control.peerChange(ctx, ch)
	return err
}

func (a forumAdmin) RemovePeer(ctx context.Context, name string) error {
	_, err := a.control.peerRm(ctx, peerChange{Name: name})
	return err
}

func (a forumAdmin) PausePeer(ctx context.Context, name string, pause bool) error {
	_, err := a.control.peerPause(ctx, pausing{name, pause})
	return err
}

func (a forumAdmin) Invite(ctx context.Context, t webforum.Terms) (webforum.Invitation, error) {
	in := invitation{Terms: invite.Terms{Send: t.Send, Take: t.Take, Old: t.Old}, For: or(t.For, "2d")}
	in.Addresses = strings.FieldsFunc(t.Address, func(r rune) bool { return r == ',' || r == ' ' })
	done, err := a.control.peerInvite(ctx, in)
	return webforum.Invitation{Code: done.Code, Addresses: strings.Join(done.Addresses, ", "), Until: timeOf(done.Until)}, err
}

func (a forumAdmin) ForgetInvitations(ctx context.Context) error {
	_, err := a.control.peerInvite(ctx, invitation{Forget: true})
	return err
}

func (a forumAdmin) Join(ctx context.Context, code string, t webforum.Terms) (string, error) {
	done, err := a.control.peerJoin(ctx, joining{Terms: invite.Terms{Send: t.Send, Take: t.Take, Old: t.Old}, Code: code, Address: t.Address})
	return done.Peer.Name, err
}

func (a forumAdmin) AddFeed(ctx context.Context, url, group string, files string) error {
	_, err := a.control.feedAdd(ctx, feedJSON{URL: url, Group: group, Files: files})
	return err
}

func (a forumAdmin) RemoveFeed(ctx context.Context, url string) error {
	_, err := a.control.feedRm(ctx, feedJSON{URL: url})
	return err
}

func (a forumAdmin) PauseFeed(_ context.Context, url string, pause bool) error {
	return a.control.feedPause(url, pause)
}

func (a forumAdmin) RefreshFeed(ctx context.Context, url string) error {
	list, err := a.control.feedFetch(ctx, feedJSON{URL: url})
	if err == nil && len(list) == 1 && list[0].LastError != "" {
		err = errors.New(list[0].LastError)
	}
	return err
}
