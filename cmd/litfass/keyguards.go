package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/pki"
)

// keyGuardians names guardians.
func (c *control) keyGuardians(ctx context.Context, u keyJSON) (keyJSON, error) {
	if err := c.checkPassword(ctx, u); err != nil {
		return keyJSON{}, err
	}
	var keys []pki.Key
	for _, text := range u.Files {
		sub, err := pki.ParseSubject(text)
		if err != nil || sub.Kind != pki.SubjectKey {
			return keyJSON{}, fmt.Errorf("%q is no guardian's key: it is what \"litfass key guardian new\" printed, key:ed25519:...", text)
		}
		keys = append(keys, pki.Key(sub.Hash))
	}
	line, err := c.core.keys.NameGuardians(u.Account, u.Password, u.Text, u.Count, keys)
	return keyJSON{Account: u.Account, Text: line}, err
}

func (c *control) keyGuardianAsk(ctx context.Context, u keyJSON) (keyJSON, error) {
	if err := c.checkPassword(ctx, u); err != nil {
		return keyJSON{}, err
	}
	id, err := c.identity(u.ID)
	if err != nil {
		return keyJSON{}, err
	}
	part, words, err := c.core.keys.AskGuardians(id, u.Param, u.Account, u.Password, u.BadSince)
	return keyJSON{ID: id.String(), Text: part, Words: words}, err
}

// keyGuardianFinish takes an identity over; the account's password becomes the new one.
func (c *control) keyGuardianFinish(ctx context.Context, u keyJSON) (keyJSON, error) {
	if err := c.checkPassword(ctx, u); err != nil {
		return keyJSON{}, err
	}
	if err := c.core.keys.FinishRecovery(u.Account, u.Password, u.Files); err != nil {
		return keyJSON{}, err
	}
	id, _ := c.core.keys.Account(u.Account)
	return keyJSON{ID: id.String()}, c.core.members.Passwd(ctx, u.Account, u.Password)
}

// chainShown is how many articles of a chain are shown at once.
const chainShown = 1000

// keyChain lists the articles of an identity in mode chain.
func (c *control) keyChain(_ context.Context, u keyJSON) (keyJSON, error) {
	id, err := c.identity(u.ID)
	if err != nil {
		return keyJSON{}, err
	}
	st, err := c.core.keys.Ledger.Identity(id)
	if err != nil {
		return keyJSON{}, err
	}
	if len(st.Terms) > 0 && !st.Terms[0].Event.Chain {
		return keyJSON{}, errors.New("this identity is no chain; \"litfass user add NAME --chain\" makes one")
	}
	ch, list, err := c.core.keys.Ledger.ChainOf(id, uint64(u.Count), chainShown)
	if err != nil {
		return keyJSON{}, err
	}
	out := keyJSON{ID: id.String(), Standing: ch.String(), Whole: !ch.Frozen && len(st.Terms) > 0, Chain: list}
	for i := range list {
		out.Whole = out.Whole && list[i].InForce
		list[i].Subject = content.Header(list[i].Subject)
	}
	if len(st.Terms) == 0 {
		out.Standing = "nothing is known of this identity here yet"
	}
	return out, nil
}
