// Package tlsid is a node's TLS identity: the certificate of the configuration,
// one that an authority issues for the node's own key when asked by ACME (RFC
// 8555), or one that the node makes for itself, and pins, by which nodes know each
// other's keys without anybody's authority.
//
// The key of a self-made certificate is kept, the certificate is made anew at
// each start: it names no time at which it ends (RFC 5280 §4.1.2.5) and none
// before which it is not valid, for many a box wakes up in 1970. What a neighbour
// relies on is the key's pin, never these.
package tlsid
