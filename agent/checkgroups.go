package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/spool"
)

// maxChecked bounds the groups one checkgroups makes.
const maxChecked = 10_000

// scope is what a checkgroups covers: RFC 5537 §5.2.3, "checkgroups
// [chkscope] [# serial]".
type scope struct {
	in, out []article.Group // whole hierarchies; out: exceptions ("!de.alt")
	serial  int64           // -1: none
}

// readScope reads the words behind "checkgroups". Without a chkscope it covers
// the hierarchies of Newsgroups: a list must not reach what its sender need not
// have the right to.
func readScope(args []string, names []article.Group) (s scope, err error) {
	s.serial = -1
	for i, word := range args {
		if number, ok := strings.CutPrefix(word, "#"); ok {
			rest := strings.Join(append([]string{number}, args[i+1:]...), "")
			if s.serial, err = strconv.ParseInt(rest, 10, 64); err != nil || s.serial < 0 {
				return s, malformed("control", "Control: checkgroups: %q is no serial number", rest)
			}
			break
		}
		name, not := strings.CutPrefix(word, "!")
		g, err := article.ParseGroup(name)
		if err != nil {
			return s, syntaxRefusal(err)
		}
		if not {
			s.out = append(s.out, g)
		} else {
			s.in = append(s.in, g)
		}
	}
	if len(s.in) > 0 {
		return s, nil
	}
	for _, g := range names {
		top, _, _ := strings.Cut(string(g), ".")
		if !slices.Contains(s.in, article.Group(top)) {
			s.in = append(s.in, article.Group(top))
		}
	}
	return s, nil
}

// holds says whether g belongs to what is covered: the longest name decides.
func (s scope) holds(g article.Group) bool {
	longest, in := -1, false
	for i, list := range [...][]article.Group{s.out, s.in} {
		for _, h := range list {
			if (g == h || strings.HasPrefix(string(g), string(h)+".")) && len(h) > longest {
				longest, in = len(h), i == 1
			}
		}
	}
	return in
}

func (s scope) String() string { return fmt.Sprint(s.in) }

// checkgroups: RFC 5537 §5.2.3. It makes what is missing of the hierarchies it
// covers and sets descriptions and moderation. Groups that the list leaves out
// are marked, or removed where the operator wants it so.
func (c *Control) checkgroups(ctx context.Context, e spool.Entry, art *article.Article, names []article.Group) error {
	s, err := readScope(strings.Fields(art.Get("Control"))[1:], names)
	if err != nil {
		return spool.Permanent(err)
	}
	if fresh, err := c.serial(s); err != nil || !fresh {
		return err
	}
	var order []article.Group
	listed := make(map[article.Group]string)
	for line := range bytes.Lines(art.Body()) {
		name, text, _ := strings.Cut(strings.TrimRight(string(line), "\r\n"), "\t")
		g, err := article.ParseGroup(strings.TrimSpace(name))
		if err == nil && !g.Reserved() && s.holds(g) && len(listed) < maxChecked {
			listed[g] = strings.TrimSpace(text)
			order = append(order, g)
		}
	}
	may, err := c.may(ctx, e, order)
	if err != nil || len(may) == 0 {
		return err
	}
	var put []spool.GroupInfo
	for _, g := range may {
		info, err := c.checked(ctx, e, g, listed[g])
		if err != nil {
			return err
		}
		if info != nil {
			put = append(put, *info)
		}
	}
	if err := c.Agent.Spool.PutGroups(ctx, put...); err != nil {
		return fmt.Errorf("make groups: %w", err)
	}
	c.Agent.refused.forget()
	left, err := c.leaveOut(ctx, e, s, listed)
	if err != nil {
		return err
	}
	c.Agent.log().Info("checkgroups obeyed", "scope", s.String(), "groups", len(put), "left_out", left, "id", e.ID, "from", e.From)
	return nil
}

// may are the groups for which the sender of a list has the right: all for a
// list that was posted here, since that was asked then.
func (c *Control) may(ctx context.Context, e spool.Entry, groups []article.Group) ([]article.Group, error) {
	if e.Via.How == spool.Injected {
		return groups, nil
	}
	return c.Agent.orderable(ctx, e.Proof, e.From, e.Via.Peer, "checkgroups", groups)
}

// checked is a group as its line says, or nil if a newer order stands.
func (c *Control) checked(ctx context.Context, e spool.Entry, g article.Group, text string) (*spool.GroupInfo, error) {
	info, err := c.Agent.Spool.Group(ctx, g)
	if errors.Is(err, spool.ErrNotFound) {
		info = spool.GroupInfo{Name: g, Created: c.Agent.now(), Creator: quote(e.From)}
	} else if err != nil {
		return nil, fmt.Errorf("look up group: %w", err)
	}
	setStatus(&info, strings.HasSuffix(text, "(Moderated)"))
	info.Description = strings.TrimSpace(strings.TrimSuffix(text, "(Moderated)"))
	if stands, err := c.newest(e, g); err != nil || !stands {
		return nil, err
	}
	return &info, nil
}

// serial notes the serial number for a scope and says whether none higher came.
func (c *Control) serial(s scope) (fresh bool, err error) {
	if s.serial < 0 || c.Agent.State == nil {
		return true, nil
	}
	err = state.Table[int64]{DB: c.Agent.State, Bucket: "agent.serials"}.Change(s.String(), func(v *int64, found bool) error {
		if fresh = !found || s.serial >= *v; fresh {
			*v = s.serial
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("note a serial number: %w", err)
	}
	return fresh, nil
}

// LeftOut is a group that a checkgroups of its hierarchy did not name.
type LeftOut struct {
	Group article.Group
	By    article.ID // the list
	At    time.Time
}

func (a *Agent) leftOut() state.Table[LeftOut] {
	return state.Table[LeftOut]{DB: a.State, Bucket: "agent.leftout"}
}

// LeftOut lists the groups that are here although the newest list of their
// hierarchy does not name them.
func (a *Agent) LeftOut(ctx context.Context) ([]LeftOut, error) {
	if a.State == nil {
		return nil, nil
	}
	_, all, err := a.leftOut().List("")
	if err != nil {
		return nil, fmt.Errorf("list groups that were left out: %w", err)
	}
	var out []LeftOut
	for _, l := range all {
		switch _, err := a.Spool.Group(ctx, l.Group); {
		case err == nil:
			out = append(out, l)
		case !errors.Is(err, spool.ErrNotFound):
			return nil, fmt.Errorf("look up group: %w", err)
		}
	}
	return out, nil
}

// leaveOut marks the groups in scope that are not listed, or removes them.
func (c *Control) leaveOut(ctx context.Context, e spool.Entry, s scope, listed map[article.Group]string) (int, error) {
	a := c.Agent
	var left []article.Group
	for g, err := range a.Spool.Groups(ctx) {
		if err != nil {
			return 0, fmt.Errorf("list groups: %w", err)
		}
		if _, ok := listed[g.Name]; !ok && !g.Name.Reserved() && s.holds(g.Name) {
			left = append(left, g.Name)
		}
	}
	left, err := c.may(ctx, e, left)
	if err != nil {
		return 0, err
	}
	if a.policy().DropLeftOut {
		for _, g := range left {
			if err := c.rmgroup(ctx, e, g); err != nil {
				return 0, err
			}
		}
		return len(left), nil
	}
	if a.State == nil {
		return len(left), nil
	}
	err = a.State.Update(func(tx *state.Tx) error {
		for g := range listed {
			if err := tx.Delete("agent.leftout", string(g)); err != nil {
				return err
			}
		}
		for _, g := range left {
			if err := a.leftOut().PutIn(tx, string(g), LeftOut{g, e.ID, e.Arrived}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("mark groups that were left out: %w", err)
	}
	return len(left), nil
}
