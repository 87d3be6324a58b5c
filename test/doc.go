// Package test is the layout of what is tested with the whole program: real
// programs in interop (build tag interop), browsers in browser, and the summary
// of `make test` in report. Tests of one room stand beside its code.
package test
