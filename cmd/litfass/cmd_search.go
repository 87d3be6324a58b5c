package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/spool"
)

// searcher finds articles; nil in a program without full-text search.
type searcher interface {
	Search(ctx context.Context, query string, from, n int) (ids []article.ID, total int, err error)
}

// foundJSON is one article that a search found.
type foundJSON struct {
	ID      string `json:"id"`
	Group   string `json:"group"`
	Number  uint64 `json:"number"`
	From    string `json:"from"`
	Subject string `json:"subject"`
	Date    string `json:"date"`
}

type searchJSON struct {
	Query string      `json:"query"`
	Total int         `json:"total"`
	Found []foundJSON `json:"found"`
}

func cmdSearch(c *call) error {
	if err := c.parse(1, 100); err != nil {
		return err
	}
	in := searchJSON{}
	for i, w := range c.args {
		if i > 0 {
			in.Query += " "
		}
		in.Query += w
	}
	var out searchJSON
	if err := c.ask("search", in, &out); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(out)
	}
	var rows [][]string
	for _, f := range out.Found {
		rows = append(rows, []string{fmt.Sprintf("%s:%d", f.Group, f.Number), f.From, f.Subject, f.ID})
	}
	c.printTable([]string{"ARTICLE", "FROM", "SUBJECT", "MESSAGE-ID"}, rows)
	fmt.Fprintf(c.out, "%d of %d\n", len(out.Found), out.Total)
	return nil
}

func (c *control) search(ctx context.Context, in searchJSON) (searchJSON, error) {
	x, err := c.core.openSearch()
	if err != nil {
		return in, err
	}
	in.Found = []foundJSON{}
	ids, total, err := x.Search(ctx, in.Query, 0, 30)
	if err != nil {
		return in, err
	}
	in.Total = total
	for _, id := range ids {
		e, err := c.core.shown.ByID(ctx, id)
		if errors.Is(err, spool.ErrNotFound) {
			in.Total--
			continue
		}
		if err != nil {
			return in, err
		}
		who, _ := content.Author(e.From)
		in.Found = append(in.Found, foundJSON{string(id), string(e.Places[0].Group), e.Places[0].Number, who, content.Header(e.Subject), e.Date})
	}
	return in, nil
}
