package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"litfass": main})
}

// TestScripts runs whole nodes: testdata/script/*.txtar. Beside what testscript
// knows, there are the commands
//
//	node NAME [toml...]   writes NAME.toml for a node with data, host and ports of its own
//	retry TEXT CMD...     runs a program until it prints TEXT, 20 s at most
//	dialog ADDR FILE      plays a transcript: "> sent", "< expected", see play
//	until ADDR FILE       plays it again and again until it passes, 20 s at most
//	hang ADDR             connects, begins an article and goes silent until the script ends
//	lines FILE N TEXT     writes TEXT N times; %d in it counts
//
// and $NAME_NNTP and $NAME_HTTP hold the addresses of a node, $NAME_TLS one more
// for what its toml files open.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"node": cmdNode, "dialog": cmdDialog, "until": cmdUntil, "lines": cmdLines, "retry": cmdRetry, "hang": cmdHang,
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("TERM", "dumb")
			return nil
		},
	})
}

// cmdNode writes the configuration of a node.
func cmdNode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: node NAME [FILE]")
	}
	name := args[0]
	nntp, http := ts.Getenv(name+"_NNTP"), ts.Getenv(name+"_HTTP") // kept when it is written again
	if nntp == "" {
		nntp, http = freeAddr(ts), freeAddr(ts)
		ts.Setenv(name+"_NNTP", nntp)
		ts.Setenv(name+"_HTTP", http)
		ts.Setenv(name+"_TLS", freeAddr(ts))
	}
	text := fmt.Sprintf("host = %q\ndata = %q\n[nntp]\nlisten = [%q]\n[http]\nlisten = [%q]\n[torrent]\nlisten = \"\"\n[smtp]\nlisten = []\n",
		name+".example", "data-"+name, nntp, http)
	for _, file := range args[1:] {
		text += os.Expand(ts.ReadFile(file), ts.Getenv)
	}
	ts.Check(os.WriteFile(ts.MkAbs(name+".toml"), []byte(text), 0o600))
}

// freeAddr returns a loopback address below the range that the kernel hands out.
func freeAddr(ts *testscript.TestScript) string {
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 15000+rand.IntN(17000))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	ts.Fatalf("no free port")
	return ""
}

func cmdDialog(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: dialog ADDR FILE")
	}
	log, err := play(args[0], ts.ReadFile(args[1]))
	if (err != nil) != neg {
		ts.Fatalf("%s\n%v", log, err)
	}
}

func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: until ADDR FILE")
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		log, err := play(args[0], ts.ReadFile(args[1]))
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s\n%v", log, err)
		}
		time.Sleep(20 * time.Millisecond) // another process: nothing to wait on
	}
}

func cmdHang(ts *testscript.TestScript, neg bool, args []string) {
	conn, err := net.Dial("tcp", args[0])
	ts.Check(err)
	ts.Defer(func() { conn.Close() })
	in := bufio.NewReader(conn)
	_, err = in.ReadString('\n')
	ts.Check(err)
	fmt.Fprintf(conn, "POST\r\n")
	_, err = in.ReadString('\n')
	ts.Check(err)
	fmt.Fprintf(conn, "From: x@y.example\r\nSubj")
}

func cmdRetry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: retry TEXT CMD...")
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := ts.Exec(args[1], args[2:]...)
		if err == nil && strings.Contains(ts.ReadFile("stdout"), args[0]) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%q did not appear (%v)", args[0], err)
		}
		time.Sleep(20 * time.Millisecond) // another process: nothing to wait on
	}
}

// cmdLines repeats a line into a file: lines FILE N TEXT.
func cmdLines(ts *testscript.TestScript, neg bool, args []string) {
	var n int
	if _, err := fmt.Sscan(args[1], &n); err != nil || neg {
		ts.Fatalf("usage: lines FILE N TEXT")
	}
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(strings.ReplaceAll(args[2], "%d", fmt.Sprint(i)), `\n`, "\n"))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o600))
}

// play connects and plays a transcript. "> x" sends x and CRLF. "< x" wants the
// line x; "..." at its end stands for anything, "< /re/" is a regular expression,
// "< ..." alone passes over lines up to and with the one that is a single dot.
// "# x" and empty lines say nothing. It returns what was said.
func play(addr, script string) (log string, err error) {
	var said strings.Builder
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	in := bufio.NewReader(conn)
	for i, line := range strings.Split(script, "\n") {
		switch {
		case strings.HasPrefix(line, "> "), line == ">":
			fmt.Fprintf(&said, "%s\n", line)
			if _, err := fmt.Fprintf(conn, "%s\r\n", strings.TrimPrefix(strings.TrimPrefix(line, ">"), " ")); err != nil {
				return said.String(), err
			}
		case strings.HasPrefix(line, "<"):
			want := strings.TrimPrefix(strings.TrimPrefix(line, "<"), " ")
			for {
				got, err := in.ReadString('\n')
				if err != nil {
					return said.String(), fmt.Errorf("line %d: wanted %q: %w", i+1, want, err)
				}
				got = strings.TrimRight(got, "\r\n")
				fmt.Fprintf(&said, "< %s\n", got)
				if want == "..." && got != "." {
					continue
				}
				if want != "..." && !fits(want, got) {
					return said.String(), fmt.Errorf("line %d: wanted %q, got %q", i+1, want, got)
				}
				break
			}
		}
	}
	return said.String(), nil
}

func fits(want, got string) bool {
	if len(want) > 2 && want[0] == '/' && want[len(want)-1] == '/' {
		ok, _ := regexp.MatchString(want[1:len(want)-1], got)
		return ok
	}
	if head, open := strings.CutSuffix(want, "..."); open {
		return strings.HasPrefix(got, head)
	}
	return want == got
}
