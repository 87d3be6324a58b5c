package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
)

// out is a run in a shorthand: "fail p T", "pause p T/a", "output p T: text"; a package's own event has no test.
func out(lines string) string {
	var b strings.Builder
	for line := range strings.Lines(lines) {
		line, text, _ := strings.Cut(strings.TrimSpace(line), ": ")
		f := append(strings.Fields(line), "", "")
		if f[0] != "" {
			fmt.Fprintf(&b, "{\"Action\":%q,\"Package\":%q,\"Test\":%q,\"Output\":%q}\n", f[0], f[1], f[2], text+"\n")
		}
	}
	return b.String()
}

const oneFailed = `
	pass p A
	output p B:     b_test.go:7: too late
	fail p B
	fail p
	skip p2
	pass p3`

func TestReport(t *testing.T) {
	scripts := `
		pause p S/a
		pause p S/b
		output p S/a:     s_test.go:1: a is late
		fail p S/a
		output p S/b: panicked: no
		%s p S/b
		output p S: --- FAIL: S (0.1s)
		fail p S
		fail p`
	tests := map[string]struct {
		first string
		again map[string]string // the second runs wanted, by package and -run
		good  bool
		says  []string
	}{
		"all pass":    {"pass p A\nskip p B\npass p", nil, true, []string{"== x: all good: 1 packages, 1 tests passed, 0 failed, 1 SKIPPED"}},
		"nothing ran": {"skip p", nil, false, []string{"NOT GOOD"}},
		"passes again": {
			oneFailed, map[string]string{"p ^B$": "pass p B\npass p"},
			true, []string{"FAILED p B", "FLAKY p B", "too late", "all good: 2 packages, 1 tests passed, 0 failed, 1 FLAKY"},
		},
		"fails again":         {oneFailed, map[string]string{"p ^B$": "fail p B\nfail p"}, false, []string{"NOT GOOD", "1 failed,"}},
		"is skipped then":     {oneFailed, map[string]string{"p ^B$": "skip p B\npass p"}, false, []string{"NOT GOOD"}},
		"runs no test then":   {oneFailed, map[string]string{"p ^B$": "pass p"}, false, []string{"NOT GOOD"}},
		"one of two passes":   {"fail p A\nfail p B\nfail p", map[string]string{"p ^A$": "pass p A\npass p", "p ^B$": "fail p B\nfail p"}, false, []string{"FLAKY p A", "1 failed, 1 FLAKY"}},
		"two packages":        {"fail p A\nfail p\nfail q A\nfail q", map[string]string{"p ^A$": "pass p A\npass p", "q ^A$": "pass q A\npass q"}, true, []string{"FLAKY q A", "2 FLAKY"}},
		"more than a few":     {"fail p A\nfail p B\nfail p C\nfail p D\nfail p", nil, false, []string{"4 failed,"}},
		"race":                {"output p A: WARNING: DATA RACE\n" + oneFailed, nil, false, []string{"NOT TO BE RUN AGAIN p A: WARNING: DATA RACE"}},
		"panic":               {"output p B: panic: oh\nfail p B\nfail p", nil, false, []string{"NOT TO BE RUN AGAIN p B: panic: oh"}},
		"a program's panic":   {"output p B:     panic: oh\nfail p B\nfail p", nil, false, []string{"NOT TO BE RUN AGAIN p B: panic: oh"}},
		"told in good course": {"output p A:     panic: caught\npass p A\nfail p B\nfail p", map[string]string{"p ^B$": "pass p B\npass p"}, true, nil},
		"leak":                {"pass p A\noutput p: goleak: found unexpected goroutines\nfail p", nil, false, []string{"NOT GOOD"}},
		"not built":           {"fail p", nil, false, []string{"NOT TO BE RUN AGAIN p: it failed as a whole"}},
		"one not built":       {oneFailed + "\nfail q", nil, false, nil},
		"a parallel subtest": {
			fmt.Sprintf(scripts, "pass"), map[string]string{"p ^S$/^a$": "pass p S/a\npass p S\npass p"},
			true, []string{"FLAKY p S/a", "a is late", "0 failed, 1 FLAKY"},
		},
		"one of two subtests": {
			fmt.Sprintf(scripts, "fail"), map[string]string{"p ^S$/^a$": "pass p S/a\npass p", "p ^S$/^b$": "fail p S/b\nfail p"},
			false, []string{"2 failed, 1 FLAKY"},
		},
		"both subtests": {
			fmt.Sprintf(scripts, "fail"), map[string]string{"p ^S$/^a$": "pass p S/a\npass p", "p ^S$/^b$": "pass p S/b\npass p"},
			true, []string{"2 FLAKY"},
		},
		"the parent spoke": {
			"output p S:     s_test.go:1: bad\n" + fmt.Sprintf(scripts, "pass"), map[string]string{"p ^S$": "pass p S\npass p"},
			true, []string{"FLAKY p S:"},
		},
		"subtests in a row": {"fail p T/1\nfail p T/2\nfail p T\nfail p", map[string]string{"p ^T$": "pass p T\npass p"}, true, []string{"1 FLAKY"}},
		"odd names":         {"pause p T/a.b\nfail p T/a.b\nfail p T\nfail p", map[string]string{`p ^T$/^a\.b$`: "pass p T/a.b\npass p"}, true, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var w strings.Builder
			ran := map[string]bool{}
			good := report(&w, "x", []string{"go", "test", "./..."}, func(command []string, w io.Writer) *summary {
				s, said := newSummary(), tt.first
				if pkg := command[len(command)-1]; pkg != "./..." {
					key := pkg + " " + strings.TrimPrefix(command[len(command)-2], "-run=")
					ran[key], said = true, tt.again[key]
				}
				s.read(strings.NewReader(out(said)), w)
				return s
			})
			if good != tt.good {
				t.Errorf("good: %v", good)
			}
			if got, want := slices.Sorted(maps.Keys(ran)), slices.Sorted(maps.Keys(tt.again)); !slices.Equal(got, want) {
				t.Errorf("ran again: %q, not %q", got, want)
			}
			for _, say := range tt.says {
				if !strings.Contains(w.String(), say) {
					t.Errorf("it does not say %q", say)
				}
			}
			if t.Failed() {
				t.Log(w.String())
			}
		})
	}
}

// TestRun runs commands for real: what go itself says is passed on, and an exit code with no failed package is a failure.
func TestRun(t *testing.T) {
	var w strings.Builder
	s := run([]string{"sh", "-c", `echo 'go: no such flag' >&2; echo '{"Action":"pass","Package":"p"}'; exit 2`}, &w)
	if s.good() || !strings.Contains(w.String(), "no such flag") {
		t.Errorf("good: %v, said %q", s.good(), w.String())
	}
	if s := run([]string{"echo", `{"Action":"pass","Package":"p"}`}, &w); !s.good() {
		t.Error("a good run is not good")
	}
	if s := run([]string{"/no/such/program"}, &w); s.good() {
		t.Error("a program that is not there is good")
	}
}

func TestReason(t *testing.T) {
	for want, lines := range map[string][]string{
		"tin is missing":  {"=== RUN   T\n", "    a_test.go:3: tin is missing\n", "--- SKIP: T (0.00s)\n"},
		"no reason given": {"=== RUN   T\n", "--- SKIP: T (0.00s)\n"},
	} {
		if got := reason(lines); got != want {
			t.Errorf("%q instead of %q", got, want)
		}
	}
}
