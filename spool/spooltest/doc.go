// Package spooltest is the contract of spool.Store as a test suite, and Mem, the
// model it is checked against: a whole spool in memory, for tests of others.
package spooltest
