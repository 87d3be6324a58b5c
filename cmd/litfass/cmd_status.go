package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// statusJSON is how a node is doing.
type statusJSON struct {
	Ready     bool                         `json:"ready"`
	Host      string                       `json:"host"`
	Version   string                       `json:"version"`
	PID       int                          `json:"pid"`
	Data      string                       `json:"data"`
	Uptime    float64                      `json:"uptime_seconds"`
	Doors     []doorJSON                   `json:"doors"`
	Groups    int                          `json:"groups"`
	Articles  uint64                       `json:"articles"` // places: an article in two groups counts twice
	Arrived   uint64                       `json:"arrived"`  // the newest Seq
	Followers []followerJSON               `json:"followers"`
	Peers     []peerStatusJSON             `json:"peers"`
	Waiting   int                          `json:"waiting"`  // in the waiting room
	LeftOut   int                          `json:"left_out"` // groups that the newest list of their hierarchy does not name
	Disk      diskJSON                     `json:"disk"`
	Memory    int64                        `json:"memory_octets"`
	Limits    string                       `json:"limits"`
	Outcomes  map[string]map[string]uint64 `json:"outcomes"` // by intake, then by reason, since the start
	TLSKey    string                       `json:"tls_key"`  // pin of the key that all doors show
	Warnings  []string                     `json:"warnings"`
}

type doorJSON struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

type followerJSON struct {
	Name string `json:"name"`
	Lag  uint64 `json:"lag"`
}

type diskJSON struct {
	Used  int64 `json:"used_octets"`
	Quota int64 `json:"quota_octets"`
	Free  int64 `json:"free_octets"`

	Classes []classJSON `json:"classes"`
}

// classJSON is how one retention class of the spool stands.
type classJSON struct {
	Keep     float64 `json:"keep_seconds"` // 0: no bound
	Segments int     `json:"segments"`
	Bytes    int64   `json:"octets"`
	Dead     int64   `json:"dead_octets"`
}

func (c classJSON) String() string {
	what := "kept for ever"
	if c.Keep > 0 {
		what = fmt.Sprintf("kept up to %d d", int(c.Keep/86400))
	}
	return fmt.Sprintf("%-16s %s in %d segments, %s of it removed", what, human(c.Bytes), c.Segments, human(c.Dead))
}

func cmdStatus(c *call) error {
	wait := c.fs.String("wait", "0", "wait up to `DUR` until the node is ready")
	if err := c.parse(0, 0); err != nil {
		return err
	}
	patience, err := parseDuration(*wait)
	if err != nil {
		return usagef("status: --wait: %v", err)
	}
	cfg, err := loadConfig(c.config, c.data)
	if err != nil {
		return err
	}
	st, err := c.awaitStatus(cfg, patience)
	if err != nil {
		if c.json {
			_ = c.printJSON(map[string]any{"ready": false, "error": err.Error()})
			return errSilent
		}
		return err
	}
	if c.json {
		err = c.printJSON(st)
	} else {
		c.printStatus(st)
	}
	if err == nil && !st.Ready {
		return errSilent
	}
	return err
}

// awaitStatus asks until the node is ready or patience ends.
func (c *call) awaitStatus(cfg config, patience time.Duration) (st statusJSON, err error) {
	deadline := time.Now().Add(patience)
	for {
		n, err := reach(c.ctx, cfg.Data)
		if err == nil {
			err = n.ask(c.ctx, "status", struct{}{}, &st)
			err = errors.Join(err, n.close())
		}
		if err == nil && st.Ready || time.Now().After(deadline) {
			if errors.Is(err, errNoNode) {
				err = fmt.Errorf("%w; start it with \"litfass serve\", or name its folder with --data", err)
			}
			return st, err
		}
		select {
		case <-c.ctx.Done():
			return st, c.ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (c *call) printStatus(st statusJSON) {
	word := "ready"
	if !st.Ready {
		word = "starting, not ready yet"
	}
	fmt.Fprintf(c.out, "%s is %s; up %s, litfass %s, process %d\n\n", st.Host, word, (time.Duration(st.Uptime) * time.Second).String(), st.Version, st.PID)
	for _, w := range st.Warnings {
		fmt.Fprintf(c.out, "  ATTENTION  %s\n", w)
	}
	for _, d := range st.Doors {
		fmt.Fprintf(c.out, "  %-10s %s\n", d.Name, d.Address)
	}
	fmt.Fprintf(c.out, "  articles   %d in %d groups; %d arrived so far\n", st.Articles, st.Groups, st.Arrived)
	if st.Waiting > 0 {
		fmt.Fprintf(c.out, "  waiting    %d articles wait for a decision\n", st.Waiting)
	}
	if st.LeftOut > 0 {
		fmt.Fprintf(c.out, "  left out   %d groups are not on the newest list of their hierarchy (litfass group list --left-out)\n", st.LeftOut)
	}
	quota := "no quota"
	if st.Disk.Quota > 0 {
		quota = fmt.Sprintf("of %s allowed (%d %%)", human(st.Disk.Quota), st.Disk.Used*100/st.Disk.Quota)
	}
	fmt.Fprintf(c.out, "  disk       %s %s, %s free on the disk (%s)\n", human(st.Disk.Used), quota, human(st.Disk.Free), st.Data)
	if len(st.Disk.Classes) > 1 {
		for _, cl := range st.Disk.Classes {
			fmt.Fprintf(c.out, "  class      %s\n", cl)
		}
	}
	fmt.Fprintf(c.out, "  memory     %s\n", human(st.Memory))
	fmt.Fprintf(c.out, "  limits     %s\n", st.Limits)
	if r := refusals(st.Outcomes); r != "" {
		fmt.Fprintf(c.out, "  refused    %s (docs/agent.md says what these mean)\n", r)
	}
	fmt.Fprintf(c.out, "  TLS key    %s\n", st.TLSKey)
	for _, f := range st.Followers {
		fmt.Fprintf(c.out, "  follower   %-16s %s\n", f.Name, behind(f.Lag))
	}
	for _, p := range st.Peers {
		fmt.Fprintf(c.out, "  peer       %-16s %s\n", p.Name, p.sentence())
	}
}

func behind(lag uint64) string {
	if lag == 0 {
		return "up to date"
	}
	return fmt.Sprintf("%d articles behind", lag)
}

// serverActs are the commands that only a running node answers.
func (s *server) serverActs(c *control) {
	act(c, "status", func(ctx context.Context, _ struct{}) (statusJSON, error) { return s.status(ctx) })
	act(c, "reload", func(context.Context, struct{}) (reloadJSON, error) { return s.reload() })
}

func (s *server) status(ctx context.Context) (statusJSON, error) {
	k := s.core
	st := statusJSON{
		Host: k.host, Version: versionString(), PID: os.Getpid(), Data: k.dir.path, Uptime: k.now().Sub(k.begin).Seconds(),
		Arrived: uint64(k.spool.Last()), Disk: k.diskState(), Memory: resident(),
		TLSKey: k.tls.Pin(), Limits: k.conf().Limits.show(), Outcomes: k.outcomes(), Doors: []doorJSON{}, Followers: []followerJSON{}, Peers: []peerStatusJSON{}, Warnings: []string{},
	}
	s.mu.Lock()
	st.Ready = s.ready
	for _, p := range s.parts {
		for _, a := range p.addrs {
			st.Doors = append(st.Doors, doorJSON{p.name, a})
		}
		for _, a := range p.secure {
			st.Doors = append(st.Doors, doorJSON{p.name + ".tls", a})
		}
	}
	s.mu.Unlock()
	for g, err := range k.spool.Groups(ctx) {
		if err != nil {
			return st, fmt.Errorf("list groups: %w", err)
		}
		st.Groups++
		st.Articles += g.Count
	}
	st.Warnings = append(st.Warnings, k.tlsWarnings()...)
	if k.keys.Ledger.Timeless() {
		st.Warnings = append(st.Warnings, "the clock says "+k.now().UTC().Format(time.DateTime)+", which is before this program was built; set it: until then what is signed waits and nothing can be posted")
	}
	st.Peers = append(st.Peers, s.peerStates()...)
	st.Followers = append(st.Followers, k.followerStates()...)
	if w, err := k.waitingCount(ctx); err == nil {
		st.Waiting = w
	}
	if l, err := k.agent.LeftOut(ctx); err == nil {
		st.LeftOut = len(l)
	}
	if q := st.Disk.Quota; q > 0 && st.Disk.Used > q/100*97 {
		st.Warnings = append(st.Warnings, "the spool's quota is used up; the oldest articles go first (key spool.quota)")
	}
	if st.Disk.Free >= 0 && st.Disk.Free < 64<<20 {
		st.Warnings = append(st.Warnings, "the disk is nearly full; make room, or articles will be turned away for now")
	}
	return st, nil
}

// diskState says what the articles take and what is free.
func (k *core) diskState() diskJSON {
	st := k.local.Stats()
	d := diskJSON{Used: st.Disk, Quota: st.Quota, Free: -1, Classes: []classJSON{}}
	for _, cl := range st.Classes {
		d.Classes = append(d.Classes, classJSON{cl.Keep.Seconds(), cl.Segments, cl.Bytes, cl.Dead})
	}
	var fsys unix.Statfs_t
	if unix.Statfs(k.dir.path, &fsys) == nil {
		d.Free = int64(fsys.Bavail) * int64(fsys.Bsize) // their types differ between machines
	}
	return d
}

// resident returns the resident memory in octets: proc(5), statm.
func resident() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	f := bytes.Fields(text)
	if len(f) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(strings.TrimSpace(string(f[1])), 10, 64)
	return pages * int64(os.Getpagesize())
}
