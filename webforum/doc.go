// Package webforum is the browser door: the same articles as in a newsreader, as a
// forum. Pages are made on the server with html/template; they are complete without
// script. One style sheet and one deferred script, each named by its hash, are all
// that a page loads, and all from this node.
//
// The forum keeps nothing of its own but sessions and drafts (state.db). Lists come
// from spool/threads and the overview, texts from the spool, writing goes through
// the agent. What else a node may have (search, torrents, trust) are fields that may
// be nil; the pages then do without.
//
// A request goes through: limits, cross-origin protection, visitor (who is it, which
// language), then the handler of its page, which returns a page or an error; render
// turns either into octets, answers 304 where the visitor has them, and compresses.
package webforum
