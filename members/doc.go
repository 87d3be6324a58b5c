// Package members keeps the accounts of a node: passwords, limits, bans,
// subscriptions, what each has read, watches, mutes and is writing. Rights made here serve every door;
// what they allow is decided by agent alone.
//
// A password is kept as an argon2id hash (16 MiB, 3 passes, 1 lane: RFC 9106)
// and, for SASL SCRAM-SHA-256 (RFC 5802, 7677), as StoredKey and ServerKey; both
// are made when the password is set. One hashing runs at one time, so
// that fifty logins together take 16 MiB and not 800.
//
// In state.db:
//
//	members        NAME               Account as JSON
//	members.email  address            NAME
//	members.read   NAME NUL GROUP     Ranges as text
//	members.subs   NAME NUL GROUP     "" (subscribed)
//	members.watch  NAME NUL ROOT-ID   Watch as JSON
//	members.watchers  ROOT-ID NUL NAME   "" (the same, found from the thread)
//	members.mute   NAME NUL IDENTITY  Mute as JSON
//	members.draft  NAME NUL ID        Draft as JSON
package members
