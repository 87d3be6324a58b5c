package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
)

type limitsSection struct {
	PostRate      int      `toml:"post_rate" doc:"posts an hour of one account or address; this and the next three hold for programs on this machine by login only; 0: no limit"`
	PostBurst     int      `toml:"post_burst" doc:"posts at once before that rate begins; 0: no limit"`
	DayArticles   int      `toml:"day_articles" doc:"posts of one account or address a day; 0: no limit"`
	DaySize       size     `toml:"day_size" doc:"their octets"`
	PeerArticles  int      `toml:"peer_articles" doc:"articles that one peer may bring a day, over it: try later; 0: no limit"`
	PeerSize      size     `toml:"peer_size" doc:"their octets"`
	PeerShare     int      `toml:"peer_share" doc:"percent of spool.quota that the articles of one peer may hold: beyond it its oldest go, and where they are younger than spool.keep_min: try later; 0: no limit"`
	PostGroups    int      `toml:"post_groups" doc:"groups that a post may name; 0: no limit"`
	Followup      int      `toml:"followup" doc:"groups of Followup-To; a post to more needs Followup-To; 0: no limit"`
	Groups        int      `toml:"groups" doc:"groups that an article of a peer may name; 0: no limit of its own"`
	BannedWords   []string `toml:"banned_words" doc:"articles with one of these in Subject or text are refused for good"`
	BannedPosters []string `toml:"banned_posters" doc:"and those with one of these in From"`
}

func limitDefaults() limitsSection {
	return limitsSection{PostRate: 120, PostBurst: 60, DayArticles: 500, DaySize: 256 << 20, PeerArticles: 2_000_000, PeerSize: 10 << 30, PeerShare: 80, PostGroups: 20, Groups: 50}
}

func (l limitsSection) check(say func(key, format string, args ...any)) {
	for key, n := range map[string]int{
		"post_rate": l.PostRate, "post_burst": l.PostBurst, "day_articles": l.DayArticles, "peer_articles": l.PeerArticles, "peer_share": l.PeerShare,
		"post_groups": l.PostGroups, "followup": l.Followup, "groups": l.Groups,
	} {
		if n < 0 || n > math.MaxInt32 {
			say("limits."+key, "must be a number from 0 to %d; 0 is no limit", math.MaxInt32)
		}
	}
	if l.PeerShare > 100 {
		say("limits.peer_share", "must be a percentage from 0 to 100")
	}
	for _, w := range append(slices.Clone(l.BannedWords), l.BannedPosters...) {
		if len(w) < 3 {
			say("limits", "%q: a banned word has at least 3 letters, or it would hit by accident", w)
		}
	}
}

// orAll turns 0, no limit, into a number that is never reached.
func orAll(n int) int { return cmp.Or(n, math.MaxInt32) }

// filters are the limits of the configuration. What is refused for good comes
// first: quotas count only what passed.
func (k *core) filters() []agent.Filter {
	l := k.cfg.Limits
	k.postRate = &agent.PostRate{Now: k.now}
	k.dayQuota = &agent.DayQuota{Members: k.members, Ledger: k.usage}
	k.setLimits(l)
	k.peerQuota = &agent.PeerQuota{Peers: k.peers, Ledger: k.usage}
	return []agent.Filter{
		&k.banned,
		barredKeys{k},
		&k.crosspost,
		k.postRate,
		k.dayQuota,
		k.peerQuota,
	}
}

// setLimits makes the limits hold that are filters; counts go on.
func (k *core) setLimits(l limitsSection) {
	k.banned.Set(l.BannedWords, l.BannedPosters)
	k.crosspost.most.Store(int64(l.Groups))
	k.postRate.Set(orAll(l.PostRate), orAll(l.PostBurst))
	k.dayQuota.Set(agent.Usage{Articles: int64(orAll(l.DayArticles)), Octets: cmp.Or(int64(l.DaySize), math.MaxInt64)})
}

// crossposts is agent.Crossposts with a limit that may change.
type crossposts struct{ most atomic.Int64 }

func (c *crossposts) Check(ctx context.Context, a *article.Article, o agent.Origin) error {
	return agent.Crossposts{Most: int(c.most.Load())}.Check(ctx, a, o)
}

// day is what a peer may bring a day: its own limits, else those of [limits].
func (l limitsSection) day(p peerSection) agent.Usage {
	return agent.Usage{Articles: int64(cmp.Or(p.DayArticles, l.PeerArticles)), Octets: int64(cmp.Or(p.DaySize, l.PeerSize))}
}

// share is how many octets of the disk a peer's articles may hold; 0: no limit.
func (l limitsSection) share(p peerSection, quota size) int64 {
	return int64(quota) / 100 * int64(cmp.Or(p.Share, l.PeerShare))
}

// outcomes counts what became of articles: by intake ("relay"), then by reason
// ("ok", "too-old").
func (k *core) outcomes() map[string]map[string]uint64 {
	out := map[string]map[string]uint64{}
	for c, n := range k.agent.Stats() {
		if out[c.Intake] == nil {
			out[c.Intake] = map[string]uint64{}
		}
		out[c.Intake][c.Code] += n
	}
	return out
}

// refusals says what was refused, the most frequent reasons first; duplicates,
// and what others were sending, are no refusals to look into.
func refusals(outcomes map[string]map[string]uint64) string {
	sum := map[string]uint64{}
	for intake, codes := range outcomes {
		for code, n := range codes {
			if intake != "want" && code != "ok" && code != "duplicate" && code != "reserved" {
				sum[code] += n
			}
		}
	}
	var codes []string
	for c := range sum {
		codes = append(codes, c)
	}
	slices.SortFunc(codes, func(a, b string) int {
		return cmp.Or(cmp.Compare(sum[b], sum[a]), strings.Compare(a, b))
	})
	var out []string
	for i, c := range codes {
		if i == 6 {
			out = append(out, "...")
			break
		}
		out = append(out, fmt.Sprintf("%d %s", sum[c], c))
	}
	return strings.Join(out, ", ")
}

// show says the limits in one line.
func (l limitsSection) show() string {
	var out []string
	add := func(on bool, format string, args ...any) {
		if on {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	add(l.PostRate > 0, "%d posts an hour", l.PostRate)
	add(l.DayArticles > 0, "%d a day", l.DayArticles)
	add(l.DaySize > 0, "%s a day", human(int64(l.DaySize)))
	add(l.PeerArticles > 0, "%d a day of a peer", l.PeerArticles)
	add(l.PeerSize > 0, "%s a day of a peer", human(int64(l.PeerSize)))
	add(l.PeerShare > 0, "%d %% of the disk for one peer", l.PeerShare)
	add(len(l.BannedWords)+len(l.BannedPosters) > 0, "%d words and %d posters banned", len(l.BannedWords), len(l.BannedPosters))
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}
