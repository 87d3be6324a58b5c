// Package invite makes two nodes neighbours with one code that a person carries
// from one to the other: it names the inviting node, where it can be reached and
// its TLS key, and holds a secret that works once.
//
// The joining node connects, checks the key, shows its own in the handshake and
// says the secret (XJOIN, docs/peering.md). Each then knows the other by key, so
// neither addresses nor passwords have to be kept in step by hand.
package invite
