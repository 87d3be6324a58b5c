package courier

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/emersion/go-message/mail"

	"github.com/litfass/litfass/smtpd/letters"
)

// Write queues a letter of the node's own to one person, in a language, or, if that is
// "", in the one that is configured. It comes from an address of ours with this local
// part, where answers go, too. The envelope sender is null, since nobody waits for a
// bounce of it (RFC 3834 §3.3). Without a smarthost: ErrNoWay.
func (c *Courier) Write(_ context.Context, to, lang, name string, f letters.Facts, local string) error {
	if c.cfg.Smarthost == "" {
		return ErrNoWay
	}
	if _, _, ok := cut(to); !ok {
		return fmt.Errorf("%.80q is no address", to)
	}
	raw, err := c.letter(to, lang, name, f, local)
	if err != nil {
		return err
	}
	now := c.cfg.Now()
	r := row{To: []string{to}, Raw: raw, First: now, Next: now}
	r.Key = rowKey(now, 0, int(hashOf(string(raw))))
	if err := c.queue.Put(r.Key, r); err != nil {
		return fmt.Errorf("queue a mail: %w", err)
	}
	c.poke()
	return nil
}

// answers are the letters that answer a mail; the others are written unasked: RFC 3834 §5.
var answers = []string{"confirm-post", "confirm-list", "confirm-leave", "welcome", "goodbye", "help", "rejected"}

// letter makes the mail of a letter.
func (c *Courier) letter(to, lang, name string, f letters.Facts, local string) ([]byte, error) {
	if lang == "" {
		lang = c.cfg.Language
	}
	f.Domain, f.URL, f.Address = c.cfg.Domain, c.cfg.URL, to
	subject, body, err := c.letters.Write(lang, name, f)
	if err != nil {
		return nil, err
	}
	var h mail.Header
	auto := "auto-generated"
	if slices.Contains(answers, name) {
		auto = "auto-replied"
	}
	h.Set("Auto-Submitted", auto)
	now := c.cfg.Now()
	h.SetMessageID(fmt.Sprintf("own.%x.%08x@%s", now.UnixNano(), hashOf(to+body), c.cfg.Domain))
	h.SetDate(now)
	h.SetSubject(oneLine(subject))
	from := []*mail.Address{{Name: f.Group, Address: c.address(local)}}
	if f.Group == "" {
		from[0].Name = c.cfg.Domain
	}
	h.SetAddressList("Reply-To", from)
	h.SetAddressList("To", []*mail.Address{{Address: to}})
	h.SetAddressList("From", from)
	h.SetContentType("text/plain", map[string]string{"charset": "utf-8"})
	if plainText(body) {
		h.Set("Content-Transfer-Encoding", "7bit")
	} else {
		h.Set("Content-Transfer-Encoding", "quoted-printable")
	}
	var out bytes.Buffer
	w, err := mail.CreateSingleInlineWriter(&out, h)
	if err == nil {
		_, err = io.WriteString(w, strings.ReplaceAll(body, "\n", "\r\n"))
	}
	if err == nil {
		err = w.Close()
	}
	return out.Bytes(), err
}

// plainText says whether every server passes s on as it is: ASCII, short lines.
func plainText(s string) bool {
	return !over127([]byte(s)) && !strings.Contains(s, "\x00") && longest([]byte(s)) <= 900
}
