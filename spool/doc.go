// Package spool says what a spool promises: history, numbers, overview, the
// arrival log and its followers. It is the seam behind which storage may change;
// spool/local keeps these promises on one disk, spool/spooltest checks them.
//
// The spool is a log; everything else follows it. One synced record makes an
// article exist; offering it to peers, indexing it, mailing it and acting on it
// are followers that read the log from a saved cursor.
package spool
