//go:build nosearch

package main

import (
	"context"
	"errors"
)

func (k *core) openSearch() (searcher, error) {
	return nil, errors.New("this program was built without full-text search; use the full one (make build)")
}

func (s *server) startSearch(context.Context) (*part, error) { return nil, nil }
