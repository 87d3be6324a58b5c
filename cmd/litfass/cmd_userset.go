package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/litfass/litfass/internal/wildmat"
	"github.com/litfass/litfass/members"
)

// userChange is user set: nil is "as it is".
type userChange struct {
	Name                 string
	Read, Post, Moderate *string
	Email                *string
	Admin, MarkRead      *bool
	DayArticles          *int
	DaySize              *size
}

func cmdUserSet(c *call) error {
	var ch userChange
	pattern := func(p **string) func(string) error {
		return func(s string) error {
			_, err := wildmat.Parse(s)
			if s == "" {
				err = nil
			}
			*p = &s
			return err
		}
	}
	c.fs.Func("read", "`WILDMAT` of the groups it may read; empty: all", pattern(&ch.Read))
	c.fs.Func("post", "`WILDMAT` of the groups it may post to; empty: all", pattern(&ch.Post))
	c.fs.Func("moderate", "`WILDMAT` of the groups it moderates; empty: none", pattern(&ch.Moderate))
	c.fs.Func("email", "mail `ADDRESS`", func(s string) error { ch.Email = &s; return nil })
	c.fs.BoolFunc("admin", "may do everything; --admin=false: no longer", func(s string) error {
		v := s != "false"
		ch.Admin = &v
		return nil
	})
	c.fs.BoolFunc("mark-read", "what its newsreader fetched counts as read, in the browser, too; --mark-read=false: not", func(s string) error {
		v := s != "false"
		ch.MarkRead = &v
		return nil
	})
	c.fs.Func("day-articles", "how many articles it may post a day, `N`; 0: as [limits] says", func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return errors.New("must be a number")
		}
		ch.DayArticles = &n
		return nil
	})
	c.fs.Func("day-size", "how much it may post a day, `SIZE`; 0: as [limits] says", func(s string) error {
		ch.DaySize = new(size)
		return ch.DaySize.UnmarshalText([]byte(s))
	})
	if err := c.parse(1, 1); err != nil {
		return err
	}
	ch.Name = c.args[0]
	if err := c.ask("user/set", ch, nil); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "account %s changed\n", ch.Name)
	return nil
}

func (c *control) userSet(ctx context.Context, ch userChange) (struct{}, error) {
	return struct{}{}, noUser(ch.Name, c.core.members.Change(ctx, ch.Name, func(a *members.Account) error {
		for _, f := range []struct{ to, from *string }{{&a.Read, ch.Read}, {&a.Post, ch.Post}, {&a.Moderate, ch.Moderate}, {&a.Email, ch.Email}} {
			if f.from != nil {
				*f.to = *f.from
			}
		}
		if ch.Admin != nil {
			a.Admin = *ch.Admin
		}
		if ch.MarkRead != nil {
			a.MarkRead = *ch.MarkRead
		}
		if ch.DayArticles != nil {
			a.ArticlesDay = *ch.DayArticles
		}
		if ch.DaySize != nil {
			a.OctetsDay = int64(*ch.DaySize)
		}
		return nil
	}))
}

func cmdUserNewsrc(c *call) (err error) {
	file := c.fs.String("import", "", "take over the marks and subscriptions of this `FILE` (- is standard input); groups it does not name keep theirs")
	export := c.fs.Bool("export", false, "write them to standard output")
	if err := c.parse(1, 1); err != nil {
		return err
	}
	if *export == (*file != "") {
		return usagef("user newsrc: say --export, or --import FILE")
	}
	var in io.Reader = strings.NewReader("")
	if *file != "" {
		f, err := c.open(*file)
		if err != nil {
			return fmt.Errorf("user newsrc: %w", err)
		}
		defer f.Close()
		in = f
	}
	n, err := c.node()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	how := "export"
	if *file != "" {
		how = "import"
	}
	body, err := n.stream(c.ctx, "user/newsrc", how+"=1&name="+url.QueryEscape(c.args[0]), in)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(c.out, body)
	return err
}

// newsrc reads or writes an account's .newsrc.
func (c *control) newsrc(w http.ResponseWriter, r *http.Request) {
	name, book := r.URL.Query().Get("name"), c.core.members
	if _, err := book.Get(r.Context(), name); err != nil {
		reply(w, nil, noUser(name, err))
		return
	}
	if r.URL.Query().Get("import") == "" {
		if err := book.ExportNewsrc(r.Context(), name, w); err != nil {
			panic(http.ErrAbortHandler) // the client sees that it was cut off
		}
		return
	}
	n, err := book.ImportNewsrc(r.Context(), name, r.Body)
	if err != nil {
		reply(w, nil, fmt.Errorf("read the .newsrc: %w; %d groups before it are taken over", err, n))
		return
	}
	fmt.Fprintf(w, "%d groups taken over\n", n)
}
