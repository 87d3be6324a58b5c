package webforum

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// GroupChange is a group's settings as the form has them.
type GroupChange struct {
	Name, Description, Moderator string
	Post                         string // open, signed, none
}

type groupsData struct {
	adminFrame
	Groups     []adminGroup
	Find       string
	Large      bool // there are more than a page of them
	Prev, Next string
	Form       GroupChange
	Adding     bool
}

const adminGroupsPage = 100

type adminGroup struct {
	GroupChange
	Href, Edit, Count string
	Moderated         bool
}

// adminGroups lists the groups; ?name= is the form of one.
func (f *Forum) adminGroups(v *visitor) (*page, error) {
	if err := v.adminOnly(); err != nil {
		return nil, err
	}
	d := &groupsData{Adding: true, Form: GroupChange{Post: "open"}}
	put := func(q url.Values) error {
		d.Form = GroupChange{Name: trimmed(q, "name"), Description: q.Get("description"), Moderator: trimmed(q, "moderator"), Post: q.Get("post")}
		d.Adding = q.Get("act") == "add"
		err := f.Admin.PutGroup(v.ctx, d.Adding, d.Form)
		if err == nil {
			f.groups.forget()
		}
		return err
	}
	remove := func(q url.Values) error {
		err := f.Admin.RemoveGroup(v.ctx, trimmed(q, "name"))
		if err == nil {
			f.groups.forget()
		}
		return err
	}
	if v.adminAct(d, "groups", map[string]func(url.Values) error{"add": put, "set": put, "remove": remove}) {
		return nil, nil
	}
	if name := v.r.URL.Query().Get("name"); name != "" && v.r.Method != http.MethodPost {
		if g, err := f.Spool.Group(v.ctx, article.Group(name)); err == nil {
			d.Form, d.Adding = changeOf(g), false
		} else if !errors.Is(err, spool.ErrNotFound) {
			return nil, err
		}
	}
	if err := v.listGroups(d); err != nil {
		return nil, err
	}
	return v.adminPage("groups", d), nil
}

// listGroups fills in a page of the groups whose names hold what is looked for.
func (v *visitor) listGroups(d *groupsData) error {
	d.Find = strings.ToLower(clip(v.r.URL.Query().Get("find"), 100))
	var found []article.Group // of very many, all that is known of them would keep the collector busy
	for g, err := range v.Spool.Groups(v.ctx) {
		if err != nil {
			return err
		}
		if strings.Contains(strings.ToLower(string(g.Name)), d.Find) {
			found = append(found, g.Name)
		}
	}
	lo, hi, prev, next := v.slice(len(found), adminGroupsPage)
	d.Prev, d.Next, d.Large = prev, next, d.Find != "" || len(found) > adminGroupsPage
	for _, name := range found[lo:hi] {
		g, err := v.Spool.Group(v.ctx, name)
		if errors.Is(err, spool.ErrNotFound) { // it went this moment
			continue
		} else if err != nil {
			return err
		}
		d.Groups = append(d.Groups, adminGroup{GroupChange: changeOf(g), Href: groupPath(g.Name), Edit: "/admin/groups?" + url.Values{"name": {string(g.Name)}}.Encode() + "#form",
			Count: v.tx.number(g.Count), Moderated: g.Status == spool.Moderated})
	}
	return nil
}

func changeOf(g spool.GroupInfo) GroupChange {
	c := GroupChange{Name: string(g.Name), Description: g.Description, Moderator: g.Moderator, Post: "open"}
	switch {
	case g.Status == spool.PostNone:
		c.Post = "none"
	case g.Require == "known":
		c.Post = "signed"
	}
	return c
}
