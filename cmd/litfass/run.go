package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// Exit codes of every command (docs/contract.md).
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// command is one row of the command table: either run or sub is set.
type command struct {
	name   string
	args   string // its arguments, as help shows them
	short  string // one line: what it does
	long   string // more, for its own help, or ""
	run    func(*call) error
	sub    []command
	hidden bool
}

// call is one invocation of a command: its streams, its arguments, and where
// its configuration is.
type call struct {
	ctx    context.Context
	in     io.Reader
	out    io.Writer
	err    io.Writer
	getenv func(string) string

	path   string // "group add"
	cmd    *command
	fs     *flag.FlagSet
	raw    []string // arguments, not parsed yet
	args   []string // positional arguments, once parse was called
	config string   // --config
	data   string   // --data
	json   bool     // --json

	level *slog.LevelVar // of a node whose log follows the configuration; else nil
}

// usageError is wrong use: exit 2, with a hint where help is.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// errHelp means help was asked for and shown: exit 0.
var errHelp = errors.New("help shown")

// errSilent fails a command that has said why already.
var errSilent = errors.New("failed")

// run is the whole program: it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) int {
	c := &call{ctx: ctx, in: stdin, out: stdout, err: stderr, getenv: getenv}
	err := c.dispatch(commands(), args)
	var wrong usageError
	switch {
	case err == nil, errors.Is(err, errHelp):
		return exitDone
	case errors.Is(err, errSilent):
		return exitFailed
	case errors.As(err, &wrong):
		fmt.Fprintf(stderr, "litfass: %s\n", wrong.text)
		c.usage(stderr)
		return exitUsage
	}
	fmt.Fprintf(stderr, "litfass: %s\n", err)
	return exitFailed
}

// dispatch reads the global flags, finds the command and runs it.
func (c *call) dispatch(table []command, args []string) error {
	fs := c.flagSet("litfass")
	version := fs.Bool("version", false, "the same as the command")
	if err := fs.Parse(args); err != nil {
		return c.flagError(err)
	}
	if args = fs.Args(); *version {
		args = []string{"version"}
	}
	for {
		if len(args) == 0 {
			if c.cmd == nil {
				return usagef("a command is needed")
			}
			return usagef("%s needs one of: %s", c.path, names(c.cmd.sub))
		}
		if args[0] == "help" {
			return c.help(table, args[1:])
		}
		cmd := find(table, args[0])
		if cmd == nil {
			return usagef("unknown command %q", strings.TrimSpace(c.path+" "+args[0]))
		}
		c.cmd, c.path, args = cmd, strings.TrimSpace(c.path+" "+cmd.name), args[1:]
		if cmd.run != nil {
			break
		}
		table = cmd.sub
		for len(args) > 0 && (args[0] == "-h" || args[0] == "--help" || args[0] == "-help") {
			c.usage(c.out)
			return errHelp
		}
	}
	c.raw, c.fs = args, c.flagSet("litfass "+c.path)
	return c.cmd.run(c)
}

// flagSet makes a set with the flags every command knows.
func (c *call) flagSet(name string) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	fs.StringVar(&c.config, "config", c.config, "configuration `FILE`")
	fs.StringVar(&c.data, "data", c.data, "data folder `DIR`; wins over the file")
	fs.BoolVar(&c.json, "json", c.json, "print JSON")
	return fs
}

// parse reads the command's own arguments; flags may stand anywhere among them,
// up to "--". There must be least to most positional ones (most < 0: any number).
func (c *call) parse(least, most int) error {
	rest := c.raw
	for len(rest) > 0 {
		if err := c.fs.Parse(rest); err != nil {
			return c.flagError(err)
		}
		done := len(rest) - c.fs.NArg()
		stopped := done > 0 && rest[done-1] == "--"
		rest = c.fs.Args()
		if stopped {
			c.args = append(c.args, rest...)
			break
		}
		if len(rest) > 0 {
			c.args, rest = append(c.args, rest[0]), rest[1:]
		}
	}
	switch {
	case len(c.args) < least:
		return usagef("%s: an argument is missing", c.path)
	case most >= 0 && len(c.args) > most:
		return usagef("%s: %q is one argument too many", c.path, c.args[most])
	}
	return nil
}

func (c *call) flagError(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		c.usage(c.out)
		return errHelp
	}
	text := flagText(err.Error())
	if c.path != "" {
		text = c.path + ": " + text
	}
	return usageError{text}
}

// flagText says in our words what package flag says in its own.
func flagText(s string) string {
	if name, ok := strings.CutPrefix(s, "flag provided but not defined: -"); ok {
		return "there is no option --" + strings.TrimPrefix(name, "-")
	}
	if name, ok := strings.CutPrefix(s, "flag needs an argument: -"); ok {
		return "--" + name + " needs a value"
	}
	for begin, mid := range map[string]string{"invalid value ": " for flag -", "invalid boolean value ": " for -"} {
		rest, ok := strings.CutPrefix(s, begin)
		value, rest, cut := strings.Cut(rest, mid)
		if name, why, colon := strings.Cut(rest, ": "); ok && cut && colon {
			return fmt.Sprintf("--%s %s: %s", name, value, strings.TrimLeft(strings.TrimPrefix(why, value), ": "))
		}
	}
	return s
}

func find(table []command, name string) *command {
	for i := range table {
		if table[i].name == name {
			return &table[i]
		}
	}
	return nil
}

func names(table []command) string {
	var out []string
	for _, c := range table {
		if !c.hidden {
			out = append(out, c.name)
		}
	}
	return strings.Join(out, ", ")
}

// help shows the help of the command named.
func (c *call) help(table []command, args []string) error {
	for _, a := range args {
		cmd := find(table, a)
		if cmd == nil {
			return usagef("unknown command %q", strings.TrimSpace(c.path+" "+a))
		}
		c.cmd, c.path, table = cmd, strings.TrimSpace(c.path+" "+cmd.name), cmd.sub
	}
	if c.cmd != nil && c.cmd.run != nil {
		c.raw, c.fs = []string{"-h"}, c.flagSet("litfass "+c.path)
		return c.cmd.run(c)
	}
	c.usage(c.out)
	return errHelp
}

// usage shows the help of c's command, or the table of all.
func (c *call) usage(w io.Writer) {
	switch {
	case c.cmd == nil:
		fmt.Fprint(w, "usage: litfass [--config FILE] [--data DIR] COMMAND\n\n")
		c.table(w, commands(), "")
		fmt.Fprint(w, "\n\"litfass help COMMAND\" says more. Every command that lists takes --json.\n")
	case c.cmd.run == nil:
		fmt.Fprintf(w, "usage: litfass %s COMMAND\n\n", c.path)
		c.table(w, c.cmd.sub, c.path+" ")
	default:
		fmt.Fprintf(w, "usage: litfass %s\n%s\n", strings.TrimSpace(c.path+" "+c.cmd.args), c.cmd.short)
		if c.cmd.long != "" {
			fmt.Fprintf(w, "\n%s\n", c.cmd.long)
		}
		if c.fs != nil {
			fmt.Fprintln(w)
			c.fs.VisitAll(func(f *flag.Flag) {
				name, text := flag.UnquoteUsage(f)
				fmt.Fprintf(w, "  --%-24s %s\n", strings.TrimSpace(f.Name+" "+name), text)
			})
		}
	}
}

func (c *call) table(w io.Writer, table []command, prefix string) {
	for _, cmd := range table {
		if !cmd.hidden {
			args := cmd.args
			if cmd.run == nil {
				args = strings.ReplaceAll(names(cmd.sub), ", ", "|")
			}
			if len(args) > 34 {
				args = "..."
			}
			fmt.Fprintf(w, "  %-44s %s\n", prefix+cmd.name+" "+args, cmd.short)
		}
	}
}
