// Package nntpd is the NNTP door: reading and posting (RFC 3977, with the
// commands of RFC 2980 that clients still use, and RFC 6048), streaming feeds
// (RFC 4644), logging in (RFC 4643). A connection is reader and feeder at once;
// there are no modes.
//
// It decides nothing: who may do what, and what is taken, is asked of agent, and
// every answer follows from one table (refusal.go). What an article is stored as
// goes to the client as it is, with an Xref line written in between.
//
// A connection has one goroutine, which reads commands and answers them. Articles
// that come by TAKETHIS are handed on while the next is read, each in a goroutine
// of its own, and one more writes the answers in order (transit.go). Answers of a
// pipelined burst leave together, when the input has been used up.
package nntpd
