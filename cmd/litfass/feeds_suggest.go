package main

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/litfass/litfass/feeds/syndicate"
)

// suggestions is an OPML document of feeds to begin with. Nothing in it is polled
// until somebody adds it.
//
//go:embed suggest.opml
var suggestions string

func cmdFeedSuggest(c *call) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	subs, _, err := syndicate.ReadOPML(strings.NewReader(suggestions))
	if err != nil {
		return fmt.Errorf("read the list of suggestions: %w", err)
	}
	polled := []feedJSON{}
	if err := c.ask("feed/list", struct{}{}, &polled); err != nil {
		return err
	}
	known := map[string]bool{}
	for _, p := range polled {
		known[p.URL] = true
	}
	list := []feedJSON{}
	var rows [][]string
	for _, s := range subs {
		if known[s.URL] {
			continue
		}
		g := folderGroup(s.Folder)
		list = append(list, feedJSON{URL: s.URL, Group: g, Title: s.Title, State: "suggested", Files: "link"})
		rows = append(rows, []string{s.Title, g, s.URL})
	}
	if c.json {
		return c.printJSON(list)
	}
	c.printTable([]string{"TITLE", "GROUP", "FEED"}, rows)
	fmt.Fprintf(c.out, "\nNone of these is polled. To poll one: litfass group add GROUP; litfass feed add FEED GROUP\n")
	return nil
}
