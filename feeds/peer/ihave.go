package peer

import (
	"context"
	"errors"
	"time"

	"github.com/litfass/litfass/internal/nntp"
)

// ihave feeds a peer that has no streaming: RFC 3977 §6.3.2, one at a time.
func (s *sender) ihave(ctx context.Context, c *nntp.Client, it item) report {
	end := report{ended: true}
	idle := time.NewTimer(s.cfg.Idle)
	defer idle.Stop()
	for {
		f, err := s.offer(ctx, c, it)
		switch {
		case errors.Is(err, errUnsent):
			end.outcomes = append(end.outcomes, outcome{it, returned})
			return end
		case err != nil:
			end.outcomes = append(end.outcomes, outcome{it, returned})
			if ctx.Err() == nil {
				end.err = err
			}
			return end
		case f != 0:
			end.progress = true
			s.reports <- report{outcomes: []outcome{{it, f}}, progress: true}
		}
		idle.Reset(s.cfg.Idle)
		select {
		case it = <-s.work:
			continue
		case <-ctx.Done():
		case <-idle.C:
		}
		_ = c.Quit() // polite only
		return end
	}
}

// offer is one IHAVE. Fate 0 without error: the desk was told already. The
// article is opened first: behind 335 there is no way back.
func (s *sender) offer(ctx context.Context, c *nntp.Client, it item) (fate, error) {
	a, err := s.cfg.Spool.Open(ctx, it.seq)
	if err != nil {
		return 0, s.unread(ctx, it, err)
	}
	code, text, err := c.Ihave(it.id, a.Wire())
	if err != nil {
		return 0, err
	}
	f, ok := map[int]fate{
		nntp.CodeIhaveOK: accepted, nntp.CodeIhaveRefused: refused,
		nntp.CodeIhaveLater: deferred, nntp.CodeIhaveRejected: refused,
	}[code]
	if !ok {
		return 0, answered("IHAVE", code, []byte(text))
	}
	s.tally.with(func(st *Stats) {
		st.Offered++
		st.count(f, len(a.Wire()))
	})
	return f, nil
}
