package syndicate

import (
	"math/rand/v2"
	"sort"
	"time"
)

// The bounds of the interval between two polls of one feed.
const (
	floorInterval   = 15 * time.Minute
	defaultInterval = time.Hour
	ceilInterval    = 24 * time.Hour
)

// rhythm is how often a feed speaks: the median gap between its newest entries,
// within the bounds; a default if too few carry a date.
func rhythm(entries []Entry, now time.Time) time.Duration {
	var at []time.Time
	for _, e := range entries {
		if !e.Published.IsZero() && e.Published.Before(now.Add(time.Hour)) {
			at = append(at, e.Published)
		}
	}
	if len(at) < 3 {
		return defaultInterval
	}
	sort.Slice(at, func(i, j int) bool { return at[i].After(at[j]) })
	at = at[:min(len(at), 20)]
	gaps := make([]time.Duration, 0, len(at))
	for i := 1; i < len(at); i++ {
		gaps = append(gaps, at[i-1].Sub(at[i]))
	}
	sort.Slice(gaps, func(i, j int) bool { return gaps[i] < gaps[j] })
	quiet := now.Sub(at[0]) / 4 // a feed that fell silent is asked less often
	return clampInterval(max(gaps[len(gaps)/2]/2, quiet))
}

func clampInterval(d time.Duration) time.Duration {
	return max(floorInterval, min(d, ceilInterval))
}

// nextPoll is when to ask again: after the largest of what the origin and the
// feed's rhythm ask for, with up to a tenth more, so that nodes and feeds spread.
func nextPoll(now time.Time, wants ...time.Duration) time.Time {
	d := floorInterval
	for _, w := range wants {
		d = max(d, w)
	}
	d = min(d, 48*time.Hour)
	return now.Add(d + rand.N(d/10+1))
}

// backOff is the wait after the n-th failure in a row: 15 min doubled each time,
// at most a day.
func backOff(n int) time.Duration {
	return min(floorInterval<<min(max(n-1, 0), 10), ceilInterval)
}
