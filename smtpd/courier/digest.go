package courier

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/emersion/go-message"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/internal/state"
	"github.com/litfass/litfass/smtpd/letters"
	"github.com/litfass/litfass/spool"
)

// digestMark is up to which number and when a group was last digested.
type digestMark struct {
	High uint64
	At   time.Time
}

// The bounds of one digest; what is over comes the next day.
const (
	digestEvery    = 24 * time.Hour
	digestArticles = 100
	digestOctets   = 2 << 20
)

// digests makes the digests that are due: RFC 2046 §5.1.5.
func (c *Courier) digests(ctx context.Context) error {
	_, subs, err := c.subs.List("")
	if err != nil {
		return err
	}
	to := map[article.Group][]string{}
	for _, s := range subs {
		if s.Mode == Digest && !s.Paused {
			to[s.Group] = append(to[s.Group], s.Address)
		}
	}
	for g, addrs := range to {
		if err := c.digestOf(ctx, g, addrs); err != nil {
			return err
		}
	}
	return nil
}

func (c *Courier) digestOf(ctx context.Context, name article.Group, to []string) error {
	g, err := c.cfg.Spool.Group(ctx, name)
	if errors.Is(err, spool.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	now := c.cfg.Now()
	mark, err := c.digest.Get(string(name))
	if errors.Is(err, state.ErrNotFound) { // begin with what comes from now on
		return c.digest.Put(string(name), digestMark{g.High, now})
	}
	if err != nil || now.Sub(mark.At) < digestEvery || g.High <= mark.High {
		return err
	}
	raw, high, err := c.digestMail(ctx, g, mark.High+1)
	if err != nil {
		return err
	}
	defer c.poke()
	return c.cfg.State.Update(func(tx *state.Tx) error {
		if raw != nil {
			for i, chunk := range c.shares(to) {
				r := row{Key: rowKey(now, 0, int(hashOf(string(name)))+i), Group: name, To: chunk, Raw: raw, First: now, Next: now}
				if err := c.queue.PutIn(tx, r.Key, r); err != nil {
					return err
				}
			}
		}
		return c.digest.PutIn(tx, string(name), digestMark{high, now})
	})
}

// digestMail gathers the articles from number lo on, and says up to which.
func (c *Courier) digestMail(ctx context.Context, g spool.GroupInfo, lo uint64) (raw []byte, high uint64, err error) {
	parts, list, high, err := c.digestParts(ctx, g, lo)
	if err != nil || len(parts) == 0 {
		return nil, high, err
	}
	subject, text, err := c.letters.Write(c.cfg.Language, "digest", letters.Facts{Group: string(g.Name), Domain: c.cfg.Domain, Number: len(parts), Text: list})
	if err != nil {
		return nil, 0, err
	}
	var b bytes.Buffer
	now := c.cfg.Now()
	at := c.address(string(g.Name))
	fmt.Fprintf(&b, "%sTo: %s\r\n%sDate: %s\r\nMessage-ID: <digest.%x.%x@%s>\r\n", field("From", mailbox(string(g.Name), at)), at,
		field("Subject", prose(subject)), article.FormatDate(now), lo, now.Unix(), c.cfg.Domain)
	b.Write(c.listFields(g, ""))
	writeDigest(&b, text, parts)
	return b.Bytes(), high, nil
}

// digestParts are the articles of a digest that begins at number lo, a line about each,
// and the number of the last.
func (c *Courier) digestParts(ctx context.Context, g spool.GroupInfo, lo uint64) (parts [][]byte, list string, high uint64, err error) {
	var lines strings.Builder
	size := 0
	for e, err := range c.cfg.Spool.Range(ctx, g.Name, lo, g.High) {
		if err != nil {
			return nil, "", 0, err
		}
		if len(parts) == digestArticles || size > digestOctets {
			return parts, lines.String(), numberIn(e, g.Name) - 1, nil
		}
		a, err := c.cfg.Spool.Open(ctx, e.Seq)
		if errors.Is(err, spool.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, "", 0, err
		}
		parts = append(parts, whole(a))
		size += len(parts[len(parts)-1])
		who, _ := content.Author(e.From)
		fmt.Fprintf(&lines, "%3d. %s (%s)\n", len(parts), oneLine(content.Header(e.Subject)), who)
	}
	return parts, lines.String(), g.High, nil
}

// writeDigest writes the table of contents and the articles: RFC 2046 §5.1.5.
func writeDigest(b *bytes.Buffer, contents string, parts [][]byte) {
	boundary := "=_digest." + rand.Text() // nobody can put it into an article
	writeMultipart(b, "mixed", "m"+boundary, func(w *message.Writer) {
		writePart(w, []byte(strings.ReplaceAll(contents, "\n", "\r\n")), "Content-Type", "text/plain; charset=utf-8", "Content-Transfer-Encoding", "quoted-printable")
		var h message.Header
		h.SetContentType("multipart/digest", map[string]string{"boundary": boundary})
		d, err := w.CreatePart(h)
		if err != nil {
			return
		}
		for _, p := range parts {
			writePart(d, p, "Content-Type", "message/rfc822")
		}
		_ = d.Close()
	})
}

// numberIn is an article's number in a group that it is filed in.
func numberIn(e spool.Entry, g article.Group) uint64 {
	for _, p := range e.Places {
		if p.Group == g {
			return p.Number
		}
	}
	return 0
}
