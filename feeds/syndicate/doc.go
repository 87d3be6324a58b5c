// Package syndicate carries articles between the spool and RSS, Atom and JSON
// Feed. Polled feeds become articles in a group, one poller serving the whole
// mesh; groups, threads, people and searches become feeds.
//
// A document from the net is hostile: decode.go turns any charset into UTF-8,
// scan.go bounds octets, depth, elements and entries before gofeed sees a few
// entries at a time, fetch.go bounds time and refuses addresses that a feed has
// no business with.
package syndicate
