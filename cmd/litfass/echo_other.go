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
