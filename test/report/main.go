// Command report runs go test -json and sums it up: a line per package, the
// output of what failed, and every skip by name with its reason.
//
//	report NAME go test -json [flags] PACKAGES
//
// PACKAGES is one argument, the last. Tests that failed are run once more, each
// alone, if there are few of them (see summary.again); one that passes then is
// called FLAKY, loudly, and does not fail the run. The exit code is 1 if anything failed.
package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
)

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: report NAME go test -json [flags] PACKAGES")
		os.Exit(2)
	}
	if !report(os.Stdout, os.Args[1], os.Args[2:], run) {
		os.Exit(1)
	}
}

// report runs command, and what failed again, and says whether all is well.
func report(w io.Writer, name string, command []string, run func(command []string, w io.Writer) *summary) bool {
	s := run(command, w)
	for _, u := range s.again() {
		fmt.Fprintf(w, "\nAGAIN, alone: %s\n", u)
		if second := run(u.command(command), w); second.good() && second.passed[u.String()] {
			s.forgive(u)
		}
	}
	s.print(w, name)
	return s.good()
}

// run runs one go test -json and reads what it says.
func run(command []string, w io.Writer) *summary {
	s := newSummary()
	cmd := exec.Command(command[0], command[1:]...)
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	done := make(chan error, 1)
	go func() {
		err := cmd.Run()
		in.Close()
		done <- err
	}()
	s.read(out, w)
	s.broken(<-done)
	return s
}
