package syndicate

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/andybalholm/brotli"
)

// Fetcher asks origins for documents, politely and within bounds. Its fields are
// set once. It keeps no state between polls: Validators does.
type Fetcher struct {
	Guard   Guard
	Agent   string        // User-Agent
	Timeout time.Duration // of a whole poll, redirects included; default 20 s
	Bounds  Bounds
	Now     func() time.Time

	client *http.Client
}

// Validators are what the origin said of the copy that we had last.
type Validators struct {
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
	Body         string `json:"body,omitempty"` // hash of the octets, for origins without validators
}

// Answer is what a poll brought.
type Answer struct {
	Status     int // 200, 304, or what else the origin said
	Body       []byte
	Type       string // Content-Type
	URL        string // where the document was in the end
	Permanent  string // where it moved for good, if every redirect said so
	Validators Validators
	MinWait    time.Duration // from Cache-Control and Expires: do not ask before
	RetryAfter time.Duration // from 429 and 503
}

// Init makes the client. It must be called once before Get.
func (f *Fetcher) Init() {
	if f.Timeout == 0 {
		f.Timeout = 20 * time.Second
	}
	f.Bounds = f.Bounds.orDefault()
	if f.Now == nil {
		f.Now = time.Now
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second, Control: f.Guard.control}
	f.client = &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, MaxConnsPerHost: 1, MaxIdleConns: 8, IdleConnTimeout: 30 * time.Second,
			TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 15 * time.Second,
			MaxResponseHeaderBytes: 64 << 10, DisableCompression: true, ForceAttemptHTTP2: true,
		},
	}
}

// Close drops idle connections.
func (f *Fetcher) Close() { f.client.CloseIdleConnections() }

// ParseURL checks that a feed's address is http or https with a host and no password.
func ParseURL(s string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(s))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%q is no web address: %w", s, err)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%q does not begin with http:// or https://", s)
	case u.Host == "" || len(s) > 2000:
		return nil, fmt.Errorf("%q has no host, or is over 2,000 octets long", s)
	case u.User != nil:
		return nil, errors.New("a feed's address must not hold a name or password: it would be visible to everybody")
	}
	u.Fragment = ""
	return u, nil
}

// Get polls one address. An error means that no answer came; a status that is no
// success is no error.
func (f *Fetcher) Get(ctx context.Context, address string, v Validators) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	u, err := ParseURL(address)
	if err != nil {
		return nil, err
	}
	a := &Answer{}
	permanent := true
	client := *f.client
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if len(via) >= 5 {
			return errors.New("over 5 redirects")
		}
		if c := req.Response.StatusCode; c != http.StatusMovedPermanently && c != http.StatusPermanentRedirect {
			permanent = false
		}
		if _, err := ParseURL(req.URL.String()); err != nil {
			return fmt.Errorf("redirect: %w", err)
		}
		if permanent {
			a.Permanent = req.URL.String()
		}
		return nil
	}
	resp, err := client.Do(f.request(ctx, u, v))
	if where := (*url.Error)(nil); errors.As(err, &where) && where.URL == u.String() {
		err = where.Err // who asks names the address
	}
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	f.read(a, resp, v)
	if resp.StatusCode != http.StatusOK {
		return a, nil
	}
	if a.Body, err = f.body(resp); err != nil {
		return nil, err
	}
	return a, nil
}

func (f *Fetcher) request(ctx context.Context, u *url.URL, v Validators) *http.Request {
	req := (&http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: http.Header{}}).WithContext(ctx)
	h := req.Header
	h.Set("User-Agent", f.Agent)
	h.Set("Accept", "application/atom+xml, application/rss+xml, application/feed+json, application/rdf+xml, application/xml;q=0.9, text/xml;q=0.8, text/html;q=0.3, */*;q=0.1")
	h.Set("Accept-Encoding", "br, gzip, deflate")
	if v.ETag != "" {
		h.Set("If-None-Match", v.ETag)
	}
	if v.LastModified != "" {
		h.Set("If-Modified-Since", v.LastModified)
	}
	return req
}

// read takes what the header says of validators and waiting.
func (f *Fetcher) read(a *Answer, resp *http.Response, old Validators) {
	a.Status, a.Type, a.URL = resp.StatusCode, resp.Header.Get("Content-Type"), resp.Request.URL.String()
	short := func(s string) string {
		if len(s) > 512 {
			return ""
		}
		return s
	}
	a.Validators = Validators{ETag: short(resp.Header.Get("ETag")), LastModified: short(resp.Header.Get("Last-Modified"))}
	if a.Status == http.StatusNotModified {
		a.Validators = old
	}
	now := f.Now()
	a.RetryAfter = seconds(resp.Header.Get("Retry-After"), now, 48*time.Hour)
	for d := range strings.SplitSeq(resp.Header.Get("Cache-Control"), ",") {
		if name, val, ok := strings.Cut(strings.TrimSpace(d), "="); ok && strings.EqualFold(name, "max-age") {
			a.MinWait = seconds(strings.Trim(val, `"`), now, 24*time.Hour)
		}
	}
	if e := resp.Header.Get("Expires"); e != "" && e != "0" {
		a.MinWait = max(a.MinWait, seconds(e, now, 24*time.Hour))
	}
}

// seconds reads a number of seconds or an HTTP date, between 0 and limit.
func seconds(s string, now time.Time, limit time.Duration) time.Duration {
	if s == "" {
		return 0
	}
	var d time.Duration
	if n, err := strconv.ParseInt(s, 10, 32); err == nil {
		d = time.Duration(n) * time.Second
	} else if t, err := http.ParseTime(s); err == nil {
		d = t.Sub(now)
	}
	return max(0, min(d, limit))
}

// inflate reads "deflate", which is zlib's format (RFC 9110 §8.4.1.2), or, as some
// servers send it, what is inside that.
func inflate(r io.Reader) io.Reader {
	b := bufio.NewReader(r)
	head, err := b.Peek(2)
	if err == nil && head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
		if z, err := zlib.NewReader(b); err == nil {
			return z
		}
	}
	return flate.NewReader(b)
}

// body reads at most Bounds.Bytes octets, decompressed.
func (f *Fetcher) body(resp *http.Response) ([]byte, error) {
	var r io.Reader = io.LimitReader(resp.Body, int64(f.Bounds.Bytes)+1)
	switch enc := strings.ToLower(resp.Header.Get("Content-Encoding")); enc {
	case "", "identity":
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("the answer says gzip but is none: %w", err)
		}
		r = z
	case "br":
		r = brotli.NewReader(r)
	case "deflate":
		r = inflate(r)
	default:
		return nil, fmt.Errorf("the answer is encoded as %.20q, which was not asked for", enc)
	}
	b, err := io.ReadAll(io.LimitReader(r, int64(f.Bounds.Bytes)+1))
	if len(b) > f.Bounds.Bytes {
		return nil, fmt.Errorf("document of over %d octets, the limit", f.Bounds.Bytes)
	}
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return b, nil
}
