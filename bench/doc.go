// Command bench measures a litfass node on this machine, and INN beside it in
// the same run where it can be had, and prints a table with the ratios.
//
//	go run ./bench                 the quick profile, a few minutes
//	go run ./bench -full           all, with 1,000,000 history entries, 50 kills, 20 power cuts
//	go run ./bench -only intake,visible
//	go run ./bench -only forum     pages and search; public-inbox is measured beside us if it is installed
//
// The load generator is our own NNTP client on the same cores, so rates are what
// both together reach; the server's CPU time per operation (from /proc) is the
// figure that compares well on a busy machine. Everything stays on loopback and
// in a temporary folder.
package main
