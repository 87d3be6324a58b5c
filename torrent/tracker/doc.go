// Package tracker answers BitTorrent announces and scrapes, over HTTP (BEP 3, 7,
// 23, 48) and UDP (BEP 15), and keeps in step with the mesh's other trackers by
// livesync, the format of opentracker (docs/spec/torrent.md §6).
//
// Swarms live in memory: peers announce again. It holds infohashes, addresses and
// times, writes none of them anywhere, and fetches nothing.
package tracker
