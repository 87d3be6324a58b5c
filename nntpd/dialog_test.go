package nntpd

import (
	"bufio"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/wildmat"
)

// TestDialogs plays testdata/dialogs: one rule a file.
//
//	# what the rule is, and where it stands
//	@ anonymous=read accounts untrusted peer motd limit=N: how the server is made
//	> a line that is sent        >> "raw octets in Go's quotes"
//	< a line that comes, with * and ?        <... lines up to a lone dot
//	= closed        = nothing: N articles in GROUP are written = GROUP N
func TestDialogs(t *testing.T) {
	files, err := filepath.Glob("testdata/dialogs/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no dialogs", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			play(t, strings.Split(string(raw), "\n"))
		})
	}
}

func dialogConfig(words []string) nodeConfig {
	var nc nodeConfig
	for _, w := range words {
		k, v, _ := strings.Cut(w, "=")
		switch k {
		case "anonymous":
			nc.anonymous = v
		case "accounts":
			nc.accounts = true
		case "untrusted":
			nc.untrusted = true
		case "peer":
			nc.peer = true
		case "motd":
			nc.edit = func(c *Config) {
				c.Lists.Motd = []byte("Hello.\n.dot\n")
				c.Lists.Subscriptions = []string{"mesh.test", "mesh.gone", "private.club"}
				c.Lists.Distributions = []string{"local\tOnly here"}
				c.Lists.Moderators = []string{"gnu.*:%s@gnu.example"}
				c.Lists.DistribPats = []string{"10:local.*:local"}
			}
		case "small":
			nc.edit = func(c *Config) { c.MaxArticle, c.MaxPost = 600, 900 }
		}
	}
	return nc
}

type player struct {
	t   *testing.T
	n   *node
	c   net.Conn
	r   *bufio.Reader
	out strings.Builder
}

func play(t *testing.T, script []string) {
	p := &player{t: t}
	var conf []string
	for i, l := range script {
		op, rest, _ := strings.Cut(l, " ")
		if op == "@" {
			conf = append(conf, strings.Fields(rest)...)
			continue
		}
		if op == "" || op == "#" {
			continue
		}
		if p.n == nil {
			p.n = start(t, dialogConfig(conf))
			p.c = p.n.dial(t)
			p.r = bufio.NewReader(p.c)
		}
		if !p.step(op, rest) {
			t.Fatalf("line %d: %s", i+1, l)
		}
	}
}

func (p *player) step(op, rest string) bool {
	switch op {
	case ">":
		p.out.WriteString(rest + "\r\n")
		return true
	case ">>":
		raw, err := strconv.Unquote(rest)
		p.out.WriteString(raw)
		return err == nil
	}
	if p.out.Len() > 0 {
		if _, err := io.WriteString(p.c, p.out.String()); err != nil {
			p.t.Log(err)
			return false
		}
		p.out.Reset()
	}
	brackets := strings.NewReplacer("[", `\[`, `\`, `\\`)
	switch op {
	case "<":
		got, err := p.r.ReadString('\n')
		if err != nil || !strings.HasSuffix(got, "\r\n") || !wildmat.ParseClassic(brackets.Replace(rest)).Match(got[:len(got)-2]) {
			p.t.Logf("got %q, %v", got, err)
			return false
		}
	case "<...":
		for {
			got, err := p.r.ReadString('\n')
			if err != nil {
				p.t.Log(err)
				return false
			}
			if got == ".\r\n" {
				return true
			}
		}
	case "=":
		return p.state(rest)
	default:
		return false
	}
	return true
}

func (p *player) state(what string) bool {
	if what == "closed" {
		got, err := p.r.ReadString('\n')
		if err == nil || got != "" {
			p.t.Logf("got %q, %v", got, err)
			return false
		}
		return true
	}
	group, n, _ := strings.Cut(what, " ")
	if got := p.n.count(p.t, article.Group(group)); strconv.FormatUint(got, 10) != n {
		p.t.Logf("%d articles", got)
		return false
	}
	return true
}
