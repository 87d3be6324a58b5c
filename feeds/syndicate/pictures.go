package syndicate

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/litfass/litfass/article/content"
)

// Bounds of pictures that are fetched for readers.
const (
	picturesAtOnce = 4
	pictureOctets  = 4 << 20
	pictureTime    = 20 * time.Second
	picturesKept   = 4 << 20 // octets in memory
)

// Pictures fetches the pictures of feeds' entries for those who read them in the browser,
// so that no page loads anything from elsewhere: the origin sees this node, not its
// readers. It fetches only addresses that Address signed, obeys the guard of feeds, and
// passes on what is a picture of a kind that holds no script.
type Pictures struct {
	fetcher *Fetcher
	key     []byte
	free    chan struct{}

	mu    sync.Mutex
	kept  map[string][]byte
	order []string // of kept, the oldest first
	size  int
}

// Pictures returns a proxy for pictures that asks as p does.
func (p *Poller) Pictures() *Pictures {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails
	return &Pictures{fetcher: &p.cfg.Fetcher, key: key, free: make(chan struct{}, picturesAtOnce), kept: map[string][]byte{}}
}

// Register adds the pictures' address to a mux.
func (p *Pictures) Register(mux *http.ServeMux) { mux.Handle("GET /picture/{mac}", p) }

func (p *Pictures) mac(address string) string {
	h := hmac.New(sha256.New, p.key)
	h.Write([]byte(address))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Address is where the picture at address is had from this node, "" if nowhere.
func (p *Pictures) Address(address string) string {
	if webLink(address) == "" {
		return ""
	}
	return "/picture/" + p.mac(address) + "?from=" + url.QueryEscape(address)
}

// ServeHTTP serves a picture.
func (p *Pictures) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	address := r.FormValue("from")
	if !hmac.Equal([]byte(p.mac(address)), []byte(r.PathValue("mac"))) {
		http.Error(w, "this node gave no such address; load the page again", http.StatusForbidden)
		return
	}
	b, err := p.get(r.Context(), address)
	if err != nil {
		w.Header().Set("Cache-Control", "max-age=300")
		http.Error(w, "the picture cannot be had", http.StatusBadGateway)
		return
	}
	h := w.Header()
	h.Set("Content-Type", http.DetectContentType(b))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Cache-Control", "private, max-age=604800, immutable")
	_, _ = w.Write(b) // the client is gone
}

var errNoPicture = errors.New("this is no picture")

func (p *Pictures) get(ctx context.Context, address string) ([]byte, error) {
	if b := p.known(address); b != nil {
		return b, nil
	}
	ctx, cancel := context.WithTimeout(ctx, pictureTime)
	defer cancel()
	select {
	case p.free <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-p.free }()
	if b := p.known(address); b != nil { // somebody else fetched it meanwhile
		return b, nil
	}
	var b bytes.Buffer
	if _, err := p.fetcher.Download(ctx, address, &b, pictureOctets); err != nil {
		return nil, err
	}
	switch http.DetectContentType(b.Bytes()) {
	case "image/png", "image/jpeg", "image/gif", "image/webp":
	default:
		return nil, errNoPicture
	}
	p.keep(address, b.Bytes())
	return b.Bytes(), nil
}

func (p *Pictures) known(address string) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.kept[address]
}

// keep remembers small pictures, and forgets the oldest.
func (p *Pictures) keep(address string, b []byte) {
	if len(b) > picturesKept/4 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kept[address] != nil {
		return
	}
	p.kept[address], p.order, p.size = b, append(p.order, address), p.size+len(b)
	for p.size > picturesKept {
		p.size -= len(p.kept[p.order[0]])
		delete(p.kept, p.order[0])
		p.order = p.order[1:]
	}
}

// Show puts the pictures that links in safe HTML announce into their place.
func (p *Pictures) Show(safe string) string { return content.ShowPictures(safe, p.Address) }
