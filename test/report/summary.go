package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// event is one line of go test -json (see go doc test2json).
type event struct {
	Action, Package, ImportPath, Test, Output string
	Elapsed                                   float64
}

const (
	keepLines = 2000 // of one test's output
	showLines = 60   // of them, beside a test called flaky
)

// summary is what one go test -json said.
type summary struct {
	packages int
	passed   map[string]bool // tests, by key
	bad      map[string]bool // packages that failed
	output   map[string][]string
	parallel map[string]bool     // tests that called t.Parallel, by key
	failed   map[string][]string // output of failed tests, by key
	order    []string            // their keys, as they failed
	earnest  []string            // signs of a fault that a second run must not hide
	flaky    []unit
	skips    []string // test and reason
}

func newSummary() *summary {
	return &summary{passed: map[string]bool{}, bad: map[string]bool{}, output: map[string][]string{}, parallel: map[string]bool{}, failed: map[string][]string{}}
}

// good is true if all that ran passed, at the second time at the latest.
func (s *summary) good() bool {
	return len(s.failed) == 0 && len(s.bad) == 0 && s.packages > 0
}

// read takes what go test says and passes on to w what people should see.
func (s *summary) read(r io.Reader, w io.Writer) {
	in := bufio.NewReaderSize(r, 1<<20)
	for {
		line, err := in.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) != nil {
				fmt.Fprint(w, line) // what go itself says
			} else {
				s.take(e, w)
			}
		}
		if err != nil {
			return
		}
	}
}

// broken takes go test's own end: it may fail without saying that a package did.
func (s *summary) broken(err error) {
	if err != nil && len(s.bad) == 0 {
		s.bad["go test"] = true
		s.earnest = append(s.earnest, "go test: "+err.Error())
	}
}

func (s *summary) take(e event, w io.Writer) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output":
		s.look(key, e.Output)
		if len(s.output[key]) < keepLines {
			s.output[key] = append(s.output[key], e.Output)
		}
	case "build-output":
		fmt.Fprint(w, e.Output)
	case "pause":
		s.parallel[key] = true
	case "pass", "fail", "skip":
		if e.Test == "" {
			s.pkg(e, w)
		} else {
			s.test(e, key, w)
		}
		delete(s.output, key)
	}
}

func (s *summary) pkg(e event, w io.Writer) {
	if e.Action == "skip" { // no test files
		return
	}
	s.packages++
	word := "ok  "
	if e.Action == "fail" {
		s.bad[e.Package] = true
		word = "FAIL"
		fmt.Fprint(w, strings.Join(s.output[e.Package+" "], ""))
		if !slices.ContainsFunc(s.order, func(key string) bool { return strings.HasPrefix(key, e.Package+" ") }) {
			s.earnest = append(s.earnest, e.Package+": it failed as a whole")
		}
	}
	fmt.Fprintf(w, "%s %-28s %6.1f s\n", word, strings.TrimPrefix(e.Package, "github.com/litfass/litfass/"), e.Elapsed)
}

func (s *summary) test(e event, key string, w io.Writer) {
	switch e.Action {
	case "pass":
		s.passed[key] = true
	case "fail":
		s.failed[key] = s.output[key]
		s.order = append(s.order, key)
		for _, line := range s.output[key] {
			s.look(key, strings.TrimSpace(line)) // as a test logs what a program of ours said
		}
		fmt.Fprintf(w, "\nFAILED %s\n%s\n", key, strings.Join(s.output[key], ""))
	case "skip":
		s.skips = append(s.skips, e.Test+": "+reason(s.output[key]))
	}
}

// reason is what t.Skip said.
func reason(lines []string) string {
	for _, l := range lines {
		l = strings.TrimSpace(l)
		if l == "" || strings.HasPrefix(l, "===") || strings.HasPrefix(l, "---") {
			continue
		}
		if _, after, ok := strings.Cut(l, ".go:"); ok {
			_, after, _ = strings.Cut(after, ": ")
			return after
		}
		return l
	}
	return "no reason given"
}

// print writes the sum.
func (s *summary) print(w io.Writer, name string) {
	slices.Sort(s.skips)
	for _, skip := range s.skips {
		fmt.Fprintf(w, "SKIPPED %s\n", skip)
	}
	word, flaky := "all good", ""
	if !s.good() {
		word = "NOT GOOD"
		for _, e := range s.earnest {
			fmt.Fprintf(w, "NOT TO BE RUN AGAIN %s\n", e)
		}
	}
	if len(s.flaky) > 0 {
		flaky = fmt.Sprintf(", %d FLAKY", len(s.flaky))
	}
	for _, u := range s.flaky {
		fmt.Fprintf(w, "FLAKY %s: it failed once and passed when it ran again, alone. The first time it said:\n%s\n", u, u.said)
	}
	fmt.Fprintf(w, "== %s: %s: %d packages, %d tests passed, %d failed%s, %d SKIPPED\n\n", name, word, s.packages, len(s.passed), len(s.failed), flaky, len(s.skips))
}
