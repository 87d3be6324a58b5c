package nntp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/litfass/litfass/article"
)

// TLS says how a client protects its connection.
type TLS uint8

// The ways. A client with a Pin or a user name should not use TLSNone.
const (
	TLSNone     TLS = iota
	TLSStart        // STARTTLS (RFC 4642) before anything else, whether it is listed or not
	TLSIfListed     // STARTTLS if CAPABILITIES lists it: against listeners only, not against forgers
	TLSImplicit     // from the first octet (RFC 8143 §3)
)

// ErrPin: the server's key is not the one that is expected of it.
var ErrPin = errors.New("server's key is not the pinned one")

// CodeError is an answer that is not the one hoped for.
type CodeError struct {
	Doing string // the command, without secrets
	Code  int
	Text  string
}

func (e *CodeError) Error() string { return fmt.Sprintf("%s: %d %s", e.Doing, e.Code, e.Text) }

// IsCode says whether err is a CodeError with one of these codes.
func IsCode(err error, codes ...int) bool {
	var ce *CodeError
	if !errors.As(err, &ce) {
		return false
	}
	for _, c := range codes {
		if ce.Code == c {
			return true
		}
	}
	return false
}

// Dialer says how to reach a server and how to log in. A zero field takes the
// default named there.
type Dialer struct {
	Address        string // host:port
	TLS            TLS
	Config         *tls.Config  // client certificate and roots; ServerName defaults to the host
	Pin            string       // spki:sha256:B64 of the server's key: takes the place of chain and name
	User, Password string       // AUTHINFO (RFC 4643), by SCRAM-SHA-256 where it is listed; no user: no login
	Nonce          string       // of SCRAM; default: random
	Compress       *Compressors // use COMPRESS DEFLATE (RFC 8054) where it is listed; nil: no

	Timeout  time.Duration // connecting and logging in altogether; default 20 s
	Answer   time.Duration // longest silence while an answer is due; default 60 s
	Transfer time.Duration // longest time for one answer with its block; default 10 min
	MaxBlock int64         // octets of a list or overview; default 64 MiB

	Buffers *Buffers
	Dial    func(ctx context.Context, network, address string) (net.Conn, error) // default: net.Dialer
}

// Client is the client's end of an NNTP connection: a reader's, a poster's or a
// feeding server's. Its methods may not be called at once, but for Close, and
// for one goroutine that sends (Check, TakeThis, Flush) while another calls Next.
//
// After a *CodeError, and after ErrTooLarge of an article, the connection is still
// in step; after any other error it must be closed.
type Client struct {
	c       *Conn
	d       Dialer
	Code    int    // of the greeting: 200 (posting allowed) or 201
	Welcome string // its text
	Secure  bool   // TLS is on
}

// Connect connects, begins TLS and logs in as d says. ctx bounds the whole.
func (d Dialer) Connect(ctx context.Context) (*Client, error) {
	d.defaults()
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	nc, err := d.Dial(ctx, "tcp", d.Address)
	if err != nil {
		return nil, err // names the address
	}
	c := &Client{d: d}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	err = c.enter(ctx, nc)
	if !stop() && err == nil || err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("connect to %s: %w", d.Address, err)
	}
	return c, nil
}

func (d *Dialer) defaults() {
	set := func(p *time.Duration, v time.Duration) {
		if *p == 0 {
			*p = v
		}
	}
	set(&d.Timeout, 20*time.Second)
	set(&d.Answer, time.Minute)
	set(&d.Transfer, 10*time.Minute)
	if d.MaxBlock == 0 {
		d.MaxBlock = 64 << 20
	}
	if d.Dial == nil {
		d.Dial = new(net.Dialer).DialContext
	}
}

// enter does what comes before the first command: TLS, greeting, login.
func (c *Client) enter(ctx context.Context, nc net.Conn) error {
	opt := Options{Buffers: c.d.Buffers, ReadTimeout: c.d.Answer, WriteTimeout: c.d.Answer}
	if c.d.TLS == TLSImplicit {
		tc, err := c.handshake(ctx, nc)
		if err != nil {
			return err
		}
		nc = tc
	}
	c.c = NewConn(nc, opt)
	code, text, err := c.c.Answer()
	if err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	if code != CodeReadyPost && code != CodeReadyNoPost {
		return &CodeError{"greeting", code, Printable(text)}
	}
	c.Code, c.Welcome = code, Printable(text)
	if err := c.startTLS(ctx); err != nil {
		return err
	}
	if c.d.User != "" {
		if err := c.login(c.d.User, c.d.Password); err != nil {
			return err
		}
	}
	return c.compress()
}

// compress is COMPRESS DEFLATE, after the login: RFC 8054 §2.2.2.
func (c *Client) compress() error {
	if c.d.Compress == nil {
		return nil
	}
	caps, err := c.Capabilities()
	var ce *CodeError
	if errors.As(err, &ce) || err == nil && !caps.Has("COMPRESS", "DEFLATE") {
		return nil
	}
	if err == nil {
		_, _, err = c.cmd("COMPRESS DEFLATE", CodeCompress)
	}
	if err != nil {
		return err
	}
	return c.c.Upgrade(Deflate(c.c.NetConn(), c.d.Compress))
}

// handshake puts TLS over nc and checks the pin.
func (c *Client) handshake(ctx context.Context, nc net.Conn) (*tls.Conn, error) {
	conf := c.d.Config.Clone()
	if conf == nil {
		conf = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if conf.ServerName == "" {
		conf.ServerName, _, _ = net.SplitHostPort(c.d.Address)
	}
	if c.d.TLS == TLSIfListed && c.d.Pin == "" {
		conf.InsecureSkipVerify = true // nothing was promised; better than clear text
	}
	if c.d.Pin != "" {
		want, err := parsePin(c.d.Pin)
		if err != nil {
			return nil, err
		}
		conf.InsecureSkipVerify = true // the pin is the check
		conf.VerifyConnection = func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return ErrPin
			}
			got := sha256.Sum256(s.PeerCertificates[0].RawSubjectPublicKeyInfo)
			if subtle.ConstantTimeCompare(got[:], want) != 1 {
				return fmt.Errorf("%w: it is spki:sha256:%s", ErrPin, base64.StdEncoding.EncodeToString(got[:]))
			}
			return nil
		}
	}
	tc := tls.Client(nc, conf)
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	c.Secure = true
	return tc, nil
}

// parsePin reads "spki:sha256:B64", in standard or in URL base64, padded or not.
func parsePin(pin string) ([]byte, error) {
	b64, ok := strings.CutPrefix(pin, "spki:sha256:")
	b64 = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(b64, "="))
	sum, err := base64.RawStdEncoding.DecodeString(b64)
	if !ok || err != nil || len(sum) != sha256.Size {
		return nil, fmt.Errorf("key %.60q is not of the form spki:sha256:BASE64", pin)
	}
	return sum, nil
}

func (c *Client) startTLS(ctx context.Context) error {
	switch c.d.TLS {
	case TLSIfListed:
		caps, err := c.Capabilities()
		if err != nil || !caps.Has("STARTTLS") { // no CAPABILITIES: an old server
			var ce *CodeError
			if err != nil && !errors.As(err, &ce) {
				return err
			}
			return nil
		}
	case TLSStart:
	default:
		return nil
	}
	if _, _, err := c.cmd("STARTTLS", CodeStartTLS); err != nil {
		return err
	}
	tc, err := c.handshake(ctx, c.c.NetConn())
	if err != nil {
		return err
	}
	return c.c.Upgrade(tc)
}

// Close closes the connection at once. It may be called at any time.
func (c *Client) Close() error { return c.c.Close() }

// Quit takes leave (RFC 3977 §5.4), waiting at most a second, and closes.
func (c *Client) Quit() error {
	t := time.AfterFunc(time.Second, func() { c.c.Close() })
	defer t.Stop()
	_, _, _ = c.cmd("QUIT", CodeQuit) // polite only
	err := c.c.Close()
	c.c.Forget()
	return err
}

// NetConn is the connection below, for its addresses.
func (c *Client) NetConn() net.Conn { return c.c.NetConn() }

// Octets are how many were read and written so far.
func (c *Client) Octets() (in, out int64) { return c.c.In, c.c.Out }

// plain refuses what would begin a second command.
func plain(s string) error {
	if strings.ContainsAny(s, "\r\n\x00") {
		return fmt.Errorf("%.40q holds CR, LF or NUL", s)
	}
	return nil
}

// cmd sends a command and returns its answer if that has one of these codes.
func (c *Client) cmd(line string, want ...int) (int, string, error) {
	return c.exchange(line, line, want...)
}

// exchange is cmd with another name for errors: passwords stand in no log.
func (c *Client) exchange(doing, line string, want ...int) (int, string, error) {
	if err := plain(line); err != nil {
		return 0, "", err
	}
	defer c.watch()()
	c.c.Command(line)
	return c.answer(doing, want...)
}

func (c *Client) answer(doing string, want ...int) (int, string, error) {
	if err := c.c.Flush(); err != nil {
		return 0, "", err
	}
	code, text, err := c.c.Answer()
	if err != nil {
		return 0, "", fmt.Errorf("answer to %.60s: %w", doing, err)
	}
	for _, w := range want {
		if code == w {
			return code, string(text), nil
		}
	}
	return code, "", &CodeError{doing, code, Printable(text)}
}

// watch closes the connection if an exchange takes longer than Transfer,
// however its octets trickle. The caller calls the function it returns.
func (c *Client) watch() func() {
	t := time.AfterFunc(c.d.Transfer, func() { c.c.Close() })
	return func() { t.Stop() }
}

// Printable is what of a server's text may stand in errors and logs.
func Printable(text []byte) string {
	text = text[:min(len(text), 200)]
	return strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, string(text)), "?")
}

// lines reads the block of an answer, within MaxBlock octets.
func (c *Client) lines(fn func(line []byte) error) error {
	var n int64
	err := c.c.Lines(func(line []byte) error {
		if n += int64(len(line)) + 2; n > c.d.MaxBlock {
			c.c.Close() // what comes still may never end
			return ErrTooLarge
		}
		return fn(line)
	})
	if n > c.d.MaxBlock {
		return fmt.Errorf("over %d octets of lines: %w", c.d.MaxBlock, ErrTooLarge)
	}
	return err
}

// Capabilities are the lines of RFC 3977 §5.2: labels in upper case, arguments.
type Capabilities map[string][]string

// Has says whether label is listed, and with that argument if one is given.
func (c Capabilities) Has(label string, arg ...string) bool {
	args, ok := c[label]
	for _, a := range arg {
		found := false
		for _, b := range args {
			found = found || strings.EqualFold(a, b)
		}
		ok = ok && found
	}
	return ok
}

// Capabilities asks what the server can do now.
func (c *Client) Capabilities() (Capabilities, error) {
	defer c.watch()()
	if _, _, err := c.cmd("CAPABILITIES", CodeCapabilities); err != nil {
		return nil, err
	}
	caps := Capabilities{}
	err := c.lines(func(line []byte) error {
		if w := strings.Fields(string(line)); len(w) > 0 && len(caps) < 200 {
			caps[strings.ToUpper(w[0])] = w[1:]
		}
		return nil
	})
	return caps, err
}

// ModeReader asks for a reader's commands: RFC 3977 §5.3. Servers that know no
// modes refuse it with 500 and serve all the same: no error.
func (c *Client) ModeReader() error {
	code, _, err := c.cmd("MODE READER", CodeReadyPost, CodeReadyNoPost)
	if code == CodeUnknown || code == CodeSyntax {
		return nil
	}
	return err
}

// ModeStream asks for streaming and says whether it is to be had: RFC 4644 §2.3.
func (c *Client) ModeStream() (bool, error) {
	_, _, err := c.cmd("MODE STREAM", CodeStreaming)
	var ce *CodeError
	if errors.As(err, &ce) {
		if ce.Code == CodeUnavailable || ce.Code == CodeAuthRequired {
			return false, err
		}
		return false, nil
	}
	return err == nil, err
}

// Date asks for the server's clock: RFC 3977 §7.1.
func (c *Client) Date() (time.Time, error) {
	_, text, err := c.cmd("DATE", CodeDate)
	if err != nil {
		return time.Time{}, err
	}
	word, _, _ := strings.Cut(text, " ")
	return time.ParseInLocation("20060102150405", word, time.UTC)
}

// Group selects a group: RFC 3977 §6.1.1. The numbers are those the server says.
func (c *Client) Group(g article.Group) (count, low, high uint64, err error) {
	_, text, err := c.cmd("GROUP "+string(g), CodeGroup)
	if err != nil {
		return 0, 0, 0, err
	}
	var n [3]uint64
	w := strings.Fields(text)
	for i := range n {
		if len(w) <= i {
			return 0, 0, 0, fmt.Errorf("GROUP %s: %q holds no three numbers", g, text)
		}
		if n[i], err = strconv.ParseUint(w[i], 10, 64); err != nil {
			return 0, 0, 0, fmt.Errorf("GROUP %s: %w", g, err)
		}
	}
	return n[0], n[1], n[2], nil
}

// ListGroup selects a group and calls fn with each number's line: RFC 3977 §6.1.2.
func (c *Client) ListGroup(g article.Group, fn func(line []byte) error) error {
	defer c.watch()()
	if _, _, err := c.cmd("LISTGROUP "+string(g), CodeGroup); err != nil {
		return err
	}
	return c.lines(fn)
}

// Over calls fn for each article of the selected group with lo <= number <= hi:
// RFC 3977 §8.3, falling back to XOVER (RFC 2980 §2.8). No article is no error.
// Only the fields of the overview line are set; lines that are none are passed over.
func (c *Client) Over(lo, hi uint64, fn func(number uint64, o article.Overview) error) error {
	defer c.watch()()
	span := fmt.Sprintf(" %d-%d", lo, hi)
	code, _, err := c.cmd("OVER"+span, CodeOver)
	if code == CodeUnknown || code == CodeNotSupported {
		code, _, err = c.cmd("XOVER"+span, CodeOver)
	}
	if code == CodeNoNumber || code == CodeNoCurrent {
		return nil
	}
	if err != nil {
		return err
	}
	return c.lines(func(line []byte) error {
		n, o, ok := parseOver(line)
		if !ok || n < lo || n > hi {
			return nil
		}
		return fn(n, o)
	})
}

// parseOver reads one overview line. Its strings are parts of one copy of the line.
func parseOver(line []byte) (uint64, article.Overview, bool) {
	var f [8]string
	rest, more := string(line), true
	for i := range f {
		if !more {
			return 0, article.Overview{}, false
		}
		f[i], rest, more = strings.Cut(rest, "\t")
	}
	n, err := strconv.ParseUint(f[0], 10, 64)
	if err != nil {
		return 0, article.Overview{}, false
	}
	id, err := article.ParseID(f[4])
	if err != nil {
		return 0, article.Overview{}, false
	}
	o := article.Overview{Subject: f[1], From: f[2], Date: f[3], ID: id, References: f[5]}
	o.Bytes, _ = strconv.Atoi(f[6]) // empty is allowed
	o.Lines, _ = strconv.Atoi(f[7])
	return n, o, true
}

// NewNews asks for the ids that came since that time (by the server's clock) in
// groups that match: RFC 3977 §7.4. What is no id is passed over.
func (c *Client) NewNews(wildmat string, since time.Time, fn func(article.ID) error) error {
	defer c.watch()()
	line := "NEWNEWS " + wildmat + since.UTC().Format(" 20060102 150405 GMT")
	if _, _, err := c.cmd(line, CodeNewNews); err != nil {
		return err
	}
	return c.lines(func(line []byte) error {
		id, err := article.ParseID(string(bytes.TrimSpace(line)))
		if err != nil {
			return nil
		}
		return fn(id)
	})
}

// List calls fn with each line of LIST: RFC 3977 §7.6. args: "ACTIVE", "COUNTS"
// and the like, with a wildmat or not.
func (c *Client) List(args string, fn func(line []byte) error) error {
	defer c.watch()()
	if _, _, err := c.cmd(strings.TrimRight("LIST "+args, " "), CodeList); err != nil {
		return err
	}
	return c.lines(fn)
}

// Article fetches an article by id or number in wire form, at most max octets:
// RFC 3977 §6.2.1. A larger one is ErrTooLarge; one that is not there a CodeError.
func (c *Client) Article(which string, max int) ([]byte, error) {
	return c.block("ARTICLE", which, CodeArticle, max)
}

// pipelined is how many ARTICLE commands Articles has in flight.
const pipelined = 16

// Articles is Article of many, pipelined. fn gets each in turn, or the error
// that concerns it alone; an error of fn ends the calls.
func (c *Client) Articles(which []string, max int, fn func(i int, wire []byte, err error) error) error {
	var failed error
	asked := 0
	for i := range which {
		for ; asked < len(which) && asked < i+pipelined && failed == nil; asked++ {
			if err := plain(which[asked]); err != nil {
				return err
			}
			c.c.Command("ARTICLE", which[asked])
		}
		if i == asked {
			break
		}
		wire, err := c.nextArticle(which[i], max)
		var ce *CodeError
		if err != nil && !errors.As(err, &ce) && !errors.Is(err, ErrTooLarge) {
			return err
		}
		if failed == nil {
			failed = fn(i, wire, err)
		}
	}
	return failed
}

func (c *Client) nextArticle(which string, max int) ([]byte, error) {
	defer c.watch()()
	if _, _, err := c.answer("ARTICLE "+which, CodeArticle); err != nil {
		return nil, err
	}
	return c.c.Block(max)
}

// Head fetches the header alone, as a block in wire form: RFC 3977 §6.2.2.
func (c *Client) Head(which string, max int) ([]byte, error) {
	return c.block("HEAD", which, CodeHead, max)
}

func (c *Client) block(verb, which string, want, max int) ([]byte, error) {
	defer c.watch()()
	if _, _, err := c.cmd(verb+" "+which, want); err != nil {
		return nil, err
	}
	return c.c.Block(max)
}

// Stat says whether an article is there, by id or number: RFC 3977 §6.2.4.
func (c *Client) Stat(which string) (bool, error) {
	code, _, err := c.cmd("STAT "+which, CodeStat)
	if code == CodeNoID || code == CodeNoNumber {
		return false, nil
	}
	return err == nil, err
}

// Post posts an article in wire form: RFC 3977 §6.3.1.
func (c *Client) Post(wire []byte) error {
	defer c.watch()()
	if _, _, err := c.cmd("POST", CodePostSend); err != nil {
		return err
	}
	c.c.Ref(wire)
	_, _, err := c.answer("POST", CodePostOK)
	return err
}

// Ihave offers one article, in wire form, and sends it if it is wanted: RFC 3977
// §6.3.2. The code is 235 (taken), 435 (not wanted), 436 (later) or 437
// (refused), with the server's text; others are errors.
func (c *Client) Ihave(id article.ID, wire []byte) (code int, text string, err error) {
	defer c.watch()()
	code, text, err = c.cmd("IHAVE "+string(id), CodeIhaveSend, CodeIhaveRefused, CodeIhaveLater)
	if err != nil || code != CodeIhaveSend {
		return code, text, err
	}
	c.c.Ref(wire)
	return c.answer("IHAVE", CodeIhaveOK, CodeIhaveLater, CodeIhaveRejected)
}

// Check offers one article, TakeThis sends one unasked; both only add to the
// output. Answers are read with Next, in the order of the commands: RFC 4644 §2.4
// and §2.5. wire must not change before Flush; once 1 MiB waits, it is flushed.
func (c *Client) Check(id article.ID) { c.c.Command("CHECK", string(id)) }

// TakeThis sends an article: see Check.
func (c *Client) TakeThis(id article.ID, wire []byte) {
	c.c.Command("TAKETHIS", string(id))
	c.c.Ref(wire)
}

// Pending returns the octets not yet flushed.
func (c *Client) Pending() int { return c.c.Pending() }

// Flush sends what Check and TakeThis gathered and returns the first error of
// any write so far.
func (c *Client) Flush() error { return c.c.Flush() }

// Quitting adds QUIT to a pipeline; its answer is the last one.
func (c *Client) Quitting() { c.c.Command("QUIT") }

// Await waits for the first octet of an answer, however long: whoever pipelines
// knows whether one is due, and calls Close if it takes too long.
func (c *Client) Await() error { return c.c.Wait(365 * 24 * time.Hour) }

// Buffered is how many octets of answers are here already.
func (c *Client) Buffered() int { return c.c.Buffered() }

// Next reads one answer of a pipeline: its code, and its text, which is valid
// until the next read.
func (c *Client) Next() (int, []byte, error) { return c.c.Answer() }
