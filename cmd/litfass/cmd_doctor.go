package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// finding is one thing the doctor looked at.
type finding struct {
	What string `json:"what"`
	Good bool   `json:"good"`
	Says string `json:"says"`           // what is so
	Cure string `json:"cure,omitempty"` // what to do, if it is not good
}

// cmdDoctor looks for what is wrong and says the cure. Exit 1 if anything is.
func cmdDoctor(c *call) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	found := c.examine()
	bad := 0
	for _, f := range found {
		if !f.Good {
			bad++
		}
	}
	if c.json {
		if err := c.printJSON(found); err != nil {
			return err
		}
	} else {
		for _, f := range found {
			word := "good "
			if !f.Good {
				word = "WRONG"
			}
			fmt.Fprintf(c.out, "%s  %-14s %s\n", word, f.What, f.Says)
			if f.Cure != "" {
				fmt.Fprintf(c.out, "       %-14s -> %s\n", "", f.Cure)
			}
		}
	}
	if bad > 0 {
		return errSilent
	}
	return nil
}

func (c *call) examine() []finding {
	cfg, err := loadConfig(c.config, c.data)
	if err != nil {
		return []finding{{What: "configuration", Says: err.Error(), Cure: "mend the file; \"litfass config print\" shows every key"}}
	}
	out := []finding{{What: "configuration", Good: true, Says: or(cfg.file, "built-in default")}, examineClock(time.Now()), examineDisk(cfg)}
	n, err := reach(c.ctx, cfg.Data)
	if err != nil {
		if !errors.Is(err, errNoNode) {
			return append(out, finding{What: "node", Says: err.Error(), Cure: "run the doctor as the node's user"})
		}
		out = append(out, finding{What: "node", Says: "none runs on " + cfg.Data, Cure: "start it with \"litfass serve\""})
		return append(out, examinePorts(cfg)...)
	}
	defer n.close()
	return append(out, c.examineNode(n)...)
}

// examineClock: boxes without a battery start in the past, and their articles
// are then refused by everybody.
func examineClock(now time.Time) finding {
	if now.Before(buildTime()) {
		return finding{What: "clock", Says: "says " + now.UTC().Format(time.DateTime) + ", which is before this program was built",
			Cure: "set it: ntpdate, chronyd, or date -s; until then signed articles wait, and what is posted is refused by others"}
	}
	return finding{What: "clock", Good: true, Says: now.UTC().Format(time.DateTime) + " UTC; compare it with your watch"}
}

func examineDisk(cfg config) finding {
	dir := cfg.Data
	if _, err := os.Stat(dir); err != nil {
		return finding{What: "data", Good: true, Says: dir + " is not there yet; the first start makes it"}
	}
	if err := unix.Access(dir, unix.W_OK); errors.Is(err, unix.EROFS) {
		return finding{What: "data", Says: dir + " lies on a disk that is mounted read-only", Cure: "mount it for writing; the kernel's log says whether the disk failed"}
	} else if err != nil {
		return finding{What: "data", Says: dir + " cannot be written by this user", Cure: "run as its owner, or chown it"}
	}
	var fsys unix.Statfs_t
	if err := unix.Statfs(dir, &fsys); err != nil {
		return finding{What: "data", Says: err.Error(), Cure: "is the disk mounted?"}
	}
	free := int64(fsys.Bavail) * int64(fsys.Bsize) // their types differ between machines
	if free < 64<<20 {
		return finding{What: "disk", Says: human(free) + " free", Cure: "make room, or lower spool.quota so that old articles go"}
	}
	return finding{What: "disk", Good: true, Says: human(free) + " free in " + dir}
}

func examinePorts(cfg config) []finding {
	var out []finding
	for door, addrs := range map[string][]string{"nntp": cfg.NNTP.Listen, "http": cfg.HTTP.Listen} {
		for _, a := range addrs {
			l, err := net.Listen("tcp", a)
			if err != nil {
				out = append(out, finding{What: door, Says: err.Error(), Cure: "another program has the port: stop it, or set " + door + ".listen"})
				continue
			}
			l.Close()
			out = append(out, finding{What: door, Good: true, Says: a + " is free"})
		}
	}
	return out
}

func (c *call) examineNode(n *node) []finding {
	var st statusJSON
	ctx, cancel := context.WithTimeout(c.ctx, 20*time.Second)
	defer cancel()
	if err := n.ask(ctx, "status", struct{}{}, &st); err != nil {
		return []finding{{What: "node", Says: err.Error(), Cure: "look into its log; restart it"}}
	}
	out := []finding{{What: "node", Good: st.Ready, Says: fmt.Sprintf("%s, version %s", st.Host, st.Version)}}
	if st.Version != versionString() {
		out = append(out, finding{What: "version", Says: fmt.Sprintf("the node runs %s, this program is %s", st.Version, versionString()), Cure: "restart the node"})
	}
	for _, w := range st.Warnings {
		out = append(out, finding{What: "node", Says: w})
	}
	for _, d := range st.Doors {
		f := finding{What: d.Name, Good: true, Says: d.Address + " accepts"}
		conn, err := net.DialTimeout("tcp", d.Address, 3*time.Second)
		if err != nil {
			f = finding{What: d.Name, Says: err.Error(), Cure: "a firewall, or the node is overloaded"}
		} else {
			conn.Close()
		}
		out = append(out, f)
	}
	for _, f := range st.Followers {
		if f.Lag > 100_000 {
			out = append(out, finding{What: f.Name, Says: behind(f.Lag), Cure: "it is catching up, or its log lines say what holds it"})
		}
	}
	for _, p := range st.Peers {
		out = append(out, examinePeer(p))
	}
	return out
}

func examinePeer(p peerStatusJSON) finding {
	f := finding{What: "peer " + p.Name, Good: true, Says: p.sentence()}
	if p.Connected || p.LastError == "" {
		return f
	}
	f.Good = false
	switch {
	case strings.Contains(p.LastError, "refused"):
		f.Cure = "nothing listens at " + p.Address + ": is the neighbour up, is the port right?"
	case strings.Contains(p.LastError, "no such host"), strings.Contains(p.LastError, "lookup"):
		f.Cure = "its name cannot be found: mend DNS, or give a number as address"
	case strings.Contains(p.LastError, "timeout"), strings.Contains(p.LastError, "no route"), strings.Contains(p.LastError, "unreachable"):
		f.Cure = "the link is down or a firewall drops it: ping it"
	case strings.Contains(p.LastError, "480"), strings.Contains(p.LastError, "481"), strings.Contains(p.LastError, "502"):
		f.Cure = "it does not know us: its operator must add us (from, key or login)"
	default:
		f.Cure = "it is tried again; the neighbour's log may say more"
	}
	return f
}
