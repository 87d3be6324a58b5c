package courier

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/article/content"
	"github.com/litfass/litfass/smtpd/alignment"
	"github.com/litfass/litfass/spool"
)

// notMailed are fields of an article that do not travel by mail. Received does, so that
// servers count the rounds of a mail that goes in a loop (RFC 5321 §6.3).
var notMailed = []string{"Path", "Xref", "Injection-Info", "Injection-Date", "Cancel-Lock", "Return-Path", "Bcc",
	"List-Id", "List-Post", "List-Help", "List-Subscribe", "List-Unsubscribe", "List-Unsubscribe-Post", "Precedence", "Archived-At", "Lines"}

// letter is an article ready for mailing: everything but what differs from one
// subscriber to the next.
type letter struct {
	head    []byte // with CRLF, without the empty line
	body    []byte
	wrapped *letter // for a server without 8BITMIME; nil: the same
	seal    *seal   // made when it is first needed
}

// compose turns an article into a mail of the group's list. Its octets stay as they
// are, but for fields of news that go and fields of lists that come; From is
// rewritten only where DMARC forces it. A signed article is never changed: where it
// can not travel as it is, it goes wrapped (pki.md §2.6 (5)).
func (c *Courier) compose(ctx context.Context, a *article.Article, g spool.GroupInfo) letter {
	var h bytes.Buffer
	from := a.Get("From")
	rewrite := c.mustRewrite(ctx, from)
	signed := a.Has(article.HasSignature)
	if signed && rewrite {
		return c.wrap(a, g, c.viaList(from, g))
	}
	hasTo, hasReply := false, false
	for name, v := range a.Fields() {
		if drop(name) {
			continue
		}
		hasTo = hasTo || strings.EqualFold(name, "To")
		if strings.EqualFold(name, "Reply-To") {
			hasReply = true
		}
		switch {
		case rewrite && strings.EqualFold(name, "From"):
			h.WriteString(field("From", c.viaList(from, g)))
		case !signed && over127([]byte(v)):
			h.WriteString(field(name, inASCII(name, string(v))))
		default:
			fmt.Fprintf(&h, "%s:%s\r\n", name, v)
		}
	}
	if rewrite && !hasReply {
		h.WriteString(field("Reply-To", inASCII("From", from)))
	}
	if !hasTo {
		fmt.Fprintf(&h, "To: %s\r\n", c.address(string(g.Name)))
	}
	h.Write(c.listFields(g, a.ID()))
	l := letter{head: h.Bytes(), body: a.Body()}
	if !signed {
		return l
	}
	asItIs, eight := plainMail(l.head, l.body)
	if asItIs && !eight {
		return l
	}
	w := c.wrap(a, g, "")
	if !asItIs {
		return w
	}
	l.wrapped = &w
	return l
}

// viaList is the From of somebody whose domain lets nobody else use its name.
func (c *Courier) viaList(from string, g spool.GroupInfo) string {
	who, _ := content.Author(from)
	return mailbox(who+" via "+string(g.Name), c.address(string(g.Name)))
}

func drop(name string) bool {
	for _, n := range notMailed {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// listFields are those of RFC 2919, RFC 2369 and RFC 5064.
func (c *Courier) listFields(g spool.GroupInfo, id article.ID) []byte {
	var h bytes.Buffer
	name := string(g.Name)
	list := "<" + label(name) + "." + c.cfg.Domain + ">"
	if d := readable(content.ToUTF8("utf-8", []byte(g.Description))); d != "" {
		list = phrase(d) + " " + list
	}
	h.WriteString(field("List-Id", list))
	post := "NO"
	if g.Status != spool.PostNone {
		post = c.mailto(name)
	}
	fmt.Fprintf(&h, "List-Post: %s\r\nList-Help: %s\r\nList-Subscribe: %s\r\n", post, c.mailto(name+"-help"), c.mailto(name+"-subscribe"))
	if c.cfg.URL != "" && id != "" {
		fmt.Fprintf(&h, "Archived-At: <%s/m/%s>\r\n", c.cfg.URL, url.PathEscape(id.Bare()))
	}
	h.WriteString("Precedence: list\r\n")
	return h.Bytes()
}

// mailto is an address of ours as a link (RFC 6068 §2): "+" stays, what is not ASCII goes
// as UTF-8 with "%".
func (c *Courier) mailto(local string) string {
	return "<mailto:" + strings.ReplaceAll(url.PathEscape(local), "%2B", "+") + "@" + c.cfg.Domain + ">"
}

// leaveFields let one subscriber leave with one click: RFC 8058.
func (c *Courier) leaveFields(token string) string {
	mail := c.mailto("leave+" + token)
	if c.cfg.URL == "" {
		return "List-Unsubscribe: " + mail + "\r\n"
	}
	return "List-Unsubscribe: <" + c.cfg.URL + "/mail/leave?t=" + token + ">,\r\n " + mail + "\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
}

// finish puts a mail together for one subscriber, signed if there is a key. Only what is
// his own is made anew.
func (c *Courier) finish(l *letter, extra string) (io.Reader, error) {
	sig := ""
	if c.cfg.DKIM.Key != nil {
		var err error
		if l.seal == nil {
			if l.seal, err = c.newSeal(*l); err != nil {
				return nil, err
			}
		}
		if sig, err = l.seal.sign(extra); err != nil {
			return nil, err
		}
	}
	return io.MultiReader(strings.NewReader(sig), bytes.NewReader(l.head), strings.NewReader(extra+"\r\n"), bytes.NewReader(l.body)), nil
}

// dmarcCache remembers for an hour, or a minute where the DNS did not answer, which domains let nobody else use their name.
type dmarcCache struct {
	mu    sync.Mutex
	known map[string]dmarcAnswer
}

type dmarcAnswer struct {
	strict bool
	until  time.Time
}

// mustRewrite says whether the domain of From would have mail refused that comes
// from here under its name: RFC 7489 p=quarantine or p=reject.
func (c *Courier) mustRewrite(ctx context.Context, from string) bool {
	_, addr := content.Author(from)
	_, domain, ok := cut(addr)
	if !ok {
		return true // no address a mail could come from
	}
	if domain == strings.ToLower(c.cfg.Domain) || c.cfg.Smarthost == "" || strings.HasSuffix(domain, ".invalid") {
		return false
	}
	d := &c.dmarc
	d.mu.Lock()
	a, known := d.known[domain]
	d.mu.Unlock()
	if known && c.cfg.Now().Before(a.until) {
		return a.strict
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	p, temporary := alignment.Lookup(domain, func(name string) ([]string, error) { return c.cfg.Resolver.LookupTXT(ctx, name) })
	a = dmarcAnswer{strict: p.Reject || p.Quarantine, until: c.cfg.Now().Add(time.Hour)}
	if temporary { // a mail that is refused is worse than another name in From
		a = dmarcAnswer{strict: true, until: c.cfg.Now().Add(time.Minute)}
	}
	d.mu.Lock()
	if d.known == nil || len(d.known) > 1000 {
		d.known = map[string]dmarcAnswer{}
	}
	d.known[domain] = a
	d.mu.Unlock()
	return a.strict
}
