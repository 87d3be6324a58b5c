package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/smtpd/courier"
)

func mailCommands() []command {
	return []command{
		{name: "list", args: "[GROUP]", short: "who gets a group, or any, by mail", run: cmdMailList},
		{name: "add", args: "[--digest | --replies] GROUP ADDRESS", short: "send a group to an address, which is not asked", run: cmdMailAdd},
		{name: "rm", args: "GROUP ADDRESS", short: "send it no longer", run: cmdMailRm},
		{name: "notify", args: "ACCOUNT [KINDS]", short: "what an account hears of by mail", run: cmdMailNotify,
			long: "KINDS: replies (answers to what it wrote), watched (threads that it watches), reports (what readers\nreport in groups that it moderates), several with commas; all; none. Without KINDS: what it gets now.\nIt goes to the address of the account, which is not asked. Each may change it itself on the page /mail."},
		{name: "dkim", args: "[FILE]", short: "make the keys that sign mail, and say what the DNS must hold", run: cmdMailDKIM,
			long: "FILE (default: smtp.dkim) gets an RSA and an Ed25519 key, if it is not there; what is there stays."},
		{name: "queue", short: "what waits to be sent, and why", run: cmdMailQueue},
	}
}

// subscriberJSON is one address that gets a group by mail.
type subscriberJSON struct {
	Group   string `json:"group"`
	Address string `json:"address"`
	Mode    string `json:"mode"`  // all, digest, replies
	State   string `json:"state"` // ok, bouncing, paused
	Bounces int    `json:"bounces"`
	Since   string `json:"since"`
	Warning string `json:"warning,omitempty"` // add only
}

// queuedJSON is one row of the mail queue.
type queuedJSON struct {
	Article uint64   `json:"article,omitempty"` // its place in the log; 0: a mail of the node's own
	Group   string   `json:"group,omitempty"`
	To      []string `json:"to"`
	Since   string   `json:"since"`
	Next    string   `json:"next"`
	Tries   int      `json:"tries"`
	Why     string   `json:"why,omitempty"`
}

func cmdMailList(c *call) error {
	if err := c.parse(0, 1); err != nil {
		return err
	}
	want := subscriberJSON{}
	if len(c.args) == 1 {
		want.Group = c.args[0]
	}
	list := []subscriberJSON{}
	if err := c.ask("mail/list", want, &list); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(list)
	}
	var rows [][]string
	for _, s := range list {
		rows = append(rows, []string{s.Group, s.Address, s.Mode, s.State, fmt.Sprint(s.Bounces), s.Since})
	}
	c.printTable([]string{"GROUP", "ADDRESS", "MODE", "STATE", "BOUNCES", "SINCE"}, rows)
	return nil
}

func cmdMailAdd(c *call) error {
	digest := c.fs.Bool("digest", false, "one mail a day instead of one an article")
	replies := c.fs.Bool("replies", false, "only answers to what was written under ADDRESS")
	if err := c.parse(2, 2); err != nil {
		return err
	}
	if *digest && *replies {
		return usagef("mail add: --digest or --replies, not both")
	}
	s := subscriberJSON{Group: c.args[0], Address: c.args[1], Mode: string(courier.All)}
	if *digest {
		s.Mode = string(courier.Digest)
	}
	if *replies {
		s.Mode = string(courier.Replies)
	}
	if err := c.ask("mail/add", s, &s); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s gets %s by mail\n", s.Address, s.Group)
	if s.Warning != "" {
		fmt.Fprintln(c.err, "litfass:", s.Warning)
	}
	return nil
}

func cmdMailRm(c *call) error {
	if err := c.parse(2, 2); err != nil {
		return err
	}
	if err := c.ask("mail/rm", subscriberJSON{Group: c.args[0], Address: c.args[1]}, nil); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s gets %s no longer\n", c.args[1], c.args[0])
	return nil
}

func cmdMailQueue(c *call) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	list := []queuedJSON{}
	if err := c.ask("mail/queue", struct{}{}, &list); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(list)
	}
	var rows [][]string
	for _, q := range list {
		to := q.To[0]
		if len(q.To) > 1 {
			to += fmt.Sprintf(" and %d more", len(q.To)-1)
		}
		rows = append(rows, []string{or(q.Group, "(own mail)"), to, q.Since, fmt.Sprint(q.Tries), q.Next, q.Why})
	}
	c.printTable([]string{"GROUP", "TO", "SINCE", "TRIES", "NEXT TRY", "LAST ANSWER"}, rows)
	return nil
}

func (c *control) mailActs() {
	act(c, "mail/list", c.mailList)
	act(c, "mail/notify", c.mailNotify)
	act(c, "mail/add", c.mailAdd)
	act(c, "mail/rm", func(_ context.Context, in subscriberJSON) (subscriberJSON, error) {
		m, err := c.core.mails()
		if err != nil {
			return in, err
		}
		err = m.Drop(article.Group(in.Group), in.Address)
		if errors.Is(err, courier.ErrUnknown) {
			err = fmt.Errorf("%s does not get %s by mail; \"litfass mail list\" shows who does", in.Address, in.Group)
		}
		return in, err
	})
	act(c, "mail/queue", func(context.Context, struct{}) ([]queuedJSON, error) { return c.mailQueue() })
}

func (c *control) mailList(ctx context.Context, in subscriberJSON) ([]subscriberJSON, error) {
	out := []subscriberJSON{}
	m, err := c.core.mails()
	if err != nil {
		return out, err
	}
	if in.Group != "" {
		if _, err := c.core.spool.Group(ctx, article.Group(in.Group)); err != nil {
			return out, err
		}
	}
	all, err := m.List(article.Group(in.Group))
	for _, s := range all {
		if s.Account != "" { // notices
			continue
		}
		state := "ok"
		switch {
		case s.Paused:
			state = "paused"
		case s.Bounces > 0:
			state = "bouncing"
		}
		out = append(out, subscriberJSON{Group: string(s.Group), Address: s.Address, Mode: string(s.Mode), State: state, Bounces: s.Bounces, Since: stamp(s.Since)})
	}
	return out, err
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (c *control) mailAdd(ctx context.Context, in subscriberJSON) (subscriberJSON, error) {
	m, err := c.core.mails()
	if err != nil {
		return in, err
	}
	g, err := c.core.spool.Group(ctx, article.Group(in.Group))
	if err != nil {
		return in, fmt.Errorf("%w; make it with \"litfass group add %s\"", err, in.Group)
	}
	in.Address = strings.ToLower(in.Address)
	if c.core.cfg.SMTP.Smarthost == "" {
		in.Warning = "mail leaves to nobody yet: set smtp.smarthost in the configuration"
	}
	return in, m.Add(ctx, g.Name, in.Address, courier.Mode(in.Mode))
}

func (c *control) mailQueue() ([]queuedJSON, error) {
	out := []queuedJSON{}
	m, err := c.core.mails()
	if err != nil {
		return out, err
	}
	rows, err := m.Queue()
	for _, r := range rows {
		out = append(out, queuedJSON{Article: uint64(r.Seq), Group: string(r.Group), To: r.To, Since: stamp(r.Since), Next: stamp(r.Next), Tries: r.Tries, Why: r.Why})
	}
	return out, err
}
