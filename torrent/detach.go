package torrent

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/mail"
	"slices"
	"strings"

	"github.com/litfass/litfass/article"
	"github.com/litfass/litfass/spool"
)

// Refused is an error whose text may be shown to who posts.
type Refused struct {
	TooLarge bool // else: no room now, and later there may be
	Text     string
	Err      error
}

func (r *Refused) Error() string { return r.Text }
func (r *Refused) Unwrap() error { return r.Err }

// GroupReader tells a group's settings; a spool does.
type GroupReader interface {
	Group(ctx context.Context, g article.Group) (spool.GroupInfo, error)
}

// Detacher turns large parts of a draft into torrents and leaves magnet links
// (spec §2). It holds little in memory, however large the draft is.
type Detacher struct {
	Store  *Store
	Groups GroupReader // nil: no group forbids it
	Rand   io.Reader   // for the boundaries it makes; nil: crypto/rand
}

// Detach works on a draft that is about to be injected: before signing, and never
// on one that carries a signature. It changes d only if it returns nil. Its errors
// are *Refused, or temporary failures.
func (dt *Detacher) Detach(ctx context.Context, d *article.Draft, groups []article.Group) error {
	cfg := dt.Store.cfg
	size, err := d.Body.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("look at the draft: %w", err)
	}
	if size <= min(cfg.Threshold, cfg.MaxArticle*3/4) || d.Get("Article-Signature") != "" {
		return nil
	}
	if never, err := dt.never(ctx, groups); never || err != nil {
		return err
	}
	if _, err := d.Body.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("look at the draft: %w", err)
	}
	root, err := walk(d.Body, d.Header)
	if errors.Is(err, errWalk) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the draft: %w", err)
	}
	job := &detaching{dt: dt, ctx: ctx, d: d, size: size, taken: map[string]bool{}, owner: draftOwner(d, groups)}
	return job.run(root)
}

func (dt *Detacher) never(ctx context.Context, groups []article.Group) (bool, error) {
	for _, g := range groups {
		if dt.Groups == nil {
			break
		}
		info, err := dt.Groups.Group(ctx, g)
		if errors.Is(err, spool.ErrNotFound) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("settings of %s: %w", g, err)
		}
		if info.Detach == "never" {
			return true, nil
		}
	}
	return false, nil
}

// draftOwner says whose quota pays: the address in From, and the first group.
func draftOwner(d *article.Draft, groups []article.Group) Owner {
	o := Owner{Class: Own, Author: strings.ToLower(d.Get("From"))}
	if a, err := mail.ParseAddress(d.Get("From")); err == nil {
		o.Author = strings.ToLower(a.Address)
	}
	if len(groups) > 0 {
		o.Group = string(groups[0])
	}
	return o
}

// detaching is the work on one draft.
type detaching struct {
	dt    *Detacher
	ctx   context.Context
	d     *article.Draft
	size  int64
	owner Owner
	taken map[string]bool // names in use
	text  *node           // the first text part, if it may be changed
	out   []Attachment
	edits []edit
	head  [][2]string // the draft's new header, or nil
}

// pick is a part that is to go: a leaf, or files within a text.
type pick struct {
	n    *node
	size int64 // decoded, about
	in   []embedded
	att  []Attachment
}

func (j *detaching) run(root *node) error {
	j.text = firstText(root)
	picks := j.choose(root)
	if len(picks) == 0 {
		return nil
	}
	for i := range picks {
		if err := j.take(&picks[i]); err != nil {
			return err
		}
	}
	picks = slices.DeleteFunc(picks, func(p pick) bool { return len(p.att) == 0 })
	if len(picks) == 0 {
		return nil
	}
	for i := range picks {
		j.out = append(j.out, picks[i].att...)
	}
	if err := j.rewrite(root, picks); err != nil {
		return err
	}
	body, err := j.build()
	if err != nil {
		return err
	}
	j.d.Body = bytes.NewReader(body)
	if j.head != nil {
		j.d.Header = j.head
	}
	return nil
}

// firstText finds the first text part: text/plain, not said to be an attachment.
func firstText(root *node) (found *node) {
	root.leaves(func(n *node) {
		disposition, _, _ := mime.ParseMediaType(n.header.get("Content-Disposition"))
		if found == nil && n.typ == "text/plain" && disposition != "attachment" && fileName(n) == "" {
			found = n
		}
	})
	return found
}

// choose lists what goes: all over the threshold, and the largest of the rest
// until the article is within its limit.
func (j *detaching) choose(root *node) []pick {
	cfg := j.dt.Store.cfg
	var all []pick
	first := true
	root.leaves(func(n *node) {
		isFirst := first && strings.HasPrefix(n.typ, "text/")
		if first = first && !isFirst; n.sealed {
			return
		}
		if len(n.inside) > 0 && identity(n) {
			p := pick{n: n, in: n.inside}
			for _, e := range n.inside {
				p.size += e.size
			}
			all = append(all, p)
		}
		if !isFirst && n != j.text && detachable(n.typ) && len(n.inside) == 0 {
			all = append(all, pick{n: n, size: decodedSize(n)})
		}
	})
	left := j.size
	slices.SortStableFunc(all, func(a, b pick) int { return cmp.Compare(b.size, a.size) })
	all = slices.DeleteFunc(all, func(p pick) bool {
		gone := p.size > cfg.Threshold || left > cfg.MaxArticle*15/16
		if gone {
			left -= p.n.end - p.n.body
		}
		return !gone
	})
	slices.SortFunc(all, func(a, b pick) int { return cmp.Compare(a.n.body, b.n.body) })
	return all
}

func identity(n *node) bool {
	switch strings.ToLower(n.header.get("Content-Transfer-Encoding")) {
	case "", "7bit", "8bit", "binary":
		return true
	}
	return false
}

// detachable: spec §2.1 names what never is.
func detachable(typ string) bool {
	for _, p := range []string{"multipart/", "message/", "application/pgp-", "application/pkcs7-", "application/x-pkcs7-"} {
		if strings.HasPrefix(typ, p) {
			return false
		}
	}
	return true
}

func decodedSize(n *node) int64 {
	size := n.end - n.body
	if strings.EqualFold(n.header.get("Content-Transfer-Encoding"), "base64") {
		return size / 78 * 57 // lines of 76 characters and CRLF hold 57 octets
	}
	return size
}

// take stores the files of one pick. What cannot be decoded stays where it is.
func (j *detaching) take(p *pick) error {
	if len(p.in) == 0 {
		r, err := section(j.d.Body, p.n.body, p.n.end)
		if err != nil {
			return fmt.Errorf("read the draft: %w", err)
		}
		dec, ok := decoder(p.n.header.get("Content-Transfer-Encoding"), r)
		if !ok {
			return nil
		}
		a, ok, err := j.store(dec, fileName(p.n))
		if ok {
			a.describe(p.n)
			p.att = append(p.att, a)
		}
		return err
	}
	whole := p.in[:0:0]
	for _, e := range p.in {
		r, err := section(j.d.Body, e.start, e.end)
		if err != nil {
			return fmt.Errorf("read the draft: %w", err)
		}
		a, ok, err := j.store(decodeEmbedded(e, r), e.name)
		if err != nil {
			return err
		}
		if ok {
			p.att, whole = append(p.att, a), append(whole, e)
		}
	}
	p.in = whole
	return nil
}

// store adds one file. ok is false if its encoding is broken.
func (j *detaching) store(r io.Reader, name string) (a Attachment, ok bool, err error) {
	s := j.dt.Store
	src := &broken{r: r, body: j.d.Body}
	in, sum, err := s.Add(j.ctx, src, -1, uniqueName(CleanName(name), j.taken), j.owner, nil)
	switch {
	case src.bad:
		return a, false, nil
	case errors.Is(err, ErrQuota):
		return a, false, &Refused{Text: "an attachment finds no room here: " + err.Error(), Err: err}
	case errors.Is(err, ErrDenied):
		return a, false, &Refused{TooLarge: true, Text: "an attachment is on this node's deny list", Err: err}
	case err != nil:
		return a, false, err
	}
	return NewAttachment(in, sum, s.cfg.URL), true, nil
}

// broken notes that what failed was the decoding: then the part stays in place.
type broken struct {
	r    io.Reader
	body article.Body
	bad  bool
}

func (b *broken) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		b.bad = true
	}
	return n, err
}

// describe takes over what the part said of itself.
func (a *Attachment) describe(n *node) {
	params := map[string]string{}
	for k, v := range n.params {
		if k != "name" {
			params[k] = v
		}
	}
	if typ := mime.FormatMediaType(n.typ, params); typ != "" && len(typ) < 900 && n.header.get("Content-Type") != "" {
		a.Type = typ
	}
	if d, _, err := mime.ParseMediaType(n.header.get("Content-Disposition")); err == nil && d == "inline" {
		a.Disposition = d
	}
	if id := n.header.get("Content-Id"); len(id) > 2 && len(id) <= 250 && id[0] == '<' && id[len(id)-1] == '>' && printable(id) {
		a.ContentID = id
	}
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// fileName returns a part's file name as it stands, decoded (RFC 2231, and RFC
// 2047 where it should not be).
func fileName(n *node) string {
	name := ""
	if _, p, err := mime.ParseMediaType(n.header.get("Content-Disposition")); err == nil {
		name = p["filename"]
	}
	if name == "" {
		name = n.params["name"]
	}
	if s, err := new(mime.WordDecoder).DecodeHeader(name); err == nil {
		name = s
	}
	return name
}

func (j *detaching) tooLarge() error {
	return &Refused{TooLarge: true, Text: fmt.Sprintf("without its attachments the article still has over %d octets, the limit", j.dt.Store.cfg.MaxArticle)}
}
