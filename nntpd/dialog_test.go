package nntpd

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/nntp"
	"github.com/litfass/litfass/internal/wildmat"
	"github.com/litfass/litfass/spool"
)

// TestDialogs plays testdata/dialogs: one rule a file.
//
//	# what the rule is, and where it stands
//	@ anonymous=read accounts staff untrusted peer ...: how the server is made, see dialogConfig
//	> a line that is sent        >> "raw octets in Go's quotes"
//	< a line that comes, with * and ?        << "raw octets"    <... lines up to a lone dot
//	= closed    = tls, = deflate: from here on it is    = obeyed: control messages are
//	= GROUP N: there are N articles in it    = no GROUP    = waiting N: so many wait for a moderator
//
// docs/rfc.tsv names the dialogs of each section, and a test in internal/floors
// that each of them is named there.
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

func dialogConfig(t *testing.T, words []string) nodeConfig {
	var nc nodeConfig
	var edits []func(*Config)
	var agents []func(*agent.Agent)
	for _, w := range words {
		k, v, _ := strings.Cut(w, "=")
		switch k {
		case "anonymous":
			nc.anonymous = v
		case "accounts": // anna and box
			nc.accounts = true
		case "staff": // those, mona, who moderates mesh.mod, and olga, who administers
			nc.accounts, nc.staff = true, true
		case "untrusted":
			nc.untrusted = true
		case "peer": // loopback is a peer's
			nc.peer = true
		case "paused": // which is to wait
			nc.peer, nc.paused = true, true
		case "cutoff": // articles of over 90 days are too old
			agents = append(agents, func(a *agent.Agent) { a.Policy.Cutoff = 90 * 24 * time.Hour })
		case "members": // private.* is for accounts
			agents = append(agents, func(a *agent.Agent) { a.Policy.GuestRead, a.Policy.GuestPost = "*,!private.*", "mesh.*" })
		case "state": // there is a waiting room
			agents = append(agents, func(a *agent.Agent) { a.State = stateDB(t) })
		case "tls", "unlisted", "implicit":
			id := identity(t)
			edits = append(edits, func(c *Config) { c.TLS, c.OfferTLS = id.Server(), func() bool { return k != "unlisted" } })
		case "motd":
			edits = append(edits, keptLists)
		case "small":
			edits = append(edits, func(c *Config) { c.MaxArticle, c.MaxPost = 600, 900 })
		default:
			t.Fatalf("no server is made with %q", w)
		}
	}
	nc.edit = func(c *Config) {
		for _, e := range edits {
			e(c)
		}
	}
	nc.agent = func(a *agent.Agent) {
		for _, e := range agents {
			e(a)
		}
	}
	return nc
}

func keptLists(c *Config) {
	c.Lists.Motd = []byte("Hello.\n.dot\n")
	c.Lists.Subscriptions = []string{"mesh.test", "mesh.gone", "private.club"}
	c.Lists.Distributions = []string{"local\tOnly here"}
	c.Lists.Moderators = []string{"gnu.*:%s@gnu.example"}
	c.Lists.DistribPats = []string{"10:local.*:local"}
}

type player struct {
	t   *testing.T
	n   *node
	c   net.Conn
	r   *bufio.Reader
	out strings.Builder

	send func(string) error
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
			p.n = start(t, dialogConfig(t, conf))
			if slices.Contains(conf, "implicit") {
				p.n.addr = p.n.implicit(t)
			}
			p.use(p.n.dial(t))
			if slices.Contains(conf, "implicit") && !p.tls() {
				t.Fatal("no TLS")
			}
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
		if err := p.send(p.out.String()); err != nil {
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
	case "<<":
		want, err := strconv.Unquote(rest)
		got := make([]byte, len(want))
		if err == nil {
			_, err = io.ReadFull(p.r, got)
		}
		if err != nil || string(got) != want {
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

func (p *player) use(c net.Conn) {
	p.c, p.r = c, bufio.NewReader(c)
	p.send = func(s string) error { _, err := io.WriteString(c, s); return err }
}

func (p *player) tls() bool {
	c := tls.Client(p.c, &tls.Config{InsecureSkipVerify: true}) // the certificate is looked at elsewhere
	if err := c.Handshake(); err != nil {
		p.t.Log(err)
		return false
	}
	p.use(c)
	return true
}

func (p *player) state(what string) bool {
	what, arg, _ := strings.Cut(what, " ")
	switch what {
	case "closed":
		got, err := p.r.ReadString('\n')
		if err == nil || got != "" {
			p.t.Logf("got %q, %v", got, err)
			return false
		}
		return true
	case "tls":
		return p.tls()
	case "deflate":
		c := nntp.Deflate(p.c, new(nntp.Compressors))
		p.t.Cleanup(func() { c.Close() })
		out := nntp.NewConn(c, nntp.Options{})
		p.use(c)
		p.send = func(s string) error { out.Str(s); return out.Flush() }
		return true
	case "obeyed":
		return p.obeyed()
	case "no":
		_, err := p.n.spool.Group(p.t.Context(), article.Group(arg))
		return errors.Is(err, spool.ErrNotFound)
	case "waiting":
		all, err := p.n.agent.Waiting(p.t.Context())
		return err == nil && strconv.Itoa(len(all)) == arg
	}
	if got := p.n.count(p.t, article.Group(what)); strconv.FormatUint(got, 10) != arg {
		p.t.Logf("%d articles", got)
		return false
	}
	return true
}

// obeyed lets the control messages that are in the log act.
func (p *player) obeyed() bool {
	c := &agent.Control{Agent: p.n.agent}
	for e, err := range p.n.spool.Since(p.t.Context(), 0) {
		if err == nil {
			err = c.Follow(p.t.Context(), e)
		}
		if err != nil {
			p.t.Log(err)
			return false
		}
	}
	return true
}
