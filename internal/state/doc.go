// Package state keeps a node's two small databases: state.db, which cannot be
// rebuilt (accounts, subscriptions, queues, cursors), and cache.db, which can.
//
// A database is a set of named buckets; each has one owner, the package that
// asks for it, and nobody else looks into it. Every write that returned nil is
// on disk: it survives a power cut. Writes made at the same time share a sync.
//
// On disk each is one bbolt file. A process that opens it holds a kernel lock,
// which a crash releases.
package state
