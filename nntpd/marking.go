package nntpd

import (
	"context"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// Marks keeps what accounts have read: *members.Book.
type Marks interface {
	MarkMany(ctx context.Context, account, group string, numbers []uint64) error
}

// How much is remembered of what an account fetched before it is written: each
// write is a sync of the disk.
const (
	marksMost = 100
	marksFor  = 10 * time.Second
)

// fetched is what a session's account fetched and what is not written yet.
type fetched struct {
	n     int
	since time.Time
	in    map[article.Group][]uint64
}

// note marks an article that is being sent, for accounts that want it.
func (x *session) note(places []spool.Place) {
	if x.srv.cfg.Marks == nil || x.o.Account == "" {
		return
	}
	a, err := x.rights()
	if err != nil || a.Account() == nil || !a.Account().MarkRead {
		return
	}
	now := x.srv.cfg.Now()
	if x.fetched.n == 0 {
		x.fetched = fetched{since: now, in: map[article.Group][]uint64{}}
	}
	for _, p := range places {
		x.fetched.in[p.Group] = append(x.fetched.in[p.Group], p.Number)
		x.fetched.n++
	}
	if d := now.Sub(x.fetched.since); x.fetched.n >= marksMost || d < 0 || d >= marksFor {
		x.writeMarks()
	}
}

// writeMarks keeps what was noted. A failure costs marks only; it is logged.
func (x *session) writeMarks() {
	for g, numbers := range x.fetched.in {
		if err := x.srv.cfg.Marks.MarkMany(x.srv.ctx, x.o.Account, string(g), numbers); err != nil {
			x.log().Warn("nntp: what was read is not marked", "group", string(g), "error", err)
		}
	}
	x.fetched = fetched{}
}
