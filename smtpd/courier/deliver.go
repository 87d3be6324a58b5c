package courier

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// Outcomes of one delivery.
type outcome uint8

const (
	delivered outcome = iota
	later             // try again
	failed            // never
)

// work serves one row: every subscriber in turn, noting each.
func (c *Courier) work(ctx context.Context, r row) error {
	l, ok, err := c.letterOf(ctx, r)
	if err != nil {
		return err
	}
	if !ok { // the article is gone: nobody waits for it any more
		return c.settle(r, nil, r.Next)
	}
	line := &line{c: c, ctx: ctx}
	defer line.close()
	left := slices.Clone(r.To)
	var again []string
	for len(left) > 0 && ctx.Err() == nil {
		to := left[0]
		result, why := c.one(line, r, &l, to)
		switch result {
		case delivered:
			c.sent.Add(1)
		case later:
			c.deferred.Add(1)
			again = append(again, to)
			r.Why = oneLine(why.Error())
			c.cfg.Log.Info("courier: mail deferred", "seq", r.Seq, "reason", why)
		case failed:
			c.cfg.Log.Info("courier: mail refused", "seq", r.Seq, "reason", why)
			c.failed(r, to)
		}
		left = left[1:]
		if result == later && c.places.resting(c.destination(to), c.cfg.Now()) != nil { // nobody else is taken either
			c.deferred.Add(int64(len(left)))
			again, left = append(again, left...), nil
		}
		if err := c.settle(r, append(slices.Clone(left), again...), r.Next); err != nil {
			return err
		}
	}
	if len(left) > 0 { // stopped in the middle: those left stay due
		return nil
	}
	return c.again(r, again)
}

// again puts off those who could not be served, or gives up on them.
func (c *Courier) again(r row, to []string) error {
	if len(to) == 0 {
		return nil
	}
	now := c.cfg.Now()
	if now.Sub(r.First) > giveUp {
		for _, a := range to {
			c.failed(r, a)
		}
		return c.settle(r, nil, now)
	}
	return c.settle(r, to, now.Add(retryAfter(r.Tries)))
}

// failed counts a mail that will never arrive.
func (c *Courier) failed(r row, to string) {
	if r.Group == "" {
		c.bounced.Add(1)
		return
	}
	s, err := c.subs.Get(subKey(r.list(), to))
	if err == nil {
		err = c.bounce(s.Token)
	}
	if err != nil {
		c.cfg.Log.Error("courier: count a bounce", "err", err)
	}
}

// letterOf makes what a row sends; false if its article is gone.
func (c *Courier) letterOf(ctx context.Context, r row) (letter, bool, error) {
	if r.Raw != nil {
		head, body, _ := bytes.Cut(r.Raw, []byte("\r\n\r\n"))
		return letter{head: append(head, "\r\n"...), body: body}, true, nil
	}
	g, err := c.cfg.Spool.Group(ctx, r.Group)
	var a *article.Article
	if err == nil {
		a, err = c.cfg.Spool.Open(ctx, r.Seq)
	}
	if errors.Is(err, spool.ErrNotFound) {
		return letter{}, false, nil
	}
	if err != nil {
		return letter{}, false, fmt.Errorf("open article %d for mailing: %w", r.Seq, err)
	}
	return c.compose(ctx, a, g), true, nil
}

// one sends a letter to one address.
func (c *Courier) one(line *line, r row, l *letter, to string) (outcome, error) {
	from, extra := "", ""
	if r.Group != "" {
		s, err := c.subs.Get(subKey(r.list(), to))
		if err != nil || s.Paused {
			return delivered, nil // left meanwhile
		}
		from, extra = c.address("bounce+"+s.Token), c.leaveFields(s.Token)
	}
	client, err := line.to(to)
	if err != nil {
		if errors.Is(err, errNoHost) {
			return failed, err
		}
		return later, err // a server that is busy or closed says nothing about the address
	}
	if ok, _ := client.Extension("8BITMIME"); !ok && l.wrapped != nil {
		l = l.wrapped
	}
	mail, err := c.finish(l, extra)
	if err != nil {
		return later, err
	}
	err = client.SendMail(from, []string{to}, mail)
	if err == nil {
		return delivered, nil
	}
	var e *smtp.SMTPError
	switch {
	case errors.As(err, &e) && e.Code == 421: // it closes: RFC 5321 §3.8
		line.close()
		c.places.rests(line.where, c.cfg.Now(), err)
	case e == nil || client.Reset() != nil: // the connection is broken
		line.close()
	}
	return classify(err), err
}

// classify tells what the answer to a mail means. Unknown failures are temporary.
func classify(err error) outcome {
	var e *smtp.SMTPError
	if errors.As(err, &e) && e.Code >= 500 {
		return failed
	}
	return later
}

var errNoHost = errors.New("the domain takes no mail")

// line is a worker's connection to a mail server, kept while the next address is
// served by the same one.
type line struct {
	c      *Courier
	ctx    context.Context
	client *smtp.Client
	where  string
}

func (l *line) close() {
	if l.client != nil {
		if l.client.Quit() != nil {
			l.client.Close()
		}
		l.client = nil
	}
}

// to returns a connection that takes mail for address.
func (l *line) to(address string) (*smtp.Client, error) {
	_, domain, ok := cut(address)
	if !ok {
		return nil, errNoHost
	}
	where := l.c.destination(address)
	if l.client != nil && l.where == where {
		return l.client, nil
	}
	l.close()
	if err := l.c.places.resting(where, l.c.cfg.Now()); err != nil {
		return nil, err
	}
	hosts := []string{where}
	if l.c.cfg.Smarthost == "mx" {
		var err error
		if hosts, err = l.c.exchangers(l.ctx, domain); err != nil {
			return nil, err
		}
	}
	var errs []error
	for _, h := range hosts {
		client, err := l.c.dial(l.ctx, h)
		if err == nil {
			l.client, l.where = client, where
			return client, nil
		}
		errs = append(errs, err)
	}
	err := errors.Join(errs...)
	if l.ctx.Err() == nil {
		l.c.places.rests(where, l.c.cfg.Now(), err)
	}
	return nil, err
}

// exchangers are a domain's mail servers in order: RFC 5321 §5.1; none at all with
// a null MX (RFC 7505).
func (c *Courier) exchangers(ctx context.Context, domain string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	mxs, err := c.cfg.Resolver.LookupMX(ctx, domain)
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		if _, err := c.cfg.Resolver.LookupHost(ctx, domain); errors.As(err, &dns) && dns.IsNotFound {
			return nil, fmt.Errorf("%s: %w", domain, errNoHost)
		}
		return []string{net.JoinHostPort(domain, c.cfg.Port)}, nil
	}
	if err != nil && len(mxs) == 0 {
		return nil, fmt.Errorf("look up the mail servers of %s: %w", domain, err)
	}
	var out []string
	for _, mx := range mxs[:min(len(mxs), 5)] {
		host := strings.TrimSuffix(mx.Host, ".")
		if host == "" {
			return nil, fmt.Errorf("%s: %w", domain, errNoHost)
		}
		out = append(out, net.JoinHostPort(host, c.cfg.Port))
	}
	return out, nil
}

// dial connects, with TLS if the server offers it (RFC 3207). A server whose TLS
// does not work is spoken to in the clear, unless TLS is configured.
func (c *Courier) dial(ctx context.Context, addr string) (*smtp.Client, error) {
	conn, err := c.connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	client := smtp.NewClient(conn)
	if err := client.Hello(c.cfg.Host); err != nil {
		client.Close()
		return nil, fmt.Errorf("greet %s: %w", addr, err)
	}
	host, _, _ := net.SplitHostPort(addr)
	if ok, _ := client.Extension("STARTTLS"); ok {
		if secured, err := c.secure(ctx, addr, host); err == nil {
			client.Close()
			client = secured
		} else if c.cfg.TLS != nil {
			client.Close()
			return nil, fmt.Errorf("STARTTLS with %s: %w", addr, err)
		}
	}
	if c.cfg.User != "" && c.cfg.Smarthost != "mx" {
		if err := c.authenticate(client, host); err != nil {
			client.Close()
			return nil, err
		}
	}
	return client, nil
}

func (c *Courier) authenticate(client *smtp.Client, host string) error {
	if _, ok := client.TLSConnectionState(); !ok && !loopback(host) {
		return errors.New("the smarthost offers no TLS: the password is not sent in the clear")
	}
	if err := client.Auth(sasl.NewPlainClient("", c.cfg.User, c.cfg.Password)); err != nil {
		return fmt.Errorf("log in at the smarthost: %w", err)
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (c *Courier) connect(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: 30 * time.Second, Resolver: c.cfg.Resolver}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("reach the mail server: %w", err)
	}
	return conn, nil
}

func (c *Courier) secure(ctx context.Context, addr, host string) (*smtp.Client, error) {
	cfg := c.cfg.TLS
	if cfg == nil {
		cfg = &tls.Config{ServerName: host, InsecureSkipVerify: true} // opportunistic: better than clear text, RFC 7435
	}
	conn, err := c.connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	client, err := smtp.NewClientStartTLS(conn, cfg)
	if err != nil {
		conn.Close()
	}
	return client, err
}
