package syndicate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/internal/spill"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/spool"
)

// harvest is one document on its way to articles.
type harvest struct {
	s      *Poll
	f      *Feed
	marks  marks
	shared map[string]bool // links that are no single entry's
	odd    oddities
}

// articles injects what is new in f, oldest first, and says what was odd.
func (p *Poller) articles(ctx context.Context, s *Poll, f *Feed) (made int, said string, err error) {
	h := &harvest{s: s, f: f, marks: marks{}, shared: sharedLinks(f), odd: oddities{skipped: f.Skipped}}
	entries := newestFirst(f.Entries)
	if s.Polled.IsZero() {
		entries = entries[:min(len(entries), p.cfg.First)]
	}
	ids := map[string]bool{}
	defer func() { err = errors.Join(err, p.remember(h.marks)) }()
	for i := len(entries) - 1; i >= 0; i-- {
		e := entries[i]
		if ids[e.ID] { // one id, several entries: the link tells them apart
			h.odd.sameID++
			e.ID += "\x00" + e.Link
		}
		ids[e.ID] = true
		h.odd.look(&e)
		ok, err := p.one(ctx, h, &e, s.Files == FetchEnclosures && i < fetchesAPoll)
		if err != nil {
			return made, h.odd.String(), err
		}
		if ok {
			made++
		}
	}
	return made, h.odd.String(), nil
}

// newestFirst returns entries in the order of their dates, if all have one; else as
// they stand, which most feeds mean so.
func newestFirst(entries []Entry) []Entry {
	for _, e := range entries {
		if e.Published.IsZero() {
			return entries
		}
	}
	entries = slices.Clone(entries)
	slices.SortStableFunc(entries, func(a, b Entry) int { return b.Published.Compare(a.Published) })
	return entries
}

// sharedLinks are the links of a feed that several entries have, or that lead to its site.
func sharedLinks(f *Feed) map[string]bool {
	out, seen := map[string]bool{f.Link: true}, map[string]bool{}
	for _, e := range f.Entries {
		if seen[e.Link] {
			out[e.Link] = true
		}
		seen[e.Link] = true
	}
	return out
}

// oddities are what a document holds that was left out or is not as it should be; they
// are shown with the feed.
type oddities struct{ skipped, sameID, newID, badDate, badLink, refused int }

func (o *oddities) look(e *Entry) {
	if e.BadDate {
		o.badDate++
	}
	if e.Link != "" && webLink(e.Link) == "" {
		o.badLink++
		return
	}
	for _, c := range e.Enclosures {
		if webLink(c.URL) == "" {
			o.badLink++
			return
		}
	}
}

// String is a sentence or nothing.
func (o oddities) String() string {
	var out []string
	for _, c := range [...]struct {
		n    int
		text string
	}{
		{o.skipped, "left out: over the bounds of a feed or an entry"},
		{o.sameID, "with the id of another"},
		{o.newID, "that came with another id before"},
		{o.badDate, "with an impossible date"},
		{o.badLink, "with a link that leads not to the web"},
		{o.refused, "refused by this node, see its log"},
	} {
		if c.n > 0 {
			out = append(out, fmt.Sprintf("%d %s", c.n, c.text))
		}
	}
	if len(out) == 0 {
		return ""
	}
	return "entries: " + strings.Join(out, "; ")
}

// marks are what one poll learned of entries. They are written at its end, in one
// transaction: a crash before that loses nothing, since the spool knows the ids.
type marks map[string]seen

func (p *Poller) remember(m marks) error {
	p.heard.mu.Lock()
	defer p.heard.mu.Unlock()
	if err := p.write(m); err != nil {
		return err
	}
	for key := range m {
		delete(p.heard.marks, key) // what we saw ourselves is newer
	}
	return nil
}

func (p *Poller) write(m marks) error {
	if len(m) == 0 {
		return nil
	}
	err := p.cfg.State.Update(func(tx *state.Tx) error {
		for key, s := range m {
			if err := p.seen.PutIn(tx, key, s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("note the entries of a feed: %w", err)
	}
	return nil
}

// known returns what is known of an entry.
func (p *Poller) known(key string, m marks) (seen, bool, error) {
	if s, ok := m[key]; ok {
		return s, true, nil
	}
	p.heard.mu.Lock()
	s, ok := p.heard.marks[key]
	p.heard.mu.Unlock()
	if ok {
		return s, true, nil
	}
	s, err := p.seen.Get(key)
	if errors.Is(err, state.ErrNotFound) {
		return s, false, nil
	}
	return s, err == nil, err
}

// An entry that changes more often than this is not followed any further.
const (
	maxChanges  = 5
	changesWait = time.Hour
)

// one injects an entry if it is new or changed, with its files if fetch is set.
func (p *Poller) one(ctx context.Context, h *harvest, e *Entry, fetch bool) (bool, error) {
	now := p.cfg.Now()
	key, feed, raw := entryKey(h.s.URL, e.ID), feedKey(h.s.URL), e.raw()
	old, known, err := p.known(feed+"/"+key, h.marks)
	if err != nil || known && old.Raw == raw {
		return false, err
	}
	page := content.ReadHTML(e.HTML, baseOf(e, h.f))
	version := e.version(page.Text)
	alias := ""
	if !known && e.Link != "" {
		alias = h.alias(e, feed, version)
		was, found, err := p.known(alias, h.marks)
		if err != nil {
			return false, err
		}
		if found && h.again(e, was, version) {
			h.odd.newID++
			return false, nil
		}
	}
	if known && old.Version == version {
		old.Raw = raw
		h.marks[feed+"/"+key] = old
		return false, nil
	}
	if known && (old.Times >= maxChanges || now.Sub(old.Changed) < changesWait) {
		return false, nil
	}
	post := &post{id: messageID(key, version, feed), group: h.s.Group, feed: h.f, feedURL: h.s.URL, entry: e, page: page, date: p.dateOf(e, known, now)}
	if known {
		post.supersedes = messageID(key, old.Version, feed)
	}
	made, err := p.inject(ctx, h, post, fetch)
	if err != nil {
		return false, err
	}
	h.marks[feed+"/"+key] = seen{Version: version, Raw: raw, Changed: now, Times: old.Times + btoi(known)}
	if alias != "" {
		h.marks[alias] = seen{Version: version, Changed: now, Dated: e.Published}
	}
	return made, nil
}

// alias is what an entry is known by beside its id, since there are feeds whose ids
// change with every poll: link and title. A link that several entries share, or that is
// the site's, says nothing: then the text counts, too.
func (h *harvest) alias(e *Entry, feed, version string) string {
	if !h.shared[e.Link] {
		version = ""
	}
	return feed + "=" + hash32(20, "alias", e.Link, e.Title, version)
}

// again says whether an entry with a new id is one that was there: with the same text, or
// not dated a day later, as the daily weather is.
func (h *harvest) again(e *Entry, was seen, version string) bool {
	return h.shared[e.Link] || was.Version == version || e.Published.Sub(cmp.Or(was.Dated, e.Published)) < newsAfter
}

const newsAfter = 20 * time.Hour

// baseOf is what relative addresses in an entry's text count from.
func baseOf(e *Entry, f *Feed) *url.URL {
	for _, s := range [...]string{e.Link, f.Link} {
		if u, err := url.Parse(s); err == nil && u.Host != "" {
			return u
		}
	}
	return nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// dateOf is the entry's own date where news would take it, else now.
func (p *Poller) dateOf(e *Entry, changed bool, now time.Time) time.Time {
	t := e.Published
	if changed && e.Updated.After(t) {
		t = e.Updated
	}
	if t.IsZero() || t.After(now) || now.Sub(t) > p.cfg.MaxAge {
		return now
	}
	return t
}

// inject hands an article in. One that is here already, or that the agent refuses
// for good, is settled; what is temporary is an error.
func (p *Poller) inject(ctx context.Context, h *harvest, post *post, fetch bool) (bool, error) {
	state, err := p.cfg.Spool.Lookup(ctx, post.id)
	if err != nil {
		return false, err
	}
	if state != spool.Unknown {
		return false, nil
	}
	if fetch {
		for _, b := range p.fetchFiles(ctx, post) {
			defer b.Close()
		}
	}
	err = p.hand(ctx, post)
	var r *agent.Refusal
	if errors.As(err, &r) && r.Reason == agent.TooLarge && len(post.files) > 0 { // nobody here detaches: links, then
		post.files = nil
		err = p.hand(ctx, post)
	}
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &r) && !r.Temporary():
		if r.Reason != agent.Duplicate {
			h.odd.refused++
			p.cfg.Log.Warn("feed entry refused", "feed", post.feedURL, "entry", cutText(post.entry.ID, 100), "reason", err)
		}
		return false, nil
	}
	return false, err
}

// hand writes the article and hands it to the agent.
func (p *Poller) hand(ctx context.Context, post *post) error {
	body := spill.New(p.cfg.TempDir, filesInMemory, 1<<40)
	defer body.Close()
	d, err := post.draft(body, body)
	if err != nil {
		return err
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err = p.cfg.Agent.Inject(ctx, d, agent.Origin{Door: "feed"})
	return err
}
