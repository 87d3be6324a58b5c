package main

import (
	"context"
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/internal/wildmat"
	"github.com/litfass/litfass/spool"
)

// groupJSON is a group as commands send and show it. In changes, nil is "as it is".
type groupJSON struct {
	Name        string   `json:"name"`
	Status      string   `json:"status,omitempty"`
	Description *string  `json:"description,omitempty"`
	Octets      []byte   `json:"description_base64,omitempty"` // shown where the description is no UTF-8, as it is kept
	Moderator   *string  `json:"moderator,omitempty"`
	Post        string   `json:"post,omitempty"`
	Approved    *string  `json:"approved,omitempty"`
	Keep        *float64 `json:"keep_seconds,omitempty"`
	Low         uint64   `json:"low"`
	High        uint64   `json:"high"`
	Count       uint64   `json:"count"`
	Created     string   `json:"created,omitempty"`
	LeftOut     string   `json:"left_out,omitempty"` // id of the checkgroups that does not name it
}

func groupCommands() []command {
	flags := "[--description T] [--moderated ADDR] [--post open|signed|none] [--approved signed|field] [--keep DUR]"
	return []command{
		{name: "add", args: "NAME " + flags, short: "make a group", run: cmdGroupAdd},
		{name: "list", args: "[--left-out] [WILDMAT]", short: "list groups", run: cmdGroupList,
			long: "--left-out: those only that the newest list of their hierarchy (checkgroups) does not name.\nIn JSON a description that is not UTF-8 stands in description_base64 as it is kept; description is what it may mean."},
		{name: "set", args: "NAME " + flags, short: "change a group's settings", run: cmdGroupSet,
			long: "--moderated \"\" makes it unmoderated. --keep 0 is the spool's default."},
		{name: "load", args: "[--only WILDMAT] FILE...", short: "make groups of lists: active and newsgroups files", run: cmdGroupLoad, long: groupLoadHelp},
		{name: "rm", args: "NAME", short: "remove a group and its articles", run: cmdGroupRm},
	}
}

// groupFlags reads NAME and the settings that were given.
func (c *call) groupFlags() (g groupJSON, err error) {
	text := func(p **string) func(string) error { return func(s string) error { *p = &s; return nil } }
	c.fs.Func("description", "one line: what it is about", text(&g.Description))
	c.fs.Func("moderated", "submissions wait here and this `ADDR`ess is told", text(&g.Moderator))
	c.fs.Func("post", "`WHO` may post: open (as pki.require says), signed, none (only peers bring articles)", func(s string) error {
		if s != "open" && s != "signed" && s != "none" {
			return errors.New("must be open, signed or none")
		}
		g.Post = s
		return nil
	})
	c.fs.Func("approved", "Approved counts `HOW`: signed, or field: as it stands (Usenet's custom)", func(s string) error {
		if s != "field" && s != "signed" {
			return errors.New("must be signed or field")
		}
		if s == "signed" {
			s = ""
		}
		g.Approved = &s
		return nil
	})
	c.fs.Func("keep", "expire after `DUR`; 0: the spool's default", func(s string) error {
		d, err := parseDuration(s)
		sec := d.Seconds()
		g.Keep = &sec
		return err
	})
	if err := c.parse(1, 1); err != nil {
		return g, err
	}
	g.Name = c.args[0]
	return g, nil
}

func cmdGroupAdd(c *call) error {
	g, err := c.groupFlags()
	if err != nil {
		return err
	}
	if err := c.ask("group/add", g, nil); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "group %s made\n", g.Name)
	return nil
}

func cmdGroupSet(c *call) error {
	g, err := c.groupFlags()
	if err != nil {
		return err
	}
	if err := c.ask("group/set", g, nil); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "group %s changed\n", g.Name)
	return nil
}

func cmdGroupRm(c *call) error {
	if err := c.parse(1, 1); err != nil {
		return err
	}
	if err := c.ask("group/rm", groupJSON{Name: c.args[0]}, nil); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "group %s removed; made again, it numbers on above its old articles\n", c.args[0])
	return nil
}

func cmdGroupList(c *call) error {
	left := c.fs.Bool("left-out", false, "those only that the newest checkgroups does not name")
	if err := c.parse(0, 1); err != nil {
		return err
	}
	want := groupJSON{Name: "*"}
	if *left {
		want.LeftOut = "*"
	}
	if len(c.args) == 1 {
		want.Name = c.args[0]
	}
	list := []groupJSON{}
	if err := c.ask("group/list", want, &list); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(list)
	}
	var rows [][]string
	for _, g := range list {
		rows = append(rows, []string{g.Name, g.Status, fmt.Sprint(g.Count), fmt.Sprintf("%d-%d", g.Low, g.High), *g.Description})
	}
	c.printFitted([]string{"GROUP", "FLAG", "ARTICLES", "NUMBERS", "DESCRIPTION"}, rows)
	return nil
}

func (c *control) groupActs() {
	act(c, "group/add", c.groupAdd)
	act(c, "group/set", c.groupSet)
	act(c, "group/rm", c.groupRm)
	act(c, "group/list", c.groupList)
	c.mux.HandleFunc("POST /v1/group/load", c.groupLoad)
}

func (c *control) groupAdd(ctx context.Context, in groupJSON) (groupJSON, error) {
	name, err := groupName(in.Name)
	if err != nil {
		return in, err
	}
	if name.Reserved() {
		return in, fmt.Errorf("the name %s is reserved (RFC 5536 §3.1.4); choose another", name)
	}
	if _, err := c.core.spool.Group(ctx, name); err == nil {
		return in, fmt.Errorf("group %s is here already; change it with \"litfass group set\"", name)
	} else if !errors.Is(err, spool.ErrNotFound) {
		return in, err
	}
	info := spool.GroupInfo{Name: name, Status: spool.PostOpen, Created: c.core.now(), Creator: "operator"}
	if err := in.change(&info); err != nil {
		return in, err
	}
	return in, c.core.putGroups(ctx, info)
}

// groupName is article.ParseGroup in words for who named a group outside an article.
func groupName(s string) (article.Group, error) {
	name, err := article.ParseGroup(s)
	if bad := (*article.SyntaxError)(nil); errors.As(err, &bad) {
		return "", fmt.Errorf("this can be no newsgroup: %s (RFC 5536 §3.1.4)", bad.Why)
	}
	return name, err
}

// putGroups makes or changes groups; articles that were refused for want of them
// are welcome again.
func (k *core) putGroups(ctx context.Context, infos ...spool.GroupInfo) error {
	if err := k.spool.PutGroups(ctx, infos...); err != nil {
		return err
	}
	k.agent.GroupsChanged()
	return nil
}

func (c *control) groupSet(ctx context.Context, in groupJSON) (groupJSON, error) {
	info, err := c.core.spool.Group(ctx, article.Group(in.Name))
	if err != nil {
		return in, noGroup(in.Name, err)
	}
	if err := in.change(&info); err != nil {
		return in, err
	}
	return in, c.core.putGroups(ctx, info)
}

func noGroup(name string, err error) error {
	if errors.Is(err, spool.ErrNotFound) {
		return fmt.Errorf("there is no group %s; \"litfass group list\" shows those there are", name)
	}
	return fmt.Errorf("look up group %s: %w", name, err)
}

func (c *control) groupRm(ctx context.Context, in groupJSON) (groupJSON, error) {
	err := c.core.spool.DropGroup(ctx, article.Group(in.Name))
	if err != nil {
		return in, noGroup(in.Name, err)
	}
	c.core.torrents.articlesGone()
	return in, nil
}

// change writes the settings of g into info.
func (g groupJSON) change(info *spool.GroupInfo) error {
	if m := g.Moderator; m != nil && *m != "" {
		if a, err := mail.ParseAddress(*m); err != nil || a.Address != *m {
			return fmt.Errorf("%q is no mail address: the moderator is told there what waits", *m)
		}
	}
	if g.Description != nil {
		info.Description = strings.Map(func(r rune) rune {
			if r < ' ' {
				return ' '
			}
			return r
		}, *g.Description)
	}
	switch g.Post {
	case "open":
		info.Require = ""
	case "signed":
		info.Require = "known"
	}
	if g.Approved != nil {
		info.Approved = *g.Approved
	}
	if g.Keep != nil {
		info.Keep = time.Duration(*g.Keep * float64(time.Second))
	}
	if g.Moderator != nil {
		info.Moderator = *g.Moderator
	}
	switch { // the flag follows from both settings
	case g.Post == "none":
		info.Status = spool.PostNone
	case info.Moderator != "" && (g.Moderator != nil || g.Post != ""):
		info.Status = spool.Moderated
	case g.Post != "" || g.Moderator != nil && info.Status == spool.Moderated:
		info.Status = spool.PostOpen
	}
	return nil
}

func (c *control) groupList(ctx context.Context, in groupJSON) ([]groupJSON, error) {
	match, err := wildmat.Parse(in.Name)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", in.Name, err)
	}
	lists, err := c.core.agent.LeftOut(ctx)
	if err != nil {
		return nil, err
	}
	by := make(map[article.Group]article.ID, len(lists))
	for _, l := range lists {
		by[l.Group] = l.By
	}
	out := []groupJSON{}
	for g, err := range c.core.spool.Groups(ctx) {
		if err != nil {
			return nil, err
		}
		if match.Match(string(g.Name)) && (in.LeftOut == "" || by[g.Name] != "") {
			shown := showGroup(g)
			shown.LeftOut = string(by[g.Name])
			out = append(out, shown)
		}
	}
	return out, nil
}

func showGroup(g spool.GroupInfo) groupJSON {
	keep := g.Keep.Seconds()
	post := "open"
	switch {
	case g.Status == spool.PostNone:
		post = "none"
	case g.Require == "known":
		post = "signed"
	}
	var octets []byte
	if !utf8.ValidString(g.Description) {
		octets = []byte(g.Description)
		g.Description = content.Header(g.Description)
	}
	return groupJSON{
		Name: string(g.Name), Status: string(rune(g.Status)), Description: &g.Description, Octets: octets, Moderator: &g.Moderator, Post: post,
		Approved: &g.Approved, Keep: &keep, Low: g.Low, High: g.High, Count: g.Count, Created: g.Created.UTC().Format(time.RFC3339),
	}
}
