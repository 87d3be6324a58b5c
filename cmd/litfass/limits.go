package main

import "github.com/litfass/litfass/agent"

// filters are the limits that hold by default: how fast one account or address
// posts, how much in a day, and what a peer may bring if `peer` says so.
func (k *core) filters() []agent.Filter {
	return []agent.Filter{
		&agent.PostRate{Now: k.now},
		&agent.DayQuota{Members: k.members, Now: k.now},
		&agent.PeerQuota{Peers: k.peers, Now: k.now},
	}
}
