//go:build notorrent

package main

import (
	"context"
	"net/http"

	"github.com/litfass/litfass/webforum"
)

// This program was built without torrents: large bodies are refused.
type torrentRoom struct{}

func (r *torrentRoom) articlesGone()                           {}
func (k *core) openTorrents(context.Context) error             { return nil }
func (s *server) startTorrents(context.Context) (*part, error) { return nil, nil }
func (s *server) torrentRoutes(next http.Handler) http.Handler { return next }
func (k *core) forumFiles() func(string) webforum.FileState    { return nil }
func (c *control) torrentActs()                                {}
func (k *core) torrentFigures(o *webforum.Overview)            { o.TorrentsAbsent = true }
func (torrentRoom) tracks() bool                               { return false }
func torrentRows() []command                                   { return nil }
