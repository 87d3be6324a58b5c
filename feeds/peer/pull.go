package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/internal/nntp"
	"github.com/litfass/litfass/internal/wildmat"
)

// Pulling reads a peer as a newsreader does: NEWNEWS where it is allowed, else
// the overview of each group above the number seen last. What comes goes through
// agent.Relay like everything that peers bring.

// marks is what is saved of pulling.
type marks struct {
	Since time.Time         // by the peer's clock: NEWNEWS asks from here on
	High  map[string]uint64 `json:",omitempty"` // per group: seen up to here
}

const (
	newNewsOverlap = 10 * time.Minute // asked for again: clocks and slow intake
	maxNewNews     = 200_000          // ids of one answer that are held
	overChunk      = 500              // numbers of one OVER
	maxGroups      = 50_000           // groups of one peer that are looked at
)

// errBusy: this node cannot take articles now; the round ends and nothing is lost.
var errBusy = errors.New("this node takes no articles now")

// pull asks the peer for news until ctx ends.
func (s *sender) pull(ctx context.Context) {
	for {
		if err := s.pullOnce(ctx); err != nil && ctx.Err() == nil {
			err = fmt.Errorf("pull: %w", err)
			s.tally.failed(err, s.cfg.Now())
			s.cfg.Log.Warn("pulling from a peer", "peer", s.peer.Name, "err", err)
		}
		if !sleep(ctx, s.peer.Pull) {
			return
		}
	}
}

// pullOnce is one round.
func (s *sender) pullOnce(ctx context.Context) error {
	m := marks{High: map[string]uint64{}}
	b, err := s.cfg.State.Load("pull/" + s.peer.Name)
	if err != nil {
		return fmt.Errorf("load the marks: %w", err)
	}
	if b != nil {
		if err := json.Unmarshal(b, &m); err != nil || m.High == nil {
			m = marks{High: map[string]uint64{}} // begins anew; history knows what is here
		}
	}
	c, err := s.cfg.dialer(&s.peer).Connect(ctx)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { c.Close() })()
	defer c.Quit()
	if err := c.ModeReader(); err != nil {
		return err
	}
	p := &puller{sender: s, c: c, marks: &m}
	if err := p.round(ctx); err != nil {
		return err
	}
	s.tally.with(func(st *Stats) { st.LastPull = s.cfg.Now() })
	return nil
}

// puller is one round's connection.
type puller struct {
	*sender
	c     *nntp.Client
	marks *marks
}

func (p *puller) round(ctx context.Context) error {
	if !p.marks.Since.IsZero() {
		err := p.newNews(ctx)
		var ce *nntp.CodeError
		if !errors.As(err, &ce) {
			return err
		}
	}
	// The first time, or no NEWNEWS here: group by group. The clock is read
	// before, so that NEWNEWS misses nothing next time.
	now, err := p.c.Date()
	if err != nil {
		now = time.Time{}
	}
	if err := p.groups(ctx); err != nil {
		return err
	}
	p.marks.Since = now
	return p.save()
}

func (p *puller) save() error {
	b, err := json.Marshal(p.marks)
	if err != nil {
		return err
	}
	if err := p.cfg.State.Save("pull/"+p.peer.Name, b); err != nil {
		return fmt.Errorf("save the marks: %w", err)
	}
	return nil
}

// newNews asks for everything since the last time. A CodeError means that the
// server has no NEWNEWS for us.
func (p *puller) newNews(ctx context.Context) error {
	now, err := p.c.Date()
	if err != nil {
		return err
	}
	var ids []string
	err = p.c.NewNews(p.peer.Take, p.marks.Since.Add(-newNewsOverlap), func(id article.ID) error {
		if len(ids) >= maxNewNews {
			return nntp.ErrTooLarge
		}
		ids = append(ids, string(id))
		return nil
	})
	if err != nil {
		return err
	}
	if err := p.fetch(ctx, ids); err != nil {
		return err
	}
	p.marks.Since = now
	return p.save()
}

// groups walks through the groups that match Take.
func (p *puller) groups(ctx context.Context) error {
	take, err := wildmat.Parse(p.peer.Take)
	if err != nil {
		return err
	}
	high := map[article.Group]uint64{}
	err = p.c.List("ACTIVE", func(line []byte) error {
		w := strings.Fields(string(line))
		if len(w) < 3 || !take.Match(w[0]) || len(high) >= maxGroups {
			return nil
		}
		g, err := article.ParseGroup(w[0])
		n, err2 := strconv.ParseUint(w[1], 10, 64)
		if err == nil && err2 == nil {
			high[g] = n
		}
		return nil
	})
	if err != nil {
		return err
	}
	for g, n := range high {
		if seen := p.marks.High[string(g)]; n == seen {
			continue
		}
		if err := p.group(ctx, g); err != nil && !nntp.IsCode(err, nntp.CodeNoGroup, nntp.CodeDenied) {
			return err
		}
	}
	return nil
}

// group fetches what one group holds above its mark.
func (p *puller) group(ctx context.Context, g article.Group) error {
	_, low, high, err := p.c.Group(g)
	if err != nil {
		return err
	}
	at := max(p.marks.High[string(g)]+1, low, 1)
	if at > high+1 { // the numbers began anew: RFC 3977 §6 forbids it, it happens
		at = max(low, 1)
	}
	for ; at <= high; at += overChunk {
		to := min(at+overChunk-1, high)
		var ids []string
		err := p.c.Over(at, to, func(_ uint64, o article.Overview) error {
			if len(ids) < overChunk {
				ids = append(ids, string(o.ID))
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := p.fetch(ctx, ids); err != nil {
			return err
		}
		p.marks.High[string(g)] = to
		if err := p.save(); err != nil {
			return err
		}
	}
	return nil
}

// fetch brings those that are wanted.
func (p *puller) fetch(ctx context.Context, ids []string) error {
	o := agent.Origin{Door: "nntp", Peer: p.peer.Name}
	var want []string
	for _, id := range ids {
		var no *agent.Refusal
		switch err := p.cfg.Relay.Want(ctx, article.ID(id), o); {
		case err == nil:
			want = append(want, id)
		case errors.As(err, &no) && !no.Temporary():
		case errors.As(err, &no) && no.Code == "reserved": // another peer brings it
		default:
			return fmt.Errorf("%w: %w", errBusy, err)
		}
	}
	return p.c.Articles(want, p.cfg.Max, func(_ int, wire []byte, err error) error {
		if err == nil {
			_, err = p.cfg.Relay.Relay(ctx, wire, o)
			var no *agent.Refusal
			if err != nil && (!errors.As(err, &no) || no.Temporary()) {
				return fmt.Errorf("%w: %w", errBusy, err)
			}
		}
		p.tally.with(func(st *Stats) {
			if err == nil {
				st.Pulled++
			} else {
				st.PullBad++
			}
		})
		return nil
	})
}
