package courier

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/smtpd/letters"
	"github.com/litfass/litfass/spool"
)

// What an account may want to hear of by mail.
const (
	NoticeReplies = "replies" // answers to what it wrote
	NoticeWatched = "watched" // articles in threads that it watches
	NoticeReports = "reports" // what readers report in groups that it moderates
)

// NoticeKinds are all of them.
func NoticeKinds() []string { return []string{NoticeReplies, NoticeWatched, NoticeReports} }

// notices stands in the place of a group where a subscription is an account's wish for
// notices; no group can have this name. Its Mode is the kinds, joined by commas.
const notices article.Group = "@notices"

// noticesADay bounds what one address gets, so that a thread that boils over does not
// fill a mailbox.
const noticesADay = 100

// People knows the accounts of the node.
type People interface {
	// Author returns whose account wrote an article, "" if none of this node did.
	Author(ctx context.Context, e spool.Entry) (string, error)
	// Watchers returns who watches one of the threads that begin with these ids.
	Watchers(ctx context.Context, ids ...string) ([]string, error)
	// Wants says whether an account may read g and has not muted who wrote e.
	Wants(ctx context.Context, account string, g article.Group, e spool.Entry) bool
	// Moderates says whether an account decides about one of the groups.
	Moderates(ctx context.Context, account string, groups []article.Group) bool
}

// Notices are an account's wishes.
type Notices struct {
	Account string
	Address string
	Kinds   []string
	State   string // ok, bouncing, paused; unconfirmed: the address was asked
}

// ErrKind is returned for a kind of notice that there is not.
var ErrKind = errors.New("there are notices of replies, watched and reports")

// SetNotices says what an account gets at address, of NoticeKinds; nothing ends it. An
// address that gets none yet is asked first, unless sure: the operator says so.
func (c *Courier) SetNotices(ctx context.Context, account, address string, kinds []string, sure bool) error {
	kinds = slices.Clone(kinds)
	slices.Sort(kinds)
	kinds = slices.Compact(kinds)
	for _, k := range kinds {
		if !slices.Contains(NoticeKinds(), k) {
			return fmt.Errorf("%w, no %.40q", ErrKind, k)
		}
	}
	if err := c.dropNotices(account, address, len(kinds) == 0); err != nil || len(kinds) == 0 {
		return err
	}
	a := asked{Group: notices, Address: strings.ToLower(address), Mode: Mode(strings.Join(kinds, ",")), Account: account}
	if _, _, ok := cut(a.Address); !ok {
		return fmt.Errorf("%.80q is no address", address)
	}
	s, err := c.subs.Get(subKey(notices, a.Address))
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		return err
	}
	if sure || err == nil && s.Account == account && !s.Paused {
		return c.add(a)
	}
	return c.ask(ctx, a)
}

// dropNotices ends an account's notices at other addresses than keep, or at all, and
// what was asked but not confirmed.
func (c *Courier) dropNotices(account, keep string, all bool) error {
	subs, err := c.List(notices)
	if err != nil {
		return err
	}
	for _, s := range subs {
		if s.Account == account && (all || !strings.EqualFold(s.Address, keep)) {
			if err := c.remove(s); err != nil {
				return err
			}
		}
	}
	keys, waiting, err := c.asked.List("")
	if err != nil {
		return err
	}
	for i, a := range waiting {
		if a.Group == notices && a.Account == account && (all || !strings.EqualFold(a.Address, keep)) {
			if err := c.asked.Delete(keys[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// NoticesOf returns an account's wishes; the zero Notices if it has none.
func (c *Courier) NoticesOf(account string) (Notices, error) {
	subs, err := c.List(notices)
	if err != nil {
		return Notices{}, err
	}
	for _, s := range subs {
		if s.Account == account {
			n := Notices{account, s.Address, strings.Split(string(s.Mode), ","), "ok"}
			switch {
			case s.Paused:
				n.State = "paused"
			case s.Bounces > 0:
				n.State = "bouncing"
			}
			return n, nil
		}
	}
	_, waiting, err := c.asked.List("")
	for _, a := range waiting {
		if a.Group == notices && a.Account == account && a.Until.After(c.cfg.Now()) {
			return Notices{account, a.Address, strings.Split(string(a.Mode), ","), "unconfirmed"}, err
		}
	}
	return Notices{}, err
}

// wishes are the notices that are to be sent, by account.
func (c *Courier) wishes() (map[string]Subscription, error) {
	if c.cfg.People == nil {
		return nil, nil
	}
	subs, err := c.List(notices)
	if err != nil {
		return nil, fmt.Errorf("list who wants notices: %w", err)
	}
	out := map[string]Subscription{}
	for _, s := range subs {
		if !s.Paused {
			out[s.Account] = s
		}
	}
	return out, nil
}

func (s Subscription) hears(kind string) bool {
	return slices.Contains(strings.Split(string(s.Mode), ","), kind)
}

// notify queues an article for the accounts that it answers and those that watch its
// thread; who gets it as a subscriber already (seen) hears nothing.
func (c *Courier) notify(ctx context.Context, e spool.Entry, seen map[string]bool) error {
	wishes, err := c.wishes()
	if err != nil || len(wishes) == 0 {
		return err
	}
	accounts, err := c.concerned(ctx, e, wishes)
	if err != nil {
		return err
	}
	to := map[article.Group][]string{}
	for _, name := range accounts {
		s := wishes[name]
		for _, p := range e.Places {
			if c.cfg.People.Wants(ctx, name, p.Group, e) {
				if !seen[s.Address] && c.mayNotify(s.Address) {
					seen[s.Address] = true
					to[p.Group] = append(to[p.Group], s.Address)
				}
				break
			}
		}
	}
	for g, addresses := range to {
		if err := c.enqueue(row{Seq: e.Seq, Group: g, Notice: true}, e.Arrived, addresses); err != nil {
			return err
		}
	}
	return nil
}

// concerned are the accounts of wishes that an article is for, its author not.
func (c *Courier) concerned(ctx context.Context, e spool.Entry, wishes map[string]Subscription) ([]string, error) {
	refs := article.ParseReferences(e.References)
	var ids []string
	for _, r := range refs {
		ids = append(ids, string(r))
	}
	watchers, err := c.cfg.People.Watchers(ctx, ids...)
	if err != nil {
		return nil, fmt.Errorf("look up who watches a thread: %w", err)
	}
	out := slices.DeleteFunc(watchers, func(name string) bool { return !wishes[name].hears(NoticeWatched) })
	if len(refs) > 0 {
		parent, err := c.cfg.Spool.ByID(ctx, refs[len(refs)-1])
		if err != nil && !errors.Is(err, spool.ErrNotFound) {
			return nil, fmt.Errorf("look up what article %d answers: %w", e.Seq, err)
		}
		if err == nil {
			name, err := c.cfg.People.Author(ctx, parent)
			if err != nil {
				return nil, err
			}
			if wishes[name].hears(NoticeReplies) {
				out = append(out, name)
			}
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	author, err := c.cfg.People.Author(ctx, e)
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(name string) bool { return name == author }), err
}

// mayNotify counts a notice for an address.
func (c *Courier) mayNotify(address string) bool {
	today := c.cfg.Now().Unix() / 86400
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.noticeDay != today {
		c.noticeDay, c.noticed = today, map[string]int{}
	}
	c.noticed[address]++
	if n := c.noticed[address]; n == noticesADay+1 {
		c.cfg.Log.Warn("courier: no more notices to an address today", "notices", noticesADay)
	}
	return c.noticed[address] <= noticesADay
}

// Reported tells the moderators of an article's groups what a reader says of it.
func (c *Courier) Reported(ctx context.Context, id article.ID, by, reason string) error {
	wishes, err := c.wishes()
	if err != nil || len(wishes) == 0 || c.cfg.Smarthost == "" {
		return err
	}
	e, err := c.cfg.Spool.ByID(ctx, id)
	if err != nil {
		return fmt.Errorf("look up what was reported: %w", err)
	}
	var groups []article.Group
	for _, p := range e.Places {
		groups = append(groups, p.Group)
	}
	var to []string
	for name, s := range wishes {
		if s.hears(NoticeReports) && c.cfg.People.Moderates(ctx, name, groups) && c.mayNotify(s.Address) {
			to = append(to, s.Address)
		}
	}
	if len(to) == 0 {
		return nil
	}
	f := letters.Facts{Group: string(e.Places[0].Group), Account: by, From: oneLine(content.Header(e.From)), Subject: oneLine(content.Header(e.Subject)), Reason: oneLine(reason)}
	if c.cfg.URL != "" {
		f.Link = c.cfg.URL + "/m/" + url.PathEscape(id.Bare())
	}
	for _, address := range to {
		raw, err := c.letter(address, "", "reported", f, "postmaster")
		if err != nil {
			return err
		}
		if err := c.enqueue(row{Group: e.Places[0].Group, Notice: true, Raw: raw}, c.cfg.Now(), []string{address}); err != nil {
			return err
		}
	}
	return nil
}
