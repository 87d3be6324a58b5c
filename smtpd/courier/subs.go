package courier

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/smtpd/letters"
	"github.com/litfass/litfass/spool"
)

// Mode is how a subscriber gets a group.
type Mode string

// The modes.
const (
	All     Mode = "all"
	Digest  Mode = "digest"  // one mail a day
	Replies Mode = "replies" // what answers articles that were written under this address

	leaving Mode = "leave" // not at all any more: of what is asked only
)

// Subscription is one address's wish for one group.
type Subscription struct {
	Group   article.Group
	Address string // in lower case
	Mode    Mode
	Token   string // in the unsubscribe link and the envelope sender
	Since   time.Time
	Account string `json:",omitempty"` // whose notices these are

	Bounces     int       `json:",omitempty"`
	FirstBounce time.Time `json:",omitzero"`
	Paused      bool      `json:",omitempty"` // mail to it fails
}

// asked is a subscription that waits for its address to confirm it.
type asked struct {
	Group   article.Group
	Address string
	Mode    Mode
	Until   time.Time
	Account string `json:",omitempty"` // whose notices are asked for

	Language string `json:",omitempty"` // that it wants to be written to in
}

// A subscription is paused after this many bounces over at least this long.
const (
	bouncesToPause = 5
	bouncesOver    = 3 * 24 * time.Hour
	askedFor       = 3 * 24 * time.Hour
	maxAsked       = 1000
)

func subKey(g article.Group, address string) string { return string(g) + "\x00" + address }

// Subscribe asks an address, in its language if that is known, whether it wants a group,
// all of it if mode is ""; nobody is subscribed by somebody else (confirmed opt-in). Who
// is subscribed like that already hears nothing.
func (c *Courier) Subscribe(ctx context.Context, g article.Group, address, mode, lang string) error {
	address = strings.ToLower(address)
	if _, _, ok := cut(address); !ok {
		return nil // a null sender asks for nothing
	}
	a := asked{Group: g, Address: address, Mode: Mode(mode), Language: lang}
	if mode == "" {
		a.Mode = All
	}
	if s, err := c.subs.Get(subKey(g, address)); err == nil && !s.Paused && s.Mode == a.Mode {
		return nil
	}
	return c.ask(ctx, a)
}

// ask asks an address to confirm a. One that was asked already hears nothing more.
func (c *Courier) ask(ctx context.Context, a asked) error {
	keys, all, err := c.asked.List("")
	if err != nil {
		return err
	}
	for i, o := range all {
		switch {
		case o.Until.Before(c.cfg.Now()):
			if err := c.asked.Delete(keys[i]); err != nil {
				return err
			}
		case o.Group == a.Group && o.Address == a.Address && o.Account == a.Account && a.Group == notices:
			a.Until = o.Until
			return c.asked.Put(keys[i], a) // the kinds may have changed
		case o.Group == a.Group && o.Address == a.Address && o.Mode == a.Mode:
			return nil
		}
	}
	if len(all) >= maxAsked {
		return errors.New("too many subscriptions wait to be confirmed")
	}
	token := strings.ToLower(rand.Text())
	a.Until = c.cfg.Now().Add(askedFor)
	if err := c.asked.Put(token, a); err != nil {
		return err
	}
	name, f := "confirm-list", letters.Facts{Group: string(a.Group), Mode: string(a.Mode), Days: int(askedFor / (24 * time.Hour))}
	switch {
	case a.Group == notices:
		name, f.Group, f.Account = "confirm-notices", "", a.Account
	case a.Mode == leaving:
		name = "confirm-leave"
	}
	return c.Write(ctx, a.Address, a.Language, name, f, "confirm+"+token)
}

func (c *Courier) address(local string) string { return local + "@" + c.cfg.Domain }

// Add subscribes at once: for the operator, and for accounts in the forum.
func (c *Courier) Add(_ context.Context, g article.Group, address string, mode Mode) error {
	address = strings.ToLower(address)
	if _, _, ok := cut(address); !ok {
		return fmt.Errorf("%.80q is no address", address)
	}
	return c.add(asked{Group: g, Address: address, Mode: mode})
}

// add subscribes as was asked, or changes a subscription.
func (c *Courier) add(a asked) error {
	key := subKey(a.Group, a.Address)
	return c.cfg.State.Update(func(tx *state.Tx) error {
		s, err := c.subs.In(tx, key)
		if errors.Is(err, state.ErrNotFound) {
			s = Subscription{Group: a.Group, Address: a.Address, Token: strings.ToLower(rand.Text()), Since: c.cfg.Now()}
		} else if err != nil {
			return err
		}
		s.Mode, s.Account, s.Paused, s.Bounces, s.FirstBounce = a.Mode, a.Account, false, 0, time.Time{}
		if err := c.tokens.PutIn(tx, s.Token, key); err != nil {
			return err
		}
		return c.subs.PutIn(tx, key, s)
	})
}

// Drop ends a subscription without a word to its address: for the operator.
func (c *Courier) Drop(g article.Group, address string) error {
	s, err := c.subs.Get(subKey(g, strings.ToLower(address)))
	if errors.Is(err, state.ErrNotFound) {
		return ErrUnknown
	}
	if err != nil {
		return err
	}
	return c.remove(s)
}

// Unsubscribe ends a subscription; one that is not there is no error. Where it is not
// proven that the address wants it, it is asked.
func (c *Courier) Unsubscribe(ctx context.Context, g article.Group, address, lang string, proven bool) error {
	address = strings.ToLower(address)
	s, err := c.subs.Get(subKey(g, address))
	if errors.Is(err, state.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if !proven {
		return c.ask(ctx, asked{Group: g, Address: address, Mode: leaving, Language: lang})
	}
	if err := c.remove(s); err != nil {
		return err
	}
	return c.Write(ctx, address, lang, "goodbye", letters.Facts{Group: string(g)}, "postmaster")
}

func (c *Courier) remove(s Subscription) error {
	return c.cfg.State.Update(func(tx *state.Tx) error {
		if err := tx.Delete(c.tokens.Bucket, s.Token); err != nil {
			return err
		}
		return tx.Delete(c.subs.Bucket, subKey(s.Group, s.Address))
	})
}

// List returns the subscriptions of a group, or of all ("").
func (c *Courier) List(g article.Group) ([]Subscription, error) {
	prefix := ""
	if g != "" {
		prefix = string(g) + "\x00"
	}
	_, all, err := c.subs.List(prefix)
	return all, err
}

func (c *Courier) byToken(token string) (Subscription, error) {
	key, err := c.tokens.Get(token)
	if err == nil {
		var s Subscription
		if s, err = c.subs.Get(key); err == nil {
			return s, nil
		}
	}
	if errors.Is(err, state.ErrNotFound) {
		err = ErrUnknown
	}
	return Subscription{}, err
}

// Leave ends the subscription that a link or address names.
func (c *Courier) Leave(_ context.Context, token string) (Subscription, error) {
	s, err := c.byToken(token)
	if err != nil {
		return s, err
	}
	return s, c.remove(s)
}

// Token carries out what a mail to VERB+TOKEN@domain asks for.
func (c *Courier) Token(ctx context.Context, verb, token string) error {
	var err error
	switch verb {
	case "confirm":
		err = c.confirm(ctx, token)
	case "leave":
		_, err = c.Leave(ctx, token)
	case "bounce":
		if err = c.bounce(token); errors.Is(err, ErrUnknown) {
			err = nil // a late bounce of somebody who left
		}
	case "approve", "reject":
		err = c.decide(ctx, verb, token)
	default:
		err = ErrUnknown
	}
	if errors.Is(err, ErrUnknown) {
		return &agent.Refusal{Reason: agent.Absent, Code: "no-token", Text: "this address was used already, or it is too old"}
	}
	return err
}

// confirm does what was asked for, and says so where it is a group.
func (c *Courier) confirm(ctx context.Context, token string) error {
	a, err := c.asked.Get(token)
	if errors.Is(err, state.ErrNotFound) || err == nil && a.Until.Before(c.cfg.Now()) {
		return ErrUnknown
	}
	if err != nil {
		return err
	}
	if a.Mode == leaving {
		if err := c.Unsubscribe(ctx, a.Group, a.Address, a.Language, true); err != nil {
			return err
		}
		return c.asked.Delete(token)
	}
	if err := c.add(a); err != nil {
		return err
	}
	if err := c.asked.Delete(token); err != nil || a.Group == notices {
		return err
	}
	g, err := c.cfg.Spool.Group(ctx, a.Group)
	if errors.Is(err, spool.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	f := letters.Facts{Group: string(a.Group), Mode: string(a.Mode), About: oneLine(content.ToUTF8("utf-8", []byte(g.Description))), Posting: g.Status != spool.PostNone}
	return c.Write(ctx, a.Address, a.Language, "welcome", f, "postmaster")
}

// bounce counts a failure for a subscription and pauses it when there were many
// over days.
func (c *Courier) bounce(token string) error {
	s, err := c.byToken(token)
	if err != nil {
		return err
	}
	c.bounced.Add(1)
	now := c.cfg.Now()
	paused := false
	err = c.subs.Change(subKey(s.Group, s.Address), func(v *Subscription, found bool) error {
		if !found {
			return ErrUnknown
		}
		if v.Bounces == 0 || now.Sub(v.FirstBounce) > 30*24*time.Hour {
			v.Bounces, v.FirstBounce = 0, now
		}
		v.Bounces++
		paused = !v.Paused && v.Bounces >= bouncesToPause && now.Sub(v.FirstBounce) >= bouncesOver
		v.Paused = v.Paused || paused
		return nil
	})
	if err != nil || !paused {
		return err
	}
	c.cfg.Log.Warn("courier: subscription paused, mail to it bounces", "group", s.Group, "bounces", bouncesToPause)
	name, f := "paused", letters.Facts{Group: string(s.Group)}
	if s.Group == notices {
		name, f.Group, f.Account = "notices-paused", "", s.Account
	}
	return c.Write(context.Background(), s.Address, "", name, f, "postmaster")
}

// Known says whether a one-time address is good. A bounce's always is: whom it tells of
// may have left meanwhile.
func (c *Courier) Known(ctx context.Context, verb, token string) (bool, error) {
	var err error
	switch verb {
	case "bounce":
		return true, nil
	case "confirm":
		_, err = c.asked.Get(token)
	case "leave":
		_, err = c.tokens.Get(token)
	case "approve", "reject":
		_, err = c.submission(ctx, token)
	}
	if errors.Is(err, state.ErrNotFound) || errors.Is(err, ErrUnknown) {
		return false, nil
	}
	return err == nil, err
}
