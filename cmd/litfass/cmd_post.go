package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
)

// postJSON is what became of a posted article.
type postJSON struct {
	ID      string            `json:"id"`
	Waiting bool              `json:"waiting"`
	Places  map[string]uint64 `json:"places"`
}

func cmdPost(c *call) (err error) {
	as := c.fs.String("as", "", "post as this `ACCOUNT`, with its key; without it: unnamed, with the node's")
	if err := c.parse(0, 1); err != nil {
		return err
	}
	name := "-"
	if len(c.args) == 1 {
		name = c.args[0]
	}
	in, err := c.open(name)
	if err != nil {
		return fmt.Errorf("read the article: %w", err)
	}
	defer in.Close()
	n, err := c.node()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	body, err := n.stream(c.ctx, "post", url.Values{"as": {*as}}.Encode(), io.MultiReader(in)) // hides that it is a file: the client must not close it
	if err != nil {
		return fmt.Errorf("post: %w", err)
	}
	defer body.Close()
	var done postJSON
	if err := json.NewDecoder(body).Decode(&done); err != nil {
		return fmt.Errorf("read the node's answer: %w", err)
	}
	if c.json {
		return c.printJSON(done)
	}
	if done.Waiting {
		fmt.Fprintf(c.out, "%s waits for a moderator\n", done.ID)
		return nil
	}
	fmt.Fprintf(c.out, "%s posted", done.ID)
	for g, n := range done.Places {
		fmt.Fprintf(c.out, " %s:%d", g, n)
	}
	fmt.Fprintln(c.out)
	return nil
}

func (c *control) articleActs() {
	c.mux.HandleFunc("POST /v1/post", func(w http.ResponseWriter, r *http.Request) {
		done, err := c.post(r.Context(), r.Body, r.URL.Query().Get("as"))
		reply(w, done, err)
	})
	c.mux.HandleFunc("POST /v1/import", c.importArticles)
	c.mux.HandleFunc("POST /v1/export", c.export)
}

// post injects the article in the text, in the name of an account or of nobody: what
// inews does.
func (c *control) post(ctx context.Context, text io.Reader, as string) (postJSON, error) {
	if as != "" {
		if _, err := c.core.members.Get(ctx, as); err != nil {
			return postJSON{}, noUser(as, err)
		}
	}
	limit := int(c.core.cfg.NNTP.MaxPost)
	b, err := io.ReadAll(io.LimitReader(text, int64(limit)+1))
	if err != nil {
		return postJSON{}, fmt.Errorf("read the article: %w", err)
	}
	lim := article.Limits{Article: limit}
	wire, err := article.Normalize(b, lim)
	if err != nil {
		return postJSON{}, err
	}
	a, err := article.Parse(wire, lim)
	if err != nil {
		return postJSON{}, fmt.Errorf("this is no article: %w; it begins with its header (From, Newsgroups, Subject), an empty line, then the text", err)
	}
	res, err := c.core.agent.Inject(ctx, article.NewDraft(a), agent.Origin{Door: "control", Account: as})
	if err != nil {
		return postJSON{}, plain(err)
	}
	done := postJSON{ID: string(res.ID), Waiting: res.Waiting, Places: map[string]uint64{}}
	for _, p := range res.Entry.Places {
		done.Places[string(p.Group)] = p.Number
	}
	return done, nil
}
