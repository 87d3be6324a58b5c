package courier

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/litfass/litfass/agent"
	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/smtpd/letters"
)

// tellModerators mails each submission once to the moderator of its group, with
// two addresses that decide it, until ctx ends.
func (c *Courier) tellModerators(ctx context.Context) {
	for {
		changed := c.cfg.Waiting.WaitingChanged()
		wait := time.Hour
		if err := c.tellAll(ctx); err != nil && ctx.Err() == nil {
			c.cfg.Log.Error("courier: tell moderators", "err", err)
			wait = time.Minute
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (c *Courier) tellAll(ctx context.Context) error {
	held, err := c.cfg.Waiting.Waiting(ctx)
	if err != nil {
		return err
	}
	for _, h := range held {
		if h.Told || h.Token == "" {
			continue
		}
		if err := c.tell(ctx, h); err != nil {
			return err
		}
		if err := c.cfg.Waiting.Told(ctx, h.Key); err != nil {
			return err
		}
	}
	return nil
}

func (c *Courier) tell(ctx context.Context, h agent.Held) error {
	told := map[string]bool{}
	_, a, err := c.cfg.Waiting.Held(ctx, h.Key)
	if err != nil {
		return fmt.Errorf("open a submission: %w", err)
	}
	f := letters.Facts{From: content.Header(h.From), Subject: content.Header(h.Subject), Octets: h.Octets,
		Yes: c.address("approve+" + h.Token), No: c.address("reject+" + h.Token), Text: textOf(a, 1, maxExcerpt, "[cut here: the rest is on the page]\n")}
	if c.cfg.URL != "" {
		f.Link = c.cfg.URL + "/mail/decide?t=" + h.Token
	}
	for _, name := range h.Needs {
		g, err := c.cfg.Spool.Group(ctx, name)
		if err != nil || g.Moderator == "" || told[g.Moderator] {
			continue
		}
		told[g.Moderator] = true
		f.Group = string(name)
		if err := c.Write(ctx, g.Moderator, "", "moderate", f, "approve+"+h.Token); err != nil {
			return err
		}
	}
	return nil
}

// maxExcerpt is how much of a submission's text its moderator gets, in octets.
const maxExcerpt = 16 << 10

// textOf is the text of an article, quoted so many times, and the names of its
// files; over most octets it is cut off with a note.
func textOf(a *article.Article, quote, most int, cut string) string {
	var out strings.Builder
	c := content.Of(a)
	for _, b := range c.Blocks(nil) {
		text := b.Text
		if b.Kind == content.HTML {
			text = content.TextOfHTML(b.HTML, "utf-8")
		}
		mark := strings.Repeat(">", min(b.Depth, 10)+quote)
		if mark != "" {
			mark += " "
		}
		for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
			if out.Len()+len(line) > most {
				out.WriteString(cut)
				return out.String()
			}
			out.WriteString(mark + line + "\n")
		}
	}
	for _, p := range c.Files() {
		fmt.Fprintf(&out, "\nAttached: %s (%s, %d octets)\n", p.Name, p.Type, p.Size())
	}
	return out.String()
}

// submission finds what a moderator's token names, or ErrUnknown.
func (c *Courier) submission(ctx context.Context, token string) (agent.Held, error) {
	if c.cfg.Waiting == nil || token == "" {
		return agent.Held{}, ErrUnknown
	}
	h, err := c.cfg.Waiting.ByToken(ctx, token)
	var r *agent.Refusal
	if errors.As(err, &r) && r.Reason == agent.Absent {
		return h, ErrUnknown
	}
	return h, err
}

// decide carries out what a moderator said by mail or on the page: who can name the
// token speaks for him.
func (c *Courier) decide(ctx context.Context, verb, token string) error {
	h, err := c.submission(ctx, token)
	if err != nil {
		return err
	}
	by := agent.Origin{Door: "smtp"}
	if verb == "approve" {
		_, err = c.cfg.Waiting.Approve(ctx, h.Key, by, token)
		return err
	}
	_, _, err = c.cfg.Waiting.Reject(ctx, h.Key, by, token)
	if err != nil {
		return err
	}
	_, poster := content.Author(h.From)
	if _, _, ok := cut(poster); !ok || strings.HasSuffix(poster, ".invalid") || h.Door != "smtp" {
		return nil
	}
	return c.Write(ctx, poster, "", "rejected", letters.Facts{Group: joined(h.Needs), Subject: content.Header(h.Subject)}, "postmaster")
}

func joined(groups []article.Group) string {
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = string(g)
	}
	return strings.Join(names, ", ")
}
