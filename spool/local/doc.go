// Package local keeps the promises of spool.Store on one disk: a log of
// append-only segments, which is the truth, a small meta log for what outlives
// its segment, and one bbolt file, which is a checkpoint and can be rebuilt.
// FORMAT.md in this folder describes the files.
//
// One goroutine, the committer, makes all changes. It takes whatever waits,
// writes it with one write and one fdatasync, then makes it visible in the tail:
// tables in memory of what is not yet in the index. A second goroutine, the
// keeper, writes full or old tails to the index in one transaction each. Readers
// ask the tails, then the index; they take no lock while they read from disk.
package local
