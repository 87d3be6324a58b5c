package torrent

import (
	"slices"
	"time"
)

// Class says why a torrent is kept; the higher, the longer (spec §4). Pinned
// stands above them all and is a switch of its own.
type Class uint8

// The classes.
const (
	Cache  Class = iota + 1 // somebody here opened it
	Mirror                  // a group's policy wants it here
	Own                     // injected here
)

func (c Class) String() string {
	switch c {
	case Mirror:
		return "mirror"
	case Own:
		return "own"
	}
	return "cache"
}

// State says how much of a torrent is here.
type State uint8

// The states.
const (
	Known    State = iota + 1 // an article names it
	Partial                   // being fetched, or it was
	Here                      // every piece is here; no article's SHA-256 to compare with
	Verified                  // and each file has the SHA-256 that an article promised
)

func (s State) String() string {
	switch s {
	case Partial:
		return "partial"
	case Here:
		return "here"
	case Verified:
		return "verified"
	}
	return "known"
}

// Record is what the index holds of a torrent, beside its info dictionary.
type Record struct {
	Hash     Infohash `json:"-"`
	Name     string
	Length   int64
	State    State
	Class    Class
	Pinned   bool     `json:",omitempty"`
	Author   string   `json:",omitempty"` // of an own one, as its quota counts
	Group    string   `json:",omitempty"` // whose quota counts
	WebSeeds []string `json:",omitempty"` // of the magnet link
	Trackers []string `json:",omitempty"`
	Private  bool     `json:",omitempty"` // BEP 27: no other tracker is asked, or told
	Refs     int      `json:",omitempty"` // live articles that name it
	Added    int64    // Unix seconds
	Wanted   int64    // when somebody last wanted it
	Progress int64    `json:",omitempty"` // of a partial one: when a piece last came
	Until    int64    `json:",omitempty"` // delete after; 0: not for now
	Never    bool     `json:",omitempty"` // no group that names it wants it fetched, not even on demand
	Actual   string   `json:",omitempty"` // SHA-256 of what was fetched and belied every article
}

// Complete says that all its octets are here.
func (r *Record) Complete() bool { return r.State >= Here }

// elsewhere says that this node's tracker, at its URL own, is to know nothing of a
// torrent: it is private, and names others.
func (r *Record) elsewhere(own string) bool {
	return r.Private && !slices.Contains(r.Trackers, own+"/announce")
}

// Reference is one article's claim about a torrent.
type Reference struct {
	ID  string // Message-ID
	Sum Sum    // zero: the article names none
}

// Owner says for whom a file is added: whose quotas count.
type Owner struct {
	Author string
	Group  string
	Class  Class // Own if zero
	Pinned bool
}

// Config is package torrent's part of the node's configuration. Zero fields take
// the default named there; a negative limit is none.
type Config struct {
	Dir         string // DATA/torrents
	URL         string // this node as readers see it, without a final slash
	Threshold   int64  // larger attachments are detached; default 256 KiB
	MaxArticle  int64  // octets of an article; default 1 MiB (nntp.max_article)
	Quota       int64  // octets of all files; default 10 GiB
	GroupQuota  int64  // octets of one group's files; default: the quota
	AuthorDaily int64  // octets one author may add in a day; default: the quota
	MaxSize     int64  // of one torrent; default 64 GiB
	MaxAuto     int64  // of one that is fetched unasked; default 1 GiB
	MinFree     int64  // octets of disk that stay free; default 256 MiB
	Grace       time.Duration
	Now         func() time.Time
}

const (
	defaultGrace = 7 * 24 * time.Hour  // from the last reference to deletion
	unnamedGrace = 30 * 24 * time.Hour // an own torrent that no article ever named: it may wait for a moderator
	goneGrace    = 90 * 24 * time.Hour // how long a removal holds against articles that come late
	stalledGrace = 30 * 24 * time.Hour // unfinished and without progress
	wantedEvery  = 60                  // seconds: how exact Wanted is, to spare writes
)

func (c Config) orDefault() Config {
	set := func(p *int64, n int64) {
		if *p == 0 {
			*p = n
		} else if *p < 0 {
			*p = 1 << 62
		}
	}
	set(&c.Threshold, 256<<10)
	set(&c.MaxArticle, 1<<20)
	set(&c.Quota, 10<<30)
	set(&c.GroupQuota, c.Quota)
	set(&c.AuthorDaily, c.Quota)
	set(&c.MaxSize, 64<<30)
	set(&c.MaxAuto, 1<<30)
	set(&c.MinFree, 256<<20)
	if c.Grace == 0 {
		c.Grace = defaultGrace
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}
