// Package floors holds no code, only the test that the imports of litfass point
// strictly down (docs/architecture.md §3), that each heavy module has one owner,
// and that links and references in the documents lead somewhere.
package floors
