package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/feeds/syndicate"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/spool"
)

// feedsSection says which addresses polls may reach beyond the public net.
type feedsSection struct {
	Allow []string `toml:"allow" doc:"networks of the mesh whose feeds may be polled, beside the public net: 10.0.0.0/8, fc00::/7, 100.64.0.0/10 are usual; loopback only if it stands here" kind:"prefix"`
}

// poller opens the feeds that are polled, once.
func (k *core) poller() (*syndicate.Poller, error) {
	k.lazy.Lock()
	defer k.lazy.Unlock()
	if k.feeds != nil {
		return k.feeds, nil
	}
	p, err := syndicate.NewPoller(syndicate.Config{
		Fetcher: syndicate.Fetcher{Agent: "litfass/" + versionString() + " (+" + k.cfg.HTTP.URL + ")",
			Guard: syndicate.Guard{Allow: prefixes(k.cfg.Feeds.Allow), Deny: k.ownDoors()}},
		TempDir: k.dir.path, MaxFile: k.maxEnclosure(),
		State: k.state, Agent: k.agent, Spool: k.spool, Now: k.now, Log: k.log,
	})
	if err != nil {
		return nil, err
	}
	k.feeds, k.pics = p, p.Pictures()
	return p, nil
}

// pictures shows pictures of feeds' entries by way of this node.
func (k *core) pictures() (*syndicate.Pictures, error) {
	_, err := k.poller()
	return k.pics, err
}

// maxEnclosure is how large a file may be that a feed names: base64 makes it a third
// larger, and as an attachment it is part of a post.
func (k *core) maxEnclosure() int64 {
	room := int64(k.cfg.NNTP.MaxPost)
	if room == 0 {
		room = 1 << 40
	}
	room = room / 10 * 7
	if t := int64(k.cfg.Torrent.MaxSize); t > 0 {
		room = min(room, t)
	}
	return room
}

// ownDoors are the addresses that no feed leads to.
func (k *core) ownDoors() (out []netip.AddrPort) {
	c := k.cfg
	for _, list := range [][]string{c.HTTP.Listen, c.HTTP.TLS.Listen, c.NNTP.Listen, c.NNTP.TLS.Listen, c.NNTP.TLS.ACME.Listen, c.SMTP.Listen, c.SMTP.Submission, c.SMTP.LMTP, {c.Torrent.Listen}} {
		for _, a := range list {
			if ap, ok := syndicate.Door(a); ok {
				out = append(out, ap)
			}
		}
	}
	return out
}

// startFeeds polls feeds while the node runs, and learns what others polled.
func (s *server) startFeeds(context.Context) (*part, error) {
	p, err := s.core.poller()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := s.core.followers.Start(ctx, p, agent.AtEnd); err != nil {
		cancel()
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return &part{name: "feeds", stop: func(context.Context) error {
		cancel()
		s.core.followers.Stop(p.Name())
		return <-done
	}}, nil
}

// feedRoutes adds outgoing feeds to the mux.
func (s *server) feedRoutes(mux *http.ServeMux) {
	k := s.core
	site := &syndicate.Site{URL: strings.TrimSuffix(k.cfg.HTTP.URL, "/"), Name: k.host, Spool: k.shown, MayRead: s.feedReader, Torrents: k.agent.Detach != nil}
	if s.threads != nil {
		site.More = feedLister{threads: s.threads, core: k}
	}
	site.Register(mux)
	if pics, err := k.pictures(); err == nil {
		pics.Register(mux)
	}
}

// feedReader: feed readers send no cookies, so what they see is what guests see.
func (s *server) feedReader(r *http.Request, g article.Group) error {
	o := agent.Origin{Door: "web", Trusted: true, TLS: r.TLS != nil} // as the forum: `anonymous` applies to every guest
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		o.Addr = ap.Addr().Unmap()
	}
	return s.core.agent.May(r.Context(), o, agent.Read, g)
}

func feedCommands() []command {
	return []command{
		{name: "add", args: "[--enclosures link|fetch] URL GROUP", short: "poll a feed, or the feed that a web page names, into a group", run: cmdFeedAdd,
			long: "--enclosures fetch: files that entries name are fetched once, here, and attached; large ones become\ntorrents, so that the mesh loads them once. For a feed that is polled already it changes just that."},
		{name: "suggest", short: "feeds to begin with, none of them polled yet", run: cmdFeedSuggest},
		{name: "list", short: "feeds and how they are doing", run: cmdFeedList},
		{name: "rm", args: "URL", short: "stop polling; the articles stay", run: cmdFeedRm},
		{name: "pause", args: "URL", short: "stop polling for a while", run: func(c *call) error { return cmdFeedPause(c, true) }},
		{name: "resume", args: "URL", short: "poll again", run: func(c *call) error { return cmdFeedPause(c, false) }},
		{name: "fetch", args: "[URL]", short: "poll one feed, or all, now", run: cmdFeedFetch},
		{name: "opml-in", args: "[--group G] FILE", short: "add the feeds of an OPML file", run: cmdFeedOPMLIn,
			long: "Each folder becomes a group feeds.FOLDER, made if need be; --group G puts all into one. What opml-out\nwrote goes into the groups it came from. Nothing is asked yet: a running node does so within minutes.\n\"-\" is standard input."},
		{name: "opml-out", short: "write the feeds as OPML", run: cmdFeedOPMLOut},
	}
}

// feedJSON is a feed as commands show it.
type feedJSON struct {
	URL       string `json:"url"`
	Group     string `json:"group"`
	Title     string `json:"title"`
	Files     string `json:"enclosures"` // link, fetch
	State     string `json:"state"`      // new, ok, failing, paused, gone
	Articles  int    `json:"articles"`
	Polled    string `json:"polled,omitempty"`
	Next      string `json:"next,omitempty"`
	Every     string `json:"every"`
	Failures  int    `json:"failures"`
	LastError string `json:"last_error,omitempty"`
	Note      string `json:"note,omitempty"` // what was odd in the document
}

func showFeed(p syndicate.Poll) feedJSON {
	f := feedJSON{URL: p.URL, Group: string(p.Group), Title: p.Title, Files: or(p.Files, "link"), State: "ok", Articles: p.Entries, Every: p.Every.String(), Failures: p.Failures, LastError: p.LastError, Note: p.Note}
	if !p.Polled.IsZero() {
		f.Polled = p.Polled.UTC().Format(time.RFC3339)
	}
	f.Next = p.Next.UTC().Format(time.RFC3339)
	switch {
	case p.Gone:
		f.State, f.Next = "gone", ""
	case p.Paused:
		f.State, f.Next = "paused", ""
	case p.Failures > 0:
		f.State = "failing"
	case p.Polled.IsZero():
		f.State = "new"
	}
	return f
}

func cmdFeedAdd(c *call) error {
	files := c.fs.String("enclosures", "link", "`link` or fetch: what becomes of the files that entries name")
	if err := c.parse(2, 2); err != nil {
		return err
	}
	if *files != "link" && *files != syndicate.FetchEnclosures {
		return usagef("feed add: --enclosures must be link or fetch")
	}
	var f feedJSON
	if err := c.ask("feed/add", feedJSON{URL: c.args[0], Group: c.args[1], Files: *files}, &f); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(f)
	}
	fmt.Fprintf(c.out, "%s (%s) is polled into %s: %d articles\n", f.URL, or(f.Title, "no title"), f.Group, f.Articles)
	if f.Note != "" {
		fmt.Fprintln(c.out, f.Note)
	}
	return nil
}

func cmdFeedList(c *call) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	list := []feedJSON{}
	if err := c.ask("feed/list", struct{}{}, &list); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(list)
	}
	var rows [][]string
	for _, f := range list {
		state := f.State
		if said := or(f.LastError, f.Note); said != "" {
			state += ": " + said
		}
		rows = append(rows, []string{f.URL, f.Group, fmt.Sprint(f.Articles), f.Next, state})
	}
	c.printTable([]string{"FEED", "GROUP", "ARTICLES", "NEXT POLL", "STATE"}, rows)
	return nil
}

func cmdFeedRm(c *call) error {
	if err := c.parse(1, 1); err != nil {
		return err
	}
	if err := c.ask("feed/rm", feedJSON{URL: c.args[0]}, nil); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s is polled no longer\n", c.args[0])
	return nil
}

func cmdFeedPause(c *call, pause bool) error {
	if err := c.parse(1, 1); err != nil {
		return err
	}
	act := "feed/resume"
	if pause {
		act = "feed/pause"
	}
	return c.ask(act, feedJSON{URL: c.args[0]}, nil)
}

func cmdFeedFetch(c *call) error {
	if err := c.parse(0, 1); err != nil {
		return err
	}
	want := feedJSON{}
	if len(c.args) == 1 {
		want.URL = c.args[0]
	}
	list := []feedJSON{}
	if err := c.ask("feed/fetch", want, &list); err != nil {
		return err
	}
	failed := 0
	for _, f := range list {
		if f.LastError != "" {
			failed++
			fmt.Fprintf(c.err, "%s: %s\n", f.URL, f.LastError)
		}
	}
	fmt.Fprintf(c.out, "%d feeds polled, %d failed\n", len(list), failed)
	if failed > 0 {
		return fmt.Errorf("%d feeds failed; \"litfass feed list\" shows when they are tried again", failed)
	}
	return nil
}

// opmlJSON is an OPML document on its way.
type opmlJSON struct {
	Group    string   `json:"group,omitempty"`
	Document string   `json:"document"`
	Added    int      `json:"added"`
	Known    int      `json:"known"` // polled already
	Skipped  []string `json:"skipped,omitempty"`
}

func cmdFeedOPMLIn(c *call) error {
	group := c.fs.String("group", "", "put all feeds into `G`")
	if err := c.parse(1, 1); err != nil {
		return err
	}
	text, err := c.readAll(c.args[0])
	if err != nil {
		return fmt.Errorf("read the OPML file: %w", err)
	}
	out := opmlJSON{}
	if err := c.ask("feed/opml-in", opmlJSON{Group: *group, Document: text}, &out); err != nil {
		return err
	}
	for _, s := range out.Skipped {
		fmt.Fprintln(c.err, "left out:", s)
	}
	if c.json {
		return c.printJSON(out)
	}
	fmt.Fprintf(c.out, "%d feeds added, %d polled already, %d left out\n", out.Added, out.Known, len(out.Skipped))
	if out.Added > 0 {
		fmt.Fprintln(c.out, "a running node asks them within minutes, \"litfass feed fetch\" at once; \"litfass feed list\" shows how they are doing")
	}
	return nil
}

func cmdFeedOPMLOut(c *call) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	out := opmlJSON{}
	if err := c.ask("feed/opml-out", struct{}{}, &out); err != nil {
		return err
	}
	_, err := io.WriteString(c.out, out.Document)
	return err
}

func (c *control) feedActs() {
	act(c, "feed/add", c.feedAdd)
	act(c, "feed/list", func(context.Context, struct{}) ([]feedJSON, error) { return c.feedList() })
	act(c, "feed/rm", c.feedRm)
	for name, pause := range map[string]bool{"feed/pause": true, "feed/resume": false} {
		act(c, name, func(_ context.Context, in feedJSON) (feedJSON, error) { return in, c.feedPause(in.URL, pause) })
	}
	act(c, "feed/fetch", c.feedFetch)
	act(c, "feed/opml-in", c.feedOPMLIn)
	act(c, "feed/opml-out", c.feedOPMLOut)
}

func (c *control) feedAdd(ctx context.Context, in feedJSON) (feedJSON, error) {
	p, err := c.core.poller()
	if err != nil {
		return in, err
	}
	how := syndicate.LinkEnclosures
	if in.Files == syndicate.FetchEnclosures {
		how = in.Files
	}
	s, err := p.Add(ctx, in.URL, article.Group(in.Group), how)
	if errors.Is(err, syndicate.ErrKnownFeed) && s.Group == article.Group(in.Group) && s.Files != how {
		s.Files = how
		err = p.Files(s.URL, how)
	}
	return showFeed(s), c.loopbackHint(err)
}

func (c *control) feedRm(_ context.Context, in feedJSON) (feedJSON, error) {
	p, err := c.core.poller()
	if err == nil {
		err = notPolled(in.URL, p.Remove(in.URL))
	}
	return in, err
}

// notPolled says what to do where a feed is named that is not there.
func notPolled(url string, err error) error {
	if errors.Is(err, state.ErrNotFound) {
		return fmt.Errorf("%s is not polled; \"litfass feed list\" shows those that are", url)
	}
	return err
}

func (c *control) feedPause(url string, pause bool) error {
	p, err := c.core.poller()
	if err == nil {
		err = notPolled(url, p.Pause(url, pause))
	}
	return err
}

// loopbackHint says what to do where the guard said no.
func (c *control) loopbackHint(err error) error {
	if err != nil && strings.Contains(err.Error(), "feeds.allow") {
		return fmt.Errorf("%w; add its network to allow in the section [feeds] of the configuration if you trust it", err)
	}
	return err
}

func (c *control) feedList() ([]feedJSON, error) {
	p, err := c.core.poller()
	if err != nil {
		return nil, err
	}
	all, err := p.List()
	out := []feedJSON{}
	for _, f := range all {
		out = append(out, showFeed(f))
	}
	return out, err
}

func (c *control) feedFetch(ctx context.Context, in feedJSON) ([]feedJSON, error) {
	p, err := c.core.poller()
	if err != nil {
		return nil, err
	}
	all, err := p.List()
	if err != nil {
		return nil, err
	}
	var urls []string
	for _, f := range all {
		if f.URL == in.URL || in.URL == "" && !f.Paused && !f.Gone {
			urls = append(urls, f.URL)
		}
	}
	if in.URL != "" && len(urls) == 0 {
		return nil, notPolled(in.URL, state.ErrNotFound)
	}
	done, err := p.PollAll(ctx, urls)
	if err != nil {
		return nil, err
	}
	out := []feedJSON{}
	for _, s := range done {
		out = append(out, showFeed(s))
	}
	return out, nil
}

func (c *control) feedOPMLIn(ctx context.Context, in opmlJSON) (opmlJSON, error) {
	p, err := c.core.poller()
	if err != nil {
		return in, err
	}
	subs, skipped, err := syndicate.ReadOPML(strings.NewReader(in.Document))
	if err != nil {
		return in, err
	}
	out := opmlJSON{Skipped: skipped}
	var polls []syndicate.Poll
	for _, s := range subs {
		g := or(in.Group, or(s.Group, folderGroup(s.Folder)))
		if err := c.needGroup(ctx, article.Group(g)); err != nil {
			out.Skipped = append(out.Skipped, fmt.Sprintf("%s: group %s: %v", s.URL, g, err))
			continue
		}
		polls = append(polls, syndicate.Poll{URL: s.URL, Group: article.Group(g), Title: s.Title})
	}
	out.Added, err = p.Subscribe(polls)
	out.Known = len(polls) - out.Added
	return out, err
}

// needGroup makes a group for feeds if there is none.
func (c *control) needGroup(ctx context.Context, g article.Group) error {
	_, err := c.core.spool.Group(ctx, g)
	if !errors.Is(err, spool.ErrNotFound) {
		return err
	}
	if _, err := groupName(string(g)); err != nil {
		return err
	}
	return c.core.putGroups(ctx, spool.GroupInfo{Name: g, Status: spool.PostOpen, Description: "Entries of feeds", Created: c.core.now(), Creator: "opml"})
}

// folderGroup turns a folder's name into a group's: feeds.NAME.
func folderGroup(folder string) string {
	var out strings.Builder
	for _, r := range strings.ToLower(folder) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			out.WriteRune(r)
		case r == '/':
			out.WriteByte('.')
		case out.Len() > 0 && !strings.HasSuffix(out.String(), "-") && !strings.HasSuffix(out.String(), "."):
			out.WriteByte('-')
		}
	}
	name := strings.Trim(strings.ReplaceAll(out.String(), "-.", "."), "-.")
	if name == "" {
		return "feeds.all"
	}
	return "feeds." + name[:min(len(name), 60)]
}

func (c *control) feedOPMLOut(context.Context, struct{}) (opmlJSON, error) {
	p, err := c.core.poller()
	if err != nil {
		return opmlJSON{}, err
	}
	all, err := p.List()
	if err != nil {
		return opmlJSON{}, err
	}
	var subs []syndicate.Subscription
	for _, f := range all {
		subs = append(subs, syndicate.Subscription{URL: f.URL, Title: f.Title, Group: string(f.Group), Folder: strings.ReplaceAll(strings.TrimPrefix(string(f.Group), "feeds."), ".", "/")})
	}
	var w strings.Builder
	err = syndicate.WriteOPML(&w, "Feeds of "+c.core.host, subs)
	return opmlJSON{Document: w.String()}, err
}
