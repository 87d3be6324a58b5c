package webforum

import (
	"context"
	"net/url"
	"time"
)

// FeedAdmin looks after the feeds that are polled.
type FeedAdmin interface {
	// AddFeed polls a feed into a group; files says what becomes of the files that
	// entries name: link or fetch.
	AddFeed(ctx context.Context, url, group, files string) error
	RemoveFeed(ctx context.Context, url string) error
	PauseFeed(ctx context.Context, url string, pause bool) error
	RefreshFeed(ctx context.Context, url string) error
}

// FeedState is how a polled feed is doing.
type FeedState struct {
	URL, Group, Title, LastError string
	Note                         string // what was odd in the document
	State                        string // new, ok, failing, paused, gone
	Files                        string // link, fetch
	Articles                     int
	Polled, Next                 time.Time // zero: never
}

type feedsData struct {
	adminFrame
	Feeds []FeedState
	Form  FeedState
}

// adminFeeds shows the feeds, and adds, polls, pauses and removes them.
func (f *Forum) adminFeeds(v *visitor) (*page, error) {
	if err := v.adminOnly(); err != nil {
		return nil, err
	}
	d := &feedsData{}
	if v.adminAct(d, "feeds", map[string]func(url.Values) error{
		"add": func(q url.Values) error {
			d.Form = FeedState{URL: trimmed(q, "url"), Group: trimmed(q, "group"), Files: "link"}
			if q.Get("fetch") != "" {
				d.Form.Files = "fetch"
			}
			return f.Admin.AddFeed(v.ctx, d.Form.URL, d.Form.Group, d.Form.Files)
		},
		"remove":  func(q url.Values) error { return f.Admin.RemoveFeed(v.ctx, q.Get("url")) },
		"pause":   func(q url.Values) error { return f.Admin.PauseFeed(v.ctx, q.Get("url"), true) },
		"resume":  func(q url.Values) error { return f.Admin.PauseFeed(v.ctx, q.Get("url"), false) },
		"refresh": func(q url.Values) error { return f.Admin.RefreshFeed(v.ctx, q.Get("url")) },
	}) {
		return nil, nil
	}
	o, err := f.Admin.Overview(v.ctx)
	if err != nil {
		return nil, err
	}
	d.Feeds = o.Feeds
	return v.adminPage("feeds", d), nil
}

// FeedState says in a word how a feed is doing, and whether that is well.
func (p *page) FeedState(s FeedState) pair {
	class := map[string]string{"ok": "ok", "failing": "bad"}[s.State]
	return pair{class, p.tx.T("feed." + s.State)}
}
