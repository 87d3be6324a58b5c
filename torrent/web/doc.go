// Package web serves torrents' files over HTTP: /t/INFOHASH/PATH with Range, the
// listing, .torrent and .meta4, and /magnet (docs/spec/torrent.md §2.4 and §3).
//
// What is not here streams while it arrives, for those who may fetch. The same
// URLs are web seeds (BEP 19). Everything works without script, and nothing that
// is served here may run: every answer is sandboxed.
package web
