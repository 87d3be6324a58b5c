// Package torrent keeps large attachments of articles as torrents: it detaches
// them from drafts and leaves magnet links (Detacher), stores files once per
// SHA-256 with an index of infohashes that point to them (Store), and seeds and
// fetches them by BitTorrent (Engine).
//
// The SHA-256 of a file is its identity, the infohash is an address. No name from
// the net becomes a path. Nothing here speaks HTTP to readers: torrent/web does;
// nor answers announces: torrent/tracker does.
//
// docs/spec/torrent.md is the norm. The files engine*.go, dial.go and announce.go
// are the only ones that know the BitTorrent library.
package torrent
