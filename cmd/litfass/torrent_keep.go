//go:build !notorrent

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/litfass/litfass/torrent"
	"github.com/litfass/litfass/webforum"
	"github.com/litfass/litfass/webforum/ward"
)

// torrentOrder says what is to become of a torrent.
type torrentOrder struct {
	Hash   string `json:"hash"`
	Pin    bool   `json:"pin,omitempty"`
	Deny   string `json:"deny,omitempty"` // why it is not to be taken again; "": it may come again
	Reason string `json:"reason,omitempty"`
	By     string `json:"by,omitempty"` // whom the log names; "": the operator
}

// hashOf takes the infohash out of a magnet link; all else is left as it is.
func hashOf(s string) string {
	if m, err := torrent.ParseMagnet(s); err == nil {
		return m.Hash.String()
	}
	return strings.ToLower(strings.TrimSpace(s))
}

func cmdTorrentRm(c *call) error {
	deny := c.fs.String("deny", "", "put it on the deny list, for `REASON`; everybody can read it in the log")
	return c.orderTorrent("torrent/rm", "removed", func(o *torrentOrder) { o.Deny = *deny })
}

func cmdTorrentPin(c *call, pin bool) error {
	done := "pinned"
	if !pin {
		done = "no longer pinned"
	}
	return c.orderTorrent("torrent/pin", done, func(o *torrentOrder) { o.Pin = pin })
}

func cmdTorrentAllow(c *call) error {
	why := c.fs.String("reason", "", "`WHY`; everybody can read it in the log")
	return c.orderTorrent("torrent/allow", "may come again", func(o *torrentOrder) { o.Reason = *why })
}

func (c *call) orderTorrent(name, done string, more func(*torrentOrder)) error {
	if err := c.parse(1, 1); err != nil {
		return err
	}
	o := torrentOrder{Hash: hashOf(c.args[0])}
	more(&o)
	if err := c.ask(name, o, nil); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s %s\n", o.Hash, done)
	return nil
}

// notHere names what a torrent command did not find.
func notHere(hash string, err error) error {
	if errors.Is(err, torrent.ErrNotFound) {
		return fmt.Errorf("%s is not here; \"litfass torrent list\" shows what is", hash)
	}
	return err
}

func (c *control) torrentRm(_ context.Context, in torrentOrder) (struct{}, error) {
	s := c.core.torrents.store
	if in.Deny != "" {
		if err := s.Deny(in.Hash, in.Deny); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, c.core.ward.Do(ward.DenyFile, in.Hash, in.Deny, or(in.By, operatorName))
	}
	h, err := torrent.ParseInfohash(in.Hash)
	if err == nil {
		err = s.Discard(h)
	}
	return struct{}{}, notHere(in.Hash, err)
}

func (c *control) torrentPin(_ context.Context, in torrentOrder) (struct{}, error) {
	h, err := torrent.ParseInfohash(in.Hash)
	if err == nil {
		err = c.core.torrents.store.Pin(h, in.Pin)
	}
	return struct{}{}, notHere(in.Hash, err)
}

func (c *control) torrentAllow(_ context.Context, in torrentOrder) (struct{}, error) {
	s := c.core.torrents.store
	denied, err := s.Denied()
	if err != nil {
		return struct{}{}, err
	}
	if _, ok := denied[in.Hash]; !ok {
		return struct{}{}, fmt.Errorf("%s is not on the deny list", in.Hash)
	}
	if err := s.Allow(in.Hash); err != nil {
		return struct{}{}, err
	}
	return struct{}{}, c.core.ward.Do(ward.AllowFile, in.Hash, in.Reason, or(in.By, operatorName))
}

// Torrents lists what is here or known, and what is not taken.
func (a forumAdmin) Torrents(context.Context) (list []webforum.TorrentState, denied []webforum.DeniedFile, err error) {
	for _, t := range a.control.torrentList() {
		list = append(list, webforum.TorrentState{Hash: t.Infohash, Name: t.Name, Size: t.Size, Have: t.Have, State: t.State, Class: t.Class, Pinned: t.Pinned, Articles: t.Articles, Peers: t.Peers})
	}
	all, err := a.control.core.torrents.store.Denied()
	for hash, why := range all {
		denied = append(denied, webforum.DeniedFile{Hash: hash, Reason: why})
	}
	slices.SortFunc(denied, func(a, b webforum.DeniedFile) int { return strings.Compare(a.Hash, b.Hash) })
	return list, denied, err
}

func (a forumAdmin) PinTorrent(ctx context.Context, hash string, pin bool) error {
	_, err := a.control.torrentPin(ctx, torrentOrder{Hash: hash, Pin: pin})
	return err
}

func (a forumAdmin) RemoveTorrent(ctx context.Context, hash string) error {
	_, err := a.control.torrentRm(ctx, torrentOrder{Hash: hash})
	return err
}

func (a forumAdmin) DenyFile(ctx context.Context, hash string, lift bool, reason, by string) (err error) {
	if lift {
		_, err = a.control.torrentAllow(ctx, torrentOrder{Hash: hash, Reason: reason, By: by})
		return err
	}
	_, err = a.control.torrentRm(ctx, torrentOrder{Hash: hashOf(hash), Deny: reason, By: by})
	return err
}
