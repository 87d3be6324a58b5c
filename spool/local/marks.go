package local

import (
	"context"

	"github.com/litfass/litfass/spool"
)

// NoteMarks writes the marks of all groups down in the meta log, so that a node
// restored from it alone, without the segments, gives no number twice.
func (s *Spool) NoteMarks(ctx context.Context) error {
	return s.exclusive(ctx, func() error {
		m := metaRec{kind: metaMarks}
		for _, g := range s.groups {
			if g.info.High > 0 {
				m.groups = append(m.groups, spool.GroupInfo{Name: g.info.Name, Low: g.info.Low, High: g.info.High})
			}
		}
		if len(m.groups) == 0 {
			return nil
		}
		return s.act(&m)
	})
}
