package agent

import (
	"net/netip"
	"time"

	"github.com/litfass/litfass/article"
)

// Policy is what the operator decided. The zero Policy works.
type Policy struct {
	// Anonymous says by door ("nntp", "smtp", "web") what a client may do without
	// logging in, if its address is trusted: "none", "read", "confirm" (smtp:
	// post once the sender confirmed) or "post". A door not named: "none".
	Anonymous map[string]string

	// GuestRead and GuestPost are wildmats of the groups for which Anonymous holds:
	// what lies outside is for accounts. "": all.
	GuestRead, GuestPost string

	Cutoff    time.Duration // older articles are refused, but for import and peers with Old; 0: no limit
	Remember  time.Duration // how long recalled ids are known; 0: Cutoff and a week, at least 30 days
	MaxPost   int64         // octets of a draft's body before detaching; 0: 64 MiB
	MaxGroups int           // names in Newsgroups at injection; 0: 20
	MaxFollow int           // names in Followup-To, and groups without Followup-To; 0: no limit of its own
	Require   string        // "none" or "known": what an unsigned article meets (pki.md §2.7)

	// Obey lets a group order (newgroup, rmgroup, checkgroups) of a relayed article
	// act that no right of its signer covers: Usenet's custom of believing certain
	// senders. from is the content of From. nil: nobody's.
	Obey func(from, peer, verb string, group article.Group) bool

	// DropLeftOut removes groups that a checkgroups of their hierarchy does not
	// name (RFC 5537 §5.2.3), with their articles; else they are marked: see LeftOut.
	DropLeftOut bool

	WaitOctets     int64         // quota of the waiting room; 0: 64 MiB
	WaitPeerOctets int64         // its share for one peer or one account or address; 0: 8 MiB
	WaitFor        time.Duration // how long a submission waits for a moderator; 0: 30 days
}

const day = 24 * time.Hour

// ahead is how far a date may lie in the future: RFC 5537 §3.5 (3), §3.6 (2).
const ahead = day

func (p Policy) remember() time.Duration {
	if p.Remember > 0 {
		return p.Remember
	}
	return max(p.Cutoff+7*day, 30*day)
}

func orInt(n, def int64) int64 {
	if n != 0 {
		return n
	}
	return def
}

// Peer is what the agent knows of a neighbour that may bring articles.
type Peer struct {
	Name string
	Path string                     // its path identity; "": Name
	Take func(g article.Group) bool // which groups it may bring; nil: all
	Old  bool                       // may bring what is older than Policy.Cutoff
	Key  string                     // spki:sha256:B64 of its TLS key, or ""
	Day  Usage                      // what it may bring a day; 0: no limit (PeerQuota)

	Share int64 // octets that its articles may hold of the disk; 0: no limit (PeerQuota)

	Paused bool // what it offers is to come later

	From []netip.Prefix // addresses from which it needs neither key nor login
}

// PathID is the name the peer goes by in Path.
func (p Peer) PathID() string {
	if p.Path != "" {
		return p.Path
	}
	return p.Name
}

// Peers looks up neighbours; they may change while the node runs, so nothing is
// kept. Both methods are cheap, they are called for every article.
type Peers interface {
	Peer(name string) (Peer, bool)
	All() []Peer // in the order of the configuration
}

// PeerList is a Peers that never changes.
type PeerList []Peer

// Peer finds one by name.
func (l PeerList) Peer(name string) (Peer, bool) {
	for _, p := range l {
		if p.Name == name {
			return p, true
		}
	}
	return Peer{}, false
}

// All returns all of them.
func (l PeerList) All() []Peer { return l }
