// Package browser holds tests of the forum in real browsers (build tag interop):
// Chromium by playwright-core from npm, w3m and lynx. docs/forum.md says what they cover.
package browser
