// Package courier carries articles out by mail: to the subscribers of groups,
// singly or as a daily digest, and to moderators; and the node's own mails, such
// as questions to confirm something.
//
// Everything goes through one queue in state.db, so that a slow or dead mail
// server delays nobody else. It retries from 5 minutes up to 4 hours apart, for 5
// days. A row of the queue names an article and the subscribers who still wait for
// it; each delivery is noted before the next begins, so a crash sends at most one
// mail per open connection twice. Nothing leaves without a smarthost, or "mx" in
// its place for direct delivery.
//
// It owns the buckets courier.subs, courier.tokens, courier.asked, courier.queue
// and courier.digest of state.db.
package courier
