// Package discover is the neighbourhood: it tells the link, by DNS-SD over
// multicast DNS (RFC 6762, RFC 6763; docs/spec/torrent.md §9), which doors of
// this node are open, and hears which other litfass nodes are there.
//
// What it hears is a hint, never a trust: nothing is connected because of it.
// It speaks only on the interfaces it is given, answers only what comes from
// that link, and keeps at most 128 neighbours.
//
// Everything but the sockets runs in one goroutine (Node.Run). What RFC 6762
// leaves to the implementer and is left out: negative answers (§6.1).
package discover
