// Command report reads the output of go test -json and sums it up: a line per
// package, the output of what failed, and every skip by name with its reason.
// Its exit code is 1 if anything failed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
)

// event is one line of go test -json (see go doc test2json).
type event struct {
	Action, Package, ImportPath, Test, Output string
	Elapsed                                   float64
}

type summary struct {
	passed, failed, skipped int
	packages, bad           int
	output                  map[string][]string // lines by package and test
	skips                   []string
	seconds                 float64
}

func main() {
	name := "tests"
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	s := &summary{output: map[string][]string{}}
	s.read(os.Stdin, os.Stdout)
	if s.print(os.Stdout, name) {
		return
	}
	os.Exit(1)
}

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

func (s *summary) take(e event, w io.Writer) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output", "build-output":
		if e.Action == "build-output" {
			fmt.Fprint(w, e.Output)
		}
		if len(s.output[key]) < 2000 {
			s.output[key] = append(s.output[key], e.Output)
		}
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
	short := strings.TrimPrefix(e.Package, "github.com/litfass/litfass/")
	if e.Action == "skip" { // no test files
		return
	}
	s.packages++
	s.seconds += e.Elapsed
	word := "ok  "
	if e.Action == "fail" {
		s.bad++
		word = "FAIL"
		fmt.Fprint(w, strings.Join(s.output[e.Package+" "], ""))
	}
	fmt.Fprintf(w, "%s %-28s %6.1f s\n", word, short, e.Elapsed)
}

func (s *summary) test(e event, key string, w io.Writer) {
	switch e.Action {
	case "pass":
		s.passed++
	case "fail":
		s.failed++
		fmt.Fprintf(w, "\nFAILED %s\n%s\n", key, strings.Join(s.output[key], ""))
	case "skip":
		s.skipped++
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

// print writes the sum and says whether all is well.
func (s *summary) print(w io.Writer, name string) bool {
	sort.Strings(s.skips)
	for _, skip := range s.skips {
		fmt.Fprintf(w, "SKIPPED %s\n", skip)
	}
	good := s.failed == 0 && s.bad == 0 && s.packages > 0
	word := "all good"
	if !good {
		word = "NOT GOOD"
	}
	fmt.Fprintf(w, "== %s: %s: %d packages, %d tests passed, %d failed, %d SKIPPED\n\n", name, word, s.packages, s.passed, s.failed, s.skipped)
	return good
}
