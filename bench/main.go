package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/litfass/litfass/test/innbox"
	"github.com/litfass/litfass/test/nodebox"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one run of all measurements.
type bench struct {
	full   bool
	only   string
	litf   string // our binary
	innBin string // "": no INN here
	groups *corpus
	rows   []row
}

// row is one line of the table.
type row struct {
	what, ours, inn, ratio, goal string // inn: of INN, or of whom it names
	ok                           string // "yes", "NO", or "" where nothing is asked for
}

func run(ctx context.Context) error {
	b := &bench{groups: newCorpus("groups", 20)}
	flag.BoolVar(&b.full, "full", os.Getenv("BENCH") == "full", "all measurements at full size (or BENCH=full)")
	flag.StringVar(&b.only, "only", "", "measure these alone: intake,check,read,idle,readers,logins,secure,compressed,biglist,visible,burst,torrents,forum,kill,power")
	flag.StringVar(&b.litf, "litfass", "", "measure this binary; default: build it")
	noINN := flag.Bool("no-inn", false, "do not measure INN beside us")
	flag.Parse()
	if os.Getenv(envInside) != "" {
		return torrentsInside(ctx, b.litf)
	}
	tmp, err := os.MkdirTemp("", "litfass-bin-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if b.litf == "" {
		if b.litf, err = nodebox.Build(ctx, tmp); err != nil {
			return err
		}
	}
	if !*noINN {
		if b.innBin, err = innbox.Find(); err != nil {
			fmt.Fprintf(os.Stderr, "INN is not measured: %v\n", err)
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Fprintf(os.Stderr, "load average before: %s", load)
	for _, m := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"intake", b.intake}, {"read", b.read}, {"readers", b.readers}, {"check", b.check}, {"idle", b.idle},
		{"logins", b.logins}, {"secure", b.secure}, {"compressed", b.compressed}, {"biglist", b.bigList},
		{"visible", b.visible}, {"burst", b.burst}, {"torrents", b.torrents}, {"forum", b.forum}, {"kill", b.kills}, {"power", b.power},
	} {
		if b.only != "" && !strings.Contains(","+b.only+",", ","+m.name+",") {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().Format("15:04:05"), m.name)
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := m.run(ctx); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", m.name, err)
			b.add(row{what: m.name, ours: "failed: " + firstLine(err), ok: "NO"})
		}
	}
	b.print()
	return nil
}

func firstLine(err error) string {
	s, _, _ := strings.Cut(err.Error(), "\n")
	return s[:min(len(s), 60)]
}

func (b *bench) add(r row) {
	b.rows = append(b.rows, r)
	fmt.Fprintf(os.Stderr, "  %s: litfass %s, beside us %s %s\n", r.what, r.ours, r.inn, r.ratio)
}

func (b *bench) print() {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHAT\tLITFASS\tINN (OR WHO IS NAMED)\tRATIO\tTO REACH\tREACHED")
	for _, r := range b.rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.what, r.ours, r.inn, r.ratio, r.goal, r.ok)
	}
	w.Flush()
}

// size chooses between the quick and the full profile.
func (b *bench) size(quick, full int) int {
	if b.full {
		return full
	}
	return quick
}

func yes(ok bool) string {
	if ok {
		return "yes"
	}
	return "NO"
}
