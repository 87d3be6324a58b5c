// Package directory spreads statements (docs/spec/pki.md §7): as articles in the
// groups PREFIX.admin.pki.*, over HTTP under /.well-known/pki/v1/, as a snapshot
// for a new node; and it lends keys to programs through the socket of a key agent (§8).
//
// Everything it takes in is proved by itself, so it does not matter who brought
// it; quotas bound how much anybody may bring. What the statements mean is the
// business of package pki.
package directory
