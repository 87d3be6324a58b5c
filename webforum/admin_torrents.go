package webforum

import (
	"context"
	"errors"
	"net/url"
)

// TorrentAdmin looks after attachments and other torrents.
type TorrentAdmin interface {
	// Torrents lists what is here or known, newest first, and what is not taken.
	Torrents(ctx context.Context) ([]TorrentState, []DeniedFile, error)
	PinTorrent(ctx context.Context, hash string, pin bool) error
	RemoveTorrent(ctx context.Context, hash string) error
	// DenyFile removes an infohash or SHA-256 and takes it never again, or lifts that;
	// by is whom the log names.
	DenyFile(ctx context.Context, hash string, lift bool, reason, by string) error
}

// TorrentState is a torrent as administrators see it.
type TorrentState struct {
	Hash, Name   string
	Size, Have   int64
	State, Class string
	Pinned       bool
	Articles     int // that name it
	Peers        int
}

// DeniedFile is an infohash or SHA-256 that this node does not take.
type DeniedFile struct{ Hash, Reason string }

const torrentsPage = 100

type torrentsData struct {
	adminFrame
	Torrents        []TorrentState
	Denied          []DeniedFile
	Hash            string // of the form
	Prev, Next, Sum string
}

// adminTorrents shows the torrents, and pins, removes and denies them.
func (f *Forum) adminTorrents(v *visitor) (*page, error) {
	if err := v.adminOnly(); err != nil {
		return nil, err
	}
	d := &torrentsData{}
	if v.adminAct(d, "torrents", map[string]func(url.Values) error{
		"pin":    func(q url.Values) error { return f.Admin.PinTorrent(v.ctx, q.Get("hash"), true) },
		"unpin":  func(q url.Values) error { return f.Admin.PinTorrent(v.ctx, q.Get("hash"), false) },
		"remove": func(q url.Values) error { return f.Admin.RemoveTorrent(v.ctx, q.Get("hash")) },
		"allow": func(q url.Values) error {
			return f.Admin.DenyFile(v.ctx, q.Get("hash"), true, trimmed(q, "reason"), v.account.Name)
		},
		"deny": func(q url.Values) error {
			d.Hash = trimmed(q, "hash")
			if trimmed(q, "reason") == "" {
				return errors.New(v.tx.T("reason.missing"))
			}
			return f.Admin.DenyFile(v.ctx, d.Hash, false, trimmed(q, "reason"), v.account.Name)
		},
	}) {
		return nil, nil
	}
	o, err := f.Admin.Overview(v.ctx)
	if err != nil {
		return nil, err
	} else if o.TorrentsAbsent {
		d.Error = v.tx.T("torrents.absent")
		return v.adminPage("torrents", d), nil
	}
	d.Sum = v.torrentSum(o)
	if d.Torrents, d.Denied, err = f.Admin.Torrents(v.ctx); err != nil {
		return nil, err
	}
	lo, hi, prev, next := v.slice(len(d.Torrents), torrentsPage)
	d.Torrents, d.Prev, d.Next = d.Torrents[lo:hi], prev, next
	return v.adminPage("torrents", d), nil
}

// torrentSum says how many torrents there are, and how much of the quota they take.
func (v *visitor) torrentSum(o Overview) string {
	s := v.tx.number(uint64(o.Torrents)) + ", " + v.tx.size(o.TorrentOctets)
	if o.TorrentQuota > 0 {
		s = v.tx.T("admin.of", s, v.tx.size(o.TorrentQuota))
	}
	return s
}

// TorrentWords says where a torrent stands.
func (p *page) TorrentWords(t TorrentState) string {
	s := p.tx.T("torrent.state." + t.State)
	if t.State == "partial" {
		s = p.tx.T("torrent.got", p.tx.size(t.Have)) + " · " + p.tx.N("file.nodes", t.Peers)
	}
	return s + " · " + p.tx.T("torrent.class."+t.Class) + " · " + p.tx.N("torrent.articles", t.Articles)
}
