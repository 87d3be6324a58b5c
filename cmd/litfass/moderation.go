package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/members"
	"github.com/litfass/litfass/pki"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/webforum/ward"
)

// decisionJSON is a moderator's decision as commands send and show it.
type decisionJSON struct {
	Act    string `json:"act,omitempty"`
	What   string `json:"what"`
	Reason string `json:"reason,omitempty"`
	By     string `json:"by,omitempty"`
	At     string `json:"at,omitempty"`
}

// operatorName is who decides by command, in the log.
const operatorName = "operator"

func moderateCommands() []command {
	one := func(name, arg, short, act, done string) command {
		return command{name: name, args: arg, short: short, run: func(c *call) error { return cmdDecide(c, act, done) }}
	}
	return []command{
		one("hide", "MESSAGE-ID --reason R", "hide an article from all who read here", ward.Hide, "hidden from browsers, newsreaders, feeds, searches and mail"),
		one("show", "MESSAGE-ID [--reason R]", "show it again", ward.Show, "shown again"),
		one("ban-key", "IDENTITY --reason R", "take no more articles that it signed, and hide those that are here", ward.BanKey, "barred"),
		one("unban-key", "IDENTITY [--reason R]", "lift that", ward.UnbanKey, "no longer barred"),
		one("ban-account", "NAME --reason R", "bar an account of this node", ward.BanAccount, "barred"),
		one("unban-account", "NAME [--reason R]", "lift that", ward.UnbanAccount, "no longer barred"),
		{name: "reports", short: "articles that readers reported", run: func(c *call) error { return cmdDecisions(c, "moderate/reports") }},
		{name: "dismiss", args: "MESSAGE-ID", short: "drop the reports of an article", run: func(c *call) error { return cmdDecide(c, "dismiss", "has no reports any more") }},
		{name: "log", short: "what was decided; everybody can read it at /log", run: func(c *call) error { return cmdDecisions(c, "moderate/log") }},
	}
}

func cmdDecide(c *call, act, done string) error {
	d := decisionJSON{Act: act}
	if act != "dismiss" {
		c.fs.StringVar(&d.Reason, "reason", "", "`WHY`; everybody can read it in the log")
	}
	if err := c.parse(1, 1); err != nil {
		return err
	}
	d.What = c.args[0]
	if err := c.ask("moderate/do", d, nil); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s: %s\n", d.What, done)
	return nil
}

func cmdDecisions(c *call, name string) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	list := []decisionJSON{}
	if err := c.ask(name, struct{}{}, &list); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(list)
	}
	var rows [][]string
	for _, d := range list {
		rows = append(rows, []string{d.At, d.Act, d.What, d.By, d.Reason})
	}
	c.printTable([]string{"WHEN", "ACT", "WHAT", "BY", "REASON"}, rows)
	return nil
}

func (c *control) moderateActs() {
	w := c.core.ward
	act(c, "moderate/do", func(ctx context.Context, d decisionJSON) (struct{}, error) {
		return struct{}{}, c.core.decide(ctx, d.Act, d.What, d.Reason, operatorName)
	})
	act(c, "moderate/log", func(context.Context, struct{}) ([]decisionJSON, error) {
		list, _, err := w.Log("", 500)
		out := []decisionJSON{}
		for _, e := range list {
			out = append(out, showDecision(e.Act, e.What, e.Note))
		}
		return out, err
	})
	act(c, "moderate/reports", func(context.Context, struct{}) ([]decisionJSON, error) {
		list, err := w.Reports()
		out := []decisionJSON{}
		for _, r := range list {
			for _, n := range r.Notes {
				out = append(out, showDecision("report", string(r.ID), n))
			}
		}
		return out, err
	})
}

func showDecision(act, what string, n ward.Note) decisionJSON {
	return decisionJSON{Act: act, What: what, Reason: n.Reason, By: n.By, At: n.At.UTC().Format(time.RFC3339)}
}

// decide does what a moderator decided; by is whom the log names.
func (k *core) decide(ctx context.Context, act, what, reason, by string) error {
	switch act {
	case ward.Hide, ward.Show, "dismiss":
		id, err := article.ParseID(what)
		if err != nil {
			return err
		}
		if act == "dismiss" {
			return k.ward.Dismiss(id)
		}
		if _, err := k.spool.ByID(ctx, id); act == ward.Hide && errors.Is(err, spool.ErrNotFound) {
			return fmt.Errorf("the article %s is not here", id)
		}
	case ward.BanKey, ward.UnbanKey:
		id, err := pki.ParseID(what)
		if err != nil {
			return fmt.Errorf("%w; an identity has 52 characters, \"litfass key show\" and the page of a person name it", err)
		}
		if act == ward.BanKey && id == k.keys.NodeID() {
			return errors.New("that is this node itself")
		}
	case ward.BanAccount, ward.UnbanAccount:
		return k.banAccount(ctx, act, what, reason, by)
	default:
		return fmt.Errorf("nobody can decide %q", act)
	}
	return k.ward.Do(act, what, reason, by)
}

// banAccount bars an account without end, or lifts that.
func (k *core) banAccount(ctx context.Context, act, name, reason, by string) error {
	until, why := members.Forever, reason
	if act == ward.UnbanAccount {
		until, why = time.Time{}, ""
	} else if reason == "" {
		return ward.ErrReason
	}
	if err := noUser(name, k.members.Ban(ctx, name, until, why)); err != nil {
		return err
	}
	return k.ward.Do(act, name, reason, by)
}

// barredAccount says whether the key of an account is barred.
func (k *core) barredAccount(account string) bool {
	if k.keys == nil {
		return false
	}
	id, ok := k.keys.Account(account)
	if ok {
		_, ok = k.ward.Banned(id.String())
	}
	return ok
}

// barredKeys is the filter of moderate ban-key. It looks at whose signature an
// article claims to have: a false claim harms but the article that makes it.
type barredKeys struct{ core *core }

// Check is an agent.Filter.
func (f barredKeys) Check(_ context.Context, a *article.Article, o agent.Origin) error {
	if len(f.core.ward.Keys()) == 0 {
		return nil
	}
	ids := []string{}
	for name, value := range a.Fields() {
		if name != "Article-Signature" {
			continue
		}
		if field, err := pki.ParseField([]byte(value)); err == nil {
			ids = append(ids, field.Identity.String())
		}
	}
	if o.Account != "" && f.core.keys != nil {
		if id, ok := f.core.keys.Account(o.Account); ok {
			ids = append(ids, id.String())
		}
	}
	for _, id := range ids {
		if n, ok := f.core.ward.Banned(id); ok {
			return &agent.Refusal{Reason: agent.Unwanted, Code: "banned-key", Text: "articles of this key are not taken here: " + n.Reason}
		}
	}
	return nil
}
