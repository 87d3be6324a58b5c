//go:build !linux

package main

import (
	"context"
	"io"
)

// hushed runs ask; what is typed is seen.
func hushed(_ context.Context, _ io.Reader, ask func() (string, error)) (string, error) {
	return ask()
}

// columns is how wide a terminal is; it is not asked here.
func columns(io.Writer) int { return 0 }
