// Package batch carries articles as rnews batches: for UUCP, NNCP, or a USB
// stick that somebody takes along. Out writes what a peer has not had yet, by
// its own cursor; In hands a batch to the relaying agent, article by article.
//
// The format (RFC 5537 §2 calls it "batch", INN's rnews(1) and RFC 1036 §4.3
// describe it) is, again and again,
//
//	#! rnews 1234
//	then 1,234 octets: one article with LF line ends, no dot stuffing
//
// without anything between. Reader also takes batches with CRLF line ends, with
// empty lines between articles, and packed with gzip, bzip2 or zstd; Writer writes LF.
// Articles hold no LF but those of CRLF, so turning one into the other loses nothing.
package batch
