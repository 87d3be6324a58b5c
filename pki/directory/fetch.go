package directory

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/litfass/litfass/pki"
)

// sinceOctets bounds one answer of since: sinceMost statements of MaxRecover octets.
const sinceOctets = sinceMost * pki.MaxRecover

// Fetcher pulls statements from a neighbour's directory (§7.3, §7.5). What comes is
// verified statement by statement: the neighbour need not be trusted, only reached.
type Fetcher struct {
	Ledger *pki.Ledger
	Client *http.Client  // nil: one that waits a minute for an answer to begin
	Idle   time.Duration // how long a transfer may stand still; 0: a minute
}

// Fetched says what one pull brought.
type Fetched struct {
	Taken   int  // statements that were new
	Stopped int  // held off by the quota of this neighbour: they come with a later pull
	Links   int  // articles of chains (§4)
	Whole   bool // a snapshot was read
}

// errGone: the neighbour's log is shorter than it was (a node set up anew).
var errGone = errors.New("the neighbour's statements begin anew")

// Pull brings what the directory at base (http://HOST:PORT) has and this node has
// not: at first its snapshot, then what came since. That one snapshot of a
// neighbour whom the operator named passes without quotas; all else counts against
// source (see pki.Ledger.Apply), also when the neighbour says that it began anew,
// or it could get past its quota again and again. What a quota stops is asked for
// again at the next pull. An error leaves what was taken.
func (f *Fetcher) Pull(ctx context.Context, base, source string) (Fetched, error) {
	var got Fetched
	base, err := CleanURL(base)
	if err != nil {
		return got, err
	}
	at, err := f.Ledger.FetchedTo(base)
	if err != nil {
		return got, err
	}
	if at > 0 {
		if err = f.since(ctx, base, source, at, &got); errors.Is(err, errGone) {
			err = f.since(ctx, base, source, 0, &got)
		}
	} else if at, err = f.snapshot(ctx, base, &got); err == nil {
		err = f.since(ctx, base, source, at, &got)
	}
	if err != nil {
		return got, err
	}
	return got, f.chains(ctx, base, &got)
}

// Bounds of what is asked about chains in one pull.
const (
	chainsMost = 200      // identities
	linksMost  = 10000    // links in all
	linkOctets = 64 << 10 // of one signing input: an article's header at most
	pageOctets = 100 * (linkOctets + 200)
)

// chains brings the articles of identities in mode chain that this node has not seen:
// older ones that expired, and such as were in groups not carried (§4).
func (f *Fetcher) chains(ctx context.Context, base string, got *Fetched) error {
	left := linksMost
	for id, q := range f.Ledger.Missing(chainsMost) {
		for left > 0 {
			n, err := f.links(ctx, base, id, q)
			if err != nil {
				return err
			}
			got.Links += n
			left -= n
			c, err := f.Ledger.Chain(id)
			if err != nil || n == 0 || c.Q <= q {
				break
			}
			q = c.Q
		}
	}
	return nil
}

// links asks for one page of a chain, and returns how many links it had.
func (f *Fetcher) links(ctx context.Context, base string, id pki.ID, q uint64) (n int, err error) {
	r, err := f.get(ctx, base+Path+"chain/"+id.String()+"/"+strconv.FormatUint(q, 10))
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	in := bufio.NewReader(io.LimitReader(r.Body, pageOctets))
	for ; n < 100; n++ {
		input, sig, err := readLink(in)
		if err == io.EOF {
			return n, nil
		}
		if err == nil {
			err = f.Ledger.AddLink(id, input, sig)
		}
		if err != nil {
			return n, fmt.Errorf("ask a directory: a link of id:%s: %w", id, err)
		}
	}
	return n, nil
}

// readLink reads number of octets LF signing input, b LF (§7.3); io.EOF at the end.
func readLink(in *bufio.Reader) (input string, sig [64]byte, err error) {
	line, err := in.ReadString('\n')
	if err == io.EOF && line == "" {
		return "", sig, io.EOF
	}
	size, nerr := strconv.ParseUint(strings.TrimSuffix(line, "\n"), 10, 31)
	if err != nil || nerr != nil || size > linkOctets {
		return "", sig, errors.New("there is no length where one must be")
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(in, text); err != nil {
		return "", sig, errors.New("it is cut off")
	}
	line, err = in.ReadString('\n')
	raw, berr := base64.RawURLEncoding.Strict().DecodeString(strings.TrimSuffix(line, "\n"))
	if err != nil || berr != nil || len(raw) != 64 {
		return "", sig, errors.New("there is no signature where one must be")
	}
	return string(text), [64]byte(raw), nil
}

// CleanURL checks where a directory is said to be, and leaves off what Path adds.
func CleanURL(base string) (string, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("%q is no address of a directory: write it like http://box8.mesh:8080", base)
	}
	path, _, _ := strings.Cut(u.String(), strings.TrimSuffix(Path, "/"))
	return strings.TrimRight(path, "/"), nil
}

// get asks for one path; the answer is cut off when it stands still.
func (f *Fetcher) get(ctx context.Context, url string) (*http.Response, error) {
	ctx, cancel := context.WithCancel(ctx)
	idle := f.Idle
	if idle == 0 {
		idle = time.Minute
	}
	watch := time.AfterFunc(idle, cancel)
	end := func() { watch.Stop(); cancel() }
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		end()
		return nil, fmt.Errorf("ask a directory: %w", err)
	}
	client := http.Client{}
	if f.Client != nil {
		client = *f.Client
	}
	client.CheckRedirect = sameHost
	r, err := client.Do(req)
	if err != nil {
		end()
		return nil, fmt.Errorf("ask a directory: %w", err)
	}
	r.Body = &watched{r.Body, watch, idle, end}
	switch r.StatusCode {
	case http.StatusOK:
		return r, nil
	case http.StatusGone:
		err = errGone
	default:
		err = fmt.Errorf("ask a directory: %s answers %s", url, r.Status)
	}
	return nil, errors.Join(err, r.Body.Close())
}

// sameHost follows a redirect only to the host and port that were asked, which the
// operator named: no neighbour may make this node call others, its own inside least.
func sameHost(req *http.Request, via []*http.Request) error {
	if was := via[0].URL; req.URL.Host != was.Host || req.URL.Scheme != was.Scheme && req.URL.Scheme != "https" || len(via) > 3 {
		return fmt.Errorf("it sends us elsewhere, to %s://%s: give that address, if it is the right one", req.URL.Scheme, req.URL.Host)
	}
	return nil
}

// watched is a body whose reads put off the end.
type watched struct {
	io.ReadCloser
	watch *time.Timer
	idle  time.Duration
	end   func()
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if n > 0 {
		w.watch.Reset(w.idle)
	}
	return n, err
}

func (w *watched) Close() error {
	defer w.end()
	return w.ReadCloser.Close()
}

// next reads Pki-Next.
func next(r *http.Response) (uint64, error) {
	n, err := strconv.ParseUint(r.Header.Get("Pki-Next"), 10, 63)
	if err != nil {
		return 0, fmt.Errorf("ask a directory: %s gives no number in Pki-Next", r.Request.URL)
	}
	return n, nil
}

// snapshot reads all statements, and returns the place that they reach to.
func (f *Fetcher) snapshot(ctx context.Context, base string, got *Fetched) (at uint64, err error) {
	r, err := f.get(ctx, base+Path+"snapshot")
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	n, err := ReadSnapshot(f.Ledger, "", r.Body)
	got.Taken += n
	if err != nil {
		return 0, err
	}
	got.Whole = true
	if r.Header.Get("Pki-Next") == "" { // it does not say how far it reaches
		return 0, nil
	}
	if at, err = next(r); err != nil {
		return 0, err
	}
	return at, f.Ledger.SetFetchedTo(base, at)
}

// since follows the neighbour's log to its end, or to where a quota stops it.
func (f *Fetcher) since(ctx context.Context, base, source string, at uint64, got *Fetched) error {
	for range sincePages {
		to, n, err := f.page(ctx, base, source, at, got)
		if err != nil || n == 0 || to <= at {
			return err
		}
		if got.Stopped > 0 {
			return nil // this page comes again; what is known costs no quota then
		}
		if err := f.Ledger.SetFetchedTo(base, to); err != nil {
			return err
		}
		at = to
	}
	return nil // the rest at the next pull
}

// sincePages bounds one pull: 1,000 statements a page.
const sincePages = 2000

func (f *Fetcher) page(ctx context.Context, base, source string, at uint64, got *Fetched) (to uint64, n int, err error) {
	r, err := f.get(ctx, base+Path+"since/"+strconv.FormatUint(at, 10))
	if err != nil {
		return 0, 0, err
	}
	defer r.Body.Close()
	if to, err = next(r); err != nil {
		return 0, 0, err
	}
	text, err := io.ReadAll(io.LimitReader(r.Body, sinceOctets+1))
	switch {
	case err != nil:
		return 0, 0, fmt.Errorf("ask a directory: %w", err)
	case len(text) > sinceOctets:
		return 0, 0, fmt.Errorf("ask a directory: %s sends more than it may", base)
	case len(text) == 0:
		return to, 0, nil
	}
	list, err := pki.ParseStatements(string(text))
	if err != nil {
		return 0, 0, fmt.Errorf("ask a directory: what %s sends: %w", base, err)
	}
	out, err := f.Ledger.Apply(source, list)
	got.Taken += out.Count(pki.Taken)
	got.Stopped += out.Count(pki.Stopped)
	return to, len(list), err
}
