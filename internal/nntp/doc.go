// Package nntp is what the NNTP server and the NNTP client share: the codec of
// RFC 3977 §3.1 over one connection, and the names of its response codes. It
// makes no policy.
//
// Only CRLF ends a line and only CRLF "." CRLF ends a block; a bare CR or LF
// never does either, so nothing can be smuggled past it. Blocks are handed over
// as they stand on the wire: dot-stuffed, with their final ".\r\n".
//
// A connection that waits holds a few hundred octets: the large buffers are
// borrowed from a pool while there is work and given back by Rest.
package nntp
