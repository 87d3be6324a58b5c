package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/internal/tlsid"
	"github.com/litfass/litfass/internal/wildmat"
)

// peerBook knows the neighbours: those of the file and those added while
// running. Of two with one name, the file's wins.
type peerBook struct {
	table state.Table[peerSection]

	mu     sync.RWMutex
	paused map[string]bool // by name, also of those in the file
	file   []peerSection
	all    []peerSection
	agent  []agent.Peer
	tell   func([]peerSection) // called after each change, or nil
	cfg    config              // the limits of those that have none of their own
}

const peerBucket = "peers"

func newPeerBook(db *state.DB, cfg config) (*peerBook, error) {
	b := &peerBook{table: state.Table[peerSection]{DB: db, Bucket: peerBucket}}
	return b, b.refresh(cfg)
}

// refresh reads everything again: the peers of the configuration, and the limits
// of those that have none of their own.
func (b *peerBook) refresh(cfg config) error {
	file, limit, quota := cfg.Peer, cfg.Limits, cfg.Spool.Quota
	_, added, err := b.table.List("")
	if err != nil {
		return fmt.Errorf("read the peers: %w", err)
	}
	paused, err := b.pausedNames()
	if err != nil {
		return fmt.Errorf("read which peers are paused: %w", err)
	}
	all := append([]peerSection(nil), file...)
	for _, p := range added {
		if indexPeer(file, p.Name) < 0 {
			all = append(all, p)
		}
	}
	var forAgent []agent.Peer
	for _, p := range all {
		take, err := wildmat.Parse(p.Take)
		if err != nil {
			return fmt.Errorf("peer %s: take: %w", p.Name, err)
		}
		ap := agent.Peer{Name: p.Name, Path: p.Path, Old: p.Old, Paused: paused[p.Name], Day: limit.day(p), Share: limit.share(p, quota), From: prefixes(p.From), Take: func(g article.Group) bool { return take.Match(string(g)) }}
		if pin, err := tlsid.ParsePin(p.Key); err == nil {
			ap.Key = pin
		}
		forAgent = append(forAgent, ap)
	}
	b.mu.Lock()
	b.file, b.all, b.agent, b.cfg, b.paused = file, all, forAgent, cfg, paused
	tell := b.tell
	b.mu.Unlock()
	if tell != nil {
		tell(all)
	}
	return nil
}

func indexPeer(list []peerSection, name string) int {
	for i, p := range list {
		if p.Name == name {
			return i
		}
	}
	return -1
}

// Peer and All make it an agent.Peers.
func (b *peerBook) Peer(name string) (agent.Peer, bool) {
	for _, p := range b.All() {
		if p.Name == name {
			return p, true
		}
	}
	return agent.Peer{}, false
}

// All returns the peers in the order of the file, then those added.
func (b *peerBook) All() []agent.Peer {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.agent
}

func (b *peerBook) sections() (all []peerSection, inFile int) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.all, len(b.file)
}

func (b *peerBook) inFile(name string) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return indexPeer(b.file, name) >= 0
}

func (b *peerBook) again() error {
	b.mu.RLock()
	cfg := b.cfg
	b.mu.RUnlock()
	return b.refresh(cfg)
}

// peerStatusJSON is how it stands with one peer.
type peerStatusJSON struct {
	peerSection
	File      bool    `json:"in_file"`
	Paused    bool    `json:"paused"`
	Today     dayJSON `json:"today"`   // what it brought today, and may bring
	OnDisk    dayJSON `json:"on_disk"` // what it holds of the disk, and may hold
	Connected bool    `json:"connected"`
	Lag       uint64  `json:"lag"`
	Deferred  int     `json:"deferred"`
	Accepted  uint64  `json:"accepted"`
	Refused   uint64  `json:"refused"`
	Pulled    uint64  `json:"pulled"`
	Rate      float64 `json:"rate"`
	LastError string  `json:"last_error,omitempty"`
	ErrorAt   string  `json:"error_at,omitempty"`
	Running   bool    `json:"running"` // a node runs, so the figures mean something
}

// dayJSON is a day's use of a quota; a limit of 0 is none.
type dayJSON struct {
	Articles     int64 `json:"articles"`
	Octets       int64 `json:"octets"`
	MostArticles int64 `json:"most_articles"`
	MostOctets   int64 `json:"most_octets"`
}

func (d dayJSON) String() string {
	of := func(have, most string, limited bool) string {
		if limited {
			have += "/" + most
		}
		return have
	}
	return of(fmt.Sprint(d.Articles), fmt.Sprint(d.MostArticles), d.MostArticles > 0) + " art., " + of(human(d.Octets), human(d.MostOctets), d.MostOctets > 0)
}

func (p peerStatusJSON) sentence() string {
	if p.OnDisk.MostOctets > 0 && p.OnDisk.Octets > p.OnDisk.MostOctets {
		return "FILLS its share of the disk; " + p.doing()
	}
	return p.doing()
}

func (p peerStatusJSON) doing() string {
	if p.Paused {
		return "PAUSED: litfass peer resume " + p.Name
	}
	if p.Address == "" {
		return "we never connect to it (no address)"
	}
	if !p.Running {
		return "no node runs"
	}
	s := behind(p.Lag)
	if p.Deferred > 0 {
		s += fmt.Sprintf(", %d deferred", p.Deferred)
	}
	if p.Pull {
		s += fmt.Sprintf(", %d pulled", p.Pulled)
	}
	switch {
	case p.Connected:
		s += fmt.Sprintf(", connected, %.0f a second", p.Rate)
	case p.LastError != "":
		s += ", NOT connected: " + p.LastError
	}
	return s
}

// peerChange is peer add and peer set: nil is "as it is".
type peerChange struct {
	Name        string
	Add         bool
	Path        *string
	Address     *string
	Send        *string
	Take        *string
	Dist        *string
	Share       *int
	Old         *bool
	Pull        *bool
	DayArticles *int
	DaySize     *size
	Key         *string
	User        *string
	Password    *string
	From        *[]string
}

func peerCommands() []command {
	flags := "[--send WILDMAT] [--take WILDMAT] [--path ID] [--distributions WILDMAT] [--old] [--pull] [--day-articles N] [--day-size SIZE] [--share PERCENT] [--from PREFIX,...] [--key ID] [--user U --password-stdin]"
	return []command{
		{name: "add", args: "NAME ADDRESS " + flags, short: "exchange articles with a neighbour", run: cmdPeerAdd},
		{name: "list", short: "list neighbours and how it stands with them", run: cmdPeerList},
		{name: "set", args: "NAME [--address A] " + flags, short: "change a neighbour's settings", run: cmdPeerSet},
		{name: "pause", args: "NAME", short: "exchange nothing with a neighbour for a while", run: func(c *call) error { return cmdPeerPause(c, true) },
			long: "We neither connect to it nor take what it offers: it is told to try again later, and\nresume goes on where this left off."},
		{name: "resume", args: "NAME", short: "exchange articles again", run: func(c *call) error { return cmdPeerPause(c, false) }},
		{name: "rm", args: "NAME", short: "forget a neighbour that was added by command", run: cmdPeerRm},
		{name: "invite", args: "[--address HOST:PORT,...] [--send WILDMAT] [--take WILDMAT] [--old] [--for DUR]", short: "print a code with which another node becomes a neighbour", run: cmdPeerInvite, long: longInvite},
		{name: "join", args: "CODE [--address HOST:PORT] [--send WILDMAT] [--take WILDMAT] [--old]", short: "become a neighbour of the node that printed the code", run: cmdPeerJoin, long: longJoin},
		{name: "found", short: "show nodes on the same link that announce themselves, and how they become neighbours", run: cmdPeerFound, long: longFound},
	}
}

func (c *call) peerFlags(ch *peerChange) (stdin *bool) {
	text := func(p **string) func(string) error { return func(s string) error { *p = &s; return nil } }
	c.fs.Func("send", "`WILDMAT` of the groups it is offered (default \"*,!local.*\")", text(&ch.Send))
	c.fs.Func("take", "`WILDMAT` of the groups taken from it (default \"*\")", text(&ch.Take))
	c.fs.Func("distributions", "`WILDMAT`: articles with a Distribution field are offered if one of its words matches (default \"*,!local\")", text(&ch.Dist))
	c.fs.Func("share", "`PERCENT` of spool.quota that its articles may hold; 0: as [limits] says", func(s string) error {
		n, err := strconv.Atoi(strings.TrimSuffix(s, "%"))
		ch.Share = &n
		return err
	})
	c.fs.Func("path", "its path identity `ID`, if that is not its name", text(&ch.Path))
	c.fs.Func("key", "its TLS key or identity, `ID`: spki:sha256:B64", text(&ch.Key))
	c.fs.Func("user", "the login `U` we use there", text(&ch.User))
	c.fs.BoolFunc("old", "take what is older than spool.cutoff too", func(s string) error {
		v := s != "false"
		ch.Old = &v
		return nil
	})
	c.fs.Func("day-articles", "how many articles it may bring a day, `N`; 0: as [limits] says", func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return errors.New("must be a number")
		}
		ch.DayArticles = &n
		return nil
	})
	c.fs.Func("day-size", "how much it may bring a day, `SIZE`; 0: as [limits] says", func(s string) error {
		ch.DaySize = new(size)
		return ch.DaySize.UnmarshalText([]byte(s))
	})
	c.fs.BoolFunc("pull", "also ask it for news every minute, as a newsreader does: for a server that gives no feed", func(s string) error {
		v := s != "false"
		ch.Pull = &v
		return nil
	})
	c.fs.Func("from", "`PREFIX`es, with commas: articles are taken from there without login or key", func(s string) error {
		list := strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
		for _, p := range list {
			if _, err := parsePrefix(p); err != nil {
				return err
			}
		}
		ch.From = &list
		return nil
	})
	return c.fs.Bool("password-stdin", false, "read the password for --user from standard input, one line")
}

func (c *call) sendPeer(ch peerChange, stdin bool) error {
	if stdin {
		pw, err := c.password(true)
		if err != nil {
			return err
		}
		ch.Password = &pw
	}
	var done peerSection
	name := "peer/set"
	if ch.Add {
		name = "peer/add"
	}
	if err := c.ask(name, ch, &done); err != nil {
		return err
	}
	if c.json {
		done.Password = ""
		return c.printJSON(done)
	}
	fmt.Fprintf(c.out, "peer %s: we offer it %s, and take %s from it\n", done.Name, done.Send, done.Take)
	if done.Pull {
		fmt.Fprintf(c.out, "It is asked for news every minute\n")
	} else if done.Key == "" && len(done.From) == 0 {
		fmt.Fprintf(c.out, "It cannot bring articles here until it is known by one of: its key (--key), a login here\n"+
			"(litfass user add NAME --feeds %s --password-stdin), its address (--from PREFIX).\n", done.Name)
	}
	return nil
}

func cmdPeerAdd(c *call) error {
	ch := peerChange{Add: true}
	stdin := c.peerFlags(&ch)
	if err := c.parse(2, 2); err != nil {
		return err
	}
	ch.Name, ch.Address = c.args[0], &c.args[1]
	return c.sendPeer(ch, *stdin)
}

func cmdPeerSet(c *call) error {
	var ch peerChange
	stdin := c.peerFlags(&ch)
	c.fs.Func("address", "where to connect, `A`; empty: we never connect", func(s string) error { ch.Address = &s; return nil })
	if err := c.parse(1, 1); err != nil {
		return err
	}
	ch.Name = c.args[0]
	return c.sendPeer(ch, *stdin)
}

func cmdPeerRm(c *call) error {
	if err := c.parse(1, 1); err != nil {
		return err
	}
	if err := c.ask("peer/rm", peerChange{Name: c.args[0]}, nil); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "peer %s removed\n", c.args[0])
	return nil
}

func cmdPeerList(c *call) error {
	if err := c.parse(0, 0); err != nil {
		return err
	}
	list := []peerStatusJSON{}
	if err := c.ask("peer/list", struct{}{}, &list); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(list)
	}
	var rows [][]string
	for _, p := range list {
		where := "added"
		if p.File {
			where = "file"
		}
		rows = append(rows, []string{p.Name, p.Address, where, p.Send, p.Take, fmt.Sprint(p.Accepted), fmt.Sprint(p.Refused), p.Today.String(), p.OnDisk.String(), p.sentence()})
	}
	c.printTable([]string{"NAME", "ADDRESS", "FROM", "SEND", "TAKE", "TAKEN", "REFUSED", "BROUGHT TODAY", "HOLDS ON DISK", "STATE"}, rows)
	return nil
}

func (c *control) peerActs() {
	act(c, "peer/add", c.peerChange)
	act(c, "peer/set", c.peerChange)
	act(c, "peer/rm", c.peerRm)
	act(c, "peer/pause", c.peerPause)
	act(c, "peer/invite", c.peerInvite)
	act(c, "peer/join", c.peerJoin)
	act(c, "peer/found", c.peerFound)
	act(c, "peer/list", func(ctx context.Context, _ struct{}) ([]peerStatusJSON, error) { return c.core.peerStates(), nil })
}

func (c *control) peerChange(_ context.Context, ch peerChange) (peerSection, error) {
	return c.core.peers.change(ch)
}

// change adds a peer, or changes one that was added.
func (b *peerBook) change(ch peerChange) (peerSection, error) {
	if b.inFile(ch.Name) {
		return peerSection{}, fmt.Errorf("peer %s stands in the configuration file, which wins; change it there and send SIGHUP", ch.Name)
	}
	p, err := b.table.Get(ch.Name)
	switch {
	case err == nil && ch.Add:
		return p, fmt.Errorf("there is a peer %s already; change it with \"litfass peer set\"", ch.Name)
	case err != nil && !errors.Is(err, state.ErrNotFound):
		return p, err
	case err != nil && !ch.Add:
		return p, fmt.Errorf("there is no peer %s; \"litfass peer list\" shows those there are", ch.Name)
	case err != nil:
		p = peerDefaults()
	}
	p.Name = ch.Name
	for _, f := range []struct{ to, from *string }{
		{&p.Path, ch.Path}, {&p.Address, ch.Address}, {&p.Send, ch.Send}, {&p.Take, ch.Take}, {&p.Distributions, ch.Dist},
		{&p.Key, ch.Key}, {&p.User, ch.User}, {&p.Password, ch.Password},
	} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	if ch.Old != nil {
		p.Old = *ch.Old
	}
	if ch.DayArticles != nil {
		p.DayArticles = *ch.DayArticles
	}
	if ch.DaySize != nil {
		p.DaySize = *ch.DaySize
	}
	if ch.Share != nil {
		p.Share = *ch.Share
	}
	if ch.Pull != nil {
		p.Pull = *ch.Pull
	}
	if ch.From != nil {
		p.From = *ch.From
	}
	if err := p.check(); err != nil {
		return p, err
	}
	if err := b.table.Put(p.Name, p); err != nil {
		return p, fmt.Errorf("keep peer %s: %w", p.Name, err)
	}
	return p, b.again()
}

func (c *control) peerRm(_ context.Context, ch peerChange) (struct{}, error) {
	b := c.core.peers
	if b.inFile(ch.Name) {
		return struct{}{}, fmt.Errorf("peer %s stands in the configuration file; remove it there and send SIGHUP", ch.Name)
	}
	if _, err := b.table.Get(ch.Name); errors.Is(err, state.ErrNotFound) {
		return struct{}{}, fmt.Errorf("there is no peer %s; \"litfass peer list\" shows those there are", ch.Name)
	}
	if err := b.table.Delete(ch.Name); err != nil {
		return struct{}{}, err
	}
	return struct{}{}, errors.Join(b.table.DB.Update(func(tx *state.Tx) error { return tx.Delete(pausedBucket, ch.Name) }), b.again())
}

// peerStates lists the peers, with figures if their senders run here.
func (k *core) peerStates() []peerStatusJSON {
	all, inFile := k.peers.sections()
	out := []peerStatusJSON{}
	for i, p := range all {
		s := peerStatusJSON{peerSection: p, File: i < inFile, Paused: k.peers.isPaused(p.Name)}
		s.Password = ""
		used, most := k.usage.Today("peer "+p.Name), k.conf().Limits.day(p)
		s.Today = dayJSON{used.Articles, used.Octets, most.Articles, most.Octets}
		held := k.usage.Held(p.Name)
		s.OnDisk = dayJSON{held.Articles, held.Octets, 0, k.conf().Limits.share(p, k.conf().Spool.Quota)}
		if k.peerFigures != nil {
			k.peerFigures(&s)
		}
		out = append(out, s)
	}
	return out
}

func (s *server) peerStates() []peerStatusJSON { return s.core.peerStates() }

// readPassword resolves "file:PATH".
func readPassword(p string) (string, error) {
	path, ok := strings.CutPrefix(p, "file:")
	if !ok {
		return p, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimRight(line, "\r"), nil
}
