package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/wildmat"
	"github.com/litfass/litfass/members"
	"github.com/litfass/litfass/spool"
)

// Act is something one may or may not do.
type Act uint8

// The acts.
const (
	Read     Act = iota + 1 // see a group and its articles
	Post                    // inject into a group
	Moderate                // approve, reject and withdraw in a group
	Create                  // make and remove groups by control message
	Feed                    // bring articles as a peer; with group "": at all
	Admin                   // everything an operator does
)

func (a Act) String() string {
	return [...]string{"nothing", "read", "post", "moderate", "create", "feed", "admin"}[min(int(a), 6)]
}

// Access is what one origin may do: the account looked up once, so that a list
// of 100,000 groups can be gone through cheaply. Ask for a new one per command.
type Access struct {
	agent   *Agent
	o       Origin
	local   bool // the operator at the machine
	account *members.Account
	read    func(string) bool // what the account, or the guest, may read, and post to
	post    func(string) bool
	anon    string // what the anonymous setting of the door allows
	peer    *Peer
}

// Access looks up what o may do. A banned or removed account is a *Refusal.
func (a *Agent) Access(ctx context.Context, o Origin) (*Access, error) {
	acc := &Access{agent: a, o: o, local: o.Door == "control" || o.Door == "import"}
	if o.Account != "" && !acc.local {
		if a.Members == nil {
			return nil, &Refusal{Reason: Denied, Code: "no-account", Text: "there is no such account"}
		}
		m, err := a.Members.Get(ctx, o.Account)
		switch {
		case errors.Is(err, members.ErrNotFound):
			return nil, &Refusal{Reason: Login, Code: "no-account", Text: "that account is gone, log in again"}
		case err != nil:
			return nil, fmt.Errorf("look up account: %w", err)
		case m.Banned(a.now()):
			return nil, &Refusal{Reason: Denied, Code: "banned", Text: "this account is barred; ask the operator of this node"}
		}
		acc.account = &m
		acc.read, acc.post = pattern(m.Read), pattern(m.Post)
	}
	p := a.policy()
	if acc.account == nil {
		acc.read, acc.post = pattern(p.GuestRead), pattern(p.GuestPost)
	}
	if o.Trusted || acc.account != nil {
		acc.anon = p.Anonymous[o.Door]
	}
	if o.Peer != "" && a.Peers != nil {
		if p, ok := a.Peers.Peer(o.Peer); ok {
			acc.peer = &p
		}
	}
	return acc, nil
}

// pattern reads the wildmat of an account once; one that cannot be read holds nothing.
func pattern(text string) func(string) bool {
	if text == "" || text == "*" {
		return func(string) bool { return true }
	}
	w, err := wildmat.Parse(text)
	if err != nil {
		return func(string) bool { return false }
	}
	return w.Match
}

// May says whether o may do act in group (with group "": anywhere at all). It returns nil or a *Refusal whose Reason is Login where logging in
// would help and Denied where it would not; any other error is temporary. This
// is the one place that decides who may do what where; that a group exists and
// its status are not asked here (see MayPost).
func (a *Agent) May(ctx context.Context, o Origin, act Act, group article.Group) error {
	acc, err := a.Access(ctx, o)
	if err != nil {
		return err
	}
	return acc.May(ctx, act, group)
}

// May is Agent.May without looking up the account again.
func (c *Access) May(ctx context.Context, act Act, group article.Group) error {
	switch {
	case act == Feed:
		return c.mayFeed(group)
	case c.local || c.account != nil && c.account.Admin:
		return nil
	case act == Admin:
		return c.no(act, group)
	case act == Moderate || act == Create:
		return c.mayOrder(ctx, act, group)
	case c.account != nil:
		if c.within(act, group) {
			return nil
		}
		return &Refusal{Reason: Denied, Code: "no-" + act.String(), Text: fmt.Sprintf("your account may not %s in %s", act, group)}
	case c.o.Door == "feed" && act == Post: // a gateway of this node
		return nil
	case c.guests(act) && c.within(act, group):
		return nil
	}
	return c.no(act, group)
}

// within says whether the patterns of the account, or of guests, let in. Group "":
// anywhere; they are asked for each group later.
func (c *Access) within(act Act, group article.Group) bool {
	return group == "" || act == Post && c.post(string(group)) || act == Read && c.read(string(group))
}

// guests says whether who has not logged in may do act at this door. By mail
// strangers get what they could read at another door.
func (c *Access) guests(act Act) bool {
	if c.o.Door == "smtp" && act == Read {
		at := c.agent.policy().Anonymous
		return at["web"] == "read" || at["web"] == "post" || at["nntp"] == "read" || at["nntp"] == "post"
	}
	return c.anon == "post" || c.anon == "confirm" && act == Post || c.anon == "read" && act == Read
}

// mayOrder decides about moderating and making groups: by account, else by arrows.
func (c *Access) mayOrder(ctx context.Context, act Act, group article.Group) error {
	if c.account == nil {
		return c.no(act, group)
	}
	if c.agent.Barred != nil && c.agent.Barred(c.account.Name) {
		return &Refusal{Reason: Denied, Code: "banned-key", Text: fmt.Sprintf("your key is barred here: you may not %s until that is lifted", act)}
	}
	if act == Moderate && c.account.Moderate != "" && members.Match(c.account.Moderate, string(group)) {
		return nil
	}
	if c.agent.Keys != nil {
		ok, err := c.agent.Keys.AccountMay(ctx, c.account.Name, act.String(), group)
		if err != nil {
			return fmt.Errorf("look up the right to %s: %w", act, err)
		}
		if ok {
			return nil
		}
	}
	return c.no(act, group)
}

func (c *Access) no(act Act, group article.Group) *Refusal {
	where := ""
	if group != "" {
		where = " in " + string(group)
	}
	if c.account == nil {
		return &Refusal{Reason: Login, Code: "login", Text: fmt.Sprintf("log in to %s%s", act, where)}
	}
	return &Refusal{Reason: Denied, Code: "no-" + act.String(), Text: fmt.Sprintf("your account may not %s%s", act, where)}
}

func (c *Access) mayFeed(group article.Group) error {
	switch {
	case c.local || c.o.Door == "batch" && c.o.Peer == "":
		return nil
	case c.peer == nil && c.account == nil:
		return &Refusal{Reason: Login, Code: "no-peer", Text: "this connection belongs to no peer of this node: peers are told by TLS key, login or address"}
	case c.peer == nil:
		return &Refusal{Reason: Denied, Code: "no-peer", Text: "this account feeds nothing; the operator can add it with --feeds"}
	case group != "" && c.peer.Take != nil && !c.peer.Take(group):
		return &Refusal{Reason: Unwanted, Code: "not-taken", Text: fmt.Sprintf("%s is not taken from you", group)}
	}
	return nil
}

// MayPost is May(Post) in a group that exists, its status included: LIST ACTIVE
// and forms ask it, and so does Inject.
func (c *Access) MayPost(ctx context.Context, g spool.GroupInfo) error {
	if err := c.May(ctx, Post, g.Name); err != nil {
		return err
	}
	if g.Status == spool.PostNone && !c.local {
		return &Refusal{Reason: Denied, Code: "no-local-posts", Text: fmt.Sprintf("%s takes no posts here, only peers bring its articles", g.Name)}
	}
	return nil
}

// Account is the account that is logged in, or nil.
func (c *Access) Account() *members.Account { return c.account }

// Whose says which peers a connection may belong to, the likeliest first: a
// pinned key, else the login, else the address, narrowest prefix first. Doors
// ask it when a connection opens and when somebody logs in, and set Origin.Peer
// to the first. Where several share an address, Relay looks at Path.
func (a *Agent) Whose(ctx context.Context, o Origin) []string {
	if a.Peers == nil {
		return nil
	}
	all := a.Peers.All()
	if o.Cert != "" {
		for _, p := range all {
			if p.Key == o.Cert {
				return []string{p.Name}
			}
		}
	}
	if o.Account != "" && a.Members != nil {
		if m, err := a.Members.Get(ctx, o.Account); err == nil && m.Feeds != "" && !m.Banned(a.now()) {
			if p, ok := a.Peers.Peer(m.Feeds); ok {
				return []string{p.Name}
			}
		}
	}
	return byAddress(all, o.Addr)
}

// byAddress lists the peers whose From holds addr, narrowest prefix first.
func byAddress(all []Peer, addr netip.Addr) []string {
	var names []string
	best := -1
	addr = addr.Unmap()
	for _, p := range all {
		bits := -1
		for _, f := range p.From {
			if f.Contains(addr) {
				bits = max(bits, f.Bits())
			}
		}
		switch {
		case bits < 0 || bits < best:
		case bits > best:
			best, names = bits, []string{p.Name}
		default:
			names = append(names, p.Name)
		}
	}
	return names
}

// fromPeer says which peer brought an article whose Path begins with head: the
// connection's, or another one of the same address (RFC 5537 §3.2.1).
func (a *Agent) fromPeer(o Origin, head string) (Peer, bool) {
	if o.Peer == "" || a.Peers == nil {
		return Peer{}, false
	}
	p, ok := a.Peers.Peer(o.Peer)
	if !ok || strings.EqualFold(p.PathID(), head) || p.Key != "" && p.Key == o.Cert || o.Account != "" {
		return p, ok
	}
	for _, name := range byAddress(a.Peers.All(), o.Addr) {
		if q, is := a.Peers.Peer(name); is && strings.EqualFold(q.PathID(), head) {
			return q, true
		}
	}
	return p, ok
}
