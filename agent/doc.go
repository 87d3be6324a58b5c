// Package agent holds the duties of RFC 5537 as code, one file per agent:
// injecting (§3.5), relaying (§3.6), serving (§3.7), and who may do what where.
//
// Two calls put an article in: Inject (it is new) and Relay (a peer sent it).
// Both end in one spool.Add. Everything that happens because an article arrived
// is a follower of the spool's log.
package agent
