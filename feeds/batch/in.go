package batch

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// Relayer is the part of agent.Agent that In uses.
type Relayer interface {
	Relay(ctx context.Context, raw []byte, o agent.Origin) (spool.Entry, error)
}

// Report counts what became of a batch's articles.
type Report struct {
	Taken, Duplicates, Refused, Deferred int
}

// Read is the number of articles and of places that held none.
func (r Report) Read() int { return r.Taken + r.Duplicates + r.Refused + r.Deferred }

// In hands each article of a batch to the relaying agent, in the name of o.Peer.
// refused, if not nil, is told of each that is refused or deferred, with the
// octet at which it begins and the reason. Duplicates are only counted. The
// error is one of the file or of ctx: what comes before it was dealt with.
//
// Running the same batch again is harmless and is the cure for deferred articles.
func In(ctx context.Context, r io.Reader, to Relayer, o agent.Origin, lim article.Limits, refused func(offset int64, err error)) (Report, error) {
	var rep Report
	if refused == nil {
		refused = func(int64, error) {}
	}
	b, err := NewReader(r)
	if err != nil {
		return rep, err
	}
	b.Max = lim.Article
	for {
		if err := ctx.Err(); err != nil {
			return rep, err
		}
		text, err := b.Next()
		var ae *ArticleError
		switch {
		case errors.Is(err, io.EOF):
			return rep, nil
		case errors.As(err, &ae):
			rep.Refused++
			refused(ae.Offset, errors.New(ae.Why))
			continue
		case err != nil:
			return rep, fmt.Errorf("read the batch at octet %d: %w", b.offset, err)
		}
		rep.relay(ctx, text, to, o, lim, func(err error) { refused(b.Offset(), err) })
	}
}

// relay deals with one article and counts it.
func (r *Report) relay(ctx context.Context, text []byte, to Relayer, o agent.Origin, lim article.Limits, refused func(error)) {
	wire, err := article.Normalize(text, lim)
	if err != nil {
		r.Refused++
		refused(err)
		return
	}
	_, err = to.Relay(ctx, wire, o)
	var no *agent.Refusal
	switch {
	case err == nil:
		r.Taken++
	case errors.As(err, &no) && no.Reason == agent.Duplicate:
		r.Duplicates++
	case errors.As(err, &no) && !no.Temporary():
		r.Refused++
		refused(err)
	default:
		r.Deferred++
		refused(err)
	}
}
