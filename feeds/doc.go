// Package feeds has no code. Its folders carry articles between this node and
// elsewhere with no person at the other end: peer (neighbours over NNTP), batch
// (rnews batches for UUCP, NNCP or a USB stick) and syndicate (RSS and Atom).
package feeds
