package main

import (
	"context"

	"github.com/litfass/litfass/article"
)

// superseded keeps what an author replaced, for the forum's page of earlier versions.
func (k *core) superseded(_ context.Context, old *article.Article, by article.ID) error {
	return k.past.Keep(old, by)
}

// withdrawn has the thread index forget an article at once, where a forum runs, and
// its attachments looked at; their sweeps would find it later.
func (k *core) withdrawn(_ context.Context, id article.ID) {
	k.torrents.articlesGone()
	x := k.threads.Load()
	if x == nil {
		return
	}
	if err := x.Forget(id); err != nil {
		k.log.Warn("forum: forget a withdrawn article; the next sweep will", "id", id, "error", err)
	}
}
