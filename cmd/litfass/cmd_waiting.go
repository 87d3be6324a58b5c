package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
)

// heldJSON is an article in the waiting room.
type heldJSON struct {
	Key     string   `json:"key"`
	ID      string   `json:"id"`
	Reason  string   `json:"reason"`
	Groups  []string `json:"groups"`
	From    string   `json:"from"`
	Subject string   `json:"subject"`
	Since   string   `json:"since"`
	Until   string   `json:"until"`
	Account string   `json:"account,omitempty"`
	Text    string   `json:"text,omitempty"` // show only
}

func waitingCommands() []command {
	return []command{
		{name: "list", short: "list what waits for a decision", run: cmdWaitingList},
		{name: "show", args: "KEY", short: "show one article that waits", run: cmdWaitingShow},
		{name: "approve", args: "KEY...", short: "let submissions in", run: func(c *call) error { return c.decide("waiting/approve", "approved") }},
		{name: "reject", args: "KEY...", short: "drop what waits", run: func(c *call) error { return c.decide("waiting/reject", "rejected") }},
	}
}

func cmdWaitingList(c *call) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	list := []heldJSON{}
	if err := c.ask("waiting/list", struct{}{}, &list); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(list)
	}
	var rows [][]string
	for _, h := range list {
		rows = append(rows, []string{h.Key, h.Reason, strings.Join(h.Groups, ","), h.From, h.Subject, h.Since})
	}
	c.printTable([]string{"KEY", "WAITS FOR", "GROUPS", "FROM", "SUBJECT", "SINCE"}, rows)
	return nil
}

func cmdWaitingShow(c *call) error {
	if err := c.parse(1, 1); err != nil {
		return err
	}
	var h heldJSON
	if err := c.ask("waiting/show", heldJSON{Key: c.args[0]}, &h); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(h)
	}
	fmt.Fprint(c.out, h.Text)
	return nil
}

func (c *call) decide(name, done string) error {
	if err := c.parse(1, -1); err != nil {
		return err
	}
	for _, key := range c.args {
		var h heldJSON
		if err := c.ask(name, heldJSON{Key: key}, &h); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		fmt.Fprintf(c.out, "%s %s\n", key, done)
	}
	return nil
}

func (c *control) waitingActs() {
	k := c.core
	operator := agent.Origin{Door: "control"}
	act(c, "waiting/list", func(ctx context.Context, _ struct{}) ([]heldJSON, error) {
		held, err := k.agent.Waiting(ctx)
		out := []heldJSON{}
		for _, h := range held {
			out = append(out, showHeld(h))
		}
		return out, err
	})
	act(c, "waiting/show", func(ctx context.Context, in heldJSON) (heldJSON, error) {
		h, a, err := k.agent.Held(ctx, in.Key)
		if err != nil {
			return in, plain(err)
		}
		out := showHeld(h)
		out.Text = strings.ReplaceAll(string(a.Octets()), "\r\n", "\n")
		return out, nil
	})
	act(c, "waiting/approve", func(ctx context.Context, in heldJSON) (heldJSON, error) {
		res, err := k.agent.Approve(ctx, in.Key, operator, "")
		return heldJSON{Key: in.Key, ID: string(res.ID)}, plain(err)
	})
	act(c, "waiting/reject", func(ctx context.Context, in heldJSON) (heldJSON, error) {
		h, _, err := k.agent.Reject(ctx, in.Key, operator, "")
		return showHeld(h), plain(err)
	})
	act(c, "withdraw", func(ctx context.Context, in heldJSON) (heldJSON, error) {
		return in, plain(k.agent.Withdraw(ctx, article.ID(in.ID), operator))
	})
}

func showHeld(h agent.Held) heldJSON {
	out := heldJSON{
		Key: h.Key, ID: string(h.ID), Reason: h.Reason, From: h.From, Subject: h.Subject, Account: h.Account,
		Since: h.First.UTC().Format(time.RFC3339), Until: h.Until.UTC().Format(time.RFC3339),
	}
	for _, g := range h.Groups {
		out.Groups = append(out.Groups, string(g))
	}
	return out
}

// plain makes a refusal the text it has for people.
func plain(err error) error {
	var r *agent.Refusal
	if errors.As(err, &r) {
		return errors.New(r.Text)
	}
	return err
}

func cmdWithdraw(c *call) error {
	if err := c.parse(1, 1); err != nil {
		return err
	}
	if err := c.ask("withdraw", heldJSON{ID: c.args[0]}, nil); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s is withdrawn here; neighbours keep their copies\n", c.args[0])
	return nil
}
