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
//
// Where what is: commit.go the committer, tail.go and recent.go what is in memory,
// checkpoint.go the keeper, index.go opening the index, replay.go bringing it up to
// the log; segment.go, chains.go and record.go the log, meta.go and marks.go the meta
// log; history.go and lookups.go ids, rows.go the rows of groups; read.go, ranges.go
// and since.go what readers ask; expire.go, room.go, compact.go and forget.go how
// things go; check.go whether all of it agrees.
package local
