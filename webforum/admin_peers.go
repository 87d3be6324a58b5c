package webforum

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"
)

// PeerAdmin looks after neighbours.
type PeerAdmin interface {
	// PutPeer adds a neighbour, or changes one that was added while running.
	PutPeer(ctx context.Context, add bool, p PeerChange) error
	RemovePeer(ctx context.Context, name string) error
	PausePeer(ctx context.Context, name string, pause bool) error
	// Invite makes a code with which another node becomes a neighbour; Address are
	// those at which it reaches this one, with commas, or "".
	Invite(ctx context.Context, t Terms) (Invitation, error)
	// ForgetInvitations ends those that nobody has used.
	ForgetInvitations(ctx context.Context) error
	// Join becomes a neighbour of the node that made the code and returns its name.
	Join(ctx context.Context, code string, t Terms) (name string, err error)
}

// PeerState is how it stands with a neighbour. Limits of 0 are none.
type PeerState struct {
	PeerChange
	File              bool // it stands in the configuration file: that is changed there
	Paused, Connected bool
	Lag               uint64
	Deferred          int
	Accepted, Refused uint64
	Pulled            uint64
	LastError         string
	ErrorAt           time.Time
	Today, TodayMost  int64 // articles it brought today, and may bring
	TodayOctets       int64
	TodayOctetsMost   int64
	Held, HeldMost    int64 // octets of its articles on the disk
}

// PeerChange is a neighbour's settings as a form has them.
type PeerChange struct {
	Name, Address, Path       string
	Send, Take, Distributions string // wildmats
	Key, User                 string
	Password                  string // "": as it was
	From                      string // prefixes with commas
	Pull, Old                 bool
	DayArticles, Share        int
	DaySize                   string // as in the configuration: 1GiB
}

// Terms are those of an invitation, or of joining; empty ones are as usual.
type Terms struct {
	Address, Send, Take, For string
	Old                      bool
}

// Invitation is a code, good until a time, and where the other node looks for us.
type Invitation struct {
	Code, Addresses string
	Until           time.Time
}

type peersData struct {
	adminFrame
	Peers   []PeerState
	Form    PeerChange
	Adding  bool
	Terms   Terms
	Code    string
	Invited Invitation
}

// adminPeers shows the neighbours, and adds, changes, pauses, removes, invites and
// joins them; ?name= is the form of one.
func (f *Forum) adminPeers(v *visitor) (*page, error) {
	if err := v.adminOnly(); err != nil {
		return nil, err
	}
	d := &peersData{Adding: true}
	put := func(q url.Values) (err error) {
		d.Adding = q.Get("act") == "add"
		if d.Form, err = v.peerForm(q); err != nil {
			return err
		}
		return f.Admin.PutPeer(v.ctx, d.Adding, d.Form)
	}
	if v.adminAct(d, "peers", map[string]func(url.Values) error{
		"add": put, "set": put,
		"remove": func(q url.Values) error { return f.Admin.RemovePeer(v.ctx, q.Get("name")) },
		"pause":  func(q url.Values) error { return f.Admin.PausePeer(v.ctx, q.Get("name"), true) },
		"resume": func(q url.Values) error { return f.Admin.PausePeer(v.ctx, q.Get("name"), false) },
		"invite": func(q url.Values) (err error) {
			d.Terms = terms(q)
			d.Invited, err = f.Admin.Invite(v.ctx, d.Terms)
			d.Stay = err == nil
			return err
		},
		"forget": func(url.Values) error { return f.Admin.ForgetInvitations(v.ctx) },
		"join": func(q url.Values) (err error) {
			d.Code, d.Terms = strings.Join(strings.Fields(q.Get("code")), " "), terms(q)
			_, err = f.Admin.Join(v.ctx, d.Code, d.Terms)
			return err
		},
	}) {
		return nil, nil
	}
	o, err := f.Admin.Overview(v.ctx)
	if err != nil {
		return nil, err
	}
	d.Peers = o.Peers
	if name := v.r.URL.Query().Get("name"); d.Adding && d.Error == "" && name != "" {
		if i := slices.IndexFunc(d.Peers, func(p PeerState) bool { return p.Name == name && !p.File }); i >= 0 {
			d.Form, d.Adding = d.Peers[i].PeerChange, false
		}
	}
	return v.adminPage("peers", d), nil
}

func terms(q url.Values) Terms {
	return Terms{Address: trimmed(q, "address"), Send: trimmed(q, "send"), Take: trimmed(q, "take"), For: trimmed(q, "for"), Old: q.Get("old") != ""}
}

func (v *visitor) peerForm(q url.Values) (p PeerChange, err error) {
	p = PeerChange{
		Name: trimmed(q, "name"), Address: trimmed(q, "address"), Path: trimmed(q, "path"), Send: trimmed(q, "send"), Take: trimmed(q, "take"), Distributions: trimmed(q, "distributions"),
		Key: trimmed(q, "key"), User: trimmed(q, "user"), Password: q.Get("password"), From: trimmed(q, "from"), Pull: q.Get("pull") != "", Old: q.Get("old") != "", DaySize: trimmed(q, "size"),
	}
	if p.DayArticles, err = v.whole(q, "articles"); err != nil {
		return p, err
	}
	p.Share, err = v.whole(q, "share")
	return p, err
}

// PeerState says in a word how it stands with a neighbour, and whether that is well.
func (p *page) PeerState(s PeerState) pair {
	switch {
	case s.Paused:
		return pair{"", p.tx.T("peer.paused")}
	case s.Address == "":
		return pair{"", p.tx.T("peer.calls")}
	case s.Connected:
		return pair{"ok", p.tx.T("peer.connected")}
	case s.Lag == 0 && s.LastError == "": // nothing to be offered
		return pair{"", p.tx.T("peer.away")}
	}
	return pair{"bad", p.tx.T("peer.away")}
}

// PeerLag says how far a neighbour whom we feed is behind.
func (p *page) PeerLag(s PeerState) string {
	if s.Paused || s.Address == "" {
		return ""
	}
	lag := p.tx.T("peer.level")
	if s.Lag > 0 {
		lag = p.tx.T("peer.behind", p.tx.number(s.Lag))
	}
	if s.Deferred > 0 {
		lag += ", " + p.tx.T("peer.deferred", p.tx.number(uint64(s.Deferred)))
	}
	return lag
}

// PeerUse says what a neighbour brought today and holds of the disk, of how much.
func (p *page) PeerUse(s PeerState) string {
	return p.tx.T("peer.today", p.of(p.tx.number(uint64(s.Today)), p.tx.number(uint64(s.TodayMost)), s.TodayMost > 0)+" "+p.tx.N("articles", int(max(s.Today, s.TodayMost))), p.of(p.tx.size(s.TodayOctets), p.tx.size(s.TodayOctetsMost), s.TodayOctetsMost > 0)) +
		" · " + p.tx.T("peer.holds", p.of(p.tx.size(s.Held), p.tx.size(s.HeldMost), s.HeldMost > 0))
}

// of says how much of how much there is, where there is a limit.
func (p *page) of(have, most string, limited bool) string {
	if !limited {
		return have
	}
	return p.tx.T("admin.of", have, most)
}

// Moment, Number and Size write a time, a number and octets in the visitor's words.
func (p *page) Moment(t time.Time) string { return p.moment(t) }
func (p *page) Number(n int64) string     { return p.tx.number(uint64(max(0, n))) }
func (p *page) Size(n int64) string       { return p.tx.size(n) }
