// Package article holds Netnews articles as bytes and as fields: parse, check
// syntax, build drafts. It makes no policy and does no I/O.
//
// An article is kept in its wire form (RFC 3977 §3.1.1): lines end with CRLF,
// a line that begins with a dot has one more in front, and ".\r\n" ends it.
// These octets are authoritative. Nothing here writes a header field again that
// it did not make itself, or signatures would break. Octets of 8 bits and
// invalid UTF-8 are carried as they came.
//
// The words are those of RFC 5536 (format) and RFC 5537 (agents).
package article
