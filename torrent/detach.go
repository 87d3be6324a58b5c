package torrent

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
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

// edit puts octets in the place of those from start to end of the old body.
type edit struct {
	start, end int64
	with       []byte
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

// rewrite plans the new body.
func (j *detaching) rewrite(root *node, picks []pick) error {
	text, err := j.textPart(picks)
	if err != nil {
		return err
	}
	textDone := text == nil
	for _, p := range picks {
		var parts [][]byte
		for _, a := range p.att {
			parts = append(parts, a.appendPart(nil))
		}
		switch {
		case p.n == j.text && text != nil:
			j.replace(p.n, append([][]byte{text}, parts...))
			textDone = true
		case len(p.in) > 0:
			rest, err := j.withoutFiles(p)
			if err != nil {
				return err
			}
			j.replace(p.n, append([][]byte{rest}, parts...))
		case p.n == root:
			j.replace(p.n, append([][]byte{j.newText()}, parts...))
			textDone = true
		default:
			j.replace(p.n, parts)
		}
	}
	switch {
	case textDone:
	case j.text != nil && !j.text.sealed:
		j.replace(j.text, [][]byte{text})
	case root.typ == "multipart/mixed" && root.multipart() && len(root.kids) > 0:
		at := root.kids[0].head
		j.edits = append(j.edits, edit{at, at, append(j.newText(), "\r\n--"+root.boundary+"\r\n"...)})
	default:
		j.wrap(root)
	}
	return nil
}

// textPart returns the first text part anew, with the block at its end; as a part
// with its header. Without one that may be changed it returns the text to be made.
func (j *detaching) textPart(picks []pick) ([]byte, error) {
	n := j.text
	if n == nil || n.sealed || !knownCharset(n) {
		j.text = nil
		return j.newText(), nil
	}
	var files []embedded
	for _, p := range picks {
		if p.n == n {
			files = p.in
		}
	}
	body, err := j.readText(n, files)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimRight(body, "\r\n")) == 0 {
		body = nil
	} else {
		body = append(bytes.TrimRight(body, "\r\n"), "\r\n\r\n"...)
	}
	ascii := !strings.EqualFold(charset(n), "utf-8") && charset(n) != ""
	h := slices.Clone(n.header)
	if cs := strings.ToLower(charset(n)); cs == "" || cs == "us-ascii" {
		params := map[string]string{"charset": "utf-8"}
		for k, v := range n.params {
			if k != "charset" {
				params[k] = v
			}
		}
		h = setField(h, "Content-Type", mime.FormatMediaType("text/plain", params))
		ascii = false
	}
	return textPart(h, append(body, j.blocks(ascii)...)), nil
}

func charset(n *node) string { return n.params["charset"] }

// knownCharset: the block's octets must mean the same in it as in ASCII.
func knownCharset(n *node) bool {
	cs := strings.ToLower(charset(n))
	if cs == "" || cs == "us-ascii" || cs == "utf-8" || cs == "koi8-r" || cs == "koi8-u" {
		return true
	}
	return strings.HasPrefix(cs, "iso-8859-") || strings.HasPrefix(cs, "windows-125") || cs == "gbk" || cs == "gb2312" || cs == "euc-jp" || cs == "euc-kr"
}

func setField(h mimeHeader, name, v string) mimeHeader {
	for i, f := range h {
		if strings.EqualFold(f[0], name) {
			h[i][1] = v
			return h
		}
	}
	return append(h, [2]string{name, v})
}

// newText is a text part that holds the blocks and nothing else.
func (j *detaching) newText() []byte {
	return textPart(mimeHeader{{"Content-Type", "text/plain; charset=utf-8"}}, []byte(j.blocks(false)))
}

func (j *detaching) blocks(ascii bool) string {
	var b strings.Builder
	for i, a := range j.out {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(a.block(i+1, len(j.out), j.dt.Store.cfg.URL, ascii))
	}
	return b.String()
}

// textPart writes a part: header, empty line, text; as it is if it can be so, for
// readers that show a multipart article raw (slrn), else as quoted-printable. Only
// MIME fields go along: of a root part the others are the article's.
func textPart(h mimeHeader, text []byte) []byte {
	encoding := "quoted-printable"
	if sevenBit(text) {
		encoding = "7bit"
	}
	b := append(appendFields(nil, setField(h, "Content-Transfer-Encoding", encoding)), "\r\n"...)
	if encoding == "7bit" {
		return append(b, text...)
	}
	var buf bytes.Buffer
	w := quotedprintable.NewWriter(&buf)
	_, _ = w.Write(text) // into memory
	_ = w.Close()
	return append(b, buf.Bytes()...)
}

// sevenBit says whether text may stand in an article as it is (RFC 2045 §2.7), and
// comes through gateways that cut blanks at the ends of lines.
func sevenBit(text []byte) bool {
	for line := range bytes.Lines(text) {
		line, whole := bytes.CutSuffix(line, []byte("\r\n"))
		if !whole || len(line) > 998 || len(bytes.TrimRight(line, " \t")) < len(line) {
			return false
		}
		for _, c := range line {
			if c >= 0x7f || c < ' ' && c != '\t' {
				return false
			}
		}
	}
	return true
}

func appendFields(b []byte, h mimeHeader) []byte {
	for _, f := range h {
		if len(f[0]) > 8 && strings.EqualFold(f[0][:8], "Content-") {
			b = append(b, f[0]+": "+strings.TrimLeft(f[1], " \t")+"\r\n"...)
		}
	}
	return b
}

// readText returns a text's octets, decoded, without the files within it.
func (j *detaching) readText(n *node, files []embedded) ([]byte, error) {
	var out []byte
	at := n.body
	for _, e := range append(slices.Clone(files), embedded{start: n.end}) {
		r, err := section(j.d.Body, at, e.start)
		if err != nil {
			return nil, fmt.Errorf("read the draft: %w", err)
		}
		if dec, ok := decoder(n.header.get("Content-Transfer-Encoding"), r); ok {
			r = dec
		}
		b, err := io.ReadAll(io.LimitReader(r, j.dt.Store.cfg.MaxArticle+1-int64(len(out))))
		if err != nil {
			return nil, &Refused{TooLarge: true, Text: "the text's transfer encoding is broken: " + err.Error(), Err: err}
		}
		if out = append(out, b...); int64(len(out)) > j.dt.Store.cfg.MaxArticle {
			return nil, j.tooLarge()
		}
		at = e.end
	}
	return out, nil
}

// withoutFiles returns a later text part without the files that were in it.
func (j *detaching) withoutFiles(p pick) ([]byte, error) {
	body, err := j.readText(p.n, p.in)
	if err != nil {
		return nil, err
	}
	return textPart(slices.Clone(p.n.header), body), nil
}

// replace puts parts in the place of n. More than one, or a root, become a
// multipart/mixed.
func (j *detaching) replace(n *node, parts [][]byte) {
	if n.parent == nil {
		if len(parts) == 1 {
			j.rootPart(n, parts[0])
			return
		}
		boundary := j.boundary()
		j.setRoot("multipart/mixed; boundary=\"" + boundary + "\"")
		j.edits = append(j.edits, edit{n.body, n.end, joinParts(boundary, parts)})
		return
	}
	with := parts[0]
	if len(parts) > 1 {
		boundary := j.boundary()
		with = append([]byte("Content-Type: multipart/mixed; boundary=\""+boundary+"\"\r\n\r\n"), joinParts(boundary, parts)...)
	}
	j.edits = append(j.edits, edit{n.head, n.end, with})
}

// rootPart makes a part the article's own body: its fields go to the header.
func (j *detaching) rootPart(n *node, part []byte) {
	head, body, _ := bytes.Cut(part, []byte("\r\n\r\n"))
	h := slices.Clone(j.d.Header)
	for _, f := range parseMIMEHeader(head) {
		h = setField(h, f[0], f[1])
	}
	j.head = h
	j.needVersion()
	j.edits = append(j.edits, edit{n.body, n.end, append(body, "\r\n"...)})
}

// setRoot gives the article a new Content-Type; its old Content fields went into a part.
func (j *detaching) setRoot(contentType string) {
	j.head = nil
	for _, f := range j.d.Header {
		if len(f[0]) > 8 && strings.EqualFold(f[0][:8], "Content-") {
			continue
		}
		j.head = append(j.head, f)
	}
	j.head = append(j.head, [2]string{"Content-Type", contentType})
	j.needVersion()
}

func (j *detaching) needVersion() {
	if mimeHeader(j.head).get("MIME-Version") == "" {
		j.head = append(j.head, [2]string{"MIME-Version", "1.0"})
	}
}

// wrap puts a multipart that may not be changed (signed, related, ...) and a new
// text into a multipart/mixed.
func (j *detaching) wrap(root *node) {
	boundary := j.boundary()
	old := appendFields(nil, j.d.Header)
	j.setRoot("multipart/mixed; boundary=\"" + boundary + "\"")
	front := append([]byte("--"+boundary+"\r\n"), j.newText()...)
	front = append(append(front, "\r\n--"+boundary+"\r\n"...), append(old, "\r\n"...)...)
	j.edits = append(j.edits, edit{0, 0, front}, edit{j.size, j.size, []byte("\r\n--" + boundary + "--\r\n")})
}

func joinParts(boundary string, parts [][]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(append(append(b, "--"+boundary+"\r\n"...), p...), "\r\n"...)
	}
	return append(b, "--"+boundary+"--\r\n"...)
}

func (j *detaching) boundary() string {
	src := j.dt.Rand
	if src == nil {
		src = rand.Reader
	}
	var b [12]byte
	_, _ = io.ReadFull(src, b[:]) // crypto/rand does not fail
	return "=_" + hex.EncodeToString(b[:])
}

// build writes the new body: the old one with the edits in place.
func (j *detaching) build() ([]byte, error) {
	slices.SortStableFunc(j.edits, func(a, b edit) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end)) })
	limit := j.dt.Store.cfg.MaxArticle
	var out bytes.Buffer
	at := int64(0)
	for _, e := range append(j.edits, edit{start: j.size, end: j.size}) {
		if at < e.start {
			r, err := section(j.d.Body, at, e.start)
			if err != nil {
				return nil, fmt.Errorf("read the draft: %w", err)
			}
			if _, err := io.Copy(&out, io.LimitReader(r, limit+1-int64(out.Len()))); err != nil {
				return nil, fmt.Errorf("read the draft: %w", err)
			}
		}
		out.Write(e.with)
		if int64(out.Len()) > limit {
			return nil, j.tooLarge()
		}
		at = e.end
	}
	return out.Bytes(), nil
}

func (j *detaching) tooLarge() error {
	return &Refused{TooLarge: true, Text: fmt.Sprintf("without its attachments the article still has over %d octets, the limit", j.dt.Store.cfg.MaxArticle)}
}
