package syndicate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/litfass/litfass/internal/spill"
)

// What becomes of the files that entries name.
const (
	LinkEnclosures  = ""      // a link in the article
	FetchEnclosures = "fetch" // fetched once, here, and attached: the mesh shares it
)

// Bounds of fetching enclosures.
const (
	fetchesAPoll  = 5 // entries of one poll, the newest
	fileTimeout   = 15 * time.Minute
	filesInMemory = 256 << 10
)

var errFileTooLarge = errors.New("larger than this node takes")

// Download copies the file at address into w, at most limit octets, and returns its
// media type, or "". It obeys the guard as Get does.
func (f *Fetcher) Download(ctx context.Context, address string, w io.Writer, limit int64) (kind string, err error) {
	ctx, cancel := context.WithTimeout(ctx, fileTimeout)
	defer cancel()
	u, err := ParseURL(address)
	if err != nil {
		return "", err
	}
	client := *f.client
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if len(via) >= 5 {
			return errors.New("over 5 redirects")
		}
		_, err := ParseURL(req.URL.String())
		return err
	}
	req := f.request(ctx, u, Validators{})
	req.Header.Set("Accept", "*/*")
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the origin answers %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	if resp.ContentLength > limit {
		return "", errFileTooLarge
	}
	n, err := io.Copy(w, io.LimitReader(resp.Body, limit+1))
	if err == nil && n > limit {
		err = errFileTooLarge
	}
	if kind, _, perr := mime.ParseMediaType(resp.Header.Get("Content-Type")); perr == nil {
		return kind, err
	}
	return "", err
}

// fetchFiles fetches the enclosures of an entry. What cannot be had stays a link.
// The buffers are to be closed.
func (p *Poller) fetchFiles(ctx context.Context, post *post) (held []*spill.Buffer) {
	for _, e := range post.linked() {
		b := spill.New(p.cfg.TempDir, filesInMemory, p.cfg.MaxFile)
		held = append(held, b)
		kind, err := p.cfg.Fetcher.Download(ctx, e.URL, b, p.cfg.MaxFile)
		if err == nil {
			_, err = b.Seek(0, io.SeekStart)
		}
		if err != nil {
			p.cfg.Log.Info("enclosure stays a link", "feed", post.feedURL, "file", e.URL, "reason", err)
			continue
		}
		if kind == "" || kind == "application/octet-stream" {
			kind = e.Type
		}
		post.files = append(post.files, attachment{enclosureName(e.URL), kind, b})
	}
	return held
}
