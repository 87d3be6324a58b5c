package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

func manualCommands() []command {
	return []command{
		{name: "manual", short: "print the manual page litfass(1)", run: cmdManual, long: "To read it: litfass manual | man -l -"},
		{name: "completion", args: "bash|zsh|fish", short: "print the completion script of a shell", run: cmdCompletion,
			long: "bash: source <(litfass completion bash)\nzsh:  source <(litfass completion zsh)\nfish: litfass completion fish | source"},
	}
}

// walk calls fn for each command that does something: its words and its flags.
func walk(table []command, path string, fn func(path string, cmd *command, flags []*flag.Flag)) {
	for i := range table {
		cmd := &table[i]
		words := strings.TrimSpace(path + " " + cmd.name)
		switch {
		case cmd.hidden:
		case cmd.run == nil:
			walk(cmd.sub, words, fn)
		default:
			fn(words, cmd, flagsOf(words, cmd))
		}
	}
}

// flagsOf lets a command declare its flags by asking it for help; the flags that
// all commands know are left out.
func flagsOf(path string, cmd *command) []*flag.Flag {
	c := &call{in: strings.NewReader(""), out: io.Discard, err: io.Discard, getenv: func(string) string { return "" }, path: path, cmd: cmd, raw: []string{"-h"}}
	c.fs = c.flagSet("litfass " + path)
	_ = cmd.run(c) // errHelp
	var out []*flag.Flag
	c.fs.VisitAll(func(f *flag.Flag) {
		if f.Name != "config" && f.Name != "data" && f.Name != "json" {
			out = append(out, f)
		}
	})
	return out
}

// roff makes a text safe for roff(7).
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

func cmdManual(c *call) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	printManual(c.out)
	return nil
}

// printManual writes litfass(1), made from the table of commands.
func printManual(w io.Writer) {
	fmt.Fprint(w, `.TH LITFASS 1 "" litfass "User Commands"
.SH NAME
litfass \- a news server for small boxes: NNTP, mail, feeds, a forum, torrents
.SH SYNOPSIS
.B litfass
[\-\-config FILE] [\-\-data DIR] COMMAND
.SH DESCRIPTION
litfass keeps newsgroups and exchanges articles with neighbours. Newsreaders, browsers, mail programs and feed readers read and
write the same groups. While a node runs, commands talk to it through a socket in its data folder; when none runs, they open the data
themselves.
.SH OPTIONS
.TP
.B \-\-config \fIFILE\fR
the configuration; without it ./litfass.toml, then /etc/litfass/litfass.toml, then the built\-in default
.TP
.B \-\-data \fIDIR\fR
the data folder; wins over the file
.TP
.B \-\-json
every command that lists prints JSON
.SH COMMANDS
`)
	walk(commands(), "", func(path string, cmd *command, flags []*flag.Flag) {
		fmt.Fprintf(w, ".TP\n\\fB%s\\fR %s\n%s\n", roff(path), roff(cmd.args), roff(cmd.short))
		if cmd.long != "" {
			fmt.Fprintf(w, ".RS\n.PP\n.nf\n%s\n.fi\n.RE\n", roff(cmd.long))
		}
		if len(flags) == 0 {
			return
		}
		fmt.Fprint(w, ".RS\n")
		for _, f := range flags {
			name, text := flag.UnquoteUsage(f)
			fmt.Fprintf(w, ".TP\n\\fB\\-\\-%s\\fR \\fI%s\\fR\n%s\n", roff(f.Name), roff(name), roff(text))
		}
		fmt.Fprint(w, ".RE\n")
	})
	fmt.Fprint(w, `.SH SIGNALS
SIGTERM ends a node within 10 s, twice at once; SIGHUP reads the configuration again.
.SH EXIT STATUS
0 done, 1 failed, 2 wrong use.
.SH FILES
.TP
.I litfass.toml
the configuration; \fBlitfass config print\fR shows every key with its meaning and default
.TP
.I DATA/control.sock
where commands reach the running node
.SH SEE ALSO
slrn(1), tin(1), neomutt(1)
`)
}

func cmdCompletion(c *call) error {
	if err := c.parse(1, 1); err != nil {
		return err
	}
	var b bytes.Buffer
	switch c.args[0] {
	case "bash":
		completeBash(&b)
	case "zsh":
		b.WriteString("autoload -U +X bashcompinit && bashcompinit\n")
		completeBash(&b)
	case "fish":
		completeFish(&b)
	default:
		return usagef("completion: the shell must be bash, zsh or fish")
	}
	_, err := c.out.Write(b.Bytes())
	return err
}

// choices lists, for each place in the tree of commands, what may come next.
func choices() (places []string, next map[string][]string) {
	next = map[string][]string{}
	var tree func(table []command, path string)
	tree = func(table []command, path string) {
		places = append(places, path)
		for _, cmd := range table {
			if !cmd.hidden {
				next[path] = append(next[path], cmd.name)
			}
			if cmd.run == nil {
				tree(cmd.sub, strings.TrimSpace(path+" "+cmd.name))
			}
		}
	}
	tree(commands(), "")
	walk(commands(), "", func(path string, _ *command, flags []*flag.Flag) {
		places = append(places, path)
		for _, f := range flags {
			next[path] = append(next[path], "--"+f.Name)
		}
		next[path] = append(next[path], "--json")
	})
	slices.Sort(places)
	return places, next
}

func completeBash(w io.Writer) {
	fmt.Fprint(w, "_litfass() {\n  local cur=${COMP_WORDS[COMP_CWORD]} path= w skip=\n"+
		"  for w in \"${COMP_WORDS[@]:1:$((COMP_CWORD-1))}\"; do\n"+
		"    if [ -n \"$skip\" ]; then skip=; continue; fi\n"+
		"    case $w in --config|--data) skip=1;; -*) ;; *) [ \"${path// /}\" = \"$path\" ] && path=\"${path:+$path }$w\";; esac\n  done\n"+
		"  case $path in\n")
	places, next := choices()
	for _, p := range places {
		if strings.Contains(p, " ") {
			continue
		}
		if p == "" {
			fmt.Fprintf(w, "    '') COMPREPLY=($(compgen -W '%s --config --data' -- \"$cur\"));;\n", strings.Join(next[p], " "))
			continue
		}
		fmt.Fprintf(w, "    %s) COMPREPLY=($(compgen -W '%s' -- \"$cur\"));;\n", p, strings.Join(next[p], " "))
	}
	for _, p := range places {
		if strings.Contains(p, " ") {
			fmt.Fprintf(w, "    '%s'*) COMPREPLY=($(compgen -W '%s' -- \"$cur\"));;\n", p, strings.Join(next[p], " "))
		}
	}
	fmt.Fprint(w, "  esac\n}\ncomplete -o default -F _litfass litfass\n")
}

func completeFish(w io.Writer) {
	places, next := choices()
	for _, p := range places {
		when := "__fish_use_subcommand"
		if p != "" {
			when = "__fish_seen_subcommand_from " + strings.ReplaceAll(p, " ", "; and __fish_seen_subcommand_from ")
		}
		for _, n := range next[p] {
			if long, ok := strings.CutPrefix(n, "--"); ok {
				fmt.Fprintf(w, "complete -c litfass -n '%s' -l %s\n", when, long)
			} else {
				fmt.Fprintf(w, "complete -c litfass -f -n '%s' -a %s\n", when, n)
			}
		}
	}
}
