package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/spool/threads"
)

// feedLister finds the articles of feeds that are no group: a thread, a person, a
// search. It is a syndicate.Lister.
type feedLister struct {
	threads *threads.Index
	core    *core
}

// maxThreadFeed is how many of a thread's articles its feed may look at.
const maxThreadFeed = 600

func (l feedLister) Thread(ctx context.Context, g article.Group, root article.ID) ([]spool.Entry, string, error) {
	_, stamp, err := l.threads.Stamp(root)
	if err != nil {
		return nil, "", err
	}
	_, posts, err := l.threads.Thread(ctx, root)
	if err != nil {
		return nil, "", err
	}
	var ids []article.ID
	for i := len(posts) - 1; i >= 0 && len(ids) < maxThreadFeed; i-- {
		if posts[i].Seq != 0 && posts[i].Number(g) != 0 {
			ids = append(ids, posts[i].ID)
		}
	}
	entries, err := l.entries(ctx, ids)
	stamp = fmt.Sprintf("%s-%d", stamp, l.core.ward.Stamp())
	if err == nil && len(entries) == 0 {
		err = spool.ErrNotFound
	}
	return entries, stamp, err
}

func (l feedLister) Person(ctx context.Context, identity string, limit int) ([]spool.Entry, string, error) {
	if len(identity) != 52 || strings.Trim(identity, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		return nil, "", spool.ErrNotFound
	}
	posts, _, err := l.threads.BySigner(ctx, identity, "", limit)
	if err != nil {
		return nil, "", err
	}
	var ids []article.ID
	for _, p := range posts {
		ids = append(ids, p.ID)
	}
	return l.list(ctx, ids)
}

func (l feedLister) Search(ctx context.Context, query string, limit int) ([]spool.Entry, string, error) {
	if strings.TrimSpace(query) == "" || len(query) > 500 || l.core.search == nil {
		return nil, "", spool.ErrNotFound
	}
	ids, _, err := l.core.search.Search(ctx, query, 0, limit)
	if err != nil {
		return nil, "", fmt.Errorf("search for a feed: %w", err)
	}
	return l.list(ctx, ids)
}

// list opens ids; what they are stamps the answer.
func (l feedLister) list(ctx context.Context, ids []article.ID) ([]spool.Entry, string, error) {
	entries, err := l.entries(ctx, ids)
	var stamp strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&stamp, "%d,", e.Seq)
	}
	return entries, stamp.String() + ".", err
}

// entries looks ids up; what is gone meanwhile is left out.
func (l feedLister) entries(ctx context.Context, ids []article.ID) ([]spool.Entry, error) {
	var out []spool.Entry
	for _, id := range ids {
		e, err := l.core.shown.ByID(ctx, id)
		if errors.Is(err, spool.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}
