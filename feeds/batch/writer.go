package batch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// Write appends one article to a batch and returns the octets written.
func Write(w io.Writer, a *article.Article) (int64, error) {
	text := bytes.ReplaceAll(a.Octets(), []byte("\r\n"), []byte("\n"))
	n, err := fmt.Fprintf(w, "#! rnews %d\n", len(text))
	if err != nil {
		return int64(n), err
	}
	m, err := w.Write(text)
	return int64(n + m), err
}

// Source is the part of a spool that Out reads.
type Source interface {
	Since(ctx context.Context, after spool.Seq) iter.Seq2[spool.Entry, error]
	Open(ctx context.Context, seq spool.Seq) (*article.Article, error)
}

// Written says what Out wrote.
type Written struct {
	Upto     spool.Seq // the new cursor: everything up to here is in a batch, or not for this peer
	Articles int
	Octets   int64
	Full     bool // limit was reached, there is more
}

// Out writes the articles that arrived after that Seq and that match, in order,
// until the end or until limit octets are written (0: none; one article always
// goes out). The caller makes the batch durable before it saves the new cursor.
// An article that went away meanwhile is passed over.
func Out(ctx context.Context, s Source, after spool.Seq, match func(*spool.Entry) bool, w io.Writer, limit int64) (Written, error) {
	done := Written{Upto: after}
	for e, err := range s.Since(ctx, after) {
		if err != nil {
			return done, fmt.Errorf("read the spool behind %d: %w", done.Upto, err)
		}
		if !match(&e) {
			done.Upto = e.Seq
			continue
		}
		if limit > 0 && done.Articles > 0 && done.Octets+int64(e.Bytes) > limit {
			done.Full = true
			return done, nil
		}
		a, err := s.Open(ctx, e.Seq)
		if errors.Is(err, spool.ErrNotFound) {
			done.Upto = e.Seq
			continue
		}
		if err != nil {
			return done, fmt.Errorf("open %s: %w", e.ID, err)
		}
		n, err := Write(w, a)
		done.Octets += n
		if err != nil {
			return done, fmt.Errorf("write %s to the batch: %w", e.ID, err)
		}
		done.Articles++
		done.Upto = e.Seq
	}
	return done, nil
}
