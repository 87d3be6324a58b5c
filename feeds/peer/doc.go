// Package peer floods articles to neighbouring nodes and other news servers,
// and pulls from those that give no feed.
//
// Each peer has one sender: a follower of the spool's log with a cursor of its
// own. There is no queue on disk; the backlog is just the cursor. A sender is
//
//	read    goroutine: spool.Since from the cursor on, picks what the peer gets
//	desk    goroutine: hands articles to connections, knows what is open
//	save    goroutine: writes the cursor down now and then
//	worker  goroutines, one per connection allowed; a stream also has a reader
//
// The desk bounds what is open at one time, so a slow peer costs a few hundred
// small items and no articles: octets are fetched from the spool when they are
// written to the connection. The cursor stands below the oldest open article.
// An article that the peer defers (431, 436) leaves that window for a bounded
// list of its own, which is saved with the cursor: it comes again with growing
// delays and holds up nobody. When that list is full, reading stops: then the
// peer defers everything, and the cursor is the better memory.
//
// What was sent and not answered when a connection broke is offered again with
// CHECK. So an article may be offered more than once, but the peer's history
// makes that harmless (RFC 4644 §2.5.2).
package peer
