package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// firstGroups are made where there is no group at all. By name, the first takes
// anonymous posts (docs/contract.md). local.* is not sent to peers by default,
// mesh.* is what neighbours share.
var firstGroups = [...][2]string{
	{"local.general", "Anything, on this node only"},
	{"local.test", "Try out your newsreader here; stays on this node"},
	{"mesh.announce", "News about the mesh: outages, meetings, new boxes"},
	{"mesh.help", "Questions and answers about the mesh and this software"},
	{"mesh.market", "Give away, swap, lend, look for"},
	{"mesh.talk", "Everything else, with the whole mesh"},
	{"mesh.test", "Test articles that may travel"},
}

const welcome = `Hello,

this is a news server. What is posted here stays on this box; what is posted
in the mesh groups also goes to the neighbours that this box has, and to theirs.

Point a newsreader at the address that the server printed when it started
(slrn, tin, Thunderbird, ...), or use its command:

    litfass post FILE             post an article
    litfass group add NAME        make a group
    litfass peer add NAME ADDRESS exchange articles with a neighbour
    litfass status                see how the node is doing

This article can be cancelled like any other.
`

// firstRun makes groups and a welcome article on a spool that has no group.
func (k *core) firstRun(ctx context.Context) error {
	for g, err := range k.spool.Groups(ctx) {
		if err != nil {
			return fmt.Errorf("list groups: %w", err)
		}
		if !strings.Contains(string(g.Name), ".admin.") {
			return nil
		}
	}
	var infos []spool.GroupInfo
	for _, g := range firstGroups {
		infos = append(infos, spool.GroupInfo{Name: article.Group(g[0]), Status: spool.PostOpen, Description: g[1], Created: k.now(), Creator: "first start"})
	}
	if err := k.spool.PutGroups(ctx, infos...); err != nil {
		return fmt.Errorf("make the first groups: %w", err)
	}
	if k.keys.Ledger.Timeless() { // it could not be signed, and would be dated wrong
		return nil
	}
	d := &article.Draft{
		Header: [][2]string{
			{"From", "Your node <postmaster@" + k.host + ">"},
			{"Newsgroups", firstGroups[0][0]},
			{"Subject", "Welcome to " + k.host},
		},
		Body: bytes.NewReader([]byte(strings.ReplaceAll(welcome, "\n", "\r\n"))),
	}
	if _, err := k.agent.Inject(ctx, d, agent.Origin{Door: "control"}); err != nil {
		return fmt.Errorf("post the welcome article: %w", err)
	}
	return nil
}
