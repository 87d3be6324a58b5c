package agent

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/spool"
)

// controlGroup returns the group in which a control message is filed: control.VERB
// for those that act, control for the rest (RFC 5537 §3.7). It makes it if need
// be: readers of ordinary groups do not see control messages. Wildmats of peers
// are therefore matched against Newsgroups for them: see Concerns.
func (a *Agent) controlGroup(ctx context.Context, verb string) ([]article.Group, error) {
	name := article.Group("control")
	if verb == "cancel" || groupControl(verb) {
		name += article.Group("." + verb)
	}
	_, err := a.Spool.Group(ctx, name)
	if errors.Is(err, spool.ErrNotFound) {
		a.groupMu.Lock()
		defer a.groupMu.Unlock()
		err = a.Spool.PutGroups(ctx, spool.GroupInfo{
			Name: name, Status: spool.PostNone, Description: "Control messages, kept out of the groups they are about",
			Created: a.now(), Creator: a.Host,
		})
	}
	if err != nil {
		return nil, fmt.Errorf("group for control messages: %w", err)
	}
	return []article.Group{name}, nil
}

// Concerns says whether match holds for a group of e: those in which it is filed
// (ARCHITECTURE §4 rule 8), but for a control message those of Newsgroups: it is
// filed in control.VERB and must go where its target goes. Feeds ask it.
func Concerns(e *spool.Entry, match func(article.Group) bool) bool {
	if e.Has&article.HasControl != 0 {
		if names, err := article.LenientGroups(e.Newsgroups, 0); err == nil {
			return slices.ContainsFunc(names, match)
		}
	}
	return slices.ContainsFunc(e.Places, func(p spool.Place) bool { return match(p.Group) })
}

// order decides about newgroup, rmgroup and checkgroups of a peer: RFC 5537 §5.2,
// contract. Without the right this copy is refused.
func (in *relaying) order(ctx context.Context, names []article.Group) error {
	targets, err := orderTargets(in.verb, in.art.Get("Control"), names)
	if err != nil {
		return err
	}
	ok, err := in.mayOrder(ctx, in.proof, in.art.Overview().From, in.peer.Name, in.verb, targets)
	if err != nil {
		return err
	}
	if !ok {
		return &Refusal{Reason: Unproven, Code: "control-no-right", Text: "Control: " + in.verb + " by somebody who has no right to it here"}
	}
	return nil
}

// orderTargets are the groups an order is about; of checkgroups those of
// Newsgroups: what it may touch beside them is asked group by group.
func orderTargets(verb, control string, names []article.Group) ([]article.Group, error) {
	args := strings.Fields(control)
	if verb == "checkgroups" {
		_, err := readScope(args[1:], names)
		return names, err
	}
	if len(args) < 2 {
		return nil, malformed("control", "Control: %s needs a group's name", verb)
	}
	g, err := article.ParseGroup(args[1])
	if err != nil {
		return nil, syntaxRefusal(err)
	}
	return []article.Group{g}, nil
}

// mayOrder says whether a relayed order may act on all of targets.
func (a *Agent) mayOrder(ctx context.Context, p article.Proof, from, peer, verb string, targets []article.Group) (bool, error) {
	may, err := a.orderable(ctx, p, from, peer, verb, targets)
	return len(targets) > 0 && len(may) == len(targets), err
}

// orderable are those of targets on which a relayed order may act.
func (a *Agent) orderable(ctx context.Context, p article.Proof, from, peer, verb string, targets []article.Group) ([]article.Group, error) {
	var right []article.Group
	if a.Keys != nil && p.State == article.ProofHolds && p.Purpose == PurposeControl {
		var err error
		if right, err = a.Keys.SignerMay(ctx, p, PurposeCreate, targets); err != nil {
			return nil, fmt.Errorf("look up the right to %s: %w", verb, err)
		}
	}
	has := make(map[article.Group]bool, len(right))
	for _, g := range right {
		has[g] = true
	}
	var may []article.Group
	for _, g := range targets {
		if has[g] || a.policy().Obey != nil && a.policy().Obey(from, peer, verb, g) {
			may = append(may, g)
		}
	}
	return may, nil
}

// controlMark is how far the control follower is, for those who wait for it.
type controlMark struct {
	mu     sync.Mutex
	runs   bool
	passed spool.Seq
	wake   chan struct{}
}

func (m *controlMark) set(seq spool.Seq) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.runs, m.passed = true, seq
	if m.wake != nil {
		close(m.wake)
		m.wake = nil
	}
}

func (m *controlMark) wait(ctx context.Context, seq spool.Seq) error {
	for {
		m.mu.Lock()
		if !m.runs || m.passed >= seq {
			m.mu.Unlock()
			return nil
		}
		if m.wake == nil {
			m.wake = make(chan struct{})
		}
		wake := m.wake
		m.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// maxPatience is how long an article for an unknown group waits: ARCHITECTURE §4
// rule 5.
const maxPatience = 2 * time.Second

// patience waits until the earlier articles of the stream are stored and the
// control follower has passed them, at most 2 s: a newgroup may be among them.
func (in *relaying) patience(ctx context.Context) error {
	short, cancel := context.WithTimeout(ctx, maxPatience)
	defer cancel()
	if in.o.Conn.before(short, in.o.Turn) == nil {
		_ = in.control.wait(short, in.Spool.Last())
	}
	return ctx.Err()
}

// Control is the follower that obeys control messages and Supersedes: RFC 5537
// §5, RFC 8315, pki.md §6.4. What is imported never acts.
type Control struct{ Agent *Agent }

// Name names the saved cursor.
func (c *Control) Name() string { return "control" }

// Begin tells where the log is read from.
func (c *Control) Begin(after spool.Seq) { c.Agent.control.set(after) }

// Follow acts on one entry. It is idempotent.
func (c *Control) Follow(ctx context.Context, e spool.Entry) error {
	if e.Via.How != spool.Imported {
		err := c.act(ctx, e)
		if err != nil && !spool.IsPermanent(err) {
			return err
		}
		if err != nil {
			c.Agent.log().Warn("control message not obeyed", "id", e.ID, "error", err)
		}
		if err != nil || e.Has&(article.HasControl|article.HasSupersedes) != 0 {
			c.Agent.counts.add("control", err)
		}
	}
	c.Agent.control.set(e.Seq)
	return nil
}

func (c *Control) act(ctx context.Context, e spool.Entry) error {
	if err := c.Agent.lateCancel(ctx, e); err != nil {
		return err
	}
	if e.Has&(article.HasControl|article.HasSupersedes) == 0 {
		return nil
	}
	art, err := c.Agent.Spool.Open(ctx, e.Seq)
	if errors.Is(err, spool.ErrNotFound) {
		return nil
	} else if err != nil {
		return fmt.Errorf("open the control message: %w", err)
	}
	if !art.Has(article.HasControl) {
		return c.Agent.withdraw(ctx, e, art, art.Get("Supersedes"), PurposePost)
	}
	text := art.Get("Control")
	args := strings.Fields(text)
	if len(args) == 0 {
		return nil
	}
	switch verb := strings.ToLower(args[0]); verb {
	case "cancel":
		if len(args) != 2 {
			return spool.Permanent(errors.New("cancel without one Message-ID"))
		}
		return c.Agent.withdraw(ctx, e, art, args[1], PurposeControl)
	case "newgroup", "rmgroup", "checkgroups":
		return c.group(ctx, e, art, verb, args[1:])
	}
	return nil // ihave, sendme, sendsys and the like are obsolete: RFC 5537 §5.5, §5.6
}

// lastOrder is the newest order about a group that was obeyed: pki.md §2.5.
type lastOrder struct {
	Time   int64
	Digest string
}

// group obeys newgroup, rmgroup and checkgroups. What was posted here had its
// right checked then; what came from a peer is checked again.
func (c *Control) group(ctx context.Context, e spool.Entry, art *article.Article, verb string, args []string) error {
	names, err := article.LenientGroups(e.Newsgroups, 0)
	if err != nil {
		return spool.Permanent(err)
	}
	targets, err := orderTargets(verb, art.Get("Control"), names)
	if err != nil {
		return spool.Permanent(err)
	}
	if e.Via.How != spool.Injected {
		ok, err := c.Agent.mayOrder(ctx, e.Proof, e.From, e.Via.Peer, verb, targets)
		if err != nil {
			return err
		}
		if !ok {
			return spool.Permanent(errors.New("no right to " + verb))
		}
	}
	switch verb {
	case "newgroup":
		return c.newgroup(ctx, e, art, targets[0], args)
	case "rmgroup":
		return c.rmgroup(ctx, e, targets[0])
	}
	return c.checkgroups(ctx, e, art, names)
}

// newest notes an order about g and says whether none newer was obeyed before.
func (c *Control) newest(e spool.Entry, g article.Group) (bool, error) {
	mine := lastOrder{Time: e.Proof.Time, Digest: hex.EncodeToString(e.Proof.Digest[:])}
	if e.Proof.State != article.ProofHolds {
		mine.Time = e.Arrived.Unix()
	}
	if c.Agent.State == nil {
		return true, nil
	}
	stands := true
	t := state.Table[lastOrder]{DB: c.Agent.State, Bucket: "agent.orders"}
	err := t.Change(string(g), func(v *lastOrder, found bool) error {
		stands = !found || mine.Time > v.Time || mine.Time == v.Time && mine.Digest <= v.Digest
		if stands {
			*v = mine
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("note an order: %w", err)
	}
	return stands, nil
}

// newgroup: RFC 5537 §5.2.1.
func (c *Control) newgroup(ctx context.Context, e spool.Entry, art *article.Article, g article.Group, args []string) error {
	if g.Reserved() {
		return spool.Permanent(fmt.Errorf("%s: the name is reserved", g))
	}
	if stands, err := c.newest(e, g); err != nil || !stands {
		return err
	}
	info, err := c.Agent.Spool.Group(ctx, g)
	if errors.Is(err, spool.ErrNotFound) {
		info = spool.GroupInfo{Name: g, Created: c.Agent.now(), Creator: quote(e.From)}
	} else if err != nil {
		return fmt.Errorf("look up group: %w", err)
	}
	moderated := len(args) > 1 && strings.EqualFold(args[1], "moderated")
	setStatus(&info, moderated)
	if d, ok := describe(art.Body(), g); ok {
		info.Description = d
	}
	if err := c.Agent.Spool.PutGroups(ctx, info); err != nil {
		return fmt.Errorf("make group %s: %w", g, err)
	}
	c.Agent.refused.forget()
	c.Agent.log().Info("group made by control message", "group", g, "id", e.ID, "from", e.From)
	return nil
}

func setStatus(info *spool.GroupInfo, moderated bool) {
	switch {
	case moderated:
		info.Status = spool.Moderated
	case info.Status == 0 || info.Status == spool.Moderated:
		info.Status = spool.PostOpen
	}
}

// describe finds the line "name TAB description" in the body of a newgroup:
// RFC 5537 §5.2.1, after "For your newsgroups file:" or in application/news-groupinfo.
func describe(body []byte, g article.Group) (string, bool) {
	for line := range bytes.Lines(body) {
		name, text, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte("\t"))
		if string(bytes.TrimSpace(name)) == string(g) {
			return strings.TrimSuffix(strings.TrimSpace(string(text)), " (Moderated)"), true
		}
	}
	return "", false
}

// rmgroup: RFC 5537 §5.2.2.
func (c *Control) rmgroup(ctx context.Context, e spool.Entry, g article.Group) error {
	if stands, err := c.newest(e, g); err != nil || !stands {
		return err
	}
	if err := c.Agent.Spool.DropGroup(ctx, g); err != nil && !errors.Is(err, spool.ErrNotFound) {
		return fmt.Errorf("remove group %s: %w", g, err)
	}
	c.Agent.log().Info("group removed by control message", "group", g, "id", e.ID, "from", e.From)
	return nil
}

// GroupsChanged makes articles welcome again that were refused for a group that
// was not carried. Who makes groups by other ways than control messages calls it.
func (a *Agent) GroupsChanged() { a.refused.forget() }
