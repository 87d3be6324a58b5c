package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/members"
	"github.com/litfass/litfass/smtpd/courier"
	"github.com/litfass/litfass/spool"
	"github.com/litfass/litfass/webforum"
	"github.com/litfass/litfass/webforum/ward"
)

// people is the courier's courier.People.
type people struct{ core *core }

// Author is whose hosted key signed e; of what no such key signed, whose mail address
// is in From.
func (p people) Author(ctx context.Context, e spool.Entry) (string, error) {
	if id := e.Proof.Identity; id != "" && e.Proof.State == article.ProofHolds && p.core.keys != nil {
		for _, name := range p.core.keys.Accounts() {
			if own, ok := p.core.keys.Account(name); ok && own.String() == id {
				return name, nil
			}
		}
	}
	_, address := content.Author(e.From)
	if address == "" {
		return "", nil
	}
	a, err := p.core.members.ByEmail(ctx, address)
	if errors.Is(err, members.ErrNotFound) {
		return "", nil
	}
	return a.Name, err
}

func (p people) Watchers(ctx context.Context, ids ...string) ([]string, error) {
	return p.core.members.Watchers(ctx, ids...)
}

func (p people) Wants(ctx context.Context, account string, g article.Group, e spool.Entry) bool {
	if p.core.agent.May(ctx, agent.Origin{Door: "web", Account: account}, agent.Read, g) != nil {
		return false
	}
	muted, err := p.core.members.Mutes(ctx, account)
	return err == nil && !slices.ContainsFunc(muted, func(m members.Mute) bool { return m.Identity == e.Proof.Identity })
}

func (p people) Moderates(ctx context.Context, account string, groups []article.Group) bool {
	a, err := p.core.members.Get(ctx, account)
	if err != nil || a.Banned(p.core.now()) {
		return false
	}
	return a.Admin || a.Moderate != "" && slices.ContainsFunc(groups, func(g article.Group) bool { return members.Match(a.Moderate, string(g)) })
}

// tellOfReports has the courier tell moderators what readers report.
func (k *core) tellOfReports(c *courier.Courier) {
	k.ward.Reported = func(id article.ID, n ward.Note) {
		if err := c.Reported(context.Background(), id, n.By, n.Reason); err != nil && !errors.Is(err, spool.ErrNotFound) {
			k.log.Error("moderators were not told of a report", "err", err)
		}
	}
}

// noticesJSON is what an account gets by mail.
type noticesJSON struct {
	Account string   `json:"account"`
	Kinds   []string `json:"kinds"`
	Address string   `json:"address,omitempty"`
	State   string   `json:"state"` // ok, bouncing, paused, unconfirmed, none
	Warning string   `json:"warning,omitempty"`
	Set     bool     `json:"set,omitempty"` // a change is asked for
}

func cmdMailNotify(c *call) error {
	if err := c.parse(1, 2); err != nil {
		return err
	}
	n := noticesJSON{Account: c.args[0]}
	if len(c.args) == 2 {
		n.Set = true
		switch c.args[1] {
		case "none":
		case "all":
			n.Kinds = courier.NoticeKinds()
		default:
			n.Kinds = strings.Split(c.args[1], ",")
		}
	}
	if err := c.ask("mail/notify", n, &n); err != nil {
		return err
	}
	if n.Warning != "" {
		fmt.Fprintln(c.err, "litfass:", n.Warning)
	}
	if c.json {
		return c.printJSON(n)
	}
	if len(n.Kinds) == 0 {
		fmt.Fprintf(c.out, "%s gets no notices by mail\n", n.Account)
		return nil
	}
	fmt.Fprintf(c.out, "%s gets notices of %s to %s (%s)\n", n.Account, strings.Join(n.Kinds, ", "), n.Address, n.State)
	return nil
}

func (c *control) mailNotify(ctx context.Context, in noticesJSON) (noticesJSON, error) {
	m, err := c.core.mails()
	if err != nil {
		return in, err
	}
	a, err := c.core.members.Get(ctx, in.Account)
	if err != nil {
		return in, noUser(in.Account, err)
	}
	if in.Set {
		if a.Email == "" && len(in.Kinds) > 0 {
			return in, fmt.Errorf("the account %[1]s has no mail address: \"litfass user set %[1]s --email ADDRESS\"", a.Name)
		}
		if err := m.SetNotices(ctx, a.Name, a.Email, in.Kinds, true); err != nil {
			return in, err
		}
	}
	n, err := m.NoticesOf(a.Name)
	out := noticesJSON{Account: a.Name, Kinds: n.Kinds, Address: n.Address, State: or(n.State, "none")}
	if len(n.Kinds) > 0 && c.core.cfg.SMTP.Smarthost == "" {
		out.Warning = "mail leaves to nobody yet: set smtp.smarthost in the configuration"
	}
	return out, err
}

// forumNotices is the forum's page of notices.
type forumNotices struct{ core *core }

func (n forumNotices) Notices(ctx context.Context, account string) (webforum.Notice, error) {
	c, err := n.core.mails()
	if err != nil {
		return webforum.Notice{}, err
	}
	m, err := n.core.members.Get(ctx, account)
	if err != nil {
		return webforum.Notice{}, err
	}
	have, err := c.NoticesOf(account)
	out := webforum.Notice{Off: n.core.cfg.SMTP.Smarthost == "", Address: m.Email, State: have.State}
	for _, k := range courier.NoticeKinds() {
		out.Kinds = append(out.Kinds, webforum.NoticeKind{Name: k, On: slices.Contains(have.Kinds, k)})
	}
	return out, err
}

func (n forumNotices) SetNotices(ctx context.Context, account string, kinds []string) error {
	c, err := n.core.mails()
	if err != nil {
		return err
	}
	m, err := n.core.members.Get(ctx, account)
	if err != nil {
		return err
	}
	return c.SetNotices(ctx, account, m.Email, kinds, false)
}
