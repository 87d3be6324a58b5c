package directory

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/pki"
)

// Injector is what the publisher needs of the agent.
type Injector interface {
	Inject(ctx context.Context, d *article.Draft, o agent.Origin) (agent.Result, error)
}

// maxBody is how many octets of statements go into one article.
const maxBody = 48 << 10

// Publisher posts the statements that were made on this node.
type Publisher struct {
	Prefix string
	Host   string // the address in From is pki@Host
	Ledger *pki.Ledger
	Agent  Injector
	Log    *slog.Logger  // nil: silent
	Retry  time.Duration // after a failure; 0: a minute
}

// Run posts until ctx ends. It is one goroutine's work.
func (p *Publisher) Run(ctx context.Context) {
	for {
		changed := p.Ledger.Changed()
		var again <-chan time.Time
		if err := p.Once(ctx); err != nil && ctx.Err() == nil {
			if p.Log != nil {
				p.Log.Warn("statements could not be posted, trying again", "error", err)
			}
			retry := p.Retry
			if retry == 0 {
				retry = time.Minute
			}
			again = time.After(retry)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-again:
		}
	}
}

// Once posts what is in the outbox.
func (p *Publisher) Once(ctx context.Context) error {
	for {
		rows, err := p.Ledger.Outbox(500)
		if err != nil || len(rows) == 0 {
			return err
		}
		if err := p.rows(ctx, rows, ""); err != nil {
			return err
		}
		if err := p.Ledger.Posted(rows); err != nil {
			return fmt.Errorf("empty the outbox: %w", err)
		}
	}
}

// rows posts statements, each into its group; keywords name whom they answer for.
func (p *Publisher) rows(ctx context.Context, rows []pki.Row, keywords string) error {
	for _, last := range []string{groupRevoke, groupKeys, groupArrows} { // what takes back goes first
		if err := p.post(ctx, last, rows, keywords); err != nil {
			return err
		}
	}
	return nil
}

// groupFor says where a statement belongs (§7.1). Events of an identity that is
// frozen or dead are posted as evidence.
func (p *Publisher) groupFor(s *pki.Statement) string {
	_, status := p.Ledger.Standing(s.ID)
	switch {
	case s.IsEvent() && (status == pki.Frozen || status == pki.Dead), s.Type == pki.TypeRecover, s.BadSince != nil, s.Type == pki.TypeArrow && s.Revoked:
		return groupRevoke
	case s.IsEvent():
		return groupKeys
	}
	return groupArrows
}

// post posts those of rows that belong into one group, in as few articles as may be.
func (p *Publisher) post(ctx context.Context, last string, rows []pki.Row, keywords string) error {
	var body bytes.Buffer
	ids := map[string]bool{}
	flush := func() error {
		if body.Len() == 0 {
			return nil
		}
		err := p.article(ctx, last, bytes.Clone(body.Bytes()), ids, keywords)
		body.Reset()
		clear(ids)
		return err
	}
	for _, r := range rows {
		if r.Statement == nil || p.groupFor(r.Statement) != last {
			continue
		}
		if body.Len()+len(r.Text()) > maxBody {
			if err := flush(); err != nil {
				return err
			}
		}
		body.WriteString(strings.ReplaceAll(r.Text(), "\n", "\r\n"))
		ids[r.ID.String()] = true
	}
	return flush()
}

func (p *Publisher) article(ctx context.Context, last string, body []byte, ids map[string]bool, keywords string) error {
	subject := fmt.Sprintf("statements about %d identities", len(ids))
	if len(ids) == 1 {
		for id := range ids {
			subject = "statements about " + id
		}
	}
	d := &article.Draft{
		Header: [][2]string{
			{"From", "pki <pki@" + p.Host + ">"}, {"Newsgroups", string(name(p.Prefix, last))}, {"Subject", subject},
			{"MIME-Version", "1.0"}, {"Content-Type", "text/plain; charset=us-ascii"},
		},
		Body: bytes.NewReader(body),
	}
	if keywords != "" {
		d.Header = append(d.Header, [2]string{"Keywords", keywords})
	}
	if _, err := p.Agent.Inject(ctx, d, agent.Origin{Door: "control"}); err != nil {
		return fmt.Errorf("post to %s: %w", name(p.Prefix, last), err)
	}
	return nil
}
