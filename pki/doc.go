// Package pki signs and checks articles, keeps identities alive when keys are
// lost or stolen, and says which rights the arrows give. docs/spec/pki.md is its
// law; section numbers in comments are of that page, vectors lie beside it.
//
// Three layers, each usable without the next:
//
//   - An article's signature (field.go, signing.go, verify.go): what it says and
//     whether the mathematics holds. Pure functions; the outcome is an
//     article.Proof and never changes.
//   - Statements (statement.go): key events and arrows as signed text. Which key
//     speaks for an identity (identity.go) and which arrows count (arrow.go) are
//     functions of the set of statements held, never of their order.
//   - The Ledger keeps the statements, knows what a Proof is worth now, and who
//     has which right; the Keyring holds this node's own keys.
package pki
