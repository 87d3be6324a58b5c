//go:build notorrent

package main

import (
	"context"
	"errors"
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
func (a forumAdmin) Torrents(context.Context) ([]webforum.TorrentState, []webforum.DeniedFile, error) {
	return nil, nil, errNoTorrents
}
func (a forumAdmin) PinTorrent(context.Context, string, bool) error { return errNoTorrents }
func (a forumAdmin) RemoveTorrent(context.Context, string) error    { return errNoTorrents }
func (a forumAdmin) DenyFile(context.Context, string, bool, string, string) error {
	return errNoTorrents
}

var errNoTorrents = errors.New("this program was built without torrents")

func torrentRows() []command { return nil }
