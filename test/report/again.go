package main

import (
	"regexp"
	"slices"
	"strings"
)

// few is how many tests of one run may be run again: more is no accident.
const few = 3

// unit is what is run again: a test, or one subtest that runs beside its
// siblings (t.Parallel) and so cannot depend on them.
type unit struct {
	pkg, test string
	said      string // the end of what it said when it failed
}

func (u unit) String() string { return u.pkg + " " + u.test }

// within is true if the test (or its key) is outer or one of its subtests.
func within(test, outer string) bool {
	return test == outer || strings.HasPrefix(test, outer+"/")
}

// command is the one that failed, for this test only and never from the cache.
func (u unit) command(all []string) []string {
	names := strings.Split(u.test, "/")
	for i, n := range names {
		names[i] = "^" + regexp.QuoteMeta(n) + "$"
	}
	one := slices.Clone(all[:len(all)-1])
	return append(one, "-count=1", "-run="+strings.Join(names, "/"), u.pkg)
}

// look notes the signs of a fault that must not be run away: what races, panics
// or leaks by chance does so in earnest.
func (s *summary) look(key, line string) {
	if strings.Contains(line, "WARNING: DATA RACE") || strings.Contains(line, "found unexpected goroutines") ||
		strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
		s.earnest = append(s.earnest, key+": "+strings.TrimSpace(line))
	}
}

// again lists what is worth a second run: nothing if a package failed as a whole,
// if anything raced, panicked or leaked, or if more than a few tests failed.
func (s *summary) again() []unit {
	if len(s.earnest) > 0 {
		return nil
	}
	var units []unit
	for _, key := range s.order {
		if s.inner(key) {
			continue
		}
		u := s.unit(key)
		i := slices.IndexFunc(units, func(o unit) bool { return o.String() == u.String() })
		if i < 0 {
			units = append(units, u)
		} else {
			units[i].said += u.said
		}
	}
	if len(units) > few {
		return nil
	}
	return units
}

// inner is true if the test failed because a subtest of it did.
func (s *summary) inner(key string) bool {
	return slices.ContainsFunc(s.order, func(other string) bool { return strings.HasPrefix(other, key+"/") })
}

// unit is the smallest test around the failed one that can run alone.
func (s *summary) unit(key string) unit {
	pkg, test, _ := strings.Cut(key, " ")
	for at := test; ; {
		up := strings.LastIndexByte(at, '/')
		if up < 0 || s.parallel[pkg+" "+at] && !s.spoke(pkg+" "+at[:up]) {
			said := s.failed[key]
			return unit{pkg, at, strings.Join(said[max(0, len(said)-showLines):], "")}
		}
		at = at[:up]
	}
}

// spoke is true if the test itself said anything: it may have failed for a reason of its own.
func (s *summary) spoke(key string) bool {
	return slices.ContainsFunc(s.failed[key], func(line string) bool {
		line = strings.TrimSpace(line)
		return line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---")
	})
}

// forgive takes a test that passed at its second run off the failures, and with
// it the tests it stands in and its package, when nothing else in them failed.
func (s *summary) forgive(u unit) {
	s.flaky = append(s.flaky, u)
	for _, key := range s.order {
		if s.forgiven(key) {
			delete(s.failed, key)
		}
	}
	for key := range s.failed {
		if strings.HasPrefix(key, u.pkg+" ") {
			return
		}
	}
	delete(s.bad, u.pkg)
}

// forgiven is true if every failed test at or below key belongs to one called flaky.
func (s *summary) forgiven(key string) bool {
	for _, leaf := range s.order {
		if s.inner(leaf) || !within(leaf, key) {
			continue
		}
		if !slices.ContainsFunc(s.flaky, func(u unit) bool { return within(leaf, u.String()) }) {
			return false
		}
	}
	return true
}
